//! The root: config.md, "Root".

use serde_json::json;

use crate::support::bundle::{add_mount, set_namespace};
use crate::support::canary::Canary;
use crate::support::mountinfo::mount_at;
use crate::support::{case, eventually, host_command, link, read};

#[test]
fn without_pivot_the_root_is_the_same() {
    let case = case!();
    let canary = Canary::new(&case);
    let script = format!("echo $(ls /) $(ls -d /../../etc {} 2>/dev/null)", canary.dir.display());
    let b = case.script(&script, |_| {});
    let root = "bin dev etc proc root run sys tmp /../../etc\n";
    case.run(&b).prints(root);
    case.call(["run", "--no-pivot", "-b", b.path(), &b.id]).finish().prints(root);
}

#[test]
fn a_readonly_root_can_not_be_written() {
    let case = case!();
    let script = "touch /x; echo $?; touch /dev/shm/x; echo $?; cat /proc/self/mountinfo";
    let b = case.script(script, |config| config["root"]["readonly"] = json!(true));
    let done = case.run(&b).ok();
    assert!(done.stdout().starts_with("1\n0\n") && done.stderr().contains("Read-only file system"), "{done}");
    assert!(mount_at(&done, "/").has("ro"));
    // The file system itself is the host's, and still writable.
    b.put("still", "", 0o644);
}

#[test]
fn a_root_that_is_a_link_or_absolute_or_relative_works() {
    let case = case!();
    let b = case.script("ls /bin/busybox", |_| {});
    link(b.rootfs(""), &b.dir.join("link"));
    let name = b.dir.file_name().unwrap().to_str().unwrap();
    for path in
        ["link".into(), "./rootfs/.".into(), format!("../{name}/rootfs"), b.rootfs("").display().to_string()]
    {
        let mut config = b.config();
        config["root"]["path"] = json!(path);
        b.save(&config);
        case.run(&b).prints("/bin/busybox\n");
    }
}

#[test]
fn what_is_mounted_below_the_rootfs_is_in_the_container() {
    let case = case!();
    let b = case.script("cat /tmp/file", |_| {});
    let at = b.rootfs("tmp");
    host_command("mount", &["-t".as_ref(), "tmpfs".as_ref(), "tmpfs".as_ref(), at.as_os_str()]);
    b.put("tmp/file", "below\n", 0o644);
    let done = case.run(&b);
    host_command("umount", &[at.as_os_str()]);
    done.prints("below\n");
}

#[test]
fn without_a_mount_namespace_its_mounts_go_with_the_container() {
    let case = case!();
    let b = case.script("ls /bin/busybox; sleep 100", |config| {
        set_namespace(config, "mount", None);
        add_mount(config, "/t", "tmpfs", "tmpfs", &[]);
    });
    let create = case.started(&b);
    eventually("it is up", || create.stdout() == "/bin/busybox\n");
    // The leak check sees to the rest.
    case.delete(&b.id);
    assert!(!read("/proc/self/mountinfo").contains(b.path()));
}
