//! The last calls of init and what `start` and `run` say of them: whatever a filter forbids, the process ends, and
//! nobody is told that a program runs that does not.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Bundle, Case, case, eventually, installed, need};

/// A filter that answers these calls so, and allows all others.
fn forbid(config: &mut Value, names: &[&str], action: &str) {
    config["linux"]["seccomp"] = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{ "names": names, "action": action }],
    });
}

/// With a hook in the container ordinary code makes the calls, and not the loop.
fn both(case: &Case, change: impl Fn(&mut Value)) -> [(&'static str, Bundle); 2] {
    let loops = case.script("sleep 100", &change);
    let ordinary = case.script("sleep 100", |config| {
        config["hooks"]["startContainer"] = json!([{ "path": "/bin/true" }]);
        change(config);
    });
    [("loop", loops), ("ordinary code", ordinary)]
}

#[test]
fn an_init_that_may_not_even_exit_ends_all_the_same() {
    let case = case!();
    for names in [
        &["execve"][..],
        &["execve", "exit_group"],
        &["execve", "exit_group", "exit"],
        &["execve", "exit_group", "exit", "write", "sendmsg"],
    ] {
        for (how, b) in both(&case, |config| forbid(config, names, "SCMP_ACT_ERRNO")) {
            case.created(&b);
            let start = case.call(["start", &b.id]).finish();
            let told = !names.contains(&"write");
            let words = if told { "peration not permitted" } else { "ended before" };
            let start = start.fails(&[words]);
            assert!(start.took < Duration::from_secs(5), "{how}: {start}");
            case.until(&b.id, "stopped");
            case.call(["delete", &b.id]).finish().ok();
        }
    }
}

#[test]
fn start_says_that_init_was_killed_before_it_became_the_program() {
    let case = case!();
    for action in ["SCMP_ACT_KILL_PROCESS", "SCMP_ACT_KILL_THREAD"] {
        for (how, b) in both(&case, |config| forbid(config, &["execve"], action)) {
            case.created(&b);
            let start = case.call(["start", &b.id]).finish();
            assert_eq!(start.code(), 1, "{how}: {start}");
            start.says(&["ended before it became the program"]);
            case.until(&b.id, "stopped");
            case.call(["delete", &b.id]).finish().ok();
            case.run(&b).fails(&["ended before it became the program"]);
            case.call(["state", &b.id]).finish().fails(&["does not exist"]);
        }
    }
}

#[test]
fn a_program_that_ends_at_once_was_started_all_the_same() {
    let case = case!();
    for code in [0, 3] {
        for (_, b) in
            both(&case, |config| config["process"]["args"] = json!(["/bin/sh", "-c", format!("exit {code}")]))
        {
            for _ in 0..10 {
                case.started(&b);
                case.until(&b.id, "stopped");
                case.delete(&b.id);
                assert_eq!(case.run(&b).code(), code);
            }
        }
    }
}

#[test]
fn an_interrupted_wait_for_start_goes_on() {
    let case = case!();
    need!(installed("strace"), "strace is not installed");
    for (how, b) in both(&case, |_| {}) {
        let log = case.path("trace");
        let inject = "inject=accept4:error=EINTR:when=1..3";
        let line =
            ["strace", "-D", "-f", "-qq", "-e", "trace=accept4", "-e", inject, "-o", log.to_str().unwrap()];
        case.call_through(&line, ["create", "-b", b.path(), &b.id]).finish().ok();
        eventually("it has been interrupted", || crate::support::read(&log).matches("INJECTED").count() == 3);
        assert_eq!(case.status(&b.id), "created", "{how}");
        case.call(["start", &b.id]).finish().ok();
        assert_eq!(case.status(&b.id), "running", "{how}");
        case.delete(&b.id);
    }
}

#[test]
fn create_says_that_init_was_killed_before_it_has_answered() {
    let case = case!();
    need!(installed("strace"), "strace is not installed");
    let b = case.script("sleep 100", |_| {});
    // Its last word to init is the one after the container is recorded.
    let mut seen = false;
    for k in 1..10 {
        let (log, inject) = (case.path("trace"), format!("inject=sendmsg:delay_enter=500000:when={k}"));
        let strace =
            ["strace", "-D", "-qq", "-e", "trace=sendmsg", "-e", &inject, "-o", log.to_str().unwrap()];
        let create = case.call_through(&strace, ["create", "-b", b.path(), &b.id]).spawn();
        eventually("it is recorded and killed", || case.call(["kill", &b.id, "KILL"]).finish().code() == 0);
        let create = create.wait();
        if create.code() != 0 {
            create.fails(&["init has ended unexpectedly"]);
            seen = true;
        }
        case.call(["delete", "--force", &b.id]).finish().ok();
        if !crate::support::read(&log).contains("DELAYED") {
            break;
        }
    }
    assert!(seen, "create was never killed that late");
}
