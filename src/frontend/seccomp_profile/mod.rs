//! The default seccomp profile, in the form of config-linux.md, "Seccomp": an allow-list, at least as strict
//! as docker's.
//!
//! What is known and not allowed answers EPERM. What nobody here has heard of, which is what newer kernels
//! bring, answers ENOSYS: so a C library that tries it first falls back to the older call.
//!
//! An argument that is an int to the kernel is compared in its low 32 bits only, always: a comparison of all
//! 64 would be passed by a number with garbage in the upper half (CVE-2019-10063). For the same reason
//! "anything but" is written as the blocks of numbers that are left, each a masked comparison.

use serde_json::{Value, json};

const EPERM: u32 = libc::EPERM.unsigned_abs();
const ENOSYS: u32 = libc::ENOSYS.unsigned_abs();
const EAFNOSUPPORT: u32 = libc::EAFNOSUPPORT.unsigned_abs();

/// The whole profile, as `linux.seccomp`.
pub(super) fn profile() -> Value {
    let mut rules = vec![
        // The family of a socket is behind a pointer here, out of a filter's reach. This comes before the
        // rules for socket(2): libseccomp would add this call to each of them, whatever the family. The
        // price are the sockets of 32-bit programs with glibc, which have used nothing else.
        refuse("socketcall", EPERM),
        allow(FILES),
        allow(EVENTS),
        allow(MEMORY),
        allow(PROCESSES),
        allow(IDENTITY),
        allow(SIGNALS),
        allow(TIME),
        allow(SOCKETS),
        allow(IPC),
        allow(MACHINE),
        refuse(REFUSED, EPERM),
    ];
    rules.extend(namespaces());
    rules.extend(terminals());
    rules.extend(personalities());
    rules.extend(process_controls());
    rules.extend(families());
    json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": ENOSYS,
        "architectures": architectures(),
        "syscalls": rules,
    })
}

/// This machine's, and its 32-bit one. Not x32, which hardly any kernel has; a call of an architecture that
/// is not named here kills.
fn architectures() -> &'static [&'static str] {
    match std::env::consts::ARCH {
        "x86_64" => &["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
        "aarch64" => &["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"],
        _ => &[],
    }
}

/// clone(2) makes processes and threads, but no namespaces. clone3(2) has its flags behind a pointer: it
/// "does not exist", and the C library takes clone.
fn namespaces() -> Vec<Value> {
    const NEW: [i32; 7] = [
        libc::CLONE_NEWNS,
        libc::CLONE_NEWCGROUP,
        libc::CLONE_NEWUTS,
        libc::CLONE_NEWIPC,
        libc::CLONE_NEWUSER,
        libc::CLONE_NEWPID,
        libc::CLONE_NEWNET,
    ];
    let flags = if std::env::consts::ARCH == "s390x" { 1 } else { 0 };
    let bits = NEW.map(|flag| u64::from(flag.unsigned_abs()));
    let none = Block { mask: bits.iter().fold(0, |all, bit| all | bit), value: 0 };
    let mut rules = vec![when(allow("clone"), flags, none), refuse("clone3", ENOSYS)];
    rules.extend(bits.map(|bit| when(refuse("clone", EPERM), flags, Block { mask: bit, value: bit })));
    rules
}

/// ioctl(2) without what types into a terminal: ioctl_tty(2), TIOCSTI (CVE-2017-5226); ioctl_console(2),
/// TIOCLINUX, whose pasting does the same (CVE-2023-1523).
fn terminals() -> Vec<Value> {
    const TIOCLINUX: u32 = 0x541c;
    #[expect(clippy::cast_possible_truncation, reason = "the kernel takes 32 bits")]
    let typing = [libc::TIOCSTI as u32, TIOCLINUX];
    either("ioctl", 1, &all_but(&typing), &only(&typing), EPERM)
}

/// personality(2): Linux, in 32 or 64 bits, with a version of 2.6 for old programs; and the question which.
/// There are too many others to name them: they are answered as what nobody has heard of.
fn personalities() -> Vec<Value> {
    const PER_LINUX32: u32 = 0x8;
    const UNAME26: u32 = 0x2_0000;
    let harmless = [0, PER_LINUX32, UNAME26, UNAME26 | PER_LINUX32, u32::MAX];
    only(&harmless).into_iter().map(|block| when(allow("personality"), 0, block)).collect()
}

/// prctl(2), which names threads, without PR_SET_MM, which changes what the process is to others.
fn process_controls() -> Vec<Value> {
    let forging = [libc::PR_SET_MM.unsigned_abs()];
    either("prctl", 0, &all_but(&forging), &only(&forging), EPERM)
}

/// socket(2) of the families that programs have a use for in a container. The others are where an ordinary
/// process reaches rarely used parts of the kernel (AF_ALG: CVE-2026-31431), or the hypervisor (AF_VSOCK).
fn families() -> Vec<Value> {
    const FAMILIES: [i32; 5] =
        [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK, libc::AF_PACKET];
    let families = FAMILIES.map(i32::unsigned_abs);
    either("socket socketpair", 0, &only(&families), &all_but(&families), EAFNOSUPPORT)
}

/// The 32-bit numbers that are `value` under `mask`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Block {
    mask: u64,
    value: u64,
}

const ALL_BITS: u64 = 0xffff_ffff;

fn only(numbers: &[u32]) -> Vec<Block> {
    numbers.iter().map(|number| Block { mask: ALL_BITS, value: (*number).into() }).collect()
}

/// All 32-bit numbers but these, in as few blocks as there can be.
fn all_but(numbers: &[u32]) -> Vec<Block> {
    let mut ends: Vec<u64> = numbers.iter().copied().map(u64::from).chain([ALL_BITS + 1]).collect();
    ends.sort_unstable();
    let (mut blocks, mut start) = (Vec::new(), 0u64);
    for end in ends {
        while start < end {
            // As large as its alignment and the gap allow.
            let aligned = start.trailing_zeros().min(32);
            let size = 1 << aligned.min((end - start).ilog2());
            blocks.push(Block { mask: ALL_BITS & !(size - 1), value: start });
            start += size;
        }
        start = end + 1;
    }
    blocks
}

/// Rules for calls whose argument is in one of some blocks or in one of the others.
fn either(names: &str, argument: usize, allowed: &[Block], refused: &[Block], errno: u32) -> Vec<Value> {
    let allowed = allowed.iter().map(|block| when(allow(names), argument, *block));
    let refused = refused.iter().map(|block| when(refuse(names, errno), argument, *block));
    allowed.chain(refused).collect()
}

fn names(list: &str) -> Vec<&str> {
    list.split_ascii_whitespace().collect()
}

fn allow(list: &str) -> Value {
    json!({ "names": names(list), "action": "SCMP_ACT_ALLOW" })
}

fn refuse(list: &str, errno: u32) -> Value {
    json!({ "names": names(list), "action": "SCMP_ACT_ERRNO", "errnoRet": errno })
}

fn when(mut rule: Value, index: usize, block: Block) -> Value {
    rule["args"] =
        json!([{ "index": index, "value": block.mask, "valueTwo": block.value, "op": "SCMP_CMP_MASKED_EQ" }]);
    rule
}

const FILES: &str = "
    access chdir chmod chown chown32 chroot close close_range copy_file_range creat dup dup2 dup3 faccessat
    faccessat2 fadvise64 fadvise64_64 arm_fadvise64_64 fallocate fchdir fchmod fchmodat fchmodat2 fchown fchown32
    fchownat fcntl fcntl64 fdatasync fgetxattr flistxattr flock fremovexattr fsetxattr fstat fstat64 fstatat64
    fstatfs fstatfs64 fsync ftruncate ftruncate64 futimesat getcwd getdents getdents64 getxattr getxattrat lchown
    lchown32 lgetxattr link linkat listxattr listxattrat llistxattr _llseek lremovexattr lseek lsetxattr lstat
    lstat64 mkdir mkdirat mknod mknodat name_to_handle_at newfstatat open openat openat2 pipe pipe2 pread64 preadv
    preadv2 pwrite64 pwritev pwritev2 read readahead readlink readlinkat readv removexattr removexattrat rename
    renameat renameat2 rmdir sendfile sendfile64 setxattr setxattrat splice stat stat64 statfs statfs64 statx
    symlink symlinkat sync sync_file_range sync_file_range2 arm_sync_file_range syncfs tee truncate truncate64
    umask unlink unlinkat utime utimensat utimensat_time64 utimes vmsplice write writev cachestat";

const EVENTS: &str = "
    epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait epoll_wait_old eventfd
    eventfd2 inotify_add_watch inotify_init inotify_init1 inotify_rm_watch io_cancel io_destroy io_getevents
    io_pgetevents io_pgetevents_time64 io_setup io_submit poll ppoll ppoll_time64 pselect6 pselect6_time64 select
    _newselect signalfd signalfd4 timerfd_create timerfd_gettime timerfd_gettime64 timerfd_settime
    timerfd_settime64";

const MEMORY: &str = "
    brk madvise map_shadow_stack membarrier memfd_create mincore mlock mlock2 mlockall mmap mmap2 mprotect mremap
    mseal msync munlock munlockall munmap pkey_alloc pkey_free pkey_mprotect remap_file_pages";

/// ptrace(2) is harmless since Linux 4.8: what is traced keeps its filter.
const PROCESSES: &str = "
    alarm execve execveat exit exit_group fork futex futex_requeue futex_time64 futex_wait futex_waitv futex_wake
    get_robust_list get_thread_area getcpu getpgid getpgrp getpid getppid getpriority getrlimit getrusage getsid
    gettid ioprio_get ioprio_set kill landlock_add_rule landlock_create_ruleset landlock_restrict_self nice pause
    pidfd_open pidfd_send_signal prlimit64 process_mrelease ptrace restart_syscall rseq sched_get_priority_max
    sched_get_priority_min sched_getaffinity sched_getattr sched_getparam sched_getscheduler sched_rr_get_interval
    sched_rr_get_interval_time64 sched_setaffinity sched_setattr sched_setparam sched_setscheduler sched_yield
    seccomp set_robust_list set_thread_area set_tid_address setpgid setpriority setrlimit setsid tgkill times tkill
    ugetrlimit vfork wait4 waitid waitpid";

const IDENTITY: &str = "
    capget capset getegid getegid32 geteuid geteuid32 getgid getgid32 getgroups getgroups32 getresgid getresgid32
    getresuid getresuid32 getuid getuid32 setfsgid setfsgid32 setfsuid setfsuid32 setgid setgid32 setgroups
    setgroups32 setregid setregid32 setresgid setresgid32 setresuid setresuid32 setreuid setreuid32 setuid setuid32";

const SIGNALS: &str = "
    rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait
    rt_sigtimedwait_time64 rt_tgsigqueueinfo sigaction sigaltstack signal sigpending sigprocmask sigreturn
    sigsuspend";

/// Setting the clock is refused; adjtimex(2) without CAP_SYS_TIME only reads.
const TIME: &str = "
    adjtimex clock_getres clock_getres_time64 clock_gettime clock_gettime64 clock_nanosleep clock_nanosleep_time64
    getitimer gettimeofday nanosleep setitimer time timer_create timer_delete timer_getoverrun timer_gettime
    timer_gettime64 timer_settime timer_settime64";

const SOCKETS: &str = "
    accept accept4 bind connect getpeername getsockname getsockopt listen recv recvfrom recvmmsg recvmmsg_time64
    recvmsg send sendmmsg sendmsg sendto setsockopt shutdown";

const IPC: &str = "
    ipc mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedreceive_time64 mq_timedsend mq_timedsend_time64
    mq_unlink msgctl msgget msgrcv msgsnd semctl semget semop semtimedop semtimedop_time64 shmat shmctl shmdt
    shmget";

/// What is left, and what single architectures have.
const MACHINE: &str = "
    getrandom sysinfo uname arch_prctl modify_ldt breakpoint cacheflush get_tls set_tls riscv_flush_icache
    riscv_hwprobe";

/// Known, and not for containers: other file systems and namespaces, the machine's clock, modules, memory
/// policy and swap, keys that no namespace holds, and ways into the kernel that were made for few and served
/// many (bpf, io_uring, perf, userfaultfd).
const REFUSED: &str = "
    acct add_key afs_syscall bdflush bpf clock_adjtime clock_adjtime64 clock_settime clock_settime64 create_module
    delete_module fanotify_init fanotify_mark finit_module fsconfig fsmount fsopen fspick get_kernel_syms
    get_mempolicy getpmsg init_module io_uring_enter io_uring_register io_uring_setup ioperm iopl kcmp
    kexec_file_load kexec_load keyctl lookup_dcookie mbind migrate_pages mount mount_setattr move_mount move_pages
    nfsservctl open_by_handle_at open_tree perf_event_open pidfd_getfd pivot_root process_madvise putpmsg
    query_module quotactl quotactl_fd reboot request_key set_mempolicy set_mempolicy_home_node setdomainname
    sethostname setns settimeofday stime swapoff swapon sysfs _sysctl syslog umount umount2 unshare uselib
    userfaultfd ustat vhangup vm86 vm86old vserver";

#[cfg(test)]
mod tests;
