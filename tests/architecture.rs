//! The layers hold: a module uses only what is below it, `unsafe` stays in `sys`, the plan stays pure, and a
//! container's path is used as a path in one place only.
//!
//! Read from the source, not from the compiler: each `crate::x` is an edge. Comments, literals and unit tests
//! don't count.
#![expect(clippy::unwrap_used, reason = "tests panic")]

use std::path::{Path, PathBuf};

/// The layers of the crate, lowest first. Modules of one rank don't use each other, those of one row do.
///
/// `error` and `log` are one: a step of undoing reports its failure in the log, and the log's own failures
/// are errors.
const LAYERS: [&[&[&str]]; 10] = [
    &[&["sys"]],
    &[&["error", "log"]],
    &[&["criu"], &["dbus"], &["proc"], &["rootpath"]],
    &[&["spec"]],
    &[&["plan"]],
    &[&["container"]],
    &[&["init"]],
    &[&["launch"]],
    &[&["verbs"]],
    &[&["oci"], &["frontend"]],
];

/// Who names a container's path as a path, and why that is safe there.
const SEEN_FROM_INSIDE: [(&str, &str); 4] = [
    ("rootpath.rs", "defines it"),
    ("init/identity.rs", "after the pivot: chdir to the working directory"),
    ("init/sources.rs", "the host's own device of the same name, checked to be that device"),
    ("frontend/run.rs", "text for the configuration that it writes"),
];

/// A source file: where it is below src, and its text without comments, literals and unit tests.
struct Source {
    path: PathBuf,
    code: String,
    text: String,
}

impl Source {
    /// The module below the crate's root that it belongs to: a file's own name or its directory.
    fn module(&self) -> String {
        let first = self.path.components().next().unwrap();
        Path::new(first.as_os_str()).file_stem().unwrap().to_str().unwrap().to_owned()
    }

    /// How many modules it is below the crate's root.
    fn depth(&self) -> usize {
        self.path.components().count() - usize::from(self.path.ends_with("mod.rs"))
    }

    /// What it names as `crate::x`: (line, x).
    fn edges(&self) -> Vec<(usize, String)> {
        let mut edges = Vec::new();
        for (at, _) in self.code.match_indices("crate::") {
            let line = self.code[..at].matches('\n').count() + 1;
            let rest = &self.code[at + "crate::".len()..];
            let names = match rest.strip_prefix('{') {
                Some(group) => group_names(group),
                None => vec![identifier(rest)],
            };
            edges.extend(names.into_iter().map(|name| (line, name)));
        }
        edges
    }

    fn name(&self) -> String {
        self.path.display().to_string()
    }
}

/// The first names of `{a, b::{c, d}, e}`, the opening brace taken off.
fn group_names(group: &str) -> Vec<String> {
    let mut names = Vec::new();
    let (mut depth, mut at_name) = (0, true);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => at_name = true,
            c if at_name && !c.is_whitespace() => {
                names.push(identifier(&group[at..]));
                at_name = false;
            }
            _ => {}
        }
    }
    names
}

fn identifier(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

/// All sources of the library. What is only compiled for tests is not among them.
fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut sources = Vec::new();
    collect(&root, &root, &mut sources);
    assert!(sources.len() > 40, "only {} files found", sources.len());
    sources
}

fn collect(root: &Path, dir: &Path, sources: &mut Vec<Source>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(root, &path, sources);
        } else if path.extension().is_some_and(|e| e == "rs") && !path.ends_with("tests.rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            let mut code = without_comments_and_literals(&text);
            if let Some(tests) = code.find("#[cfg(test)]\nmod tests {") {
                code.truncate(tests);
            }
            sources.push(Source { path: path.strip_prefix(root).unwrap().to_owned(), code, text });
        }
    }
}

/// Blanks comments, strings and characters, and keeps the lines.
fn without_comments_and_literals(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if let Some(hashes) = raw_string(rest) {
            let end = format!("\"{}", "#".repeat(hashes));
            let open = hashes + 2;
            open + rest[open..].find(&end).unwrap() + end.len()
        } else if c == '"' {
            quoted(rest, '"')
        } else if c == '\'' && (rest[1..].starts_with('\\') || rest[1..].chars().nth(1) == Some('\'')) {
            quoted(rest, '\'')
        } else {
            out.push(c);
            rest = &rest[c.len_utf8()..];
            continue;
        };
        out.extend(rest[..skipped].chars().filter(|c| *c == '\n'));
        rest = &rest[skipped..];
    }
    out
}

fn raw_string(text: &str) -> Option<usize> {
    let hashes = text.strip_prefix('r')?.chars().take_while(|c| *c == '#').count();
    text[1 + hashes..].starts_with('"').then_some(hashes)
}

/// The length of a literal with its quotes.
fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// Rank and row of a module. `None` for what is no module: an item of the crate's root.
fn place(module: &str) -> Option<(usize, usize)> {
    let row = |rows: &&[&[&str]]| rows.iter().position(|row| row.contains(&module));
    LAYERS.iter().enumerate().find_map(|(rank, rows)| row(rows).map(|row| (rank, row)))
}

/// The library's own files; src/bin and lib.rs are above all layers.
fn layered() -> Vec<Source> {
    let is_layered = |source: &Source| source.module() != "bin" && source.module() != "lib";
    sources().into_iter().filter(is_layered).collect()
}

#[test]
fn every_module_has_a_layer() {
    let placed: usize = LAYERS.iter().flat_map(|rows| rows.iter()).map(|row| row.len()).sum();
    let mut modules: Vec<String> = layered().iter().map(Source::module).collect();
    modules.sort();
    modules.dedup();
    for module in &modules {
        assert!(place(module).is_some(), "src/{module} is in no layer of this test");
    }
    assert_eq!(modules.len(), placed, "a layer of this test is not there any more: {modules:?}");
}

#[test]
fn a_module_uses_only_layers_below_it() {
    let mut count = 0;
    for source in layered() {
        let user = source.module();
        let (rank, row) = place(&user).unwrap();
        for (line, used) in source.edges() {
            let (below, used_row) =
                place(&used).unwrap_or_else(|| panic!("{}:{line}: crate::{used}", source.name()));
            let fine = below < rank || (below, used_row) == (rank, row);
            assert!(fine, "src/{}:{line}: {user} uses {used}, which is not below it", source.name());
            count += 1;
        }
    }
    assert!(count > 100, "only {count} edges found");
}

#[test]
fn no_module_goes_around_the_layers_by_super() {
    for source in layered() {
        let too_far = "super::".repeat(source.depth());
        assert!(
            !source.code.contains(&too_far),
            "src/{}: {too_far} is the crate's root: write crate::",
            source.name()
        );
    }
}

#[test]
fn unsafe_is_in_sys_only() {
    for source in sources().iter().filter(|source| source.module() != "sys") {
        for (number, line) in source.code.lines().enumerate() {
            let words = line.split(|c: char| !c.is_alphanumeric() && c != '_');
            for word in words {
                assert!(
                    !["unsafe", "unsafe_code"].contains(&word),
                    "src/{}:{}: {line}",
                    source.name(),
                    number + 1
                );
            }
        }
    }
}

#[test]
fn the_plan_makes_no_system_call() {
    let mut seen = 0;
    for source in sources().iter().filter(|source| source.module() == "plan") {
        let file = source.name();
        for (number, line) in source.code.lines().enumerate() {
            let at = format!("src/{file}:{}: {}", number + 1, line.trim());
            for (prefix, allowed) in [("libc::", ""), ("nix::", "nix::sys::resource::Resource")] {
                for (begin, _) in line.match_indices(prefix) {
                    let constant =
                        identifier(&line[begin + prefix.len()..]).chars().all(|c| !c.is_lowercase());
                    let fine = if allowed.is_empty() { constant } else { line[begin..].starts_with(allowed) };
                    assert!(fine, "{at}: only types and constants");
                    seen += 1;
                }
            }
            for word in [
                "std::fs",
                "std::env",
                "std::process",
                "std::time",
                "std::net",
                "std::io",
                "SystemTime",
                "Instant",
            ] {
                assert!(!line.contains(word), "{at}: {word} in the plan, which is pure");
            }
            // Types of the layer below are data; its functions are system calls.
            if let Some((_, names)) = line.split_once("crate::sys::") {
                let leaf =
                    names.rsplit_once("::").map_or(names, |(_, leaf)| leaf).trim_matches(['{', '}', ';']);
                let is_data = |name: &str| name.starts_with(char::is_uppercase) || name == "attr";
                assert!(leaf.split(',').map(str::trim).all(is_data), "{at}: only types");
                seen += 1;
            }
        }
        let logs = source.edges().into_iter().find(|(_, used)| used == "log");
        assert!(
            logs.is_none(),
            "src/{file}:{}: the plan writes to the log, which is a system call",
            logs.unwrap().0
        );
    }
    assert!(seen > 10, "only {seen} uses found");
}

#[test]
fn the_reader_knows_in_which_process_a_file_runs() {
    for source in sources().iter().filter(|source| ["init", "launch"].contains(&source.module().as_str())) {
        assert!(
            source.text.starts_with("//! Runs in: "),
            "src/{}: its first line has to be //! Runs in: ...",
            source.name()
        );
    }
}

#[test]
fn no_module_is_a_drawer() {
    for source in sources() {
        for component in source.path.components() {
            let name = Path::new(component.as_os_str()).file_stem().unwrap().to_str().unwrap();
            let drawer = ["util", "utils", "common", "helper", "helpers", "misc"].contains(&name);
            assert!(!drawer, "src/{}: if a function has no home, its module is missing", source.name());
        }
    }
}

#[test]
fn a_containers_path_is_a_path_after_the_pivot_only() {
    for source in sources().iter().filter(|source| source.code.contains("seen_from_inside")) {
        let known = SEEN_FROM_INSIDE.iter().any(|(file, _)| source.path == Path::new(file));
        assert!(
            known,
            "src/{} uses a path of the container outside of it: rootpath::Rootfs opens it",
            source.name()
        );
    }
}

#[test]
fn the_programs_are_one_call_into_the_library() {
    for source in sources().iter().filter(|source| source.module() == "bin") {
        assert_eq!(source.code.matches("minidocker_oci::entry!(").count(), 1, "src/{}", source.name());
        assert_eq!(source.code.matches("fn ").count(), 0, "src/{}", source.name());
        assert!(source.code.lines().count() < 12, "src/{}", source.name());
    }
}

#[test]
fn the_scanner_sees_through_comments_and_literals() {
    let code = without_comments_and_literals(
        "a // crate::x\nb \"crate::y\" r#\"crate::z \"q\" \"# '\"' 'a 'x' c /* crate::w\n*/ d",
    );
    assert_eq!(code, "a \nb    'a  c \n d");
    assert_eq!(group_names("error::{Doing, Result}, sys, log::{self}};"), ["error", "sys", "log"]);
}
