//! Mounts and the root: config.md, "Mounts" and "Root", config-linux.md, "Rootfs Mount Propagation".

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::support::bundle::{add_mount, add_user_namespace, set_capabilities, set_namespace};
use crate::support::canary::Canary;
use crate::support::mountinfo::{mount_at, mounts};
use crate::support::{Case, case, eventually, host_command, is_there, link, read, write};

const SHOW: &str = "cat /proc/self/mountinfo";

/// A directory of the host with a file, a directory and, mounted in it, a tmpfs with a file of its own.
struct Volume {
    dir: PathBuf,
}

impl Volume {
    fn new(case: &Case, propagation: &str) -> Self {
        let dir = case.subdir("volume");
        case.subdir("volume/sub");
        case.file("volume/file", "in volume\n", 0o644);
        host_command("mount", &["--bind".as_ref(), dir.as_ref(), dir.as_ref()]);
        host_command("mount", &[format!("--make-{propagation}").as_ref(), dir.as_os_str()]);
        host_command(
            "mount",
            &["-t".as_ref(), "tmpfs".as_ref(), "tmpfs".as_ref(), dir.join("sub").as_os_str()],
        );
        write(&dir.join("sub/file"), "below\n", 0o644);
        Self { dir }
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        host_command("umount", &["-R".as_ref(), self.dir.as_os_str()]);
    }
}

#[test]
fn every_option_shows_in_mountinfo() {
    let case = case!();
    for (options, expected) in [
        (&["ro"][..], "ro"),
        (&["rw"], "rw"),
        (&["ro", "rw"], "rw !ro"),
        (&["nosuid", "nodev", "noexec"], "nosuid nodev noexec rw"),
        (&["nosuid", "suid", "nodev", "dev", "noexec", "exec"], "!nosuid !nodev !noexec"),
        (&["noatime"], "noatime !relatime"),
        (&["noatime", "atime"], "!noatime"),
        (&["relatime"], "relatime"),
        (&["strictatime"], "!relatime !noatime"),
        (&["noatime", "norelatime"], "!noatime"),
        (&["strictatime", "nostrictatime"], "relatime"),
        (&["nodiratime"], "nodiratime"),
        (&["nodiratime", "diratime"], "!nodiratime"),
        (&["nosymfollow"], "nosymfollow"),
        (&["nosymfollow", "symfollow"], "!nosymfollow"),
        (&["defaults", "async", "loud", "mand", "nomand", "noiversion", "nolazytime", ""], "rw relatime"),
    ] {
        for bind in [false, true] {
            let volume = case.subdir("plain");
            let done = case.sh(SHOW, |config| match bind {
                true => add_mount(config, "/x", "bind", &volume, &[&["bind"], options].concat()),
                false => add_mount(config, "/x", "tmpfs", "tmpfs", options),
            });
            let mount = mount_at(&done.ok(), "/x");
            assert!(mount.has(expected), "{options:?}: {mount:?}");
        }
    }
}

#[test]
fn parameters_reach_the_file_system() {
    let case = case!();
    let done = case.sh("cat /proc/self/mountinfo; stat -c %a:%u:%g /x", |config| {
        add_mount(
            config,
            "/x",
            "tmpfs",
            "named",
            &["size=64k", "mode=1750", "uid=5", "gid=6", "nr_inodes=99", "sync", "dirsync"],
        );
    });
    let done = done.ok();
    let mount = mount_at(&done, "/x");
    assert_eq!((mount.fstype.as_str(), mount.source.as_str()), ("tmpfs", "named"));
    for parameter in ["size=64k", "mode=1750", "nr_inodes=99", "sync", "dirsync"] {
        assert!(mount.superblock.iter().any(|p| p == parameter), "{parameter}: {mount:?}");
    }
    assert_eq!(done.lines().pop().unwrap(), "1750:5:6");
}

#[test]
fn a_bind_shows_a_directory_or_a_file_of_the_host() {
    let case = case!();
    let dir = case.subdir("volume");
    let file = case.file("volume/file", "from the host\n", 0o644);
    let script = "cat /dir/file /file /made/deep/file; echo written >/dir/new; echo changed >/file";
    let b = case.script(script, |config| {
        add_mount(config, "/dir", "bind", &dir, &["bind"]);
        add_mount(config, "/file", "bind", &file, &["bind"]);
        // Bind is what the options say; the type is then a dummy, and without them it is the type.
        add_mount(config, "/made/deep/file", "ext4", &file, &["rbind", "ro"]);
        add_mount(config, "/by-type", "bind", &dir, &[]);
    });
    case.run(&b).prints(&"from the host\n".repeat(3));
    assert_eq!(read(dir.join("new")), "written\n");
    assert_eq!(read(file), "changed\n");
    assert!(b.rootfs("made/deep/file").is_file() && b.rootfs("dir").is_dir());
}

#[test]
fn a_relative_source_is_relative_to_the_bundle_and_a_link_to_it_is_followed() {
    let case = case!();
    let b = case.script("cat /a/file /b/file", |config| {
        add_mount(config, "/a", "bind", "data", &["bind"]);
        add_mount(config, "/b", "bind", "link", &["bind"]);
    });
    crate::support::make_dir(&b.dir.join("data"));
    write(&b.dir.join("data/file"), "here\n", 0o644);
    link("data", &b.dir.join("link"));
    case.run(&b).prints("here\nhere\n");
}

#[test]
fn a_readonly_bind_can_not_be_written_and_the_host_still_can() {
    let case = case!();
    let dir = case.subdir("volume");
    let done =
        case.sh("touch /v/new; echo $?", |config| add_mount(config, "/v", "bind", &dir, &["bind", "ro"]));
    let done = done.ok();
    assert!(done.stdout() == "1\n" && done.stderr().contains("Read-only file system"), "{done}");
    case.file("volume/new", "", 0o644);
}

#[test]
fn bind_leaves_what_is_mounted_below_and_rbind_takes_it_along() {
    let case = case!();
    let volume = Volume::new(&case, "private");
    let script = "cat /v/file; cat /v/sub/file 2>/dev/null; true";
    case.sh(script, |config| add_mount(config, "/v", "bind", &volume.dir, &["bind"])).prints("in volume\n");
    case.sh(script, |config| add_mount(config, "/v", "bind", &volume.dir, &["rbind"]))
        .prints("in volume\nbelow\n");
}

#[test]
fn options_with_r_reach_all_that_is_mounted_below() {
    let case = case!();
    let volume = Volume::new(&case, "private");
    for (options, above, below) in [
        (&["rbind", "ro"][..], "ro", "rw"),
        (&["rbind", "rro"], "ro", "ro"),
        (&["rbind", "rro", "rrw"], "rw", "rw"),
        (&["rbind", "rro", "rw"], "rw", "ro"),
        (&["rbind", "nosuid"], "nosuid", "!nosuid"),
        (&["rbind", "rnosuid", "rnodev", "rnoexec"], "nosuid nodev noexec", "nosuid nodev noexec"),
        (
            &["rbind", "rnosuid", "rsuid", "rnodev", "rdev", "rnoexec", "rexec"],
            "!nosuid !nodev !noexec",
            "!nosuid !nodev !noexec",
        ),
        (&["rbind", "rnoatime"], "noatime", "noatime"),
        (&["rbind", "rstrictatime"], "!relatime !noatime", "!relatime !noatime"),
        (&["rbind", "rstrictatime", "rrelatime"], "relatime", "relatime"),
        (&["rbind", "rnodiratime"], "nodiratime", "nodiratime"),
        (&["rbind", "rnodiratime", "rdiratime"], "!nodiratime", "!nodiratime"),
        (&["rbind", "rnosymfollow"], "nosymfollow", "nosymfollow"),
        (&["rbind", "rnosymfollow", "rsymfollow"], "!nosymfollow", "!nosymfollow"),
    ] {
        let done = case.sh(SHOW, |config| add_mount(config, "/v", "bind", &volume.dir, options)).ok();
        let (top, sub) = (mount_at(&done, "/v"), mount_at(&done, "/v/sub"));
        assert!(top.has(above) && sub.has(below), "{options:?}: {top:?} {sub:?}");
    }
}

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
    let b = case.script("mkdir /v/inner; mount -t tmpfs inner /v/inner; echo up; while [ ! -e /v/outer/file ]; do sleep 0.02; done; echo seen; sleep 100", |config| {
        add_mount(config, "/v", "bind", &volume.dir, &["rbind", option]);
        set_capabilities(config, &["CAP_SYS_ADMIN"]);
    });
    let create = case.started(&b);
    eventually("it is up", || create.stdout().starts_with("up\n"));
    let at = volume.dir.join("outer");
    crate::support::make_dir(&at);
    host_command("mount", &["-t".as_ref(), "tmpfs".as_ref(), "outer".as_ref(), at.as_os_str()]);
    write(&at.join("file"), "", 0o644);
    let inward =
        crate::support::within(std::time::Duration::from_millis(300), || create.stdout().contains("seen"));
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
fn a_destination_behind_links_is_inside_of_the_root() {
    let case = case!();
    let canary = Canary::new(&case);
    for target in [
        canary.dir.display().to_string(),
        format!("../../../../../../../..{}", canary.dir.display()),
        "/proc/self/root/canary".into(),
    ] {
        for at in ["/link", "/link/new", "/link/new/deep"] {
            let b = case.script("cat /proc/self/mountinfo; touch /link/here", |config| {
                add_mount(config, at, "tmpfs", "tmpfs", &["mode=755"]);
            });
            link(&target, &b.rootfs("link"));
            let done = case.run(&b);
            // A link into /proc leads nowhere before the container has one: to refuse it is fine, too.
            if done.code() == 0 {
                assert!(
                    mounts(&done).iter().any(|m| m.fstype == "tmpfs" && m.at.contains("canary")),
                    "{done}"
                );
            } else {
                done.says(&["mounts[4]", at]);
            }
            canary.is_untouched();
        }
    }
}

#[test]
fn a_bind_of_a_file_behind_links_is_inside_of_the_root() {
    // /etc/resolv.conf is such a link in many images, and what it leads to is often missing.
    let case = case!();
    let canary = Canary::new(&case);
    let file = case.file("resolv", "nameserver ::1\n", 0o644);
    for (target, made) in [
        ("../run/systemd/resolve/stub-resolv.conf", "run/systemd/resolve/stub-resolv.conf"),
        ("/run/resolv", "run/resolv"),
        ("../../../../../../run/up", "run/up"),
    ] {
        let b = case.script("cat /etc/resolv.conf", |config| {
            add_mount(config, "/etc/resolv.conf", "bind", &file, &["bind", "ro"])
        });
        link(target, &b.rootfs("etc/resolv.conf"));
        case.run(&b).prints("nameserver ::1\n");
        assert!(b.rootfs(made).is_file());
        assert_eq!(b.rootfs("etc/resolv.conf").read_link().unwrap(), Path::new(target));
    }
    let b = case.script("true", |config| add_mount(config, "/etc/x", "bind", &file, &["bind"]));
    link(canary.dir.join("file"), &b.rootfs("etc/x"));
    case.run(&b).ok();
    canary.is_untouched();
    assert!(is_there(b.rootfs(canary.dir.join("file").to_str().unwrap())));
}

#[test]
fn links_in_a_circle_are_an_error_that_names_the_mount() {
    let case = case!();
    let b = case.script("true", |config| add_mount(config, "/a/x", "tmpfs", "tmpfs", &[]));
    link("b", &b.rootfs("a"));
    link("a", &b.rootfs("b"));
    case.create(&b).fails(&["mounts[4] /a/x", "(ELOOP)"]);
}

#[test]
fn a_destination_is_cleaned_and_may_be_relative() {
    let case = case!();
    let done = case.sh(SHOW, |config| {
        add_mount(config, "relative/dir", "tmpfs", "tmpfs", &[]);
        add_mount(config, "/a/../b//c/.", "tmpfs", "tmpfs", &[]);
        add_mount(config, "/../../../up", "tmpfs", "tmpfs", &[]);
    });
    let done = done.ok();
    for at in ["/relative/dir", "/b/c", "/up"] {
        mount_at(&done, at);
    }
}

#[test]
fn mounts_are_made_in_their_order() {
    let case = case!();
    let (first, second) = (case.file("first", "first\n", 0o644), case.file("second", "second\n", 0o644));
    let script = "cat /f; cat /t/f; cat /t2/f 2>/dev/null; true";
    let b = case.script(script, |config| {
        add_mount(config, "/f", "bind", &first, &["bind"]);
        add_mount(config, "/f", "bind", &second, &["bind"]);
        add_mount(config, "/t", "tmpfs", "tmpfs", &[]);
        add_mount(config, "/t/f", "bind", &first, &["bind"]);
        add_mount(config, "/t2/f", "bind", &first, &["bind"]);
        add_mount(config, "/t2", "tmpfs", "tmpfs", &[]);
    });
    case.run(&b).prints("second\nfirst\n");
}

#[test]
fn a_remount_changes_what_is_there() {
    let case = case!();
    let dir = case.subdir("volume");
    for options in [&["remount", "ro", "nosuid"][..], &["bind", "remount", "ro", "nosuid"]] {
        let done = case.sh(SHOW, |config| {
            add_mount(config, "/t", "tmpfs", "tmpfs", &["nodev"]);
            add_mount(config, "/t", "tmpfs", "tmpfs", options);
            add_mount(config, "/v", "bind", &dir, &["bind"]);
            add_mount(config, "/v", "bind", &dir, options);
        });
        let done = done.ok();
        assert_eq!(mounts(&done).iter().filter(|m| m.at == "/t").count(), 1, "{done}");
        assert!(mount_at(&done, "/t").has("ro nosuid nodev"), "{done}");
        assert!(mount_at(&done, "/v").has("ro nosuid"), "{done}");
    }
    // Of the host's own file system only the mount has changed.
    case.file("volume/still-writable", "", 0o644);
}

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
fn without_pivot_the_root_is_the_same() {
    let case = case!();
    let canary = Canary::new(&case);
    let script = format!("echo $(ls /) $(ls -d /../../etc {} 2>/dev/null)", canary.dir.display());
    let b = case.script(&script, |_| {});
    let root = "bin dev etc proc root run sys tmp /../../etc\n";
    case.run(&b).prints(root);
    case.call(["run", "--no-pivot", "-b", b.path(), &b.id]).finish().prints(root);
}

#[test]
fn a_readonly_root_can_not_be_written() {
    let case = case!();
    let script = "touch /x; echo $?; touch /dev/shm/x; echo $?; cat /proc/self/mountinfo";
    let b = case.script(script, |config| config["root"]["readonly"] = json!(true));
    let done = case.run(&b).ok();
    assert!(done.stdout().starts_with("1\n0\n") && done.stderr().contains("Read-only file system"), "{done}");
    assert!(mount_at(&done, "/").has("ro"));
    // The file system itself is the host's, and still writable.
    b.put("still", "", 0o644);
}

#[test]
fn a_root_that_is_a_link_or_absolute_or_relative_works() {
    let case = case!();
    let b = case.script("ls /bin/busybox", |_| {});
    link(b.rootfs(""), &b.dir.join("link"));
    let name = b.dir.file_name().unwrap().to_str().unwrap();
    for path in
        ["link".into(), "./rootfs/.".into(), format!("../{name}/rootfs"), b.rootfs("").display().to_string()]
    {
        let mut config = b.config();
        config["root"]["path"] = json!(path);
        b.save(&config);
        case.run(&b).prints("/bin/busybox\n");
    }
}

#[test]
fn what_is_mounted_below_the_rootfs_is_in_the_container() {
    let case = case!();
    let b = case.script("cat /tmp/file", |_| {});
    let at = b.rootfs("tmp");
    host_command("mount", &["-t".as_ref(), "tmpfs".as_ref(), "tmpfs".as_ref(), at.as_os_str()]);
    b.put("tmp/file", "below\n", 0o644);
    let done = case.run(&b);
    host_command("umount", &[at.as_os_str()]);
    done.prints("below\n");
}

#[test]
fn without_a_mount_namespace_its_mounts_go_with_the_container() {
    let case = case!();
    let b = case.script("ls /bin/busybox; sleep 100", |config| {
        set_namespace(config, "mount", None);
        add_mount(config, "/t", "tmpfs", "tmpfs", &[]);
    });
    let create = case.started(&b);
    eventually("it is up", || create.stdout() == "/bin/busybox\n");
    // The leak check sees to the rest.
    case.delete(&b.id);
    assert!(!read("/proc/self/mountinfo").contains(b.path()));
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
fn mounts_work_in_a_user_namespace() {
    let case = case!();
    let volume = Volume::new(&case, "private");
    let b = case.script("cat /v/file /v/sub/file; cat /proc/self/mountinfo", |config| {
        add_user_namespace(config, 100_000);
        add_mount(config, "/v", "bind", &volume.dir, &["rbind", "rro"]);
        add_mount(config, "/t", "tmpfs", "tmpfs", &["size=64k"]);
        add_mount(config, "/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", "ro"]);
        add_mount(config, "/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"]);
        add_mount(config, "/sys/fs/cgroup", "cgroup", "cgroup", &["nosuid", "noexec", "nodev", "ro"]);
        config["root"]["readonly"] = json!(true);
    });
    b.chown(100_000);
    b.put("v/.keep", "", 0o644);
    host_command("chown", &["-R".as_ref(), "100000:100000".as_ref(), b.rootfs("").as_os_str()]);
    let done = case.run(&b).ok();
    assert!(done.stdout().starts_with("in volume\nbelow\n"), "{done}");
    assert!(mount_at(&done, "/v").has("ro") && mount_at(&done, "/v/sub").has("ro"));
    assert!(mount_at(&done, "/sys").has("ro nosuid") && mount_at(&done, "/").has("ro"));
}

#[test]
fn more_mounts_than_descriptors_are_no_problem() {
    // R21: a tree is held open until it is attached, and no longer.
    let case = case!();
    let dir = case.subdir("volume");
    let b = case.script("cat /proc/self/mountinfo | wc -l; ulimit -n", |config| {
        for n in 0..300 {
            add_mount(config, &format!("/m/{n}"), "bind", &dir, &["bind"]);
        }
    });
    let few = ["sh", "-c", "ulimit -Sn 128; exec \"$@\"", "sh"];
    case.call_through(&few, ["run", "-b", b.path(), &b.id]).finish().prints("305\n128\n");
}

#[test]
fn a_mount_that_fails_tells_what_the_kernel_said() {
    let case = case!();
    let b = case
        .script("true", |config: &mut Value| add_mount(config, "/x", "tmpfs", "tmpfs", &["mode=notoctal"]));
    // The message of the file system context, which EINVAL alone does not carry.
    case.create(&b).fails(&["mounts[4] /x", "mode", "(EINVAL)", "Bad value for 'mode'"]);
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
