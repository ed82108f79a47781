//! Files and directories of the host: config.md, "Mounts".

use super::Volume;
use crate::support::bundle::{add_mount, add_user_namespace};
use crate::support::mountinfo::mount_at;
use crate::support::{case, host_command, link, read, write};
use serde_json::json;

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
fn more_shared_mounts_than_descriptors_are_no_problem_either() {
    let case = case!();
    let dir = case.subdir("volume");
    for user_namespace in [false, true] {
        let b = case.script("cat /proc/self/mountinfo | grep -c /m/", |config| {
            if user_namespace {
                add_user_namespace(config, 100_000);
            }
            for n in 0..300 {
                add_mount(config, &format!("/m/{n}"), "bind", &dir, &["bind", "rslave"]);
            }
        });
        if user_namespace {
            b.chown(100_000);
        }
        let few = ["sh", "-c", "ulimit -Sn 128; exec \"$@\"", "sh"];
        case.call_through(&few, ["run", "-b", b.path(), &b.id]).finish().prints("300\n");
    }
}

#[test]
fn the_file_systems_own_parameters_mean_nothing_for_a_bind() {
    // As for mount(2) with MS_BIND: engines leave them there.
    let case = case!();
    let dir = case.subdir("volume");
    let done = case.sh("cat /proc/self/mountinfo", |config| {
        add_mount(config, "/v", "bind", &dir, &["bind", "size=4k", "novel", "sync"]);
    });
    let mount = mount_at(&done.ok(), "/v");
    assert!(!mount.superblock.iter().any(|word| word.contains("novel")), "{mount:?}");
}
