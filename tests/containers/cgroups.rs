//! config-linux.md, "Control groups": what a container's cgroup is given.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::bundle::{add_mount, add_user_namespace, set_namespace};
use crate::support::{case, cgroup_root, eventually, is_there, need, read};

/// Who owns a cgroup's directory, and which of its files are not root's.
fn owners(cgroup: &Path) -> (u32, Vec<(String, u32)>) {
    let files = std::fs::read_dir(cgroup).unwrap().map(|entry| {
        let entry = entry.unwrap();
        (entry.file_name().to_string_lossy().into_owned(), entry.metadata().unwrap().uid())
    });
    let mut given: Vec<_> = files.filter(|(_, uid)| *uid != 0).collect();
    given.sort();
    (std::fs::metadata(cgroup).unwrap().uid(), given)
}

/// A writable tree in a cgroup namespace of its own, for another user.
fn delegated(config: &mut Value) {
    set_namespace(config, "cgroup", Some(json!({ "type": "cgroup" })));
    add_mount(config, "/sys/fs/cgroup", "cgroup", "cgroup", &["nosuid", "noexec", "nodev"]);
    config["process"]["user"] = json!({ "uid": 7, "gid": 7 });
}

#[test]
fn a_cgroup_that_the_container_can_write_to_is_its_users() {
    let case = case!();
    let script = "mkdir /sys/fs/cgroup/mine && rmdir /sys/fs/cgroup/mine && echo made; sleep 100";
    let b = case.script(script, |config| {
        delegated(config);
        add_user_namespace(config, 300_000);
    });
    b.chown(300_000);
    let run = case.started(&b);
    // And taken away again: it would be one of the files.
    eventually("it has made one", || run.stdout() == "made\n");
    let (dir, files) = owners(&b.cgroup);
    let list = read("/sys/kernel/cgroup/delegate");
    let mut expected: Vec<_> = list
        .lines()
        .filter(|name| is_there(b.cgroup.join(name)))
        .map(|name| (name.to_owned(), 300_007))
        .collect();
    expected.sort();
    assert!(expected.len() >= 3, "{list}");
    assert_eq!((dir, files), (300_007, expected));
    // What a namespace that is joined maps the kernel knows, whatever the configuration says.
    let path = format!("/proc/{}/ns/user", case.pid(&b.id));
    let second = case.script("sleep 100", |config| {
        delegated(config);
        add_user_namespace(config, 0);
        set_namespace(config, "user", Some(json!({ "type": "user", "path": path })));
    });
    second.chown(300_000);
    case.created(&second);
    assert_eq!(owners(&second.cgroup).0, 300_007);
    case.delete(&second.id);
    case.delete(&b.id);
}

#[test]
fn a_cgroup_that_the_container_can_not_write_to_stays_the_runtimes() {
    let case = case!();
    let changes: [fn(&mut Value); 3] = [
        |config| set_namespace(config, "cgroup", None),
        |config| config["mounts"].as_array_mut().unwrap().retain(|m| m["type"] != "cgroup"),
        |config| {
            let mounts = config["mounts"].as_array_mut().unwrap();
            mounts.iter_mut().filter(|m| m["type"] == "cgroup").for_each(|m| m["options"] = json!(["ro"]));
        },
    ];
    for change in changes {
        let b = case.script("sleep 100", |config| {
            delegated(config);
            change(config);
        });
        case.created(&b);
        assert_eq!(owners(&b.cgroup), (0, vec![]), "{}", b.config());
        case.delete(&b.id);
    }
    let b = case.script("sleep 100", delegated);
    case.created(&b);
    assert_eq!(owners(&b.cgroup).0, 7);
    case.delete(&b.id);
}

#[test]
fn files_that_every_cgroup_has_can_be_written() {
    let case = case!();
    let b = case.script("true", |config| {
        config["linux"]["resources"] =
            json!({ "unified": { "cgroup.max.depth": "3", "cgroup.max.descendants": "7" } });
    });
    case.created(&b);
    assert_eq!(read(b.cgroup.join("cgroup.max.depth")).trim(), "3");
    assert_eq!(read(b.cgroup.join("cgroup.max.descendants")).trim(), "7");
    case.delete(&b.id);
}

/// config-linux.md, "Unified": a controller that is not there is an error, whatever the value.
#[test]
fn a_controller_that_is_named_has_to_be_there_even_for_no_limit() {
    let case = case!();
    let limited = |resources: Value| case.script("true", |config| config["linux"]["resources"] = resources);
    let named = limited(json!({ "unified": { "nosuch.max": "max" } }));
    case.create(&named).fails(&["linux.resources.unified", "controller nosuch is not in the cgroup2 tree"]);
    let unlimited = limited(json!({ "pids": { "limit": -1 }, "memory": { "limit": -1 } }));
    case.created(&unlimited);
    case.delete(&unlimited.id);
}

#[test]
fn huge_pages_are_limited_in_use_and_in_reservations() {
    let case = case!();
    let controllers = read(cgroup_root().unwrap().join("cgroup.controllers"));
    let limit = |size: &str| {
        let limits = json!({ "hugepageLimits": [{ "pageSize": size, "limit": 4 << 20 }] });
        case.script("sleep 100", |config| config["linux"]["resources"] = limits)
    };
    if !controllers.split_whitespace().any(|c| c == "hugetlb") {
        case.create(&limit("2MB")).fails(&["linux.resources.hugepageLimits: controller hugetlb"]);
        return;
    }
    // No kernel has pages of this size.
    case.create(&limit("3MB"))
        .fails(&["linux.resources.hugepageLimits", "this kernel has no hugetlb.3MB.max"]);
    need!(is_there("/sys/kernel/mm/hugepages/hugepages-2048kB"), "the kernel has no pages of 2 MB");
    let b = limit("2MB");
    case.created(&b);
    for file in ["hugetlb.2MB.max", "hugetlb.2MB.rsvd.max"] {
        assert_eq!(read(b.cgroup.join(file)), "4194304\n");
    }
    case.delete(&b.id);
}
