//! The profile is compiled as for a container, and its program asked.

use libseccomp::{ScmpArch, ScmpSyscall};

use super::{Block, REFUSED, all_but, names, profile};
use crate::plan::seccomp;
use bpf::Question;

#[path = "../../../tests/seccomp/bpf.rs"]
mod bpf;

const ALLOW: u32 = 0x7fff_0000;
const EPERM: u32 = errno(libc::EPERM);
const ENOSYS: u32 = errno(libc::ENOSYS);
const EAFNOSUPPORT: u32 = errno(libc::EAFNOSUPPORT);
const X86_64: (u32, ScmpArch) = (0xc000_003e, ScmpArch::X8664);
const I386: (u32, ScmpArch) = (0x4000_0003, ScmpArch::X86);

const fn errno(errno: i32) -> u32 {
    0x5_0000 | errno.unsigned_abs()
}

struct Filter(bpf::Program);

impl Filter {
    fn compiled() -> Self {
        let profile = serde_json::from_value(profile()).unwrap();
        Self(bpf::Program::new(&seccomp::filter(&seccomp::plan(&profile).unwrap()).unwrap()))
    }

    fn verdict(&self, number: u32, arch: u32, args: &[u64]) -> u32 {
        let mut all = [0; 6];
        all[..args.len()].copy_from_slice(args);
        self.0.verdict(&Question { number, arch, args: all }).unwrap().0
    }

    fn ask(&self, (audit, arch): (u32, ScmpArch), name: &str, args: &[u64]) -> Option<u32> {
        let number = i32::from(ScmpSyscall::from_name_by_arch(name, arch).ok()?);
        // A negative one is libseccomp's own, of a call that this architecture has not, or had not at first.
        let number = if name == "socket" && audit == I386.0 { 359 } else { u32::try_from(number).ok()? };
        Some(self.verdict(number, audit, args))
    }

    fn on_64(&self, name: &str, args: &[u64]) -> u32 {
        self.ask(X86_64, name, args).unwrap()
    }
}

/// Garbage in the upper half of an argument, which the kernel does not look at.
const GARBAGE: u64 = 0xdead_0001_0000_0000;

#[test]
fn blocks_cover_everything_but_the_numbers_once() {
    for excluded in [
        &[0u32][..],
        &[u32::MAX],
        &[1, 2, 10, 16, 17],
        &[0x5412, 0x541c],
        &[0, 8, 0x20000, 0x20008, u32::MAX],
    ] {
        let blocks = all_but(excluded);
        let size: u64 = blocks.iter().map(|block| (!block.mask & 0xffff_ffff) + 1).sum();
        assert_eq!(size + excluded.len() as u64, 1 << 32);
        for number in excluded.iter().map(|n| u64::from(*n)) {
            assert!(blocks.iter().all(|Block { mask, value }| number & mask != *value), "{number:#x}");
        }
    }
}

#[test]
fn no_name_is_both_allowed_and_refused_or_named_twice() {
    let lists = [
        super::FILES,
        super::EVENTS,
        super::MEMORY,
        super::PROCESSES,
        super::IDENTITY,
        super::SIGNALS,
        super::TIME,
        super::SOCKETS,
        super::IPC,
        super::MACHINE,
        REFUSED,
    ];
    let filtered = ["clone", "clone3", "ioctl", "personality", "prctl", "socket", "socketpair", "socketcall"];
    let mut all: Vec<&str> = lists.iter().flat_map(|list| names(list)).chain(filtered).collect();
    let count = all.len();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), count);
}

#[cfg(target_arch = "x86_64")]
#[test]
fn what_docker_blocks_is_refused_on_both_architectures() {
    let filter = Filter::compiled();
    // Docker's documentation, "Significant syscalls blocked by the default profile", but for what depends on
    // arguments and ptrace; and what has come since.
    let blocked = "acct add_key bpf clock_adjtime clock_settime create_module delete_module finit_module
        get_kernel_syms get_mempolicy init_module ioperm iopl kcmp kexec_file_load kexec_load keyctl lookup_dcookie
        mbind mount move_pages nfsservctl open_by_handle_at perf_event_open pivot_root process_vm_readv
        process_vm_writev query_module quotactl reboot request_key set_mempolicy setns settimeofday socketcall stime
        swapon swapoff sysfs _sysctl umount umount2 unshare uselib userfaultfd ustat vm86 vm86old
        io_uring_setup io_uring_enter io_uring_register fsopen fsmount fsconfig move_mount open_tree mount_setattr
        pidfd_getfd process_madvise syslog sethostname fanotify_init vhangup clone3 quotactl_fd
        set_mempolicy_home_node memfd_secret";
    for name in names(blocked) {
        for arch in [X86_64, I386] {
            let verdict = filter.ask(arch, name, &[]);
            assert!(verdict.is_none_or(|v| v == EPERM || v == ENOSYS), "{name}: {verdict:x?}");
        }
    }
    assert_eq!(filter.on_64("mount", &[]), EPERM);
    assert_eq!(filter.on_64("clone3", &[]), ENOSYS);
    assert_eq!(filter.ask(I386, "socketcall", &[1]), Some(EPERM));
}

#[cfg(target_arch = "x86_64")]
#[test]
fn what_the_kernel_does_not_have_yet_is_missing_and_not_forbidden() {
    let filter = Filter::compiled();
    for number in [470, 600, 1000] {
        assert_eq!(filter.verdict(number, X86_64.0, &[]), ENOSYS, "{number}");
    }
}

#[cfg(target_arch = "x86_64")]
#[test]
fn another_architecture_kills() {
    let filter = Filter::compiled();
    // x32: the bit is set in the number, and the architecture is that of 64 bits.
    assert_eq!(filter.verdict(0x4000_0000, X86_64.0, &[]), 0);
    assert_eq!(filter.verdict(0x4000_0000, 0xc000_00b7, &[]), 0);
}

#[cfg(target_arch = "x86_64")]
#[test]
fn processes_and_threads_can_be_made_and_namespaces_not() {
    let filter = Filter::compiled();
    // What glibc passes for fork and for a thread.
    for flags in [0x0120_0011, 0x003d_0f00, 0x4111, 0] {
        for arch in [X86_64, I386] {
            assert_eq!(filter.ask(arch, "clone", &[flags]), Some(ALLOW), "{flags:#x}");
        }
    }
    for flag in [0x2_0000, 0x0200_0000, 0x0400_0000, 0x0800_0000, 0x1000_0000, 0x2000_0000, 0x4000_0000] {
        assert_eq!(filter.on_64("clone", &[flag | 17 | GARBAGE]), EPERM, "{flag:#x}");
        assert_eq!(filter.ask(I386, "clone", &[flag | 17]), Some(EPERM), "{flag:#x}");
    }
}

#[cfg(target_arch = "x86_64")]
#[test]
fn nobody_types_into_a_terminal() {
    let filter = Filter::compiled();
    for request in [0x5412, 0x541c] {
        for argument in [request, request | GARBAGE, request | 1 << 32] {
            assert_eq!(filter.on_64("ioctl", &[0, argument]), EPERM, "{argument:#x}");
        }
        assert_eq!(filter.ask(I386, "ioctl", &[0, request]), Some(EPERM));
    }
    // TCGETS, TIOCSWINSZ, TIOCGPTPEER, FIONREAD, FICLONE, 0, all bits, and the neighbours.
    for request in [0x5401, 0x5414, 0x5441, 0x541b, 0x4004_9409, 0, 0xffff_ffff, 0x5411, 0x5413, 0x541d] {
        assert_eq!(filter.on_64("ioctl", &[0, request]), ALLOW, "{request:#x}");
        assert_eq!(filter.ask(I386, "ioctl", &[0, request]), Some(ALLOW), "{request:#x}");
    }
}

#[cfg(target_arch = "x86_64")]
#[test]
fn arguments_decide_of_personality_prctl_and_socket() {
    let filter = Filter::compiled();
    for (persona, verdict) in [
        (0, ALLOW),
        (8, ALLOW),
        (0x20008, ALLOW),
        (u64::MAX, ALLOW),
        (0x40000, ENOSYS),
        (6, ENOSYS),
        (1 << 32 | 0x40000, ENOSYS),
    ] {
        assert_eq!(filter.on_64("personality", &[persona]), verdict, "{persona:#x}");
    }
    for (option, verdict) in
        [(15, ALLOW), (38, ALLOW), (22, ALLOW), (0x5961_6d61, ALLOW), (35, EPERM), (35 | GARBAGE, EPERM)]
    {
        assert_eq!(filter.on_64("prctl", &[option]), verdict, "{option:#x}");
    }
    for family in 0..64u64 {
        let verdict = if [1, 2, 10, 16, 17].contains(&family) { ALLOW } else { EAFNOSUPPORT };
        assert_eq!(filter.on_64("socket", &[family, 1, 0]), verdict, "{family}");
        assert_eq!(filter.on_64("socket", &[family | GARBAGE, 1, 0]), verdict, "{family}");
        assert_eq!(filter.ask(I386, "socket", &[family, 1, 0]), Some(verdict), "{family}");
    }
}

#[cfg(target_arch = "x86_64")]
#[test]
fn ordinary_programs_find_what_they_need() {
    let filter = Filter::compiled();
    let needed = "read write openat close mmap mprotect brk execve fork vfork exit_group futex rseq set_robust_list
        getrandom sigaltstack rt_sigaction tgkill sched_getaffinity sched_yield epoll_pwait eventfd2 pipe2 dup3
        setsid setpgid wait4 waitid chroot chown setuid setgroups capset seccomp ptrace mknod memfd_create
        copy_file_range name_to_handle_at landlock_create_ruleset close_range statx openat2 io_submit shmget";
    for name in names(needed) {
        assert_eq!(filter.on_64(name, &[]), ALLOW, "{name}");
    }
}

#[test]
fn the_kernel_takes_the_program() {
    let length = Filter::compiled().0.len();
    assert!(length < 4096, "{length} instructions");
}
