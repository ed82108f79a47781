//! Killed at any system call, and any of them failing.

use std::collections::BTreeMap;

use serde_json::json;

use super::{recovers, rich};
use crate::support::bundle::Bundle;
use crate::support::{Case, Done, case, installed, need, nothing_is_left, read};

/// How often each system call is made by the process that makes it most: strace counts by process.
fn calls_of(case: &Case, b: &Bundle, verb: &[&str]) -> BTreeMap<String, u32> {
    let log = case.path("trace");
    let _traced = traced(case, &["-o", log.to_str().unwrap()], b, verb).ok();
    let mut counts: BTreeMap<(String, String), u32> = BTreeMap::new();
    for line in read(&log).lines().filter(|line| !line.contains("resumed>")) {
        let (pid, rest) = line.split_once(' ').unwrap();
        let name: String =
            rest.trim_start().chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
        if rest.contains('(') && !name.is_empty() {
            *counts.entry((name, pid.to_owned())).or_default() += 1;
        }
    }
    let mut most = BTreeMap::new();
    for ((name, _), count) in counts {
        let entry = most.entry(name).or_insert(0);
        *entry = count.max(*entry);
    }
    most
}

/// A verb under strace, which stays beside it (`-D`): so it does not wait for the container.
fn traced(case: &Case, flags: &[&str], b: &Bundle, verb: &[&str]) -> Done {
    let line: Vec<&str> = ["strace", "-D", "-f", "-qq"].iter().chain(flags).copied().collect();
    let verb: Vec<&str> = match verb {
        ["create"] => vec!["create", "-b", b.path(), &b.id],
        [verb] => vec![verb, &b.id],
        other => other.to_vec(),
    };
    case.call_through(&line, verb).finish()
}

/// A verb with something done to one of its calls.
fn injected(case: &Case, inject: &str, b: &Bundle, verb: &[&str]) -> Done {
    let log = case.path("inject");
    // Only what is traced is injected into.
    let call = inject.trim_start_matches("inject=").split(':').next().unwrap();
    let trace = format!("trace={call}");
    traced(case, &["-e", &trace, "-e", inject, "-o", log.to_str().unwrap()], b, verb)
}

/// Kills a verb at the k-th of each of its system calls, in whichever of its processes comes there first.
fn sweep(case: &Case, verb: &str, prepare: impl Fn(&Bundle)) {
    let b = rich(case);
    prepare(&b);
    let calls = calls_of(case, &b, &[verb]);
    case.delete(&b.id);
    nothing_is_left(case, "by strace");
    let points: u32 = calls.values().sum();
    assert!(points > 40, "{calls:?}");
    let (mut killed, mut spared) = (0, 0);
    for (name, count) in calls {
        // Killing an exit is no kill, and resets of 64 signals in a row are one moment.
        let last = match name.as_str() {
            "exit_group" | "execve" => continue,
            "rt_sigaction" | "prctl" | "close" | "brk" => count.min(12),
            _ => count,
        };
        for k in 1..=last {
            prepare(&b);
            // Init's death is an error of the verb, too, unless it came after its end.
            match injected(case, &format!("inject={name}:signal=KILL:when={k}"), &b, &[verb]).code() {
                0 => spared += 1,
                _ => killed += 1,
            }
            recovers(case, &b, &format!("{verb} killed at {name} number {k}"));
        }
    }
    println!("{verb}: killed at {killed} moments, {spared} times it was too late");
    assert!(killed > 40 && killed > spared, "{verb}: killed {killed} times, not {spared} times");
    case.run_once(&b);
}

#[test]
fn a_create_that_is_killed_at_any_system_call_can_be_deleted() {
    let case = case!();
    need!(installed("strace"), "strace is not installed");
    sweep(&case, "create", |_| {});
}

#[test]
fn a_start_that_is_killed_at_any_system_call_can_be_deleted() {
    let case = case!();
    need!(installed("strace"), "strace is not installed");
    sweep(&case, "start", |b| drop(case.created(b)));
}

#[test]
fn a_delete_that_is_killed_at_any_system_call_can_be_repeated() {
    let case = case!();
    need!(installed("strace"), "strace is not installed");
    sweep(&case, "delete", |b| drop(case.created(b)));
}

/// Calls without which there is no container, and which of them.
const NEEDED: [(&str, u32); 22] = [
    ("clone3", 1),
    ("mkdirat", 1),
    ("mkdirat", 2),
    ("move_mount", 1),
    ("move_mount", 3),
    ("open_tree", 1),
    ("open_tree", 2),
    ("fsopen", 1),
    ("fsopen", 2),
    ("fsmount", 1),
    ("mount_setattr", 1),
    ("mount_setattr", 2),
    ("pivot_root", 1),
    ("setresuid", 1),
    ("setresgid", 1),
    ("setgroups", 1),
    ("bpf", 1),
    ("socketpair", 1),
    ("renameat", 1),
    ("sethostname", 1),
    ("mknodat", 1),
    ("memfd_create", 1),
];

#[test]
fn a_create_whose_calls_fail_says_which_and_leaves_nothing() {
    let case = case!();
    need!(installed("strace"), "strace is not installed");
    let b = rich(&case);
    let mut failed = 0;
    for errno in ["ENOMEM", "EPERM", "EIO"] {
        for (name, k) in NEEDED {
            let inject = format!("inject={name}:error={errno}:when={k}");
            let done = injected(&case, &inject, &b, &["create"]);
            if done.code() == 0 {
                // Some have another way; then it is a container like any other.
                assert_eq!(case.status(&b.id), "created", "{inject}");
                case.delete(&b.id);
            } else {
                failed += 1;
                done.fails(&[errno]);
                case.call(["state", &b.id]).finish().fails(&["does not exist"]);
            }
            nothing_is_left(&case, &inject);
        }
    }
    println!("failed as asked: {failed} of {}", 3 * NEEDED.len());
    assert!(failed > 2 * NEEDED.len(), "only {failed} calls failed");
}

#[test]
fn calls_that_are_interrupted_are_made_again() {
    let case = case!();
    need!(installed("strace"), "strace is not installed");
    let b = rich(&case);
    // A hook is somebody else's program.
    let mut config = b.config();
    config["hooks"] = json!({});
    b.save(&config);
    for name in ["openat2", "read", "write", "recvmsg", "sendmsg", "poll", "waitid", "flock", "connect"] {
        for verb in [&["create"][..], &["start"], &["delete", "-f", &b.id]] {
            let inject = format!("inject={name}:error=EINTR:when=1+3");
            let done = injected(&case, &inject, &b, verb);
            assert_eq!(done.code(), 0, "{verb:?} {inject}: {done}");
        }
        nothing_is_left(&case, "in the end");
    }
}
