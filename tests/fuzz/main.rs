//! The fuzz targets as property tests: what every input must leave true, tried on the committed corpora, on
//! the configurations of the repository and on some thousand mutations of both. `tests/fuzz/run` gives the same
//! entries to libFuzzer, which finds its way by coverage; what it has found new is in the corpora.
//!
//! `FUZZ_SECONDS` makes each target run that long. A failing input is written to `target/fuzz/NAME-failure`.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests panic")]
#![expect(clippy::print_stderr, reason = "shown with a failure, or with --nocapture")]

mod mutate;
mod targets;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use mutate::Random;
use targets::{Input, Target};

/// So many mutations without `FUZZ_SECONDS`.
const MUTATIONS: usize = 2000;
/// No input may take more of the processor's time, whatever else that does meanwhile.
const SLOWEST: Duration = Duration::from_secs(10);

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(dir) else {
        return Vec::new();
    };
    let mut files: Vec<PathBuf> = entries.map(|e| e.unwrap().path()).filter(|p| p.is_file()).collect();
    files.sort();
    files
}

/// The target's corpus, and the configurations of the repository for one that reads configurations.
fn seeds(target: &Target) -> Vec<Vec<u8>> {
    let mut paths = files(&repository().join("tests/fuzz/corpus").join(target.name));
    assert!(!paths.is_empty(), "{} has no corpus", target.name);
    if target.input == Input::Config {
        let bundles = std::fs::read_dir(repository().join("bundles")).unwrap();
        paths.extend(bundles.map(|b| b.unwrap().path().join("config.json")).filter(|p| p.is_file()));
        for shared in ["configs", "runtime-spec-schema/test/config/good"] {
            paths.extend(files(&repository().join("../shared/data").join(shared)));
        }
    }
    paths.iter().map(|path| std::fs::read(path).unwrap()).collect()
}

/// How long this thread has been at work.
fn busy() -> Duration {
    let usage = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_THREAD).unwrap();
    let spent = |time: nix::sys::time::TimeVal| {
        Duration::new(time.tv_sec().unsigned_abs(), u32::try_from(time.tv_usec()).unwrap() * 1000)
    };
    spent(usage.user_time()) + spent(usage.system_time())
}

/// Whether the target's property holds for the input; if not, the input is kept.
fn try_one(target: &Target, input: &[u8]) {
    let began = busy();
    let outcome = catch_unwind(AssertUnwindSafe(|| (target.entry)(input)));
    let took = busy() - began;
    if outcome.is_ok() && took < SLOWEST {
        return;
    }
    let dir = repository().join("target/fuzz");
    let kept = dir.join(format!("{}-failure", target.name));
    #[expect(clippy::disallowed_methods, reason = "a place of the checkout's own")]
    std::fs::create_dir_all(&dir).and_then(|()| std::fs::write(&kept, input)).unwrap();
    panic!("{} fails on the input in {kept:?} after {took:?}", target.name);
}

fn survives(name: &str) {
    let target = targets::ALL.iter().find(|target| target.name == name).unwrap();
    let seeds = seeds(target);
    seeds.iter().for_each(|seed| try_one(target, seed));
    let until = std::env::var("FUZZ_SECONDS").ok().map(|text| {
        let seconds = text.parse().unwrap_or_else(|_| panic!("FUZZ_SECONDS={text:?} is no number"));
        Instant::now() + Duration::from_secs(seconds)
    });
    // The same inputs each time, so that a failure comes again; with a time to fill, new ones.
    let mut random = Random::new(if until.is_some() { u64::from(std::process::id()) } else { 1 });
    let mut tried = 0;
    while until.map_or(tried < MUTATIONS, |until| Instant::now() < until) {
        let mut input = random.choose(&seeds).clone();
        for _ in 0..=random.below(4) {
            input = mutate::mutated(&input, target.input, &seeds, &mut random);
        }
        try_one(target, &input);
        tried += 1;
    }
    eprintln!("{name}: {} seeds, {tried} mutations", seeds.len());
}

#[test]
fn a_configuration_becomes_a_sound_plan_or_an_error() {
    survives("config");
}

#[test]
fn mount_options_are_parsed_or_refused() {
    survives("mount-options");
}

#[test]
fn an_id_is_one_component_of_a_path_or_refused() {
    survives("id");
}

#[test]
fn a_user_is_who_its_text_says_whatever_the_image_has() {
    survives("user");
}

#[test]
fn a_cgroup_path_stays_below_the_tree() {
    survives("cgroup-path");
}

#[test]
fn a_process_of_exec_becomes_a_plan_or_an_error() {
    survives("exec-process");
}

#[test]
fn a_user_of_exec_is_the_number_that_is_written() {
    survives("exec-user");
}

#[test]
fn a_record_is_read_or_refused() {
    survives("record");
}

#[test]
fn a_seccomp_profile_becomes_a_sound_program_or_an_error() {
    survives("seccomp");
}

#[test]
fn every_target_has_its_test() {
    let source = include_str!("main.rs");
    for target in targets::ALL {
        assert!(source.contains(&format!("survives(\"{}\")", target.name)), "{}", target.name);
    }
}
