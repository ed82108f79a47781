//! `linux.namespaces`: config-linux.md, "Namespaces" and "Offset for Time Namespace".

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use super::id_maps::IdMaps;
use super::{Authority, HostFacts};
use crate::error::{Doing, Result, invalid};
use crate::spec::oci::{Linux, LinuxNamespaceType, LinuxTimeOffset};

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

/// A namespace that exists. Shown, it is where the configuration has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Join {
    /// Its place in `linux.namespaces`, for messages.
    pub index: usize,
    /// A single CLONE_NEW* bit.
    pub kind: u64,
    /// Absolute, on the host.
    pub path: PathBuf,
}

impl fmt::Display for Join {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "linux.namespaces[{}] {}", self.index, self.path.display())
    }
}

/// namespaces(7)
const ALL: [LinuxNamespaceType; 8] = {
    use LinuxNamespaceType::{Cgroup, Ipc, Mount, Network, Pid, Time, User, Uts};
    [Cgroup, Ipc, Mount, Network, Pid, Time, User, Uts]
};

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

    /// The types of those that are joined.
    pub fn joined(&self) -> Vec<LinuxNamespaceType> {
        ALL.into_iter().filter(|kind| self.joins(*kind)).collect()
    }

    /// Whether the container has one of its own, new or joined; else it has the runtime's.
    pub fn has(&self, kind: LinuxNamespaceType) -> bool {
        self.makes(kind) || self.joins(kind)
    }

    /// The types of all these, as CLONE_NEW* bits.
    pub fn all(&self) -> u64 {
        self.join.iter().fold(self.new, |all, join| all | join.kind)
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

    /// Whether others are in its pid namespace before its first process is, who may do with that what their
    /// capabilities allow (CVE-2016-9962). So a helper, which they don't see, makes the container, and clones that last.
    pub fn has_strangers(&self) -> bool {
        self.joins(LinuxNamespaceType::Pid)
    }

    /// What the clone of init makes. A cgroup namespace takes its root from the process that makes it, and a time
    /// namespace with offsets has to be empty when they are set: init makes these.
    pub fn made_by_clone(&self) -> u64 {
        let offsets = if self.time_offsets.is_some() { bit(LinuxNamespaceType::Time) } else { 0 };
        self.new & !bit(LinuxNamespaceType::Cgroup) & !offsets
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

    /// Refuses what the kernel lets nobody but root do: without a user namespace of the container's an ordinary
    /// user can make and join nothing, and in a new one he is nobody to the namespaces outside of it.
    ///
    /// None is made silently: what is not listed is the runtime's own, says the specification.
    pub(super) fn admit(&self, authority: Authority) -> Result<()> {
        use LinuxNamespaceType::{Mount, User};
        if authority.has_capabilities() {
            return Ok(());
        }
        if !self.has(User) {
            return Err(invalid(
                "linux.namespaces: only root can make a container without a user namespace; add one with \
                 linux.uidMappings and linux.gidMappings, as `spec --rootless` writes them",
            ));
        }
        if !self.has(Mount) {
            return Err(invalid(
                "linux.namespaces: only root can make a container without a mount namespace",
            ));
        }
        match self.join.first().filter(|_| self.makes(User)) {
            Some(join) => Err(invalid(format!(
                "{join}: only root can join it from a new user namespace; join the user namespace that it \
                 belongs to instead"
            ))),
            None => Ok(()),
        }
    }

    fn id_maps(&self, linux: &Linux) -> Result<Option<IdMaps>> {
        let given = [linux.uid_mappings(), linux.gid_mappings()];
        if given.into_iter().flatten().any(|map| !map.is_empty()) && !self.has(LinuxNamespaceType::User) {
            return Err(invalid(
                "linux.uidMappings and linux.gidMappings need a user namespace in linux.namespaces",
            ));
        }
        match (self.makes(LinuxNamespaceType::User), IdMaps::plan(linux)?) {
            (true, None) => {
                Err(invalid("a new user namespace needs linux.uidMappings and linux.gidMappings"))
            }
            (true, maps) => Ok(maps),
            // Engines repeat the maps of a namespace that they ask to join; they hold there already.
            (false, _) => Ok(None),
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

/// time_namespaces(7).
fn time_offset(clock: &str, offset: &LinuxTimeOffset) -> Result<String> {
    const SECOND: u32 = 1_000_000_000;
    if !["monotonic", "boottime"].contains(&clock) {
        return Err(invalid(format!("linux.timeOffsets: no clock {clock:?}, only monotonic and boottime")));
    }
    let nanosecs = offset.nanosecs().unwrap_or(0);
    if nanosecs >= SECOND {
        return Err(invalid(format!("linux.timeOffsets.{clock}.nanosecs: {nanosecs} is a second or more")));
    }
    Ok(format!("{clock} {} {nanosecs}\n", offset.secs().unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::{Authority, Namespaces};

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
    fn time_offsets_are_of_two_clocks_and_of_a_new_namespace() {
        let with = |namespace: &str, offsets: &str| {
            plan(&format!(r#"{{"namespaces":[{namespace}],"timeOffsets":{{{offsets}}}}}"#))
        };
        let new = r#"{"type":"time"}"#;
        let both = r#""monotonic":{"secs":-5,"nanosecs":999999999},"boottime":{"nanosecs":1}"#;
        assert_eq!(with(new, both).unwrap().time_offsets.unwrap(), "boottime 0 1\nmonotonic -5 999999999\n");
        for (namespace, offsets, words) in [
            (new, r#""realtime":{"secs":1}"#, "no clock \"realtime\""),
            (
                new,
                r#""boottime":{"nanosecs":1000000000}"#,
                "boottime.nanosecs: 1000000000 is a second or more",
            ),
            (r#"{"type":"time","path":"/t"}"#, r#""boottime":{"secs":1}"#, "needs a new time namespace"),
            (r#"{"type":"pid"}"#, r#""boottime":{"secs":1}"#, "needs a new time namespace"),
        ] {
            let error = with(namespace, offsets).unwrap_err();
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn an_ordinary_user_needs_user_and_mount_namespaces_and_joins_nothing_from_a_new_one() {
        let maps = r#""uidMappings":[{"containerID":0,"hostID":7,"size":1}],"gidMappings":[{"containerID":0,"hostID":7,"size":1}]"#;
        let admitted = |namespaces: &str| {
            let planned = plan(&format!(r#"{{"namespaces":[{namespaces}],{maps}}}"#)).unwrap();
            planned.admit(Authority::Root).unwrap();
            planned.admit(Authority::User).map_err(|e| e.to_string())
        };
        let joined = r#"{"type":"user","path":"/u"},{"type":"pid","path":"/p"},{"type":"mount","path":"/m"}"#;
        for good in
            [r#"{"type":"user"},{"type":"mount"}"#, joined, r#"{"type":"user","path":"/u"},{"type":"mount"}"#]
        {
            admitted(good).unwrap();
        }
        for (bad, words) in [
            (r#"{"type":"user"},{"type":"pid"}"#, "without a mount namespace"),
            (
                r#"{"type":"user"},{"type":"mount"},{"type":"ipc","path":"/i"}"#,
                "linux.namespaces[2] /i: only root",
            ),
        ] {
            let error = admitted(bad).unwrap_err();
            assert!(error.contains(words), "{error}");
        }
        let none = plan(r#"{"namespaces":[{"type":"mount"}]}"#).unwrap();
        assert!(none.admit(Authority::User).unwrap_err().to_string().contains("spec --rootless"));
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
