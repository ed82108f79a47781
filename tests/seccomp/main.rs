//! Compiled profiles against what they say: each is asked questions, and so are its rules, read plainly.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests panic")]
#![cfg(target_arch = "x86_64")]

mod bpf;
mod differ;
mod generate;
mod rules;
#[path = "../skip/mod.rs"]
mod skip;

use std::path::{Path, PathBuf};

use differ::{Differ, compile};
use generate::Dice;
use minidocker_oci::spec::oci::LinuxSeccomp;
use serde_json::{Value, json};

fn parsed(profile: &Value) -> LinuxSeccomp {
    serde_json::from_value(profile.clone()).unwrap_or_else(|e| panic!("{profile}: {e}"))
}

#[test]
fn every_profile_of_the_bundles_means_what_it_says() {
    let bundles = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("bundles")).unwrap();
    let configs = bundles.map(|entry| entry.unwrap().path().join("config.json"));
    mean_what_they_say(&configs.filter(|path| path.is_file()).collect::<Vec<_>>());
}

#[test]
fn every_profile_of_the_engines_means_what_it_says() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/configs");
    match std::fs::read_dir(&dir) {
        Ok(entries) => mean_what_they_say(&entries.map(|entry| entry.unwrap().path()).collect::<Vec<_>>()),
        Err(_) => skip::skip(&format!("{dir:?} is not there")),
    }
}

fn mean_what_they_say(configs: &[PathBuf]) {
    let mut count = 0;
    for config in configs.iter().filter(|path| path.extension().is_some_and(|e| e == "json")) {
        let text = std::fs::read_to_string(config).unwrap();
        let config: Value = serde_json::from_str(&text).unwrap();
        if let Some(profile) = config.pointer("/linux/seccomp") {
            let profile = parsed(profile);
            let program = compile(&profile).unwrap();
            Differ::new(&profile, &program).all(&mut Dice::new(1), 4).unwrap();
            count += 1;
        }
    }
    assert!(count >= 1, "no profile in {configs:?}");
}

/// The same with as few rules, names and arguments as still make a difference.
fn shrunk(mut profile: Value) -> Value {
    let differs = |profile: &Value| {
        let parsed = parsed(profile);
        compile(&parsed).is_ok_and(|p| Differ::new(&parsed, &p).all(&mut Dice::new(2), 9).is_err())
    };
    let lists = ["/architectures".to_owned(), "/syscalls".to_owned()].into_iter();
    let inner = (0..9).flat_map(|n| [format!("/syscalls/{n}/names"), format!("/syscalls/{n}/args")]);
    for list in lists.chain(inner) {
        let mut at = 0;
        while let Some(items) = profile.pointer(&list).and_then(Value::as_array).filter(|l| at < l.len()) {
            let mut fewer = items.clone();
            fewer.remove(at);
            let mut smaller = profile.clone();
            *smaller.pointer_mut(&list).unwrap() = fewer.into();
            match differs(&smaller) {
                true => profile = smaller,
                false => at += 1,
            }
        }
    }
    profile
}

#[test]
fn generated_profiles_mean_what_they_say() {
    let (mut compiled, mut refused) = (0, 0);
    for seed in 0..3000 {
        let mut dice = Dice::new(seed);
        let profile = generate::profile(&mut dice);
        match compile(&parsed(&profile)) {
            Ok(program) => {
                let differ = Differ::new(&parsed(&profile), &program).all(&mut dice, 3);
                if let Err(error) = differ {
                    panic!("seed {seed}: {error}\nat least: {}", shrunk(profile));
                }
                compiled += 1;
            }
            Err(error) => {
                // The two things that can be said and not be compiled.
                let text = format!("{error:#}");
                let words = ["the same comparisons and another action", "4096"];
                assert!(words.iter().any(|words| text.contains(words)), "seed {seed}: {text}");
                refused += 1;
            }
        }
    }
    let counts = format!("{compiled} compiled, {refused} refused");
    println!("{counts}");
    assert!(compiled > 10 * refused, "{counts}");
}

/// Rules for one call and few arguments, where libseccomp merges comparisons.
#[test]
fn rules_that_compare_the_same_argument_mean_what_they_say() {
    let operators = ["NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"];
    for (seed, (a, b)) in operators.iter().flat_map(|a| operators.iter().map(move |b| (a, b))).enumerate() {
        for round in 0..6 {
            let mut dice = Dice::new((seed * 6 + round) as u64);
            let rules: Vec<Value> = [a, b, a]
                .iter()
                .zip(["SCMP_ACT_ERRNO", "SCMP_ACT_TRAP", "SCMP_ACT_LOG"])
                .map(|(op, action)| {
                    let (value, two) = (generate::value(&mut dice), generate::value(&mut dice));
                    let op = format!("SCMP_CMP_{op}");
                    let arg = json!({ "index": 0, "op": op, "value": value, "valueTwo": two });
                    json!({ "names": ["read"], "action": action, "args": [arg] })
                })
                .collect();
            let profile = json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules });
            let Ok(program) = compile(&parsed(&profile)) else { continue };
            Differ::new(&parsed(&profile), &program)
                .all(&mut dice, 2)
                .unwrap_or_else(|e| panic!("{a} {b}: {e}\n{profile}"));
        }
    }
}

#[test]
fn a_large_profile_is_a_small_tree_and_is_compiled_in_time() {
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("bundles/podman-default/config.json");
    let config: Value = serde_json::from_str(&std::fs::read_to_string(config).unwrap()).unwrap();
    let program = compile(&parsed(&config["linux"]["seccomp"])).unwrap();
    // As a list it would take some hundred instructions to get to the last of 400 calls.
    let steps = |number| {
        let question = bpf::Question { number, arch: rules::X86_64, args: [0; 6] };
        program.verdict(&question).unwrap().1
    };
    let most = (0..460).map(steps).max().unwrap();
    assert!(most < 24 && program.len() < 400, "{most} steps of {}", program.len());

    // As many instructions as rules, and the time for each grows with their number.
    let rule = |n: u64| {
        json!({ "names": ["kill"], "action": "SCMP_ACT_ERRNO",
            "args": [{ "index": 1, "op": "SCMP_CMP_EQ", "value": n * 3 }] })
    };
    for (count, words) in [(3900, ""), (4090, "4096"), (5000, "rules with arguments"), (60_000, "rules with")]
    {
        let rules: Vec<Value> = (0..count).map(rule).collect();
        let profile = parsed(&json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules }));
        let compiled = compile(&profile);
        match words {
            "" => assert!(compiled.unwrap().len() > 3900),
            _ => assert!(format!("{:#}", compiled.unwrap_err()).contains(words)),
        }
    }
}
