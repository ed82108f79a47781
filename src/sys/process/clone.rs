//! New processes: clone3(2).

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::unistd::Pid;

use crate::sys::{Call, SysError, check};

/// clone3(2), struct clone_args.
#[derive(Debug, Default)]
#[repr(C)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

impl CloneArgs {
    /// With a pidfd, which the kernel writes there.
    fn of(flags: u64, pidfd: *mut RawFd) -> Self {
        // With CLONE_PARENT the kernel takes the exit signal of the caller and wants none here.
        let exit_signal = if flags & SIBLING == 0 { libc::SIGCHLD as u64 } else { 0 };
        Self { flags: flags | libc::CLONE_PIDFD as u64, pidfd: pidfd as u64, exit_signal, ..Self::default() }
    }
}

/// Which side of the clone this is.
#[derive(Debug)]
pub enum Side {
    /// The caller: the new process as its pid namespace's parent sees it.
    Host(Pid, OwnedFd),
    /// The new process, with a copy of the caller's memory and descriptors.
    Init,
}

/// CLONE_PARENT: the new process is a sibling of the caller, not its child.
pub const SIBLING: u64 = libc::CLONE_PARENT as u64;

/// clone3(2) with a pidfd, into `cgroup` if one is given (CLONE_INTO_CGROUP, since Linux 5.7). What this process handles
/// the new one does not (CLONE_CLEAR_SIGHAND, since Linux 5.5); what it ignores, see [`super::reset_signals`].
/// `namespaces` are CLONE_NEW* bits, and maybe [`SIBLING`].
///
/// The caller has one thread (nothing in this crate starts another; clippy forbids it), so the copy
/// may allocate and run ordinary code. It leaves by execve or [`exit_now`].
pub fn clone3(namespaces: u64, cgroup: Option<BorrowedFd<'_>>) -> Result<Side, SysError> {
    const CLONE_CLEAR_SIGHAND: u64 = 0x1_0000_0000;
    const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;
    super::signals::ignored();
    let mut pidfd: RawFd = -1;
    let mut args = CloneArgs::of(namespaces | CLONE_CLEAR_SIGHAND, &raw mut pidfd);
    if let Some(fd) = cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = fd.as_raw_fd().unsigned_abs().into();
    }
    // SAFETY: without CLONE_VM the new process gets a copy of this memory, so it may go on from here;
    // `args` is a valid clone_args of the given size and `pidfd` outlives the call.
    let rc = unsafe { libc::syscall(libc::SYS_clone3, &raw mut args, size_of::<CloneArgs>()) };
    match check(rc).call(|| format!("clone3({:#x})", args.flags))? {
        0 => Ok(Side::Init),
        #[expect(clippy::cast_possible_truncation, reason = "a pid is an int")]
        pid => Ok(Side::Host(
            Pid::from_raw(pid as libc::pid_t),
            // SAFETY: CLONE_PIDFD: the kernel has stored a new descriptor in `pidfd`, which is ours.
            unsafe { OwnedFd::from_raw_fd(pidfd) },
        )),
    }
}

/// _exit(2): no destructor and no atexit handler of the copied memory runs a second time.
pub fn exit_now(status: i32) -> ! {
    // SAFETY: takes an integer and does not return.
    unsafe { libc::_exit(status) }
}
