//! File systems of the container's own.

use serde_json::json;

use crate::support::bundle::{add_mount, set_namespace};
use crate::support::mountinfo::mount_at;
use crate::support::{case, is_there, link};

#[test]
fn a_readonly_tmpfs_takes_what_is_to_be_in_it_first() {
    let case = case!();
    let file = case.file("file", "bound\n", 0o644);
    let script = "cat /t/sub/file /t/deep/dir/file; touch /t/x 2>/dev/null; echo $?; touch /t/rw/x; echo $?; ls /dev/null; touch /dev/x 2>/dev/null; echo $?";
    let done = case.sh(script, |config| {
        add_mount(config, "/t", "tmpfs", "tmpfs", &["ro", "mode=755"]);
        add_mount(config, "/t/sub/file", "bind", &file, &["bind"]);
        add_mount(config, "/t/deep/dir/file", "bind", &file, &["bind"]);
        add_mount(config, "/t/rw", "tmpfs", "tmpfs", &[]);
        config["mounts"][1]["options"].as_array_mut().unwrap().push(json!("ro"));
    });
    done.prints("bound\nbound\n1\n0\n/dev/null\n1\n");
}

#[test]
fn the_usual_file_systems_are_there_as_asked() {
    let case = case!();
    let done = case.sh("cat /proc/self/mountinfo; ls -d /dev/pts/ptmx; ls /dev/shm /dev/mqueue /dev/pts; df -k /dev/shm | tail -1", |config| {
        add_mount(config, "/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", "ro"]);
        add_mount(config, "/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"]);
    });
    let done = done.ok();
    for (at, fstype, options) in [
        ("/proc", "proc", "nosuid noexec nodev rw"),
        ("/dev", "tmpfs", "nosuid !noexec !relatime"),
        ("/dev/pts", "devpts", "nosuid noexec"),
        ("/dev/shm", "tmpfs", "nosuid noexec nodev"),
        ("/dev/mqueue", "mqueue", "nosuid noexec nodev"),
        ("/sys", "sysfs", "nosuid noexec nodev ro"),
    ] {
        let mount = mount_at(&done, at);
        assert!(mount.fstype == fstype && mount.has(options), "{mount:?}");
    }
    // The superblock of sysfs is everybody's.
    assert!(!mount_at(&done, "/sys").superblock.contains(&"ro".to_owned()));
    assert!(mount_at(&done, "/dev/pts").superblock.iter().any(|p| p == "ptmxmode=666"));
}

#[test]
fn a_cgroup_mount_shows_the_containers_own_cgroup_only() {
    let case = case!();
    let script = "cat /sys/fs/cgroup/cgroup.procs; mkdir /sys/fs/cgroup/x; echo $?; cat /proc/self/mountinfo";
    for (own_namespace, mode, made) in
        [(true, "ro", false), (true, "rw", true), (false, "ro", false), (false, "rw", true)]
    {
        let b = case.script(script, |config| {
            add_mount(
                config,
                "/sys/fs/cgroup",
                "cgroup",
                "cgroup",
                &["nosuid", "noexec", "nodev", "relatime", mode],
            );
            if !own_namespace {
                set_namespace(config, "cgroup", None);
            }
        });
        let done = case.run(&b).ok();
        let mount = mount_at(&done, "/sys/fs/cgroup");
        assert_eq!(mount.fstype, "cgroup2");
        assert!(mount.has(&format!("{mode} nosuid noexec nodev")), "{mount:?}");
        // The shell and cat, by their pids in the container.
        assert_eq!(done.lines()[0], "1", "{done}");
        assert!(done.lines().contains(&u8::from(!made).to_string()), "{mode}: {done}");
        let root = if own_namespace { "/".to_owned() } else { format!("/{}/{}", case.unique, b.id) };
        assert!(mount.root == root, "{mount:?}");
    }
}

#[test]
fn a_tmpfs_with_tmpcopyup_begins_with_what_it_covers() {
    let case = case!();
    let script = "cat /data/deep/er/file; readlink /data/out; stat -c '%a %u:%g' /data /data/deep/set; echo >/data/deep/new";
    let b = case.script(script, |config| add_mount(config, "/data", "tmpfs", "tmpfs", &["tmpcopyup"]));
    b.put("data/deep/er/file", "kept\n", 0o640);
    b.put("data/deep/set", "", 0o4755);
    let (data, set) = (b.rootfs("data"), b.rootfs("data/deep/set"));
    std::os::unix::fs::chown(&data, Some(33), Some(34)).unwrap();
    std::os::unix::fs::chown(&set, Some(5), Some(6)).unwrap();
    // A change of owner takes the bit away.
    std::fs::set_permissions(&set, std::os::unix::fs::PermissionsExt::from_mode(0o4755)).unwrap();
    std::fs::set_permissions(&data, std::os::unix::fs::PermissionsExt::from_mode(0o1711)).unwrap();
    link("/etc/shadow", &b.rootfs("data/out"));
    nix::unistd::mkfifo(&b.rootfs("data/fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    case.run(&b).prints("kept\n/etc/shadow\n1711 33:34\n4755 5:6\n");
    assert!(!is_there(b.rootfs("data/deep/new")), "the image is not written to");
}

#[test]
fn a_tmpfs_with_tmpcopyup_keeps_the_mode_and_owner_that_it_was_given() {
    let case = case!();
    let options = |more: &[&'static str]| [&["tmpcopyup"], more].concat();
    for (given, seen) in [
        (&["mode=1770"][..], "1770 33:34\n"),
        (&["uid=7"], "711 7:34\n"),
        (&["gid=8", "mode=0700"], "700 33:8\n"),
    ] {
        let b = case.script("stat -c '%a %u:%g' /data", |config| {
            add_mount(config, "/data", "tmpfs", "tmpfs", &options(given));
        });
        b.put("data/file", "kept", 0o644);
        let data = b.rootfs("data");
        std::os::unix::fs::chown(&data, Some(33), Some(34)).unwrap();
        std::fs::set_permissions(&data, std::os::unix::fs::PermissionsExt::from_mode(0o711)).unwrap();
        case.run(&b).prints(seen);
    }
}

#[test]
fn a_ramfs_and_a_cgroup2_and_a_second_proc_are_there_as_asked() {
    let case = case!();
    let done =
        case.sh("cat /proc/self/mountinfo; stat -c %a /r; ls /c/cgroup.procs /p2/1/status", |config| {
            add_mount(config, "/r", "ramfs", "ramfs", &["mode=711", "nodev"]);
            add_mount(config, "/c", "cgroup2", "cgroup2", &["ro"]);
            add_mount(config, "/p2", "proc", "proc", &["ro", "hidepid=0"]);
            // No source and no type at all are fine where they are not needed.
            config["mounts"]
                .as_array_mut()
                .unwrap()
                .push(json!({ "destination": "/nameless", "type": "tmpfs" }));
        });
    let done = done.ok();
    for (at, fstype, options) in [
        ("/r", "ramfs", "nodev"),
        ("/c", "cgroup2", "ro"),
        ("/p2", "proc", "ro"),
        ("/nameless", "tmpfs", "rw"),
    ] {
        let mount = mount_at(&done, at);
        assert!(mount.fstype == fstype && mount.has(options), "{mount:?}");
    }
    assert!(done.stdout().contains("\n711\n"), "{done}");
}

#[test]
fn a_mount_without_type_and_without_bind_is_refused() {
    let case = case!();
    for kind in ["", "none"] {
        let b = case.script("true", |config| add_mount(config, "/x", kind, "x", &["ro"]));
        case.create(&b).fails(&["mounts[4] /x", "neither a file system type nor the option bind or rbind"]);
    }
}

#[test]
fn a_readonly_mount_has_room_for_mounts_whose_places_are_there() {
    let case = case!();
    let dir = case.subdir("volume");
    case.subdir("volume/below");
    let script = "touch /v/x 2>/dev/null; echo $?; touch /v/below/x; echo $?";
    case.sh(script, |config| {
        add_mount(config, "/v", "bind", &dir, &["bind", "ro"]);
        add_mount(config, "/v/below", "tmpfs", "tmpfs", &[]);
    })
    .prints("1\n0\n");
    let b = case.script("true", |config| {
        add_mount(config, "/v", "bind", &dir, &["bind", "ro"]);
        add_mount(config, "/v/missing", "tmpfs", "tmpfs", &[]);
    });
    case.create(&b).fails(&["mounts[5] /v/missing", "(EROFS)"]);
}
