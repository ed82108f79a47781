//! `checkpoint` and `restore`, killed at their system calls: what `state` says is true, a container goes on or has been
//! written, one `delete -f` takes everything away, and what could be done before can be done again.
//!
//! All calls take minutes: by default some are tried, from the first to the last; `EVERY_CALL=1` tries all.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::options::{TALKING, got};
use super::{
    checkpoint_line, checkpoint_to, counting, goes_on, lacking, restore_from, restore_line, written,
};
use crate::support::{Bundle, Case, case, eventually, installed, is_there, need, nothing_is_left, read};

/// So many calls of a verb are tried, at least.
const SAMPLE: usize = 25;

/// One of a verb's calls: its name, and the how manieth of this name it is.
type Moment = (String, u32);

/// Those of a verb that are tried, in their order. CRIU's own are not among them.
fn moments(case: &Case, verb: &[&str]) -> Vec<Moment> {
    let log = case.path("trace");
    let flags = ["strace", "-D", "-qq", "-o", log.to_str().unwrap()];
    case.call_through(&flags, verb).finish().ok();
    let mut counts: BTreeMap<String, u32> = BTreeMap::new();
    let mut all = Vec::new();
    for line in read(&log).lines() {
        let name: String = line.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
        // Its execve is strace's, and to kill an exit is no kill.
        if line[name.len()..].starts_with('(') && !["execve", "exit_group"].contains(&name.as_str()) {
            let count = counts.entry(name.clone()).or_default();
            *count += 1;
            all.push((name, *count));
        }
    }
    let step = std::env::var_os("EVERY_CALL").map_or((all.len() / SAMPLE).max(1), |_| 1);
    // The last one is its last word.
    all.into_iter().rev().step_by(step).collect::<Vec<_>>().into_iter().rev().collect()
}

/// How a verb was killed, in words; nothing if it had ended before.
fn killed(case: &Case, (name, number): &Moment, verb: &[&str]) -> Option<String> {
    let log = case.path("inject");
    let (trace, inject) = (format!("trace={name}"), format!("inject={name}:signal=KILL:when={number}"));
    let flags = ["strace", "-D", "-qq", "-o", log.to_str().unwrap(), "-e", &trace, "-e", &inject];
    let done = case.call_through(&flags, verb).finish();
    match done.code() {
        0 => None,
        137 => Some(format!("by {verb:?} killed at {name} number {number}")),
        _ => panic!("{done}"),
    }
}

/// That a test has tried what it says.
fn enough(struck: usize, all: usize) {
    println!("killed {struck} of {all} times");
    assert!(struck > all * 3 / 4, "{struck} of {all}");
}

/// Its memory goes before its part in the lock, and with that its command line.
fn criu_is_at_work(case: &Case) -> bool {
    let processes = std::fs::read_dir("/proc").unwrap().filter_map(|entry| Some(entry.ok()?.path()));
    let is_criu = |process: &PathBuf| {
        std::fs::read(process.join("cmdline")).is_ok_and(|line| line.starts_with(b"criu"))
            && std::fs::read_link(process.join("cwd")).is_ok_and(|cwd| cwd.starts_with(&case.dir))
    };
    processes.into_iter().any(|process| is_criu(&process))
}

/// Kills checkpoints of a container that counts, and looks what has become of it.
fn sweep(case: &Case, look: impl Fn(&Bundle, &Path, &str)) {
    let b = counting(case, |_| {});
    let images = |round: usize| -> PathBuf { case.path(&format!("images-{round}")) };
    let moments = moments(case, &checkpoint_line(&case.path("first"), &[], &b.id));
    case.delete(&b.id);
    let (all, mut struck) = (moments.len(), 0);
    for (round, moment) in moments.iter().enumerate() {
        let images = images(round);
        let flags: &[&str] = if round % 2 == 0 { &[] } else { &["--leave-running"] };
        case.started(&b);
        assert!(goes_on(&b));
        if let Some(how) = killed(case, moment, &checkpoint_line(&images, flags, &b.id)) {
            struck += 1;
            look(&b, &images, &how);
        } else {
            case.delete(&b.id);
        }
        nothing_is_left(case, &format!("at {moment:?}"));
    }
    enough(struck, all);
}

#[test]
fn a_checkpoint_that_is_killed_at_any_system_call_is_taken_back_or_finished() {
    let case = criu_case!();
    need!(installed("strace"), "strace is not installed");
    sweep(&case, |b, images, how| {
        // An old CRIU does not freeze by itself.
        eventually(&format!("it goes on or has stopped {how}"), || case.status(&b.id) != "paused");
        if case.status(&b.id) == "running" {
            assert!(goes_on(b), "{how}");
            // Into the same directory, with what is there of the first one.
            checkpoint_to(&case, images, &b.id, &[]).ok();
        }
        case.until(&b.id, "stopped");
        case.call(["delete", &b.id]).finish().ok();
        nothing_is_left(&case, how);
        restore_from(&case, images, b, &b.id, &["-d"]).ok();
        assert!(goes_on(b), "{how}");
        case.delete(&b.id);
    });
}

#[test]
fn a_checkpoint_that_is_killed_at_any_system_call_is_ended_by_a_delete_at_once() {
    let case = criu_case!();
    need!(installed("strace"), "strace is not installed");
    sweep(&case, |b, _, how| {
        let status = case.status(&b.id);
        assert!(["running", "paused", "stopped"].contains(&status.as_str()), "{how}: {status}");
        case.delete(&b.id);
        assert!(!criu_is_at_work(&case), "{how}");
        nothing_is_left(&case, how);
    });
}

#[test]
fn connections_go_on_if_a_checkpoint_is_killed_at_any_system_call() {
    let case = criu_case!();
    need!(installed("strace"), "strace is not installed");
    let b = case.script(TALKING, |_| {});
    case.started(&b);
    eventually("they talk", || got(&b) > 3);
    let flags = ["--leave-running", "--tcp-established"];
    let moments = moments(&case, &checkpoint_line(&case.path("first"), &flags, &b.id));
    let (all, mut struck) = (moments.len(), 0);
    for (round, moment) in moments.iter().enumerate() {
        let images = case.path(&format!("images-{round}"));
        let at = got(&b);
        let how = killed(&case, moment, &checkpoint_line(&images, &flags, &b.id));
        struck += usize::from(how.is_some());
        let how = how.unwrap_or_default();
        // CRIU takes its rules away again.
        eventually(&format!("they go on to talk {how}"), || got(&b) > at + 3);
        assert_eq!(case.status(&b.id), "running", "{how}");
    }
    case.delete(&b.id);
    enough(struck, all);
}

#[test]
fn a_restore_that_is_killed_at_any_system_call_can_be_deleted_and_repeated() {
    let case = criu_case!();
    need!(installed("strace"), "strace is not installed");
    let b = written(&case);
    let images = case.path("images");
    let moments = moments(&case, &restore_line(&images, &b, &["-d"], &b.id));
    case.delete(&b.id);
    let (all, mut struck) = (moments.len(), 0);
    for (round, moment) in moments.iter().enumerate() {
        let flags: &[&str] = if round % 2 == 0 { &["-d"] } else { &["-d", "--shell-job"] };
        if let Some(how) = killed(&case, moment, &restore_line(&images, &b, flags, &b.id)) {
            struck += 1;
            if is_there(case.state.join(&b.id)) {
                let state = case.call(["state", &b.id]).finish();
                let has = |status: &str| state.stdout().contains(&format!("\"status\": \"{status}\""));
                let known = ["creating", "running", "stopped"].into_iter().any(has);
                // Or there is no record yet, or CRIU has just taken it back.
                let says = |words: &str| state.stderr().contains(words);
                assert!(known || says("is creating") || says("does not exist"), "{how}: {state}");
            }
            case.delete(&b.id);
            nothing_is_left(&case, &how);
            restore_from(&case, &images, &b, &b.id, &["-d"]).ok();
            assert!(goes_on(&b), "{how}");
        }
        case.delete(&b.id);
        nothing_is_left(&case, &format!("at {moment:?}"));
    }
    enough(struck, all);
}
