//! Who sees whose mounts: config.md, "Linux mount options"; config-linux.md, "Rootfs Mount Propagation".

use serde_json::json;

use super::{SHOW, Volume};
use crate::support::bundle::{add_mount, add_user_namespace, set_capabilities};
use crate::support::mountinfo::{mount_at, mounts};
use crate::support::{Case, case, eventually, host_command, is_there, read, write};

#[test]
fn a_mount_is_private_unless_it_says_otherwise() {
    let case = case!();
    let volume = Volume::new(&case, "shared");
    for (options, above, below) in [
        (&["rbind"][..], "private", "private"),
        (&["rbind", "private"], "private", "shared"),
        (&["rbind", "rprivate"], "private", "private"),
        (&["rbind", "shared"], "shared", "shared"),
        (&["rbind", "rshared"], "shared", "shared"),
        (&["rbind", "slave"], "slave", "shared"),
        (&["rbind", "rslave"], "slave", "slave"),
        (&["rbind", "unbindable"], "unbindable", "shared"),
        (&["rbind", "runbindable"], "unbindable", "unbindable"),
    ] {
        let done = case.sh(SHOW, |config| add_mount(config, "/v", "bind", &volume.dir, options)).ok();
        assert_eq!(
            (mount_at(&done, "/v").kind(), mount_at(&done, "/v/sub").kind()),
            (above, below),
            "{options:?}: {done}"
        );
    }
    for (options, kind) in [
        (&[][..], "private"),
        (&["shared"], "shared"),
        (&["rslave"], "private"),
        (&["unbindable"], "unbindable"),
    ] {
        let done = case.sh(SHOW, |config| add_mount(config, "/t", "tmpfs", "tmpfs", options)).ok();
        assert_eq!(mount_at(&done, "/t").kind(), kind, "{options:?}");
    }
}

/// A container that mounts, and one on the host that does: who sees what.
fn travels(case: &Case, option: &str) -> (bool, bool) {
    let volume = Volume::new(case, "shared");
    let b = case.script("mkdir /v/inner; mount -t tmpfs inner /v/inner; echo up; sleep 100", |config| {
        add_mount(config, "/v", "bind", &volume.dir, &["rbind", option]);
        set_capabilities(config, &["CAP_SYS_ADMIN"]);
    });
    let create = case.started(&b);
    eventually("it is up", || create.stdout().starts_with("up\n"));
    let at = volume.dir.join("outer");
    crate::support::make_dir(&at);
    host_command("mount", &["-t".as_ref(), "tmpfs".as_ref(), "outer".as_ref(), at.as_os_str()]);
    write(&at.join("file"), "", 0o644);
    let inward = is_there(format!("/proc/{}/root/v/outer/file", case.pid(&b.id)));
    let outward = read("/proc/self/mountinfo").contains(&format!("{}/inner ", volume.dir.display()));
    case.delete(&b.id);
    (inward, outward)
}

#[test]
fn with_rprivate_no_mount_travels() {
    assert_eq!(travels(&case!(), "rprivate"), (false, false));
}

#[test]
fn with_rslave_mounts_travel_into_the_container_only() {
    assert_eq!(travels(&case!(), "rslave"), (true, false));
}

#[test]
fn with_rshared_mounts_travel_both_ways() {
    assert_eq!(travels(&case!(), "rshared"), (true, true));
}

#[test]
fn the_root_has_the_propagation_of_the_configuration() {
    let case = case!();
    // The rootfs is on a mount of its own, which is shared with the host, and has another below it.
    let b = case.script(SHOW, |_| {});
    let rootfs = b.rootfs("");
    host_command("mount", &["--bind".as_ref(), rootfs.as_os_str(), rootfs.as_os_str()]);
    host_command("mount", &["--make-shared".as_ref(), rootfs.as_os_str()]);
    for (word, root) in [
        (None, "private"),
        (Some("private"), "private"),
        (Some("rprivate"), "private"),
        (Some("slave"), "slave"),
        (Some("rslave"), "slave"),
        (Some("shared"), "shared"),
        (Some("rshared"), "shared"),
        (Some("unbindable"), "unbindable"),
        (Some("runbindable"), "unbindable"),
    ] {
        let mut config = b.config();
        config["linux"]["rootfsPropagation"] = json!(word);
        b.save(&config);
        let done = case.run(&b);
        let kind = if done.code() == 0 { mount_at(&done, "/").kind() } else { "an error" };
        let fine = kind == root || (root == "slave" && kind == "slave and shared");
        if !fine {
            host_command("umount", &[rootfs.as_os_str()]);
        }
        assert!(fine, "{word:?} is {kind}: {done}");
    }
    host_command("umount", &[rootfs.as_os_str()]);
}

#[test]
fn nothing_that_the_container_mounts_in_a_shared_root_reaches_the_host() {
    let case = case!();
    let b = case.script("mkdir /m; mount -t tmpfs inner /m; echo up; sleep 100", |config| {
        set_capabilities(config, &["CAP_SYS_ADMIN"]);
    });
    let rootfs = b.rootfs("");
    host_command("mount", &["--bind".as_ref(), rootfs.as_os_str(), rootfs.as_os_str()]);
    host_command("mount", &["--make-shared".as_ref(), rootfs.as_os_str()]);
    let create = case.started(&b);
    eventually("it is up", || create.stdout() == "up\n");
    let below = format!("{}m ", rootfs.display());
    let seen = read("/proc/self/mountinfo").contains(&below);
    case.delete(&b.id);
    host_command("umount", &[rootfs.as_os_str()]);
    assert!(!seen);
}

#[test]
fn what_a_container_mounts_over_a_device_of_the_host_does_not_reach_the_host() {
    let case = case!();
    for has_user_namespace in [true, false] {
        // What is bound from the host's /dev: over masked files, and devices in a user namespace.
        let script = "for at in /dev/null /proc/keys; do mount --bind /bin/busybox $at || echo refused; done; \
             grep -c shared: /proc/self/mountinfo";
        let b = case.script(script, |config| {
            config["linux"]["maskedPaths"] = json!(["/proc/keys"]);
            set_capabilities(config, &["CAP_SYS_ADMIN"]);
            if has_user_namespace {
                add_user_namespace(config, 100_000);
            }
        });
        if has_user_namespace {
            b.chown(100_000);
        }
        // All mounts are shared where systemd has mounted them.
        let host = "\"$@\"; stat -c %F /dev/null; grep -c ' /dev/null ' /proc/self/mountinfo";
        let shared = ["unshare", "--mount", "--propagation", "shared", "sh", "-c", host, "sh"];
        let done = case.call_through(&shared, ["run", "-b", b.path(), &b.id]).finish();
        assert_eq!(done.lines(), ["0", "character special file", "0"], "{has_user_namespace}: {done}");
    }
}

#[test]
fn several_words_are_applied_in_their_order() {
    let case = case!();
    let volume = Volume::new(&case, "shared");
    for (options, above, below) in [
        (&["rbind", "rslave", "shared"][..], "slave and shared", "slave"),
        (&["rbind", "rprivate", "shared"], "shared", "private"),
        (&["rbind", "shared", "rprivate"], "private", "private"),
        (&["rbind", "unbindable", "private"], "private", "shared"),
    ] {
        let done = case.sh(SHOW, |config| add_mount(config, "/v", "bind", &volume.dir, options)).ok();
        let kinds = (mount_at(&done, "/v").kind(), mount_at(&done, "/v/sub").kind());
        assert_eq!(kinds, (above, below), "{options:?}: {done}");
    }
}

#[test]
fn mountinfo_lists_the_mounts_in_their_order_whatever_they_are() {
    let case = case!();
    let volume = Volume::new(&case, "shared");
    for user_namespace in [false, true] {
        let b = case.script(SHOW, |config| {
            if user_namespace {
                crate::support::bundle::add_user_namespace(config, 100_000);
            }
            let kinds = [&["bind"][..], &["bind", "shared"], &["bind", "rslave"], &["bind", "private"]];
            for (number, options) in kinds.into_iter().enumerate() {
                add_mount(config, &format!("/m{number}"), "bind", &volume.dir, options);
                add_mount(config, &format!("/t{number}"), "tmpfs", "tmpfs", &[]);
            }
        });
        if user_namespace {
            b.chown(100_000);
        }
        let done = case.run(&b).ok();
        let seen: Vec<String> = mounts(&done).into_iter().map(|mount| mount.at).collect();
        let wanted =
            ["/proc", "/dev", "/dev/pts", "/dev/shm", "/m0", "/t0", "/m1", "/t1", "/m2", "/t2", "/m3", "/t3"];
        let seen: Vec<&str> = seen.iter().map(String::as_str).filter(|at| wanted.contains(at)).collect();
        assert_eq!(seen, wanted, "{done}");
    }
}
