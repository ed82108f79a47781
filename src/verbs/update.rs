//! `update ID`: changes the limits of a container; runc's.

use super::{Current, Runtime};
use crate::container::cgroup::{self, Tree};
use crate::container::id::ContainerId;
use crate::container::rdt;
use crate::error::{Doing, Kind, Result, failure, invalid};
use crate::log;
use crate::plan::resources;
use crate::proc::is_machines_root;
use crate::spec::oci::LinuxResources;
use crate::spec::record::Record;

/// What is to be changed; all else stays as it is.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// Limits of its cgroup.
    pub resources: LinuxResources,
    /// Lines for `schemata` of its class of service.
    pub schemata: Vec<String>,
}

/// Changes all that is asked for, or nothing. What can be found wrong is found before anything is written; where the
/// kernel refuses a value all the same, those before it are put back.
pub fn update(runtime: &Runtime, id: &ContainerId, asked: &Asked) -> Result<()> {
    let entry = runtime.lock(id)?;
    let record = entry.record()?;
    let current = Current::of(record.as_ref(), entry.has_gate()?)?;
    // runc's words.
    let not_running = || failure(Kind::InvalidState, format!("container {id}: container not running"));
    let record = record.filter(|_| current.alive.is_some()).ok_or_else(not_running)?;
    let tree = Tree::find()?;
    if !record.cgroup.is_ours() {
        return Err(cgroup::has_none());
    }
    let cgroup = tree.open(&record.cgroup)?.ok_or_else(not_running)?;
    let change = resources::update(&asked.resources, &cgroup.now())?;
    let changed = cgroup.change(&tree, &change.writes)?;
    change_class(&record, &asked.schemata)?;
    // Last, as they can't be put back; what a class gets is never asked for together with them.
    match &change.devices {
        Some(_) if !is_machines_root() => log::warn(format_args!(
            "linux.resources.devices: only root can load the rules, they are left out"
        )),
        Some(rules) => cgroup.change_devices(rules)?,
        None => {}
    }
    changed.keep();
    Ok(())
}

fn change_class(record: &Record, schemata: &[String]) -> Result<()> {
    if schemata.is_empty() {
        return Ok(());
    }
    let of = record.rdt.as_ref().ok_or_else(|| invalid("the container has been created without it"));
    of.and_then(|of| rdt::Tree::find()?.change(of, schemata)).doing(|| "linux.intelRdt")
}
