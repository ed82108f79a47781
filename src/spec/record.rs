//! What is kept about a container in its state directory, and what `state` prints of it.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use super::OCI_VERSION;
use super::oci::{ContainerState, Hook, LinuxNamespaceType, State, StateBuilder};
use crate::error::Result;
use crate::proc::{Proc, StartTime};

/// The form of a record; one of another form is another version's, and is refused.
pub const FORM: u32 = 1;

/// Everything that later verbs need: they don't read the bundle again (runtime.md: changes to it after
/// `create` have no effect).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// [`FORM`].
    pub form: u32,
    /// The container's id.
    pub id: String,
    /// Absolute path of the bundle.
    pub bundle: PathBuf,
    /// Absolute path of the root file system.
    pub rootfs: PathBuf,
    /// RFC 3339, nanoseconds.
    pub created: String,
    /// User name or number of who created it.
    pub owner: String,
    /// The configuration's annotations.
    pub annotations: BTreeMap<String, String>,
    /// The boot in which it was created: after another one nothing of it is left.
    pub boot_id: String,
    /// The container's process; none while `create` is still at work.
    pub process: Option<ProcessId>,
    /// CRIU, when it was last at work on it: it has a part in the lock of the directory, and may outlive its command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<ProcessId>,
    /// Where its cgroup is; one that is not its own is its caller's, in which it has stayed.
    pub cgroup: CgroupRecord,
    /// Its namespaces that were there before, and go on without it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub joined: Vec<LinuxNamespaceType>,
    /// What it has of resctrl.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rdt: Option<RdtRecord>,
    /// The rootfs, where the container's mounts are in the runtime's own mount namespace and have to be
    /// taken away in the end.
    pub shared_mounts: Option<PathBuf>,
    /// Whether its program has a socket for sd_notify(3).
    pub notify: bool,
    /// Hooks that run after `create`, on the host's side.
    pub hooks: LaterHooks,
}

impl CgroupRecord {
    /// Of one at this path of which nothing is made: nothing yet, or nothing at all, where it is somebody else's.
    pub fn unmade(path: PathBuf) -> Self {
        Self { path, made: 0, taken: false, number: None, unit: None }
    }

    /// Whether the processes in it are the container's.
    pub fn is_ours(&self) -> bool {
        self.made > 0 || self.taken
    }
}

/// A process that can be told from a later one of the same pid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessId {
    /// In the host's pid namespace.
    pub pid: i32,
    /// When it started.
    pub start: StartTime,
}

impl ProcessId {
    /// Of one that is there, or has not been reaped.
    pub fn of(proc: &Proc, pid: Pid) -> Result<Option<Self>> {
        Ok(proc.process(pid)?.map(|(_, now)| Self { pid: pid.as_raw(), start: now.start }))
    }
}

/// A cgroup of the cgroup2 tree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CgroupRecord {
    /// Relative to the tree's root, no leading slash.
    pub path: PathBuf,
    /// How many of the path's last components `create` made; only these are removed.
    pub made: usize,
    /// It was there before, and nobody in it: what is in it now is the container's all the same.
    pub taken: bool,
    /// Its number, which no other one of this boot has: after its end there may be somebody else's at its path.
    /// Not known before it is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<u64>,
    /// The unit that it is the cgroup of, if systemd makes it. Until something of it is made it may be another's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<UnitRecord>,
}

/// Who makes cgroups: `--cgroup-manager`, `--systemd-cgroup`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Driver {
    /// This runtime, in the file system.
    #[default]
    Cgroupfs,
    /// systemd, as scopes.
    Systemd,
    /// Nobody.
    Disabled,
}

/// A unit of systemd.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitRecord {
    /// With its type, such as `a.scope`.
    pub name: String,
    /// The cgroup in its own that is the container's; none if its own is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subgroup: Option<String>,
    /// Whose it is.
    pub manager: Manager,
}

/// A systemd: systemd(1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Manager {
    /// The machine's.
    System,
    /// An ordinary user's own.
    User,
}

/// What `create` has made in the resctrl file system, relative to its root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RdtRecord {
    /// The container's own class of service, which goes with it.
    pub own: Option<String>,
    /// A class of service that was named and missing. It stays once the container is created.
    pub named: Option<String>,
    /// The container's monitoring group.
    pub monitor: Option<PathBuf>,
    /// The class of service that it is in, whoever has made it; empty for the default one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<PathBuf>,
}

/// config.md, "POSIX-platform Hooks".
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaterHooks {
    /// Run by `start`.
    pub poststart: Vec<Hook>,
    /// Run by `delete`.
    pub poststop: Vec<Hook>,
    /// What they write to, where that is not the runtime's own.
    pub stdout: Option<PathBuf>,
    /// Likewise.
    pub stderr: Option<PathBuf>,
}

/// runtime.md, "State", with what runc prints besides.
#[derive(Clone, Debug, Serialize)]
pub struct StateDocument {
    #[serde(rename = "ociVersion")]
    oci_version: &'static str,
    /// The container's id.
    pub id: String,
    /// 0 when there is no process.
    pub pid: i32,
    /// runtime.md's word.
    pub status: String,
    /// Absolute path of the bundle.
    pub bundle: PathBuf,
    /// Absolute path of the root file system.
    pub rootfs: PathBuf,
    /// RFC 3339.
    pub created: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: BTreeMap<String, String>,
    /// User name or number of who created it.
    pub owner: String,
    /// Why it has stopped, if that was for want of memory: no other runtime has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oom: Option<Oom>,
}

/// What is known of a container that the kernel has killed for want of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Oom {
    /// So many processes, in all of its life.
    pub kills: u64,
    /// The limit that was reached, in bytes; none if it was the machine's memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// The most that it has had, in bytes, where the kernel keeps that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peak: Option<u64>,
}

impl Record {
    /// What `state` and `list` print.
    pub fn document(&self, status: &str, pid: i32, oom: Option<Oom>) -> StateDocument {
        StateDocument {
            oci_version: OCI_VERSION,
            id: self.id.clone(),
            pid,
            status: status.to_owned(),
            bundle: self.bundle.clone(),
            rootfs: self.rootfs.clone(),
            created: self.created.clone(),
            annotations: self.annotations.clone(),
            owner: self.owner.clone(),
            oom,
        }
    }

    /// What a hook reads on its standard input. `pid` as seen from the hook's pid namespace.
    pub fn hook_state(&self, status: ContainerState, pid: Option<i32>) -> State {
        let state = StateBuilder::default()
            .version(OCI_VERSION)
            .id(self.id.clone())
            .status(status)
            .bundle(self.bundle.clone())
            .annotations(self.annotations.clone().into_iter().collect::<HashMap<_, _>>());
        let state = match pid {
            Some(pid) => state.pid(pid),
            None => state,
        };
        // Every field has a default, so that nothing can be missing.
        state.build().unwrap_or_default()
    }
}
