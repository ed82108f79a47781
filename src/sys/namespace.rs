//! Namespaces: setns(2) of a pidfd, and what ioctl_nsfs(2) knows of a namespace's file.

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;

use super::{Call, SysError, check, fs};

/// setns(2) into several namespaces of a process at once, since Linux 5.8: `kinds` are CLONE_NEW* bits.
pub fn join_all(pidfd: BorrowedFd<'_>, kinds: u64) -> Result<(), SysError> {
    // SAFETY: two integers, no pointer.
    let rc = unsafe { libc::syscall(libc::SYS_setns, pidfd.as_raw_fd(), kinds) };
    check(rc).map(drop).call(|| format!("setns(pidfd, {kinds:#x})"))
}

/// ioctl_nsfs(2), NS_GET_NSTYPE: the CLONE_NEW* bit of a namespace's descriptor.
pub fn kind(fd: BorrowedFd<'_>) -> Result<u64, SysError> {
    const NS_GET_NSTYPE: libc::Ioctl = 0xb703;
    // SAFETY: NS_GET_NSTYPE takes no argument.
    let rc = unsafe { libc::ioctl(fd.as_raw_fd(), NS_GET_NSTYPE) };
    Errno::result(rc).map(|bit| u64::from(bit.unsigned_abs())).call(|| "ioctl(NS_GET_NSTYPE)")
}

/// ioctl_nsfs(2), NS_GET_USERNS: the user namespace that a namespace belongs to.
pub fn owner(fd: BorrowedFd<'_>) -> Result<OwnedFd, SysError> {
    const NS_GET_USERNS: libc::Ioctl = 0xb701;
    // SAFETY: NS_GET_USERNS takes no argument, and answers a new descriptor that is nobody else's.
    let rc = unsafe { libc::ioctl(fd.as_raw_fd(), NS_GET_USERNS) };
    Errno::result(rc).map(fs::own).call(|| "ioctl(NS_GET_USERNS)")
}

/// namespaces(7): two files are the same namespace if device and inode are.
pub fn is_same(one: BorrowedFd<'_>, other: BorrowedFd<'_>) -> Result<bool, SysError> {
    Ok(fs::is_same(&fs::stat(one)?, &fs::stat(other)?))
}
