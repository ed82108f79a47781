//! What the runtime can do: one file a verb, each a story.

pub mod checkpoint;
pub mod create;
pub mod delete;
pub mod events;
pub mod exec;
pub mod features;
pub mod kill;
pub mod list;
pub mod pause;
pub mod ps;
pub mod restore;
pub mod run;
pub mod spec;
pub mod start;
pub mod state;
pub mod update;

use std::path::Path;

use crate::container::cgroup::{Cgroup, Tree};
use crate::container::destruction::DEADLINE;
use crate::container::id::ContainerId;
use crate::container::process::Alive;
use crate::container::status::{Facts, Status};
use crate::container::store::{Entry, Store};
use crate::error::{Kind, Result, failure};
use crate::proc::Proc;
use crate::spec::record::{CgroupRecord, Record};
use crate::sys::exe;

/// Where this runtime keeps its containers.
#[derive(Debug)]
pub struct Runtime {
    /// `--root`
    pub store: Store,
}

impl Runtime {
    /// The runtime of a state root.
    pub fn open(root: &Path) -> Result<Self> {
        Ok(Self { store: Store::open(root)? })
    }

    /// A container, once no other verb is at work on it; an error if that takes too long.
    fn lock(&self, id: &ContainerId) -> Result<Entry> {
        self.store.lock_within(id, DEADLINE)?.ok_or_else(|| {
            let text = format!(
                "container {id}: another command is at work on it, still after {} s",
                DEADLINE.as_secs()
            );
            failure(Kind::InvalidState, text)
        })
    }
}

/// Where the kernel lets no process leave the program's file, all of this runs from a copy of it: it begins anew then, so
/// this comes before all else.
pub fn be_able_to_leave() -> Result<()> {
    if !exe::can_detach() && !exe::is_sealed() {
        let never = exe::restart_sealed()?;
        match never {}
    }
    Ok(())
}

/// A container as it is now.
#[derive(Debug)]
struct Current {
    status: Status,
    alive: Option<Alive>,
    this_boot: bool,
}

impl Current {
    /// From the record and what the kernel says.
    fn of(record: Option<&Record>, gate: bool) -> Result<Self> {
        Self::of_told(record, gate, |cgroup| Tree::find()?.is_told_to_freeze(cgroup))
    }

    /// The same, by who knows whether its cgroup has been told to freeze.
    fn of_told(
        record: Option<&Record>,
        gate: bool,
        is_told_to_freeze: impl FnOnce(&CgroupRecord) -> Result<bool>,
    ) -> Result<Self> {
        let Some(record) = record else {
            return Ok(Self { status: Status::Creating, alive: None, this_boot: true });
        };
        let proc = Proc::open()?;
        let this_boot = proc.boot_id()? == record.boot_id;
        let alive = match record.process.filter(|_| this_boot) {
            // One that is about to end does nothing any more, however long that takes.
            Some(process) => Alive::find(&proc, process)?.filter(Alive::was_going_on),
            None => None,
        };
        // What has no process is stopped, whatever its cgroup says; and in its caller's it can't be paused.
        let frozen = alive.is_some() && record.cgroup.is_ours() && is_told_to_freeze(&record.cgroup)?;
        let recorded = record.process.is_some();
        let facts = Facts { this_boot, recorded, alive: alive.is_some(), gate, frozen };
        Ok(Self { status: Status::of(facts), alive, this_boot })
    }

    /// Its cgroup, if that is there and what is in it is the container's: it may be of another boot, or have been
    /// there before `create`.
    fn cgroup(&self, record: &Record) -> Result<Option<Cgroup>> {
        match self.this_boot && record.cgroup.is_ours() {
            true => Tree::find()?.open(&record.cgroup),
            false => Ok(None),
        }
    }

    fn pid(&self) -> i32 {
        self.alive.as_ref().map_or(0, |alive| alive.pid.as_raw())
    }
}

/// A container's record and how it is, without waiting for other verbs.
fn look(runtime: &Runtime, id: &ContainerId) -> Result<(Option<Record>, Current)> {
    let (record, gate) = runtime.store.peek(id)?;
    let current = Current::of(record.as_ref(), gate)?;
    Ok((record, current))
}

/// The same of one that `create` has recorded; an error if it has not come so far.
fn look_recorded(runtime: &Runtime, id: &ContainerId) -> Result<(Record, Current)> {
    match look(runtime, id)? {
        (Some(record), current) => Ok((record, current)),
        (None, current) => {
            let text = format!("container {id} is {}: nothing is recorded of it yet", current.status);
            Err(failure(Kind::InvalidState, text))
        }
    }
}
