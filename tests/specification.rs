//! What the specification lists, all of it: its JSON Schema against what the conformance suite covers, its fixtures
//! against our parser, and `features` against README's table.
//!
//! The schema is not ours and not in the repository: its tests look for it in `../shared`, and skip themselves
//! where that is not there.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests panic")]

#[path = "../conformance/properties.rs"]
mod properties;
#[expect(dead_code, reason = "the suite and the tests of containers use the rest")]
#[path = "../conformance/resources.rs"]
mod resources;
mod skip;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use minidocker_oci::plan::{self, HostFacts, Wishes};
use minidocker_oci::spec::{self, Bundle};
use minidocker_oci::verbs::features::features;
use properties::Covered;
use serde_json::Value;

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Where the schema is; without it the test says so and is counted as skipped.
fn schema() -> Option<PathBuf> {
    let dir = repository().join("../shared/data/runtime-spec-schema");
    if dir.is_dir() {
        return Some(dir);
    }
    skip::skip(&format!("{dir:?} is not there"));
    None
}

fn files(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<_> = std::fs::read_dir(dir)
        .unwrap_or_else(|e| panic!("{dir:?}: {e}"))
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), std::fs::read(&path).unwrap()))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "{dir:?} is empty");
    files
}

/// What `create` says of a configuration before it does anything.
fn accepted(config: &[u8]) -> Result<(), String> {
    let check = || {
        let bundle = Bundle { dir: "/bundle".into(), spec: spec::parse(config)? };
        plan::compile(&bundle, "c", HostFacts::default(), Wishes::default()).map(drop)
    };
    check().map_err(|error| format!("{error:#}"))
}

/// The fixtures but those that are for another system: these are not for this program to judge.
fn configurations(dir: &Path) -> impl Iterator<Item = (String, Vec<u8>)> {
    let ours = |name: &str| !name.starts_with("freebsd") && !name.starts_with("zos");
    files(dir).into_iter().filter(move |(name, _)| ours(name))
}

#[test]
fn good_configurations_of_the_specification_load() {
    let Some(dir) = schema() else { return };
    for (name, config) in configurations(&dir.join("test/config/good")) {
        let mut config: Value = serde_json::from_slice(&config).unwrap();
        let loads = |config: &Value| spec::parse(config.to_string().as_bytes()).map(drop);
        if config["ociVersion"].as_str().unwrap().starts_with("0.") {
            let refused = format!("{:#}", loads(&config).unwrap_err());
            assert!(refused.starts_with("/ociVersion: "), "{name}: {refused}");
            config["ociVersion"] = "1.0.0".into();
        }
        assert!(loads(&config).is_ok(), "{name}: {:?}", loads(&config));
    }
}

#[test]
fn bad_configurations_of_the_specification_are_refused() {
    let Some(dir) = schema() else { return };
    for (name, config) in configurations(&dir.join("test/config/bad")) {
        let error = accepted(&config).expect_err(&name);
        // For what is wrong with it, and not for something else.
        let property = name.trim_end_matches(".json").rsplit('-').next().unwrap();
        assert!(error.to_lowercase().contains(property), "{name}: {error}");
    }
}

#[test]
fn features_and_state_fixtures_of_the_specification_are_told_apart() {
    let Some(dir) = schema() else { return };
    for (kind, expected) in [("good", true), ("bad", false)] {
        for (name, document) in files(&dir.join("test/features").join(kind)) {
            let read = serde_json::from_slice::<spec::oci::Features>(&document);
            assert_eq!(read.is_ok(), expected, "features {kind} {name}: {read:?}");
        }
        for (name, document) in files(&dir.join("test/state").join(kind)) {
            let read = serde_json::from_slice::<spec::oci::State>(&document);
            assert_eq!(read.is_ok(), expected, "state {kind} {name}: {read:?}");
        }
    }
}

/// The schema's properties as paths: `linux.devices[].type`, `linux.netDevices{}.name`.
struct Properties {
    dir: PathBuf,
    files: BTreeMap<String, Value>,
    found: BTreeSet<String>,
}

impl Properties {
    fn of(dir: &Path, file: &str) -> BTreeSet<String> {
        let mut properties = Self { dir: dir.to_owned(), files: BTreeMap::new(), found: BTreeSet::new() };
        let root = properties.file(file);
        properties.walk(file, &root, "");
        properties.found
    }

    fn file(&mut self, name: &str) -> Value {
        let path = self.dir.join(name);
        let read =
            || serde_json::from_slice(&std::fs::read(&path).unwrap_or_else(|e| panic!("{path:?}: {e}")));
        self.files.entry(name.to_owned()).or_insert_with(|| read().unwrap()).clone()
    }

    fn walk(&mut self, file: &str, node: &Value, path: &str) {
        if !node.is_object() {
            return;
        }
        if let Some(reference) = node["$ref"].as_str() {
            let (other, pointer) = reference.split_once('#').unwrap();
            let other = if other.is_empty() { file } else { other };
            let target = self.file(other).pointer(pointer).cloned();
            self.walk(other, &target.unwrap_or_else(|| panic!("{reference} leads nowhere")), path);
        }
        for word in ["allOf", "anyOf", "oneOf"] {
            node[word].as_array().into_iter().flatten().for_each(|node| self.walk(file, node, path));
        }
        for (name, node) in node["properties"].as_object().into_iter().flatten() {
            let own = ["freebsd", "solaris", "vm", "windows", "zos"].contains(&name.as_str());
            if !(path.is_empty() && own) {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                self.found.insert(path.clone());
                self.walk(file, node, &path);
            }
        }
        self.walk(file, &node["items"], &format!("{path}[]"));
        self.walk(file, &node["additionalProperties"], &format!("{path}{{}}"));
        let patterns = node["patternProperties"].as_object().into_iter().flatten();
        patterns.for_each(|(_, node)| self.walk(file, node, &format!("{path}{{}}")));
    }
}

#[test]
fn every_property_of_the_schema_has_clauses_or_a_reason() {
    let Some(dir) = schema() else { return };
    for (file, covered) in properties::SCHEMAS {
        let found = Properties::of(&dir, file);
        assert!(found.len() >= covered.len(), "{file} has only {found:?}");
        let line = |path: &str| covered.iter().find(|(name, _)| *name == path).map(|(_, covered)| covered);
        let unlisted: Vec<&String> = found.iter().filter(|path| !is_covered(path, &line)).collect();
        assert!(unlisted.is_empty(), "conformance/properties.rs has nothing for {file}: {unlisted:?}");
        let stale: Vec<&str> =
            covered.iter().map(|(n, _)| *n).filter(|name| !found.contains(*name)).collect();
        assert!(stale.is_empty(), "{file} has no {stale:?}");
        for (name, covered) in covered {
            // That there are such clauses the suite itself sees to.
            let said = match covered {
                Covered::By(clauses) | Covered::Own(clauses) => clauses.concat(),
                Covered::Not(reason) => (*reason).to_owned(),
            };
            assert!(!said.is_empty(), "{name} has neither clauses nor a reason");
        }
    }
}

#[test]
fn every_resource_of_the_schema_is_in_the_table_of_resources() {
    let Some(dir) = schema() else { return };
    let found = Properties::of(&dir, "config-schema.json");
    let found: Vec<&str> = found.iter().filter_map(|path| path.strip_prefix("linux.resources.")).collect();
    assert!(found.len() > 40, "{found:?}");
    let rows: BTreeSet<&str> = resources::RESOURCES.iter().map(|resource| resource.property).collect();
    // What has rows below it, or is below a row.
    let below = |inner: &str, outer: &str| {
        inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[', '{']))
    };
    let unlisted: Vec<&&str> =
        found.iter().filter(|path| !rows.iter().any(|row| below(path, row) || below(row, path))).collect();
    assert!(unlisted.is_empty(), "conformance/resources.rs has nothing for {unlisted:?}");
    let stale: Vec<&&str> = rows.iter().filter(|row| !found.contains(row)).collect();
    assert!(stale.is_empty(), "the schema has no {stale:?}");
}

#[test]
fn the_table_of_resources_is_the_one_that_was_written_last_and_names_tests_that_there_are() {
    let read = |path: PathBuf| std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path:?}: {e}"));
    let table = read(repository().join("conformance/resources.md"));
    for resource in resources::RESOURCES {
        let begin = format!("| {} | `{}`", resource.property, resource.create);
        let row = table.lines().find(|line| line.starts_with(&begin) && line.contains(resource.file()));
        let row =
            row.unwrap_or_else(|| panic!("resources.md has no row {begin}: conformance/run --resources"));
        assert!(row.contains(resource.update) && row.contains(resource.test), "{row}");
        // A driver of which the table has nothing yet has no differences in it either.
        let is_in = |who: &str| !who.ends_with(" systemd") || table.contains("## Driver systemd");
        for (_, why) in resource.differs.iter().filter(|(who, _)| is_in(who)) {
            assert!(table.contains(why), "resources.md has no {why:?}: conformance/run --resources");
        }
        assert!(
            !resource.test.contains("::") || is_test(resource.test),
            "there is no test {}",
            resource.test
        );
    }
}

#[test]
fn the_tests_that_security_md_names_are_there() {
    let text = std::fs::read_to_string(repository().join("SECURITY.md")).unwrap();
    let is_name = |word: &&str| {
        word.contains("::")
            && !word
                .contains(|c: char| !c.is_ascii_lowercase() && !c.is_ascii_digit() && c != '_' && c != ':')
    };
    let names: Vec<&str> = text.split('`').filter(is_name).collect();
    assert!(names.len() > 20, "{names:?}");
    let missing: Vec<&&str> = names.iter().filter(|name| !is_test(name)).collect();
    assert!(missing.is_empty(), "there are no tests {missing:?}");
}

/// Whether there is a test of containers of this name: `module::name`.
fn is_test(path: &str) -> bool {
    let Some((module, name)) = path.rsplit_once("::") else { return false };
    let module = repository().join("tests/containers").join(module.replace("::", "/"));
    [module.with_extension("rs"), module.join("mod.rs")]
        .into_iter()
        .any(|file| std::fs::read_to_string(file).is_ok_and(|source| source.contains(&format!("fn {name}("))))
}

/// By a line of its own, or by one of what it is in that speaks for all of it.
fn is_covered<'l>(path: &str, line: &dyn Fn(&str) -> Option<&'l Covered>) -> bool {
    if line(path).is_some() {
        return true;
    }
    let parents = path.match_indices('.').map(|(at, _)| path[..at].trim_end_matches(['[', ']', '{', '}']));
    parents.rev().find_map(line).is_some_and(|parent| !matches!(parent, Covered::Own(_)))
}

/// `features` as a table for README.
fn table() -> String {
    let document = features();
    let mut rows: Vec<(String, String)> = Vec::new();
    collect(&document, "", &mut rows);
    let rows = rows.into_iter().filter(|(name, _)| !name.starts_with("annotations"));
    let lines = rows.map(|(name, value)| format!("| `{name}` | {value} |\n"));
    format!("| `features` | |\n|--|--|\n{}", lines.collect::<String>())
}

fn collect(node: &Value, path: &str, rows: &mut Vec<(String, String)>) {
    let text = match node {
        Value::Object(map) => {
            for (name, node) in map {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                collect(node, &path, rows);
            }
            return;
        }
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::Array(list) => {
            let names: Vec<&str> = list.iter().filter_map(Value::as_str).collect();
            let common = common_prefix(&names);
            let short: Vec<&str> = names.iter().map(|name| &name[common.len()..]).collect();
            match (common, short.is_empty()) {
                (_, true) => "none".to_owned(),
                ("", _) => short.join(" "),
                (common, _) => format!("{common}: {}", short.join(" ")),
            }
        }
        other => other.as_str().map_or_else(|| other.to_string(), str::to_owned),
    };
    rows.push((path.to_owned(), text));
}

/// Up to the last `_` that all names have in common: `SCMP_ACT_`.
fn common_prefix<'n>(names: &[&'n str]) -> &'n str {
    let Some(first) = names.first().filter(|_| names.len() > 1) else { return "" };
    let mut ends = first.match_indices('_').map(|(at, _)| &first[..=at]);
    ends.rfind(|prefix| names.iter().all(|name| name.starts_with(prefix))).unwrap_or("")
}

#[test]
fn readme_lists_what_features_says() {
    const BEGIN: &str =
        "<!-- what `minidocker-oci features` says; UPDATE_GOLDEN=1 cargo test --test specification -->\n";
    const END: &str = "<!-- end of features -->\n";
    let path = repository().join("README.md");
    let readme = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = readme.split_once(BEGIN).expect("README.md has the table's first line");
    let (old, after) = rest.split_once(END).expect("README.md has the table's last line");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        #[expect(clippy::disallowed_methods, reason = "writes into the checkout, when asked to")]
        std::fs::write(&path, format!("{before}{BEGIN}{}{END}{after}", table())).unwrap();
        return;
    }
    assert_eq!(old, table(), "UPDATE_GOLDEN=1 cargo test --test specification writes it anew");
}
