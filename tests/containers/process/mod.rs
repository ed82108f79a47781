//! The process: config.md, "Process", "User", "Linux Process", "POSIX process"; runtime-linux.md, "File
//! descriptors".

mod capabilities;
mod descriptors;
mod directory;
mod environment;
mod ids;
mod ulimit;

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::support::bundle::{add_user_namespace, set_namespace};
use crate::support::{Case, case, eventually, need, read};

/// What /proc/self/status of a container's process says.
fn status(case: &Case, change: impl FnOnce(&mut Value)) -> BTreeMap<String, String> {
    let done = case.run(&case.bundle(|config| {
        config["process"]["args"] = json!(["/bin/cat", "/proc/self/status"]);
        change(config);
    }));
    let pair = |line: String| line.split_once(":\t").map(|(k, v)| (k.to_owned(), v.trim().to_owned()));
    done.ok().lines().into_iter().filter_map(pair).collect()
}

#[test]
fn the_oom_score_is_the_configurations_or_the_callers() {
    let case = case!();
    for (score, userns) in [(500, false), (1000, true)] {
        let b = case.script("cat /proc/self/oom_score_adj", |config| {
            config["process"]["oomScoreAdj"] = json!(score);
            if userns {
                add_user_namespace(config, 100_000);
            }
        });
        case.run(&b).prints(&format!("{score}\n"));
    }
    let b = case.script("cat /proc/self/oom_score_adj", |_| {});
    let line = ["sh", "-c", "echo 77 >/proc/self/oom_score_adj; exec \"$@\"", "sh"];
    case.call_through(&line, ["run", "-b", b.path(), &b.id]).finish().prints("77\n");
}

#[test]
fn a_lower_oom_score_without_the_privilege_for_it_is_an_error() {
    let case = case!();
    need!(crate::support::installed("setpriv"), "setpriv is not installed");
    let b = case.script("true", |config| config["process"]["oomScoreAdj"] = json!(-500));
    let less = ["setpriv", "--bounding-set", "-sys_resource", "--inh-caps", "-all"];
    case.call_through(&less, ["create", "-b", b.path(), &b.id]).finish().fails(&[
        "process.oomScoreAdj: -500",
        "(EACCES)",
        "CAP_SYS_RESOURCE",
    ]);
}

/// Leaves descriptors 3 to 60 open, as a careless caller does: directories of the host, files, pipes.
const LEAK: &str = "for n in $(seq 3 60); do case $((n % 3)) in 0) eval \"exec $n</\";; 1) eval \"exec $n</etc/passwd\";; \
    2) eval \"exec $n<>/dev/null\";; esac; done; exec \"$@\"";

#[test]
fn signals_are_reset_whatever_the_caller_ignores_or_blocks() {
    let case = case!();
    // No shell in between: busybox's own ignores some.
    let b = case.bundle(|config| {
        config["process"]["args"] = json!(["/bin/grep", "-E", "^Sig(Blk|Ign)", "/proc/self/status"])
    });
    let ignoring = ["sh", "-c", "trap '' HUP INT QUIT PIPE TERM USR1 CHLD; exec \"$@\"", "sh"];
    let clean = "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n";
    case.call_through(&ignoring, ["run", "-b", b.path(), &b.id]).finish().prints(clean);
    let create = case.call_through(&ignoring, ["create", "-b", b.path(), &b.id]).finish().ok();
    case.call(["start", &b.id]).finish().ok();
    case.until(&b.id, "stopped");
    assert_eq!(create.stdout(), clean);
    case.delete(&b.id);
    // All of them, but for those that can't be.
    let blocking = ["env", "--block-signal", "--ignore-signal"];
    case.call_through(&blocking, ["run", "-b", b.path(), &b.id]).finish().prints(clean);
}

#[test]
fn the_process_leads_a_session_of_its_own() {
    let case = case!();
    let b = case.script("sleep 100", |config| set_namespace(config, "pid", None));
    case.started(&b);
    let pid = case.pid(&b.id);
    let stat = read(format!("/proc/{pid}/stat"));
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    // ppid, pgrp, session, tty_nr
    assert_eq!(fields[2..5], [pid.to_string().as_str(), pid.to_string().as_str(), "0"]);
    case.delete(&b.id);
}

#[test]
fn the_session_keyring_is_the_containers_own_unless_refused() {
    let case = case!();
    need!(std::path::Path::new("/proc/keys").is_file(), "the kernel has no keyrings");
    for (flags, own) in [(&[][..], true), (&["--no-new-keyring"], false)] {
        let b = case.script("cat /proc/keys", |_| {});
        let line: Vec<&str> = ["run"].iter().chain(flags).copied().chain(["-b", b.path(), &b.id]).collect();
        let done = case.call(line).finish().ok();
        let keyring = done.lines().into_iter().find(|line| line.contains(&format!("_ses.{}", b.id)));
        // proc_keys(5): all for who has it; view, read, search and link for its user, as runc has it.
        assert_eq!(keyring.map(|line| line.contains(" 3f1b0000 ")), own.then_some(true), "{done}");
    }
}

#[test]
fn the_death_of_create_does_not_end_the_container() {
    // PDEATHSIG is for a container that is half made; a created one outlives its caller.
    let case = case!();
    let b = case.script("sleep 100", |_| {});
    let line = ["sh", "-c", "\"$@\" & wait", "sh"];
    case.call_through(&line, ["create", "-b", b.path(), &b.id]).finish().ok();
    assert_eq!(case.status(&b.id), "created");
    case.call_through(&line, ["start", &b.id]).finish().ok();
    assert_eq!(case.status(&b.id), "running");
    case.delete(&b.id);
}

#[test]
fn the_program_gets_no_death_signal() {
    let case = case!();
    // The program asks the kernel: a shell can't, and so its stat shows whether a signal came.
    let b = case.script("sleep 100", |_| {});
    case.call_through(&["sh", "-c", "\"$@\"; exit 0", "sh"], ["run", "-d", "-b", b.path(), &b.id])
        .finish()
        .ok();
    assert!(
        !crate::support::within(std::time::Duration::from_millis(100), || case.status(&b.id) != "running")
    );
    case.delete(&b.id);
}

#[test]
fn a_process_that_ends_at_once_is_no_error() {
    let case = case!();
    let b = case.script("exit 0", |_| {});
    for _ in 0..20 {
        case.run(&b).prints("");
        case.started(&b);
        case.until(&b.id, "stopped");
        case.call(["delete", &b.id]).finish().ok();
    }
}

#[test]
fn a_container_that_is_killed_at_once_leaves_nothing() {
    let case = case!();
    let b = case.script("sleep 100", |_| {});
    for _ in 0..5 {
        case.call(["run", "-d", "-b", b.path(), &b.id]).finish().ok();
        case.call(["kill", &b.id, "KILL"]).finish().ok();
        eventually("it can be deleted", || case.call(["delete", &b.id]).finish().code() == 0);
    }
}
