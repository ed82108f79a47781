//! Runs in: host. The clone into a cgroup, and the way into it of who can't be born there.

use std::os::fd::AsFd;

use nix::unistd::Pid;

use crate::container::cgroup::{Cgroup, systemd};
use crate::container::handshake::{Done, Link};
use crate::error::{Result, errno_of};
use crate::spec::record::UnitRecord;
use crate::sys::process::{self, Side, clone3};
use crate::sys::{Errno, SysError};

/// Where a process begins.
#[derive(Debug)]
pub(super) enum Beginning<'c> {
    /// In its cgroup.
    There(Side),
    /// It has to begin where this process is, and waits until it has been moved.
    Here(Mover<'c>),
}

/// Who moves a process into the cgroup.
#[derive(Debug)]
pub(super) enum Mover<'c> {
    /// This process may.
    Host(&'c Cgroup),
    /// An ordinary user can't clone into a cgroup if he may not write to one above both it and his own, which is so in
    /// a login session (cgroups(7), "Delegation containment"). His systemd can have a process moved.
    Systemd(&'c UnitRecord),
}

impl Mover<'_> {
    /// Moves it, and tells it.
    pub(super) fn bring(&self, pid: Pid, link: &Link) -> Result<()> {
        match self {
            Self::Host(cgroup) => cgroup.take_in(pid),
            Self::Systemd(unit) => systemd::attach(unit, pid),
        }?;
        match link.send(&Done, None) {
            // It has been killed in there. The end of the link says so.
            Err(error) if errno_of(&error) == Some(Errno::EPIPE) => Ok(()),
            sent => sent,
        }
    }
}

/// clone3(2) with CLONE_INTO_CGROUP, if there is one. A helper that is moved may clone there what could not be born there.
///
/// The kernel means to kill whoever is born into a cgroup that is being killed; but since Linux 6.14 (and versions before
/// that got the same) it looks whether `cgroup.kill` has been written to the caller's cgroup as often as to the new one.
/// If it has not, everybody is dead who is cloned from the one into the other, and will be each time.
pub(super) fn clone_into(flags: u64, cgroup: Option<&Cgroup>) -> Result<Beginning<'_>, SysError> {
    let Some(cgroup) = cgroup else { return clone3(flags, None).map(Beginning::There) };
    match (clone3(flags, Some(cgroup.dir())), &cgroup.record().unit) {
        (Err(error), Some(unit)) if error.errno == Errno::EACCES => Ok(Beginning::Here(Mover::Systemd(unit))),
        // One that has run is dead for another reason: for want of memory, or by somebody's hand. And what it has said or
        // cloned by then would stay; so it is not made again.
        (Ok(Side::Host(_, pidfd)), _)
            if process::is_ending(pidfd.as_fd()) && process::was_born_dead(pidfd.as_fd())? =>
        {
            process::reap(pidfd.as_fd())?;
            Ok(Beginning::Here(Mover::Host(cgroup)))
        }
        (cloned, _) => cloned.map(Beginning::There),
    }
}
