//! `run ID`: create, start, wait and delete in one process.

use std::os::fd::AsFd;

use super::Runtime;
use super::create::{Creation, Foreground, make};
use crate::container::cgroup::{Tree, Victim};
use crate::container::id::ContainerId;
use crate::container::{destruction, later_hooks};
use crate::error::{Kind, Result, best_effort, kind_of};
use crate::launch::foreground::{Signals, attend};
use crate::launch::{Launched, Start};
use crate::log;
use crate::spec::record::Record;

/// How `run` goes on once the program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attendance {
    /// Until it ends; then the container is deleted.
    Foreground,
    /// Until it ends; the container is kept: `--keep`.
    ForegroundAndKeep,
    /// Not at all: `--detach`.
    Detached,
}

/// Runs the container and answers its exit code, or 0 if it is detached.
pub fn run(runtime: &Runtime, creation: &Creation, attendance: Attendance) -> Result<u8> {
    if attendance == Attendance::Detached {
        let launched = make(runtime, creation, Start::AtOnce, Foreground::No)?;
        let Launched { entry, pidfd, notify, .. } = started(runtime, launched)?;
        // Others may do something with it while this waits.
        drop(entry);
        if let Some(proxy) = notify {
            best_effort("tell the service manager", proxy.wait(pidfd.as_fd()));
        }
        return Ok(0);
    }
    let signals = Signals::hold()?;
    let launched = make(runtime, creation, Start::AtOnce, Foreground::Yes)?;
    stay(runtime, &creation.id, started(runtime, launched)?, &signals, attendance)
}

/// Attends to a container that runs until it ends, and deletes it then.
pub(super) fn stay(
    runtime: &Runtime,
    id: &ContainerId,
    mut launched: Launched,
    signals: &Signals,
    attendance: Attendance,
) -> Result<u8> {
    let (terminal, notify) = (launched.terminal.take(), launched.notify.take());
    let Launched { entry, record, pid, pidfd, .. } = launched;
    // Others may do something with it while it runs.
    drop(entry);
    let code = attend((pid, pidfd.as_fd()), signals, terminal, notify);
    if code.as_ref().is_ok_and(|code| *code == KILLED) {
        best_effort("find out why it was killed", tell_if_out_of_memory(&record));
    }
    if attendance == Attendance::Foreground {
        match runtime.store.lock(id) {
            // Somebody has deleted it already.
            Err(error) if kind_of(&error) == Kind::NotFound => {}
            entry => {
                let entry = entry?;
                // Or deleted and made anew: then it is not this one.
                if entry.record()?.as_ref() == Some(&record) {
                    destruction::destroy(&runtime.store, entry, &record)?;
                }
            }
        }
    }
    code
}

/// 128 and SIGKILL.
const KILLED: u8 = 137;

/// On standard error, where there is nothing else from a program that was killed. While the container is not deleted
/// its cgroup knows.
fn tell_if_out_of_memory(record: &Record) -> Result<()> {
    let (Some(init), true) = (record.process, record.cgroup.is_ours()) else { return Ok(()) };
    let tree = Tree::find()?;
    let found = match tree.open(&record.cgroup)? {
        Some(cgroup) => cgroup.out_of_memory(Some(init))?,
        None => tree.told_by_log(&record.cgroup, init).map(|found| (found, Victim::Init)),
    };
    match found {
        None | Some((_, Victim::Others)) => {}
        // One that has been killed, in a cgroup in which the kernel has killed: only its log could rule that out.
        Some((found, _)) => log::error(&format!("container {}: {found}", record.id)),
    }
    Ok(())
}

/// The poststart hooks; if one fails, nothing of the container is left.
fn started(runtime: &Runtime, launched: Launched) -> Result<Launched> {
    match later_hooks::poststart(&launched.entry, &launched.record, launched.pid.as_raw()) {
        Ok(()) => Ok(launched),
        Err(error) => {
            let Launched { entry, record, pidfd, .. } = launched;
            best_effort(
                "kill the container",
                crate::sys::process::pidfd_signal(pidfd.as_fd(), libc::SIGKILL),
            );
            best_effort("reap the container", crate::sys::process::reap(pidfd.as_fd()));
            best_effort("destroy the container", destruction::destroy(&runtime.store, entry, &record));
            Err(error)
        }
    }
}
