//! Hooks that do not end, or leave something behind.

use std::time::Duration;

use serde_json::{Value, json};

use super::{KINDS, hook};
use crate::support::{Case, case, eventually, is_there, nothing_is_left, read};

#[test]
fn a_hook_that_does_not_end_is_killed_when_its_time_is_over() {
    let case = case!();
    let b = case.script("true", |config| {
        // It ignores what can be ignored.
        config["hooks"]["createRuntime"] =
            json!([{ "path": "/bin/sh", "args": ["sh", "-c", "trap '' TERM INT HUP; echo begun >&2; sleep 100"], "env": ["PATH=/bin:/usr/bin"], "timeout": 1 }]);
    });
    let done = case.create(&b).fails(&["error running createRuntime hook #0:", "timeout of 1 s", "begun"]);
    assert!(done.took >= Duration::from_secs(1), "{done}");
    // With all that it has started: the shell waits for a process of its own.
    nothing_is_left(&case, "by a hook that was killed");
}

/// Ends what a hook has left behind.
fn end_stray(case: &Case, command: &str) {
    eventually("the stray process ends", || {
        let strays: Vec<String> =
            case.leaks().into_iter().filter(|leak| leak.trim_end().ends_with(command)).collect();
        for stray in &strays {
            let pid = stray.trim_start_matches("process ").split(':').next().unwrap().parse().unwrap();
            nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::SIGKILL).unwrap();
        }
        strays.is_empty()
    });
}

/// A hook whose time is a second, and who would take longer.
#[track_caller]
fn ends_after_a_second(case: &Case, kind: &str, hook: &Value) {
    let b = case.script("true", |config| config["hooks"][kind] = json!([hook]));
    let done = case.run(&b);
    if kind == "poststop" {
        done.ok();
    } else {
        done.fails(&[&format!("error running {kind} hook #0:"), "timeout of 1 s"]);
    }
    nothing_is_left(case, kind);
}

#[test]
fn a_hook_of_any_kind_ends_with_its_process_group() {
    let case = case!();
    for kind in KINDS {
        let script = "trap '' TERM; sleep 100 & sleep 100";
        let hook =
            json!({ "path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/bin"], "timeout": 1 });
        ends_after_a_second(&case, kind, &hook);
    }
}

#[test]
fn a_hook_that_has_left_its_process_group_is_killed_all_the_same() {
    let case = case!();
    for kind in ["createRuntime", "createContainer", "poststop"] {
        // Into the group of whoever has started it.
        let script = "setpgrp(0, getpgrp(getppid())) or die; sleep 100";
        let hook = json!({ "path": "/usr/bin/perl", "args": ["perl", "-e", script], "timeout": 1 });
        ends_after_a_second(&case, kind, &hook);
    }
}

#[test]
fn a_container_hook_that_does_not_end_is_killed_too() {
    let case = case!();
    for kind in ["createContainer", "startContainer"] {
        let b = case.script("true", |config| {
            config["hooks"][kind] = json!([{ "path": "/bin/sleep", "args": ["sleep", "100"], "timeout": 1 }]);
        });
        case.run(&b).fails(&[&format!("error running {kind} hook #0:"), "timeout of 1 s"]);
        assert_eq!(case.leaks(), [""; 0]);
    }
}

#[test]
fn a_hook_within_its_time_is_not_disturbed() {
    let case = case!();
    let b = case.script("echo fine", |config| {
        for kind in KINDS {
            config["hooks"][kind] = json!([{ "path": "/bin/true", "timeout": 9 }]);
        }
    });
    case.run(&b).prints("fine\n");
}

#[test]
fn a_hook_that_leaves_a_daemon_behind_is_over_when_it_is() {
    let case = case!();
    for kind in ["createRuntime", "createContainer", "poststart", "poststop"] {
        let b = case.script("echo fine", |config| hook(config, kind, "sleep 77 & exit 0"));
        case.run(&b).prints("fine\n");
        end_stray(&case, "sleep 77");
    }
    // And its failure is told at once, whoever holds its standard error.
    let b = case.script("true", |config| hook(config, "createRuntime", "sleep 77 & echo words >&2; exit 4"));
    case.create(&b).fails(&["exited 4", "words"]);
    end_stray(&case, "sleep 77");
}

/// Without a timeout it would hang for ever: the next `delete --force` ends it, and both are done.
#[test]
fn a_poststop_hook_that_hangs_ends_with_another_delete_by_force() {
    let case = case!();
    let log = case.path("after");
    let b = case.script("true", |config| {
        hook(config, "poststop", &format!("echo poststop >>{}; exec sleep 100", log.display()));
    });
    case.created(&b);
    let first = case.call(["delete", "--force", &b.id]).spawn();
    eventually("it runs", || is_there(&log));
    let second = case.call(["delete", "--force", &b.id]).finish().ok();
    assert!(second.took < Duration::from_secs(5), "{second}");
    first.wait().ok();
    assert_eq!(read(log), "poststop\n");
    case.call(["state", &b.id]).finish().fails(&["does not exist"]);
}
