//! A container's process, found again by a later verb: never a stranger that has its pid by now.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::unistd::Pid;

use crate::error::{Kind, Result, failure};
use crate::proc::{Proc, ProcessStat};
use crate::spec::record::ProcessId;
use crate::sys::{Errno, process};

/// A process that is there, held by its pidfd: it stays the same one.
#[derive(Debug)]
pub struct Alive {
    /// In this pid namespace.
    pub pid: Pid,
    pidfd: OwnedFd,
    stat: ProcessStat,
    is_ending: bool,
}

/// clone(2) and execve(2), EAGAIN. What `exec` starts is there twice for a moment: who joins the container, and who is it.
pub const TOO_MANY: &str = "pids.max of the container's cgroup, or of one above it, leaves no room for another process, or RLIMIT_NPROC";

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
        Ok(same.then_some(Self { pid, pidfd, stat, is_ending: now.ending }))
    }

    /// Whether it was not about to end, either, when it was found.
    pub const fn was_going_on(&self) -> bool {
        !self.is_ending
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
        process::ends_within(self.pidfd.as_fd(), limit).map_err(Into::into)
    }

    /// As [`Self::wait`], until nothing of it can run any more. The first process of a pid namespace ends when all others
    /// in that have been reaped, and one that `exec` has started there is its caller's to reap: who never does keeps
    /// both of them in the table of processes, and nothing else.
    pub fn wait_until_over(&self, proc: &Proc, limit: Duration) -> Result<bool> {
        const PAUSE: Duration = Duration::from_millis(50);
        let end = Instant::now() + limit;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if self.wait(left.min(PAUSE))? || self.waits_for_zombies(proc)? {
                return Ok(true);
            }
            if left.is_zero() {
                return Ok(false);
            }
        }
    }

    fn waits_for_zombies(&self, proc: &Proc) -> Result<bool> {
        let namespace = proc.namespace(self.pid, "pid");
        match (self.is_ending()?, namespace) {
            (true, Ok(namespace)) => {
                Ok(proc.processes_in(namespace)?.into_iter().all(|(pid, now)| pid == self.pid || now.ended))
            }
            _ => Ok(false),
        }
    }
}
