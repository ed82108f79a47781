//! `run ID`: create, start, wait and delete in one process.

use std::os::fd::AsFd;

use super::Runtime;
use super::create::{Creation, Foreground, make};
use crate::container::{destruction, later_hooks};
use crate::error::{Kind, Result, best_effort, kind_of};
use crate::launch::foreground::{Signals, attend};
use crate::launch::{Launched, Start};

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
    let mut launched = started(runtime, launched)?;
    let (terminal, notify, id) = (launched.terminal.take(), launched.notify.take(), creation.id.clone());
    let Launched { entry, record, pid, pidfd, .. } = launched;
    // Others may do something with it while it runs.
    drop(entry);
    let code = attend((pid, pidfd.as_fd()), &signals, terminal, notify);
    if attendance == Attendance::Foreground {
        match runtime.store.lock(&id) {
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
