//! What this process does when it gets a signal, and their names: signal(7).

use std::ffi::c_int;
use std::sync::OnceLock;

use nix::sys::signal::SigSet;

use crate::sys::fs::{self, OFlag};
use crate::sys::{Call, SysError};

/// Gives every signal that is ignored its default action and unblocks all: both would last through execve, be it that
/// the caller has had it so, or this program itself, as with SIGPIPE. What has a handler has none after
/// [`super::clone3`], or execve.
pub fn reset_signals() -> Result<(), SysError> {
    // The kernel's struct sigaction, all zero: SIG_DFL, no flags, no mask. glibc would keep two signals back.
    let default = [0u64; 4];
    let (none, mask_size) = (std::ptr::null_mut::<u64>(), size_of::<u64>());
    let ignored = ignored();
    for signal in (1..=64).filter(|signal| ignored & 1 << (signal - 1) != 0) {
        // SIGKILL and SIGSTOP answer EINVAL: there is nothing to reset.
        // SAFETY: `default` is a sigaction as the kernel reads it, and outlives the call.
        unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, default.as_ptr(), none, mask_size) };
    }
    SigSet::empty().thread_set_mask().call(|| "sigprocmask(SETMASK, none)")
}

/// The signals that may be ignored, as bits: those that this process's caller has had ignored, and what it ignores
/// itself. All of them where that can't be read. One file instead of 64 calls; read once, and first by a process that
/// sees the host's /proc, for [`super::clone3`] asks, too.
pub(super) fn ignored() -> u64 {
    const OWN: u64 = 1 << (libc::SIGPIPE - 1) | 1 << (libc::SIGXFSZ - 1);
    static CALLERS: OnceLock<u64> = OnceLock::new();
    let read = || {
        let file = fs::open("/proc/self/status", OFlag::O_RDONLY).ok()?;
        ignored_in(&String::from_utf8_lossy(&fs::read_all(file, 1 << 16).ok()?))
    };
    *CALLERS.get_or_init(|| read().unwrap_or(u64::MAX)) | OWN
}

/// proc_pid_status(5).
fn ignored_in(status: &str) -> Option<u64> {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:\t"))?;
    u64::from_str_radix(mask, 16).ok()
}

/// Gives SIGCHLD its default action: ended children can be waited for.
pub fn notice_children() {
    // SAFETY: the default action runs no code of ours.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) };
}

/// Has a write beyond RLIMIT_FSIZE answer EFBIG: SIGXFSZ would end this process without a word.
pub fn on_large_file_fail() {
    // SAFETY: to ignore a signal runs no code of ours.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
}

/// Whether this process ignores a signal, as its caller may have had it begin: sigaction(2).
pub fn is_ignored(signal: nix::sys::signal::Signal) -> bool {
    // SAFETY: all zero is a valid sigaction: the default action, no flags, no mask.
    let mut now: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: a null new action changes nothing, and the old one is written to `now`.
    let rc = unsafe { libc::sigaction(signal as c_int, std::ptr::null(), &raw mut now) };
    rc == 0 && now.sa_sigaction == libc::SIG_IGN
}

/// What a write to a pipe that nobody reads does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BrokenPipe {
    /// It answers EPIPE.
    IsAnError,
    /// It ends the process: SIGPIPE, as programs expect.
    Kills,
}

/// Sets the action of SIGPIPE.
pub fn on_broken_pipe(what: BrokenPipe) {
    let action = match what {
        BrokenPipe::IsAnError => libc::SIG_IGN,
        BrokenPipe::Kills => libc::SIG_DFL,
    };
    // SAFETY: neither action runs code of ours.
    unsafe { libc::signal(libc::SIGPIPE, action) };
}

/// The number of this signal: a name with or without `SIG`, in any case, or a number; `SIGRTMIN+n` too.
pub fn signal_number(text: &str) -> Option<c_int> {
    if let Ok(number) = text.parse::<c_int>() {
        return (0..=libc::SIGRTMAX()).contains(&number).then_some(number);
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let real_time = |base: c_int, offset: &str| match offset {
        "" => Some(base),
        _ => offset.parse::<c_int>().ok().map(|n| base + n),
    };
    let number = match (name.strip_prefix("RTMIN"), name.strip_prefix("RTMAX")) {
        (Some(offset), _) => real_time(libc::SIGRTMIN(), offset),
        (_, Some(offset)) => real_time(libc::SIGRTMAX(), offset),
        _ => format!("SIG{name}").parse::<nix::sys::signal::Signal>().ok().map(|s| s as c_int),
    };
    number.filter(|n| (1..=libc::SIGRTMAX()).contains(n))
}

#[cfg(test)]
mod tests {
    use super::ignored_in;

    #[test]
    fn the_signals_that_are_ignored_are_a_line_of_status() {
        let status =
            "Name:\tx\nSigBlk:\t0000000000000001\nSigIgn:\t8000000000001000\nSigCgt:\t0000000000000440\n";
        assert_eq!(ignored_in(status), Some(1 << 63 | 1 << 12));
        assert_eq!(["", "SigIgn:\tx\n"].map(ignored_in), [None, None]);
    }
}
