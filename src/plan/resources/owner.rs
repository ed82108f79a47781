//! Whose the cgroup is: config-linux.md, "Cgroup ownership".

use std::path::Path;

use crate::plan::HostFacts;
use crate::plan::namespaces::Namespaces;
use crate::spec::oci::{LinuxNamespaceType, Mount, Spec};

/// The user of the container's process, who can make cgroups below his own then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// As the host counts.
    Host(u32),
    /// As a user namespace that is joined counts: the kernel knows what this is on the host.
    Joined(u32),
}

/// `None` where it stays the runtime's.
pub fn plan(spec: &Spec, namespaces: &Namespaces, facts: HostFacts) -> Option<Owner> {
    let uid = spec.process().as_ref()?.user().uid();
    let mounted = spec.mounts().iter().flatten().any(is_writable_tree);
    // An ordinary user can't give his files away.
    let may = facts.authority().has_capabilities();
    if !may || !mounted || !namespaces.makes(LinuxNamespaceType::Cgroup) {
        return None;
    }
    if namespaces.joins(LinuxNamespaceType::User) {
        return Some(Owner::Joined(uid));
    }
    if !namespaces.makes(LinuxNamespaceType::User) {
        return (uid != facts.euid).then_some(Owner::Host(uid));
    }
    namespaces.id_maps.as_ref().and_then(|maps| maps.uid.on_host(uid)).map(Owner::Host)
}

fn is_writable_tree(mount: &Mount) -> bool {
    mount.source().as_deref() == Some(Path::new("cgroup"))
        && matches!(mount.typ().as_deref(), Some("cgroup" | "cgroup2"))
        && mount.destination() == Path::new("/sys/fs/cgroup")
        && !mount.options().iter().flatten().any(|option| option == "ro" || option == "rro")
}

#[cfg(test)]
mod tests {
    use super::{Owner, plan};
    use crate::plan::HostFacts;
    use crate::plan::namespaces::Namespaces;
    use crate::spec::oci::Spec;
    use serde_json::{Value, json};

    fn owner(change: impl FnOnce(&mut Value)) -> Option<Owner> {
        let mut config = json!({
            "ociVersion": "1.3.0",
            "process": { "cwd": "/", "user": { "uid": 7, "gid": 0 } },
            "mounts": [{ "destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["nosuid"] }],
            "linux": { "namespaces": [{ "type": "cgroup" }] },
        });
        change(&mut config);
        let spec: Spec = serde_json::from_value(config).unwrap();
        let linux = spec.linux().as_ref().unwrap();
        plan(&spec, &Namespaces::plan(linux).unwrap(), HostFacts::default())
    }

    fn map(config: &mut Value, user: Value) {
        config["linux"]["namespaces"] = json!([{ "type": "cgroup" }, user]);
        for name in ["uidMappings", "gidMappings"] {
            let low = json!({ "containerID": 0, "hostID": 1000, "size": 1 });
            config["linux"][name] = json!([low, { "containerID": 1, "hostID": 300_000, "size": 100 }]);
        }
    }

    #[test]
    fn it_is_the_user_as_the_host_counts() {
        assert_eq!(owner(|_| {}), Some(Owner::Host(7)));
        assert_eq!(owner(|c| map(c, json!({ "type": "user" }))), Some(Owner::Host(300_006)));
        let joined = json!({ "type": "user", "path": "/proc/1/ns/user" });
        assert_eq!(owner(|c| map(c, joined)), Some(Owner::Joined(7)));
        // He has it already.
        assert_eq!(owner(|c| c["process"]["user"]["uid"] = json!(0)), None);
    }

    #[test]
    fn it_stays_the_runtimes_unless_the_container_can_write_in_a_cgroup_namespace_of_its_own() {
        for (at, value) in [
            ("/linux/namespaces", json!([])),
            ("/linux/namespaces", json!([{ "type": "cgroup", "path": "/proc/1/ns/cgroup" }])),
            ("/mounts", json!([])),
            ("/mounts/0/options", json!(["nosuid", "ro"])),
            ("/mounts/0/options", json!(["rro"])),
            ("/mounts/0/source", json!("other")),
            ("/mounts/0/type", json!("tmpfs")),
            ("/mounts/0/destination", json!("/sys/fs/cgroup/x")),
        ] {
            assert_eq!(owner(|c| *c.pointer_mut(at).unwrap() = value.clone()), None, "{at} {value}");
        }
        let without_process = owner(|c| drop(c.as_object_mut().unwrap().remove("process")));
        assert_eq!(without_process, None);
    }
}
