//! Who is in a scope before init is: systemd makes none without a process in it, and init is to be born in it.

use std::os::fd::{AsFd, OwnedFd};

use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::unistd::{Pid, getpid, getppid, pause};

use crate::error::{Result, best_effort};
use crate::sys::process::{self, Side, clone3, exit_now};

/// A process that does nothing and has nothing. Dropping it ends it.
#[derive(Debug)]
pub(super) struct Placeholder {
    /// In this pid namespace.
    pub(super) pid: Pid,
    pidfd: OwnedFd,
}

impl Placeholder {
    /// Starts it.
    pub(super) fn start() -> Result<Self> {
        let host = getpid();
        match clone3(0, None)? {
            Side::Init => wait_for_the_end(host),
            Side::Host(pid, pidfd) => Ok(Self { pid, pidfd }),
        }
    }
}

/// Runs in: the placeholder. It ends with the process that has started it, however that ends.
fn wait_for_the_end(host: Pid) -> ! {
    let bound = prctl::set_pdeathsig(Signal::SIGKILL).is_ok();
    // Nor does it hold a lock, or a pipe that somebody waits for the end of.
    let alone = process::reset_signals().is_ok() && process::close_all_but(0, &[]).is_ok();
    // That may have ended before.
    if bound && alone && getppid() == host {
        loop {
            pause();
        }
    }
    exit_now(1)
}

impl Drop for Placeholder {
    fn drop(&mut self) {
        best_effort("end the placeholder", process::pidfd_signal(self.pidfd.as_fd(), libc::SIGKILL));
        best_effort("reap the placeholder", process::reap(self.pidfd.as_fd()));
    }
}
