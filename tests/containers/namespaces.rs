//! Namespaces: config-linux.md, "Namespaces", "User namespace mappings", "Offset for Time Namespace".

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::bundle::{Bundle, add_user_namespace, set_namespace};
use crate::support::{Case, Done, case, eventually, host_command, need, read};

/// The configuration's name of each type and the name of its link in /proc/PID/ns.
const TYPES: [(&str, &str); 6] = [
    ("pid", "pid"),
    ("mount", "mnt"),
    ("ipc", "ipc"),
    ("uts", "uts"),
    ("network", "net"),
    ("cgroup", "cgroup"),
];

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
    // Created, it is the caller's child all the same, and its pid is the one of the caller's namespace.
    let b = case.script("exit 7", join);
    case.created(&b);
    let joined = nix::unistd::Pid::from_raw(case.pid(&b.id));
    assert_eq!(
        of(Path::new(&format!("/proc/{joined}/ns")), "pid"),
        of(Path::new(&format!("/proc/{pid}/ns")), "pid")
    );
    case.call(["start", &b.id]).finish().ok();
    assert_eq!(nix::sys::wait::waitpid(joined, None).unwrap(), nix::sys::wait::WaitStatus::Exited(joined, 7));
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
