//! `linux.resources` as files of cgroup v2: config-linux.md, "Control groups", and the kernel's
//! cgroup-v2.rst. A module for each kind. What has no file there is refused by name: a limit that is asked for
//! is never silently left out.

mod cpu;
mod hugetlb;
mod io;
pub mod memory;
mod now;
pub mod order;
pub mod owner;
mod pids;
mod place;
mod rdma;
pub mod systemd;
mod unified;

use std::path::PathBuf;

use super::{Authority, Rootless, devices};
use crate::error::{Doing, Result, invalid, unsupported};
use crate::spec::oci::{Linux, LinuxDeviceCgroup, LinuxNetwork, LinuxResources, Spec};
use crate::spec::record::Driver;
pub use now::Now;
pub use place::{Chosen, HOME};

/// The container's cgroup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CgroupPlan {
    /// Who makes it.
    pub maker: Maker,
    /// Relative to the root of the cgroup2 tree; empty if it is not this runtime that makes it.
    pub path: PathBuf,
    /// Done before the container's first process enters it.
    pub writes: Vec<Write>,
    /// Bytes; refused if more is in use: `memory.checkBeforeUpdate`.
    pub checked_limit: Option<u64>,
    /// The device program; each u64 is one instruction.
    pub devices: Option<Vec<u64>>,
    /// Whose choice the path is.
    pub chosen: Chosen,
    /// What is to happen if there is no permission to make it.
    pub if_denied: IfDenied,
    /// Whose it becomes, if it doesn't stay the runtime's.
    pub owner: Option<owner::Owner>,
}

/// Who makes a cgroup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Maker {
    /// This runtime, in the file system.
    Runtime,
    /// systemd: it is a scope's.
    Systemd(systemd::Scope),
    /// Nobody: the container stays where its caller is.
    Nobody,
}

/// What is to happen if there is no permission to make a cgroup: cgroups(7), "Cgroup delegation".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IfDenied {
    /// It is an error.
    Fail,
    /// The container stays in the caller's cgroup: nobody has asked for a place or a limit.
    Stay,
}

impl CgroupPlan {
    /// The first limit that is asked for.
    pub fn first_limit(&self) -> Option<&Write> {
        self.writes.iter().find(|write| !write.may_be_absent())
    }

    /// Decides what happens without permission.
    pub(super) fn may_be_denied(self, authority: Authority, rootless: Rootless) -> Self {
        let may = match rootless {
            Rootless::Auto => authority != Authority::Root,
            Rootless::True => true,
            Rootless::False => false,
        };
        let asked_for = self.chosen == Chosen::ByConfiguration || self.first_limit().is_some();
        let if_denied = if may && !asked_for { IfDenied::Stay } else { IfDenied::Fail };
        Self { if_denied, ..self }
    }

    /// In bytes; `None` if there is to be no limit.
    pub fn memory_max(&self) -> Option<u64> {
        let write = self.writes.iter().rfind(|write| write.file == "memory.max")?;
        write.value.parse().ok()
    }

    /// What of it a cgroup gets that has the container's in it: limits, for what is in there competes with others as a
    /// whole. What is no controller's (`cgroup.max.depth`) is of the container's cgroup itself.
    #[must_use]
    pub fn around(&self) -> Self {
        let writes = self.writes.iter().filter(|write| write.controller.is_some()).cloned().collect();
        Self { writes, devices: None, owner: None, ..self.clone() }
    }

    /// Decides whose it becomes.
    pub(super) fn owned_by(self, owner: Option<owner::Owner>) -> Self {
        Self { owner, ..self }
    }
}

/// One value for one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// The property, for messages.
    pub property: &'static str,
    /// The controller that has the file; `None` for those that every cgroup has.
    pub controller: Option<String>,
    /// Such as `memory.max`.
    pub file: String,
    /// What is written.
    pub value: String,
    /// What it means that the kernel has no such file.
    pub absence: Absence,
}

/// So many processes there are in the cgroup when init is cloned.
const MOST_AT_BIRTH: u32 = 3;

/// What it means that the kernel has no such file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Absence {
    /// What was asked for can't be done.
    Error,
    /// Another file does it alone, or all is as was asked for where there is no controller.
    Fine,
    /// Another file of the same controller does it.
    Instead {
        /// Its name.
        file: &'static str,
        /// What is written to it.
        value: String,
    },
}

impl Write {
    /// Whether it says that there shall be none. A file that `unified` names has to be there all the same:
    /// config-linux.md, "Unified".
    pub fn is_no_limit(&self) -> bool {
        self.value == NO_LIMIT && self.may_be_absent()
    }

    /// Whether what is asked for is there without its controller, too.
    pub fn may_be_absent(&self) -> bool {
        self.absence == Absence::Fine
    }

    /// Whether init has to be in the cgroup before: a limit of processes that has no room for it, its helper and who
    /// holds a scope would have the clone fail, and what is there already may stay (cgroup-v2.rst, "PID").
    pub fn is_late(&self) -> bool {
        self.file == "pids.max" && self.value.parse().is_ok_and(|most: u32| most < MOST_AT_BIRTH)
    }
}

/// What `update` does with a container's cgroup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// In this order.
    pub writes: Vec<Write>,
    /// The program that takes the place of the one there is; `None` leaves that.
    pub devices: Option<devices::Rules>,
}

/// Plans `linux.cgroupsPath` and `linux.resources` for a driver.
pub fn plan(spec: &Spec, linux: &Linux, id: &str, driver: Driver) -> Result<CgroupPlan> {
    let resources = linux.resources().as_ref();
    let writes = resources.map(|r| writes(r, &Now::default())).transpose()?.unwrap_or_default();
    let (maker, path, chosen) = match driver {
        Driver::Cgroupfs => {
            let (path, chosen) = place::path(linux, id)?;
            (Maker::Runtime, path, chosen)
        }
        Driver::Systemd => {
            let scope = systemd::plan(spec, place::scope(linux, id)?, id, &writes)?;
            // Who asks for systemd asks for a cgroup.
            (Maker::Systemd(scope), PathBuf::new(), Chosen::ByConfiguration)
        }
        Driver::Disabled => (Maker::Nobody, PathBuf::new(), Chosen::ByRuntime),
    };
    let plan = CgroupPlan {
        maker,
        path,
        writes,
        checked_limit: resources.and_then(|r| r.memory().as_ref()).and_then(memory::checked_limit),
        devices: devices::program(rules(resources))?.into_program(),
        chosen,
        if_denied: IfDenied::Fail,
        owner: None,
    };
    match plan.first_limit() {
        Some(limit) if driver == Driver::Disabled => Err(invalid(
            "a limit needs a cgroup of the container's own: leave it out, or --cgroup-manager=disabled",
        ))
        .doing(|| format!("linux.resources.{}", limit.property)),
        _ => Ok(plan),
    }
}

/// Plans a change of what a container's cgroup has now: what is not asked for stays as it is.
pub fn update(resources: &LinuxResources, now: &Now) -> Result<Change> {
    if let Some(memory) = resources.memory() {
        memory::check_usage(memory::checked_limit(memory), now.memory_current())?;
    }
    let rules = rules(Some(resources));
    let devices = (!rules.is_empty()).then(|| devices::program(rules)).transpose()?;
    Ok(Change { writes: writes(resources, now)?, devices })
}

fn rules(resources: Option<&LinuxResources>) -> &[LinuxDeviceCgroup] {
    resources.and_then(|resources| resources.devices().as_deref()).unwrap_or_default()
}

fn writes(resources: &LinuxResources, now: &Now) -> Result<Vec<Write>> {
    resources.network().iter().try_for_each(check_network)?;
    let mut writes = Vec::new();
    writes.extend(resources.pids().iter().flat_map(pids::writes));
    if let Some(memory) = resources.memory() {
        writes.extend(memory::writes(memory, now)?);
    }
    if let Some(cpu) = resources.cpu() {
        writes.extend(cpu::writes(cpu, now)?);
    }
    if let Some(io) = resources.block_io() {
        writes.extend(io::writes(io)?);
    }
    if let Some(rdma) = resources.rdma() {
        writes.extend(rdma::writes(rdma)?);
    }
    writes.extend(hugetlb::writes(resources.hugepage_limits().as_deref().unwrap_or_default())?);
    let unified = resources.unified().as_ref().map(unified::writes).transpose()?;
    Ok(order::order(writes, unified.unwrap_or_default(), now))
}

fn check_network(network: &LinuxNetwork) -> Result<()> {
    let asked_for = network.class_id().is_some_and(|id| id != 0)
        || network.priorities().as_ref().is_some_and(|priorities| !priorities.is_empty());
    match asked_for {
        true => Err(unsupported("linux.resources.network: cgroup v2 has no network controllers")),
        false => Ok(()),
    }
}

/// The value of the files that limit something.
const NO_LIMIT: &str = "max";

/// What else the kernel has in files that nobody has written to. Engines ask for the default share by number, on
/// every machine: without the controller there is nothing that could keep a container from having it.
const DEFAULTS: [(&str, &str); 4] =
    [("cpu.idle", "0"), ("cpu.max", "max 100000"), ("cpu.max.burst", "0"), ("cpu.weight", "100")];

fn write(property: &'static str, file: &str, value: impl Into<String>) -> Write {
    let controller = file.split('.').next().filter(|name| *name != "cgroup").map(str::to_owned);
    let value = value.into();
    let is_default = value == NO_LIMIT || DEFAULTS.contains(&(file, value.as_str()));
    let absence = if is_default { Absence::Fine } else { Absence::Error };
    Write { property, controller, file: file.to_owned(), value, absence }
}

fn limit(value: i64) -> String {
    if value < 0 { NO_LIMIT.to_owned() } else { value.to_string() }
}

#[cfg(test)]
mod tests {
    use super::{Now, plan, update};
    use crate::spec::oci::Spec;
    use crate::spec::record::Driver;

    /// The files and values of `linux.resources`.
    pub(super) fn writes(json: &str) -> Result<Vec<(String, String)>, String> {
        let linux = serde_json::from_str(&format!(r#"{{"resources":{json}}}"#)).unwrap();
        let plan = plan(&Spec::default(), &linux, "c", Driver::Cgroupfs).map_err(|e| format!("{e:#}"))?;
        Ok(plan.writes.into_iter().map(|w| (w.file, w.value)).collect())
    }

    /// The same for an update of a cgroup that has something now: `file=text`, separated by commas.
    pub(super) fn changes(json: &str, now: &str) -> Result<Vec<(String, String)>, String> {
        let resources = serde_json::from_str(json).unwrap();
        let change = update(&resources, &Now::of(now)).map_err(|e| format!("{e:#}"))?;
        Ok(change.writes.into_iter().map(|w| (w.file, w.value)).collect())
    }

    #[test]
    fn the_network_controllers_of_v1_are_refused() {
        for asked in [r#"{"classID":1}"#, r#"{"priorities":[{"name":"lo","priority":1}]}"#] {
            let error = writes(&format!(r#"{{"network":{asked}}}"#)).unwrap_err();
            assert_eq!(error, "linux.resources.network: cgroup v2 has no network controllers");
        }
        assert_eq!(writes(r#"{"network":{"classID":0,"priorities":[]}}"#).unwrap(), []);
    }

    #[test]
    fn without_a_cgroup_there_are_no_limits() {
        let planned = |json: &str| {
            let linux =
                serde_json::from_str(&format!(r#"{{"cgroupsPath":"a:b:c","resources":{json}}}"#)).unwrap();
            plan(&Spec::default(), &linux, "c", Driver::Disabled).map_err(|e| format!("{e:#}"))
        };
        assert!(planned(r#"{"pids":{"limit":-1}}"#).is_ok());
        assert!(planned(r#"{"cpu":{"shares":1024,"period":100000,"idle":0}}"#).is_ok());
        let error = planned(r#"{"pids":{"limit":5}}"#).unwrap_err();
        assert!(error.starts_with("linux.resources.pids.limit: a limit needs a cgroup"), "{error}");
    }
}
