//! CRIU at work on a container, when the command that had it do that may be gone.

use std::os::fd::AsFd;
use std::time::Instant;

use nix::sys::signal::{Signal, killpg};
use nix::sys::stat::FileStat;
use nix::unistd::{Pid, getpgid};

use super::process::Alive;
use super::store::View;
use crate::error::{Result, best_effort};
use crate::proc::Proc;
use crate::spec::record::ProcessId;
use crate::sys::{Call, Errno, fs, process};

/// Ends CRIU, and what it has made that is not in the container's cgroup yet: CRIU may wait for what never comes, and a
/// command that was killed can't end it. It is looked for no longer than `until`: anybody may have many processes.
pub fn end(proc: &Proc, worker: Option<ProcessId>, container: &View, until: Instant) -> Result<()> {
    if let Some(criu) = worker.map(|worker| Alive::find(proc, worker)).transpose()?.flatten() {
        best_effort("end criu", end_group(&criu));
    }
    // As a job of its caller's shell it has no group of its own, nor may it be there any more.
    let dir = fs::stat(container.dir())?;
    for pid in proc.all()?.into_iter().take_while(|_| Instant::now() < until) {
        best_effort("end what criu has made", end_if_made(proc, pid, &dir, until));
    }
    Ok(())
}

fn end_group(criu: &Alive) -> Result<()> {
    match getpgid(Some(criu.pid)) {
        Ok(group) if group == criu.pid => {
            killpg(group, Signal::SIGKILL).call(|| "killpg(criu)").map_err(Into::into)
        }
        _ => criu.signal(libc::SIGKILL),
    }
}

/// What CRIU makes has its name, and its descriptors, until it is where it belongs: with that of the container's directory
/// a part in the lock, unlike who waits for the lock or only looks.
fn end_if_made(proc: &Proc, pid: Pid, dir: &FileStat, until: Instant) -> Result<()> {
    // First: what is found out afterwards is of the same process, or it has ended.
    let pidfd = match process::pidfd_open(pid) {
        Err(error) if error.errno == Errno::ESRCH => return Ok(()),
        opened => opened?,
    };
    let is_named = || proc.threads(pid).iter().any(|thread| thread.name == "criu");
    match is_named() && proc.has_part_in_lock(pid, dir, until)? {
        true => process::pidfd_signal(pidfd.as_fd(), libc::SIGKILL).map_err(Into::into),
        false => Ok(()),
    }
}
