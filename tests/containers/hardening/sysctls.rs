//! Sysctls: config-linux.md, "Sysctl". Those of the container's own namespaces, and no others.

use serde_json::{Value, json};

use crate::support::bundle::{add_user_namespace, set_namespace};
use crate::support::{case, eventually, read};

#[test]
fn a_sysctl_of_a_joined_namespace_is_set_unless_that_is_the_hosts() {
    let case = case!();
    let other = case.host(["unshare", "-n", "sleep", "1000"]).spawn();
    let comm = format!("/proc/{}/comm", other.pid());
    eventually("the namespace is there", || read(&comm) == "sleep\n");
    let set = |path: &str| {
        case.sh("cat /proc/sys/net/ipv4/ip_default_ttl", |config| {
            set_namespace(config, "network", Some(json!({ "type": "network", "path": path })));
            config["linux"]["sysctl"] = json!({ "net.ipv4.ip_default_ttl": "77" });
        })
    };
    set(&format!("/proc/{}/ns/net", other.pid())).prints("77\n");
    for own in ["/proc/self/ns/net".to_owned(), format!("/proc/{}/ns/net", std::process::id())] {
        set(&own).fails(&["linux.sysctl", "net.ipv4.ip_default_ttl", "the runtime's own"]);
    }
    assert_ne!(read("/proc/sys/net/ipv4/ip_default_ttl"), "77\n");
}

#[test]
fn a_sysctl_of_the_user_and_the_pid_namespace_is_the_containers() {
    let case = case!();
    let before = read("/proc/sys/user/max_ipc_namespaces");
    let b = case.script(
        "cat /proc/sys/user/max_ipc_namespaces; echo $(cat /proc/sys/kernel/ns_last_pid)",
        |config| {
            add_user_namespace(config, 100_000);
            config["linux"]["sysctl"] = json!({ "user.max_ipc_namespaces": "7" });
        },
    );
    b.chown(100_000);
    let done = case.run(&b).ok();
    assert!(done.stdout().starts_with("7\n"), "{done}");
    assert_eq!(read("/proc/sys/user/max_ipc_namespaces"), before);
}

#[test]
fn sysctls_of_the_containers_own_namespaces_are_set() {
    let case = case!();
    let files = [
        "net/ipv4/ip_forward",
        "net/ipv4/conf/lo/forwarding",
        "kernel/shmmax",
        "kernel/domainname",
        "fs/mqueue/msg_max",
        "kernel/sem",
    ];
    let before: Vec<String> = files.iter().map(|file| read(format!("/proc/sys/{file}"))).collect();
    let script: String = files.iter().map(|file| format!("cat /proc/sys/{file};")).collect();
    case.sh(&script, |config| {
        config["linux"]["sysctl"] = json!({
            "net.ipv4.ip_forward": "1",
            "net/ipv4/conf/lo/forwarding": "1",
            "kernel.shmmax": "1234567",
            "kernel.domainname": "d.example",
            "fs.mqueue.msg_max": "11",
            "kernel.sem": "32000 1024000000 500 32001",
        });
    })
    .prints("1\n1\n1234567\nd.example\n11\n32000\t1024000000\t500\t32001\n");
    let after: Vec<String> = files.iter().map(|file| read(format!("/proc/sys/{file}"))).collect();
    assert_eq!(before, after);
}

#[test]
fn sysctls_of_the_host_are_refused() {
    // T-C4.
    let case = case!();
    let before = read("/proc/sys/kernel/core_pattern");
    for key in [
        "kernel.core_pattern",
        "../kernel/core_pattern",
        "net/../kernel/core_pattern",
        "net.ipv4/../../kernel/core_pattern",
        "vm.swappiness",
        "kernel.hostname",
        "user.max_user_namespaces",
        "net..ipv4",
        "",
        "kernel.shmmax/../core_pattern",
    ] {
        let b = case.script("true", |config| config["linux"]["sysctl"] = json!({ key: "1" }));
        case.create(&b).fails(&["linux.sysctl"]);
    }
    for value in ["1\nx", "1\0x"] {
        let b =
            case.script("true", |config| config["linux"]["sysctl"] = json!({ "net.ipv4.ip_forward": value }));
        case.create(&b).fails(&["linux.sysctl", "net.ipv4.ip_forward"]);
    }
    for (kind, key) in [
        ("network", "net.ipv4.ip_forward"),
        ("ipc", "kernel.shmmax"),
        ("ipc", "fs.mqueue.msg_max"),
        ("uts", "kernel.domainname"),
    ] {
        let b = case.script("true", |config| {
            set_namespace(config, kind, None);
            config["hostname"] = json!("");
            config["linux"]["sysctl"] = json!({ key: "1" });
        });
        case.create(&b).fails(&["linux.sysctl", key]);
    }
    assert_eq!(read("/proc/sys/kernel/core_pattern"), before);
}

#[test]
fn a_sysctl_that_is_not_there_or_wrong_is_named() {
    let case = case!();
    for (key, value, words) in
        [("net.ipv4.no_such", "1", "(ENOENT)"), ("net.ipv4.ip_forward", "many", "(EINVAL)")]
    {
        let b = case.script("true", |config| config["linux"]["sysctl"] = json!({ key: value }));
        case.create(&b).fails(&["linux.sysctl", key, words]);
    }
}

#[test]
fn a_sysctl_that_readonly_paths_cover_is_set_all_the_same() {
    let case = case!();
    case.sh("cat /proc/sys/net/ipv4/ip_forward", |config| {
        config["linux"]["sysctl"] = json!({ "net.ipv4.ip_forward": "1" });
        config["linux"]["readonlyPaths"] = json!(["/proc/sys"]);
    })
    .prints("1\n");
}

#[test]
fn sysctls_are_set_whatever_proc_the_container_has() {
    let case = case!();
    // The value as it is shown, or that there is none: what a procfs of the container's own does not show is set in the
    // host's.
    let script = "cat /proc/sys/net/ipv4/ip_forward 2>&- || echo none";
    let proc = |options: Value| json!({ "destination": "/proc", "type": "proc", "source": "proc", "options": options });
    let bound = json!({ "destination": "/proc", "source": "/proc", "options": ["rbind"] });
    for (mounts, shown) in [
        (json!([proc(json!([]))]), "1\n"),
        (json!([proc(json!(["ro"]))]), "1\n"),
        (json!([proc(json!(["subset=pid"]))]), "none\n"),
        (json!([proc(json!(["subset=pid"])), proc(json!([]))]), "1\n"),
        (json!([bound]), "1\n"),
    ] {
        case.sh(script, |config| {
            config["mounts"] = mounts.clone();
            config["linux"]["readonlyPaths"] = json!([]);
            config["linux"]["maskedPaths"] = json!([]);
            config["linux"]["sysctl"] = json!({ "net.ipv4.ip_forward": "1" });
        })
        .prints(shown);
    }
}
