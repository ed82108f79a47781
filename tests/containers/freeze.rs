//! `pause` and `resume`, and a container that stands still, by itself or by a cgroup above it.

use std::path::Path;
use std::time::Duration;

use serde_json::json;

use crate::support::bundle::set_namespace;
use crate::support::user::user;
use crate::support::{Bundle, Case, case, eventually, is_there, nothing_is_left, read, within, write};

/// Counts for as long as it runs; ends with 3 when it is told to.
const COUNTING: &str = "trap 'exit 3' TERM; n=0; while :; do n=$((n+1)); echo $n >/n; sleep 0.01; done";

/// A running container that counts.
fn counting(case: &Case) -> Bundle {
    let b = case.script(COUNTING, |_| {});
    case.started(&b);
    eventually("it counts", || is_there(b.rootfs("n")));
    b
}

/// Whether its number changes within a time that is long for it.
fn goes_on(b: &Bundle) -> bool {
    let before = read(b.rootfs("n"));
    within(Duration::from_millis(300), || {
        let now = read(b.rootfs("n"));
        !now.is_empty() && now != before
    })
}

fn frozen(cgroup: &Path) -> bool {
    read(cgroup.join("cgroup.events")).contains("frozen 1")
}

fn freeze(cgroup: &Path, value: &str) {
    write(&cgroup.join("cgroup.freeze"), value, 0o644);
}

#[test]
fn a_paused_container_stands_still_and_goes_on_when_it_is_resumed() {
    let case = case!();
    let b = counting(&case);
    let pid = case.pid(&b.id);
    case.call(["pause", &b.id]).finish().prints("");
    // When it has returned all of it stands still.
    assert!(frozen(&b.cgroup));
    assert!(!goes_on(&b));
    assert_eq!((case.status(&b.id).as_str(), case.pid(&b.id)), ("paused", pid));
    let table = case.call(["list"]).finish().ok().stdout();
    assert!(table.contains(" paused "), "{table}");
    let listed = case.call(["list", "--format", "json"]).finish().ok().stdout();
    assert_eq!(serde_json::from_str::<serde_json::Value>(&listed).unwrap()[0]["status"], "paused");
    case.call(["resume", &b.id]).finish().prints("");
    assert!(!frozen(&b.cgroup));
    assert_eq!(case.status(&b.id), "running");
    assert!(goes_on(&b));
    case.delete(&b.id);
}

#[test]
fn each_verb_says_of_each_status_what_runc_says() {
    let case = case!();
    let (running, paused) = (&["container not running"], &["container not paused"]);
    let b = case.script("exec sleep 1000", |_| {});
    case.call(["pause", &b.id]).finish().fails(&["container does not exist"]);
    case.call(["resume", &b.id]).finish().fails(&["container does not exist"]);
    case.created(&b);
    case.call(["resume", &b.id]).finish().fails(paused);
    case.call(["pause", &b.id]).finish().ok();
    assert_eq!(case.status(&b.id), "paused");
    case.call(["start", &b.id]).finish().fails(&["cannot start", &b.id, "paused", "resume it first"]);
    case.call(["resume", &b.id]).finish().ok();
    assert_eq!(case.status(&b.id), "created");
    case.call(["start", &b.id]).finish().ok();
    case.call(["resume", &b.id]).finish().fails(paused);
    case.call(["pause", &b.id]).finish().ok();
    case.call(["pause", &b.id]).finish().fails(running);
    case.call(["start", &b.id]).finish().fails(&["paused"]);
    case.call(["delete", &b.id]).finish().fails(&["cannot delete container", "that is not stopped: paused"]);
    case.create(&b).fails(&["already exists"]);
    assert_eq!(case.status(&b.id), "paused");
    case.call(["kill", &b.id, "KILL"]).finish().ok();
    case.until(&b.id, "stopped");
    case.call(["pause", &b.id]).finish().fails(running);
    case.call(["resume", &b.id]).finish().fails(paused);
    case.call(["kill", &b.id, "KILL"]).finish().fails(running);
    for signal in ["KILL", "TERM"] {
        case.call(["kill", "--all", &b.id, signal]).finish().prints("");
    }
    case.call(["delete", &b.id]).finish().ok();
}

#[test]
fn a_paused_container_can_be_updated() {
    let case = case!();
    let b = counting(&case);
    case.call(["pause", &b.id]).finish().ok();
    let file = case.file("resources", r#"{"unified":{"cgroup.max.depth":"3"}}"#, 0o644);
    case.call(["update", "--resources", file.to_str().unwrap(), &b.id]).finish().ok();
    assert_eq!(read(b.cgroup.join("cgroup.max.depth")), "3\n");
    assert_eq!(case.status(&b.id), "paused");
    case.delete(&b.id);
}

#[test]
fn a_paused_container_gets_a_signal_when_it_goes_on_and_sigkill_at_once() {
    let case = case!();
    for all in [false, true] {
        let b = counting(&case);
        case.call(["pause", &b.id]).finish().ok();
        let line = if all { vec!["kill", "--all", &b.id] } else { vec!["kill", &b.id] };
        case.call([&line[..], &["TERM"]].concat()).finish().ok();
        assert!(!within(Duration::from_millis(100), || case.status(&b.id) != "paused"));
        case.call(["resume", &b.id]).finish().ok();
        case.until(&b.id, "stopped");
        case.delete(&b.id);
        let b = counting(&case);
        case.call(["pause", &b.id]).finish().ok();
        let line = if all { vec!["kill", "--all", &b.id] } else { vec!["kill", &b.id] };
        case.call([&line[..], &["KILL"]].concat()).finish().ok();
        case.until(&b.id, "stopped");
        case.call(["delete", &b.id]).finish().ok();
    }
}

#[test]
fn a_paused_container_is_deleted_by_force_at_once() {
    let case = case!();
    for start in [false, true] {
        let b = case.script("for i in 1 2 3 4 5 6 7 8; do sleep 1000 & done; sleep 1000", |_| {});
        case.created(&b);
        if start {
            case.call(["start", &b.id]).finish().ok();
        }
        case.call(["pause", &b.id]).finish().ok();
        let done = case.call(["delete", "--force", &b.id]).finish().ok();
        assert!(done.took < Duration::from_secs(2), "{done}");
        nothing_is_left(&case, "by delete --force");
    }
}

#[test]
fn one_that_has_been_frozen_by_hand_is_paused_too() {
    let case = case!();
    let b = counting(&case);
    freeze(&b.cgroup, "1");
    assert_eq!(case.status(&b.id), "paused");
    case.call(["resume", &b.id]).finish().ok();
    assert_eq!(case.status(&b.id), "running");
    // One whose process has ended is stopped, whatever its cgroup is told.
    case.call(["pause", &b.id]).finish().ok();
    case.call(["kill", &b.id, "KILL"]).finish().ok();
    case.until(&b.id, "stopped");
    assert!(frozen(&b.cgroup));
    case.delete(&b.id);
}

#[test]
fn what_is_frozen_from_above_can_be_paused_killed_and_deleted_but_not_resumed() {
    let case = case!();
    let b = counting(&case);
    freeze(&case.cgroup(), "1");
    eventually("it is frozen", || frozen(&b.cgroup));
    let file = case.cgroup().join("cgroup.freeze");
    // As runc and crun say: only what `resume` can end is paused.
    assert_eq!(case.status(&b.id), "running");
    case.call(["pause", &b.id]).finish().ok();
    assert_eq!(case.status(&b.id), "paused");
    case.call(["resume", &b.id]).finish().fails(&[
        "cannot resume",
        file.to_str().unwrap(),
        "is 1; write 0 to it",
    ]);
    assert_eq!(case.status(&b.id), "paused", "nothing has changed");
    freeze(&case.cgroup(), "0");
    assert!(!goes_on(&b));
    case.call(["resume", &b.id]).finish().ok();
    assert!(goes_on(&b));
    freeze(&case.cgroup(), "1");
    case.call(["kill", &b.id, "KILL"]).finish().ok();
    case.until(&b.id, "stopped");
    case.call(["delete", &b.id]).finish().ok();
    freeze(&case.cgroup(), "0");
}

#[test]
fn nothing_is_created_in_a_cgroup_that_is_frozen_from_above() {
    let case = case!();
    freeze(&case.cgroup(), "1");
    let b = case.script("exit 0", |_| {});
    let file = case.cgroup().join("cgroup.freeze");
    for verb in ["create", "run"] {
        let done = case.call([verb, "-b", b.path(), &b.id]).finish();
        assert!(done.took < Duration::from_secs(2), "{done}");
        done.fails(&["container's cgroup is frozen", file.to_str().unwrap(), "write 0 to it"]);
        nothing_is_left(&case, "by a create that was refused");
    }
    freeze(&case.cgroup(), "0");
    case.run(&b).ok();
}

#[test]
fn a_create_whose_cgroup_is_frozen_meanwhile_does_not_wait_for_ever() {
    let case = case!();
    let file = case.cgroup().join("cgroup.freeze");
    let freezes = json!([{ "path": "/bin/sh", "args": ["sh", "-c", format!("echo 1 >{}", file.display())] }]);
    // The second one has a helper between the host and init.
    let other = case.script("sleep 1000", |_| {});
    case.created(&other);
    let path = format!("/proc/{}/ns/pid", case.pid(&other.id));
    for join in [false, true] {
        let b = case.script("exit 0", |config| {
            config["hooks"]["createRuntime"] = freezes.clone();
            if join {
                set_namespace(config, "pid", Some(json!({ "type": "pid", "path": path })));
            }
        });
        for verb in ["create", "run"] {
            let done = case.call([verb, "-b", b.path(), &b.id]).finish();
            assert!(done.took < Duration::from_secs(5), "{done}");
            done.fails(&["it is frozen", file.to_str().unwrap(), "write 0 to it"]);
            assert!(!is_there(&b.cgroup));
            case.call(["state", &b.id]).finish().fails(&["does not exist"]);
            freeze(&case.cgroup(), "0");
        }
    }
    case.delete(&other.id);
}

#[test]
fn a_container_that_is_frozen_from_above_is_not_started_and_stays_created() {
    let case = case!();
    let b = case.script("exit 0", |_| {});
    case.created(&b);
    freeze(&case.cgroup(), "1");
    eventually("it is frozen", || frozen(&b.cgroup));
    let file = case.cgroup().join("cgroup.freeze");
    let done = case.call(["start", &b.id]).finish();
    assert!(done.took < Duration::from_secs(2), "{done}");
    done.fails(&["cannot start", file.to_str().unwrap(), "write 0 to it"]);
    assert_eq!(case.status(&b.id), "created");
    freeze(&case.cgroup(), "0");
    case.call(["start", &b.id]).finish().ok();
    case.until(&b.id, "stopped");
    case.delete(&b.id);
}

#[test]
fn a_start_whose_cgroup_is_frozen_meanwhile_says_so_and_the_program_runs_later() {
    let case = case!();
    let b = case.script("echo ran >/ran", |config| {
        config["hooks"]["startContainer"] =
            json!([{ "path": "/bin/sh", "args": ["sh", "-c", "echo up >/up; sleep 1.5"] }]);
    });
    case.created(&b);
    let start = case.call(["start", &b.id]).spawn();
    eventually("its hook runs", || is_there(b.rootfs("up")));
    freeze(&case.cgroup(), "1");
    let done = start.wait();
    assert!(done.took < Duration::from_secs(5), "{done}");
    done.fails(&["will run when it is thawed", "it is frozen", "cgroup.freeze"]);
    assert!(!is_there(b.rootfs("ran")));
    freeze(&case.cgroup(), "0");
    eventually("the program runs", || is_there(b.rootfs("ran")));
    case.delete(&b.id);
}

#[test]
fn engines_pause_and_resume_with_their_own_words() {
    let case = case!();
    let b = counting(&case);
    let log = case.path("log.json");
    let log = log.to_str().unwrap();
    // containerd and docker; podman and CRI-O.
    let lines: [&[&str]; 3] = [&["--log", log, "--log-format", "json"], &[], &["--systemd-cgroup"]];
    for flags in lines {
        for (verb, status) in [("pause", "paused"), ("resume", "running")] {
            case.call([flags, &[verb, &b.id]].concat()).finish().prints("");
            assert_eq!(case.status(&b.id), status);
        }
        let listed = case.call([flags, &["ps", "--format", "json", &b.id]].concat()).finish().ok();
        assert!(listed.stdout().contains(&case.pid(&b.id).to_string()), "{listed}");
    }
    // Nothing is logged where nothing has failed, and one object where something has.
    assert_eq!(std::fs::read_to_string(log).unwrap_or_default(), "");
    case.call(["--log", log, "--log-format", "json", "resume", &b.id])
        .finish()
        .fails(&["container not paused"]);
    let logged: serde_json::Value = serde_json::from_str(&read(log)).unwrap();
    assert_eq!(logged["level"], "error");
    case.delete(&b.id);
}

#[test]
fn a_container_without_a_cgroup_of_its_own_can_not_be_paused() {
    let case = case!();
    let user = user!(case);
    let b = user.bundle("sleep 1000", |_| {});
    user.call(&["run", "-d", "-b", b.path(), &b.id]).finish().ok();
    for verb in ["pause", "ps"] {
        user.call(&[verb, &b.id]).finish().fails(&["no cgroup of its own"]);
    }
    user.call(&["resume", &b.id]).finish().fails(&["container not paused"]);
    user.call(&["delete", "--force", &b.id]).finish().ok();
}

#[test]
fn a_user_pauses_his_container_where_a_cgroup_is_delegated_to_him() {
    let case = case!();
    let user = user!(case);
    let session = user.delegated_cgroup();
    let b = user.bundle("sleep 1000", |_| {});
    user.call_in(Some(&session), &["run", "-d", "-b", b.path(), &b.id]).finish().ok();
    for (verb, status) in [("pause", "paused"), ("resume", "running")] {
        user.call(&[verb, &b.id]).finish().ok();
        assert_eq!(user.state(&b.id)["status"], status);
    }
    user.delete(&b.id);
    std::fs::remove_dir(&session).unwrap();
    std::fs::remove_dir(session.parent().unwrap()).unwrap();
}
