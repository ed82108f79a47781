//! `linux.seccomp`: config-linux.md, "Seccomp", and the runtime's cache of compiled programs.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::SystemTime;

use serde_json::{Value, json};

use crate::support::bundle::set_capabilities;
use crate::support::{Case, case, installed, need, read, write};

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
    let allowed = json!([{
        "names": ["execve", "brk", "mmap", "munmap", "mprotect", "arch_prctl", "set_tid_address", "set_robust_list", "rseq", "prlimit64",
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

/// The cached programs of a case.
fn cached(case: &Case) -> Vec<PathBuf> {
    let Ok(dir) = std::fs::read_dir(case.state.join(".seccomp")) else {
        return Vec::new();
    };
    let mut files: Vec<PathBuf> = dir.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn changed(path: &std::path::Path) -> SystemTime {
    path.metadata().unwrap().modified().unwrap()
}

/// Runs a container with the profile, whose effect shows.
#[track_caller]
fn effective(case: &Case) {
    let done = case.sh("mkdir /x", no_mkdir);
    assert!(done.code() == 1 && done.stderr().contains("Function not implemented"), "{done}");
}

#[test]
fn a_compiled_profile_is_kept_and_used_again() {
    let case = case!();
    effective(&case);
    let files = cached(&case);
    assert_eq!(files.len(), 1);
    assert_eq!(files[0].metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(files[0].parent().unwrap().metadata().unwrap().permissions().mode() & 0o777, 0o700);
    let before = changed(&files[0]);
    effective(&case);
    assert_eq!((cached(&case), changed(&files[0])), (files.clone(), before), "compiled anew");
    // Another profile has another place.
    case.sh("true", |config| profile(config, "SCMP_ACT_ALLOW", json!([]))).ok();
    assert_eq!(cached(&case).len(), 2);
}

#[test]
fn the_cache_is_read_the_second_time() {
    let case = case!();
    need!(installed("strace"), "strace is not installed");
    let b = case.script("true", no_mkdir);
    let log = case.path("strace");
    let trace = ["strace", "-f", "-e", "trace=openat,openat2", "-o", log.to_str().unwrap()];
    case.call_through(&trace, ["run", "-b", b.path(), &b.id]).finish().ok();
    let name = cached(&case)[0].file_name().unwrap().to_str().unwrap().to_owned();
    case.call_through(&trace, ["run", "-b", b.path(), &b.id]).finish().ok();
    let text = read(&log);
    let opened: Vec<&str> = text.lines().filter(|line| line.contains(&name)).collect();
    assert!(opened.iter().all(|line| !line.contains("O_CREAT")) && !opened.is_empty(), "{opened:?}");
}

#[test]
fn a_damaged_cache_is_not_trusted() {
    let case = case!();
    effective(&case);
    let file = cached(&case).remove(0);
    let good = std::fs::read(&file).unwrap();
    let flipped = |at: usize| {
        good.iter().enumerate().map(|(n, b)| if n == at { b ^ 1 } else { *b }).collect::<Vec<u8>>()
    };
    for bad in [
        Vec::new(),
        b"nonsense".to_vec(),
        good[..good.len() - 8].to_vec(),
        good[..good.len() - 1].to_vec(),
        flipped(0),
        flipped(good.len() - 1),
        vec![0; good.len()],
        [&good[..], &[0; 1 << 20]].concat(),
    ] {
        write(&file, &bad, 0o600);
        effective(&case);
    }
}

#[test]
fn a_cache_that_others_could_have_written_is_not_trusted() {
    let case = case!();
    effective(&case);
    let file = cached(&case).remove(0);
    let dir = file.parent().unwrap().to_owned();
    // A program that allows everything, whose checksum is right: as an attacker would leave it.
    case.sh("true", |config| profile(config, "SCMP_ACT_ALLOW", json!([]))).ok();
    let allows_all = cached(&case).into_iter().find(|other| *other != file).unwrap();
    let planted = std::fs::read(allows_all).unwrap();
    let chown =
        |path: &std::path::Path, id: u32| nix::unistd::chown(path, Some(id.into()), Some(id.into())).unwrap();
    let mode = |path: &std::path::Path, mode| {
        std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap()
    };
    for (what, undo) in [
        ("the directory is another's", 0u8),
        ("the directory is open to others", 1),
        ("the file is another's", 2),
        ("the file is open to others", 3),
    ] {
        write(&file, &planted, 0o600);
        match undo {
            0 => chown(&dir, 1000),
            1 => mode(&dir, 0o777),
            2 => chown(&file, 1000),
            _ => mode(&file, 0o666),
        }
        let done = case.sh("mkdir /x", no_mkdir);
        assert!(done.stderr().contains("Function not implemented"), "{what}: {done}");
        chown(&dir, 0);
        mode(&dir, 0o700);
        if crate::support::is_there(&file) {
            chown(&file, 0);
        }
    }
    // Nor a link to a place where others write.
    let elsewhere = case.file("elsewhere", &planted, 0o600);
    std::fs::rename(&file, case.path("old")).unwrap();
    crate::support::link(&elsewhere, &file);
    effective(&case);
    std::fs::rename(&dir, case.path("old-cache")).unwrap();
    crate::support::link(case.path("old-cache"), &dir);
    effective(&case);
}

#[test]
fn a_cache_that_can_not_be_written_is_only_slower() {
    let case = case!();
    crate::support::make_dir(&case.state);
    write(&case.state.join(".seccomp"), "a file", 0o600);
    effective(&case);
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
