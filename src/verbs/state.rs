//! `state ID`: runtime.md, "Query State".

use super::{Current, Runtime, look_recorded};
use crate::container::cgroup::{Tree, Victim};
use crate::container::id::ContainerId;
use crate::container::status::Status;
use crate::error::Result;
use crate::spec::record::{Oom, Record, StateDocument};

/// The container's state as it is now.
pub fn state(runtime: &Runtime, id: &ContainerId) -> Result<StateDocument> {
    let (record, current) = look_recorded(runtime, id)?;
    let oom = oom(&record, &current).or_else(|| oom_by_log(&record, &current));
    Ok(record.document(current.status.word(), current.pid(), oom))
}

/// The same for a list of many: the kernel's log is not read for each that has stopped.
pub(super) fn brief(runtime: &Runtime, id: &ContainerId) -> Result<StateDocument> {
    let (record, current) = look_recorded(runtime, id)?;
    let oom = oom(&record, &current);
    Ok(record.document(current.status.word(), current.pid(), oom))
}

/// Only of what is known to have died of it: a container may go on when some of its processes are killed, and end of
/// something else. That it can't be found out is no error of `state`.
fn oom(record: &Record, current: &Current) -> Option<Oom> {
    let init = record.process.filter(|_| current.status == Status::Stopped)?;
    let cgroup = current.cgroup(record).ok()??;
    let (found, victim) = cgroup.out_of_memory(Some(init)).ok()??;
    (victim == Victim::Init).then(|| found.document())
}

/// Of one whose scope has gone with its last process.
fn oom_by_log(record: &Record, current: &Current) -> Option<Oom> {
    let init = record.process.filter(|_| current.status == Status::Stopped && current.this_boot)?;
    record.cgroup.unit.as_ref().filter(|_| record.cgroup.is_ours())?;
    let tree = Tree::find().ok()?;
    let is_gone = tree.open(&record.cgroup).ok()?.is_none();
    let found = is_gone.then(|| tree.told_by_log(&record.cgroup, init))?;
    found.map(|found| found.document())
}
