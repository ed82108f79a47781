//! The kernel calls of the bench: a wait that blocks and tells the memory, signals, leftover children.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, kill, sigaction};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

/// How many of SIGINT, SIGTERM and SIGHUP have arrived.
static SIGNALS: AtomicUsize = AtomicUsize::new(0);

/// A child that has ended and been reaped.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) pid: Pid,
    pub(crate) status: ExitStatus,
    /// ru_maxrss in KiB: of the child or of the largest descendant that it waited for, whichever is larger.
    pub(crate) peak_kib: u64,
    /// ru_utime and ru_stime: of the child and of all descendants that it waited for.
    pub(crate) busy: Duration,
}

/// wait4(2) without WNOHANG: sleeps in the kernel until `pid`, or any child for None, ends.
/// waitpid can't be used: it doesn't tell the memory of this one child.
#[expect(unsafe_code, reason = "nix has no wait4, and getrusage tells the sum of all children only")]
pub(crate) fn wait4(pid: Option<Pid>) -> Result<Ended, Errno> {
    let mut status: libc::c_int = 0;
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    let target = pid.map_or(-1, Pid::as_raw);
    // SAFETY: both pointers are to live locals of the types that wait4 writes.
    let ended = unsafe { libc::wait4(target, &raw mut status, 0, usage.as_mut_ptr()) };
    let ended = Errno::result(ended)?;
    // SAFETY: rusage is made of integers only, so the zeroed value is valid even if nothing had been written.
    let usage = unsafe { usage.assume_init() };
    Ok(Ended {
        pid: Pid::from_raw(ended),
        status: ExitStatus::from_raw(status),
        peak_kib: u64::try_from(usage.ru_maxrss).unwrap_or(0),
        busy: duration(usage.ru_utime) + duration(usage.ru_stime),
    })
}

fn duration(time: libc::timeval) -> Duration {
    let part = |number: i64| u64::try_from(number).unwrap_or(0);
    Duration::from_secs(part(time.tv_sec)) + Duration::from_micros(part(time.tv_usec))
}

/// Waits for a command of a runtime. One signal doesn't end the wait: a runtime that is killed between two
/// steps leaves what nobody can name any more, and it takes milliseconds. The second signal kills it.
pub(crate) fn wait_command(pid: Pid) -> Result<Ended, Errno> {
    loop {
        match wait4(Some(pid)) {
            Err(Errno::EINTR) if SIGNALS.load(Ordering::Relaxed) > 1 => kill(pid, Signal::SIGKILL)?,
            Err(Errno::EINTR) => {}
            ended => return ended,
        }
    }
}

/// Counts SIGINT, SIGTERM and SIGHUP instead of dying of them, so that the containers can be deleted first.
#[expect(unsafe_code, reason = "sigaction sets a handler")]
pub(crate) fn catch_signals() -> Result<()> {
    // No SA_RESTART: a wait must come back to be given up.
    let action = SigAction::new(SigHandler::Handler(count_signal), SaFlags::empty(), SigSet::empty());
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        // SAFETY: the handler only adds to an atomic, which is allowed in a signal handler.
        let set = unsafe { sigaction(signal, &action) };
        set.with_context(|| format!("sigaction({signal})"))?;
    }
    Ok(())
}

extern "C" fn count_signal(_signal: libc::c_int) {
    SIGNALS.fetch_add(1, Ordering::Relaxed);
}

/// Whether a signal has asked to end.
pub(crate) fn is_interrupted() -> bool {
    SIGNALS.load(Ordering::Relaxed) > 0
}

/// An error once a signal has asked to end.
pub(crate) fn go_on() -> Result<()> {
    if is_interrupted() {
        bail!("interrupted by a signal");
    }
    Ok(())
}

/// Reaps the children that have ended and that nobody waits for: helpers which a runtime left to init, and
/// init is this process (PR_SET_CHILD_SUBREAPER).
pub(crate) fn reap_strays() {
    while let Ok(status) = waitpid(None, Some(WaitPidFlag::WNOHANG)) {
        if status == WaitStatus::StillAlive {
            return;
        }
    }
}

/// Kills and reaps every child that is left, with those that come up from below when their parents end.
/// All of them descend from this process, so nothing else can be hit.
pub(crate) fn end_children() {
    let list = format!("/proc/self/task/{}/children", Pid::this());
    while let Ok(children) = std::fs::read_to_string(&list) {
        let pids: Vec<Pid> =
            children.split_whitespace().filter_map(|pid| pid.parse().ok()).map(Pid::from_raw).collect();
        if pids.is_empty() {
            return;
        }
        for pid in pids {
            // A zombie takes the signal as well, so an error here means that the child is gone.
            if kill(pid, Signal::SIGKILL).is_err() || wait_command(pid).is_err() {
                return;
            }
        }
    }
}
