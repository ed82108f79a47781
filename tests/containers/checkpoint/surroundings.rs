//! What a restored container has around it: mounts, namespaces, where it writes to.

use serde_json::json;

use super::{checkpoint, counting, goes_on, lacking, moved, number, restore};
use crate::support::bundle::{add_mount, add_user_namespace, set_namespace};
use crate::support::{Bundle, Case, case, eventually, is_there, link, make_dir, need, read, remove, write};

/// As engines write it: masked and read-only paths, a filter, binds, all that the kernel has file systems for.
fn as_an_engine(case: &Case, config: &mut serde_json::Value) {
    let (dir, file) = (case.subdir("volume"), case.file("hosts", "127.0.0.1 box\n", 0o644));
    write(&dir.join("inside"), "a volume\n", 0o644);
    add_mount(config, "/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", "ro"]);
    add_mount(config, "/sys/fs/cgroup", "cgroup", "cgroup", &["nosuid", "noexec", "nodev", "ro"]);
    add_mount(config, "/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"]);
    add_mount(config, "/link/volume", "bind", dir, &["rbind", "rslave"]);
    add_mount(config, "/etc/hosts", "bind", file, &["bind", "ro"]);
    config["linux"]["maskedPaths"] =
        json!(["/proc/kcore", "/proc/keys", "/proc/timer_list", "/sys/firmware", "/proc/scsi"]);
    config["linux"]["readonlyPaths"] = json!(["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys"]);
    config["linux"]["seccomp"] = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{ "names": ["mount", "reboot"], "action": "SCMP_ACT_ERRNO" }],
    });
}

/// Looks around when it is told to.
const LOOKING: &str = "exec >/dev/null 2>&1; mkfifo /f; exec 9<>/f; trap 'cat /link/volume/inside /etc/hosts >/seen; ls -A /proc/keys /sys/firmware >>/seen; \
     grep -E \"^(Seccomp|NoNewPrivs):\" /proc/self/status >>/seen; touch /proc/sys/x 2>>/seen; (echo >>/etc/hosts) 2>>/seen; echo end >>/seen' USR1; \
     n=0; while :; do n=$((n+1)); echo $n >/n; read -t 0.02 x <&9; done";

pub(super) fn engine_case(case: &Case, change: impl FnOnce(&mut serde_json::Value)) -> Bundle {
    let b = case.script(LOOKING, |config| {
        as_an_engine(case, config);
        change(config);
    });
    make_dir(&b.rootfs("real"));
    link("real", &b.rootfs("link"));
    b
}

fn look(case: &Case, b: &Bundle, of: &Bundle) -> String {
    if is_there(b.rootfs("seen")) {
        remove(&b.rootfs("seen"));
    }
    case.call(["kill", &of.id, "USR1"]).finish().ok();
    let seen = || std::fs::read_to_string(b.rootfs("seen")).unwrap_or_default();
    eventually("it has looked", || seen().ends_with("end\n"));
    seen()
}

#[test]
fn a_container_of_an_engine_sees_after_it_has_been_restored_what_it_saw_before() {
    let case = criu_case!();
    let b = engine_case(&case, |_| {});
    case.started(&b);
    eventually("it counts", || number(&b) > 2);
    let before = look(&case, &b, &b);
    for words in
        ["a volume", "127.0.0.1 box", "Seccomp:\t2", "NoNewPrivs:\t1", "/etc/hosts: Read-only file system"]
    {
        assert!(before.contains(words), "{before}");
    }
    let other = moved(&case, &b, &b.id);
    assert_eq!(look(&case, &b, &other), before);
    case.delete(&other.id);
}

#[test]
fn a_container_in_its_hosts_cgroup_namespace_sees_its_cgroup_again() {
    let case = criu_case!();
    let b = engine_case(&case, |config| set_namespace(config, "cgroup", None));
    case.started(&b);
    eventually("it counts", || number(&b) > 2);
    let other = moved(&case, &b, &b.id);
    let done = case.call(["exec", &other.id, "cat", "/sys/fs/cgroup/cgroup.procs"]).finish().ok();
    assert!(done.stdout().lines().any(|line| line == "1"), "{done}");
    case.delete(&other.id);
}

#[test]
fn a_container_in_a_user_namespace_is_restored_in_one() {
    let case = criu_case!();
    let b = engine_case(&case, |config| add_user_namespace(config, 100_000));
    b.chown(100_000);
    case.started(&b);
    eventually("it counts", || number(&b) > 2);
    let before = look(&case, &b, &b);
    let other = moved(&case, &b, &b.id);
    assert_eq!(look(&case, &b, &other), before);
    let map = read(format!("/proc/{}/uid_map", case.pid(&other.id)));
    assert_eq!(map.split_whitespace().collect::<Vec<_>>(), ["0", "100000", "65536"]);
    case.delete(&other.id);
}

#[test]
fn a_network_namespace_that_was_joined_is_joined_again() {
    let case = criu_case!();
    let holder = case.script("exec sleep 1000", |_| {});
    case.started(&holder);
    let net = format!("/proc/{}/ns/net", case.pid(&holder.id));
    let b = counting(&case, |config| {
        set_namespace(config, "network", Some(json!({ "type": "network", "path": net })));
        set_namespace(config, "ipc", Some(json!({ "type": "ipc", "path": net.replace("net", "ipc") })));
    });
    let other = moved(&case, &b, &b.id);
    assert!(goes_on(&b));
    for kind in ["net", "ipc"] {
        let of = |id: &str| std::fs::read_link(format!("/proc/{}/ns/{kind}", case.pid(id))).unwrap();
        assert_eq!(of(&other.id), of(&holder.id), "{kind}");
    }
    case.delete(&other.id);
    case.delete(&holder.id);
}

#[test]
fn what_a_program_writes_after_it_has_been_restored_goes_to_who_restores_it() {
    let case = criu_case!();
    let b = case.script(
        "mkfifo /f; exec 9<>/f; n=0; while :; do n=$((n+1)); echo said $n; read -t 0.02 x <&9; done",
        |_| {},
    );
    let done = case.started(&b);
    eventually("it speaks", || done.stdout().contains("said 3"));
    checkpoint(&case, &b.id, &[]).prints("");
    case.call(["delete", &b.id]).finish().ok();
    let before = done.stdout();
    let restored = restore(&case, &b, &b.id, &["-d"]).ok();
    eventually("it speaks again", || restored.stdout().contains("said "));
    assert_eq!(done.stdout(), before);
    assert!(!restored.stdout().contains("said 1\n"), "{restored}");
    case.delete(&b.id);
}
