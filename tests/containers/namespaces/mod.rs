//! Namespaces: config-linux.md, "Namespaces", "User namespace mappings", "Offset for Time Namespace".

mod joined;
mod user;

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::bundle::{Bundle, NAMESPACES as TYPES, add_user_namespace, set_namespace};
use crate::support::{Case, Done, case, need, read};

/// Prints the namespaces of the program.
const SHOW: &str =
    "cd /proc/self/ns; for ns in cgroup ipc mnt net pid time user uts; do echo $ns $(readlink $ns); done";

fn namespaces(done: &Done) -> BTreeMap<String, String> {
    let pair = |line: String| line.split_once(' ').map(|(k, v)| (k.to_owned(), v.to_owned())).unwrap();
    done.lines().into_iter().map(pair).collect()
}

fn own(name: &str) -> String {
    of(Path::new("/proc/self/ns"), name)
}

fn of(dir: &Path, name: &str) -> String {
    std::fs::read_link(dir.join(name)).unwrap().display().to_string()
}

/// A container that waits, whose namespaces others join.
fn holder(case: &Case, change: impl FnOnce(&mut Value)) -> (Bundle, i32) {
    let b = case.script("sleep 100", change);
    case.started(&b);
    let pid = case.pid(&b.id);
    (b, pid)
}

fn path_of(pid: i32, link: &str) -> String {
    format!("/proc/{pid}/ns/{link}")
}

#[test]
fn what_is_listed_is_new_and_the_rest_is_the_runtimes() {
    let case = case!();
    let all = namespaces(&case.sh(SHOW, |_| {}).ok());
    for (_, link) in TYPES {
        assert_ne!(all[link], own(link), "{link}");
    }
    assert_eq!((all["user"].clone(), all["time"].clone()), (own("user"), own("time")));
    for (kind, link) in TYPES.into_iter().filter(|(kind, _)| *kind != "mount") {
        let done = case.sh(SHOW, |config| {
            set_namespace(config, kind, None);
            if kind == "uts" {
                config["hostname"] = json!("");
            }
        });
        let without = namespaces(&done.ok());
        assert_eq!(without[link], own(link), "{link}");
        for (_, other) in TYPES.into_iter().filter(|(other, _)| *other != kind) {
            assert_ne!(without[other], own(other), "{other} without {kind}");
        }
    }
}

#[test]
fn host_and_domain_name_are_the_containers_own() {
    let case = case!();
    let before = [read("/proc/sys/kernel/hostname"), read("/proc/sys/kernel/domainname")];
    let done = case.sh("hostname; cat /proc/sys/kernel/domainname", |config| {
        config["hostname"] = json!("inside");
        config["domainname"] = json!("example.org");
    });
    done.prints("inside\nexample.org\n");
    assert_eq!([read("/proc/sys/kernel/hostname"), read("/proc/sys/kernel/domainname")], before);
}

#[test]
fn the_loopback_interface_of_a_new_network_is_up() {
    let case = case!();
    case.sh("cat /sys/class/net/lo/operstate /proc/net/dev | head -1; ifconfig lo | grep -c 'UP.*LOOPBACK\\|UP LOOPBACK'; ls /sys/class/net", |config| {
        crate::support::bundle::add_mount(config, "/sys", "sysfs", "sysfs", &["ro"]);
    })
    .prints("unknown\n1\nlo\n");
}

#[test]
fn a_time_namespace_has_its_offsets() {
    let case = case!();
    need!(Path::new("/proc/self/ns/time").is_symlink(), "the kernel has no time namespaces");
    let offset = 1_000_000;
    let b = case.script(&format!("cut -d. -f1 /proc/uptime; {SHOW}"), |config| {
        set_namespace(config, "time", Some(json!({ "type": "time" })));
        config["linux"]["timeOffsets"] =
            json!({ "boottime": { "secs": offset }, "monotonic": { "secs": 5, "nanosecs": 7 } });
    });
    let done = case.run(&b).ok();
    let host: i64 = read("/proc/uptime").split('.').next().unwrap().parse().unwrap();
    let inside: i64 = done.lines()[0].parse().unwrap();
    assert!((0..60).contains(&(host + offset - inside)), "{host} outside, {inside} inside");
    let shown = done.lines();
    let time = shown.iter().find(|line| line.starts_with("time ")).unwrap();
    assert_ne!(time.trim_start_matches("time "), own("time"));
    // And it can be joined.
    let (holder, pid) =
        holder(&case, |config| set_namespace(config, "time", Some(json!({ "type": "time" }))));
    let joined = case.sh(SHOW, |config| {
        set_namespace(config, "time", Some(json!({ "type": "time", "path": path_of(pid, "time") })))
    });
    assert_eq!(namespaces(&joined.ok())["time"], of(Path::new(&format!("/proc/{pid}/ns")), "time"));
    case.delete(&holder.id);
}

#[test]
fn time_offsets_without_a_new_time_namespace_are_refused() {
    let case = case!();
    let b =
        case.script("true", |config| config["linux"]["timeOffsets"] = json!({ "boottime": { "secs": 1 } }));
    case.create(&b).fails(&["linux.timeOffsets", "time namespace"]);
}

#[test]
fn the_root_of_the_cgroup_namespace_is_the_containers_cgroup() {
    let case = case!();
    case.sh("cat /proc/self/cgroup | grep ^0:", |_| {}).prints("0::/\n");
}

#[test]
fn process_1_of_a_new_pid_namespace_is_the_program_itself() {
    let case = case!();
    let lines = case.sh("echo $$; ps -o pid,comm", |_| {}).ok().lines();
    assert_eq!(lines[0], "1");
    let pids: Vec<&str> = lines[2..].iter().map(|line| line.split_whitespace().next().unwrap()).collect();
    assert!(pids.contains(&"1") && pids.len() <= 2, "{lines:?}");
}

/// All types but the two that have tests of their own, for a holder that has all of them.
const PAIRED: [(&str, &str); 6] = [
    ("pid", "pid"),
    ("ipc", "ipc"),
    ("uts", "uts"),
    ("network", "net"),
    ("cgroup", "cgroup"),
    ("time", "time"),
];

/// Joins these types of the holder's, with or without its user namespace.
fn join(config: &mut Value, pid: i32, kinds: &[&str], with_user: bool) {
    let user = [("user", "user")].into_iter().filter(|_| with_user);
    for (kind, link) in PAIRED.into_iter().filter(|(kind, _)| kinds.contains(kind)).chain(user) {
        set_namespace(config, kind, Some(json!({ "type": kind, "path": path_of(pid, link) })));
    }
    config["hostname"] = json!("");
}

#[test]
fn clocks_go_before_and_behind_the_hosts_in_a_user_namespace_too() {
    let case = case!();
    need!(Path::new("/proc/self/ns/time").is_symlink(), "the kernel has no time namespaces");
    let uptime: i64 = read("/proc/uptime").split('.').next().unwrap().parse().unwrap();
    // Only as far back as the clock has come: it can't be negative.
    let back = -(uptime / 2);
    for user in [false, true] {
        let b = case.script("cut -d. -f1 /proc/uptime; tr -s ' ' </proc/self/timens_offsets", |config| {
            set_namespace(config, "time", Some(json!({ "type": "time" })));
            config["linux"]["timeOffsets"] =
                json!({ "boottime": { "secs": back, "nanosecs": 999_999_999 }, "monotonic": { "secs": 77 } });
            if user {
                add_user_namespace(config, 100_000);
            }
        });
        b.chown(if user { 100_000 } else { 0 });
        let lines = case.run(&b).ok().lines();
        let host: i64 = read("/proc/uptime").split('.').next().unwrap().parse().unwrap();
        let inside: i64 = lines[0].parse().unwrap();
        assert!((0..60).contains(&(host + back + 1 - inside)), "{host} outside, {inside} inside");
        assert_eq!(lines[1..], ["monotonic 77 0".to_owned(), format!("boottime {back} 999999999")]);
    }
    let b = case.script("true", |config| {
        set_namespace(config, "time", Some(json!({ "type": "time" })));
        config["linux"]["timeOffsets"] = json!({ "boottime": { "secs": -uptime * 2 - 1000 } });
    });
    case.create(&b).fails(&["linux.timeOffsets", "negative", "ERANGE"]);
}
