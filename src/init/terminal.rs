//! Runs in: init; the pty is opened before the pivot, while the host's is still there; the rest follows it: /dev is
//! final then, and may become read-only afterwards.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::unistd::{dup2_stderr, dup2_stdin, dup2_stdout, fchown};

use super::rootfs::Assembled;
use crate::container::handshake::{Link, Message};
use crate::error::{Doing, Result};
use crate::plan::Plan;
use crate::plan::process::ProcessPlan;
use crate::rootpath::InRootfs;
use crate::sys::fs::{self, Lookup, OFlag};
use crate::sys::mount::{self, Depth};
use crate::sys::{Call, tty};

/// Both ends of a pty.
pub(super) struct Pty {
    master: OwnedFd,
    slave: OwnedFd,
}

/// A new pty: of the container's own devpts, by the descriptor of the mount (CVE-2025-52565), or of the
/// host's where the container has none.
pub(super) fn open(plan: &Plan, assembled: &Assembled) -> Result<Option<Pty>> {
    if plan.process.as_ref().is_none_or(|process| process.terminal.is_none()) {
        return Ok(None);
    }
    match &assembled.devpts {
        Some(devpts) => Pty::of(devpts),
        None => Pty::with(fs::open("/dev/ptmx", MASTER)?),
    }
    .map(Some)
}

/// Makes the pty's other end the process's terminal and /dev/console, and hands the master to the host. A sibling that is
/// yet to be born makes it its session's itself.
pub(super) fn attach(plan: &Plan, assembled: &Assembled, pty: &Pty, link: &Link) -> Result<()> {
    pty.prepare(plan.process.as_ref())?;
    if assembled.devpts.is_some() {
        console(assembled, &pty.slave).doing(|| "/dev/console")?;
    }
    pty.offer(link)?;
    if !plan.namespaces.has_strangers() {
        tty::make_controlling(pty.slave.as_fd())?;
    }
    pty.take_place()
}

/// How a master is opened.
const MASTER: OFlag = OFlag::O_RDWR.union(OFlag::O_NOCTTY);

impl Pty {
    /// Of this devpts.
    pub(super) fn of(devpts: impl AsFd) -> Result<Self> {
        let master = fs::openat2(devpts, "ptmx", MASTER, 0, Lookup::Strict);
        Self::with(master.call(|| "openat2(\"ptmx\") in /dev/pts")?)
    }

    fn with(master: OwnedFd) -> Result<Self> {
        tty::unlock(master.as_fd())?;
        let slave = tty::peer(master.as_fd())?;
        Ok(Self { master, slave })
    }

    /// Gives it the size and the owner that the process's terminal is to have.
    pub(super) fn prepare(&self, process: Option<&ProcessPlan>) -> Result<()> {
        if let Some(size) = process.and_then(|p| p.terminal.flatten()) {
            tty::set_size(self.master.as_fd(), size)?;
        }
        if let Some(uid) = process.map(|p| p.uid).filter(|uid| *uid != 0) {
            fchown(&self.slave, Some(uid.into()), None).call(|| format!("fchown(terminal, {uid})"))?;
        }
        Ok(())
    }

    /// The master is the host's from now on.
    pub(super) fn offer(&self, link: &Link) -> Result<()> {
        link.ask(&Message::OfferTerminal, Some(self.master.as_fd()))
    }

    /// The other end becomes standard input, output and error.
    pub(super) fn take_place(&self) -> Result<()> {
        dup2_stdin(&self.slave).call(|| "dup2(terminal, 0)")?;
        dup2_stdout(&self.slave).call(|| "dup2(terminal, 1)")?;
        dup2_stderr(&self.slave).call(|| "dup2(terminal, 2)").map_err(Into::into)
    }
}

/// config.md, "Process": the terminal is bound on /dev/console.
fn console(assembled: &Assembled, slave: &OwnedFd) -> Result<()> {
    let target = assembled.root.make_file(&InRootfs::new(Path::new("/dev/console"))?)?;
    let copy = mount::clone_fd(slave.as_fd(), Depth::Top)?;
    assembled.attach(copy.as_fd(), target.as_fd())
}
