//! Namespaces: config-linux.md, "Namespaces", "User namespace mappings", "Offset for Time Namespace".

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::bundle::{Bundle, NAMESPACES as TYPES, add_user_namespace, set_namespace};
use crate::support::{BEFORE_PIDNS, Case, Done, case, eventually, host_command, installed, need, read};

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
fn each_type_can_be_joined_by_its_path() {
    let case = case!();
    let (holder, pid) = holder(&case, |_| {});
    for (kind, link) in TYPES.into_iter().filter(|(kind, _)| *kind != "mount") {
        let done = case.sh(SHOW, |config| {
            set_namespace(config, kind, Some(json!({ "type": kind, "path": path_of(pid, link) })));
        });
        let joined = namespaces(&done.ok());
        for (other, other_link) in TYPES {
            let same = joined[other_link] == of(Path::new(&format!("/proc/{pid}/ns")), other_link);
            assert_eq!(same, other == kind, "{other} when {kind} is joined");
        }
    }
    case.delete(&holder.id);
}

#[test]
fn a_mount_namespace_can_be_joined() {
    let case = case!();
    // A namespace that a process of the host holds: a copy of the host's mounts, so that the bundle is in it.
    let holder = case.host(["unshare", "--mount", "--propagation", "private", "sleep", "100"]).spawn();
    let path = format!("/proc/{}/ns/mnt", holder.pid());
    eventually("it has its own", || {
        of(Path::new(&format!("/proc/{}/ns", holder.pid())), "mnt") != own("mnt")
    });
    let done = case
        .sh(SHOW, |config| set_namespace(config, "mount", Some(json!({ "type": "mount", "path": path }))));
    assert_eq!(namespaces(&done.ok())["mnt"], of(Path::new(&format!("/proc/{}/ns", holder.pid())), "mnt"));
    drop(holder);
}

#[test]
fn a_joined_pid_namespace_has_the_container_among_its_processes() {
    let case = case!();
    let (holder, pid) = holder(&case, |_| {});
    let join = |config: &mut Value| {
        set_namespace(config, "pid", Some(json!({ "type": "pid", "path": path_of(pid, "pid") })));
    };
    let lines = case.sh("echo $$; ps -o pid,args", join).ok().lines();
    assert_ne!(lines[0], "1");
    assert!(lines.iter().any(|line| line.trim() == "1 sleep 100"), "{lines:?}");
    assert_eq!(case.sh("exit 7", join).code(), 7);
    // Created, it is the caller's child all the same, and its pid is the one of the caller's namespace.
    let b = case.script("true", join);
    case.created(&b);
    let joined = case.pid(&b.id);
    let parent = format!("\nPPid:\t{}\n", std::process::id());
    assert!(read(format!("/proc/{joined}/status")).contains(&parent));
    assert_eq!(
        of(Path::new(&format!("/proc/{joined}/ns")), "pid"),
        of(Path::new(&format!("/proc/{pid}/ns")), "pid")
    );
    case.call(["start", &b.id]).finish().ok();
    case.until(&b.id, "stopped");
    case.delete(&b.id);
    case.delete(&holder.id);
}

#[test]
fn a_pid_namespace_for_children_can_be_joined() {
    // What `unshare --pid` leaves of a process whose first child is still to come, or a bind of the file.
    let case = case!();
    let at = case.file("pidns", "", 0o600);
    let (holder, pid) = holder(&case, |_| {});
    host_command("mount", &["--bind".as_ref(), path_of(pid, "pid").as_ref(), at.as_os_str()]);
    let done =
        case.sh(SHOW, |config| set_namespace(config, "pid", Some(json!({ "type": "pid", "path": at }))));
    host_command("umount", &[at.as_os_str()]);
    assert_eq!(namespaces(&done.ok())["pid"], of(Path::new(&format!("/proc/{pid}/ns")), "pid"));
    case.delete(&holder.id);
}

#[test]
fn a_new_user_namespace_has_the_maps_of_the_configuration() {
    let case = case!();
    let b = case.script("id -u; cat /proc/self/uid_map /proc/self/gid_map; echo x >/made; stat -c '%u:%g' /made", |config| {
        add_user_namespace(config, 100_000);
        config["linux"]["gidMappings"] = json!([
            { "containerID": 0, "hostID": 200_000, "size": 10 }, { "containerID": 10, "hostID": 300_000, "size": 20 },
        ]);
    });
    b.chown(100_000);
    let lines = case.run(&b).ok().lines();
    let words: Vec<Vec<&str>> = lines.iter().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(words[0], ["0"]);
    assert_eq!(words[1], ["0", "100000", "65536"]);
    assert_eq!((&words[2][..], &words[3][..]), (&["0", "200000", "10"][..], &["10", "300000", "20"][..]));
    assert_eq!(words[4], ["0:0"]);
    let made = std::fs::metadata(b.rootfs("made")).unwrap();
    assert_eq!(
        (std::os::unix::fs::MetadataExt::uid(&made), std::os::unix::fs::MetadataExt::gid(&made)),
        (100_000, 200_000)
    );
}

#[test]
fn a_user_namespace_without_an_id_for_the_rootfs_owner_works() {
    // What is not mapped belongs to nobody inside, and nothing has to be made there: mounts need no owner.
    let case = case!();
    case.sh("stat -c %u /bin/busybox; id -u", |config| add_user_namespace(config, 100_000))
        .prints("65534\n0\n");
}

#[test]
fn a_user_namespace_below_a_directory_that_others_may_not_search_works() {
    // A home directory is 0700: the mapped root can't look up the bundle's path, and need not.
    let case = case!();
    let b = case.script("echo fine; cat /volume/file", |config| {
        add_user_namespace(config, 100_000);
        crate::support::bundle::add_mount(config, "/volume", "bind", "volume", &["rbind", "ro"]);
    });
    b.chown(100_000);
    crate::support::make_dir(&b.dir.join("volume"));
    crate::support::write(&b.dir.join("volume/file"), "in volume\n", 0o644);
    host_command("chmod", &["700".as_ref(), case.dir.as_os_str()]);
    case.run(&b).prints("fine\nin volume\n");
}

#[test]
fn a_user_namespace_can_be_joined_with_and_without_others() {
    let case = case!();
    let (holder, pid) = holder(&case, |config| add_user_namespace(config, 100_000));
    let user = json!({ "type": "user", "path": path_of(pid, "user") });
    let dir = format!("/proc/{pid}/ns");
    let dir = Path::new(&dir);
    // With new ones of all other types.
    let b =
        case.script(&format!("id -u; {SHOW}"), |config| set_namespace(config, "user", Some(user.clone())));
    b.chown(100_000);
    let done = case.run(&b).ok();
    assert_eq!(done.lines()[0], "0");
    assert!(done.stdout().contains(&of(dir, "user")) && !done.stdout().contains(&of(dir, "net")), "{done}");
    // With the holder's own, which belong to it, and with one of the host's, which does not.
    for joined in [vec!["net"], vec!["net", "ipc", "uts"], vec!["pid"], vec!["pid", "net", "ipc", "uts"]] {
        let b = case.script(SHOW, |config| {
            set_namespace(config, "user", Some(user.clone()));
            for (kind, link) in TYPES.into_iter().filter(|(_, link)| joined.contains(link)) {
                set_namespace(config, kind, Some(json!({ "type": kind, "path": path_of(pid, link) })));
            }
            if joined.contains(&"uts") {
                config["hostname"] = json!("");
            }
        });
        b.chown(100_000);
        let inside = namespaces(&case.run(&b).ok());
        assert_eq!(inside["user"], of(dir, "user"));
        for link in ["net", "ipc", "uts", "pid"] {
            assert_eq!(inside[link] == of(dir, link), joined.contains(&link), "{link} of {joined:?}");
        }
    }
    case.delete(&holder.id);
}

#[test]
fn a_new_user_namespace_works_beside_joined_ones_of_the_host() {
    // podman pods with --userns: the infra container's network belongs to the host.
    let case = case!();
    let (holder, pid) = holder(&case, |_| {});
    let b = case.script(SHOW, |config| {
        add_user_namespace(config, 100_000);
        set_namespace(config, "network", Some(json!({ "type": "network", "path": path_of(pid, "net") })));
        set_namespace(config, "ipc", Some(json!({ "type": "ipc", "path": path_of(pid, "ipc") })));
    });
    b.chown(100_000);
    let inside = namespaces(&case.run(&b).ok());
    let dir = format!("/proc/{pid}/ns");
    assert_eq!(inside["net"], of(Path::new(&dir), "net"));
    assert_eq!(inside["ipc"], of(Path::new(&dir), "ipc"));
    assert_ne!(inside["user"], own("user"));
    case.delete(&holder.id);
}

#[test]
fn maps_that_are_repeated_for_a_joined_user_namespace_are_no_error() {
    let case = case!();
    let (holder, pid) = holder(&case, |config| add_user_namespace(config, 100_000));
    let b = case.script("cat /proc/self/uid_map", |config| {
        add_user_namespace(config, 100_000);
        set_namespace(config, "user", Some(json!({ "type": "user", "path": path_of(pid, "user") })));
    });
    b.chown(100_000);
    let done = case.run(&b).ok();
    assert_eq!(done.stdout().split_whitespace().collect::<Vec<_>>(), ["0", "100000", "65536"]);
    case.delete(&holder.id);
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

/// Every two types, joined together, beside new ones of all others.
fn every_pair(user: bool) {
    let case = case!();
    need!(Path::new("/proc/self/ns/time").is_symlink(), "the kernel has no time namespaces");
    let all = |config: &mut Value| {
        set_namespace(config, "time", Some(json!({ "type": "time" })));
        if user {
            add_user_namespace(config, 100_000);
        }
    };
    let (holder, pid) = holder(&case, all);
    let dir = format!("/proc/{pid}/ns");
    let b = case.script(SHOW, all);
    b.chown(if user { 100_000 } else { 0 });
    let base = b.config();
    for (first, a) in PAIRED.iter().enumerate() {
        for z in &PAIRED[first + 1..] {
            let mut config = base.clone();
            join(&mut config, pid, &[a.0, z.0], user);
            b.save(&config);
            let inside = namespaces(&case.run(&b).ok());
            for (kind, link) in PAIRED {
                let same = inside[link] == of(Path::new(&dir), link);
                assert_eq!(same, kind == a.0 || kind == z.0, "{kind} when {} and {} are joined", a.0, z.0);
            }
            assert_eq!(
                inside["user"] == of(Path::new(&dir), "user"),
                user || own("user") == of(Path::new(&dir), "user")
            );
        }
    }
    case.delete(&holder.id);
}

#[test]
fn every_two_types_can_be_joined_together() {
    every_pair(false);
}

#[test]
fn every_two_types_can_be_joined_together_with_their_user_namespace() {
    every_pair(true);
}

#[test]
fn the_hosts_namespaces_of_all_types_can_be_joined_from_a_new_user_namespace() {
    // Joined from the host's into a new user namespace: what belongs to the host is joined first.
    let case = case!();
    let (holder, pid) = holder(&case, |_| {});
    let dir = format!("/proc/{pid}/ns");
    for kinds in [vec!["pid"], vec!["cgroup", "uts"], vec!["pid", "ipc", "uts", "network", "cgroup"]] {
        let b = case.script(SHOW, |config| {
            join(config, pid, &kinds, false);
            add_user_namespace(config, 100_000);
            if kinds.contains(&"pid") {
                config["mounts"][0] =
                    json!({ "destination": "/proc", "source": "/proc", "options": ["rbind"] });
            }
        });
        b.chown(100_000);
        let inside = namespaces(&case.run(&b).ok());
        for (kind, link) in PAIRED.into_iter().filter(|(kind, _)| *kind != "time") {
            assert_eq!(
                inside[link] == of(Path::new(&dir), link),
                kinds.contains(&kind),
                "{kind} of {kinds:?}"
            );
        }
        assert_ne!(inside["user"], own("user"));
    }
    case.delete(&holder.id);
}

#[test]
fn a_path_that_is_no_namespace_of_its_type_is_refused_before_anything_exists() {
    let case = case!();
    let file = case.file("plain", "", 0o644);
    let (plain, missing) = (file.to_str().unwrap(), "/missing/namespace");
    for (kind, link) in PAIRED.into_iter().chain([("mount", "mnt"), ("user", "user")]) {
        let other = if link == "net" { "/proc/self/ns/uts" } else { "/proc/self/ns/net" };
        for (path, words) in [
            (other, "a namespace of another type"),
            (plain, "not a namespace"),
            (missing, "ENOENT"),
            ("proc/self/ns/net", "is not absolute"),
        ] {
            let b = case.script("true", |config| {
                set_namespace(config, kind, Some(json!({ "type": kind, "path": path })));
            });
            case.create(&b).fails(&["linux.namespaces[", words]);
            assert!(!crate::support::is_there(&b.cgroup));
        }
    }
}

#[test]
fn a_path_of_the_runtimes_own_namespace_is_as_if_it_were_not_listed() {
    let case = case!();
    for (kind, link) in PAIRED {
        let done = case.sh(SHOW, |config| {
            set_namespace(
                config,
                kind,
                Some(json!({ "type": kind, "path": format!("/proc/self/ns/{link}") })),
            );
            config["hostname"] = json!("");
        });
        assert_eq!(namespaces(&done.ok())[link], own(link), "{kind}");
    }
    for (kind, link) in [("user", "user"), ("mount", "mnt")] {
        let b = case.script("true", |config| {
            set_namespace(
                config,
                kind,
                Some(json!({ "type": kind, "path": format!("/proc/self/ns/{link}") })),
            );
        });
        case.create(&b).fails(&["linux.namespaces[", "the runtime's own: leave it out"]);
    }
}

#[test]
fn a_pid_namespace_whose_process_1_has_ended_takes_no_container_and_the_error_says_so() {
    let case = case!();
    need!(installed("strace"), "strace is not installed");
    let at = case.file("pidns", "", 0o600);
    let (holder, pid) = holder(&case, |_| {});
    host_command("mount", &["--bind".as_ref(), path_of(pid, "pid").as_ref(), at.as_os_str()]);
    case.delete(&holder.id);
    let b = case
        .script("true", |config| set_namespace(config, "pid", Some(json!({ "type": "pid", "path": at }))));
    let line = ["create", "-b", b.path(), &b.id];
    let old = case.call_through(&BEFORE_PIDNS, line).finish();
    let done = case.call(line).finish();
    host_command("umount", &[at.as_os_str()]);
    for done in [old, done] {
        done.fails(&["linux.namespaces[", at.to_str().unwrap(), "process 1 has ended"]);
    }
}

#[test]
fn a_mount_namespace_without_the_bundle_is_an_error_that_leaves_the_hosts_mounts_alone() {
    let case = case!();
    let (holder, pid) = holder(&case, |_| {});
    let b = case.script("true", |config| {
        set_namespace(config, "mount", Some(json!({ "type": "mount", "path": path_of(pid, "mnt") })));
    });
    // What engines have: the root file system is a mount of the host's.
    let root = b.rootfs("");
    host_command("mount", &["--bind".as_ref(), root.as_os_str(), root.as_os_str()]);
    let done = case.create(&b);
    let still_there = read("/proc/self/mountinfo").contains(root.to_str().unwrap().trim_end_matches('/'));
    host_command("umount", &[root.as_os_str()]);
    done.fails(&["joined mount namespace", b.path(), "ENOENT"]);
    assert!(still_there, "the host's own mount has been taken away");
    case.delete(&holder.id);
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

#[test]
fn a_user_namespace_need_not_have_an_id_0() {
    let case = case!();
    let b = case.script("id -u; id -g; cat /proc/self/uid_map | tr -s ' '; echo x >/tmp/made; stat -c %u /tmp/made", |config| {
        add_user_namespace(config, 0);
        for map in ["uidMappings", "gidMappings"] {
            config["linux"][map] = json!([{ "containerID": 1000, "hostID": 100_000, "size": 5 }, { "containerID": 7, "hostID": 200_000, "size": 1 }]);
        }
        config["process"]["user"] = json!({ "uid": 1001, "gid": 1002, "additionalGids": [7] });
    });
    b.chown(200_000);
    case.run(&b).prints("1001\n1002\n 1000 100000 5\n 7 200000 1\n1001\n");
}

#[test]
fn what_a_new_user_namespace_can_not_have_is_refused_by_name() {
    type Change = Box<dyn Fn(&mut Value)>;
    let case = case!();
    let process = |user: Value| move |config: &mut Value| config["process"]["user"] = user.clone();
    let map =
        |name: &'static str, ranges: Value| move |config: &mut Value| config["linux"][name] = ranges.clone();
    let range = |inside: u64, outside: u64, size: u64| json!({ "containerID": inside, "hostID": outside, "size": size });
    let mount = |kind: &'static str, option: &'static str| {
        move |config: &mut Value| crate::support::bundle::add_mount(config, "/made", kind, kind, &[option])
    };
    let changes: Vec<(Change, &[&str])> = vec![
        (Box::new(process(json!({ "uid": 65_536, "gid": 0 }))), &["user.uid: 65536", "linux.uidMappings"]),
        (Box::new(process(json!({ "uid": 0, "gid": 70_000 }))), &["user.gid: 70000", "linux.gidMappings"]),
        (
            Box::new(process(json!({ "uid": 0, "gid": 0, "additionalGids": [1, 70_001] }))),
            &["user.additionalGids[1]: 70001", "linux.gidMappings"],
        ),
        (Box::new(map("uidMappings", json!([range(0, 5, 0)]))), &["linux.uidMappings[0]: size 0"]),
        (
            Box::new(map("gidMappings", json!([range(0, 5, 9), range(3, 100, 1)]))),
            &["linux.gidMappings[0] and [1] overlap"],
        ),
        (Box::new(map("gidMappings", json!([]))), &["linux.uidMappings needs linux.gidMappings"]),
        (
            Box::new(map("uidMappings", json!([range(0, 4_294_967_000, 1000)]))),
            &["linux.uidMappings[0]: hostID"],
        ),
        (Box::new(mount("tmpfs", "uid=70000")), &["/made", "uid=70000", "linux.uidMappings"]),
        (Box::new(mount("devpts", "gid=70000")), &["/made", "gid=70000", "linux.gidMappings"]),
    ];
    for (change, words) in changes {
        let b = case.script("true", |config| {
            add_user_namespace(config, 100_000);
            change(config);
        });
        case.create(&b).fails(words);
    }
    for (kind, fstype) in [("pid", "proc"), ("network", "sysfs"), ("ipc", "mqueue")] {
        let b = case.script("true", |config| {
            add_user_namespace(config, 100_000);
            set_namespace(config, kind, None);
            config["mounts"] = json!([{ "destination": "/sys", "type": fstype, "source": fstype }]);
        });
        case.create(&b).fails(&["mounts[0] /sys", fstype, kind, "rbind"]);
    }
    let b = case.script("true", |config| {
        add_user_namespace(config, 100_000);
        set_namespace(config, "user", None);
    });
    case.create(&b).fails(&["linux.uidMappings", "need a user namespace"]);
}
