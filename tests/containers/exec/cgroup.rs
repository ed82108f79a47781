//! In which cgroup a process of `exec` is.

use std::fs;

use super::{exec, refused, running};
use crate::support::{Case, case, cgroup_root, need, need_controllers, read};

/// The cgroup of a detached process, relative to the container's.
fn cgroup_of_new(case: &Case, flags: &[&str], b: &crate::support::Bundle) -> String {
    let file = case.path("pid");
    let pid_file = ["-d", "--pid-file", file.to_str().unwrap()];
    let line = [&pid_file[..], flags, &[b.id.as_str(), "/bin/sleep", "100"]].concat();
    exec(case, &line).finish().ok();
    let text = read(format!("/proc/{}/cgroup", read(&file)));
    let path = text.lines().find_map(|line| line.strip_prefix("0::")).unwrap();
    path.split_once(&b.id).unwrap().1.to_owned()
}

#[test]
fn it_is_in_the_containers_cgroup_or_in_one_below() {
    let case = case!();
    let b = running(&case, |_| {});
    fs::create_dir_all(b.cgroup.join("sub/deep")).unwrap();
    for (flags, path) in [
        (&[][..], ""),
        (&["--cgroup", "/"], ""),
        (&["--cgroup", "sub"], "/sub"),
        (&["--cgroup", "/sub/deep"], "/sub/deep"),
        (&["--cgroup", ":sub"], "/sub"),
    ] {
        assert_eq!(cgroup_of_new(&case, flags, &b), path, "{flags:?}");
    }
    case.delete(&b.id);
}

#[test]
fn it_is_never_in_one_that_is_not_the_containers() {
    // T-G1, runc#3403.
    let case = case!();
    let b = running(&case, |_| {});
    fs::create_dir(case.cgroup().join("other")).unwrap();
    let long = "x/".repeat(2500);
    for path in ["..", "../other", "/../other", "a/../../other", "x//y", ".", "./x", &long] {
        let done = exec(&case, &["--cgroup", path, &b.id, "/bin/true"]).finish();
        refused(done, &["--cgroup", "not a sub cgroup path"]);
    }
    for path in ["cgroup.procs", "none", "none/deep"] {
        refused(exec(&case, &["--cgroup", path, &b.id, "/bin/true"]).finish(), &["--cgroup", path]);
    }
    let done = exec(&case, &["--cgroup", "memory:x", &b.id, "/bin/true"]).finish();
    refused(done, &["unknown controller \"memory\""]);
    case.delete(&b.id);
    fs::remove_dir(case.cgroup().join("other")).unwrap();
}

#[test]
fn where_the_containers_cgroup_has_no_processes_of_its_own_it_is_with_the_containers_process() {
    // What systemd does in a container: cgroups(7), "no internal processes".
    let case = case!();
    let root = cgroup_root().unwrap();
    let controllers = read(root.join("cgroup.controllers"));
    let named = controllers.split_whitespace().next().map(str::to_owned);
    need!(named.is_some(), "the cgroup2 tree has no controllers");
    let b = running(&case, |_| {});
    let enable = format!("+{}", named.unwrap());
    let hand_down = |dir: &std::path::Path| fs::write(dir.join("cgroup.subtree_control"), &enable);
    let enabled = hand_down(root).and_then(|()| hand_down(&case.cgroup()));
    if enabled.is_ok() {
        fs::create_dir(b.cgroup.join("init.scope")).unwrap();
        fs::write(b.cgroup.join("init.scope/cgroup.procs"), case.pid(&b.id).to_string()).unwrap();
        hand_down(&b.cgroup).unwrap();
        assert_eq!(cgroup_of_new(&case, &[], &b), "/init.scope");
    }
    case.delete(&b.id);
    need!(enabled.is_ok(), "{enable} can't be handed down");
}

#[test]
fn a_limit_of_processes_is_named() {
    let case = case!();
    need_controllers!("pids");
    let b = running(&case, |config| {
        config["linux"]["resources"] = serde_json::json!({ "pids": { "limit": 2 } });
    });
    // No room for who joins the container, and then for none besides.
    for (limit, call) in [("1", "clone3"), ("2", "clone")] {
        fs::write(b.cgroup.join("pids.max"), limit).unwrap();
        refused(exec(&case, &[&b.id, "/bin/true"]).finish(), &[call, "pids.max"]);
    }
    fs::write(b.cgroup.join("pids.max"), "3").unwrap();
    exec(&case, &[&b.id, "/bin/true"]).finish().ok();
    case.delete(&b.id);
}
