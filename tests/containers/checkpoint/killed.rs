//! What comes of it when CRIU or the commands are killed in the middle, or told to end.

use std::path::Path;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::dummy::old_criu;
use super::{
    checkpoint, checkpoint_line, checkpointing, counting, goes_on, images, lacking, restoring, written,
};
use crate::support::{Case, Running, case, eventually, installed, need, nothing_is_left, read, within};

#[test]
fn a_checkpoint_that_is_killed_or_interrupted_leaves_the_container_running_or_written() {
    let case = criu_case!();
    let b = counting(&case, |_| {});
    let mut hits = [0; 2];
    for (round, signal) in (0..12).zip([libc::SIGKILL, libc::SIGTERM].into_iter().cycle()) {
        let images = case.path(&format!("round-{round}"));
        let call = checkpointing(&case, &images, &b, &["--leave-running"]);
        let works = works_after(&call, Duration::from_millis(8 * (round / 2)));
        call.signal(signal);
        let done = call.wait();
        hits[usize::from(signal == libc::SIGTERM)] += usize::from(works && done.code() != 0);
        eventually("it is not frozen", || read(b.cgroup.join("cgroup.events")).contains("frozen 0"));
        assert!(goes_on(&b), "round {round}");
        assert_eq!(case.status(&b.id), "running");
    }
    case.delete(&b.id);
    println!("hit {hits:?} times");
    assert!(hits.iter().all(|hits| *hits > 0), "{hits:?}");
}

#[test]
fn a_delete_by_force_waits_for_a_checkpoint_or_ends_it() {
    let case = criu_case!();
    deleted_by_force(&case, |round| {
        let b = counting(&case, |_| {});
        let call = checkpointing(&case, &case.path(&format!("round-{round}")), &b, &[]);
        (call, b.id)
    });
}

/// Of commands that work with CRIU, each deleted by force after a while: some are waited for, and some are ended.
fn deleted_by_force(case: &Case, begin: impl Fn(u64) -> (Running, String)) {
    let (mut met, mut hits) = (0, 0);
    for round in 0..6 {
        let (call, id) = begin(round);
        let after = Duration::from_millis(8 * round);
        // It is waited for a while, which is enough for one that is not stopped.
        let stops = round % 2 == 0;
        let works = if stops { hit(&call, after, Signal::SIGSTOP) } else { works_after(&call, after) };
        case.delete(&id);
        let done = call.wait();
        met += usize::from(works && !stops);
        hits += usize::from(works && stops && done.code() != 0);
        if !works {
            // A restore may have begun after the other had ended.
            case.delete(&id);
        }
        nothing_is_left(case, &format!("in round {round}"));
    }
    println!("met {met} times, ended {hits} times");
    assert!(met > 0 && hits > 0, "{met}, {hits}");
}

/// The CRIU that works for a command, once it does.
pub(super) fn criu_of(call: &Running) -> Option<Pid> {
    let pid = call.pid();
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    // Its title says what it does, when that begins. What it makes has it as well, and comes after it.
    let is_criu = |pid: &&str| {
        let line = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.starts_with("criu\0swrk") || line.starts_with("criu: ")
    };
    children.split_whitespace().find(is_criu).map(|pid| Pid::from_raw(pid.parse().unwrap()))
}

/// Whether a command still has its CRIU a while after it has begun.
fn works_after(call: &Running, after: Duration) -> bool {
    within(Duration::from_secs(5), || criu_of(call).is_some());
    std::thread::sleep(after);
    criu_of(call).is_some()
}

/// Sends a signal to the CRIU of a command after a while; false if there is none any more.
pub(super) fn hit(call: &Running, after: Duration, signal: Signal) -> bool {
    within(Duration::from_secs(5), || criu_of(call).is_some());
    std::thread::sleep(after);
    criu_of(call).is_some_and(|criu| kill(criu, signal).is_ok())
}

#[test]
fn a_criu_that_is_killed_leaves_the_container_running_or_ends_it() {
    let case = criu_case!();
    let mut killed = 0;
    for round in 0..14 {
        let b = counting(&case, |_| {});
        let images = case.path(&format!("round-{round}"));
        let call = checkpointing(&case, &images, &b, &["--leave-running"]);
        let hit = hit(&call, Duration::from_millis(10 * round), Signal::SIGKILL);
        let done = call.wait();
        if hit && done.code() != 0 {
            done.fails(&["criu was killed by SIGKILL"]);
            killed += 1;
        }
        // Of a process that CRIU has just put its own code into, the kernel makes a fault when it is not traced any more.
        if case.status(&b.id) == "running" {
            assert!(goes_on(&b), "round {round}");
        }
        case.delete(&b.id);
        nothing_is_left(&case, &format!("in round {round}"));
    }
    assert!(killed > 0, "{killed}");
}

#[test]
fn a_criu_that_is_killed_leaves_nothing_of_a_new_container() {
    let case = criu_case!();
    killed_while_it_restores(&case, &[]);
}

#[test]
fn a_criu_that_is_killed_leaves_nothing_of_a_job_of_a_shell() {
    let case = criu_case!();
    killed_while_it_restores(&case, &["--shell-job"]);
}

fn killed_while_it_restores(case: &Case, flags: &[&str]) {
    let b = counting(case, |_| {});
    checkpoint(case, &b.id, flags).prints("");
    case.call(["delete", &b.id]).finish().ok();
    let mut killed = 0;
    for round in 0..14 {
        let call = restoring(case, &b, flags);
        let hit = hit(&call, Duration::from_millis(6 * round), Signal::SIGKILL);
        let done = call.wait();
        if hit && done.code() != 0 {
            done.fails(&["criu was killed by SIGKILL"]);
            killed += 1;
        } else {
            assert!(goes_on(&b), "round {round}");
            case.delete(&b.id);
        }
        nothing_is_left(case, &format!("in round {round}"));
    }
    assert!(killed > 0, "{killed}");
}

#[test]
fn a_second_signal_ends_a_criu_that_does_not_answer() {
    let case = criu_case!();
    let b = counting(&case, |_| {});
    let images = images(&case);
    // One that is not stopped in time has done its work.
    let stopped = || {
        let call = checkpointing(&case, &images, &b, &["--leave-running"]);
        hit(&call, Duration::from_millis(5), Signal::SIGSTOP).then_some(call)
    };
    let mut call = (0..20).find_map(|_| stopped()).expect("criu is always faster");
    call.signal(libc::SIGTERM);
    std::thread::sleep(Duration::from_millis(300));
    assert!(!call.ended());
    call.signal(libc::SIGTERM);
    call.wait().fails(&["two signals ask this command to end", "criu was killed"]);
    assert_eq!(case.status(&b.id), "running");
    assert!(goes_on(&b));
    case.delete(&b.id);
}

#[test]
fn a_kill_ends_what_is_being_written() {
    let case = criu_case!();
    let mut hits = 0;
    for round in 0..6 {
        let b = counting(&case, |_| {});
        let call = checkpointing(&case, &case.path(&format!("round-{round}")), &b, &["--leave-running"]);
        let works = works_after(&call, Duration::from_millis(8 * round));
        case.call(["kill", &b.id, "KILL"]).finish().ok();
        let done = call.wait();
        hits += usize::from(works && done.code() != 0);
        case.until(&b.id, "stopped");
        case.call(["delete", &b.id]).finish().ok();
        nothing_is_left(&case, &format!("in round {round}"));
    }
    println!("hit {hits} times");
    assert!(hits > 0, "{hits}");
}

#[test]
fn a_pause_waits_for_the_end_of_a_checkpoint() {
    let case = criu_case!();
    let b = counting(&case, |_| {});
    let images = images(&case);
    let call = checkpointing(&case, &images, &b, &["--leave-running"]);
    eventually("it is written", || criu_of(&call).is_some());
    case.call(["pause", &b.id]).finish().ok();
    call.wait().ok();
    assert_eq!(case.status(&b.id), "paused");
    case.call(["resume", &b.id]).finish().ok();
    assert!(goes_on(&b));
    case.delete(&b.id);
}

#[test]
fn a_delete_by_force_waits_for_a_restore_or_ends_it() {
    let case = criu_case!();
    let b = written(&case);
    deleted_by_force(&case, |_| (restoring(&case, &b, &[]), b.id.clone()));
}

#[test]
fn a_checkpoint_that_is_killed_while_it_has_all_stand_still_lets_them_go_on() {
    let case = case!();
    need!(installed("strace"), "strace is not installed");
    let b = case.script("exec sleep 1000", |_| {});
    case.started(&b);
    // CRIU before 3.19 does not ask for open files when all stand still: so the command sees to that.
    let file = case.subdir("images").join("descriptors.json");
    let flags = ["-P", file.to_str().unwrap(), "-e", "trace=write", "-e", "inject=write:signal=KILL"];
    let strace = [&["strace", "-D", "-qq", "-o", "/dev/null"], &flags[..]].concat();
    let line = checkpoint_line(Path::new("images"), &[], &b.id);
    let done = case.call_through(&strace, line).env("PATH", old_criu(&case, 17)).finish();
    assert_eq!(done.code(), 137, "{done}");
    case.until(&b.id, "running");
    case.delete(&b.id);
}
