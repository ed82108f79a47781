//! Processes that are held: pidfd_open(2), waitid(2).

use std::ffi::c_int;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus};
use nix::unistd::Pid;

use crate::sys::{Call, SysError, check, owned, retry_eintr};

/// pidfd_open(2). ESRCH when there is no such process.
pub fn pidfd_open(pid: Pid) -> Result<OwnedFd, SysError> {
    // SAFETY: two integers, no pointer.
    let rc = check(unsafe { libc::syscall(libc::SYS_pidfd_open, pid.as_raw(), 0) });
    // Linux 6.1 says so of a process that has been reaped while its session or process group lives on.
    let rc = rc.map_err(|errno| if errno == Errno::EINVAL { Errno::ESRCH } else { errno });
    rc.map(owned).call(|| format!("pidfd_open({pid})"))
}

/// pidfd_send_signal(2). `signal` is a number, for real-time signals have no name.
pub fn pidfd_signal(pidfd: BorrowedFd<'_>, signal: c_int) -> Result<(), SysError> {
    let none: *const libc::siginfo_t = std::ptr::null();
    // SAFETY: a null siginfo is allowed: the kernel fills it as kill(2) does.
    let rc = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, none, 0) };
    check(rc).map(drop).call(|| format!("pidfd_send_signal({signal})"))
}

/// process_mrelease(2), since Linux 5.15: whether a process is ending or has ended. From whom nothing is pending that kills
/// it at once, the kernel takes nothing, and says so: EINVAL. Where that can't be asked, it is not.
pub fn is_ending(pidfd: BorrowedFd<'_>) -> bool {
    // SAFETY: two integers, no pointer. It takes memory from who can't use it any more.
    let rc = check(unsafe { libc::syscall(libc::SYS_process_mrelease, pidfd.as_raw_fd(), 0) });
    matches!(rc, Ok(_) | Err(Errno::ESRCH | Errno::EAGAIN))
}

/// waitid(2), P_PIDFD, blocking until this child has ended: whether SIGKILL was there before it could do anything. After
/// fork(2) its first write to memory is a page fault, and getrusage(2) counts these. It is still to be reaped.
pub fn was_born_dead(pidfd: BorrowedFd<'_>) -> Result<bool, SysError> {
    // SAFETY: both are plain integers (and a union of these), for which all zero is valid.
    let (mut how, mut used): (libc::siginfo_t, libc::rusage) = unsafe { std::mem::zeroed() };
    let flags = libc::WEXITED | libc::WNOWAIT;
    let wait = || {
        let (how, used) = (&raw mut how, &raw mut used);
        // SAFETY: the kernel writes one siginfo and one rusage, for which there is room.
        check(unsafe { libc::syscall(libc::SYS_waitid, libc::P_PIDFD, pidfd.as_raw_fd(), how, flags, used) })
    };
    retry_eintr(wait).call(|| "waitid(P_PIDFD, WEXITED | WNOWAIT)")?;
    // SAFETY: waitid(2) has filled it in for the end of a child, which has a status.
    let status = unsafe { how.si_status() };
    Ok(how.si_code == libc::CLD_KILLED && status == libc::SIGKILL && used.ru_minflt + used.ru_majflt == 0)
}

/// waitid(2), P_PIDFD: reaps a child that has ended, blocking until it does.
pub fn reap(pidfd: BorrowedFd<'_>) -> Result<WaitStatus, SysError> {
    retry_eintr(|| nix::sys::wait::waitid(Id::PIDFd(pidfd), WaitPidFlag::WEXITED))
        .call(|| "waitid(P_PIDFD, WEXITED)")
}

/// waitid(2), P_PIDFD: how a child has ended, if it has; it is still to be reaped.
pub fn how_it_ended(pidfd: BorrowedFd<'_>) -> Result<Option<WaitStatus>, SysError> {
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    let status = retry_eintr(|| nix::sys::wait::waitid(Id::PIDFd(pidfd), flags))
        .call(|| "waitid(P_PIDFD, WEXITED | WNOHANG | WNOWAIT)")?;
    Ok((status != WaitStatus::StillAlive).then_some(status))
}

/// poll(2): whether a process has ended, or does so before this time is over. Anybody may ask.
pub fn ends_within(pidfd: BorrowedFd<'_>, limit: Duration) -> Result<bool, SysError> {
    let limit = PollTimeout::try_from(limit).unwrap_or(PollTimeout::MAX);
    let mut fds = [PollFd::new(pidfd, PollFlags::POLLIN)];
    Ok(retry_eintr(|| poll(&mut fds, limit)).call(|| "poll(pidfd)")? > 0)
}

/// How a process has ended, in words.
pub fn ending(status: WaitStatus) -> String {
    match status {
        WaitStatus::Exited(_, code) => format!("exited {code}"),
        WaitStatus::Signaled(_, signal, _) => format!("killed by {signal}"),
        other => format!("{other:?}"),
    }
}

/// waitid(2): an error (ECHILD) unless it is a child of this process that has not been reaped.
pub fn is_child(pidfd: BorrowedFd<'_>) -> Result<(), SysError> {
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    retry_eintr(|| nix::sys::wait::waitid(Id::PIDFd(pidfd), flags)).map(drop).call(|| "waitid(P_PIDFD)")
}

/// pidfd_getfd(2): a copy of another process's descriptor. It asks for the rights of ptrace(2).
pub fn pidfd_getfd(pidfd: BorrowedFd<'_>, number: u32) -> Result<OwnedFd, SysError> {
    // SAFETY: three integers, no pointer.
    let rc = unsafe { libc::syscall(libc::SYS_pidfd_getfd, pidfd.as_raw_fd(), number, 0) };
    check(rc).map(owned).call(|| format!("pidfd_getfd({number})"))
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::{pidfd_signal, reap, was_born_dead};
    use crate::sys::process::{Side, clone3};

    #[test]
    fn who_is_killed_on_its_way_was_not_born_dead() {
        let Side::Host(_, pidfd) = clone3(0, None).unwrap() else {
            loop {
                nix::unistd::pause();
            }
        };
        // Not before it has come so far.
        std::thread::sleep(std::time::Duration::from_millis(100));
        pidfd_signal(pidfd.as_fd(), libc::SIGKILL).unwrap();
        assert!(!was_born_dead(pidfd.as_fd()).unwrap());
        reap(pidfd.as_fd()).unwrap();
    }
}
