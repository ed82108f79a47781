//! Runs in: host. The clone of the helper: where it begins, and what it is given.

use std::os::fd::OwnedFd;

use nix::unistd::Pid;

use super::ExecOrder;
use crate::container::cgroup::{Cgroup, Tree};
use crate::container::handshake::Link;
use crate::container::process::{Alive, TOO_MANY};
use crate::container::status::{Status, cannot_exec};
use crate::error::{Doing, Kind, Result, best_effort, errno_of, failure, unsupported};
use crate::init::{Candidate, Departure, Filter, Joining, join};
use crate::launch::birth::Unadopted;
use crate::launch::into_cgroup::{Beginning, Mover, clone_into};
use crate::plan::seccomp;
use crate::proc::Proc;
use crate::sys::fs::{self, OFlag};
use crate::sys::last_calls::{Birth, CALLS_OF_ANNOUNCEMENT};
use crate::sys::process::{Side, clone3};
use crate::sys::{self, Errno, SysError, sched};

impl ExecOrder<'_> {
    fn joining(&self, link: Link, birth: Birth) -> Result<Joining<'_>> {
        let plan = self.plan;
        let filter = plan.filter_flags.map(|flags| Filter {
            program: self.filter,
            flags,
            is_listened_to: plan.listener.is_some(),
        });
        let candidate = Candidate {
            process: Some(&plan.process),
            filter,
            in_user_namespace: plan.in_user_namespace(),
            link: Some(link),
            departure: departure(self.listen_fds),
            stub: sys::last_calls::stub()?,
            umask: 0,
            preserved: self.listen_fds.saturating_add(self.preserve_fds),
            listening: self.listen_fds,
        };
        let root = plan.chroot.then(|| root_of(self.init)).transpose()?;
        Ok(Joining { plan, candidate, init: self.init.pidfd(), root, is_moved: false, birth })
    }

    /// Whether the process, when it is born, waits for what only the host can give it. Else the host need only know of it;
    /// and each of the two would wake the other, which takes longer than all that it has left to do.
    pub(super) fn birth(&self) -> Birth {
        let process = &self.plan.process;
        let gets_more = self.record.rdt.is_some()
            || !process.scheduling.is_none()
            || process.exec_affinity.as_ref().is_some_and(|affinity| !affinity.last.is_empty())
            || self.plan.listener.is_some();
        match !gets_more && self.can_announce() {
            true => Birth::Announced,
            false => Birth::Answered,
        }
    }

    /// Whether it can say itself who it is: from the loop, and by calls that its filter lets through, for that may be loaded
    /// before.
    fn can_announce(&self) -> bool {
        let may = |call| self.plan.filter_flags.is_none() || seccomp::lets(self.filter, call);
        departure(self.listen_fds) == Departure::Late && CALLS_OF_ANNOUNCEMENT.iter().all(may)
    }
}

/// A process that finds its own pid to tell it the program (LISTEN_PID) runs more than system calls.
fn departure(listening: u32) -> Departure {
    match sys::exe::can_detach() {
        false => Departure::Sealed,
        true if listening == 0 && sys::last_calls::has_loop() => Departure::Late,
        true => Departure::Early,
    }
}

/// The root of a process: proc_pid_root(5).
fn root_of(init: &Alive) -> Result<OwnedFd> {
    let path = format!("/proc/{}/root", init.pid);
    let root = fs::open(path.as_str(), OFlag::O_PATH | OFlag::O_DIRECTORY)?;
    // The pid is still that of the process that is held: so it was its root.
    match init.is_ending()? {
        false => Ok(root),
        true => Err(failure(Kind::InvalidState, "the container's process has ended")),
    }
}

/// Where the process is to be born; `None` if the container is in its caller's cgroup.
pub(super) fn cgroup(order: &ExecOrder<'_>) -> Result<Option<Cgroup>> {
    let record = &order.record.cgroup;
    if !record.is_ours() {
        return match order.cgroup {
            None => Ok(None),
            Some(_) => Err(unsupported("--cgroup: the container has no cgroup of its own")),
        };
    }
    let gone = || cannot_exec(&order.record.id, Status::Stopped);
    let own = Tree::find()?.open(record)?.ok_or_else(gone)?;
    match order.cgroup {
        None => Ok(Some(own)),
        Some(path) => own.below(path).map(Some).doing(|| format!("--cgroup {path:?}")),
    }
}

/// Clones the helper into the cgroup, on the processors that are its first.
pub(super) fn clone_helper(
    order: &ExecOrder<'_>,
    birth: Birth,
    cgroup: Option<&Cgroup>,
    proc: &Proc,
) -> Result<(Link, Unadopted)> {
    let (link, helper_link) = Link::pair()?;
    let joining = order.joining(helper_link, birth)?;
    let affinity = order.plan.process.exec_affinity.as_ref().filter(|affinity| !affinity.initial.is_empty());
    let before = affinity.map(|affinity| run_on(&affinity.initial.mask())).transpose()?;
    let inner;
    let beginning = match clone_into(0, cgroup) {
        // It can't have processes of its own any more, for an init of the container's own has made others below it: then
        // to where the container's process is.
        Err(error) if matches!(error.errno, Errno::EBUSY | Errno::EOPNOTSUPP) && order.cgroup.is_none() => {
            inner = Tree::find()?.open_of(&order.record.cgroup, proc, order.init.pid)?;
            match &inner {
                Some(inner) => clone_into(0, Some(inner)),
                None => Err(error),
            }
        }
        beginning => beginning,
    };
    let helper = match beginning.map_err(explained) {
        Ok(Beginning::There(Side::Init)) => join(joining),
        Ok(Beginning::There(Side::Host(_, pidfd))) => Ok(Unadopted::new(pidfd)),
        Ok(Beginning::Here(mover)) => match clone_and_move(joining, &link, &mover) {
            // Who has removed the cgroup has ended the container before.
            Err(error) if matches!(errno_of(&error), Some(Errno::ENODEV | Errno::ENOENT)) => {
                Err(cannot_exec(&order.record.id, Status::Stopped))
            }
            helper => helper,
        },
        Err(error) => Err(error),
    };
    if let Some(before) = before {
        best_effort("run on the processors from before", sched::set_affinity(Pid::from_raw(0), &before));
    }
    Ok((link, helper?))
}

/// A helper that begins in this process's cgroup, and goes on in the container's.
fn clone_and_move(mut joining: Joining<'_>, link: &Link, mover: &Mover<'_>) -> Result<Unadopted> {
    joining.is_moved = true;
    match clone3(0, None)? {
        Side::Init => join(joining),
        Side::Host(pid, pidfd) => {
            drop(joining);
            let helper = Unadopted::new(pidfd);
            mover.bring(pid, link)?;
            Ok(helper)
        }
    }
}

/// config.md, "execCPUAffinity": where this process runs its clone begins. Answers where it was.
fn run_on(processors: &[u64]) -> Result<Vec<u64>> {
    let before = sched::affinity()?;
    sched::set_affinity(Pid::from_raw(0), processors).doing(|| "process.execCPUAffinity.initial")?;
    Ok(before)
}

/// clone(2), cgroups(7).
fn explained(error: SysError) -> anyhow::Error {
    let hint = match error.errno {
        Errno::EAGAIN => TOO_MANY,
        Errno::EBUSY => "the cgroup has controllers for those below it, and no processes of its own then",
        _ => return error.into(),
    };
    SysError { call: format!("{}; {hint}", error.call), ..error }.into()
}
