//! Runs in: init, by either script: the process that is to become the program.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::container::handshake::Link;
use crate::error::{Doing, Kind, Result, failure};
use crate::plan::process::ProcessPlan;
use crate::sys::process::BrokenPipe;
use crate::sys::{self, Call};

/// A process on its way to a program, whether that is the container's first or one of `exec`.
#[derive(Debug)]
pub struct Candidate<'a> {
    /// What it becomes; `None` where the configuration has no process.
    pub process: Option<&'a ProcessPlan>,
    /// What its system calls go through.
    pub filter: Option<Filter<'a>>,
    /// Whether its user namespace is not the machine's.
    pub in_user_namespace: bool,
    /// To whoever waits for it: the host; once the container is created, who starts it.
    pub link: Option<Link>,
    /// When it leaves the host's program file.
    pub departure: Departure,
    /// What its executable file becomes.
    pub stub: OwnedFd,
    /// The caller's umask, which the program gets unless the configuration has another.
    pub umask: u32,
    /// How many descriptors from 3 up the program gets.
    pub preserved: u32,
    /// How many of them are LISTEN_FDS, sd_listen_fds(3).
    pub listening: u32,
}

/// A compiled filter.
#[derive(Clone, Copy, Debug)]
pub struct Filter<'a> {
    /// Its instructions.
    pub program: &'a [u8],
    /// SECCOMP_FILTER_FLAG_* bits for seccomp(2).
    pub flags: u64,
    /// Whether it leaves calls to an agent.
    pub is_listened_to: bool,
}

/// When init leaves the host's program file, which a container must not find a way back to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Departure {
    /// First of all, with a copy of the program: somebody else may see this process, or it has to run more
    /// than system calls when it has waited.
    Early,
    /// When it begins to wait, without a copy.
    Late,
    /// There is no way back to a file of the host: all of this runs from a sealed copy.
    Sealed,
}

impl Candidate<'_> {
    /// What comes first of all. Closes all that came with the clone and is the host's own, but `kept`: its end of the
    /// link, which would never be seen to end; the state directory, whose lock would outlive the host; the cgroup tree,
    /// /proc. And what the caller has in its environment is not for who may look into this process.
    pub(super) fn begin(&self, kept: &[BorrowedFd<'_>]) -> Result<()> {
        // If the host dies, so does what is half made. Once this process has changed its ids that is no longer so, but
        // then the end of the link says it.
        nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL)
            .call(|| "prctl(PR_SET_PDEATHSIG)")?;
        let mut kept = kept.to_vec();
        kept.push(self.stub.as_fd());
        kept.extend(self.link.iter().map(Link::fd));
        kept.extend(crate::log::file().map(AsFd::as_fd));
        sys::process::close_all_but(3 + self.preserved, &kept)?;
        sys::process::reset_signals()?;
        sys::process::forget_environment();
        // A hook need not read its input.
        sys::process::on_broken_pipe(BrokenPipe::IsAnError);
        Ok(())
    }

    /// Leaves the host's program file, if that is to come early.
    pub(super) fn leave_file_early(&self) -> Result<()> {
        match self.departure {
            Departure::Early => {
                sys::exe::detach(self.stub.as_fd()).doing(|| "leaving the host's program file")
            }
            Departure::Late | Departure::Sealed => Ok(()),
        }
    }

    /// It can't be: says why to whoever waits for it, and ends.
    pub(super) fn give_up(&self, error: &anyhow::Error) -> ! {
        if let Some(link) = &self.link {
            link.report(error);
        }
        sys::process::exit_now(1)
    }

    pub(super) fn link(&self) -> Result<&Link> {
        self.link.as_ref().ok_or_else(|| failure(Kind::System, "nobody is listening"))
    }

    /// Whether the filter is to be loaded with a privilege that the program may not have: seccomp(2), CAP_SYS_ADMIN
    /// without no_new_privs.
    pub(super) fn filter_needs_more(&self) -> bool {
        self.filter.is_some() && self.process.is_some_and(|process| !process.no_new_privileges)
    }
}
