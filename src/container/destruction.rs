//! The end of a container: runtime.md, "Delete", and lifecycle step 12 wherever it is reached from.

use std::time::{Duration, Instant};

use nix::mount::{MntFlags, umount2};

use super::cgroup::{Cgroup, Tree, survivors, systemd};
use super::later_hooks;
use super::process::Alive;
use super::rdt;
use super::store::{Entry, Store};
use crate::error::{Doing, Result, best_effort, errno_of};
use crate::proc::Proc;
use crate::spec::record::Record;
use crate::sys::{Call, Errno};

/// How long a killed process may take to end.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// Kills what is left of the container, removes everything that `create` made, runs the poststop hooks
/// and forgets it. Until all is gone the state directory stays, so that it can be tried again.
pub fn destroy(store: &Store, entry: Entry, record: &Record) -> Result<()> {
    let proc = Proc::open()?;
    let this_boot = proc.boot_id()? == record.boot_id;
    let alive = match record.process.filter(|_| this_boot) {
        Some(process) => Alive::find(&proc, process)?,
        None => None,
    };
    // Of another boot there is no process left, and what is at its cgroup's place now is somebody else's.
    if this_boot {
        kill(&proc, alive.as_ref(), record)?;
        if let Some(unit) = &record.cgroup.unit {
            // There is nobody in it any more, unless it is the next one of its name.
            let stopped = Tree::find().and_then(|tree| systemd::stop_if_empty(&tree, unit));
            best_effort("stop the unit", stopped);
        }
    }
    if let Some(rdt) = record.rdt.as_ref().filter(|_| this_boot) {
        rdt::remove(rdt)?;
    }
    if let Some(rootfs) = record.shared_mounts.as_ref().filter(|_| this_boot) {
        match umount2(rootfs, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW) {
            // Already taken away, or never come so far.
            Err(Errno::EINVAL | Errno::ENOENT) => {}
            done => done.call(|| format!("umount2({rootfs:?}, MNT_DETACH)"))?,
        }
    }
    later_hooks::poststop(&entry, record)?;
    entry.remove(store)
}

fn kill(proc: &Proc, alive: Option<&Alive>, record: &Record) -> Result<()> {
    let end = Instant::now() + DEADLINE;
    // One in which it only has stayed is somebody else's.
    let tree = if record.cgroup.is_ours() { Some(Tree::find()?) } else { None };
    let cgroup = tree.as_ref().map(|tree| tree.open(&record.cgroup)).transpose()?.flatten();
    if let Some(alive) = alive {
        best_effort("kill the container's process", alive.signal(libc::SIGKILL));
    }
    if let (Some(tree), Some(cgroup)) = (&tree, &cgroup) {
        clear(tree, cgroup, end).doing(|| format!("container {}", record.id))?;
    }
    match alive {
        Some(alive) if !alive.wait_until_over(proc, end.saturating_duration_since(Instant::now()))? => {
            Err(survivors(&[alive.pid])).doing(|| format!("container {}", record.id))
        }
        _ => Ok(()),
    }
}

/// Kills what is in the cgroup and removes it, again and again until it is gone: somebody may move processes into it
/// meanwhile, or make cgroups in it.
fn clear(tree: &Tree, cgroup: &Cgroup, end: Instant) -> Result<()> {
    const ONCE: Duration = Duration::from_millis(200);
    const PAUSE: Duration = Duration::from_millis(2);
    loop {
        let now = Instant::now();
        // Not if nobody is in it: the kernel counts how often a cgroup has been killed, and kills whom CLONE_INTO_CGROUP brings
        // from one with another count. One that stays would take containers only by a detour.
        if !cgroup.wait_empty(now)? {
            cgroup.kill()?;
        }
        // Linux 6.19 counts those that are about to end, as the first process of a pid namespace is for as long as somebody
        // has not been reaped in that; but it does not list them, and lets them have no cgroup any more.
        if cgroup.wait_empty(end.min(now + ONCE))? || cgroup.processes()?.is_empty() {
            match cgroup.remove(tree) {
                Err(error) if is_busy(&error) && now < end => std::thread::sleep(PAUSE),
                Err(error) if is_busy(&error) => {
                    return Err(error).doing(|| "somebody puts processes or cgroups into it all the time");
                }
                done => return done,
            }
        } else if now >= end {
            return Err(survivors(&cgroup.processes()?));
        }
    }
}

fn is_busy(error: &anyhow::Error) -> bool {
    matches!(errno_of(error), Some(Errno::EBUSY | Errno::ENOTEMPTY))
}
