//! `delete ID`: runtime.md, "Delete"; lifecycle steps 12 and 13.

use std::time::{Duration, Instant};

use super::{Current, Runtime, look};
use crate::container::destruction::{self, DEADLINE};
use crate::container::id::ContainerId;
use crate::container::status::Verb;
use crate::container::store::{Entry, not_found};
use crate::container::worker;
use crate::error::{Doing, Kind, Result, best_effort, failure, kind_of};
use crate::proc::Proc;

/// What may be deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Force {
    /// What has stopped or was not started.
    No,
    /// Anything; what is not there is no error: `--force`.
    Yes,
}

/// Removes the container with all that `create` made.
pub fn delete(runtime: &Runtime, id: &ContainerId, force: Force) -> Result<()> {
    let entry = match lock(runtime, id, force) {
        Err(error) if force == Force::Yes && kind_of(&error) == Kind::NotFound => return Ok(()),
        entry => entry?,
    };
    let read = entry.record().doing(|| {
        format!(
            "cannot delete container {id}: what there is of it is not known any more; end its processes, remove its \
             cgroup, and then its directory {:?}",
            entry.path()
        )
    });
    let Some(record) = read? else {
        // `create` was killed before it wrote its first record, which precedes all else; or has not locked yet what
        // it has just made, and will make it again. There is no container in either case.
        entry.remove(&runtime.store)?;
        return if force == Force::Yes { Ok(()) } else { Err(not_found(id)) };
    };
    let current = Current::of(Some(&record), entry.has_gate()?)?;
    // Whoever holds the lock of a container that is being created is not at work on it any more.
    let abandoned = record.process.is_none();
    if force == Force::No && !abandoned && !current.status.admits(Verb::Delete) {
        let text = format!("cannot delete container {id} that is not stopped: {}", current.status);
        return Err(failure(Kind::InvalidState, text));
    }
    destruction::destroy(&runtime.store, entry, &record)
}

/// Ends the CRIU of a command that is gone, and what it has made.
fn end_worker(runtime: &Runtime, id: &ContainerId, until: Instant) -> Result<()> {
    let (Some(record), current) = look(runtime, id)? else { return Ok(()) };
    let worker = record.worker.filter(|_| current.this_boot);
    worker::end(&Proc::open()?, worker, &runtime.store.view(id)?, until)
}

/// With force, a `create` that is still at work gets a second, and is then ended by the death of its init; hooks
/// that another command waits for are ended, too.
fn lock(runtime: &Runtime, id: &ContainerId, force: Force) -> Result<Entry> {
    const PATIENCE: Duration = Duration::from_secs(1);
    if force == Force::No {
        return runtime.lock(id);
    }
    if let Some(entry) = runtime.store.lock_within(id, PATIENCE)? {
        return Ok(entry);
    }
    if let (Some(record), current) = look(runtime, id)? {
        if let Some(cgroup) = current.cgroup(&record)? {
            best_effort("kill the container", cgroup.kill());
        }
    }
    // Nor are hooks waited for any longer, which may hang.
    match runtime.store.hurry(id) {
        Err(error) if kind_of(&error) == Kind::NotFound => return Err(error),
        asked => best_effort("ask the other command to hurry", asked),
    }
    let began = Instant::now();
    if let Some(entry) = runtime.store.lock_within(id, DEADLINE / 2)? {
        return Ok(entry);
    }
    while began.elapsed() < DEADLINE {
        // What it makes may go on to make others.
        best_effort("end criu", end_worker(runtime, id, began + DEADLINE));
        if let Some(entry) = runtime.store.lock_within(id, PATIENCE)? {
            return Ok(entry);
        }
    }
    let spent = (began.elapsed() + PATIENCE).as_secs();
    let text = format!("container {id}: another command is at work on it, still after {spent} s");
    Err(failure(Kind::InvalidState, text))
}
