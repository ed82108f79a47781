//! Runs in: host. A container to be made: all that the caller has said.

use std::path::Path;

use super::console::Terminal;
use super::receiver::Receiver;
use crate::container::hooks::Output;
use crate::container::id::ContainerId;
use crate::container::notify::{Inbox, Manager};
use crate::container::rdt;
use crate::container::store::{Entry, Store};
use crate::error::{Doing, Result};
use crate::plan::user::KEEP_GROUPS;
use crate::plan::{Plan, RootSwitch};
use crate::proc::Proc;
use crate::spec::Bundle;
use crate::spec::for_exec::{FilterRecord, ForExec};
use crate::spec::oci::{Linux, LinuxIdMapping, LinuxNamespaceType};
use crate::spec::record::{CgroupRecord, FORM, LaterHooks, Record};

/// A container to be made.
#[derive(Debug)]
pub struct Order<'a> {
    /// Where it is kept.
    pub store: &'a Store,
    /// Its id.
    pub id: &'a ContainerId,
    /// Its bundle.
    pub bundle: &'a Bundle,
    /// What the bundle's configuration means.
    pub plan: &'a Plan,
    /// When its program starts.
    pub start: Start,
    /// What becomes of its terminal's master.
    pub terminal: Terminal,
    /// Where its pid is written: decimal, no newline.
    pub pid_file: Option<&'a Path>,
    /// A socket that gets its pidfd.
    pub pidfd_socket: Option<&'a Path>,
    /// Who is to hear that the program is ready.
    pub manager: Option<&'a Manager>,
    /// How many descriptors from 3 up are LISTEN_FDS, sd_listen_fds(3).
    pub listen_fds: u32,
    /// `--preserve-fds`: so many more after them.
    pub preserve_fds: u32,
}

/// When the program starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// When `start` opens the gate.
    AtGate,
    /// As soon as everything is there.
    AtOnce,
}

impl Order<'_> {
    /// Who is to get the pidfd: the command line goes before the annotation.
    pub(super) fn pidfd_receiver(&self) -> Result<Option<Receiver>> {
        match (self.pidfd_socket, &self.plan.annotations.pidfd_receiver) {
            (Some(path), _) => Receiver::connect("pidfd socket", path).map(Some),
            (None, Some(path)) => Receiver::connect("annotations.run.oci.pidfd_receiver", path).map(Some),
            (None, None) => Ok(None),
        }
    }

    /// A program that starts at once finds somebody listening; `start` sees to that for others.
    pub(super) fn inbox(&self, entry: &Entry) -> Result<Option<Inbox>> {
        match self.manager {
            Some(manager) if self.plan.notify && self.start == Start::AtOnce => {
                Inbox::open(entry, manager).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// What hooks write to, opened where the caller sees it.
    pub(super) fn hook_output(&self) -> Result<Output> {
        let annotations = &self.plan.annotations;
        match self.plan.hooks.any() {
            true => Output::open(annotations.hook_stdout.as_deref(), annotations.hook_stderr.as_deref()),
            false => Ok(Output::default()),
        }
    }

    /// What is kept for processes that `exec` starts.
    pub(super) fn for_exec(&self) -> ForExec {
        let (spec, plan) = (&self.bundle.spec, self.plan);
        let linux = spec.linux().as_ref();
        let mappings = |of: fn(&Linux) -> &Option<Vec<LinuxIdMapping>>| {
            linux
                .filter(|_| plan.namespaces.id_maps.is_some())
                .and_then(|linux| of(linux).clone())
                .unwrap_or_default()
        };
        let mut process = spec.process().clone();
        if let Some(process) = &mut process {
            // Every command brings its own.
            process.set_args(None);
        }
        ForExec {
            chroot: plan.rootfs.switch == RootSwitch::Chroot,
            uid_mappings: mappings(Linux::uid_mappings),
            gid_mappings: mappings(Linux::gid_mappings),
            keeps_groups: spec.annotations().as_ref().is_some_and(|all| all.contains_key(KEEP_GROUPS)),
            keyring: plan.keyring.clone(),
            memory_policy: linux.and_then(|linux| linux.memory_policy().clone()),
            personality: linux.and_then(|linux| linux.personality().clone()),
            seccomp: plan.seccomp.as_ref().map(|seccomp| FilterRecord {
                flags: seccomp.flags,
                listener_path: seccomp.listener.as_ref().map(|listener| listener.path.clone()),
                listener_metadata: seccomp.listener.as_ref().and_then(|listener| listener.metadata.clone()),
            }),
            ..ForExec::of(process, plan.namespaces.all())
        }
    }

    /// What the record says before anything exists.
    pub(super) fn record(
        &self,
        cgroup: CgroupRecord,
        rdt: Option<&rdt::Tree>,
        proc: &Proc,
    ) -> Result<Record> {
        let spec = &self.bundle.spec;
        let rdt = match (rdt, &self.plan.intel_rdt) {
            (Some(tree), Some(plan)) => Some(tree.intend(plan).doing(|| "linux.intelRdt")?),
            _ => None,
        };
        // In a namespace that it joins they are that one's, and go with it.
        let shared = self.plan.rootfs.switch == RootSwitch::Chroot
            && !self.plan.namespaces.joins(LinuxNamespaceType::Mount);
        Ok(Record {
            form: FORM,
            id: self.id.to_string(),
            bundle: self.bundle.dir.clone(),
            rootfs: self.plan.rootfs.path.clone(),
            created: chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Nanos, true),
            owner: owner(),
            annotations: spec.annotations().iter().flatten().map(|(k, v)| (k.clone(), v.clone())).collect(),
            boot_id: proc.boot_id()?,
            process: None,
            worker: None,
            cgroup,
            joined: self.plan.namespaces.joined(),
            rdt,
            notify: self.plan.notify,
            shared_mounts: shared.then(|| self.plan.rootfs.path.clone()),
            hooks: LaterHooks {
                poststart: self.plan.hooks.poststart.clone(),
                poststop: self.plan.hooks.poststop.clone(),
                stdout: self.plan.annotations.hook_stdout.clone(),
                stderr: self.plan.annotations.hook_stderr.clone(),
            },
        })
    }
}

/// Who this is: a static program asks no name service, and root has a name everywhere.
fn owner() -> String {
    let uid = nix::unistd::getuid();
    if uid.is_root() { "root".to_owned() } else { uid.to_string() }
}
