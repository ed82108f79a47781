//! With a cgroup that is delegated to the user, and without one.

use std::os::unix::fs::MetadataExt;

use serde_json::json;

use super::PATIENT;
use crate::support::bundle::{add_mount, set_namespace};
use crate::support::user::{User, user};
use crate::support::{case, eventually, is_there, read};

#[test]
fn what_is_no_limit_needs_no_cgroup() {
    let case = case!();
    let user = user!(case);
    let b = user.bundle("cat /proc/self/oom_score_adj", |config| {
        config["linux"]["resources"] =
            json!({ "pids": { "limit": -1 }, "devices": [{ "allow": false, "access": "rwm" }] });
        config["process"]["oomScoreAdj"] = json!(500);
    });
    user.run(&b).prints("500\n");
    // What has been left out is said where it is asked for.
    let done = user.call(&["--debug", "run", "-b", b.path(), &b.id]).finish().ok();
    assert!(done.stderr().contains("it stays in the cgroup of its caller"), "{done}");
}

#[test]
fn a_cgroup_is_used_where_it_is_delegated_and_removed_with_the_container() {
    let case = case!();
    let user = user!(case);
    let session = user.delegated_cgroup();
    let b = user.bundle(PATIENT, |config| set_namespace(config, "cgroup", None));
    user.call_in(Some(&session), &["create", "-b", b.path(), &b.id]).finish().ok();
    let cgroup = session.with_file_name(format!("minidocker-oci-{}", b.id));
    let pid = user.pid(&b.id);
    assert!(read(format!("/proc/{pid}/cgroup")).contains(&User::shown(&cgroup)), "{cgroup:?}");
    assert_eq!(read(cgroup.join("cgroup.procs")).trim(), pid.to_string());
    assert_eq!(std::fs::metadata(&cgroup).unwrap().uid(), user.uid());
    user.call(&["start", &b.id]).finish().ok();
    user.call(&["kill", "-a", &b.id, "9"]).finish().ok();
    eventually("it has stopped", || user.state(&b.id)["status"] == "stopped");
    user.call(&["delete", &b.id]).finish().ok();
    assert!(!is_there(&cgroup) && is_there(&session));
    // One that he names himself, in what is his.
    let named = session.with_file_name("named");
    let path = User::shown(&named).replacen("0::", "", 1);
    let b = user.bundle("grep ^0: /proc/self/cgroup", |config| {
        set_namespace(config, "cgroup", None);
        config["linux"]["cgroupsPath"] = json!(path);
    });
    user.call_in(Some(&session), &["run", "-b", b.path(), &b.id]).finish().prints(&format!("0::{path}\n"));
    std::fs::remove_dir(&session).unwrap();
    std::fs::remove_dir(session.parent().unwrap()).unwrap();
}

#[test]
fn the_callers_cgroup_is_shown_read_only() {
    // CVE-2023-25809: without a cgroup namespace a container saw its caller's cgroup, and could write to it.
    let case = case!();
    let user = user!(case);
    let b = user.bundle(
        "grep ' /sys/fs/cgroup ' /proc/mounts | grep -c ' ro,'; echo 1 >/sys/fs/cgroup/cgroup.procs",
        |config| {
            set_namespace(config, "cgroup", None);
            add_mount(config, "/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev"]);
            add_mount(config, "/sys/fs/cgroup", "cgroup", "cgroup", &["nosuid", "noexec", "nodev", "rw"]);
        },
    );
    let done = user.run(&b);
    assert!(done.code() != 0 && done.stdout() == "1\n" && done.stderr().contains("Read-only"), "{done}");
}

#[test]
fn without_permission_root_needs_rootless_true() {
    let case = case!();
    let b =
        case.script("true", |config| drop(config["linux"].as_object_mut().unwrap().remove("cgroupsPath")));
    let root = crate::support::cgroup_root().unwrap().display().to_string();
    let run = |flag: &str| {
        let script = format!("mount -o remount,bind,ro {root} && exec \"$@\"");
        let wrapper = ["unshare", "--mount", "--propagation", "private", "sh", "-c", &script, "sh"];
        case.call_through(&wrapper, [flag, "run", "-b", b.path(), &b.id]).finish()
    };
    for flag in ["--rootless=auto", "--rootless=false"] {
        run(flag).fails(&["cgroup", "read-only"]);
    }
    run("--rootless=true").ok();
}
