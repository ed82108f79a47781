//! The Debian package that `bundles/package/deb` makes: its manual pages and completions know every verb and option,
//! Debian's own tools find nothing wrong with it, and what it installs runs containers.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests panic")]

mod skip;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use minidocker_oci::{frontend, oci};

/// Made once for all tests, or why it could not be.
struct Package {
    deb: PathBuf,
    /// Its files, unpacked.
    root: PathBuf,
}

/// Ends the test as skipped where a program is missing.
macro_rules! need {
    ($($program:expr),+) => {
        $(if !is_there($program) {
            return skip::skip(&format!("{} is not there", $program));
        })+
    };
}

fn is_there(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
}

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What a command prints, if it does not fail.
fn output(program: &str, args: &[&OsStr]) -> String {
    let command = &mut Command::new(program);
    command.args(args).current_dir(repository()).stdin(Stdio::null()).env("LC_ALL", "C.UTF-8");
    let output = command.output().unwrap_or_else(|e| panic!("{program}: {e}"));
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{program} {args:?}: {}\n{out}{err}", output.status);
    out.into_owned()
}

/// What a script in bash prints; its arguments are `$1` and so on.
fn script(text: &str, args: &[&Path]) -> String {
    let mut words: Vec<&OsStr> = ["-euo", "pipefail", "-c", text, "test"].map(OsStr::new).to_vec();
    words.extend(args.iter().map(|path| path.as_os_str()));
    output("bash", &words)
}

fn package() -> &'static Package {
    static PACKAGE: OnceLock<Package> = OnceLock::new();
    PACKAGE.get_or_init(|| {
        let printed = output("bundles/package/deb", &[]);
        let deb = repository().join(printed.lines().last().unwrap());
        let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("package");
        script("rm -rf \"$2\"; dpkg-deb -x \"$1\" \"$2\"", &[&deb, &root]);
        Package { deb, root }
    })
}

/// What a command's help shows of its verbs and options.
fn verbs(program: &clap::Command) -> impl Iterator<Item = &clap::Command> {
    program.get_subcommands().filter(|verb| !verb.is_hide_set())
}

fn options(command: &clap::Command) -> impl Iterator<Item = &clap::Arg> {
    command.get_arguments().filter(|arg| !arg.is_hide_set())
}

/// Both programs, and the section of their manual pages.
fn programs() -> [(clap::Command, u8); 2] {
    [(oci::command(), 8), (frontend::command().disable_help_subcommand(true), 1)]
}

fn pages() -> Vec<PathBuf> {
    let listed = script("find \"$1/usr/share/man\" -name '*.gz'", &[&package().root]);
    listed.lines().map(PathBuf::from).collect()
}

#[test]
fn every_option_of_every_verb_says_what_it_does() {
    for (program, _) in programs() {
        for command in std::iter::once(&program).chain(verbs(&program)) {
            assert!(command.get_about().is_some(), "{}", command.get_name());
            for arg in options(command) {
                let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
                assert!(help.len() > 8, "{} {}: {help:?}", command.get_name(), arg.get_id());
            }
        }
    }
}

#[test]
fn every_verb_has_a_manual_page_with_all_its_options() {
    need!("dpkg-deb");
    let mut expected = Vec::new();
    for (program, section) in programs() {
        let name = program.get_name();
        let verbs = verbs(&program).map(|verb| (format!("{name}-{}", verb.get_name()), verb));
        for (name, command) in verbs.chain([(name.to_owned(), &program)]) {
            let path = package().root.join(format!("usr/share/man/man{section}/{name}.{section}.gz"));
            let page = script("gzip -dc \"$1\"", &[&path]);
            for option in options(command).filter_map(clap::Arg::get_long) {
                let bold = format!("\\fB\\-\\-{}\\fR", option.replace('-', "\\-"));
                assert!(page.contains(&bold), "{name} has no {bold}:\n{page}");
            }
            expected.push(path);
        }
    }
    let mut found = pages();
    expected.sort();
    found.sort();
    assert_eq!(found, expected);
}

#[test]
fn man_shows_the_pages_without_a_warning() {
    need!("dpkg-deb", "man");
    for page in pages() {
        let shown = script("MANWIDTH=80 man --warnings -l \"$1\" 2>&1", &[&page]);
        assert!(!shown.contains("warning:") && !shown.contains("error:"), "{shown}");
        for section in ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "SEE ALSO"] {
            assert!(shown.lines().any(|line| line == section), "{page:?} has no {section}:\n{shown}");
        }
    }
}

#[test]
fn mandoc_finds_nothing_wrong_with_the_pages() {
    need!("dpkg-deb", "mandoc");
    for page in pages() {
        script("gzip -dc \"$1\" | mandoc -T lint -W warning", &[&page]);
    }
}

#[test]
fn bash_completes_verbs_options_and_values() {
    need!("dpkg-deb");
    let library = Path::new("/usr/share/bash-completion/bash_completion");
    if !library.is_file() {
        return skip::skip("bash-completion is not there");
    }
    // As bash does it at the first TAB: the program's file is looked for and its function called.
    const COMPLETE: &str = r#"
        set +eu
        export XDG_DATA_DIRS=$2/usr/share
        source "$1"
        COMP_LINE=$(cat "$3") COMP_POINT=${#COMP_LINE}
        read -ra COMP_WORDS <<<"$COMP_LINE"
        [[ $COMP_LINE != *' ' ]] || COMP_WORDS+=('')
        COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
        _completion_loader "${COMP_WORDS[0]}"
        function=$(complete -p "${COMP_WORDS[0]}" | sed 's/.* -F \([^ ]*\) .*/\1/')
        "$function" "${COMP_WORDS[0]}" "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
        printf '%s\n' "${COMPREPLY[@]}""#;
    let typed = Path::new(env!("CARGO_TARGET_TMPDIR")).join("typed");
    let completed = |line: &str| -> Vec<String> {
        #[expect(clippy::disallowed_methods, reason = "a file of this test's own")]
        std::fs::write(&typed, line).unwrap();
        let printed = script(COMPLETE, &[library, &package().root, &typed]);
        printed.lines().map(str::to_owned).collect()
    };
    for (program, _) in programs() {
        let name = program.get_name();
        let offered = completed(&format!("{name} "));
        for verb in verbs(&program) {
            assert!(offered.iter().any(|word| word == verb.get_name()), "{offered:?}");
            let offered = completed(&format!("{name} {} --", verb.get_name()));
            for option in options(verb).filter_map(clap::Arg::get_long) {
                assert!(
                    offered.contains(&format!("--{option}")),
                    "{} {option}: {offered:?}",
                    verb.get_name()
                );
            }
        }
    }
    assert_eq!(completed("minidocker-oci cr"), ["create"]);
    assert_eq!(completed("minidocker-oci --log-format "), ["text", "json"]);
    assert_eq!(completed("minidocker-oci spec --rootl"), ["--rootless"]);
    assert_eq!(completed("minidocker run --work"), ["--workdir"]);
}

#[test]
fn fish_completes_verbs() {
    need!("dpkg-deb", "fish");
    let file = package().root.join("usr/share/fish/vendor_completions.d/minidocker-oci.fish");
    let line = "fish --no-config -c 'source $argv[1]; complete -C \"minidocker-oci cr\"' -- \"$1\"";
    let offered = script(line, &[&file]);
    assert!(offered.starts_with("create\tCreate a container"), "{offered}");
}

#[test]
fn zsh_can_read_the_completions() {
    need!("dpkg-deb", "zsh");
    for program in ["minidocker-oci", "minidocker"] {
        let file = package().root.join(format!("usr/share/zsh/vendor-completions/_{program}"));
        let line = "zsh -f -n \"$1\"; zsh -f -c 'autoload -U compinit; compinit -u -D; source $1; echo $_comps[$2]' zsh \"$1\" \"$2\"";
        assert_eq!(script(line, &[&file, Path::new(program)]).trim(), format!("_{program}"));
    }
}

#[test]
fn lintian_finds_nothing_that_has_no_reason() {
    need!("dpkg-deb", "lintian");
    let found = script("lintian --allow-root --fail-on warning,error \"$1\" 2>&1", &[&package().deb]);
    assert!(!found.contains("unused-override"), "{found}");
}

#[test]
fn the_files_for_engines_name_the_program_where_the_package_has_it_and_are_told_of() {
    let files = script("ls bundles/engines", &[]);
    assert!(files.lines().count() >= 6, "{files}");
    let readme = std::fs::read_to_string(repository().join("README.md")).unwrap();
    for file in files.lines() {
        let text = std::fs::read_to_string(repository().join("bundles/engines").join(file)).unwrap();
        let named = match file {
            "runtimeclass.yaml" => "handler: minidocker-oci",
            _ => "\"/usr/bin/minidocker-oci\"",
        };
        assert!(text.contains(named), "{file}");
        assert!(readme.contains(&format!("bundles/engines/{file}")), "README.md does not tell of {file}");
    }
    let daemon = std::fs::read(repository().join("bundles/engines/daemon.json")).unwrap();
    let daemon: serde_json::Value = serde_json::from_slice(&daemon).unwrap();
    assert_eq!(daemon["runtimes"]["minidocker-oci"]["path"], "/usr/bin/minidocker-oci");
}

#[test]
fn the_handler_of_the_runtime_class_is_a_runtime_of_containerd_and_crio() {
    let files = repository().join("bundles/engines");
    let lines = |file: &str| -> Vec<String> {
        std::fs::read_to_string(files.join(file)).unwrap().lines().map(str::to_owned).collect()
    };
    let class = lines("runtimeclass.yaml");
    let handler = class.iter().find_map(|line| line.strip_prefix("handler: ")).unwrap();
    let containerd = [
        ("containerd-1.toml", "plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes"),
        ("containerd-2.toml", "plugins.\"io.containerd.cri.v1.runtime\".containerd.runtimes"),
    ];
    for (file, table) in containerd {
        let lines = lines(file);
        // Of containerd 1.x, runc is gone where it is not listed; and all of a node have one cgroup driver.
        for runtime in [handler, "runc"] {
            let options = format!("[{table}.{runtime}.options]");
            let at = lines.iter().position(|line| *line == options);
            let at = at.unwrap_or_else(|| panic!("{file} has no {options}"));
            let own = lines[at + 1..].iter().take_while(|line| !line.starts_with('['));
            assert_eq!(own.filter(|line| *line == "SystemdCgroup = true").count(), 1, "{file}: {runtime}");
            assert!(lines.contains(&format!("[{table}.{runtime}]")), "{file}: {runtime}");
        }
    }
    let crio = lines("crio.conf");
    assert!(crio.contains(&format!("[crio.runtime.runtimes.{handler}]")), "{crio:?}");
}

#[test]
fn what_the_package_installs_runs_containers_and_is_gone_when_it_is_purged() {
    need!("dpkg-deb", "dpkg", "unshare");
    if !nix::unistd::geteuid().is_root() {
        return skip::skip("containers need root");
    }
    let Some(tree) = tree() else { return skip::skip("no Debian tree is made: conformance/tree peers") };
    let work = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let bundle = work.join("bundle");
    script(
        "mkdir -p \"$1\"; cp bundles/busybox/config.json \"$1\"; bundles/fill-busybox \"$1/rootfs\"",
        &[&bundle],
    );
    const INSTALL: &str = r##"
        exec unshare --mount --propagation private bash -euo pipefail -c '
            cd "$4"
            mount -t tmpfs tmpfs mnt
            mkdir mnt/{upper,work,tree}
            mount -t overlay -o "lowerdir=$1,upperdir=mnt/upper,workdir=mnt/work" overlay mnt/tree
            dpkg --root="$PWD/mnt/tree" --install "$2" >&2
            "$5/conformance/in-tree" mnt/tree "$3=/bundle" -- bash -euc "
                minidocker-oci --version
                minidocker-oci run --bundle /bundle installed
                minidocker run --rm /bundle/rootfs /bin/echo of minidocker
                minidocker-oci list --quiet"
            dpkg --root="$PWD/mnt/tree" --purge minidocker-oci >&2
            find mnt/tree/usr mnt/tree/etc -name "*minidocker*"
        ' install "$@""##;
    script("mkdir -p \"$1\"", &[&work.join("mnt")]);
    let args = [tree.as_path(), &package().deb, &bundle, work, repository()];
    let said = script(INSTALL, &args);
    let mut lines = said.lines();
    assert_eq!(lines.next(), Some(concat!("minidocker-oci version ", env!("CARGO_PKG_VERSION"))), "{said}");
    assert!(said.contains("uid=0"), "{said}");
    // Neither a container that is left nor a file.
    assert_eq!(lines.last(), Some("of minidocker"), "{said}");
}

/// A Debian tree, if one is made.
fn tree() -> Option<PathBuf> {
    let made =
        Command::new("conformance/tree").args(["--if-made", "peers"]).current_dir(repository()).output();
    let made = made.unwrap();
    made.status.success().then(|| PathBuf::from(String::from_utf8(made.stdout).unwrap().trim()))
}
