//! `linux.sysctl`: only what belongs to a namespace of the container's own; the rest is the host's.

use std::collections::BTreeMap;

use super::namespaces::Namespaces;
use crate::error::{Result, invalid};
use crate::spec::oci::{Linux, LinuxNamespaceType};

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

/// sysctls of the IPC namespace, ipc_namespaces(7).
const IPC: [&str; 11] = [
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
    "kernel.shm_rmid_forced",
    "kernel.msg_next_id",
    "kernel.sem_next_id",
    "kernel.shm_next_id",
];

/// Plans `linux.sysctl`.
pub fn plan(linux: &Linux, namespaces: &Namespaces) -> Result<Vec<Sysctl>> {
    let sorted: BTreeMap<&String, &String> = linux.sysctl().iter().flatten().collect();
    sorted.into_iter().map(|(key, value)| one(key, value, namespaces)).collect()
}

fn one(key: &str, value: &str, namespaces: &Namespaces) -> Result<Sysctl> {
    let path = path(key)?;
    if value.contains(['\0', '\n']) {
        return Err(invalid(format!("{key}: the value has a newline or NUL byte")));
    }
    // Of the path, not of the key: in either spelling the same file is meant.
    let dotted = path.replace('/', ".");
    let wanted = match dotted.split('.').next() {
        _ if IPC.contains(&dotted.as_str()) || dotted.starts_with("fs.mqueue.") => LinuxNamespaceType::Ipc,
        Some("net") => LinuxNamespaceType::Network,
        Some("user") => LinuxNamespaceType::User,
        _ if dotted == "kernel.domainname" => LinuxNamespaceType::Uts,
        _ if dotted == "kernel.hostname" => return Err(invalid(format!("{key}: set hostname instead"))),
        _ => {
            return Err(invalid(format!("{key} belongs to no namespace: it would change the host")));
        }
    };
    match namespaces.has(wanted) {
        true => Ok(Sysctl { key: key.to_owned(), path: format!("sys/{path}"), value: value.to_owned() }),
        false => Err(invalid(format!("{key} needs a {wanted} namespace: it would change the host"))),
    }
}

/// sysctl(8): the separator is the first of `.` and `/` in the key; the other one is then a plain character
/// that stands for itself in a name (`net.ipv4.conf.eth0/1.forwarding` is `net/ipv4/conf/eth0.1/forwarding`).
fn path(key: &str) -> Result<String> {
    let path: String = match key.find(['.', '/']) {
        Some(at) if key.as_bytes()[at] == b'.' => key
            .chars()
            .map(|c| {
                if c == '.' {
                    '/'
                } else if c == '/' {
                    '.'
                } else {
                    c
                }
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
    use super::{path, plan};
    use crate::plan::namespaces::Namespaces;

    fn planned(key: &str, value: &str, namespaces: &str) -> bool {
        let json = serde_json::json!({ "sysctl": { key: value }, "namespaces": serde_json::from_str::<serde_json::Value>(namespaces).unwrap() });
        let linux = serde_json::from_value(json).unwrap();
        plan(&linux, &Namespaces::plan(&linux).unwrap()).is_ok()
    }

    const ALL: &str = r#"[{"type":"network"},{"type":"ipc"},{"type":"uts"}]"#;

    #[test]
    fn slashes_and_dots_name_the_same_file() {
        assert_eq!(path("net.ipv4.conf.eth0/1.forwarding").unwrap(), "net/ipv4/conf/eth0.1/forwarding");
        assert_eq!(path("net/ipv4/conf/eth0.1/forwarding").unwrap(), "net/ipv4/conf/eth0.1/forwarding");
    }

    #[test]
    fn keys_that_lead_elsewhere_are_refused() {
        for key in [
            "../kernel/core_pattern",
            "net/../kernel/core_pattern",
            "net..ipv4",
            "",
            "net.",
            "kernel.core_pattern",
            "vm.swappiness",
            "net/ipv4/../../kernel/x",
        ] {
            assert!(!planned(key, "1", ALL), "{key}");
        }
    }

    #[test]
    fn a_sysctl_needs_the_namespace_that_it_belongs_to() {
        assert!(planned("net.ipv4.ip_forward", "1", ALL) && !planned("net.ipv4.ip_forward", "1", "[]"));
        assert!(planned("kernel.shmmax", "1", ALL) && !planned("kernel.shmmax", "1", "[]"));
        assert!(!planned("user.max_user_namespaces", "1", ALL));
    }

    #[test]
    fn a_value_is_one_line() {
        assert!(!planned("net.ipv4.ip_forward", "1\nx", ALL));
    }
}
