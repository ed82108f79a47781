//! `linux.seccomp`: config-linux.md, "Seccomp", and the runtime's cache of compiled programs.

mod cache;
mod notify;

use serde_json::{Value, json};

use crate::support::bundle::set_capabilities;
use crate::support::{case, read};

fn profile(config: &mut Value, default: &str, rules: Value) {
    config["linux"]["seccomp"] = json!({ "defaultAction": default, "syscalls": rules });
}

/// Allows everything but making directories.
fn no_mkdir(config: &mut Value) {
    profile(
        config,
        "SCMP_ACT_ALLOW",
        json!([{ "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38 }]),
    );
}

#[test]
fn a_call_answers_the_errno_of_its_rule() {
    let case = case!();
    for (errno, text) in [
        (json!(38), "Function not implemented"),
        (json!(122), "Disk quota exceeded"),
        (json!(null), "Operation not permitted"),
    ] {
        for new_privileges in [false, true] {
            let done = case.sh("mkdir /x; grep Seccomp: /proc/self/status", |config| {
                no_mkdir(config);
                config["linux"]["seccomp"]["syscalls"][0]["errnoRet"] = errno.clone();
                config["process"]["noNewPrivileges"] = json!(!new_privileges);
            });
            assert!(done.stderr().contains(text) && done.stdout() == "Seccomp:\t2\n", "{done}");
        }
    }
}

#[test]
fn the_default_action_has_its_own_errno() {
    let case = case!();
    let done = case.sh("true", |config| {
        profile(
            config,
            "SCMP_ACT_ERRNO",
            json!([{ "names": ["execve", "exit", "exit_group"], "action": "SCMP_ACT_ALLOW" }]),
        );
        config["linux"]["seccomp"]["defaultErrnoRet"] = json!(77);
    });
    // Not even its loader's calls are allowed, so that the shell can only fail.
    assert_ne!(done.code(), 0, "{done}");
}

#[test]
fn a_call_that_kills_ends_the_process_with_sigsys() {
    let case = case!();
    for action in ["SCMP_ACT_KILL", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_KILL_THREAD", "SCMP_ACT_TRAP"] {
        let b = case.bundle(|config| {
            config["process"]["args"] = json!(["/bin/mkdir", "/x"]);
            profile(config, "SCMP_ACT_ALLOW", json!([{ "names": ["mkdir", "mkdirat"], "action": action }]));
        });
        let done = case.run(&b);
        // Process 1 ignores what it has no handler for, but not what the filter itself does.
        assert_eq!(done.code(), 128 + 31, "{action}: {done}");
    }
}

#[test]
fn arguments_are_compared() {
    let case = case!();
    // kill(pid, signal): by the signal, which is the second argument.
    let with = |op: &str, value: u64, two: u64| {
        let done =
            case.sh("for s in 0 10 12 17; do kill -$s $$ 2>/dev/null && echo $s; done; true", |config| {
                profile(
                    config,
                    "SCMP_ACT_ALLOW",
                    json!([{
                        "names": ["kill"], "action": "SCMP_ACT_ERRNO",
                        "args": [{ "index": 1, "op": op, "value": value, "valueTwo": two }],
                    }]),
                );
            });
        done.ok().lines().join(" ")
    };
    assert_eq!(with("SCMP_CMP_EQ", 10, 0), "0 12 17");
    assert_eq!(with("SCMP_CMP_NE", 10, 0), "10");
    assert_eq!(with("SCMP_CMP_LT", 12, 0), "12 17");
    assert_eq!(with("SCMP_CMP_LE", 12, 0), "17");
    assert_eq!(with("SCMP_CMP_GT", 10, 0), "0 10");
    assert_eq!(with("SCMP_CMP_GE", 10, 0), "0");
    assert_eq!(with("SCMP_CMP_MASKED_EQ", 0b1000, 0b1000), "0 17");
}

#[test]
fn several_rules_for_one_argument_are_alternatives() {
    // libseccomp takes one comparison per argument in a rule; runtimes split such rules.
    let case = case!();
    case.sh("for s in 0 10 12 17; do kill -$s $$ 2>/dev/null && echo $s; done; true", |config| {
        profile(config, "SCMP_ACT_ALLOW", json!([{
            "names": ["kill"], "action": "SCMP_ACT_ERRNO",
            "args": [{ "index": 1, "op": "SCMP_CMP_EQ", "value": 10 }, { "index": 1, "op": "SCMP_CMP_EQ", "value": 12 }],
        }]));
    })
    .prints("0\n17\n");
}

#[test]
fn unknown_calls_are_passed_over_and_unknown_flags_are_not() {
    let case = case!();
    case.sh("mkdir /x; true", |config| {
        no_mkdir(config);
        config["linux"]["seccomp"]["syscalls"][0]["names"] = json!(["no_such_call", "mkdir", "mkdirat"]);
        config["linux"]["seccomp"]["architectures"] =
            json!(["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]);
        config["linux"]["seccomp"]["flags"] = json!(["SECCOMP_FILTER_FLAG_LOG"]);
    })
    .ok();
    let b = case.script("true", |config| {
        no_mkdir(config);
        config["linux"]["seccomp"]["flags"] = json!(["SECCOMP_FILTER_FLAG_NOVEL"]);
    });
    case.create(&b).fails(&["/linux/seccomp/flags/0"]);
}

#[test]
fn without_new_privileges_off_the_filter_is_loaded_without_their_help() {
    // Then loading takes CAP_SYS_ADMIN, which the process must not keep for it.
    let case = case!();
    for uid in [0, 1000] {
        let done = case.sh("grep -E 'Cap(Prm|Eff|Bnd)|Seccomp:|NoNewPrivs' /proc/self/status", |config| {
            no_mkdir(config);
            config["process"]["noNewPrivileges"] = json!(false);
            config["process"]["user"] = json!({ "uid": uid, "gid": 0 });
            set_capabilities(config, &["CAP_KILL"]);
        });
        let kill = "0000000000000020";
        let held = if uid == 0 { kill } else { "0000000000000000" };
        done.prints(&format!(
            "CapPrm:\t{held}\nCapEff:\t{held}\nCapBnd:\t{kill}\nNoNewPrivs:\t0\nSeccomp:\t2\n"
        ));
    }
}

#[test]
fn a_filter_need_not_allow_what_the_runtime_does() {
    let case = case!();
    // What busybox needs: the clock, too, where its C library finds no entropy yet.
    let allowed = json!([{
        "names": ["execve", "clock_gettime", "brk", "mmap", "munmap", "mprotect", "arch_prctl", "set_tid_address", "set_robust_list", "rseq", "prlimit64",
            "readlinkat", "readlink", "getrandom", "write", "exit_group", "fstat", "newfstatat", "ioctl", "rt_sigaction", "getuid", "prctl"],
        "action": "SCMP_ACT_ALLOW",
    }]);
    for new_privileges in [false, true] {
        let b = case.bundle(|config| {
            config["process"]["args"] = json!(["/bin/echo", "confined"]);
            config["process"]["noNewPrivileges"] = json!(!new_privileges);
            profile(config, "SCMP_ACT_KILL_PROCESS", allowed.clone());
            if new_privileges {
                // Loaded before the capabilities are dropped, as other runtimes do: their profiles allow that.
                config["linux"]["seccomp"]["syscalls"][0]["names"]
                    .as_array_mut()
                    .unwrap()
                    .push(json!("capset"));
            }
        });
        case.run(&b).prints("confined\n");
    }
}

#[test]
fn every_flag_can_be_loaded() {
    let case = case!();
    for flag in ["LOG", "SPEC_ALLOW", "TSYNC", "WAIT_KILLABLE_RECV"] {
        let done = case.sh("mkdir /x; grep -E 'Seccomp:|Speculation_Store' /proc/self/status", |config| {
            no_mkdir(config);
            config["linux"]["seccomp"]["flags"] = json!([format!("SECCOMP_FILTER_FLAG_{flag}")]);
        });
        assert!(done.stderr().contains("Function not implemented"), "{flag}: {done}");
        assert!(done.stdout().starts_with("Seccomp:\t2\n"), "{flag}: {done}");
    }
}

#[test]
fn a_call_that_is_logged_or_traced_is_let_through_or_missing() {
    let case = case!();
    let with = |action: &str| {
        case.sh("mkdir /x && echo made", |config| {
            profile(config, "SCMP_ACT_ALLOW", json!([{ "names": ["mkdir", "mkdirat"], "action": action }]));
        })
    };
    with("SCMP_ACT_LOG").prints("made\n");
    // seccomp(2): ENOSYS where nobody traces.
    let done = with("SCMP_ACT_TRACE");
    assert!(done.stderr().contains("Function not implemented"), "{done}");
}

#[test]
fn an_errno_is_where_one_belongs_and_fits() {
    let case = case!();
    for (action, errno, words) in [
        ("SCMP_ACT_KILL", 1, "SCMP_ACT_KILL takes no errno"),
        ("SCMP_ACT_LOG", 1, "SCMP_ACT_LOG takes no errno"),
        ("SCMP_ACT_ERRNO", 4096, "4096 is more than 4095"),
        ("SCMP_ACT_TRACE", 65536, "65536 is more than 65535"),
    ] {
        let b = case.script("true", |config| {
            no_mkdir(config);
            config["linux"]["seccomp"]["syscalls"][0]["action"] = json!(action);
            config["linux"]["seccomp"]["syscalls"][0]["errnoRet"] = json!(errno);
        });
        case.create(&b).fails(&["linux.seccomp: syscalls[0]: errnoRet", words]);
    }
    let b = case.script("true", |config| {
        no_mkdir(config);
        config["linux"]["seccomp"]["defaultErrnoRet"] = json!(1);
    });
    case.create(&b).fails(&["linux.seccomp: defaultErrnoRet", "SCMP_ACT_ALLOW takes no errno"]);
    // 0: the call is not made, and says that it was.
    case.sh("mkdir /x && ls -d /x", |config| {
        no_mkdir(config);
        config["linux"]["seccomp"]["syscalls"][0]["errnoRet"] = json!(0);
    })
    .says(&["/x: No such file"]);
}

#[cfg(target_endian = "little")]
#[test]
fn architectures_of_the_other_byte_order_are_refused_and_of_this_one_are_not() {
    let case = case!();
    let with = |archs: Value| {
        case.script("mkdir /x", |config| {
            no_mkdir(config);
            config["linux"]["seccomp"]["architectures"] = archs;
        })
    };
    let b = with(json!(["SCMP_ARCH_X86_64", "SCMP_ARCH_S390X"]));
    case.create(&b).fails(&["linux.seccomp: architectures[1]", "SCMP_ARCH_S390X", "byte order"]);
    let b = with(json!(["SCMP_ARCH_AARCH64", "SCMP_ARCH_RISCV64", "SCMP_ARCH_MIPSEL"]));
    assert!(case.run(&b).stderr().contains("Function not implemented"));
}

#[test]
fn names_that_are_no_system_calls_are_told_with_debug_each_time() {
    let case = case!();
    let b = case.script("true", |config| {
        no_mkdir(config);
        config["linux"]["seccomp"]["syscalls"][0]["names"] =
            json!(["zz_call", "mkdir", "aa_call", "zz_call"]);
    });
    for _ in 0..2 {
        let done = case.call(["--debug", "run", "-b", b.path(), &b.id]).finish().ok();
        done.says(&["passing over 2 names that are no system calls here: aa_call zz_call"]);
    }
    let log = case.path("log");
    case.call(["--debug", "--log", log.to_str().unwrap(), "run", "-b", b.path(), &b.id]).finish().ok();
    assert!(read(&log).contains("aa_call zz_call"));
    assert_eq!(case.run(&b).ok().stderr(), "");
}

#[test]
fn rules_that_contradict_each_other_are_refused_with_a_reason() {
    let case = case!();
    let arg = json!([{ "index": 1, "op": "SCMP_CMP_EQ", "value": 10 }]);
    let b = case.script("true", |config| {
        profile(
            config,
            "SCMP_ACT_ALLOW",
            json!([
                { "names": ["kill"], "action": "SCMP_ACT_ERRNO", "args": arg },
                { "names": ["kill"], "action": "SCMP_ACT_TRAP", "args": arg },
            ]),
        );
    });
    case.create(&b).fails(&["linux.seccomp: syscalls[1]: kill", "same comparisons and another action"]);
}

#[test]
fn a_profile_too_large_for_the_kernel_is_an_error() {
    let case = case!();
    let rules: Vec<Value> = (0..6000).map(|n| json!({
        "names": ["kill"], "action": "SCMP_ACT_ERRNO", "args": [{ "index": 1, "op": "SCMP_CMP_EQ", "value": n * 3 + 100 }],
    })).collect();
    let b = case.script("true", |config| profile(config, "SCMP_ACT_ALLOW", json!(rules)));
    case.create(&b).fails(&["linux.seccomp"]);
}
