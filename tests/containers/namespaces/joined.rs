//! Namespaces that are there, and are joined by their paths.

use std::path::Path;

use serde_json::{Value, json};

use super::{PAIRED, SHOW, holder, join, namespaces, of, own, path_of};
use crate::support::bundle::{NAMESPACES as TYPES, add_user_namespace, set_namespace};
use crate::support::{BEFORE_PIDNS, case, eventually, host_command, installed, need, read};

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
