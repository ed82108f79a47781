//! Modules beside each other use each other in one direction only: who reads them can begin at the lowest.
//!
//! What a module re-exports counts as the module that it is from: `super::Name` may well be a sibling's.

use std::collections::{BTreeMap, BTreeSet};

use crate::source::{Source, identifier, sources};

/// Those that form a ring, and why that is so.
const RINGS: [(&[&str], &str); 1] = [(
    &["error", "log"],
    "a step of undoing reports its failure in the log, and the log's own failures are errors",
)];

/// The names of a module from the crate's root on, or of something in it.
type Path = Vec<String>;

/// Who uses whom, among the modules beside each other.
type Uses = BTreeMap<Path, BTreeSet<Path>>;

#[test]
fn modules_beside_each_other_form_no_ring() {
    let sources: Vec<Source> = sources().into_iter().filter(|source| source.module() != "bin").collect();
    let uses = uses(&sources);
    assert!(uses.values().map(BTreeSet::len).sum::<usize>() > 200, "{uses:?}");
    let rings: BTreeSet<Vec<String>> = uses.keys().filter_map(|module| ring_of(module, &uses)).collect();
    let known: BTreeSet<Vec<String>> =
        RINGS.iter().map(|(ring, _)| ring.iter().map(|&name| name.to_owned()).collect()).collect();
    assert_eq!(rings, known, "modules that use each other, and those that are known to");
}

#[test]
fn a_ring_is_found_whatever_way_its_modules_are_named() {
    let source = |path: &str, code: &str| Source::of(path.into(), code.to_owned());
    let sources = [
        source("lib.rs", "mod a; mod b;"),
        source(
            "a/mod.rs",
            "mod one; mod two; mod three; mod four; pub(crate) use two::{Two, deep::Deeper as D};",
        ),
        source("a/one.rs", "use super::{two::Two, three}; fn f() { crate::b::f() }"),
        source("a/two.rs", "use crate::a::{three::{self, g}};"),
        source("a/three.rs", "fn f(_: super::one::One) {} use super::four::Four;"),
        source("a/four.rs", "mod inner; fn f() { inner::f(); super::f() }"),
        source("a/four/inner.rs", "use super::super::Two; use super::f;"),
        source("b.rs", "use crate::lib;"),
    ];
    let uses = uses(&sources);
    let names = |module: &str| ring_of(&[String::from("a"), module.to_owned()], &uses);
    let ring = Some(["a/four", "a/one", "a/three", "a/two"].map(String::from).to_vec());
    assert_eq!(
        [names("one"), names("two"), names("three"), names("four")],
        [ring.clone(), ring.clone(), ring.clone(), ring]
    );
    assert_eq!(ring_of(&["b".to_owned()], &uses), None);
}

/// The modules that a module uses and that use it, itself included, whichever way around.
fn ring_of(module: &[String], uses: &Uses) -> Option<Vec<String>> {
    let back = |other: &&Path| reached(other, uses).contains(module);
    let mut ring: Vec<String> =
        reached(module, uses).iter().filter(back).map(|path| path.join("/")).collect();
    ring.sort();
    (!ring.is_empty()).then_some(ring)
}

fn reached(module: &[String], uses: &Uses) -> BTreeSet<Path> {
    let mut reached = BTreeSet::new();
    let mut next = vec![module.to_vec()];
    while let Some(module) = next.pop() {
        next.extend(
            uses.get(&module).into_iter().flatten().filter(|used| reached.insert((*used).clone())).cloned(),
        );
    }
    reached
}

/// For each module what it uses of those beside it, all that is below either counted as the module itself.
fn uses(sources: &[Source]) -> Uses {
    let modules: BTreeSet<Path> = sources.iter().map(own_path).collect();
    let named = |source: &Source| -> Vec<Path> {
        let children =
            modules.iter().filter(|module| module.split_last().is_some_and(|(_, of)| of == own_path(source)));
        let starts: Vec<&str> = ["crate", "super", "self"]
            .into_iter()
            .chain(children.map(|path| path.last().unwrap().as_str()))
            .collect();
        paths(&source.code, &starts).into_iter().map(|path| absolute(&own_path(source), path)).collect()
    };
    let mut exports: BTreeMap<Path, Path> = BTreeMap::new();
    for source in sources {
        for path in exported(&source.code) {
            let path = absolute(&own_path(source), path);
            let mut name = own_path(source);
            name.extend(path.last().cloned());
            exports.insert(name, path);
        }
    }
    let mut uses = Uses::new();
    for source in sources {
        let user = own_path(source);
        for path in named(source) {
            let used = defining(&path, &modules, &exports);
            let common = user.iter().zip(&used).take_while(|(a, b)| a == b).count();
            if common < user.len() && common < used.len() {
                uses.entry(user[..=common].to_vec()).or_default().insert(used[..=common].to_vec());
            }
        }
    }
    uses
}

fn own_path(source: &Source) -> Path {
    let names = source.path.with_extension("");
    let mut path: Path = names.iter().map(|name| name.to_str().unwrap().to_owned()).collect();
    if path.last().is_some_and(|last| last == "mod" || last == "lib") {
        path.pop();
    }
    path
}

/// The module in which it is defined, a re-export on the way followed.
fn defining(path: &[String], modules: &BTreeSet<Path>, exports: &BTreeMap<Path, Path>) -> Path {
    let module = |path: &[String]| -> Path {
        (0..=path.len())
            .rev()
            .map(|length| path[..length].to_vec())
            .find(|path| modules.contains(path))
            .unwrap()
    };
    let found = module(path);
    match path.get(..=found.len()).and_then(|name| exports.get(name)) {
        Some(original) => module(original),
        None => found,
    }
}

/// From the crate's root, of what a module says.
fn absolute(module: &[String], said: Path) -> Path {
    let mut path = if said[0] == "crate" { Path::new() } else { module.to_vec() };
    for name in said {
        match name.as_str() {
            "crate" | "self" => {}
            "super" => drop(path.pop()),
            _ => path.push(name),
        }
    }
    path
}

/// All paths in a text that begin with one of these names.
fn paths(code: &str, starts: &[&str]) -> Vec<Path> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("::") {
        let begin =
            code[..at].rfind(|c: char| !c.is_alphanumeric() && c != '_').map_or(0, |before| before + 1);
        if starts.contains(&&code[begin..at]) && !code[..begin].ends_with("::") {
            tree(&code[begin..], Path::new(), &mut found);
        }
    }
    found
}

/// What a module re-exports from those below it.
fn exported(code: &str) -> Vec<Path> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices(" use ") {
        let visibility = code[..at].rsplit([';', '}', '\n']).next().unwrap().trim();
        if visibility.starts_with("pub") {
            tree(&code[at + " use ".len()..], Path::new(), &mut found);
        }
    }
    found.retain(|path| !path[0].starts_with(char::is_uppercase));
    found
}

/// Reads `a::{b, c::{d as e, self}}` into one path for each leaf; answers what comes behind it.
fn tree<'a>(code: &'a str, before: Path, found: &mut Vec<Path>) -> &'a str {
    let mut path = before;
    let mut rest = code.trim_start();
    loop {
        if let Some(mut inner) = rest.strip_prefix('{') {
            while !inner.starts_with('}') {
                let behind = tree(inner, path.clone(), found).trim_start();
                assert!(behind.len() < inner.trim_start().len(), "not a list of names: {inner:.80}");
                inner = behind;
                inner = inner.strip_prefix(',').unwrap_or(inner).trim_start();
            }
            return &inner[1..];
        }
        let name = identifier(rest);
        rest = &rest[name.len()..];
        let is_new = !name.is_empty() && (name != "self" || path.is_empty());
        if is_new {
            path.push(name);
        }
        match rest.strip_prefix("::") {
            Some(more) => rest = more.trim_start(),
            None => break,
        }
    }
    found.push(path);
    let renamed = rest
        .trim_start()
        .strip_prefix("as ")
        .map(|name| &name.trim_start()[identifier(name.trim_start()).len()..]);
    renamed.unwrap_or_else(|| rest.strip_prefix('*').unwrap_or(rest))
}
