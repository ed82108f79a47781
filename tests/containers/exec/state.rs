//! In which containers `exec` starts something.

use super::{exec, refused, running, sh};
use crate::support::{PATIENCE, case, eventually, nothing_is_left, within};

#[test]
fn a_container_that_is_not_started_takes_processes_already() {
    // As with runc and crun.
    let case = case!();
    let b = case.script("echo started", |_| {});
    let created = case.created(&b);
    sh(&case, &[], &b, "echo early").prints("early\n");
    assert_eq!(case.status(&b.id), "created");
    case.call(["start", &b.id]).finish().ok();
    case.until(&b.id, "stopped");
    assert_eq!(created.stdout(), "started\n");
    case.delete(&b.id);
}

#[test]
fn a_container_that_is_not_there_or_has_stopped_is_named() {
    let case = case!();
    refused(exec(&case, &["nosuch", "/bin/true"]).finish(), &["\"nosuch\"", "does not exist"]);
    let b = case.script("true", |_| {});
    case.started(&b);
    case.until(&b.id, "stopped");
    let done = exec(&case, &[&b.id, "/bin/true"]).finish();
    refused(done, &["cannot exec in a stopped container", "container not running"]);
    case.delete(&b.id);
}

#[test]
fn a_paused_container_takes_a_process_only_if_that_is_asked_for() {
    let case = case!();
    let b = running(&case, |_| {});
    case.call(["pause", &b.id]).finish().ok();
    let done = exec(&case, &[&b.id, "/bin/true"]).finish();
    refused(done, &["cannot exec in a paused container", "--ignore-paused"]);
    assert_eq!(case.status(&b.id), "paused");
    let mut waiting = exec(&case, &["--ignore-paused", &b.id, "/bin/echo", "at last"]).spawn();
    // It goes on when the container does, and not before.
    assert!(!within(std::time::Duration::from_millis(1500), || waiting.ended()));
    assert_eq!(waiting.stdout(), "");
    case.call(["resume", &b.id]).finish().ok();
    waiting.wait().prints("at last\n");
    case.delete(&b.id);
}

#[test]
fn one_that_waits_in_a_paused_container_can_be_told_to_end() {
    let case = case!();
    let b = running(&case, |_| {});
    case.call(["pause", &b.id]).finish().ok();
    let waiting = exec(&case, &["--ignore-paused", &b.id, "/bin/sleep", "100"]).spawn();
    std::thread::sleep(std::time::Duration::from_millis(100));
    waiting.signal(nix::libc::SIGTERM);
    refused(waiting.wait(), &["ended by signal 15"]);
    case.call(["resume", &b.id]).finish().ok();
    let alone =
        || case.call(["ps", "--format", "json", &b.id]).finish().ok().stdout().split(',').count() == 1;
    assert!(within(PATIENCE, alone));
    case.delete(&b.id);
}

#[test]
fn who_never_waits_for_a_process_does_not_keep_the_container() {
    // Its first process ends when all others of its pid namespace have been reaped: pid_namespaces(7).
    let case = case!();
    for deleted in [true, false] {
        let b = running(&case, |_| {});
        let mut run = exec(&case, &[&b.id, "/bin/sh", "-c", "echo up; exec sleep 1000"]).spawn();
        eventually("it runs", || run.stdout() == "up\n");
        run.signal(nix::libc::SIGSTOP);
        if !deleted {
            case.call(["kill", &b.id, "KILL"]).finish().ok();
            case.until(&b.id, "stopped");
        }
        let force = if deleted { &["-f"][..] } else { &[] };
        let done = case.call(["delete"].iter().chain(force).copied().chain([b.id.as_str()])).finish().ok();
        assert!(done.took < std::time::Duration::from_secs(5), "{done}");
        assert!(!run.ended());
        run.signal(nix::libc::SIGCONT);
        assert_eq!(run.wait().code(), 137);
        nothing_is_left(&case, "by delete");
    }
}

#[test]
fn other_verbs_go_on_while_a_process_runs() {
    let case = case!();
    let b = running(&case, |_| {});
    let first = exec(&case, &[&b.id, "/bin/sleep", "1000"]).spawn();
    let pids = || case.call(["ps", "--format", "json", &b.id]).finish().ok().stdout();
    eventually("it runs", || pids().split(',').count() == 2);
    sh(&case, &[], &b, "echo second").prints("second\n");
    case.call(["pause", &b.id]).finish().ok();
    case.call(["resume", &b.id]).finish().ok();
    assert_eq!(case.status(&b.id), "running");
    case.call(["delete", "-f", &b.id]).finish().ok();
    assert_eq!(first.wait().code(), 137);
    nothing_is_left(&case, "by delete");
}
