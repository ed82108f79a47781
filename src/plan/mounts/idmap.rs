//! Id-mapped mounts: config.md, "POSIX-platform Mounts", `idmap` and `ridmap`; mount_setattr(2), "ID-mapped mounts".

use super::{Context, Source};
use crate::error::{Doing, Result, invalid, unsupported};
use crate::plan::Authority;
use crate::plan::id_maps::{IdMaps, map};
use crate::plan::namespaces::bit;
use crate::plan::options::{Options, WantedIds};
use crate::spec::oci::{LinuxIdMapping, LinuxIdMappingBuilder, LinuxNamespaceType, Mount};
use crate::sys::mount::Depth;

/// Whose ids a mount shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShownIds {
    /// From the ids in the file system to those of the host.
    pub ids: Ids,
    /// Whether the mounts below are mapped, too.
    pub depth: Depth,
}

/// Where the maps are from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ids {
    /// A user namespace is made for them.
    Maps(IdMaps),
    /// The container joins a user namespace that has them: its place in [`crate::plan::namespaces::Namespaces::join`].
    Joined(usize),
}

/// Plans the ids of one mount.
pub(super) fn plan(
    mount: &Mount,
    options: &Options,
    source: &Source,
    context: &Context<'_>,
) -> Result<Option<ShownIds>> {
    let uid = map("uidMappings", mount.uid_mappings().as_deref())?;
    let gid = map("gidMappings", mount.gid_mappings().as_deref())?;
    let text = options.ids.as_ref().and_then(|ids| ids.text.as_deref());
    let ids = match (uid, gid, text) {
        (Some(uid), Some(gid), None) => Ids::Maps(IdMaps { uid, gid }),
        (Some(_), Some(_), Some(_)) => {
            return Err(invalid("the maps of option idmap and uidMappings, gidMappings exclude each other"));
        }
        (None, None, Some(text)) => {
            Ids::Maps(written(text, context).doing(|| format!("option idmap={text}"))?)
        }
        (None, None, None) if options.ids.is_none() => return Ok(None),
        (None, None, None) => containers(context)?,
        _ => return Err(invalid("uidMappings and gidMappings need each other")),
    };
    match source {
        Source::Remount(_) => {
            return Err(invalid("the ids of a mount that is there can't be mapped any more"));
        }
        Source::OwnCgroup => {
            return Err(unsupported("the kernel has no id-mapped mounts of the cgroup file system"));
        }
        Source::Fresh(_) | Source::Bind { .. } | Source::Notify => {}
    }
    if context.authority == Authority::User {
        return Err(unsupported("only root can map the ids of a mount: leave idmap and the mappings out"));
    }
    let depth = options.ids.as_ref().map_or(Depth::Top, |WantedIds { depth, .. }| *depth);
    Ok(Some(ShownIds { ids, depth }))
}

/// Those of the container's user namespace.
fn containers(context: &Context<'_>) -> Result<Ids> {
    if let Some(maps) = &context.namespaces.id_maps {
        return Ok(Ids::Maps(maps.clone()));
    }
    let user = bit(LinuxNamespaceType::User);
    context.namespaces.join.iter().position(|join| join.kind == user).map(Ids::Joined).ok_or_else(|| {
        invalid("idmap and ridmap need uidMappings and gidMappings, or a user namespace in linux.namespaces")
    })
}

/// crun(1), "idmap mount options": `uids=0-1-10#10-11-10;gids=0-100-10`.
fn written(text: &str, context: &Context<'_>) -> Result<IdMaps> {
    let (mut uid, mut gid) = (None, None);
    for part in text.split(';') {
        match part.split_once('=') {
            Some(("uids", ranges)) => uid = Some(ranges_of(ranges, context.linux.uid_mappings().as_deref())?),
            Some(("gids", ranges)) => gid = Some(ranges_of(ranges, context.linux.gid_mappings().as_deref())?),
            _ => return Err(invalid(format!("{part:?} is neither uids=... nor gids=..."))),
        }
    }
    match (map("uids", uid.as_deref())?, map("gids", gid.as_deref())?) {
        (Some(uid), Some(gid)) => Ok(IdMaps { uid, gid }),
        _ => Err(invalid("uids and gids need each other")),
    }
}

fn ranges_of(text: &str, container: Option<&[LinuxIdMapping]>) -> Result<Vec<LinuxIdMapping>> {
    text.split('#').map(|range| range_of(range, container).doing(|| format!("{range:?}"))).collect()
}

/// `FROM-TO-COUNT`; with `@` in front `TO` is an id in the container.
fn range_of(text: &str, container: Option<&[LinuxIdMapping]>) -> Result<LinuxIdMapping> {
    let (inside, plain) = match text.strip_prefix('@') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let numbers: Option<Vec<u32>> = plain.split('-').map(|number| number.parse().ok()).collect();
    let Some(&[from, to, count]) = numbers.as_deref() else {
        return Err(invalid("it is not FROM-TO-COUNT, three numbers"));
    };
    let to = if inside { seen_by_host(to, count, container)? } else { to };
    let range = LinuxIdMappingBuilder::default().container_id(from).host_id(to).size(count).build();
    range.map_err(|error| invalid(error.to_string()))
}

fn seen_by_host(id: u32, count: u32, container: Option<&[LinuxIdMapping]>) -> Result<u32> {
    let within = |map: &LinuxIdMapping| {
        let offset = id.checked_sub(map.container_id())?;
        let fits = u64::from(offset) + u64::from(count) <= u64::from(map.size());
        fits.then(|| map.host_id().checked_add(offset)).flatten()
    };
    container.unwrap_or_default().iter().find_map(within).ok_or_else(|| {
        invalid("@ needs ids that are within one range of linux.uidMappings and linux.gidMappings")
    })
}
