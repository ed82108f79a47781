//! Processes: what is done to a whole one, and the few attributes that nix has no call for.

mod clone;
mod pidfd;
mod signals;

use std::ffi::{CString, c_char, c_int, c_ulong};
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::errno::Errno;
use nix::unistd::Pid;

use super::{Call, SysError, check};

pub use clone::{SIBLING, Side, clone3, exit_now};
pub use pidfd::{
    ending, ends_within, how_it_ended, is_child, is_ending, pidfd_getfd, pidfd_open, pidfd_signal, reap,
    was_born_dead,
};
pub use signals::{
    BrokenPipe, is_ignored, notice_children, on_broken_pipe, on_large_file_fail, reset_signals, signal_number,
};

/// What execve(2) gets, exactly: a map of variables would neither keep their order nor what has no `=`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Execution {
    /// Absolute.
    pub path: CString,
    /// `argv`
    pub args: Vec<CString>,
    /// `environ`
    pub env: Vec<CString>,
}

/// Has a command start with every signal as [`reset_signals`] leaves it, and in the end by this execve(2), not
/// by its own. What goes wrong is the error of its `spawn`.
pub fn start_as(command: &mut std::process::Command, execution: Execution) {
    let start = move || {
        let errno = match reset_signals() {
            Ok(()) => match nix::unistd::execve(&execution.path, &execution.args, &execution.env) {
                Err(errno) => errno,
                Ok(never) => match never {},
            },
            Err(error) => error.errno,
        };
        Err(std::io::Error::from_raw_os_error(errno as i32))
    };
    // SAFETY: what runs between fork and exec makes system calls, and allocates: this process has one thread, so
    // that no lock can be held by another one.
    unsafe { std::os::unix::process::CommandExt::pre_exec(command, start) };
}

/// close_range(2) with CLOSE_RANGE_CLOEXEC: every descriptor from `first` up closes at execve.
pub fn cloexec_from(first: u32) -> Result<(), SysError> {
    // SAFETY: three integers. It only sets a flag, so every OwnedFd still owns an open descriptor.
    let rc = unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    check(rc).map(drop).call(|| format!("close_range({first}, MAX, CLOEXEC)"))
}

/// close_range(2) of every descriptor from `first` up but these. What else owns one of the closed must not be
/// dropped any more: it would close what has its number by then.
pub fn close_all_but(first: u32, kept: &[BorrowedFd<'_>]) -> Result<(), SysError> {
    let mut kept: Vec<u32> = kept.iter().map(|fd| fd.as_raw_fd().unsigned_abs()).collect();
    kept.sort_unstable();
    let mut first = first;
    for fd in kept.into_iter().chain([u32::MAX]) {
        if fd > first {
            // SAFETY: three integers; the caller sees to it that nobody uses what is closed.
            let rc = unsafe { libc::syscall(libc::SYS_close_range, first, fd - 1, 0) };
            check(rc).call(|| format!("close_range({first}, {})", fd - 1))?;
        }
        first = first.max(fd.saturating_add(1));
    }
    Ok(())
}

/// Overwrites this process's environment, and has none from now on. It lies on the stack, whoever may look into the
/// process finds it there, and not even leaving the program's file takes it away.
pub fn forget_environment() {
    unsafe extern "C" {
        static mut environ: *mut *mut c_char;
    }
    // SAFETY: this process has one thread, so that nobody changes the pointer meanwhile.
    let mut at = unsafe { environ };
    while !at.is_null() {
        // SAFETY: environ(7): an array of pointers that ends with a null pointer, which ends this loop.
        let variable = unsafe { *at };
        if variable.is_null() {
            break;
        }
        // SAFETY: each of them leads to a string that ends with a NUL byte.
        let length = unsafe { libc::strlen(variable) };
        // SAFETY: so many bytes of it are this process's own to write, and nobody has a reference to them: std copies
        // what it is asked for. The compiler must not see that nobody reads them.
        unsafe { libc::explicit_bzero(variable.cast(), length) };
        at = at.wrapping_add(1);
    }
    // SAFETY: as above. Null is an empty environment for getenv(3) and for std.
    unsafe { environ = std::ptr::null_mut() };
}

/// prctl(2), PR_SET_CHILD_SUBREAPER: orphans among the descendants of this process become its children.
pub fn adopt_orphans() -> Result<(), SysError> {
    nix::sys::prctl::set_child_subreaper(true).call(|| "prctl(PR_SET_CHILD_SUBREAPER)")
}

/// setgroups(2) for the process; nix's takes u32 wrappers, this one the numbers themselves.
pub fn setgroups(groups: &[u32]) -> Result<(), SysError> {
    let groups: Vec<nix::unistd::Gid> = groups.iter().map(|gid| (*gid).into()).collect();
    nix::unistd::setgroups(&groups).call(|| format!("setgroups({groups:?})"))
}

/// umask(2): sets the mask and answers the one from before.
pub fn umask(mask: u32) -> u32 {
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(mask)).bits()
}

/// prlimit(2) of another process, or of this one if `pid` is 0: its hard limit is at least `hard`
/// afterwards, in the resource's own unit.
pub fn raise_hard_limit(pid: Pid, resource: nix::sys::resource::Resource, hard: u64) -> Result<(), SysError> {
    let what = || format!("prlimit({resource:?}, {hard})");
    let mut limit = libc::rlimit64 { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` outlives the call, which writes it; a null new limit changes nothing.
    let rc = unsafe { libc::prlimit64(pid.as_raw(), resource as _, std::ptr::null(), &raw mut limit) };
    Errno::result(rc).call(what)?;
    if limit.rlim_max >= hard {
        return Ok(());
    }
    limit.rlim_max = hard;
    // SAFETY: `limit` outlives the call; with a null old limit nothing is written.
    let rc = unsafe { libc::prlimit64(pid.as_raw(), resource as _, &raw const limit, std::ptr::null_mut()) };
    Errno::result(rc).map(drop).call(what)
}

/// getcwd(2) itself: glibc's hides what the kernel says of a directory outside of the root.
pub fn working_directory() -> Result<Vec<u8>, SysError> {
    let mut path = vec![0u8; libc::PATH_MAX as usize + 32];
    // SAFETY: the kernel writes at most the given number of bytes.
    let rc = unsafe { libc::syscall(libc::SYS_getcwd, path.as_mut_ptr(), path.len()) };
    let length = check(rc).call(|| "getcwd()")?;
    // The length counts the NUL.
    path.truncate(usize::try_from(length - 1).unwrap_or(0));
    Ok(path)
}

/// prctl(2) with integer arguments.
pub(super) fn prctl(option: c_int, arg2: c_ulong, arg3: c_ulong) -> nix::Result<c_int> {
    // SAFETY: callers pass options whose arguments are integers, not pointers.
    let rc = unsafe { libc::prctl(option, arg2, arg3, 0 as c_ulong, 0 as c_ulong) };
    Errno::result(rc)
}

/// setdomainname(2).
pub fn set_domain_name(name: &str) -> Result<(), SysError> {
    // SAFETY: the pointer and the length describe `name`, which outlives the call.
    let rc = unsafe { libc::setdomainname(name.as_ptr().cast(), name.len()) };
    Errno::result(rc).map(drop).call(|| format!("setdomainname({name:?})"))
}
