//! `linux.sysctl`: only what belongs to a namespace of the container's own; the rest is the host's.

use std::collections::BTreeMap;

use super::HostFacts;
use super::mounts::{MountStep, Source};
use super::namespaces::Namespaces;
use crate::error::{Doing, Result, invalid};
use crate::spec::oci::{Linux, LinuxNamespaceType};
use crate::sys::mount::attr;

/// A value for a file in /proc/sys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sysctl {
    /// As the configuration names it.
    pub key: String,
    /// Relative to /proc: `sys/net/ipv4/...`
    pub path: String,
    /// What is written.
    pub value: String,
}

/// sysctls of the IPC namespace, ipc_namespaces(7); besides these, all of fs/mqueue.
const IPC: [&str; 12] = [
    "kernel/auto_msgmni",
    "kernel/msgmax",
    "kernel/msgmnb",
    "kernel/msgmni",
    "kernel/sem",
    "kernel/shmall",
    "kernel/shmmax",
    "kernel/shmmni",
    "kernel/shm_rmid_forced",
    "kernel/msg_next_id",
    "kernel/sem_next_id",
    "kernel/shm_next_id",
];

/// sysctls of the pid namespace, in every kernel that has them. kernel/pid_max is one since Linux 6.14 and the
/// machine's before.
const PID: [&str; 2] = ["kernel/ns_last_pid", "vm/memfd_noexec"];

/// Plans `linux.sysctl`.
pub fn plan(linux: &Linux, namespaces: &Namespaces, facts: HostFacts) -> Result<Vec<Sysctl>> {
    let sorted: BTreeMap<&String, &String> = linux.sysctl().iter().flatten().collect();
    let mut paths = BTreeMap::new();
    let mut sysctls = Vec::new();
    for (key, value) in sorted {
        let sysctl = one(key, value, namespaces, facts)?;
        if let Some(other) = paths.insert(sysctl.path.clone(), key) {
            return Err(invalid(format!("{key} and {other} are the same")));
        }
        sysctls.push(sysctl);
    }
    Ok(sysctls)
}

/// Through which of the mounts they are set: the container's own procfs, if it has one that shows them and can be written
/// to. In the host's the names of each network namespace's sysctls lie in one chain, which is searched by everybody: a
/// thousand containers would make it take a millisecond.
pub fn mount_for(sysctls: &[Sysctl], mounts: &[MountStep]) -> Option<usize> {
    let suits = |step: &MountStep| match &step.source {
        Source::Fresh(fresh) => {
            fresh.fstype == "proc"
                && step.attr.set & attr::RDONLY == 0
                && fresh.parameters.iter().all(|parameter| parameter.key != "subset")
        }
        _ => false,
    };
    (!sysctls.is_empty()).then(|| mounts.iter().position(suits)).flatten()
}

fn one(key: &str, value: &str, namespaces: &Namespaces, facts: HostFacts) -> Result<Sysctl> {
    let path = path(key)?;
    if value.contains(['\0', '\n']) {
        return Err(invalid(format!("{key}: the value has a newline or NUL byte")));
    }
    // Of the path, not of the key: in either spelling the same file is meant.
    let wanted = match path.split_once('/') {
        _ if IPC.contains(&path.as_str()) => LinuxNamespaceType::Ipc,
        _ if PID.contains(&path.as_str()) => LinuxNamespaceType::Pid,
        Some(("fs", rest)) if rest.starts_with("mqueue/") => LinuxNamespaceType::Ipc,
        Some(("net", _)) => LinuxNamespaceType::Network,
        Some(("user", _)) => LinuxNamespaceType::User,
        Some(("kernel", "domainname")) => LinuxNamespaceType::Uts,
        Some(("kernel", "hostname")) => return Err(invalid(format!("{key}: set hostname instead"))),
        _ => {
            return Err(invalid(format!("{key} belongs to no namespace: it would change the host")));
        }
    };
    namespaces.own(wanted, facts).doing(|| format!("{key} would change the host"))?;
    Ok(Sysctl { key: key.to_owned(), path: format!("sys/{path}"), value: value.to_owned() })
}

/// sysctl(8): the separator is the first of `.` and `/` in the key; the other one is then a plain character
/// that stands for itself in a name (`net.ipv4.conf.eth0/1.forwarding` is `net/ipv4/conf/eth0.1/forwarding`).
fn path(key: &str) -> Result<String> {
    let path: String = match key.find(['.', '/']) {
        Some(at) if key.as_bytes()[at] == b'.' => key
            .chars()
            .map(|c| match c {
                '.' => '/',
                '/' => '.',
                other => other,
            })
            .collect(),
        _ => key.to_owned(),
    };
    let good = |part: &str| !part.is_empty() && part != "." && part != ".." && !part.contains('\0');
    match path.split('/').all(good) {
        true => Ok(path),
        false => Err(invalid(format!("{key:?} is not the name of a sysctl"))),
    }
}

#[cfg(test)]
mod tests {
    use super::{HostFacts, LinuxNamespaceType, Sysctl, mount_for, path, plan};
    use crate::plan::Authority;
    use crate::plan::mounts::{self, Context};
    use crate::plan::namespaces::{Namespaces, bit};
    use crate::spec::oci::Mount;
    use serde_json::{Value, json};

    fn planned(sysctl: &Value, namespaces: &str, facts: HostFacts) -> Result<Vec<String>, String> {
        let namespaces: Value = serde_json::from_str(namespaces).unwrap();
        let mut linux = json!({ "sysctl": sysctl, "namespaces": namespaces });
        if namespaces.to_string().contains("user") {
            let map = json!([{ "containerID": 0, "hostID": 0, "size": 1 }]);
            linux["uidMappings"] = map.clone();
            linux["gidMappings"] = map;
        }
        let linux = serde_json::from_value(linux).unwrap();
        let namespaces = Namespaces::plan(&linux).unwrap();
        let planned = plan(&linux, &namespaces, facts).map_err(|e| format!("{e:#}"));
        planned.map(|sysctls| sysctls.into_iter().map(|s| s.path).collect())
    }

    fn with(key: &str, value: &str, namespaces: &str) -> Result<Vec<String>, String> {
        planned(&json!({ key: value }), namespaces, HostFacts::default())
    }

    const ALL: &str = r#"[{"type":"network"},{"type":"ipc"},{"type":"uts"},{"type":"pid"},{"type":"user"}]"#;

    /// One of each kind, and the namespace that it belongs to.
    const OWNED: [(&str, &str); 18] = [
        ("kernel.auto_msgmni", "ipc"),
        ("kernel.msgmax", "ipc"),
        ("kernel.msgmnb", "ipc"),
        ("kernel.msgmni", "ipc"),
        ("kernel.sem", "ipc"),
        ("kernel.shmall", "ipc"),
        ("kernel.shmmax", "ipc"),
        ("kernel.shmmni", "ipc"),
        ("kernel.shm_rmid_forced", "ipc"),
        ("kernel.msg_next_id", "ipc"),
        ("kernel.sem_next_id", "ipc"),
        ("kernel.shm_next_id", "ipc"),
        ("fs.mqueue.msg_max", "ipc"),
        ("net.ipv4.ip_forward", "network"),
        ("net.core.somaxconn", "network"),
        ("user.max_user_namespaces", "user"),
        ("kernel.domainname", "uts"),
        ("kernel.ns_last_pid", "pid"),
    ];

    #[test]
    fn slashes_and_dots_name_the_same_file() {
        // sysctl(8): the first separator decides.
        for (key, file) in [
            ("net.ipv4.conf.eth0/1.forwarding", "net/ipv4/conf/eth0.1/forwarding"),
            ("net/ipv4/conf/eth0.1/forwarding", "net/ipv4/conf/eth0.1/forwarding"),
            ("net.ipv4.conf.eth0.forwarding", "net/ipv4/conf/eth0/forwarding"),
            ("net/ipv4/ip_forward", "net/ipv4/ip_forward"),
        ] {
            assert_eq!(path(key).unwrap(), file);
        }
    }

    #[test]
    fn one_file_is_set_once() {
        let both = json!({ "net.ipv4.ip_forward": "1", "net/ipv4/ip_forward": "0" });
        assert_eq!(
            planned(&both, ALL, HostFacts::default()).unwrap_err(),
            "net/ipv4/ip_forward and net.ipv4.ip_forward are the same"
        );
    }

    #[test]
    fn keys_that_lead_elsewhere_are_refused() {
        for key in [
            "../kernel/core_pattern",
            "net/../kernel/core_pattern",
            "net.//.kernel.core_pattern",
            "net/./ipv4",
            "net/ipv4/../../kernel/x",
            "/net/ipv4/ip_forward",
            ".net.ipv4",
            "net..ipv4",
            "net//ipv4",
            "",
            "net.",
            "net/",
            "net",
            "user",
            "net.ipv4\0.x",
            "fs/mqueue.x",
            "fs.mqueue",
            "fs.mqueuex.y",
            "netx.ipv4",
            "kernel/shmmax/x",
            "kernel.pid_max",
            "kernel.core_pattern",
            "kernel.modprobe",
            "kernel.hostname",
            "kernel/hostname",
            "kernel.domainname.x",
            "vm.swappiness",
            "fs.file-max",
        ] {
            assert!(with(key, "1", ALL).is_err(), "{key}");
        }
    }

    #[test]
    fn a_sysctl_needs_the_namespace_that_it_belongs_to() {
        for (key, kind) in OWNED {
            for key in [key.to_owned(), key.replace('.', "/")] {
                assert!(with(&key, "1", ALL).is_ok(), "{key}");
                let error = with(&key, "1", "[]").unwrap_err();
                assert_eq!(
                    error,
                    format!("{key} would change the host: needs a {kind} namespace in linux.namespaces")
                );
            }
        }
    }

    #[test]
    fn a_namespace_that_is_joined_and_is_the_runtimes_own_is_the_hosts() {
        let joined = r#"[{"type":"network","path":"/proc/1/ns/net"}]"#;
        let sysctl = json!({ "net.ipv4.ip_forward": "1" });
        assert!(planned(&sysctl, joined, HostFacts::default()).is_ok());
        let facts = HostFacts { runtimes_own: bit(LinuxNamespaceType::Network), ..HostFacts::default() };
        assert!(planned(&sysctl, joined, facts).unwrap_err().contains("the runtime's own"));
    }

    #[test]
    fn a_value_is_one_line() {
        assert!(with("net.ipv4.ip_forward", "1\nx", ALL).unwrap_err().contains("newline"));
        assert!(with("net.ipv4.ip_forward", "1\0", ALL).is_err());
        assert_eq!(
            with("net.ipv4.ip_local_port_range", "1024\t2048", ALL).unwrap(),
            ["sys/net/ipv4/ip_local_port_range"]
        );
    }

    #[test]
    fn they_are_set_through_the_first_mount_that_shows_them_and_can_be_written_to() {
        let linux =
            serde_json::from_value(json!({ "namespaces": [{"type": "mount"}, {"type": "pid"}] })).unwrap();
        let namespaces = Namespaces::plan(&linux).unwrap();
        let by = |options: &[&[&str]], sysctls: &[Sysctl]| {
            let mount = |options| json!({ "destination": "/proc", "type": "proc", "options": options });
            let mounts: Vec<Mount> =
                options.iter().map(|o| serde_json::from_value(mount(o)).unwrap()).collect();
            let (bundle, authority) = (std::path::Path::new("/bundle"), Authority::Root);
            let context = Context { bundle, linux: &linux, namespaces: &namespaces, authority, label: None };
            mount_for(sysctls, &mounts::plan(&mounts, context).unwrap())
        };
        let one = [Sysctl { key: "net.a".into(), path: "sys/net/a".into(), value: "1".into() }];
        assert_eq!(by(&[&["nosuid"]], &one), Some(0));
        assert_eq!(by(&[&["subset=pid"], &["hidepid=2"]], &one), Some(1));
        assert_eq!(by(&[&["ro"]], &one), None);
        assert_eq!(by(&[], &one), None);
        assert_eq!(by(&[&["nosuid"]], &[]), None);
    }
}
