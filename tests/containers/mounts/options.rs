//! Mount options, each seen in mountinfo or in what it does: config.md, "Linux mount options".

use super::{SHOW, Volume};
use crate::support::bundle::add_mount;
use crate::support::case;
use crate::support::mountinfo::{mount_at, mounts};

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
fn words_of_the_superblock_show_there_and_the_later_one_wins() {
    let case = case!();
    for (options, expected) in [
        (&["sync"][..], "sync !dirsync !lazytime"),
        (&["sync", "async"], "!sync"),
        (&["async", "sync"], "sync"),
        (&["dirsync"], "dirsync !sync"),
        (&["lazytime"], "lazytime"),
        (&["lazytime", "nolazytime"], "!lazytime"),
        (
            &["iversion", "mand", "nomand", "noiversion", "silent", "loud", "defaults"],
            "rw !sync !dirsync !lazytime",
        ),
        (&["size=64k,nr_inodes=9"], "size=64k nr_inodes=9"),
        (&["ro"], "ro"),
    ] {
        let done = case.sh(SHOW, |config| add_mount(config, "/x", "tmpfs", "tmpfs", options)).ok();
        let mut mount = mount_at(&done, "/x");
        mount.options = mount.superblock.clone();
        // A tmpfs becomes read-only as a mount, when all is in it.
        let expected = if options == ["ro"] { "rw" } else { expected };
        assert!(mount.has(expected), "{options:?}: {mount:?}");
    }
}

#[test]
fn all_words_at_once_are_no_contradiction() {
    let case = case!();
    let dir = case.subdir("plain");
    let features: serde_json::Value =
        serde_json::from_str(&case.call(["features"]).finish().ok().stdout()).unwrap();
    let listed = features["mountOptions"].as_array().unwrap().iter().map(|word| word.as_str().unwrap());
    // Those that are about a source of a kind of its own are tested where that is.
    let special =
        ["remount", "idmap", "ridmap", "copy-symlink", "src-nofollow", "dest-nofollow", "tmpcopyup"];
    let words: Vec<&str> = listed.filter(|word| !special.contains(word)).collect();
    assert!(words.len() > 50, "{words:?}");
    let done = case.sh(SHOW, |config| add_mount(config, "/x", "bind", &dir, &words)).ok();
    mount_at(&done, "/x");
}

#[test]
fn options_of_the_access_time_act_on_files() {
    let case = case!();
    let script = "touch -t 200001010000 /x/f; cat /x/f; a=$(stat -c %X /x/f); date=$(date +%s); [ $a -gt 1000000000 ] && echo new || echo old";
    for (option, expected) in [("strictatime", "new\n"), ("relatime", "new\n"), ("noatime", "old\n")] {
        let script = format!("echo x >/x/f; {}", script.replace("cat /x/f", "cat /x/f >/dev/null"));
        case.sh(&script, |config| add_mount(config, "/x", "tmpfs", "tmpfs", &[option])).prints(expected);
    }
}

#[test]
fn options_act_and_do_not_only_show() {
    let case = case!();
    let script = "cp /bin/busybox /x/true 2>/dev/null || cat /bin/busybox >/x/true; chmod 755 /x/true; ln -s true /x/link; \
        mknod /x/null c 1 3; /x/true 2>/dev/null; echo exec $?; echo >/x/null; echo dev $?; cat /x/link >/dev/null; echo link $?";
    for (options, expected) in [
        (&[][..], "exec 0\ndev 0\nlink 0\n"),
        (&["noexec"], "exec 126\ndev 0\nlink 0\n"),
        (&["nodev"], "exec 0\ndev 1\nlink 0\n"),
        (&["nosymfollow"], "exec 0\ndev 0\nlink 1\n"),
    ] {
        let done = case.sh(script, |config| {
            add_mount(config, "/x", "tmpfs", "tmpfs", options);
            crate::support::bundle::set_capabilities(config, &["CAP_MKNOD"]);
        });
        assert_eq!(done.stdout(), expected, "{options:?}: {done}");
    }
}

#[test]
fn a_remount_changes_the_parameters_of_the_file_system() {
    let case = case!();
    let done = case.sh(SHOW, |config| {
        add_mount(config, "/t", "tmpfs", "tmpfs", &["size=64k"]);
        add_mount(config, "/t", "tmpfs", "tmpfs", &["remount", "size=128k", "nosuid"]);
    });
    let mount = mount_at(&done.ok(), "/t");
    assert!(mount.superblock.contains(&"size=128k".to_owned()) && mount.has("nosuid"), "{mount:?}");
    // With bind it is the mount alone.
    let done = case.sh(SHOW, |config| {
        add_mount(config, "/t", "tmpfs", "tmpfs", &["size=64k"]);
        add_mount(config, "/t", "tmpfs", "tmpfs", &["bind", "remount", "size=128k", "nosuid"]);
    });
    let mount = mount_at(&done.ok(), "/t");
    assert!(mount.superblock.contains(&"size=64k".to_owned()) && mount.has("nosuid"), "{mount:?}");
    let b = case.script("true", |config| {
        add_mount(config, "/t", "tmpfs", "tmpfs", &[]);
        add_mount(config, "/t", "tmpfs", "tmpfs", &["remount", "size=much"]);
    });
    case.create(&b).fails(&["mounts[5] /t", "\"size\", \"much\"", "Bad value for 'size'", "(EINVAL)"]);
}
