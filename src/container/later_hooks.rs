//! Hooks that run after `create`, on the host's side, by what is recorded of them: runtime.md, "Lifecycle", steps 9
//! and 13.

use super::hooks::{Occasion, Output, Stop, run, run_all};
use super::store::Entry;
use crate::error::Result;
use crate::spec::oci::{ContainerState, Hook};
use crate::spec::record::Record;

/// poststart: the program of this pid runs, and who started it has not answered yet. Stops at the first that fails.
pub fn poststart(entry: &Entry, record: &Record, pid: i32) -> Result<()> {
    let hooks = &record.hooks.poststart;
    let state = (ContainerState::Running, Some(pid));
    supervised(entry, record, (hooks, "poststart"), state, |on| run(on, hooks))
}

/// poststop: nothing of the container is left but its directory. One that fails does not stop the others.
pub fn poststop(entry: &Entry, record: &Record) -> Result<()> {
    let hooks = &record.hooks.poststop;
    let state = (ContainerState::Stopped, None);
    supervised(entry, record, (hooks, "poststop"), state, |on| {
        run_all(on, hooks);
        Ok(())
    })
}

/// Has them run, until somebody deletes the container by force.
fn supervised(
    entry: &Entry,
    record: &Record,
    (hooks, kind): (&[Hook], &str),
    (status, pid): (ContainerState, Option<i32>),
    run: impl FnOnce(Occasion<'_>) -> Result<()>,
) -> Result<()> {
    if hooks.is_empty() {
        return Ok(());
    }
    let later = &record.hooks;
    let output = Output::open_if_possible(later.stdout.as_deref(), later.stderr.as_deref());
    let state = record.hook_state(status, pid);
    let urged = entry.urged();
    let stop = Stop::if_deleted(urged.as_ref());
    run(Occasion { kind, state: &state, cwd: &record.bundle, output: &output, stops: stop.as_slice() })
}
