//! config-linux.md: seccomp, its actions, flags and values. umask(2) is the call that is tried: it takes any
//! number and can't fail by itself.

use serde_json::{Value, json};

use crate::clause::{Clause, Outcome, callers, must, should};
use crate::draft::Draft;
use crate::lab::Lab;

const SECCOMP: &str = "config-linux.md#seccomp";
const VALUES: &str = "config.md#valid-values";
const INVALID: &str = "Runtimes MUST generate an error when invalid or unsupported values are encountered.";
const ACTION: &str = "action (string, REQUIRED) - the action for seccomp rules.";
const ERRNO: &str = "errnoRet (uint, OPTIONAL) - the errno return code to use. … The default is EPERM.";
const NO_ERRNO: &str = "When the action doesn't support an errno, the runtime MUST print and error and fail.";
const DEFAULT: &str = "defaultAction (string, REQUIRED) - the default action for seccomp.";
const FLAGS: &str = "flags (array of strings, OPTIONAL) - list of flags to use with seccomp(2).";
const ARCHITECTURES: &str =
    "architectures (array of strings, OPTIONAL) - the architecture used for system calls.";
const NAMES: &str =
    "names (array of strings, REQUIRED) - the names of the syscalls. names MUST contain at least one entry.";
const SIGSYS: i32 = 31;

/// umask(18).
pub(super) const UMASK: (i64, &[u64]) = (libc::SYS_umask, &[18]);

pub(crate) const CLAUSES: &[Clause] = &[
    must("linux.seccomp.filter", (SECCOMP, "seccomp (object, OPTIONAL)"), |lab| {
        on_umask(lab, json!({ "action": "SCMP_ACT_LOG" })).sees("seccomp", 2)
    }),
    must("linux.seccomp.unset", (SECCOMP, "seccomp (object, OPTIONAL)"), |lab| lab.base().sees("seccomp", 0)),
    must("linux.seccomp.without-capabilities", (SECCOMP, "seccomp (object, OPTIONAL)"), |lab| {
        on_umask(lab, json!({ "action": "SCMP_ACT_ERRNO" }))
            .with("process/user", json!({ "uid": 1000, "gid": 1000 }))
            .with("process/noNewPrivileges", false)
            .calls("umask", UMASK, Some("EPERM"))
    }),
    must("linux.seccomp.no-new-privileges", (SECCOMP, "seccomp (object, OPTIONAL)"), |lab| {
        on_umask(lab, json!({ "action": "SCMP_ACT_ERRNO" })).with("process/noNewPrivileges", true).calls(
            "umask",
            UMASK,
            Some("EPERM"),
        )
    }),
    must("linux.seccomp.action.allow", (SECCOMP, ACTION), |lab| {
        on_umask(lab, json!({ "action": "SCMP_ACT_ALLOW" }))
            .with("linux/seccomp/defaultAction", "SCMP_ACT_LOG")
            .calls("umask", UMASK, None)
    }),
    must("linux.seccomp.action.errno", (SECCOMP, ERRNO), |lab| {
        on_umask(lab, json!({ "action": "SCMP_ACT_ERRNO" })).calls("umask", UMASK, Some("EPERM"))
    }),
    must("linux.seccomp.action.errno.number", (SECCOMP, ERRNO), |lab| {
        on_umask(lab, json!({ "action": "SCMP_ACT_ERRNO", "errnoRet": 99 })).calls(
            "umask",
            UMASK,
            Some("EADDRNOTAVAIL"),
        )
    }),
    must("linux.seccomp.action.log", (SECCOMP, ACTION), |lab| {
        on_umask(lab, json!({ "action": "SCMP_ACT_LOG" })).calls("umask", UMASK, None)
    }),
    must("linux.seccomp.action.trace", (SECCOMP, ACTION), |lab| {
        // Without a tracer the kernel answers so: seccomp(2).
        on_umask(lab, json!({ "action": "SCMP_ACT_TRACE" })).calls("umask", UMASK, Some("ENOSYS"))
    }),
    must("linux.seccomp.action.trace.number", (SECCOMP, ERRNO), |lab| {
        on_umask(lab, json!({ "action": "SCMP_ACT_TRACE", "errnoRet": 5 })).calls(
            "umask",
            UMASK,
            Some("ENOSYS"),
        )
    }),
    must("linux.seccomp.action.kill", (SECCOMP, ACTION), |lab| dies(lab, "SCMP_ACT_KILL")),
    must("linux.seccomp.action.kill-process", (SECCOMP, ACTION), |lab| dies(lab, "SCMP_ACT_KILL_PROCESS")),
    must("linux.seccomp.action.kill-thread", (SECCOMP, ACTION), |lab| dies(lab, "SCMP_ACT_KILL_THREAD")),
    must("linux.seccomp.action.trap", (SECCOMP, ACTION), |lab| dies(lab, "SCMP_ACT_TRAP")),
    must("linux.seccomp.action.unknown", (VALUES, INVALID), |lab| {
        on_umask(lab, json!({ "action": "SCMP_ACT_NOTHING" })).fails("SCMP_ACT_NOTHING|action")
    }),
    must("linux.seccomp.action.required", (SECCOMP, ACTION), |lab| {
        lab.base().seccomp("SCMP_ACT_ALLOW", json!([{ "names": ["umask"] }])).fails("action")
    }),
    must("linux.seccomp.default-action", (SECCOMP, DEFAULT), |lab| {
        denies_by_default(lab, json!({})).calls("umask", UMASK, Some("EPERM"))
    }),
    must(
        "linux.seccomp.default-errno",
        (SECCOMP, "defaultErrnoRet (uint, OPTIONAL) - the errno return code to use. … The default is EPERM."),
        |lab| denies_by_default(lab, json!(99)).calls("umask", UMASK, Some("EADDRNOTAVAIL")),
    ),
    must("linux.seccomp.default-action.required", (SECCOMP, DEFAULT), |lab| {
        lab.with("linux/seccomp", json!({ "syscalls": [] })).fails("defaultAction|action|seccomp")
    }),
    must("linux.seccomp.default-action.unknown", (VALUES, INVALID), |lab| {
        lab.with("linux/seccomp", json!({ "defaultAction": "SCMP_ACT_NOTHING" }))
            .fails("SCMP_ACT_NOTHING|action")
    }),
    must("linux.seccomp.errno.not-for-allow", (SECCOMP, NO_ERRNO), |lab| {
        on_umask(lab, json!({ "action": "SCMP_ACT_ALLOW", "errnoRet": 5 })).fails("errno")
    }),
    must("linux.seccomp.errno.not-for-kill", (SECCOMP, NO_ERRNO), |lab| {
        on_umask(lab, json!({ "action": "SCMP_ACT_KILL", "errnoRet": 5 })).fails("errno")
    }),
    must("linux.seccomp.errno.not-for-log", (SECCOMP, NO_ERRNO), |lab| {
        on_umask(lab, json!({ "action": "SCMP_ACT_LOG", "errnoRet": 5 })).fails("errno")
    }),
    must("linux.seccomp.errno.not-for-trap", (SECCOMP, NO_ERRNO), |lab| {
        on_umask(lab, json!({ "action": "SCMP_ACT_TRAP", "errnoRet": 5 })).fails("errno")
    }),
    must("linux.seccomp.default-errno.not-for-allow", (SECCOMP, NO_ERRNO), |lab| {
        lab.with("linux/seccomp", json!({ "defaultAction": "SCMP_ACT_ALLOW", "defaultErrnoRet": 5 }))
            .fails("errno")
    }),
    must(
        "linux.seccomp.names.several",
        (SECCOMP, "names (array of strings, REQUIRED) - the names of the syscalls."),
        |lab| {
            let rule = json!([{ "names": ["getpgid", "umask"], "action": "SCMP_ACT_ERRNO" }]);
            lab.base().seccomp("SCMP_ACT_ALLOW", rule).calls("umask", UMASK, Some("EPERM"))
        },
    ),
    must("linux.seccomp.names.empty", (SECCOMP, NAMES), |lab| {
        lab.base()
            .seccomp("SCMP_ACT_ALLOW", json!([{ "names": [], "action": "SCMP_ACT_ERRNO" }]))
            .fails("names")
    }),
    must("linux.seccomp.names.required", (SECCOMP, NAMES), |lab| {
        lab.base().seccomp("SCMP_ACT_ALLOW", json!([{ "action": "SCMP_ACT_ERRNO" }])).fails("names")
    }),
    callers(
        "linux.seccomp.names.unknown",
        (
            "callers: seccomp",
            "A system call that this kernel or library doesn't know is left out (docker's and podman's profiles name those of all kernels).",
        ),
        |lab| {
            let rule = json!([{ "names": ["no_such_call", "umask"], "action": "SCMP_ACT_ERRNO" }]);
            lab.base().seccomp("SCMP_ACT_ALLOW", rule).calls("umask", UMASK, Some("EPERM"))
        },
    ),
    should("linux.seccomp.flag.tsync", (SECCOMP, FLAGS), |lab| flag(lab, "TSYNC")),
    should("linux.seccomp.flag.log", (SECCOMP, FLAGS), |lab| flag(lab, "LOG")),
    should("linux.seccomp.flag.spec-allow", (SECCOMP, FLAGS), |lab| flag(lab, "SPEC_ALLOW")),
    must("linux.seccomp.flag.none", (SECCOMP, FLAGS), |lab| {
        on_umask(lab, json!({ "action": "SCMP_ACT_ERRNO" })).with("linux/seccomp/flags", json!([])).calls(
            "umask",
            UMASK,
            Some("EPERM"),
        )
    }),
    must("linux.seccomp.flag.unknown", (VALUES, INVALID), |lab| {
        on_umask(lab, json!({ "action": "SCMP_ACT_LOG" }))
            .with("linux/seccomp/flags", json!(["SECCOMP_FILTER_FLAG_NOTHING"]))
            .fails("SECCOMP_FILTER_FLAG_NOTHING|flag")
    }),
    must("linux.seccomp.architecture.own", (SECCOMP, ARCHITECTURES), |lab| {
        on_umask(lab, json!({ "action": "SCMP_ACT_ERRNO" }))
            .with("linux/seccomp/architectures", own_architectures())
            .calls("umask", UMASK, Some("EPERM"))
    }),
    should("linux.seccomp.architecture.foreign", (SECCOMP, ARCHITECTURES), |lab| {
        // One library has them all, and of one byte order: libseccomp takes no others together.
        let others = if cfg!(target_arch = "aarch64") { ["X86_64", "X86"] } else { ["AARCH64", "ARM"] };
        let mut all = own_architectures();
        if let Some(list) = all.as_array_mut() {
            list.extend(others.map(|name| json!(format!("SCMP_ARCH_{name}"))));
        }
        on_umask(lab, json!({ "action": "SCMP_ACT_ERRNO" })).with("linux/seccomp/architectures", all).calls(
            "umask",
            UMASK,
            Some("EPERM"),
        )
    }),
    must("linux.seccomp.architecture.unknown", (VALUES, INVALID), |lab| {
        on_umask(lab, json!({ "action": "SCMP_ACT_LOG" }))
            .with("linux/seccomp/architectures", json!(["SCMP_ARCH_NOTHING"]))
            .fails("SCMP_ARCH_NOTHING|arch")
    }),
];

/// All is allowed but for umask(2), for which there is this rule.
pub(super) fn on_umask<'l>(lab: &'l Lab<'l>, mut rule: Value) -> Draft<'l> {
    rule["names"] = json!(["umask"]);
    lab.base().seccomp("SCMP_ACT_ALLOW", json!([rule]))
}

/// The program ends by the signal of the kernel.
fn dies(lab: &Lab<'_>, action: &str) -> Outcome {
    on_umask(lab, json!({ "action": action }))
        .ask("calls", json!(["umask", UMASK.0, UMASK.1]))
        .ends_by(SIGSYS)
}

fn flag(lab: &Lab<'_>, name: &str) -> Outcome {
    on_umask(lab, json!({ "action": "SCMP_ACT_ERRNO" }))
        .with("linux/seccomp/flags", json!([format!("SECCOMP_FILTER_FLAG_{name}")]))
        .calls("umask", UMASK, Some("EPERM"))
}

fn own_architectures() -> Value {
    match std::env::consts::ARCH {
        "x86_64" => json!(["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]),
        "aarch64" => json!(["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"]),
        other => json!([format!("SCMP_ARCH_{}", other.to_uppercase())]),
    }
}

/// Nothing is allowed but what the probe and a runtime's last steps before it do.
fn denies_by_default<'l>(lab: &'l Lab<'l>, errno: Value) -> Draft<'l> {
    let names = "access arch_prctl brk capget capset chdir clock_gettime clone clone3 close close_range dup dup2 \
        dup3 epoll_ctl epoll_create1 epoll_pwait execve execveat exit exit_group faccessat faccessat2 fchdir fchown \
        fcntl fstat fstatfs futex get_mempolicy getcwd getdents64 getegid geteuid getgid getgroups getpgid getpid \
        getppid getrandom getresgid getresuid getrlimit getsid gettid getuid ioctl ioprio_get keyctl lseek lstat \
        madvise membarrier mmap mprotect mremap munmap nanosleep newfstatat open openat openat2 personality \
        pidfd_open pidfd_send_signal pipe2 poll ppoll prctl pread64 prlimit64 read readlink readlinkat readv recvmsg \
        rseq rt_sigaction rt_sigprocmask rt_sigreturn sched_getaffinity sched_getattr sched_yield seccomp sendmsg \
        set_robust_list set_tid_address setgid setgroups setresgid setresuid setsid setuid sigaltstack stat statx \
        tgkill uname wait4 waitid write writev accept4 bind connect eventfd2 ftruncate getpriority getsockopt ioprio_set kill listen \
        memfd_create mkdir mkdirat mount mount_setattr move_mount open_tree pipe pselect6 pwrite64 recvfrom select \
        sched_setaffinity sched_setattr sendfile sendto set_mempolicy setpriority setsockopt shutdown socket \
        socketpair sysinfo symlinkat tkill umount2 unlink unlinkat";
    let rule = json!([{ "names": names.split_whitespace().collect::<Vec<_>>(), "action": "SCMP_ACT_ALLOW" }]);
    let draft = lab.base().seccomp("SCMP_ACT_ERRNO", rule);
    if errno.is_u64() { draft.with("linux/seccomp/defaultErrnoRet", errno) } else { draft }
}
