//! What a container may try while something is started in it: see the advisories that the tests name.

use serde_json::json;

use super::{exec, refused, running, sh};
use crate::support::bundle::{Bundle, set_capabilities, set_namespace};
use crate::support::{Case, Done, case, copy, eventually, host_command, runtime, runtime_digest};

/// As much as a container may have without a user namespace.
const STRONG: [&str; 5] =
    ["CAP_SYS_ADMIN", "CAP_SYS_PTRACE", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_SYS_RESOURCE"];

/// A container whose script watches all processes that it sees, with all rights; its output begins with `up`.
fn watching(case: &Case, of_each: &str, share_pids: bool) -> (Bundle, Done) {
    let script = format!("echo up; while :; do for p in /proc/[0-9]*; do {of_each}; done; done");
    let b = case.script(&script, |config| {
        set_capabilities(config, &STRONG);
        config["process"]["noNewPrivileges"] = json!(false);
        if share_pids {
            set_namespace(config, "pid", None);
        }
    });
    let create = case.started(&b);
    eventually("it is up", || create.stdout().starts_with("up\n"));
    (b, create)
}

#[test]
fn a_container_that_lies_in_wait_never_sees_the_runtime() {
    // CVE-2019-5736, CVE-2016-9962, T-A1, T-A4: its program, its descriptors, its root, its directory.
    let case = case!();
    let target = case.path("target-runtime");
    copy(runtime(), &target);
    let digest = || host_command("sha256sum", &[target.as_os_str()]);
    let before = digest();
    let look = "e=$(readlink $p/exe) && case $e in *target-runtime*) echo found $p $e; exec 5<$p/exe \
        && (echo PWN >/proc/self/fd/5) 2>/dev/null && echo written;; esac; \
        for f in $p/fd/* $p/cwd $p/root; do l=$(readlink $f) && case $l in */state|*/state/*|*cgroup*|/proc|/proc/[0-9]*|*target-runtime*) \
        echo leak $f $l;; esac; done; grep -l target-runtime $p/maps";
    let quiet = format!("{{ {look}; }} 2>/dev/null");
    let (b, created) = watching(&case, &quiet, false);
    for n in 0..300 {
        let mut line: Vec<&std::ffi::OsStr> =
            ["bash", "-c", "exec 3</dev/null; \"$@\"", "x"].map(AsRef::as_ref).to_vec();
        line.extend([target.as_os_str(), "--root".as_ref(), case.state.as_os_str(), "exec".as_ref()]);
        // One that tells the program its own pid goes another way: see `init::Departure`.
        line.extend(["-e", "A=1", &b.id, "/bin/true"].map(AsRef::<std::ffi::OsStr>::as_ref));
        let call = case.host(line);
        let call = if n % 3 == 0 { call.env("LISTEN_FDS", "1") } else { call };
        call.finish().ok();
    }
    case.delete(&b.id);
    // The watching shell's own directories are the container's.
    let seen: Vec<String> = created.lines().into_iter().filter(|line| line != "up").collect();
    assert_eq!(seen, [""; 0]);
    assert_eq!(digest(), before);
}

#[test]
fn the_runtime_is_not_the_program_of_exec() {
    let case = case!();
    let before = runtime_digest();
    let b = running(&case, |config| {
        set_capabilities(config, &STRONG);
        config["process"]["noNewPrivileges"] = json!(false);
    });
    b.put("script", "#!/proc/self/exe\n", 0o755);
    for program in ["/proc/self/exe", "/script", "/proc/thread-self/exe", "/proc/1/fd/../exe"] {
        let done = exec(&case, &[&b.id, program, "--version"]).finish();
        assert!(done.code() != 0 && !done.stdout().contains("version"), "{program}: {done}");
    }
    case.delete(&b.id);
    assert_eq!(runtime_digest(), before);
}

#[test]
fn no_directory_leads_out_of_the_container() {
    // CVE-2024-21626, T-D1.
    let case = case!();
    for share_pids in [false, true] {
        let b = running(&case, |config| {
            if share_pids {
                set_namespace(config, "pid", None);
            }
        });
        let leak = ["bash", "-c", "exec 3</ 4</etc 5</sys/fs/cgroup 6</proc; \"$@\"", "x"];
        for n in 0..20 {
            for base in ["/proc/self/fd", "/proc/thread-self/fd"] {
                let cwd = format!("{base}/{n}");
                let line = ["exec", "--cwd", &cwd, &b.id, "/bin/sh", "-c", "pwd; ls -d bin/busybox"];
                let done = case.call_through(&leak, line).finish();
                // What is the container's own may be entered.
                let inside = done.code() == 0 && done.stdout().starts_with("/\nbin/busybox");
                assert!(inside || done.code() == 255 && done.stdout().is_empty(), "{cwd}: {done}");
            }
        }
        for cwd in ["/proc/self/root/..", "/proc/self/cwd"] {
            let done = sh(&case, &["--cwd", cwd], &b, "ls -d bin/busybox");
            assert!(done.code() != 0 || done.stdout() == "bin/busybox\n", "{done}");
        }
        case.delete(&b.id);
    }
}

#[test]
fn a_directory_that_is_exchanged_all_the_time_leads_nowhere_else() {
    // T-D2.
    let case = case!();
    let b = case.script(
        "while :; do for n in 3 4 5 6 7 8 9; do ln -sfn /proc/self/fd/$n /l; ln -sfn /tmp /l; done; done",
        |config| set_namespace(config, "pid", None),
    );
    case.started(&b);
    for _ in 0..100 {
        let done = sh(&case, &["--cwd", "/l"], &b, "pwd");
        let inside = ["/tmp\n", "/\n"].contains(&done.stdout().as_str());
        assert!(inside && done.code() == 0 || done.code() == 255, "{done}");
    }
    case.delete(&b.id);
}

#[test]
fn a_terminal_of_the_callers_is_not_the_containers() {
    // T-F4: no controlling terminal of the caller's, no session of it.
    let case = case!();
    let b = running(&case, |_| {});
    let pty = crate::support::terminal::Pty::open();
    let script = "cut -d' ' -f6,7 /proc/self/stat; [ $(cut -d' ' -f6 /proc/$$/stat) = $$ ] && echo leads";
    let done = case
        .call_through(&["setsid", "--ctty", "--wait"], ["exec", &b.id, "/bin/sh", "-c", script])
        .stdin(pty.slave())
        .finish()
        .ok();
    let lines = done.lines();
    assert!(lines[0].ends_with(" 0") && lines[1] == "leads", "{done}");
    case.delete(&b.id);
}

#[test]
fn a_working_directory_that_hangs_does_not_hold_the_container() {
    let case = case!();
    let b = running(&case, |_| {});
    // A FIFO as a program: nobody opens it for writing.
    sh(&case, &[], &b, "mkfifo /bin/fifo; chmod 755 /bin/fifo").ok();
    refused(exec(&case, &[&b.id, "/bin/fifo"]).finish(), &["permission denied"]);
    case.delete(&b.id);
}
