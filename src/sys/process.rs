//! Processes: clone3(2), pidfds, signals, the few attributes that nix has no call for.

use std::ffi::{CStr, CString, c_char, c_int, c_long, c_ulong};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::OnceLock;

use nix::errno::Errno;
use nix::sys::signal::SigSet;
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus};
use nix::unistd::Pid;

use super::fs::{self, OFlag};
use super::{Call, SysError, check, retry_eintr};

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
/// the new one does not (CLONE_CLEAR_SIGHAND, since Linux 5.5); what it ignores, see [`reset_signals`].
/// `namespaces` are CLONE_NEW* bits, and maybe [`SIBLING`].
///
/// The caller has one thread (nothing in this crate starts another; clippy forbids it), so the copy
/// may allocate and run ordinary code. It leaves by execve or [`exit_now`].
pub fn clone3(namespaces: u64, cgroup: Option<BorrowedFd<'_>>) -> Result<Side, SysError> {
    const CLONE_CLEAR_SIGHAND: u64 = 0x1_0000_0000;
    const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;
    ignored();
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

/// pidfd_open(2). ESRCH when there is no such process.
pub fn pidfd_open(pid: Pid) -> Result<OwnedFd, SysError> {
    // SAFETY: two integers, no pointer.
    let rc = check(unsafe { libc::syscall(libc::SYS_pidfd_open, pid.as_raw(), 0) });
    // Linux 6.1 says so of a process that has been reaped while its session or process group lives on.
    let rc = rc.map_err(|errno| if errno == Errno::EINVAL { Errno::ESRCH } else { errno });
    #[expect(clippy::cast_possible_truncation, reason = "the kernel returns an int")]
    // SAFETY: the kernel has just returned this descriptor to us.
    rc.map(|fd| unsafe { OwnedFd::from_raw_fd(fd as RawFd) }).call(|| format!("pidfd_open({pid})"))
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

/// waitid(2): an error (ECHILD) unless it is a child of this process that has not been reaped.
pub fn is_child(pidfd: BorrowedFd<'_>) -> Result<(), SysError> {
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    retry_eintr(|| nix::sys::wait::waitid(Id::PIDFd(pidfd), flags)).map(drop).call(|| "waitid(P_PIDFD)")
}

/// pidfd_getfd(2): a copy of another process's descriptor. It asks for the rights of ptrace(2).
pub fn pidfd_getfd(pidfd: BorrowedFd<'_>, number: u32) -> Result<OwnedFd, SysError> {
    // SAFETY: three integers; the descriptor that it answers is new, and nobody else's.
    let rc = unsafe { libc::syscall(libc::SYS_pidfd_getfd, pidfd.as_raw_fd(), number, 0) };
    let fd = check(rc).call(|| format!("pidfd_getfd({number})"))?;
    Ok(fs::own(c_int::try_from(fd).unwrap_or(-1)))
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

/// Gives every signal that is ignored its default action and unblocks all. An ignored signal would stay ignored through
/// execve, and the Rust runtime itself ignores SIGPIPE. What has a handler has none after [`clone3`], or execve.
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
/// sees the host's /proc, for [`clone3`] asks, too.
fn ignored() -> u64 {
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

/// What a write to a pipe that nobody reads does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BrokenPipe {
    /// It answers EPIPE.
    IsAnError,
    /// It ends the process: SIGPIPE, as programs expect.
    Kills,
}

/// prctl(2), PR_SET_CHILD_SUBREAPER: orphans among the descendants of this process become its children.
pub fn adopt_orphans() -> Result<(), SysError> {
    nix::sys::prctl::set_child_subreaper(true).call(|| "prctl(PR_SET_CHILD_SUBREAPER)")
}

/// Has a write beyond RLIMIT_FSIZE answer EFBIG: SIGXFSZ would end this process without a word.
pub fn on_large_file_fail() {
    // SAFETY: to ignore a signal runs no code of ours.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
}

/// Gives SIGCHLD its default action: ended children can be waited for.
pub fn notice_children() {
    // SAFETY: the default action runs no code of ours.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) };
}

/// Whether this process ignores a signal, as its caller may have had it begin: sigaction(2).
pub fn is_ignored(signal: nix::sys::signal::Signal) -> bool {
    // SAFETY: all zero is a valid sigaction: the default action, no flags, no mask.
    let mut now: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: a null new action changes nothing, and the old one is written to `now`.
    let rc = unsafe { libc::sigaction(signal as c_int, std::ptr::null(), &raw mut now) };
    rc == 0 && now.sa_sigaction == libc::SIG_IGN
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

/// The number of a key, keyrings(7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeySerial(c_long);

/// keyctl(2), KEYCTL_JOIN_SESSION_KEYRING: a new session keyring of this name, or one of this name that this
/// process may search.
pub fn join_session_keyring(name: &CStr) -> Result<KeySerial, SysError> {
    const JOIN_SESSION_KEYRING: c_int = 1;
    // SAFETY: `name` is NUL-terminated and outlives the call.
    let rc = unsafe { libc::syscall(libc::SYS_keyctl, JOIN_SESSION_KEYRING, name.as_ptr()) };
    check(rc).map(KeySerial).call(|| format!("keyctl(JOIN_SESSION_KEYRING, {name:?})"))
}

/// keyctl(2), KEYCTL_SETPERM: `permissions` are KEY_POS_*, KEY_USR_*, ... of linux/key.h.
pub fn set_key_permissions(key: KeySerial, permissions: u32) -> Result<(), SysError> {
    const SETPERM: c_int = 5;
    // SAFETY: three integers, no pointer.
    let rc = unsafe { libc::syscall(libc::SYS_keyctl, SETPERM, key.0, permissions) };
    check(rc).map(drop).call(|| format!("keyctl(SETPERM, {permissions:#x})"))
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

/// setdomainname(2).
pub fn set_domain_name(name: &str) -> Result<(), SysError> {
    // SAFETY: the pointer and the length describe `name`, which outlives the call.
    let rc = unsafe { libc::setdomainname(name.as_ptr().cast(), name.len()) };
    Errno::result(rc).map(drop).call(|| format!("setdomainname({name:?})"))
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::{Side, clone3, ignored_in, pidfd_signal, reap, was_born_dead};

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

    #[test]
    fn the_signals_that_are_ignored_are_a_line_of_status() {
        let status =
            "Name:\tx\nSigBlk:\t0000000000000001\nSigIgn:\t8000000000001000\nSigCgt:\t0000000000000440\n";
        assert_eq!(ignored_in(status), Some(1 << 63 | 1 << 12));
        assert_eq!(["", "SigIgn:\tx\n"].map(ignored_in), [None, None]);
    }
}
