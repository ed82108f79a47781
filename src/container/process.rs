//! A container's process, found again by a later verb: never a stranger that has its pid by now.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::Pid;

use crate::error::{Kind, Result, failure};
use crate::proc::{Proc, ProcessStat};
use crate::spec::record::ProcessId;
use crate::sys::{Call, Errno, process, retry_eintr};

/// A process that is there, held by its pidfd: it stays the same one.
#[derive(Debug)]
pub struct Alive {
    /// In this pid namespace.
    pub pid: Pid,
    pidfd: OwnedFd,
    stat: ProcessStat,
}

/// What is said of an init that was killed after all that it could say something about.
pub fn never_executed() -> anyhow::Error {
    let text =
        "init has ended before it became the program: it was killed, by a filter of linux.seccomp maybe";
    failure(Kind::System, text)
}

impl Alive {
    /// The process of a record; `None` if it has ended. The pidfd is opened first and the start time
    /// compared then: so the two belong to the same process.
    pub fn find(proc: &Proc, id: ProcessId) -> Result<Option<Self>> {
        let pid = Pid::from_raw(id.pid);
        let pidfd = match process::pidfd_open(pid) {
            Err(error) if error.errno == Errno::ESRCH => return Ok(None),
            opened => opened?,
        };
        let Some((stat, now)) = proc.process(pid)? else { return Ok(None) };
        let same = now.start == id.start && !now.ended;
        Ok(same.then_some(Self { pid, pidfd, stat }))
    }

    /// Whether it has made an execve since it was cloned; `None` if it has ended and been reaped.
    pub fn has_executed(&self) -> Result<Option<bool>> {
        Ok(self.stat.read()?.map(|now| now.executed))
    }

    /// Whether it has ended or is about to: nobody can join its namespaces any more.
    pub fn is_ending(&self) -> Result<bool> {
        Ok(self.stat.read()?.is_none_or(|now| now.ended || now.ending))
    }

    /// The same process, for as long as this lives.
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// Sends a signal by number. That the process has just ended is told apart: ESRCH.
    pub fn signal(&self, number: i32) -> Result<()> {
        process::pidfd_signal(self.pidfd.as_fd(), number).map_err(Into::into)
    }

    /// Waits until it has ended; false if it has not within `limit`.
    pub fn wait(&self, limit: Duration) -> Result<bool> {
        let timeout = PollTimeout::try_from(limit).unwrap_or(PollTimeout::MAX);
        let mut fds = [PollFd::new(self.pidfd.as_fd(), PollFlags::POLLIN)];
        Ok(retry_eintr(|| poll(&mut fds, timeout)).call(|| "poll(pidfd)")? > 0)
    }
}
