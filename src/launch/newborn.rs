//! Runs in: host. A process that is born among others, who may do with it what their capabilities allow before it is its
//! program: trace it, stop it, kill it, and have a copy of its end of the link.

use std::os::fd::{AsFd, OwnedFd};

use nix::unistd::Pid;

use super::birth::Unadopted;
use crate::error::{Doing, Kind, Result, failure};
use crate::proc::Proc;
use crate::sys::process;

/// Who has been cloned, by what the kernel knows of its pidfd: nobody else can have one of another child of this process.
pub(super) fn child(pidfd: OwnedFd, proc: &Proc) -> Result<(Pid, Unadopted)> {
    process::is_child(pidfd.as_fd()).doing(|| "the process that has been cloned")?;
    Ok((proc.pid_of(pidfd.as_fd())?, Unadopted::new(pidfd)))
}

/// How long it is waited for while others stop it.
#[derive(Debug, Default)]
pub(super) struct Patience {
    stops: u32,
    has_ended: bool,
}

impl Patience {
    /// Whether who has said nothing for a while may still say something: it has neither ended nor become its program,
    /// whoever has its end of the link. If it has been stopped, it is let go, some times.
    pub(super) fn with(&mut self, who: &Unadopted, proc: &Proc) -> Result<bool> {
        /// One is noticed in a second.
        const MOST_STOPS: u32 = 10;
        if who.ended()?.is_some() {
            // Its last words are heard first.
            return Ok(!std::mem::replace(&mut self.has_ended, true));
        }
        let pid = proc.pid_of(who.pidfd()?)?;
        let Some((_, now)) = proc.process(pid)? else { return Ok(false) };
        if now.stopped {
            self.stops += 1;
            if self.stops > MOST_STOPS {
                let text = format!(
                    "process {pid}, which is to be the program, is stopped in the container again and again"
                );
                return Err(failure(Kind::System, text));
            }
            process::pidfd_signal(who.pidfd()?, libc::SIGCONT)?;
        }
        Ok(!now.executed)
    }
}
