//! The cgroup of a container: config-linux.md, "Cgroups Path".

use serde_json::json;

use crate::support::{case, cgroup_root, eventually, is_there, read, write};

#[test]
fn the_process_is_in_its_cgroup_from_the_beginning() {
    let case = case!();
    let b = case.script("cat /proc/self/cgroup", |config| {
        crate::support::bundle::set_namespace(config, "cgroup", None)
    });
    case.created(&b);
    let pid = case.pid(&b.id).to_string();
    assert_eq!(read(b.cgroup.join("cgroup.procs")).trim(), pid);
    case.delete(&b.id);
    assert!(!is_there(&b.cgroup));
    let path = format!("0::/{}/{}\n", case.unique, b.id);
    let done = case.run(&b).ok();
    assert!(done.stdout().ends_with(&path), "{done}");
}

#[test]
fn a_container_without_cgroups_path_has_a_place_of_its_own() {
    let case = case!();
    let b = case.script("sleep 100", |config| {
        config["linux"].as_object_mut().unwrap().remove("cgroupsPath");
    });
    case.created(&b);
    let cgroup = cgroup_root().unwrap().join("minidocker-oci").join(&b.id);
    assert_eq!(read(cgroup.join("cgroup.procs")).trim(), case.pid(&b.id).to_string());
    case.delete(&b.id);
    assert!(!is_there(cgroup));
}

#[test]
fn an_empty_cgroup_that_was_there_is_used_and_stays() {
    let case = case!();
    let b = case.script("exit 0", |_| {});
    crate::support::make_dir(&b.cgroup);
    case.run(&b).ok();
    assert!(is_there(&b.cgroup), "what the container did not make it has removed");
    std::fs::remove_dir(&b.cgroup).unwrap();
}

#[test]
fn a_cgroup_in_use_or_frozen_is_refused_and_left_alone() {
    let case = case!();
    let first = case.script("sleep 100", |_| {});
    case.created(&first);
    let second = case.script("sleep 100", |config| {
        config["linux"]["cgroupsPath"] = first.config()["linux"]["cgroupsPath"].clone()
    });
    case.create(&second).fails(&[&first.id, "container's cgroup is not empty"]);
    assert_eq!(case.status(&first.id), "created");
    case.delete(&first.id);
    crate::support::make_dir(&second.cgroup);
    let third = case.script("sleep 100", |config| {
        config["linux"]["cgroupsPath"] = json!(format!("/{}/{}", case.unique, second.id));
    });
    write(&second.cgroup.join("cgroup.freeze"), "1", 0o644);
    case.create(&third).fails(&[&second.id, "frozen"]);
    std::fs::remove_dir(&second.cgroup).unwrap();
}

#[test]
fn cgroups_that_the_container_has_made_itself_go_with_it() {
    let case = case!();
    let b = case.script("mkdir -p /sys/fs/cgroup/a/b /sys/fs/cgroup/c; echo $$ >/sys/fs/cgroup/a/b/cgroup.procs; echo up; sleep 100", |config| {
        crate::support::bundle::add_mount(config, "/sys/fs/cgroup", "cgroup", "cgroup", &["rw"]);
    });
    let create = case.started(&b);
    eventually("it is up", || create.stdout() == "up\n");
    assert!(is_there(b.cgroup.join("a/b")));
    case.delete(&b.id);
    assert!(!is_there(&b.cgroup));
}

#[test]
fn a_limit_that_can_not_be_applied_is_an_error_that_names_the_controller() {
    let case = case!();
    let controllers = read(cgroup_root().unwrap().join("cgroup.controllers"));
    for (controller, resources, file, value) in [
        ("pids", json!({ "pids": { "limit": 77 } }), "pids.max", "77\n"),
        ("memory", json!({ "memory": { "limit": 67_108_864 } }), "memory.max", "67108864\n"),
        ("cpu", json!({ "cpu": { "quota": 50_000, "period": 100_000 } }), "cpu.max", "50000 100000\n"),
    ] {
        let b = case.script("sleep 100", |config| config["linux"]["resources"] = resources);
        // Where there is one it has to hold; its files are the runtime's cgroup tests' subject.
        if controllers.split_whitespace().any(|c| c == controller) {
            case.created(&b);
            assert_eq!(read(b.cgroup.join(file)), value);
            case.delete(&b.id);
        } else {
            case.create(&b).fails(&["linux.resources", controller]);
        }
    }
}
