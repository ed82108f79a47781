//! The layers hold: a module uses only what is below it, `unsafe` stays in `sys`, the plan stays pure, and a
//! container's path is used as a path in one place only.
//!
//! Read from the source, not from the compiler: each `crate::x` is an edge. Comments, literals and unit tests
//! don't count.
#![expect(clippy::unwrap_used, reason = "tests panic")]

mod cycles;
mod source;

use std::path::Path;

use source::{Source, identifier, sources};

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
