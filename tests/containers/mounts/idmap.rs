//! Id-mapped mounts: config.md, "POSIX-platform Mounts", `idmap` and `ridmap`.

use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::{SHOW, Volume};
use crate::support::bundle::{add_mount, add_user_namespace, set_namespace};
use crate::support::mountinfo::mount_at;
use crate::support::{Case, case, eventually, installed, kernel_is_at_least, need, nothing_is_left, read};

const OWNERS: &str = "stat -c %u:%g /v /v/file";

/// A directory of root's with a file of 5:6.
fn volume(case: &Case) -> PathBuf {
    let dir = case.subdir("mapped");
    chown(case.file("mapped/file", "", 0o644), Some(5), Some(6)).unwrap();
    dir
}

/// Gives the last mount of a configuration maps: its ids from 0 up are the host's from `host` up.
fn map(config: &mut Value, host: u32) {
    let mount = config["mounts"].as_array_mut().unwrap().last_mut().unwrap();
    for map in ["uidMappings", "gidMappings"] {
        mount[map] = json!([{ "containerID": 0, "hostID": host, "size": 1000 }]);
    }
}

fn bind(config: &mut Value, from: &Path, options: &[&str], maps: Option<u32>) {
    add_mount(config, "/v", "bind", from, options);
    if let Some(host) = maps {
        map(config, host);
    }
}

#[test]
fn the_owners_in_a_bind_are_those_of_its_maps() {
    let case = case!();
    let dir = volume(&case);
    for options in
        [&["bind", "idmap"][..], &["rbind", "ridmap"], &["bind"], &["bind", "idmap", "ro", "rslave"]]
    {
        let done =
            case.sh(&format!("{OWNERS}; {SHOW}"), |config| bind(config, &dir, options, Some(70_000))).ok();
        assert!(done.stdout().starts_with("70000:70000\n70005:70006\n"), "{options:?}: {done}");
        assert_eq!(mount_at(&done, "/v").has("ro"), options.contains(&"ro"));
        assert!(mount_at(&done, "/v").options.contains(&"idmapped".to_owned()), "{done}");
    }
}

#[test]
fn each_mount_has_its_own_maps() {
    let case = case!();
    let dir = volume(&case);
    case.sh("stat -c %u /v /w /x", |config| {
        bind(config, &dir, &["bind", "idmap"], Some(70_000));
        add_mount(config, "/w", "bind", &dir, &["bind", "idmap"]);
        map(config, 80_000);
        add_mount(config, "/x", "bind", &dir, &["bind"]);
    })
    .prints("70000\n80000\n0\n");
}

#[test]
fn what_is_written_through_the_maps_has_the_other_owner_on_disk() {
    let case = case!();
    let dir = volume(&case);
    let b = case.script("echo >/v/new; stat -c %u:%g /v/new", |config| {
        add_user_namespace(config, 100_000);
        bind(config, &dir, &["bind", "idmap"], None);
    });
    b.chown(100_000);
    case.run(&b).prints("0:0\n");
    let on_disk = std::fs::metadata(dir.join("new")).unwrap();
    assert_eq!(std::os::unix::fs::MetadataExt::uid(&on_disk), 0);
}

#[test]
fn without_maps_they_are_those_of_the_containers_user_namespace() {
    let case = case!();
    let dir = volume(&case);
    for (options, owners) in
        [(&["bind", "idmap"][..], "0:0\n5:6\n"), (&["bind"], "65534:65534\n65534:65534\n")]
    {
        let b = case.script(OWNERS, |config| {
            add_user_namespace(config, 100_000);
            bind(config, &dir, options, None);
        });
        b.chown(100_000);
        case.run(&b).prints(owners);
    }
}

#[test]
fn maps_of_a_mount_are_the_hosts_ids_in_a_user_namespace_too() {
    let case = case!();
    let dir = volume(&case);
    let b = case.script(OWNERS, |config| {
        add_user_namespace(config, 100_000);
        bind(config, &dir, &["bind", "idmap"], Some(100_007));
    });
    b.chown(100_000);
    case.run(&b).prints("7:7\n12:13\n");
}

#[test]
fn a_user_namespace_that_is_joined_has_maps_for_a_mount() {
    let case = case!();
    let dir = volume(&case);
    let first = case.script("echo up; sleep 100", |config| add_user_namespace(config, 100_000));
    first.chown(100_000);
    let running = case.started(&first);
    eventually("it is up", || running.stdout() == "up\n");
    let namespace = format!("/proc/{}/ns/user", case.pid(&first.id));
    let b = case.script(OWNERS, |config| {
        set_namespace(config, "user", Some(json!({ "type": "user", "path": namespace })));
        bind(config, &dir, &["bind", "idmap"], None);
    });
    b.chown(100_000);
    let done = case.run(&b);
    case.delete(&first.id);
    done.prints("0:0\n5:6\n");
}

#[test]
fn only_with_ridmap_the_mounts_below_are_mapped_too() {
    let case = case!();
    need!(kernel_is_at_least(6, 3), "Linux before 6.3 has no id-mapped mounts of a tmpfs");
    let below = Volume::new(&case, "private");
    for (option, expected) in [("idmap", "70000\n0\n"), ("ridmap", "70000\n70000\n")] {
        case.sh("stat -c %u /v/file /v/sub/file", |config| {
            bind(config, &below.dir, &["rbind", option], Some(70_000));
        })
        .prints(expected);
    }
}

#[test]
fn a_file_system_of_the_containers_own_is_mapped() {
    let case = case!();
    need!(kernel_is_at_least(6, 3), "Linux before 6.3 has no id-mapped mounts of a tmpfs");
    let tmpfs = |config: &mut Value| {
        add_mount(config, "/v", "tmpfs", "tmpfs", &["idmap", "mode=1777"]);
        map(config, 100_000);
    };
    case.sh("stat -c %u:%g /v", tmpfs).prints("100000:100000\n");
    let b = case.script("echo >/v/new; stat -c %u:%g /v /v/new", |config| {
        add_user_namespace(config, 100_000);
        tmpfs(config);
    });
    b.chown(100_000);
    case.run(&b).prints("0:0\n0:0\n");
}

#[test]
fn maps_can_be_written_behind_the_option_as_podman_does() {
    let case = case!();
    let dir = volume(&case);
    case.sh(OWNERS, |config| {
        bind(config, &dir, &["bind", "idmap=uids=0-70000-3#5-80000-1;gids=0-90000-10"], None);
    })
    .prints("70000:90000\n80000:90006\n");
    let b = case.script(OWNERS, |config| {
        add_user_namespace(config, 100_000);
        bind(config, &dir, &["bind", "idmap=uids=@0-1-10;gids=@0-2-10"], None);
    });
    b.chown(100_000);
    case.run(&b).prints("1:2\n6:8\n");
}

#[test]
fn maps_that_make_no_sense_are_refused() {
    let case = case!();
    let dir = volume(&case);
    for (options, said) in [
        (&["bind", "idmap"][..], "idmap and ridmap need uidMappings and gidMappings"),
        (&["bind", "idmap=uids=0-1-10"], "uids and gids need each other"),
        (&["bind", "idmap=uids=0-1;gids=0-1-1"], "FROM-TO-COUNT"),
        (&["bind", "idmap=uids=0-1-x;gids=0-1-1"], "FROM-TO-COUNT"),
        (&["bind", "idmap=users=0-1-1"], "neither uids"),
        (&["bind", "idmap=uids=@0-1-1;gids=@0-1-1"], "linux.uidMappings"),
        (&["bind", "remount", "idmap=uids=0-1-1;gids=0-1-1"], "can't be mapped any more"),
    ] {
        let b = case.script("true", |config| bind(config, &dir, options, None));
        case.create(&b).fails(&["mounts[4] /v", said]);
    }
    for (key, value, said) in [
        ("gidMappings", json!(null), "uidMappings and gidMappings need each other"),
        ("uidMappings", json!([{ "containerID": 0, "hostID": 1, "size": 0 }]), "uidMappings[0]"),
        ("options", json!(["bind", "idmap=uids=0-1-1;gids=0-1-1"]), "exclude each other"),
    ] {
        let b = case.script("true", |config| {
            bind(config, &dir, &["bind", "idmap"], Some(1));
            config["mounts"][4][key] = value;
        });
        case.create(&b).fails(&["mounts[4] /v", said]);
    }
}

#[test]
fn a_file_system_that_can_not_be_mapped_is_named() {
    let case = case!();
    let b = case.script("true", |config| bind(config, Path::new("/proc"), &["bind", "idmap"], Some(70_000)));
    case.create(&b).fails(&[
        "mounts[4] /v",
        "file system proc at \"/proc\" does not support",
        "set idmap",
        "(EINVAL)",
    ]);
    // The one below is at fault, and the one above is not.
    let above = Volume::new(&case, "private");
    let at = above.dir.join("sub");
    crate::support::host_command("mount", &["--bind".as_ref(), "/proc".as_ref(), at.as_os_str()]);
    let b = case.script("true", |config| bind(config, &above.dir, &["rbind", "ridmap"], Some(70_000)));
    case.create(&b).fails(&[
        "mounts[4] /v",
        "file system proc at",
        "volume/sub",
        "set idmap, and all below",
        "(EINVAL)",
    ]);
    let b = case.script("true", |config| {
        add_mount(config, "/s", "sysfs", "sysfs", &["idmap"]);
        map(config, 70_000);
    });
    case.create(&b).fails(&["mounts[4] /s", "sysfs", "set idmap", "(EINVAL)"]);
    let b = case.script("true", |config| {
        set_namespace(config, "cgroup", None);
        add_mount(config, "/c", "cgroup", "cgroup", &["idmap"]);
        map(config, 70_000);
    });
    case.create(&b).fails(&["mounts[4] /c", "no id-mapped mounts of the cgroup file system"]);
}

#[test]
fn a_create_that_is_killed_while_it_makes_maps_leaves_no_process() {
    let case = case!();
    need!(installed("strace"), "strace is not installed");
    let dir = volume(&case);
    let b = case.script("true", |config| bind(config, &dir, &["bind", "idmap"], Some(70_000)));
    let log = case.path("trace");
    // The first clone is of the process that holds the maps.
    let kill = "inject=clone3:signal=KILL:when=1";
    let line = ["strace", "-qq", "-o", log.to_str().unwrap(), "-e", "trace=clone3", "-e", kill];
    let done = case.call_through(&line, ["create", "-b", b.path(), &b.id]).finish();
    assert!(done.code() != 0 && read(&log).contains("CLONE_NEWUSER"), "{done}: {}", read(&log));
    nothing_is_left(&case, "by a killed create");
}
