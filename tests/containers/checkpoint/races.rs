//! Verbs that meet, and commands that end when others are not done.

use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::killed::{criu_of, hit};
use super::{
    checkpoint, checkpointing, counting, goes_on, images, lacking, number, restore, restoring, written,
};
use crate::support::{Bundle, Case, Running, case, eventually, is_there, need, nothing_is_left, read};

#[test]
fn a_process_that_is_killed_when_all_are_there_ends_the_restore() {
    let case = criu_case!();
    let b = written(&case);
    for round in 0..6 {
        let pid_file = case.path(&format!("pid-{round}"));
        let call = restoring(&case, &b, &["--pid-file", pid_file.to_str().unwrap()]);
        eventually("its pid is known", || is_there(&pid_file));
        kill(Pid::from_raw(read(&pid_file).parse().unwrap()), Signal::SIGKILL).unwrap();
        let done = call.wait();
        if done.code() != 0 {
            done.fails(&["restore of container"]);
            nothing_is_left(&case, &format!("in round {round}"));
        }
        case.delete(&b.id);
        nothing_is_left(&case, &format!("in round {round}"));
    }
}

/// Stops the CRIU of a command, as far as possible in the middle of its work, and then kills the command.
fn abandoned(start: impl Fn() -> Running) -> Option<Pid> {
    let call = start();
    let criu = hit(&call, Duration::from_millis(20), Signal::SIGSTOP).then(|| criu_of(&call)).flatten();
    call.signal(libc::SIGKILL);
    drop(call.wait());
    criu
}

#[test]
fn a_delete_by_force_ends_a_criu_that_hangs_when_its_command_was_killed() {
    let case = criu_case!();
    let b = counting(&case, |_| {});
    let images = images(&case);
    abandoned(|| checkpointing(&case, &images, &b, &[])).expect("criu is faster");
    case.delete(&b.id);
    nothing_is_left(&case, "by a checkpoint");
    let b = written(&case);
    for _ in 0..3 {
        abandoned(|| restoring(&case, &b, &[])).expect("criu is faster");
        case.delete(&b.id);
        nothing_is_left(&case, "by a restore");
    }
}

/// As [`abandoned`], once CRIU has a child: half of a container is there then, and not in its cgroup yet.
fn abandoned_half_made(case: &Case, b: &Bundle, flags: &[&str]) -> Option<Pid> {
    let mut call = restoring(case, b, flags);
    let has_child = |pid: Pid| {
        let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
        children.is_ok_and(|children| !children.is_empty())
    };
    let mut criu = None;
    eventually("it makes something", || {
        criu = criu_of(&call).filter(|criu| has_child(*criu));
        criu.is_some() || call.ended()
    });
    let criu = criu.filter(|criu| kill(*criu, Signal::SIGSTOP).is_ok());
    call.signal(libc::SIGKILL);
    drop(call.wait());
    criu
}

#[test]
fn a_delete_by_force_ends_what_criu_has_made_when_its_command_was_killed() {
    let case = criu_case!();
    for flags in [&[][..], &["--shell-job"]] {
        let b = counting(&case, |_| {});
        checkpoint(&case, &b.id, flags).prints("");
        case.call(["delete", &b.id]).finish().prints("");
        for criu_is_killed in [false, true] {
            let criu = abandoned_half_made(&case, &b, flags).expect("criu is faster");
            if criu_is_killed {
                kill(criu, Signal::SIGKILL).unwrap();
            }
            case.delete(&b.id);
            nothing_is_left(&case, &format!("by {flags:?}, killed: {criu_is_killed}"));
        }
        std::fs::rename(images(&case), case.path(&format!("used-{}", flags.len()))).unwrap();
    }
}

/// Which of two succeeds; the other one says why it does not.
fn only_one(both: [Running; 2], why: &str) -> usize {
    let failed = both.map(|call| {
        let done = call.wait();
        let failed = done.code() != 0;
        if failed {
            done.says(&[why]);
        }
        failed
    });
    assert_ne!(failed[0], failed[1]);
    usize::from(failed[0])
}

#[test]
fn of_two_checkpoints_at_once_each_is_whole_or_refused() {
    let case = criu_case!();
    let b = counting(&case, |_| {});
    let dirs = ["one", "two"].map(|name| case.path(name));
    let both = |flags: &[&str]| dirs.each_ref().map(|dir| checkpointing(&case, dir, &b, flags));
    for call in both(&["--leave-running"]) {
        call.wait().prints("");
    }
    assert!(goes_on(&b));
    let whole = &dirs[only_one(both(&[]), "it is stopped")];
    case.delete(&b.id);
    std::fs::rename(whole, images(&case)).unwrap();
    restore(&case, &b, &b.id, &["-d"]).ok();
    assert!(goes_on(&b));
    case.delete(&b.id);
}

#[test]
fn two_containers_are_made_from_the_same_images_at_once_and_one_id_is_taken_once() {
    let case = criu_case!();
    let b = written(&case);
    let other = b.as_id(&case, &format!("{}-2", b.id));
    for call in [restoring(&case, &b, &[]), restoring(&case, &other, &[])] {
        call.wait().ok();
    }
    assert_ne!(case.pid(&b.id), case.pid(&other.id));
    case.delete(&b.id);
    let at = number(&b);
    eventually("the other one counts", || number(&b) > at);
    only_one([restoring(&case, &b, &[]), restoring(&case, &b, &[])], "already exists");
    assert_eq!(case.status(&b.id), "running");
    case.delete(&b.id);
    case.delete(&other.id);
}

#[test]
fn a_container_that_was_paused_when_it_was_written_runs_when_it_is_restored() {
    let case = criu_case!();
    let b = counting(&case, |_| {});
    case.call(["pause", &b.id]).finish().ok();
    checkpoint(&case, &b.id, &[]).prints("");
    case.until(&b.id, "stopped");
    case.call(["delete", &b.id]).finish().ok();
    restore(&case, &b, &b.id, &["-d"]).ok();
    assert_eq!(case.status(&b.id), "running");
    assert!(goes_on(&b));
    case.delete(&b.id);
}
