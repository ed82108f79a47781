//! The verbs: runtime.md, "Operations" and "Lifecycle", and what callers expect of runc's command line.

mod cgroup;
mod command_line;
mod ending;
mod log;
mod run;
mod told;

use std::os::unix::fs::PermissionsExt;

use nix::unistd::Pid;
use serde_json::json;

use crate::support::{case, eventually, is_there, within};

/// Ends at once when it is told to.
const PATIENT: &str = "trap 'exit 3' TERM; echo up; while :; do sleep 0.05; done";

#[test]
fn a_container_is_created_started_killed_and_deleted() {
    let case = case!();
    let b = case.script("echo ran >/ran; sleep 100", |_| {});
    case.created(&b);
    assert_eq!(case.status(&b.id), "created");
    let pid = case.pid(&b.id);
    assert!(is_there(format!("/proc/{pid}")));
    case.call(["start", &b.id]).finish().prints("");
    assert_eq!((case.status(&b.id).as_str(), case.pid(&b.id)), ("running", pid));
    eventually("the program runs", || is_there(b.rootfs("ran")));
    case.call(["kill", &b.id, "KILL"]).finish().prints("");
    case.until(&b.id, "stopped");
    assert_eq!(case.pid(&b.id), 0);
    case.call(["delete", &b.id]).finish().prints("");
    case.call(["state", &b.id]).finish().fails(&[&b.id, "does not exist"]);
}

#[test]
fn the_program_does_not_run_before_start() {
    let case = case!();
    let b = case.script("echo ran >/ran", |_| {});
    case.created(&b);
    assert!(!within(std::time::Duration::from_millis(200), || is_there(b.rootfs("ran"))));
    case.call(["start", &b.id]).finish().ok();
    eventually("the program runs", || is_there(b.rootfs("ran")));
    case.until(&b.id, "stopped");
    case.call(["delete", &b.id]).finish().ok();
}

#[test]
fn another_configuration_can_be_named() {
    let case = case!();
    let b = case.script("echo bundle", |_| {});
    let mut config = b.config();
    config["process"]["args"] = json!(["/bin/echo", "other"]);
    let other = case.file("other.json", config.to_string(), 0o644);
    let other = other.to_str().unwrap();
    for flag in ["-f", "--config"] {
        case.call(["run", "-b", b.path(), flag, other, &b.id]).finish().prints("other\n");
    }
}

#[test]
fn what_happens_to_the_bundle_after_create_does_not_matter() {
    let case = case!();
    let b = case.script("sleep 0.1; exit 6", |_| {});
    case.created(&b);
    b.save_text("{}");
    case.call(["start", &b.id]).finish().ok();
    std::fs::rename(&b.dir, case.path("moved")).unwrap();
    case.until(&b.id, "stopped");
    case.call(["delete", &b.id]).finish().ok();
}

#[test]
fn start_works_once() {
    let case = case!();
    let b = case.script("echo once; sleep 100", |_| {});
    let create = case.started(&b);
    case.call(["start", &b.id]).finish().fails(&["start", &b.id, "running"]);
    case.call(["kill", &b.id, "KILL"]).finish().ok();
    case.until(&b.id, "stopped");
    case.call(["start", &b.id]).finish().fails(&["start", &b.id, "stopped"]);
    assert_eq!(create.stdout(), "once\n");
    case.call(["start", "nobody"]).finish().fails(&["nobody", "does not exist"]);
    case.delete(&b.id);
}

#[test]
fn an_id_that_is_taken_is_refused_and_its_container_stays_as_it_is() {
    let case = case!();
    let b = case.script("sleep 100", |_| {});
    case.created(&b);
    let before = case.state_of(&b.id);
    let other = case.script("true", |_| {});
    for verb in ["create", "run"] {
        case.call([verb, "-b", other.path(), &b.id]).finish().fails(&[&b.id, "already exists"]);
    }
    assert_eq!(case.state_of(&b.id), before);
    case.call(["start", &b.id]).finish().ok();
    case.delete(&b.id);
    // And it is free again at once.
    case.created(&b);
    case.delete(&b.id);
}

#[test]
fn the_state_root_is_for_its_owner_alone() {
    let case = case!();
    let b = case.script("sleep 100", |_| {});
    case.created(&b);
    for dir in [case.state.clone(), case.state.join(&b.id)] {
        assert_eq!(dir.metadata().unwrap().permissions().mode() & 0o777, 0o700, "{dir:?}");
    }
    case.delete(&b.id);
}

#[test]
fn a_configuration_without_a_process_can_be_created_but_not_started() {
    let case = case!();
    let b = case.bundle(|config| {
        config.as_object_mut().unwrap().remove("process");
    });
    case.created(&b);
    assert_eq!(case.status(&b.id), "created");
    case.call(["start", &b.id]).finish().fails(&["process"]);
    case.delete(&b.id);
}

#[test]
fn a_killed_start_leaves_a_container_that_can_be_deleted() {
    let case = case!();
    let b = case.script("sleep 100", |_| {});
    case.created(&b);
    // Connects to nothing: the init is stopped, so that start waits for it.
    let pid = Pid::from_raw(case.pid(&b.id));
    nix::sys::signal::kill(pid, nix::sys::signal::SIGSTOP).unwrap();
    let start = case.call(["start", &b.id]).spawn();
    assert!(!within(std::time::Duration::from_millis(100), || false));
    drop(start);
    nix::sys::signal::kill(pid, nix::sys::signal::SIGCONT).unwrap();
    let status = case.status(&b.id);
    // On a slow machine it has not come as far as asking.
    assert!(["created", "running", "stopped"].contains(&status.as_str()), "{status}");
    case.delete(&b.id);
}

#[test]
fn many_containers_live_side_by_side() {
    let case = case!();
    let b = case.script("sleep 100", |_| {});
    let all: Vec<_> = (0..8).map(|n| b.as_id(&case, &format!("{}-n{n}", case.unique))).collect();
    all.iter().for_each(|b| drop(case.started(b)));
    assert_eq!(case.call(["list", "-q"]).finish().ok().lines().len(), 8);
    all.iter().for_each(|b| case.delete(&b.id));
}
