//! `exec` into every combination of namespaces.

use std::fs::read_link;

use serde_json::{Value, json};

use super::{exec, refused, running, sh};
use crate::support::bundle::{Bundle, NAMESPACES, add_user_namespace, set_namespace};
use crate::support::{Case, case, is_there, need};

/// A bit of a number for each of them.
const KINDS: [(&str, &str); 7] = {
    let [a, b, c, d, e, f] = NAMESPACES;
    [a, b, c, d, e, f, ("time", "time")]
};

/// The namespaces of a process, by the files in /proc.
fn of(pid: &str) -> Vec<String> {
    let files = KINDS.iter().map(|(_, file)| *file).chain(["user"]);
    files
        .map(|file| read_link(format!("/proc/{pid}/ns/{file}")).unwrap().to_str().unwrap().to_owned())
        .collect()
}

/// A program of `exec` is in the container's namespaces, sees the container's root, and is the user that it should be.
#[track_caller]
fn is_inside(case: &Case, b: &Bundle, what: &str) {
    let file = case.path("pid");
    let script = "echo in >/tmp/inside; id -u >>/tmp/inside; exec sleep 100";
    let line = ["-d", "--pid-file", file.to_str().unwrap(), &b.id, "/bin/sh", "-c", script];
    exec(case, &line).finish().ok();
    let pid = crate::support::read(&file);
    assert_eq!(of(&pid), of(&case.pid(&b.id).to_string()), "{what}");
    let inside = b.rootfs("tmp/inside");
    crate::support::eventually("it has written", || {
        is_there(&inside) && crate::support::read(&inside) == "in\n0\n"
    });
    crate::support::remove(&inside);
}

fn set(config: &mut Value, bits: usize) {
    config["linux"]["namespaces"] = json!([]);
    config["mounts"] = json!([]);
    config.as_object_mut().unwrap().remove("hostname");
    for (n, (kind, _)) in KINDS.iter().enumerate() {
        if bits & 1 << n != 0 {
            set_namespace(config, kind, Some(json!({ "type": kind })));
        }
    }
}

#[test]
fn a_process_is_in_all_that_are_new_and_in_no_others() {
    let case = case!();
    let time = is_there("/proc/self/ns/time");
    need!(time, "the kernel has no time namespaces");
    let all = (1 << KINDS.len()) - 1;
    let each = (0..KINDS.len()).flat_map(|n| [1 << n, all & !(1 << n)]);
    for bits in each.chain([0, all]) {
        let b = running(&case, |config| set(config, bits));
        is_inside(&case, &b, &format!("namespaces {bits:#b}"));
        case.delete(&b.id);
    }
}

#[test]
fn a_process_is_in_the_containers_user_namespace() {
    let case = case!();
    let all = (1 << (KINDS.len() - 1)) - 1;
    for without in [None, Some(0), Some(2), Some(3), Some(4), Some(5)] {
        let b = case.script("sleep 1000", |config| {
            set(config, all & !without.map_or(0, |n| 1 << n));
            add_user_namespace(config, 100_000);
        });
        b.chown(100_000);
        case.started(&b);
        is_inside(&case, &b, &format!("a user namespace, and all but {without:?}"));
        sh(&case, &["-u", "33:34"], &b, "id -u; id -g").prints("33\n34\n");
        refused(
            exec(&case, &["-u", "70000", &b.id, "/bin/true"]).finish(),
            &["user.uid: 70000", "linux.uidMappings"],
        );
        case.delete(&b.id);
    }
}

#[test]
fn a_process_joins_what_its_container_has_joined() {
    let case = case!();
    let host = running(&case, |config| {
        set_namespace(config, "time", Some(json!({ "type": "time" })));
        config["linux"]["timeOffsets"] = json!({ "boottime": { "secs": 100_000 } });
    });
    let pid = case.pid(&host.id);
    for (kind, file) in KINDS.iter().filter(|(kind, _)| *kind != "mount") {
        let path = format!("/proc/{pid}/ns/{file}");
        let b =
            running(&case, |config| set_namespace(config, kind, Some(json!({ "type": kind, "path": path }))));
        is_inside(&case, &b, kind);
        case.delete(&b.id);
    }
    sh(&case, &[], &host, "cut -d. -f1 /proc/uptime").ok();
    case.delete(&host.id);
}

#[test]
fn a_process_joins_a_user_namespace_with_all_that_belongs_to_it_and_to_the_host() {
    let case = case!();
    let host = case.script("sleep 1000", |config| add_user_namespace(config, 100_000));
    host.chown(100_000);
    case.started(&host);
    let pid = case.pid(&host.id);
    let path = |file: &str| format!("/proc/{pid}/ns/{file}");
    for joined in
        [&["user"][..], &["user", "pid"], &["user", "network", "ipc"], &["user", "pid", "network", "uts"]]
    {
        let b = case.script("sleep 1000", |config| {
            for kind in joined {
                let file = KINDS.iter().find(|(other, _)| other == kind).map_or("user", |(_, file)| file);
                set_namespace(config, kind, Some(json!({ "type": kind, "path": path(file) })));
            }
            config["mounts"] = json!([]);
        });
        b.chown(100_000);
        case.started(&b);
        is_inside(&case, &b, &format!("{joined:?}"));
        case.delete(&b.id);
    }
    case.delete(&host.id);
}

#[test]
fn the_clocks_of_the_container_are_those_of_the_process() {
    let case = case!();
    need!(is_there("/proc/self/ns/time"), "the kernel has no time namespaces");
    let b = running(&case, |config| {
        set_namespace(config, "time", Some(json!({ "type": "time" })));
        config["linux"]["timeOffsets"] = json!({ "boottime": { "secs": 1_000_000 } });
    });
    let uptime = sh(&case, &[], &b, "cut -d. -f1 /proc/uptime").ok().stdout();
    assert!(uptime.trim().parse::<u64>().unwrap() > 1_000_000, "{uptime}");
    case.delete(&b.id);
}

#[test]
fn a_process_sees_the_root_that_its_container_has_whichever_way_that_came() {
    let case = case!();
    for flags in [&[][..], &["--no-pivot"]] {
        let b = case.script("sleep 1000", |_| {});
        case.call(["create"].iter().chain(flags).chain(&["-b", b.path(), &b.id])).finish().ok();
        case.call(["start", &b.id]).finish().ok();
        sh(&case, &[], &b, "ls -d /bin/busybox /proc/self /dev/null; cd ..; pwd")
            .prints("/bin/busybox\n/dev/null\n/proc/self\n/\n");
        case.delete(&b.id);
    }
}
