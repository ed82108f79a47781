//! Runs in: init; the pty is opened before the pivot, while the host's is still there; the rest follows it: /dev is
//! final then, and may become read-only afterwards.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::unistd::{dup2_stderr, dup2_stdin, dup2_stdout, fchown};

use super::rootfs::Assembled;
use crate::container::handshake::{Link, Message};
use crate::error::{Doing, Result};
use crate::plan::Plan;
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
    let flags = OFlag::O_RDWR | OFlag::O_NOCTTY;
    let master = match &assembled.devpts {
        Some(devpts) => {
            fs::openat2(devpts, "ptmx", flags, 0, Lookup::Strict).call(|| "openat2(\"ptmx\") in /dev/pts")?
        }
        None => fs::open("/dev/ptmx", flags)?,
    };
    tty::unlock(master.as_fd())?;
    let slave = tty::peer(master.as_fd())?;
    Ok(Some(Pty { master, slave }))
}

/// Makes the pty's other end the process's terminal and /dev/console, and hands the master to the host.
pub(super) fn attach(plan: &Plan, assembled: &Assembled, pty: &Pty, link: &Link) -> Result<()> {
    let Pty { master, slave } = pty;
    let process = plan.process.as_ref();
    if let Some(size) = process.and_then(|p| p.terminal.flatten()) {
        tty::set_size(master.as_fd(), size)?;
    }
    if let Some(uid) = process.map(|p| p.uid).filter(|uid| *uid != 0) {
        fchown(slave, Some(uid.into()), None).call(|| format!("fchown(terminal, {uid})"))?;
    }
    if assembled.devpts.is_some() {
        console(assembled, slave).doing(|| "/dev/console")?;
    }
    link.ask(&Message::OfferTerminal, Some(master.as_fd()))?;
    tty::make_controlling(slave.as_fd())?;
    dup2_stdin(slave).call(|| "dup2(terminal, 0)")?;
    dup2_stdout(slave).call(|| "dup2(terminal, 1)")?;
    dup2_stderr(slave).call(|| "dup2(terminal, 2)").map_err(Into::into)
}

/// config.md, "Process": the terminal is bound on /dev/console.
fn console(assembled: &Assembled, slave: &OwnedFd) -> Result<()> {
    let target = assembled.root.make_file(&InRootfs::new(Path::new("/dev/console"))?)?;
    let copy = mount::clone_fd(slave.as_fd(), Depth::Top)?;
    mount::attach(copy.as_fd(), target.as_fd()).map_err(Into::into)
}
