//! The only unsafe code. One function per system call, no policy; each error keeps the call and errno.
//!
//! nix's safe wrappers come first; what it lacks is here, beside it.
#![expect(unsafe_code, reason = "system calls that no safe wrapper offers")]

pub mod bpf;
pub mod caps;
pub mod entry;
pub mod exe;
pub mod fs;
pub mod keyring;
pub mod last_calls;
pub mod mount;
pub mod namespace;
pub mod net;
pub mod process;
pub mod sched;
pub mod seccomp;
pub mod tty;

use std::fmt;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

pub use nix::errno::Errno;

/// A system call that failed: the call as strace would print it, and errno.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SysError {
    /// The call with its arguments, such as `openat2("etc/hosts", O_PATH)`.
    pub call: String,
    /// What the kernel answered.
    pub errno: Errno,
}

impl fmt::Display for SysError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} ({:?})", self.call, self.errno.desc(), self.errno)
    }
}

impl std::error::Error for SysError {}

/// Names the call of nix's or std's wrapper that failed.
pub trait Call<T> {
    /// `what` is evaluated on failure only.
    fn call<D: fmt::Display>(self, what: impl FnOnce() -> D) -> Result<T, SysError>;
}

impl<T> Call<T> for nix::Result<T> {
    fn call<D: fmt::Display>(self, what: impl FnOnce() -> D) -> Result<T, SysError> {
        self.map_err(|errno| SysError { call: what().to_string(), errno })
    }
}

impl<T> Call<T> for std::io::Result<T> {
    fn call<D: fmt::Display>(self, what: impl FnOnce() -> D) -> Result<T, SysError> {
        self.map_err(|error| SysError {
            call: what().to_string(),
            errno: error.raw_os_error().map_or(Errno::EIO, Errno::from_raw),
        })
    }
}

/// The result of a raw system call: -1 means errno.
fn check(rc: libc::c_long) -> nix::Result<libc::c_long> {
    if rc == -1 { Err(Errno::last()) } else { Ok(rc) }
}

/// A descriptor that a raw system call has answered.
fn owned(fd: libc::c_long) -> OwnedFd {
    #[expect(clippy::cast_possible_truncation, reason = "the kernel returns an int")]
    let fd = fd as RawFd;
    // SAFETY: callers pass what the kernel has just returned to them, so nobody else owns it.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// Runs `attempt` again for as long as a signal interrupts it.
pub fn retry_eintr<T>(mut attempt: impl FnMut() -> nix::Result<T>) -> nix::Result<T> {
    loop {
        match attempt() {
            Err(Errno::EINTR) => {}
            done => return done,
        }
    }
}
