//! `pause ID`, `resume ID`: runc's, not the specification's. The container's cgroup is frozen, cgroup-v2.rst.

use super::{Current, Runtime};
use crate::container::cgroup::Cgroup;
use crate::container::destruction::DEADLINE;
use crate::container::id::ContainerId;
use crate::container::status::Verb;
use crate::container::store::Entry;
use crate::error::{Doing, Kind, Result, failure, unsupported};
use crate::launch::foreground::Signals;
use crate::spec::record::Record;

/// Has all processes of the container stand still where they are. On failure they go on.
pub fn pause(runtime: &Runtime, id: &ContainerId) -> Result<()> {
    // The words of runc, also for one that is paused.
    let (_entry, cgroup) = locked(runtime, id, Verb::Pause, "container not running")?;
    // Who asks this command to end has the container go on.
    let signals = Signals::that_ask_to_end()?;
    let frozen =
        cgroup.freeze(DEADLINE, Some(signals.fd())).doing(|| format!("cannot pause container {id}"))?;
    frozen.keep();
    Ok(())
}

/// Has them go on.
pub fn resume(runtime: &Runtime, id: &ContainerId) -> Result<()> {
    let (_entry, cgroup) = locked(runtime, id, Verb::Resume, "container not paused")?;
    cgroup.thaw(DEADLINE).doing(|| format!("cannot resume container {id}"))
}

/// The container's cgroup, for as long as no other verb works on it; `otherwise` is said of a status that does not admit
/// this one.
fn locked(runtime: &Runtime, id: &ContainerId, verb: Verb, otherwise: &str) -> Result<(Entry, Cgroup)> {
    let refused = || failure(Kind::InvalidState, format!("container {id}: {otherwise}"));
    let entry = runtime.lock(id)?;
    let record = entry.record()?.ok_or_else(refused)?;
    let current = Current::of(Some(&record), entry.has_gate()?)?;
    if !current.status.admits(verb) {
        return Err(refused());
    }
    let cgroup = own_cgroup(id, &record, &current)?;
    Ok((entry, cgroup))
}

fn own_cgroup(id: &ContainerId, record: &Record, current: &Current) -> Result<Cgroup> {
    let shared = || {
        let path = &record.cgroup.path;
        let remedy = "make it where cgroups are delegated (systemd-run --user --scope -p Delegate=yes)";
        unsupported(format!(
            "it has no cgroup of its own: it is in its caller's, {path:?}, with others; {remedy}"
        ))
    };
    current.cgroup(record)?.ok_or_else(shared).doing(|| format!("cannot pause or resume container {id}"))
}
