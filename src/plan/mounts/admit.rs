//! Whether the kernel lets a new user namespace have a file system, user_namespaces(7).

use super::{Fresh, MountStep, Source};
use crate::error::{Doing, Result, invalid};
use crate::plan::id_maps::IdMaps;
use crate::plan::namespaces::Namespaces;
use crate::rootpath::InRootfs;
use crate::spec::oci::LinuxNamespaceType;

/// Refuses those that the container's namespaces can't have.
pub fn all(steps: &[MountStep], namespaces: &Namespaces) -> Result<()> {
    steps.iter().try_for_each(|step| {
        let Source::Fresh(fresh) = &step.source else { return Ok(()) };
        let admitted = can_show(namespaces, &step.at, fresh)
            .and_then(|()| namespaces.id_maps.as_ref().map_or(Ok(()), |maps| can_belong(maps, fresh)));
        admitted.doing(|| step.to_string())
    })
}

/// Refuses a file system that shows a namespace which a new user namespace has no rights to: the kernel lets
/// nobody mount one who is not root in the user namespace that it belongs to.
fn can_show(namespaces: &Namespaces, at: &InRootfs, fresh: &Fresh) -> Result<()> {
    use LinuxNamespaceType::{Cgroup, Ipc, Network, Pid, User};
    let (shown, name) = match fresh.fstype.as_str() {
        "proc" => (Pid, "pid"),
        "sysfs" => (Network, "network"),
        "mqueue" => (Ipc, "ipc"),
        "cgroup2" => (Cgroup, "cgroup"),
        _ => return Ok(()),
    };
    if !namespaces.makes(User) || namespaces.makes(shown) {
        return Ok(());
    }
    let text = format!(
        "in a new user namespace a {} can be mounted only with a new {name} namespace; \
         make that new, too, or bind the host's {at} (rbind, ro)",
        fresh.fstype
    );
    Err(invalid(text))
}

/// Refuses a file system that is to belong to somebody whom the container does not have.
fn can_belong(maps: &IdMaps, fresh: &Fresh) -> Result<()> {
    if !["devpts", "tmpfs"].contains(&fresh.fstype.as_str()) {
        return Ok(());
    }
    for parameter in &fresh.parameters {
        let (map, property) = match parameter.key.as_str() {
            "uid" => (&maps.uid, "linux.uidMappings"),
            "gid" => (&maps.gid, "linux.gidMappings"),
            _ => continue,
        };
        let id = parameter.value.as_deref().and_then(|value| value.parse::<u32>().ok());
        if let Some(id) = id.filter(|id| !map.has(*id)) {
            let text = format!(
                "option {}={id}: no range of {property} has it; leave the option out, or map the id",
                parameter.key
            );
            return Err(invalid(text));
        }
    }
    Ok(())
}
