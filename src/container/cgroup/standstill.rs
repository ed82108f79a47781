//! Processes that stand still for a moment, and go on whatever becomes of who has them stand still.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use nix::fcntl::OFlag;
use nix::unistd::{pipe2, read, setsid, write};

use super::{Cgroup, Frozen};
use crate::error::{Result, best_effort};
use crate::sys::process::{self, Side, clone3, exit_now};
use crate::sys::{Call, retry_eintr};

/// All processes of a cgroup are frozen. Dropped, they go on.
#[derive(Debug)]
pub struct Standstill<'c> {
    // In this order: the second one has nothing to do when the first one has thawed them.
    _frozen: Frozen<'c>,
    _heir: Heir,
}

impl Cgroup {
    /// What fails, or is interrupted, or takes longer, has no effect.
    pub fn stand_still(&self, limit: Duration, interrupt: Option<BorrowedFd<'_>>) -> Result<Standstill<'_>> {
        let heir = Heir::of(self)?;
        Ok(Standstill { _frozen: self.freeze(limit, interrupt)?, _heir: heir })
    }
}

/// A process that thaws them if this one is killed before it has.
#[derive(Debug)]
struct Heir {
    pidfd: OwnedFd,
    /// Its end without a word is this process's.
    word: OwnedFd,
}

impl Heir {
    fn of(cgroup: &Cgroup) -> Result<Self> {
        let (end, word) = pipe2(OFlag::O_CLOEXEC).call(|| "pipe2()")?;
        match clone3(0, None)? {
            Side::Init => wait_for_the_end(cgroup, end.as_fd()),
            Side::Host(_, pidfd) => Ok(Self { pidfd, word }),
        }
    }
}

impl Drop for Heir {
    fn drop(&mut self) {
        best_effort("say that they go on", write(&self.word, b"!"));
        best_effort("reap who was to thaw them", process::reap(self.pidfd.as_fd()));
    }
}

/// Runs in: the heir. It is in no session that a terminal's signals go to, and holds nothing that somebody waits for.
fn wait_for_the_end(cgroup: &Cgroup, end: BorrowedFd<'_>) -> ! {
    best_effort("leave the session", setsid());
    best_effort("close the rest", process::close_all_but(0, &[end, cgroup.dir()]));
    if retry_eintr(|| read(end, &mut [0])) == Ok(0) {
        best_effort("thaw the cgroup", cgroup.go_on());
    }
    exit_now(0)
}
