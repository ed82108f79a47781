//! What comes of it when CRIU or the commands are killed in the middle, or told to end.

use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::faults::old_criu;
use super::{checkpoint, counting, goes_on, images, lacking, restoring};
use crate::support::{
    Case, Running, case, eventually, installed, is_there, need, nothing_is_left, read, within,
};

#[test]
fn a_checkpoint_that_is_killed_or_interrupted_leaves_the_container_running_or_written() {
    let case = criu_case!();
    let b = counting(&case, |_| {});
    for (round, signal) in (0..12).zip([libc::SIGKILL, libc::SIGTERM].into_iter().cycle()) {
        let images = case.path(&format!("round-{round}"));
        let line = ["checkpoint", "--leave-running", "--image-path", images.to_str().unwrap(), &b.id];
        let call = case.call(line).spawn();
        std::thread::sleep(Duration::from_millis(5 + 20 * round));
        call.signal(signal);
        drop(call.wait());
        eventually("it is not frozen", || read(b.cgroup.join("cgroup.events")).contains("frozen 0"));
        assert!(goes_on(&b), "round {round}");
        assert_eq!(case.status(&b.id), "running");
    }
    case.delete(&b.id);
}

#[test]
fn a_restore_that_is_killed_can_be_deleted() {
    let case = criu_case!();
    let b = counting(&case, |_| {});
    checkpoint(&case, &b.id, &[]).prints("");
    case.call(["delete", &b.id]).finish().ok();
    for round in 0..8 {
        let images = images(&case);
        let line = ["restore", "-d", "-b", b.path(), "--image-path", images.to_str().unwrap(), &b.id];
        let call = case.call(line).spawn();
        std::thread::sleep(Duration::from_millis(5 + 15 * round));
        call.signal(libc::SIGKILL);
        drop(call.wait());
        case.delete(&b.id);
        nothing_is_left(&case, &format!("in round {round}"));
    }
}

#[test]
fn a_delete_by_force_ends_a_checkpoint() {
    let case = criu_case!();
    let b = counting(&case, |_| {});
    let images = images(&case);
    let call = case.call(["checkpoint", "--image-path", images.to_str().unwrap(), &b.id]).spawn();
    std::thread::sleep(Duration::from_millis(30));
    case.delete(&b.id);
    drop(call.wait());
    nothing_is_left(&case, "by the two");
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
        let line = ["checkpoint", "--leave-running", "--image-path", images.to_str().unwrap(), &b.id];
        let call = case.call(line).spawn();
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
    let line = ["checkpoint", "--leave-running", "--image-path", images.to_str().unwrap(), &b.id];
    // One that is not stopped in time has done its work.
    let stopped = || {
        let call = case.call(line).spawn();
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
fn a_checkpoint_that_is_killed_leaves_a_container_that_runs_or_has_stopped() {
    let case = criu_case!();
    for round in 0..8 {
        let b = counting(&case, |_| {});
        let images = case.path(&format!("round-{round}"));
        let call = case.call(["checkpoint", "--image-path", images.to_str().unwrap(), &b.id]).spawn();
        std::thread::sleep(Duration::from_millis(10 + 25 * round));
        call.signal(libc::SIGKILL);
        drop(call.wait());
        eventually("it runs again or has stopped", || case.status(&b.id) != "paused");
        match case.status(&b.id).as_str() {
            "stopped" => assert!(is_there(images.join("inventory.img"))),
            _ => assert!(goes_on(&b), "round {round}"),
        }
        case.delete(&b.id);
        nothing_is_left(&case, &format!("in round {round}"));
    }
}

#[test]
fn a_kill_ends_what_is_being_written() {
    let case = criu_case!();
    for round in 0..6 {
        let b = counting(&case, |_| {});
        let images = case.path(&format!("round-{round}"));
        let line = ["checkpoint", "--leave-running", "--image-path", images.to_str().unwrap(), &b.id];
        let call = case.call(line).spawn();
        std::thread::sleep(Duration::from_millis(10 + 25 * round));
        case.call(["kill", &b.id, "KILL"]).finish().ok();
        drop(call.wait());
        case.until(&b.id, "stopped");
        case.call(["delete", &b.id]).finish().ok();
        nothing_is_left(&case, &format!("in round {round}"));
    }
}

#[test]
fn a_pause_waits_for_the_end_of_a_checkpoint() {
    let case = criu_case!();
    let b = counting(&case, |_| {});
    let images = images(&case);
    let line = ["checkpoint", "--leave-running", "--image-path", images.to_str().unwrap(), &b.id];
    let call = case.call(line).spawn();
    eventually("it is written", || criu_of(&call).is_some());
    case.call(["pause", &b.id]).finish().ok();
    call.wait().ok();
    assert_eq!(case.status(&b.id), "paused");
    case.call(["resume", &b.id]).finish().ok();
    assert!(goes_on(&b));
    case.delete(&b.id);
}

#[test]
fn a_delete_by_force_ends_a_restore() {
    let case = criu_case!();
    let b = counting(&case, |_| {});
    checkpoint(&case, &b.id, &[]).prints("");
    case.call(["delete", &b.id]).finish().ok();
    let images = images(&case);
    for round in 0..6 {
        let line = ["restore", "-d", "-b", b.path(), "--image-path", images.to_str().unwrap(), &b.id];
        let call = case.call(line).spawn();
        std::thread::sleep(Duration::from_millis(10 + 15 * round));
        case.delete(&b.id);
        drop(call.wait());
        // It may have begun after the other had ended.
        case.delete(&b.id);
        nothing_is_left(&case, &format!("in round {round}"));
    }
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
    let line = ["checkpoint", "--image-path", "images", &b.id];
    let done = case.call_through(&strace, line).env("PATH", old_criu(&case, 17)).finish();
    assert_eq!(done.code(), 137, "{done}");
    case.until(&b.id, "running");
    case.delete(&b.id);
}
