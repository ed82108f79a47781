//! What the runtime can do: one file a verb, each a story.

pub mod create;
pub mod delete;
pub mod features;
pub mod kill;
pub mod list;
pub mod run;
pub mod spec;
pub mod start;
pub mod state;
pub mod update;

use std::path::Path;

use crate::container::cgroup::{Cgroup, Tree};
use crate::container::id::ContainerId;
use crate::container::process::Alive;
use crate::container::status::{Facts, Status};
use crate::container::store::Store;
use crate::error::Result;
use crate::proc::Proc;
use crate::spec::record::Record;

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
        let Some(record) = record else {
            return Ok(Self { status: Status::Creating, alive: None, this_boot: true });
        };
        let proc = Proc::open()?;
        let this_boot = proc.boot_id()? == record.boot_id;
        let alive = match record.process.filter(|_| this_boot) {
            Some(process) => Alive::find(&proc, process)?,
            None => None,
        };
        let facts = Facts { this_boot, recorded: record.process.is_some(), alive: alive.is_some(), gate };
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
