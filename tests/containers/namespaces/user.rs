//! User namespaces: "User namespace mappings".

use serde_json::{Value, json};

use super::{holder, path_of};
use crate::support::bundle::{add_user_namespace, set_namespace};
use crate::support::{case, host_command};

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
