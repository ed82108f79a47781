//! How many system calls the verbs take, each with a budget: what grows shows here first.
//!
//! Counted on the configuration that podman writes (`bundles/podman-default`) with the profile in the cache,
//! all processes of the runtime together. The budgets are what was measured, and a little more.

use serde_json::{Value, json};

use crate::support::bundle::Bundle;
use crate::support::{Case, case, eventually, host_command, installed, need, nothing_is_left, read};

/// podman's container: ten mounts, 13 masked and read-only paths, a filter, capabilities.
fn podman_default(case: &Case) -> Bundle {
    let b = case.script("true", |_| {});
    let source = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("bundles/podman-default/config.json");
    let mut config: Value = serde_json::from_str(&read(source)).unwrap();
    config["process"]["args"] = json!(["/bin/true"]);
    config["linux"]["cgroupsPath"] = b.config()["linux"]["cgroupsPath"].clone();
    b.save(&config);
    // What its fill script makes.
    let mounts = b.dir.join("mounts");
    host_command("mkdir", &["-p".as_ref(), mounts.join("shm").as_os_str()]);
    for name in ["hosts", "hostname", ".containerenv"] {
        crate::support::write(&mounts.join(name), "", 0o644);
    }
    b
}

/// The system calls of a verb, in all of its processes.
fn count(case: &Case, verb: &[&str]) -> usize {
    let log = case.path("trace");
    // -D: strace stays beside it, and does not wait for the container.
    let line = ["strace", "-D", "-f", "-qq", "-o", log.to_str().unwrap()];
    case.call_through(&line, verb).finish().ok();
    let is_call = |line: &&str| {
        line.contains('(') && !["resumed>", "+++", "---"].iter().any(|other| line.contains(other))
    };
    // The one that traces writes while it is read. It is over when the verb has ended and init, if there is one,
    // waits at its gate.
    let ends: &[&str] = if verb[0] == "create" { &["exit_group(", "accept4("] } else { &["exit_group("] };
    eventually("the trace is complete", || ends.iter().all(|end| read(&log).contains(end)));
    read(&log).lines().filter(is_call).count()
}

#[test]
fn exec_keeps_to_its_budget() {
    let case = case!();
    need!(installed("strace"), "strace is not installed");
    let b = podman_default(&case);
    let mut config = b.config();
    config["process"]["args"] = json!(["/bin/sleep", "1000"]);
    b.save(&config);
    case.started(&b);
    let exec = count(&case, &["exec", &b.id, "/bin/true"]);
    println!("exec {exec}");
    case.delete(&b.id);
    nothing_is_left(&case, "by strace");
    assert!(exec <= EXEC, "exec takes {exec} system calls, its budget is {EXEC}");
    assert!(exec * 10 >= EXEC * 7, "exec takes {exec} system calls only: lower its budget from {EXEC}");
}

/// Measures twice what the first time has to prepare, such as the cache.
fn measured(case: &Case) -> [usize; 3] {
    let b = podman_default(case);
    let mut counts = [0; 3];
    for _ in 0..2 {
        counts = [count(case, &["create", "-b", b.path(), &b.id]), count(case, &["start", &b.id]), 0];
        case.until(&b.id, "stopped");
        counts[2] = count(case, &["delete", &b.id]);
        nothing_is_left(case, "by strace");
    }
    counts
}

#[test]
fn create_start_and_delete_keep_to_their_budgets() {
    let case = case!();
    need!(installed("strace"), "strace is not installed");
    let [create, start, delete] = measured(&case);
    println!("create {create}, start {start}, delete {delete}");
    let create_budget = if minidocker_oci::sys::exe::can_detach() { CREATE } else { CREATE_TWICE_BEGUN };
    for (verb, count, budget) in
        [("create", create, create_budget), ("start", start, START), ("delete", delete, DELETE)]
    {
        assert!(count <= budget, "{verb} takes {count} system calls, its budget is {budget}");
        assert!(
            count * 10 >= budget * 7,
            "{verb} takes {count} system calls only: lower its budget from {budget}"
        );
    }
}

const CREATE: usize = 482;
/// Where the kernel can't take a program off its file, create begins once more from a copy of it.
const CREATE_TWICE_BEGUN: usize = 540;
const START: usize = 88;
const DELETE: usize = 97;
const EXEC: usize = 275;
