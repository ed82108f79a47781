//! A container's process whose first thread has ended, pthread_exit(3), while another one goes on: /proc shows a zombie.

use std::process::Command;

use crate::support::bundle::set_namespace;
use crate::support::{Bundle, Case, case, eventually, installed, is_there, need, nothing_is_left, read};

const SOURCE: &str = r"
#include <pthread.h>
#include <unistd.h>
static void *go_on(void *x) { for (;;) usleep(1000); }
int main(void) { pthread_t t; pthread_create(&t, 0, go_on, 0); pthread_exit(0); }
";

/// Such a program in the bundle; false if it can't be made here.
fn put(case: &Case, b: &Bundle) -> bool {
    let source = case.file("headless.c", SOURCE, 0o644);
    let mut gcc = Command::new("gcc");
    gcc.args(["-static", "-pthread", "-o"]).arg(b.rootfs("bin/headless")).arg(source);
    gcc.output().is_ok_and(|output| output.status.success())
}

/// The pid of the one in a cgroup, once its first thread has ended.
fn headless(b: &Bundle) -> String {
    let list = || read(b.cgroup.join("cgroup.procs"));
    let is_it = |pid: &&str| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        status.contains("Name:\theadless\n") && status.contains("State:\tZ")
    };
    eventually("its first thread has ended", || list().lines().any(|pid| is_it(&pid)));
    list().lines().find(is_it).unwrap().to_owned()
}

#[test]
fn a_container_whose_first_thread_has_ended_runs_and_can_be_killed_and_deleted() {
    let case = case!();
    need!(installed("gcc"), "gcc is not installed");
    let b = case.script("exec headless", |_| {});
    need!(put(&case, &b), "gcc makes no static program here");
    for end in ["kill", "delete"] {
        case.started(&b);
        let pid = headless(&b);
        assert_eq!((case.status(&b.id).as_str(), case.pid(&b.id).to_string()), ("running", pid));
        let done = case.call(["exec", &b.id, "/bin/true"]).finish();
        assert!(done.code() == 255 && done.stderr().contains("first thread"), "{done}");
        if end == "kill" {
            case.call(["kill", &b.id, "KILL"]).finish().ok();
            case.until(&b.id, "stopped");
        }
        case.call(["delete", "-f", &b.id]).finish().ok();
        nothing_is_left(&case, "by delete");
    }
}

#[test]
fn one_among_others_is_killed_with_them() {
    // cgroup.kill does not reach it.
    let case = case!();
    need!(installed("gcc"), "gcc is not installed");
    let b = case.script("headless & sleep 1000", |config| set_namespace(config, "pid", None));
    need!(put(&case, &b), "gcc makes no static program here");
    case.started(&b);
    let pid = headless(&b);
    case.call(["kill", "--all", &b.id, "KILL"]).finish().ok();
    eventually("it has ended", || {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        !is_there(format!("/proc/{pid}")) || status.contains("Threads:\t1")
    });
    case.delete(&b.id);
    case.started(&b);
    headless(&b);
    case.call(["delete", "-f", &b.id]).finish().ok();
    nothing_is_left(&case, "by delete");
}
