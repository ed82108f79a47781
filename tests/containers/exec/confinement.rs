//! The container's filter holds for what `exec` starts.

use serde_json::json;

use super::{process_file, running, sh};
use crate::support::{case, remove};

#[test]
fn the_filter_of_the_container_is_that_of_the_process() {
    let case = case!();
    for no_new_privileges in [false, true] {
        let b = running(&case, |config| {
            config["process"]["noNewPrivileges"] = json!(no_new_privileges);
            config["linux"]["seccomp"] = json!({
                "defaultAction": "SCMP_ACT_ALLOW",
                "syscalls": [{ "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 122 }],
            });
        });
        // Neither the bundle nor the cache of compiled profiles is asked.
        remove(&b.dir.join("config.json"));
        std::fs::remove_dir_all(case.state.join(".seccomp")).unwrap();
        let done = sh(&case, &[], &b, "grep Seccomp: /proc/self/status; mkdir /tmp/x");
        assert_eq!(done.stdout(), "Seccomp:\t2\n");
        assert!(done.stderr().contains("Disk quota exceeded"), "{done}");
        case.delete(&b.id);
    }
}

#[test]
fn a_filter_need_not_allow_what_only_the_runtime_calls() {
    let case = case!();
    let b = running(&case, |config| {
        let allowed = [
            "execve",
            "brk",
            "mmap",
            "munmap",
            "mprotect",
            "read",
            "write",
            "openat",
            "open",
            "close",
            "fstat",
            "stat",
            "newfstatat",
            "lseek",
            "exit",
            "exit_group",
            "arch_prctl",
            "set_tid_address",
            "uname",
            "readlink",
            "readlinkat",
            "getuid",
            "geteuid",
            "getgid",
            "getegid",
            "getpid",
            "getppid",
            "rt_sigaction",
            "rt_sigprocmask",
            "rt_sigreturn",
            "ioctl",
            "fcntl",
            "getcwd",
            "prlimit64",
            "set_robust_list",
            "rseq",
            "getrandom",
            "wait4",
            "clone",
            "fork",
            "vfork",
            "nanosleep",
            "clock_nanosleep",
            "setuid",
            "setgid",
            "prctl",
            "dup2",
            "poll",
        ];
        config["linux"]["seccomp"] = json!({
            "defaultAction": "SCMP_ACT_KILL_PROCESS",
            "syscalls": [{ "names": allowed.to_vec(), "action": "SCMP_ACT_ALLOW" }],
        });
    });
    sh(&case, &[], &b, "echo through").prints("through\n");
    case.delete(&b.id);
}

#[test]
fn a_filter_that_kills_the_last_step_is_told_and_leaves_nothing() {
    let case = case!();
    let b = running(&case, |_| {});
    case.delete(&b.id);
    // The container's own process is past its filter when it waits for `start`.
    let b = case.script("sleep 1000", |config| {
        config["linux"]["seccomp"] = json!({
            "defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [{ "names": ["capset"], "action": "SCMP_ACT_KILL_PROCESS" }],
        });
        config["process"]["noNewPrivileges"] = json!(false);
    });
    case.created(&b);
    let file = case.path("pid");
    let line = ["-d", "--pid-file", file.to_str().unwrap(), &b.id, "/bin/true"];
    super::refused(
        super::exec(&case, &line).finish(),
        &["ended before it became the program", "linux.seccomp"],
    );
    assert!(!crate::support::is_there(&file));
    case.delete(&b.id);
}

#[test]
fn no_new_privileges_is_the_files_affair_and_the_filter_is_not() {
    let case = case!();
    let b = running(&case, |config| {
        config["linux"]["seccomp"] = json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
            { "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 122 }] });
    });
    for no_new_privileges in [true, false] {
        let file =
            process_file(&case, "grep -E 'Seccomp:|NoNewPrivs' /proc/self/status | tr -d '\\t'", |process| {
                process["noNewPrivileges"] = json!(no_new_privileges);
            });
        let expected = format!("NoNewPrivs:{}\nSeccomp:2\n", u8::from(no_new_privileges));
        super::exec(&case, &["-p", file.to_str().unwrap(), &b.id]).finish().prints(&expected);
    }
    case.delete(&b.id);
}
