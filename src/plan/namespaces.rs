//! `linux.namespaces` and the id maps: config-linux.md, "Namespaces", "User namespace mappings",
//! "Offset for Time Namespace".

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::HostFacts;
use crate::error::{Doing, Result, invalid};
use crate::spec::oci::{Linux, LinuxIdMapping, LinuxNamespaceType, LinuxTimeOffset};

/// What the container's namespaces are to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Namespaces {
    /// To be made, as CLONE_NEW* bits.
    pub new: u64,
    /// To be joined.
    pub join: Vec<Join>,
    /// For a new user namespace.
    pub id_maps: Option<IdMaps>,
    /// The content of /proc/self/timens_offsets, for a new time namespace.
    pub time_offsets: Option<String>,
}

/// A namespace that exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Join {
    /// Its place in `linux.namespaces`, for messages.
    pub index: usize,
    /// A single CLONE_NEW* bit.
    pub kind: u64,
    /// Absolute, on the host.
    pub path: PathBuf,
}

/// user_namespaces(7), in the form in which the kernel reads them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdMaps {
    /// Lines of `inside outside count`.
    pub uid: String,
    /// The same for groups.
    pub gid: String,
}

/// The CLONE_NEW* bit of a type.
pub const fn bit(kind: LinuxNamespaceType) -> u64 {
    match kind {
        LinuxNamespaceType::Mount => libc::CLONE_NEWNS as u64,
        LinuxNamespaceType::Cgroup => libc::CLONE_NEWCGROUP as u64,
        LinuxNamespaceType::Uts => libc::CLONE_NEWUTS as u64,
        LinuxNamespaceType::Ipc => libc::CLONE_NEWIPC as u64,
        LinuxNamespaceType::User => libc::CLONE_NEWUSER as u64,
        LinuxNamespaceType::Pid => libc::CLONE_NEWPID as u64,
        LinuxNamespaceType::Network => libc::CLONE_NEWNET as u64,
        LinuxNamespaceType::Time => 0x80,
    }
}

impl Namespaces {
    /// Whether a new one of this type is made.
    pub fn makes(&self, kind: LinuxNamespaceType) -> bool {
        self.new & bit(kind) != 0
    }

    /// Whether one of this type is joined.
    pub fn joins(&self, kind: LinuxNamespaceType) -> bool {
        self.join.iter().any(|join| join.kind == bit(kind))
    }

    /// Whether the container has one of its own, new or joined; else it has the runtime's.
    pub fn has(&self, kind: LinuxNamespaceType) -> bool {
        self.makes(kind) || self.joins(kind)
    }

    /// That what is changed in the namespace of this type is not the host's.
    pub fn own(&self, kind: LinuxNamespaceType, facts: HostFacts) -> Result<()> {
        // The specification's word; what it displays as is the kernel's.
        let name = format!("{kind:?}").to_lowercase();
        match (self.has(kind), facts.runtimes_own & bit(kind) != 0) {
            (false, _) => Err(invalid(format!("needs a {name} namespace in linux.namespaces"))),
            (true, true) => {
                Err(invalid(format!("the {name} namespace in linux.namespaces is the runtime's own")))
            }
            (true, false) => Ok(()),
        }
    }

    /// Whether a helper has to join first and clone then: a pid namespace takes in children only, and
    /// what is joined beside a user namespace may belong to the host, which a process inside can't enter.
    pub fn needs_helper(&self) -> bool {
        use LinuxNamespaceType::{Pid, User};
        self.joins(Pid) || self.joins(User) || (self.makes(User) && !self.join.is_empty())
    }

    /// Plans `linux.namespaces`.
    pub fn plan(linux: &Linux) -> Result<Self> {
        let mut namespaces = Self::default();
        for (index, namespace) in linux.namespaces().iter().flatten().enumerate() {
            let what = || format!("linux.namespaces[{index}] {}", namespace.typ());
            if namespaces.has(namespace.typ()) {
                return Err(invalid("there is one of this type already")).doing(what);
            }
            match namespace.path() {
                Some(path) if !path.as_os_str().is_empty() => {
                    if !path.is_absolute() {
                        return Err(invalid(format!("path {path:?} is not absolute"))).doing(what);
                    }
                    namespaces.join.push(Join { index, kind: bit(namespace.typ()), path: path.clone() });
                }
                _ => namespaces.new |= bit(namespace.typ()),
            }
        }
        namespaces.id_maps = namespaces.id_maps(linux)?;
        namespaces.time_offsets = namespaces.time_offsets(linux)?;
        Ok(namespaces)
    }

    fn id_maps(&self, linux: &Linux) -> Result<Option<IdMaps>> {
        let uid = map("linux.uidMappings", linux.uid_mappings().as_deref())?;
        let gid = map("linux.gidMappings", linux.gid_mappings().as_deref())?;
        match (self.makes(LinuxNamespaceType::User), uid, gid) {
            (true, Some(uid), Some(gid)) => Ok(Some(IdMaps { uid, gid })),
            (true, _, _) => {
                Err(invalid("a new user namespace needs linux.uidMappings and linux.gidMappings"))
            }
            (false, None, None) => Ok(None),
            // Engines repeat the maps of a namespace that they ask to join; they hold there already.
            (false, _, _) if self.joins(LinuxNamespaceType::User) => Ok(None),
            (false, _, _) => Err(invalid(
                "linux.uidMappings and linux.gidMappings need a user namespace in linux.namespaces",
            )),
        }
    }

    fn time_offsets(&self, linux: &Linux) -> Result<Option<String>> {
        let Some(offsets) = linux.time_offsets().as_ref().filter(|offsets| !offsets.is_empty()) else {
            return Ok(None);
        };
        if !self.makes(LinuxNamespaceType::Time) {
            return Err(invalid("linux.timeOffsets needs a new time namespace in linux.namespaces"));
        }
        // Sorted, so that the same configuration always makes the same plan.
        let sorted: BTreeMap<&String, &LinuxTimeOffset> = offsets.iter().collect();
        sorted.into_iter().map(|(clock, offset)| time_offset(clock, offset)).collect::<Result<_>>().map(Some)
    }
}

fn time_offset(clock: &str, offset: &LinuxTimeOffset) -> Result<String> {
    if !["monotonic", "boottime"].contains(&clock) {
        return Err(invalid(format!("linux.timeOffsets: no clock {clock:?}, only monotonic and boottime")));
    }
    Ok(format!("{clock} {} {}\n", offset.secs().unwrap_or(0), offset.nanosecs().unwrap_or(0)))
}

/// user_namespaces(7): at most 340 lines, no count of 0, no overlap.
fn map(name: &'static str, mappings: Option<&[LinuxIdMapping]>) -> Result<Option<String>> {
    const MOST: usize = 340;
    let Some(mappings) = mappings.filter(|m| !m.is_empty()) else {
        return Ok(None);
    };
    if mappings.len() > MOST {
        return Err(invalid(format!("{name}: {} entries, the kernel takes {MOST}", mappings.len())));
    }
    let ranges = |of: fn(&LinuxIdMapping) -> u32| -> Vec<(u64, u64)> {
        let mut ranges: Vec<_> =
            mappings.iter().map(|m| (of(m).into(), u64::from(of(m)) + u64::from(m.size()))).collect();
        ranges.sort_unstable();
        ranges
    };
    for (index, mapping) in mappings.iter().enumerate() {
        let end = |start: u32| u64::from(start) + u64::from(mapping.size());
        if mapping.size() == 0 || end(mapping.container_id()) > 1 << 32 || end(mapping.host_id()) > 1 << 32 {
            return Err(invalid(format!("{name}[{index}]: size {} is not a range of ids", mapping.size())));
        }
    }
    for ranges in [ranges(LinuxIdMapping::container_id), ranges(LinuxIdMapping::host_id)] {
        if ranges.windows(2).any(|pair| pair[0].1 > pair[1].0) {
            return Err(invalid(format!("{name}: two ranges overlap")));
        }
    }
    let line = |m: &LinuxIdMapping| format!("{} {} {}\n", m.container_id(), m.host_id(), m.size());
    Ok(Some(mappings.iter().map(line).collect()))
}

#[cfg(test)]
mod tests {
    use super::Namespaces;

    fn plan(json: &str) -> Result<Namespaces, String> {
        Namespaces::plan(&serde_json::from_str(json).unwrap()).map_err(|e| format!("{e:#}"))
    }

    #[test]
    fn a_type_named_twice_is_refused() {
        let error =
            plan(r#"{"namespaces":[{"type":"pid"},{"type":"pid","path":"/proc/1/ns/pid"}]}"#).unwrap_err();
        assert_eq!(error, "linux.namespaces[1] pid: there is one of this type already");
    }

    #[test]
    fn a_relative_path_is_refused() {
        assert!(
            plan(r#"{"namespaces":[{"type":"network","path":"ns/net"}]}"#)
                .unwrap_err()
                .contains("not absolute")
        );
    }

    #[test]
    fn maps_and_user_namespace_need_each_other() {
        let maps = r#""uidMappings":[{"containerID":0,"hostID":1000,"size":1}],"gidMappings":[{"containerID":0,"hostID":1000,"size":1}]"#;
        assert!(plan(&format!(r#"{{"namespaces":[{{"type":"user"}}],{maps}}}"#)).is_ok());
        assert!(plan(&format!("{{{maps}}}")).is_err());
        assert!(plan(r#"{"namespaces":[{"type":"user"}]}"#).is_err());
    }

    #[test]
    fn overlapping_and_empty_maps_are_refused() {
        for bad in [
            r#"{"containerID":0,"hostID":5,"size":0}"#,
            r#"{"containerID":0,"hostID":0,"size":9},{"containerID":8,"hostID":20,"size":1}"#,
        ] {
            let json = format!(
                r#"{{"namespaces":[{{"type":"user"}}],"uidMappings":[{bad}],"gidMappings":[{bad}]}}"#
            );
            assert!(plan(&json).is_err(), "{bad}");
        }
    }

    #[test]
    fn only_joining_pid_or_anything_beside_user_takes_a_helper() {
        assert!(
            !plan(r#"{"namespaces":[{"type":"pid"},{"type":"network","path":"/n"}]}"#)
                .unwrap()
                .needs_helper()
        );
        assert!(plan(r#"{"namespaces":[{"type":"pid","path":"/n"}]}"#).unwrap().needs_helper());
    }
}
