//! Runs in: host. The processes that CRIU has made: the first one, and what descends from it. They are asked for while that is
//! there: without a pid namespace of their own the others are somebody else's children after its end.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::unistd::Pid;

use crate::container::destruction::DEADLINE;
use crate::error::{Kind, Result, failure};
use crate::proc::Proc;
use crate::sys::{Errno, process};

/// One that has not no_new_privs in all of its threads.
pub(super) fn without_no_new_privs(proc: &Proc, first: Pid) -> Result<Option<Pid>> {
    for pid in all(proc, first)? {
        if !proc.has_no_new_privs(pid)? {
            return Ok(Some(pid));
        }
    }
    Ok(None)
}

/// How long it may take until all stand.
const MOMENT: Duration = Duration::from_millis(500);

/// Kills all. They are stopped first: who goes on may make others while it is looked for them.
pub(super) fn kill(proc: &Proc, first: Pid) -> Result<BTreeMap<Pid, OwnedFd>> {
    let until = Instant::now() + MOMENT;
    let mut held = BTreeMap::new();
    while stop(proc, first, &mut held)? && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(1));
    }
    held.values().try_for_each(|pidfd| tell(pidfd, libc::SIGKILL))?;
    Ok(held)
}

/// Kills all, and waits for their end: not while CRIU traces them, for the first process of a pid namespace ends when
/// the others in there have been reaped.
pub(super) fn end(proc: &Proc, first: Pid) -> Result<()> {
    let until = Instant::now() + DEADLINE;
    for (pid, pidfd) in kill(proc, first)? {
        if !process::ends_within(pidfd.as_fd(), until.saturating_duration_since(Instant::now()))? {
            let text = format!("process {pid}: killed, and still there after {} s", DEADLINE.as_secs());
            return Err(failure(Kind::System, text));
        }
    }
    Ok(())
}

/// Stops those that are not held yet; answers whether there may be more, for not all stood still before.
fn stop(proc: &Proc, first: Pid, held: &mut BTreeMap<Pid, OwnedFd>) -> Result<bool> {
    let mut all_stood = true;
    for pid in held.keys() {
        all_stood &= stands(proc, *pid)?;
    }
    let mut fresh = BTreeMap::new();
    for pid in all(proc, first)?.into_iter().filter(|pid| !held.contains_key(pid)) {
        match process::pidfd_open(pid) {
            Err(error) if error.errno == Errno::ESRCH => {}
            opened => drop(fresh.insert(pid, opened?)),
        }
    }
    if fresh.is_empty() {
        return Ok(!all_stood);
    }
    // Before its pidfd was open, one may have ended and its pid become a stranger's. If the pid is one of theirs now, then
    // as that of the process that is held, or that one has ended.
    let still = all(proc, first)?;
    fresh.retain(|pid, _| still.contains(pid));
    for pidfd in fresh.values() {
        tell(pidfd, libc::SIGSTOP)?;
    }
    held.extend(fresh);
    Ok(true)
}

/// The first one comes first.
fn all(proc: &Proc, first: Pid) -> Result<Vec<Pid>> {
    let (mut all, mut next) = (vec![first], 0);
    while let Some(pid) = all.get(next) {
        all.extend(proc.children_of(*pid)?);
        next += 1;
    }
    Ok(all)
}

/// Whether it makes no others: it has stopped, or ends, or waits in the kernel, as for a stopped child that has its memory
/// (vfork(2)), and stops when that is over.
fn stands(proc: &Proc, pid: Pid) -> Result<bool> {
    let ends = proc.process(pid)?.is_none_or(|(_, now)| now.ended || now.ending);
    Ok(ends || !proc.threads(pid).iter().any(|thread| matches!(thread.state, 'R' | 'S')))
}

fn tell(pidfd: &OwnedFd, signal: i32) -> Result<()> {
    match process::pidfd_signal(pidfd.as_fd(), signal) {
        Err(error) if error.errno == Errno::ESRCH => Ok(()),
        sent => sent.map_err(Into::into),
    }
}
