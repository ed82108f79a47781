//! Runs in: host; `helper` in a process between host and init.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use nix::sys::wait::WaitStatus;
use nix::unistd::Pid;

use super::into_cgroup::{Beginning, Mover, clone_into};
use crate::container::cgroup::Cgroup;
use crate::container::destruction::DEADLINE;
use crate::container::handshake::{Done, Link, Message};
use crate::error::{Doing, Kind, Result, best_effort, failure};
use crate::init::{self, Inherited};
use crate::plan::Plan;
use crate::sys::process::{self, SIBLING, Side, clone3, exit_now};

/// The one clone: init begins in its namespaces and in its cgroup. All that is inherited is closed on this
/// side afterwards.
pub(super) fn clone_init(
    plan: &Plan,
    cgroup: Option<&Cgroup>,
    inherited: Inherited<'_>,
) -> Result<(Pid, OwnedFd)> {
    let namespaces = &plan.namespaces;
    if namespaces.needs_helper() && !namespaces.has_strangers() {
        return clone_through_helper(plan, cgroup, inherited);
    }
    // Among strangers this is the helper that makes the container: init is its sibling, and born last.
    let new = if namespaces.has_strangers() { 0 } else { namespaces.made_by_clone() };
    match clone_into(new, cgroup).map_err(|error| init::explain_new(error, plan))? {
        Beginning::There(Side::Init) => init::enter(inherited),
        Beginning::There(Side::Host(pid, pidfd)) => Ok((pid, pidfd)),
        Beginning::Here(mover) => clone_from_within(plan, &mover, cgroup, inherited),
    }
}

/// Two clones: the first one's process joins, the second one's is init, a child of the host all the same.
fn clone_through_helper(
    plan: &Plan,
    cgroup: Option<&Cgroup>,
    inherited: Inherited<'_>,
) -> Result<(Pid, OwnedFd)> {
    let (link, helper_link) = Link::pair()?;
    match clone_into(0, cgroup)? {
        Beginning::There(Side::Init) => helper(inherited, &helper_link, clone_sibling),
        Beginning::There(Side::Host(_, pidfd)) => {
            drop(helper_link);
            adopt_sibling(&link, Unadopted::new(pidfd), cgroup)
        }
        Beginning::Here(mover) => clone_from_within(plan, &mover, cgroup, inherited),
    }
}

/// A helper that has been moved into the cgroup clones init where it is, or goes on as the one that makes the container.
fn clone_from_within(
    plan: &Plan,
    mover: &Mover<'_>,
    cgroup: Option<&Cgroup>,
    inherited: Inherited<'_>,
) -> Result<(Pid, OwnedFd)> {
    let (link, helper_link) = Link::pair()?;
    let namespaces = &plan.namespaces;
    match clone3(0, None)? {
        Side::Init => helper(inherited, &helper_link, |inherited| match helper_link.receive::<Done>()? {
            None => Err(failure(Kind::System, "the host side has ended")),
            Some(_) if namespaces.has_strangers() => Ok(Side::Init),
            Some(_) if namespaces.needs_helper() => clone_sibling(inherited),
            Some(_) => clone3(namespaces.made_by_clone() | SIBLING, None)
                .map_err(|error| init::explain_new(error, plan).into()),
        }),
        Side::Host(pid, pidfd) => {
            drop(helper_link);
            let helper = Unadopted::new(pidfd);
            mover.bring(pid, &link)?;
            if !namespaces.has_strangers() {
                return adopt_sibling(&link, helper, cgroup);
            }
            let pidfd = helper.adopt().ok_or_else(|| failure(Kind::System, "the helper has gone"))?;
            Ok((pid, pidfd))
        }
    }
}

/// Clones init, with what has to be done before.
fn helper(inherited: Inherited<'_>, link: &Link, clone: impl FnOnce(&Inherited<'_>) -> Result<Side>) -> ! {
    match clone(&inherited) {
        Ok(Side::Init) => init::enter(inherited),
        Ok(Side::Host(pid, pidfd)) => {
            let told = link.send(&Message::Born(pid.as_raw()), Some(pidfd.as_fd()));
            exit_now(i32::from(told.is_err()))
        }
        Err(error) => {
            link.report(&error);
            exit_now(1)
        }
    }
}

/// Joins namespaces that only its children are in, and clones one.
fn clone_sibling(inherited: &Inherited<'_>) -> Result<Side> {
    let plan = inherited.plan;
    init::join_as_helper(inherited).doing(|| "namespaces")?;
    clone3(plan.namespaces.made_by_clone() | SIBLING, None)
        .map_err(|error| init::explain_new(error, plan).into())
}

/// The helper is dropped at the end, when it has ended by itself or is not needed.
fn adopt_sibling(link: &Link, _helper: Unadopted, cgroup: Option<&Cgroup>) -> Result<(Pid, OwnedFd)> {
    link.end_silence()?;
    let mut can_speak = || cgroup.map_or(Ok(()), Cgroup::refuse_frozen).map(|()| true);
    match link.receive_unless::<Message>(&mut can_speak)? {
        Some((Message::Born(pid), Some(pidfd))) => Ok((Pid::from_raw(pid), pidfd)),
        Some((Message::Failed(report), _)) => Err(report.into()),
        _ => Err(failure(Kind::System, "the process that is to clone init has ended without a word")),
    }
}

/// A child that nobody has adopted yet. Dropping it kills and reaps it.
#[derive(Debug)]
pub(super) struct Unadopted {
    pidfd: Option<OwnedFd>,
}

impl Unadopted {
    pub(super) fn new(pidfd: OwnedFd) -> Self {
        Self { pidfd: Some(pidfd) }
    }

    /// How it has ended, if it has.
    pub(super) fn ended(&self) -> Result<Option<WaitStatus>> {
        let Some(pidfd) = &self.pidfd else { return Ok(None) };
        process::how_it_ended(pidfd.as_fd()).map_err(Into::into)
    }

    /// Whether it has ended by then.
    pub(super) fn ends_within(&self, limit: Duration) -> Result<bool> {
        process::ends_within(self.pidfd()?, limit).map_err(Into::into)
    }

    /// The process; readable when it has ended.
    pub(super) fn pidfd(&self) -> Result<BorrowedFd<'_>> {
        let pidfd = self.pidfd.as_ref().map(AsFd::as_fd);
        pidfd.ok_or_else(|| failure(Kind::System, "init has been adopted"))
    }

    /// It is somebody's now.
    pub(super) fn adopt(mut self) -> Option<OwnedFd> {
        self.pidfd.take()
    }
}

impl Drop for Unadopted {
    fn drop(&mut self) {
        if let Some(pidfd) = &self.pidfd {
            best_effort("kill unfinished init", process::pidfd_signal(pidfd.as_fd(), libc::SIGKILL));
            best_effort("reap unfinished init", reap_killed(pidfd.as_fd()));
        }
    }
}

/// One that waits in the kernel for what can't be interrupted, a file system that does not answer, is left to whoever
/// reaps for this process: its caller would wait as long, and SIGKILL alone would end that.
fn reap_killed(pidfd: BorrowedFd<'_>) -> Result<()> {
    match process::ends_within(pidfd, DEADLINE)? {
        false => {
            Err(failure(Kind::System, format!("killed, and still there after {} s", DEADLINE.as_secs())))
        }
        true => process::reap(pidfd).map(drop).map_err(Into::into),
    }
}
