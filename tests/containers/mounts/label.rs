//! `linux.mountLabel`: config-linux.md, "Mount Label".

use serde_json::json;

use crate::support::mountinfo::mount_at;
use crate::support::{case, is_there, need, read};

const LABEL: &str = "system_u:object_r:tmp_t:s0";

fn has_selinux() -> bool {
    read("/proc/filesystems").contains("\tselinuxfs")
}

#[test]
fn a_label_without_selinux_is_an_error_before_anything_exists() {
    let case = case!();
    need!(!has_selinux(), "SELinux is enabled");
    let b = case.script("true", |config| config["linux"]["mountLabel"] = json!(LABEL));
    case.create(&b).fails(&["linux.mountLabel: SELinux is not enabled"]);
    assert!(!is_there(&b.cgroup) && !is_there(case.state.join(&b.id)));
    let b = case.script("true", |config| config["linux"]["mountLabel"] = json!(""));
    case.run(&b).ok();
}

#[test]
fn a_label_is_on_the_containers_own_file_systems() {
    let case = case!();
    need!(crate::labels::has_selinux(), "no SELinux, or no policy");
    let done =
        case.sh("cat /proc/self/mountinfo", |config| config["linux"]["mountLabel"] = json!(LABEL)).ok();
    for at in ["/dev", "/dev/pts", "/dev/shm"] {
        assert!(mount_at(&done, at).superblock.join(",").contains(LABEL), "{at}: {done}");
    }
    assert!(!mount_at(&done, "/proc").superblock.join(",").contains(LABEL));
}

#[test]
fn an_unknown_kind_of_label_is_refused() {
    let case = case!();
    let b = case.script("true", |config| {
        config["linux"]["mountLabel"] = json!(LABEL);
        config["annotations"] = json!({ "run.oci.mount_context_type": "subcontext" });
    });
    case.create(&b).fails(&["annotations.run.oci.mount_context_type", "\"subcontext\"", "rootcontext"]);
}
