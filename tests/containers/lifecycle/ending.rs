//! `kill` and `delete`.

use super::PATIENT;
use crate::support::{case, eventually, is_there, read};

#[test]
fn delete_ends_a_container_that_was_not_started() {
    let case = case!();
    let b = case.script("sleep 100", |_| {});
    case.created(&b);
    let pid = case.pid(&b.id);
    case.call(["delete", &b.id]).finish().ok();
    case.call(["state", &b.id]).finish().fails(&["does not exist"]);
    assert!(!is_there(&b.cgroup));
    eventually("its process is gone or a zombie", || {
        std::fs::read_to_string(format!("/proc/{pid}/stat")).map_or(true, |stat| stat.contains(") Z "))
    });
}

#[test]
fn delete_of_a_running_container_needs_force() {
    let case = case!();
    let b = case.script(PATIENT, |_| {});
    case.started(&b);
    case.call(["delete", &b.id]).finish().fails(&[
        "cannot delete container",
        &b.id,
        "that is not stopped: running",
    ]);
    assert_eq!(case.status(&b.id), "running");
    case.call(["delete", "--force", &b.id]).finish().prints("");
    case.call(["state", &b.id]).finish().fails(&["does not exist"]);
}

#[test]
fn delete_of_what_is_not_there_fails_unless_forced() {
    let case = case!();
    case.call(["delete", "nobody"]).finish().fails(&["nobody", "does not exist"]);
    for flag in ["-f", "--force"] {
        case.call(["delete", flag, "nobody"]).finish().prints("");
    }
}

#[test]
fn delete_ends_every_process_of_the_container() {
    let case = case!();
    // The children leave its session and its process group; only the cgroup knows them.
    let b = case.script("for i in 1 2 3; do setsid sleep 100 & done; echo up; sleep 100", |_| {});
    let create = case.started(&b);
    eventually("it is up", || create.stdout() == "up\n");
    case.call(["delete", "-f", &b.id]).finish().ok();
    assert!(!is_there(&b.cgroup));
}

#[test]
fn kill_without_a_signal_is_sigterm() {
    let case = case!();
    let b = case.script(PATIENT, |_| {});
    let create = case.started(&b);
    eventually("it is up", || create.stdout() == "up\n");
    case.call(["kill", &b.id]).finish().prints("");
    case.until(&b.id, "stopped");
    case.delete(&b.id);
}

#[test]
fn kill_takes_names_and_numbers() {
    let case = case!();
    let b = case.script("trap 'echo usr1' USR1; echo up; while :; do sleep 0.02; done", |_| {});
    let create = case.started(&b);
    eventually("it is up", || create.stdout() == "up\n");
    for (count, signal) in ["USR1", "SIGUSR1", "usr1", "sigusr1", "10"].into_iter().enumerate() {
        case.call(["kill", &b.id, signal]).finish().ok();
        eventually(signal, || create.stdout().matches("usr1").count() == count + 1);
    }
    // The last of the real-time signals: nobody has a handler for it, and process 1 is spared.
    case.call(["kill", &b.id, "64"]).finish().ok();
    for bad in ["NOSUCH", "65", "-1", "SIG", "9x", ""] {
        case.call(["kill", &b.id, bad]).finish().fails(&["signal"]);
    }
    assert_eq!(case.status(&b.id), "running");
    case.delete(&b.id);
}

#[test]
fn kill_of_a_stopped_container_fails_and_changes_nothing() {
    let case = case!();
    let b = case.script("exit 0", |_| {});
    case.started(&b);
    case.until(&b.id, "stopped");
    let before = case.state_of(&b.id);
    // containerd and CRI-O look for these words.
    case.call(["kill", &b.id, "KILL"]).finish().fails(&[&b.id, "container not running"]);
    assert_eq!(case.state_of(&b.id), before);
    case.call(["kill", "--all", &b.id, "KILL"]).finish().ok();
    case.delete(&b.id);
}

#[test]
fn kill_of_what_is_not_there_says_that_it_does_not_exist() {
    let case = case!();
    case.call(["kill", "nobody", "9"]).finish().fails(&["nobody", "does not exist"]);
}

#[test]
fn kill_of_a_created_container_stops_it() {
    let case = case!();
    let b = case.script("exit 0", |_| {});
    case.created(&b);
    case.call(["kill", &b.id, "KILL"]).finish().ok();
    case.until(&b.id, "stopped");
    case.call(["start", &b.id]).finish().fails(&[&b.id, "stopped"]);
    case.call(["delete", &b.id]).finish().ok();
}

#[test]
fn kill_all_reaches_every_process_of_the_container() {
    let case = case!();
    // In the host's pid namespace the death of the first process does not end the others.
    let b = case.script("setsid sleep 100 & setsid sleep 100 & echo up; wait", |config| {
        crate::support::bundle::set_namespace(config, "pid", None);
    });
    let create = case.started(&b);
    eventually("it is up", || create.stdout() == "up\n");
    let processes = || read(b.cgroup.join("cgroup.procs")).lines().count();
    eventually("all are there", || processes() == 3);
    case.call(["kill", "-a", &b.id, "KILL"]).finish().ok();
    eventually("all have ended", || processes() == 0);
    case.until(&b.id, "stopped");
    case.call(["delete", &b.id]).finish().ok();
}

#[test]
fn delete_finds_the_processes_that_have_survived_the_first_one() {
    let case = case!();
    let b = case.script("setsid sleep 100 & exit 0", |config| {
        crate::support::bundle::set_namespace(config, "pid", None);
    });
    case.started(&b);
    case.until(&b.id, "stopped");
    case.call(["delete", &b.id]).finish().ok();
    assert!(!is_there(&b.cgroup));
}
