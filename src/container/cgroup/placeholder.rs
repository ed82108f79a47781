//! Who is in a scope before init is: systemd makes none without a process in it, and init is to be born in it.

use std::os::fd::{AsFd, OwnedFd};

use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::unistd::{Pid, getpid, getppid, pause};

use crate::container::handshake::{Done, Link};
use crate::error::{Result, best_effort, errno_of};
use crate::proc::Proc;
use crate::sys::Errno;
use crate::sys::process::{self, Side, clone3, exit_now};

/// proc_pid_oom_score_adj(5).
const NEVER: &[u8] = b"-1000";

/// A process that does nothing and has nothing. Dropping it ends it.
#[derive(Debug)]
pub(super) struct Placeholder {
    /// In this pid namespace.
    pub(super) pid: Pid,
    pidfd: OwnedFd,
}

impl Placeholder {
    /// Starts it. It does no more when this returns: what it would take in its cgroup may be more than the limit there.
    pub(super) fn start(proc: &Proc) -> Result<Self> {
        let (host, (link, its_link)) = (getpid(), Link::pair()?);
        match clone3(0, None)? {
            Side::Init => wait_for_the_end(host, proc),
            Side::Host(pid, pidfd) => {
                drop(its_link);
                let placeholder = Self { pid, pidfd };
                link.receive::<Done>()?;
                Ok(placeholder)
            }
        }
    }
}

/// Runs in: the placeholder. It ends with the process that has started it, however that ends.
fn wait_for_the_end(host: Pid, proc: &Proc) -> ! {
    // Should memory run out in its cgroup all the same, it is init who is killed, and the scope stays and can be asked.
    match proc.write("self/oom_score_adj", NEVER) {
        // An ordinary user does without.
        Err(error) if errno_of(&error) == Some(Errno::EACCES) => {}
        written => best_effort("keep the placeholder", written),
    }
    let bound = prctl::set_pdeathsig(Signal::SIGKILL).is_ok();
    // Nor does it hold a lock, or a pipe that somebody waits for the end of: which its link is.
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
