//! Runs in: host. What there is of a container that is being made, and its undoing if it comes to nothing.

use std::os::fd::OwnedFd;

use nix::unistd::Pid;

use super::Launched;
use super::birth::Unadopted;
use super::cgroup::Place;
use super::foreground::Signals;
use super::net_devices::NetDevices;
use crate::container::cgroup::Cgroup;
use crate::container::hooks::{self, Occasion, Output, Stop};
use crate::container::id::ContainerId;
use crate::container::notify::Proxy;
use crate::container::store::{Entry, Store};
use crate::container::{destruction, rdt};
use crate::error::{Doing, Kind, Result, best_effort, failure, kind_of};
use crate::init::Own;
use crate::plan::Plan;
use crate::proc::Proc;
use crate::spec::oci::ContainerState;
use crate::spec::record::{CgroupRecord, ProcessId, Record};

/// What exists of a container that is being made. Dropped before it is kept, it is all removed again.
pub(super) struct Made<'a> {
    entry: Option<Entry>,
    pub(super) record: Record,
    store: &'a Store,
    hook_output: &'a Output,
    /// Hooks that have seen the container are to see its end, too.
    pub(super) hooks_ran: bool,
    devices: Option<NetDevices>,
}

impl<'a> Made<'a> {
    /// From here the id is taken.
    pub(super) fn reserve(
        store: &'a Store,
        id: &ContainerId,
        record: Record,
        hook_output: &'a Output,
    ) -> Result<Self> {
        let entry = Some(store.reserve(id)?);
        Ok(Self { entry, record, store, hook_output, hooks_ran: false, devices: None })
    }

    pub(super) fn entry(&self) -> Result<&Entry> {
        self.entry.as_ref().ok_or_else(|| failure(Kind::System, "the container has been removed"))
    }

    /// The record comes before the first thing that would have to be removed: a `create` that is killed
    /// at any moment leaves what `delete` needs to know.
    pub(super) fn begin(
        &mut self,
        (place, proc): (&Place<'_>, &Proc),
        rdt: Option<&rdt::Tree>,
        plan: &Plan,
    ) -> Result<Option<Cgroup>> {
        self.entry()?.save(&self.record)?;
        let cgroup = match place.make(&self.record.cgroup, proc) {
            Ok(cgroup) => cgroup,
            Err(error) => {
                // What there is at that place is not this container's.
                self.record.cgroup = CgroupRecord::unmade(self.record.cgroup.path.clone());
                return Err(error);
            }
        };
        self.record.cgroup = match &cgroup {
            Some(cgroup) => cgroup.record().clone(),
            None => CgroupRecord::unmade(place.callers()),
        };
        if self.record.cgroup.taken {
            if let Err(error) = self.nobody_else_has_the_cgroup() {
                self.record.cgroup.taken = false;
                return Err(error);
            }
            // Else a `delete` that finds this `create` at work could not end it.
            self.entry()?.save(&self.record)?;
        }
        if self.record.cgroup.unit.is_some() {
            // Where it is was not known before.
            self.entry()?.save(&self.record)?;
        }
        if let (Some(tree), Some(plan), Some(record)) = (rdt, &plan.intel_rdt, &mut self.record.rdt) {
            tree.make(plan, record).doing(|| "linux.intelRdt")?;
        }
        if plan.notify {
            self.entry()?.make_notify_dir()?;
        }
        Ok(cgroup)
    }

    /// What there is of it on the host that a mount may show.
    pub(super) fn own(&self, place: &Place<'_>) -> Result<Own> {
        Ok(Own { cgroup: place.shown(&self.record.cgroup), notify: self.entry()?.notify_path() })
    }

    /// config-linux.md, "Cgroups": one that is empty may be another container's all the same, which has ended or is
    /// just being made; its `delete` would end this one.
    fn nobody_else_has_the_cgroup(&self) -> Result<()> {
        for id in self.store.ids()? {
            let other = match self.store.peek(&id) {
                // Deleted meanwhile.
                Err(error) if kind_of(&error) == Kind::NotFound => continue,
                other => other?.0,
            };
            let same = |other: &Record| {
                other.id != self.record.id
                    && other.boot_id == self.record.boot_id
                    && other.cgroup.path == self.record.cgroup.path
            };
            if other.as_ref().is_some_and(same) {
                let path = &self.record.cgroup.path;
                let text = format!("linux.cgroupsPath: cgroup {path:?} is container {id}'s");
                return Err(failure(Kind::Invalid, text));
            }
        }
        Ok(())
    }

    /// What was the host's and is the container's, if there will be one.
    pub(super) fn give_devices(&mut self, plan: &Plan, init: Pid) -> Result<()> {
        self.devices = Some(NetDevices::give(&plan.net_devices, init)?);
        Ok(())
    }

    /// prestart and createRuntime: in this process's namespaces, with the pid as it is here.
    pub(super) fn run_hooks(&mut self, plan: &Plan, pid: Pid, init: &Unadopted) -> Result<()> {
        self.hooks_ran = true;
        let state = self.record.hook_state(ContainerState::Creating, Some(pid.as_raw()));
        // A hook without a timeout may hang; who asks this process to end, or deletes the container, does not.
        let signals = Signals::that_ask_to_end()?;
        let urged = self.entry()?.urged();
        let stops = [
            Stop::if_deleted(urged.as_ref()),
            Some(Stop { fd: signals.fd(), why: "for a signal asks this command to end" }),
            Some(Stop { fd: init.pidfd()?, why: "for init has ended" }),
        ];
        let stops: Vec<Stop<'_>> = stops.into_iter().flatten().collect();
        let (cwd, output) = (&self.record.bundle, self.hook_output);
        let on = |kind| Occasion { kind, state: &state, cwd, output, stops: &stops };
        let ran = hooks::run(on("prestart"), &plan.hooks.prestart)
            .and_then(|()| hooks::run(on("createRuntime"), &plan.hooks.create_runtime));
        let asked = signals.take();
        ran.and(asked)
    }

    /// Who is at work on it, and has a part in the lock: `delete --force` ends it.
    pub(super) fn is_made_by(&mut self, worker: Pid, proc: &Proc) -> Result<()> {
        self.record.worker = ProcessId::of(proc, worker)?;
        self.entry()?.save(&self.record)
    }

    /// Its process is there: with what `exec` will need, that is all of its record.
    pub(super) fn complete(&mut self, for_exec: &[u8], proc: &Proc, pid: Pid) -> Result<()> {
        self.entry()?.keep_for_exec(for_exec)?;
        let init = proc.process(pid)?.filter(|(_, now)| !now.ended);
        let start = init.ok_or_else(|| failure(Kind::System, "init has ended"))?.1.start;
        self.record.process = Some(ProcessId { pid: pid.as_raw(), start });
        self.entry()?.save(&self.record)
    }

    /// A class of service that was named stays, now that there is a container in it.
    fn keep_class(&mut self) -> Result<()> {
        match self.record.rdt.as_mut().and_then(|rdt| rdt.named.take()) {
            Some(_) => self.entry()?.save(&self.record),
            None => Ok(()),
        }
    }

    pub(super) fn keep(
        mut self,
        (pid, born): (Pid, Unadopted),
        terminal: Option<OwnedFd>,
        notify: Option<Proxy>,
    ) -> Result<Launched> {
        self.keep_class()?;
        match (self.entry.take(), born.adopt()) {
            (Some(entry), Some(pidfd)) => {
                if let Some(devices) = self.devices.take() {
                    devices.keep();
                }
                Ok(Launched { pid, pidfd, terminal, notify, entry, record: self.record.clone() })
            }
            _ => Err(failure(Kind::System, "the container has been removed")),
        }
    }
}

impl Drop for Made<'_> {
    fn drop(&mut self) {
        // Before the namespace that they are in goes.
        drop(self.devices.take());
        let Some(entry) = self.entry.take() else { return };
        let mut record = self.record.clone();
        if !self.hooks_ran {
            record.hooks.poststop.clear();
        }
        best_effort("remove the unfinished container", destruction::destroy(self.store, entry, &record));
    }
}
