//! A cgroup that others are in.

use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::processes_in;
use crate::support::bundle::set_namespace;
use crate::support::{
    PATIENCE, case, eventually, installed, is_there, make_dir, need, nothing_is_left, read, within, write,
};

#[test]
fn a_cgroup_that_others_are_in_is_refused_and_they_live_on() {
    // config-linux.md, "Cgroups": a cgroup that does not fit is an error of create.
    let case = case!();
    need!(installed("strace"), "strace is not installed");
    let b = case.script("sleep 100", |_| {});
    let mut stranger = case.stranger_in(&b.cgroup);
    case.create(&b).fails(&["cgroup", "is not empty"]);
    assert!(!stranger.ended());
    // One that is killed before it has looked leaves a record; that does not make the cgroup its own.
    let log = case.path("trace");
    let kill = "inject=mkdirat:signal=KILL:when=2";
    let line = ["strace", "-D", "-qq", "-e", "trace=mkdirat", "-e", kill, "-o", log.to_str().unwrap()];
    assert_ne!(case.call_through(&line, ["create", "-b", b.path(), &b.id]).finish().code(), 0);
    assert_eq!(case.status(&b.id), "creating");
    case.call(["kill", "-a", &b.id, "KILL"]).finish();
    case.delete(&b.id);
    assert!(!stranger.ended());
    assert_eq!(processes_in(&b.cgroup), [stranger.pid()]);
    drop(stranger);
    eventually("it is empty", || std::fs::remove_dir(&b.cgroup).is_ok());
}

#[test]
fn an_empty_cgroup_that_was_there_is_used_and_stays() {
    let case = case!();
    let b = case.script("sleep 100 & sleep 100", |config| set_namespace(config, "pid", None));
    make_dir(&b.cgroup);
    case.started(&b);
    eventually("all of it runs", || processes_in(&b.cgroup).len() >= 2);
    case.delete(&b.id);
    assert_eq!(processes_in(&b.cgroup), [0; 0]);
    std::fs::remove_dir(&b.cgroup).unwrap();
}

#[test]
fn two_containers_do_not_share_a_cgroup() {
    let case = case!();
    let first = case.script("sleep 100", |_| {});
    let second = case.script("sleep 100", |config| {
        config["linux"]["cgroupsPath"] = first.config()["linux"]["cgroupsPath"].clone();
    });
    case.started(&first);
    case.create(&second).fails(&["cgroup", "is not empty"]);
    assert_eq!(case.status(&first.id), "running");
    // Nor when the first has ended and nobody is in it: deleting it would end the second.
    case.call(["kill", &first.id, "KILL"]).finish().ok();
    case.until(&first.id, "stopped");
    eventually("its cgroup is empty", || processes_in(&first.cgroup).is_empty());
    case.create(&second).fails(&["cgroup", &first.id]);
    case.call(["delete", &first.id]).finish().ok();
    case.started(&second);
    case.delete(&second.id);
    assert!(!is_there(&first.cgroup));
}

#[test]
fn a_container_with_thousands_of_cgroups_is_deleted_with_few_descriptors() {
    let case = case!();
    for forced in [true, false] {
        let b = case.script("sleep 100", |_| {});
        case.started(&b);
        for n in 0..1500 {
            make_dir(&b.cgroup.join(n.to_string()));
        }
        // And one below the other, as deep as a container can go.
        let mut deep = b.cgroup.join("deep");
        for _ in 0..200 {
            make_dir(&deep);
            deep.push("d");
        }
        let few = ["sh", "-c", "ulimit -n 32; exec \"$@\"", "few"];
        if !forced {
            case.call_through(&few, ["kill", "-a", &b.id, "TERM"]).finish().ok();
            case.call_through(&few, ["kill", "-a", &b.id, "KILL"]).finish().ok();
            case.until(&b.id, "stopped");
        }
        let delete = if forced { vec!["delete", "-f", &b.id] } else { vec!["delete", &b.id] };
        case.call_through(&few, delete).finish().ok();
        nothing_is_left(&case, "of its cgroups");
    }
}

#[test]
fn a_signal_to_all_reaches_all_and_only_the_containers_own() {
    let case = case!();
    let b = case.script("trap 'echo term' TERM; for i in $(seq 300); do sleep 100 & done; echo up; while :; do sleep 0.1; done", |_| {});
    let done = case.started(&b);
    // A shell's child that is not a program yet would forget the signal.
    let sleeping = || {
        let comm = |pid: &i32| std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        processes_in(&b.cgroup).iter().filter(|pid| comm(pid) == "sleep\n").count()
    };
    eventually("it is up", || done.stdout() == "up\n" && sleeping() >= 300);
    let few = ["sh", "-c", "ulimit -n 32; exec \"$@\"", "few"];
    case.call_through(&few, ["kill", "-a", &b.id, &(Signal::SIGTERM as i32).to_string()]).finish().ok();
    let gone = within(PATIENCE, || processes_in(&b.cgroup).len() <= 2 && done.stdout().contains("term"));
    assert!(gone, "{:?} {done}", processes_in(&b.cgroup));
    case.delete(&b.id);
}

#[test]
fn a_kill_of_all_does_not_reach_strangers() {
    let case = case!();
    let b = case.script("sleep 100", |_| {});
    case.started(&b);
    // The machine has been started anew, and somebody else has made a cgroup of this path.
    let record = case.state.join(&b.id).join("record.json");
    let old = read(&record);
    let mut value: Value = serde_json::from_str(&old).unwrap();
    value["boot_id"] = json!("00000000-0000-0000-0000-000000000000");
    write(&record, value.to_string(), 0o600);
    let before = processes_in(&b.cgroup);
    case.call(["kill", "-a", &b.id, "KILL"]).finish();
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(processes_in(&b.cgroup), before);
    write(&record, old, 0o600);
    case.delete(&b.id);
}
