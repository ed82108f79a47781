//! What can go wrong with a cgroup: limits of the tree, one that has vanished, somebody else at work in it; and signals
//! to all of its processes while these make others.

use std::time::{Duration, Instant};

use nix::sys::stat::Mode;
use nix::unistd::mkdir;
use serde_json::json;

use crate::support::bundle::{add_mount, set_namespace};
use crate::support::{
    Bundle, Case, case, eventually, installed, is_there, make_dir, need, nothing_is_left, read, within, write,
};

#[test]
fn a_limit_of_the_tree_is_named_with_its_value_and_the_count() {
    let case = case!();
    let b = case.script("exit 0", |_| {});
    let limit = |name: &str, value: &str| write(&case.cgroup().join(name), value, 0o644);
    let name = |name: &str| format!("{:?}", case.cgroup().join(name));
    let (descendants, depth) = (name("cgroup.max.descendants"), name("cgroup.max.depth"));
    limit("cgroup.max.descendants", "0");
    case.create(&b).fails(&["(EAGAIN)", &descendants, "is 0, and 0 cgroups are below it: raise it"]);
    let first = case.script("sleep 1000", |_| {});
    limit("cgroup.max.descendants", "1");
    case.created(&first);
    case.create(&b).fails(&[&descendants, "is 1, and 1 cgroups are below it"]);
    case.delete(&first.id);
    limit("cgroup.max.descendants", "max");
    limit("cgroup.max.depth", "0");
    case.create(&b).fails(&["(EAGAIN)", &depth, "is 0, and this one would be 1 below it"]);
    limit("cgroup.max.depth", "1");
    case.run(&b).ok();
    let deep = case.script("exit 0", |config| {
        config["linux"]["cgroupsPath"] = json!(format!("/{}/x/y", case.unique));
    });
    case.create(&deep).fails(&[&depth, "is 1, and this one would be 2 below it"]);
    nothing_is_left(&case, "by creates that were refused");
    limit("cgroup.max.depth", "max");
}

#[test]
fn a_container_whose_cgroup_has_vanished_can_still_be_asked_and_deleted() {
    let case = case!();
    let b = case.script("sleep 1000", |_| {});
    case.started(&b);
    // Its process somewhere else, its cgroup away.
    let pid = case.pid(&b.id);
    write(&case.cgroup().join("cgroup.procs"), pid.to_string(), 0o644);
    std::fs::remove_dir(&b.cgroup).unwrap();
    assert_eq!(case.status(&b.id), "running");
    case.call(["pause", &b.id]).finish().fails(&["cannot pause"]);
    case.call(["ps", "-f", "json", &b.id]).finish().prints("null\n");
    for signal in ["USR1", "KILL"] {
        case.call(["kill", "--all", &b.id, signal]).finish().ok();
    }
    assert_eq!(case.status(&b.id), "running");
    case.call(["delete", "--force", &b.id]).finish().ok();
    assert_eq!(read(format!("/proc/{pid}/cmdline")), "");
}

#[test]
fn a_container_whose_cgroup_has_vanished_does_not_take_the_next_one_at_its_place_with_it() {
    let case = case!();
    let b = case.script("sleep 100", |_| {});
    case.started(&b);
    case.call(["kill", &b.id, "KILL"]).finish().ok();
    case.until(&b.id, "stopped");
    eventually("nobody is in it", || std::fs::remove_dir(&b.cgroup).is_ok());
    let next = b.successor(&case);
    case.started(&next);
    for verb in ["ps", "kill", "delete"] {
        let line = match verb {
            "ps" => vec!["ps", "--format=json", &b.id],
            "kill" => vec!["kill", "--all", &b.id, "KILL"],
            _ => vec!["delete", "--force", &b.id],
        };
        let done = case.call(line).finish().ok();
        assert!(verb != "ps" || ["[]", "null"].contains(&done.stdout().trim()), "{done}");
        assert_eq!(case.status(&next.id), "running", "after {verb}");
    }
    case.delete(&next.id);
}

/// A cgroup that was there before `create` stays, and the next container in it has rules of its own.
#[test]
fn rules_of_devices_do_not_outlive_their_container_in_a_cgroup_that_stays() {
    let case = case!();
    let limited = |denied: bool| {
        case.script("(exec 3>/dev/kmsg) && echo allowed", |config| {
            config["linux"]["devices"] =
                json!([{ "path": "/dev/kmsg", "type": "c", "major": 1, "minor": 11 }]);
            config["linux"]["cgroupsPath"] = json!(format!("/{}/stays", case.unique));
            if denied {
                config["linux"]["resources"] = json!({ "devices": [{ "allow": false, "access": "rwm" }] });
            }
        })
    };
    crate::support::make_dir(&case.cgroup().join("stays"));
    case.run(&limited(true)).says(&["kmsg"]);
    assert!(is_there(case.cgroup().join("stays")));
    case.run(&limited(false)).prints("allowed\n");
    std::fs::remove_dir(case.cgroup().join("stays")).unwrap();
}

#[test]
fn a_signal_to_all_reaches_those_that_are_made_meanwhile() {
    let case = case!();
    // Each of these is replaced by a child of its own all the time: what is in a list of pids has ended when it is used.
    // The first process and its child ignore the signal.
    let script = "hop() { hop & }; for i in 1 2 3; do hop & done; trap '' TERM; echo up; sleep 1000 & wait";
    let b = case.script(script, |_| {});
    for _ in 0..10 {
        let create = case.started(&b);
        eventually("it is up", || create.stdout() == "up\n");
        let list = || read(b.cgroup.join("cgroup.procs"));
        let pids = || list().lines().count();
        let before = list();
        eventually("they are others", || list() != before && pids() > 2);
        case.call(["kill", "--all", &b.id, "TERM"]).finish().ok();
        assert!(within(Duration::from_secs(2), || pids() == 2), "{}", list());
        assert_eq!(read(b.cgroup.join("cgroup.freeze")), "0\n");
        assert_eq!(case.status(&b.id), "running");
        case.delete(&b.id);
    }
}

#[test]
fn who_sends_a_signal_to_all_leaves_nobody_frozen_however_it_ends() {
    let case = case!();
    need!(installed("strace"), "strace is not installed");
    // There are new ones in each list, until all are frozen.
    let b = case.script("hop() { hop & }; for i in 1 2 3; do hop & done; sleep 1000 & wait", |_| {});
    let log = case.path("trace");
    let slow = "inject=pidfd_send_signal:delay_enter=20000";
    let slow = ["strace", "-D", "-qq", "-e", slow, "-o", log.to_str().unwrap()];
    for signal in [libc::SIGTERM, libc::SIGKILL] {
        case.started(&b);
        let told = || read(b.cgroup.join("cgroup.freeze"));
        let kill = case.call_through(&slow, ["kill", "--all", &b.id, "WINCH"]).spawn();
        eventually("they are told to freeze", || told() == "1\n");
        kill.signal(signal);
        assert_eq!(kill.wait().code(), 128 + signal);
        assert!(within(Duration::from_secs(5), || told() == "0\n"), "signal {signal}");
        assert_eq!(case.status(&b.id), "running");
        case.delete(&b.id);
    }
}

#[test]
fn a_signal_to_all_reaches_each_process_once() {
    let case = case!();
    let script = "for i in $(seq 30); do setsid sh -c 'trap \"echo got >>/got\" USR1; echo up >>/up; while :; do sleep 0.05; done' & done; sleep 1000";
    let b = case.script(script, |config| set_namespace(config, "pid", None));
    case.started(&b);
    let lines = |name: &str| std::fs::read_to_string(b.rootfs(name)).unwrap_or_default().lines().count();
    eventually("they are up", || lines("up") == 30);
    case.call(["kill", "--all", &b.id, "USR1"]).finish().ok();
    eventually("they got it", || lines("got") == 30);
    assert!(!within(Duration::from_millis(200), || lines("got") != 30));
    case.delete(&b.id);
}

#[test]
fn a_signal_to_all_is_not_given_up_because_the_machine_is_slow() {
    let case = case!();
    need!(installed("strace"), "strace is not installed");
    let script =
        "trap 'echo got' USR1; mkfifo /never; exec 3<>/never; echo up; while :; do read line <&3; done";
    let b = case.script(script, |_| {});
    let create = case.started(&b);
    eventually("it is up", || create.stdout() == "up\n");
    (0..12).for_each(|n| make_dir(&b.cgroup.join(n.to_string())));
    // One look at all of these takes longer than a signal's patience with those who make others.
    let log = case.path("trace");
    let slow = ["strace", "-qq", "-e", "inject=openat2:delay_enter=100000", "-o", log.to_str().unwrap()];
    case.call_through(&slow, ["kill", "--all", &b.id, "USR1"]).finish().ok();
    eventually("it got it", || create.stdout() == "up\ngot\n");
    case.delete(&b.id);
}

/// A container that makes and removes cgroups all the time, and moves processes between them.
fn restless(case: &Case) -> Bundle {
    let script = "cd /sys/fs/cgroup; mkdir a b; sleep 1000 & p=$!; echo up; \
        while :; do mkdir -p c/d e; echo $p >a/cgroup.procs; rmdir c/d c; mkdir -p f/g/h; echo $p >b/cgroup.procs; rmdir e f/g/h f/g f; done 2>/dev/null";
    let b = case.script(script, |config| add_mount(config, "/sys/fs/cgroup", "cgroup", "cgroup", &["rw"]));
    let create = case.started(&b);
    eventually("it is up", || create.stdout() == "up\n");
    b
}

#[test]
fn verbs_work_on_a_container_that_makes_cgroups_meanwhile() {
    let case = case!();
    let b = restless(&case);
    for _ in 0..15 {
        assert_eq!(case.status(&b.id), "running");
        let done = case.call(["ps", "-f", "json", &b.id]).finish().ok();
        let pids: Vec<i32> = serde_json::from_str(&done.stdout()).unwrap();
        assert!(pids.contains(&case.pid(&b.id)), "{done}");
        case.call(["kill", "--all", &b.id, "0"]).finish().ok();
        case.call(["pause", &b.id]).finish().ok();
        assert_eq!(
            case.call(["ps", "-f", "json", &b.id]).finish().ok().stdout(),
            case.call(["ps", "-f", "json", &b.id]).finish().ok().stdout()
        );
        case.call(["resume", &b.id]).finish().ok();
    }
    case.delete(&b.id);
    for _ in 0..5 {
        let b = restless(&case);
        case.delete(&b.id);
        assert!(!is_there(&b.cgroup));
    }
}

#[test]
fn a_delete_goes_on_until_nobody_disturbs_it() {
    let case = case!();
    let b = case.script("exit 0", |_| {});
    for _ in 0..5 {
        case.started(&b);
        case.until(&b.id, "stopped");
        let dirs: Vec<_> = (0..4).map(|n| b.cgroup.join(format!("d{n}"))).collect();
        std::thread::scope(|threads| {
            let end = Instant::now() + Duration::from_millis(500);
            for dir in &dirs {
                // What is removed is there again at once; and once it is there however late a thread begins.
                threads.spawn(move || {
                    loop {
                        mkdir(dir, Mode::S_IRWXU).unwrap_or_default();
                        if Instant::now() > end {
                            break;
                        }
                    }
                });
            }
            eventually("all are there", || dirs.iter().all(is_there));
            case.call(["delete", &b.id]).finish().ok();
        });
        assert!(!is_there(&b.cgroup));
    }
}
