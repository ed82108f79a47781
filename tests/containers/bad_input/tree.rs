//! The root file system and what is mounted in it.

use serde_json::json;

use super::{bad, refused};
use crate::support::bundle::add_mount;
use crate::support::{case, link};

#[test]
fn a_rootfs_that_is_missing_or_a_file_is_named_with_errno() {
    let case = case!();
    bad(&case, &["rootfs", "/nowhere", "No such file or directory (ENOENT)"], |c| {
        c["root"]["path"] = json!("nowhere")
    });
    bad(&case, &["rootfs", "config.json", "Not a directory (ENOTDIR)"], |c| {
        c["root"]["path"] = json!("config.json")
    });
    bad(&case, &["root"], |c| drop(c.as_object_mut().unwrap().remove("root")));
    bad(&case, &["root.path"], |c| c["root"]["path"] = json!(""));
}

#[test]
fn a_bad_mount_is_named_with_its_index_and_destination() {
    let case = case!();
    bad(&case, &["mounts[4] /x", "oddity"], |c| add_mount(c, "/x", "tmpfs", "tmpfs", &["oddity"]));
    bad(&case, &["mounts[4] /x", "size"], |c| add_mount(c, "/x", "tmpfs", "tmpfs", &["size=much"]));
    bad(&case, &["mounts[4] /x", "nosuchfs"], |c| add_mount(c, "/x", "nosuchfs", "none", &[]));
    bad(&case, &["mounts[4] /x", "/no/such/source", "(ENOENT)"], |c| {
        add_mount(c, "/x", "bind", "/no/such/source", &["bind"])
    });
    bad(&case, &["mounts[4] /x", "source"], |c| add_mount(c, "/x", "bind", "", &["bind"]));
    bad(&case, &["mounts[4] /x", "type"], |c| add_mount(c, "/x", "", "/etc", &[]));
    bad(&case, &["mounts[4] /"], |c| add_mount(c, "/", "tmpfs", "tmpfs", &[]));
    bad(&case, &["mounts[4] /etc/passwd", "(ENOTDIR)"], |c| {
        add_mount(c, "/etc/passwd", "tmpfs", "tmpfs", &[])
    });
    bad(&case, &["mounts[4] /etc/passwd/x", "(ENOTDIR)"], |c| {
        add_mount(c, "/etc/passwd/x", "tmpfs", "tmpfs", &[])
    });
}

#[test]
fn a_mount_that_would_redirect_proc_is_refused() {
    let case = case!();
    for at in ["/proc/self/attr", "/proc/sys/kernel", "/proc/net/dev", "/proc", "/x/../proc/1"] {
        let dir = case.subdir("volume");
        bad(&case, &["mounts[4]", "/proc"], |c| add_mount(c, at, "bind", dir, &["bind"]));
    }
}

#[test]
fn a_file_where_a_directory_has_to_be_is_named() {
    let case = case!();
    let b = case.script("true", |_| {});
    std::fs::remove_dir(b.rootfs("proc")).unwrap();
    b.put("proc", "a file", 0o644);
    refused(&case, &b, &["mounts[0] /proc", "ordinary directory"]);
}

#[test]
fn a_proc_or_sys_that_is_a_link_is_refused() {
    // CVE-2019-19921, CVE-2023-27561, CVE-2025-54867: the image would choose where it lies.
    let case = case!();
    let canary = case.subdir("canary");
    for at in ["proc", "sys"] {
        for target in [canary.as_path(), std::path::Path::new("tmp"), std::path::Path::new("missing")] {
            let b = case.script("true", |c| add_mount(c, "/sys", "sysfs", "sysfs", &["ro"]));
            std::fs::remove_dir(b.rootfs(at)).unwrap();
            link(target, &b.rootfs(at));
            refused(&case, &b, &[&format!("/{at}"), "ordinary directory"]);
        }
    }
    assert_eq!(std::fs::read_dir(&canary).unwrap().count(), 0);
}
