//! A process of `exec` before it is its program: all of the container sees it for a moment, and may do with it what its
//! capabilities allow. This test stands for somebody in there who has CAP_SYS_PTRACE.

use std::io::IoSlice;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use minidocker_oci::sys::exe::can_detach;
use minidocker_oci::sys::process::{pidfd_getfd, pidfd_open, pidfd_signal};
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use nix::unistd::Pid;
use serde_json::json;

use super::{exec, running, sh};
use crate::support::bundle::{Bundle, add_mount, set_capabilities, set_namespace};
use crate::support::fuse::SilentMount;
use crate::support::{Case, case, eventually, installed, need, read, within};

/// `/proc/PID/status` of a process in the container's pid namespace that is not its program yet.
fn newborn(pid: i32) -> Option<String> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let inside = status.lines().find_map(|line| line.strip_prefix("NSpid:\t"))?.contains('\t');
    (inside && status.starts_with("Name:\tminidocker-oci")).then_some(status)
}

/// Runs `work`; meanwhile each of the container's newborn processes is given to `with`, as soon as it is there.
fn watching(b: &Bundle, mut with: impl FnMut(Pid, String) + Send, work: impl FnOnce()) {
    let over = AtomicBool::new(false);
    let first = read(b.cgroup.join("cgroup.procs"));
    std::thread::scope(|scope| {
        let watcher = || {
            while !over.load(Ordering::Relaxed) {
                let pids = std::fs::read_to_string(b.cgroup.join("cgroup.procs")).unwrap_or_default();
                for pid in pids.lines().filter(|pid| !first.lines().any(|other| other == *pid)) {
                    let pid = pid.parse().unwrap_or(0);
                    if let Some(status) = newborn(pid) {
                        with(Pid::from_raw(pid), status);
                    }
                }
            }
        };
        std::thread::Builder::new().spawn_scoped(scope, watcher).unwrap();
        work();
        over.store(true, Ordering::Relaxed);
    });
}

/// A container whose profile is as those of engines: a privilege is needed to load it, and clone3(2) is not there.
fn filtered(case: &Case, names: &[&str], action: &str) -> Bundle {
    running(case, |config| {
        set_capabilities(config, &["CAP_SYS_PTRACE", "CAP_KILL"]);
        config["process"]["noNewPrivileges"] = json!(false);
        config["linux"]["seccomp"] = json!({
            "defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [{ "names": names, "action": action }],
        });
    })
}

#[test]
fn it_is_born_with_the_filter_and_without_more_privileges_than_its_program_gets() {
    let case = case!();
    need!(can_detach(), "this kernel lets no process leave its program's file");
    // Under the second one it can't say itself who it is.
    for names in [&["clone3", "mkdir"][..], &["clone3", "mkdir", "pidfd_open"]] {
        let b = filtered(&case, names, "SCMP_ACT_ERRNO");
        let mut seen = Vec::new();
        let work = || {
            for _ in 0..60 {
                sh(&case, &[], &b, "mkdir /x 2>/dev/null || echo filtered").prints("filtered\n");
            }
        };
        watching(&b, |_, status| seen.push(status), work);
        assert!(!seen.is_empty(), "nobody was seen");
        for status in seen {
            let is = |field: &str| status.lines().any(|line| line == field);
            assert!(is("Seccomp:\t2") && is("CapPrm:\t0000000000080020"), "{names:?}: {status}");
        }
        case.delete(&b.id);
    }
}

#[test]
fn a_filter_that_would_not_let_it_be_born_is_loaded_after_that() {
    let case = case!();
    for (names, action) in [
        (&["clone", "clone3"][..], "SCMP_ACT_ERRNO"),
        (&["setsid", "sendmsg"], "SCMP_ACT_KILL_PROCESS"),
        (&["read"], "SCMP_ACT_KILL_PROCESS"),
        (&["write", "exit_group"], "SCMP_ACT_TRAP"),
    ] {
        let b = filtered(&case, names, action);
        let file = case.path("pid");
        exec(&case, &["-d", "--pid-file", file.to_str().unwrap(), &b.id, "/bin/sleep", "1000"]).finish().ok();
        let is_filtered = || {
            let status = std::fs::read_to_string(format!("/proc/{}/status", read(&file))).unwrap_or_default();
            status.contains("Seccomp:\t2") && status.starts_with("Name:\tsleep")
        };
        // busybox itself may need what is forbidden: then it has ended, by that.
        let pid: i32 = read(&file).parse().unwrap();
        assert!(is_filtered() || pidfd_open(Pid::from_raw(pid)).is_err(), "{names:?}");
        case.delete(&b.id);
    }
}

#[test]
fn it_waits_for_what_only_the_host_can_give_it() {
    let case = case!();
    need!(installed("strace"), "strace is not installed");
    let b = running(&case, |config| {
        config["process"]["ioPriority"] = json!({ "class": "IOPRIO_CLASS_BE", "priority": 6 });
    });
    let log = case.path("trace");
    let slowly = "inject=ioprio_set:delay_enter=300000";
    let strace = ["strace", "-D", "-qq", "-e", "trace=ioprio_set", "-e", slowly, "-o", log.to_str().unwrap()];
    let line = ["exec", &b.id, "/bin/busybox", "ionice"];
    case.call_through(&strace, line).finish().prints("best-effort: prio 6\n");
    assert!(read(&log).contains("ioprio_set(") && read(&log).contains("DELAYED"), "{}", read(&log));
    case.delete(&b.id);
}

#[test]
fn it_goes_on_by_its_own_word_when_who_has_cloned_it_is_killed() {
    let case = case!();
    need!(can_detach(), "this kernel lets no process leave its program's file");
    need!(installed("strace"), "strace is not installed");
    let b = running(&case, |_| {});
    let log = case.path("trace");
    // Between the birth and its word: the sibling does not make that call.
    let slowly = "inject=clone:delay_exit=400000";
    let strace =
        ["strace", "-D", "-f", "-qq", "-e", "trace=clone", "-e", slowly, "-o", log.to_str().unwrap()];
    let first = read(b.cgroup.join("cgroup.procs"));
    let run = case.call_through(&strace, ["exec", &b.id, "/bin/sh", "-c", "echo here; exit 7"]).spawn();
    eventually("it is its program", || run.stdout() == "here\n");
    let pids = read(b.cgroup.join("cgroup.procs"));
    let helpers: Vec<i32> = pids
        .lines()
        .filter(|pid| !first.lines().any(|other| other == *pid))
        .filter(|pid| {
            let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            status.lines().any(|line| line == format!("NSpid:\t{pid}"))
        })
        .map(|pid| pid.parse().unwrap())
        .collect();
    let [helper] = helpers[..] else { panic!("{pids}: {helpers:?}") };
    let helper = pidfd_open(Pid::from_raw(helper)).unwrap();
    pidfd_signal(helper.as_fd(), libc::SIGKILL).unwrap();
    let done = run.wait();
    assert_eq!(done.code(), 7, "{done}");
    case.delete(&b.id);
}

#[test]
fn a_program_that_ends_its_container_has_run_however_late_that_is_seen() {
    let case = case!();
    need!(installed("strace"), "strace is not installed");
    for share_pids in [false, true] {
        let script = "trap 'exit 0' TERM; echo $$ >/pid; sleep 1000 & wait";
        let b = case.script(script, |config| {
            if share_pids {
                set_namespace(config, "pid", None);
            }
        });
        case.started(&b);
        eventually("it can be asked to end", || {
            std::fs::read(b.rootfs("pid")).is_ok_and(|pid| !pid.is_empty())
        });
        let log = case.path("trace");
        let late = "inject=recvmsg:delay_enter=300000";
        let strace = ["strace", "-D", "-qq", "-e", "trace=recvmsg", "-e", late, "-o", log.to_str().unwrap()];
        let line = ["exec", &b.id, "/bin/sh", "-c", "echo here; kill $(cat /pid)"];
        let done = case.call_through(&strace, line).finish();
        // The end of a pid namespace may come before its own.
        assert!(done.code() == 0 || done.code() == 137 && !share_pids, "{done}");
        assert_eq!(done.stdout(), "here\n", "{done}");
        assert!(read(&log).contains("DELAYED"), "{}", read(&log));
        case.delete(&b.id);
    }
}

#[test]
fn who_gets_hold_of_its_link_makes_no_other_process_of_it() {
    let case = case!();
    let b = running(&case, |_| {});
    let mut other = case.host(["sleep", "1000"]).spawn();
    let decoy = pidfd_open(Pid::from_raw(other.pid())).unwrap();
    let mut stolen = 0;
    let steal = |pid: Pid, _| {
        let Ok(pidfd) = pidfd_open(pid) else { return };
        let signal = |number| pidfd_signal(pidfd.as_fd(), number).unwrap_or_default();
        signal(libc::SIGSTOP);
        if newborn(pid.as_raw()).is_some() {
            let fds = (3..40).filter_map(|number| pidfd_getfd(pidfd.as_fd(), number).ok());
            stolen += fds.filter(|fd| says(fd, br#"{"Born":1}"#, Some(&decoy))).count();
        }
        signal(libc::SIGCONT);
    };
    let work = || {
        for _ in 0..30 {
            let file = case.path("pid");
            let done =
                exec(&case, &["-d", "--pid-file", file.to_str().unwrap(), &b.id, "/bin/true"]).finish();
            match done.code() {
                0 => assert_ne!(read(&file), "1"),
                // Two have said so, or what was said is no child of exec's.
                255 => {
                    let known = ["Born(", "has been cloned: waitid", "has ended before"];
                    assert!(known.iter().any(|words| done.stderr().contains(words)), "{done}");
                }
                _ => panic!("{done}"),
            }
        }
    };
    watching(&b, steal, work);
    assert!(stolen > 0, "nothing was stolen");
    assert!(!other.ended(), "somebody else was killed");
    case.delete(&b.id);
}

fn says(link: &OwnedFd, message: &[u8], with: Option<&OwnedFd>) -> bool {
    let rights: Vec<_> = with.iter().map(|fd| fd.as_raw_fd()).collect();
    let rights = [ControlMessage::ScmRights(&rights)];
    let control: &[ControlMessage<'_>] = if with.is_some() { &rights } else { &[] };
    sendmsg::<()>(link.as_raw_fd(), &[IoSlice::new(message)], control, MsgFlags::MSG_NOSIGNAL, None).is_ok()
}

#[test]
fn who_talks_in_its_place_does_not_hide_it_from_exec() {
    let case = case!();
    need!(can_detach(), "this kernel lets no process leave its program's file");
    need!(installed("strace"), "strace is not installed");
    let b = running(&case, |_| {});
    let log = case.path("trace");
    let strace = [
        "strace",
        "-D",
        "-f",
        "-qq",
        "-e",
        "trace=clone,getpid",
        "-e",
        "inject=clone:delay_exit=2000000",
        "-e",
        "inject=getpid:delay_enter=500000",
        "-o",
        log.to_str().unwrap(),
    ];
    let mut said = 0;
    let talk = |pid: Pid, status: String| {
        let host = status.lines().find_map(|line| line.strip_prefix("PPid:\t")).unwrap();
        let host = pidfd_open(Pid::from_raw(host.parse().unwrap())).unwrap();
        let pidfd = pidfd_open(pid).unwrap();
        if said == 0 {
            // All of it is heard after the process has gone on.
            pidfd_signal(host.as_fd(), libc::SIGSTOP).unwrap();
            for fd in (3..40).filter_map(|number| pidfd_getfd(pidfd.as_fd(), number).ok()) {
                said += (0..40).filter(|_| says(&fd, b"nonsense", None)).count();
            }
            eventually("it is its program", || newborn(pid.as_raw()).is_none());
            pidfd_signal(host.as_fd(), libc::SIGCONT).unwrap();
        }
    };
    let work = || {
        let done = case.call_through(&strace, ["exec", "-d", &b.id, "/bin/sleep", "1000"]).finish();
        assert_eq!(done.code(), 255, "{done}");
    };
    watching(&b, talk, work);
    assert_eq!(said, 40);
    eventually("its process has ended", || read(b.cgroup.join("cgroup.procs")).lines().count() == 1);
    case.delete(&b.id);
}

#[test]
fn who_keeps_its_link_does_not_keep_exec() {
    let case = case!();
    let b = running(&case, |_| {});
    let mut kept = Vec::new();
    let keep = |pid: Pid, _| {
        let Ok(pidfd) = pidfd_open(pid) else { return };
        kept.extend((3..40).filter_map(|number| pidfd_getfd(pidfd.as_fd(), number).ok()));
    };
    // All at once, for each waits for two seconds if its link is kept.
    let work = || {
        let begun: Vec<_> = (0..30).map(|_| exec(&case, &["-d", &b.id, "/bin/true"]).spawn()).collect();
        begun.into_iter().for_each(|exec| drop(exec.wait().ok()));
    };
    watching(&b, keep, work);
    assert!(!kept.is_empty(), "nobody was seen");
    case.delete(&b.id);
}

#[test]
fn who_stops_it_does_not_stop_exec() {
    let case = case!();
    // Numbers of a pid namespace are given one after the other.
    let script = "while :; do n=2; while [ $n -lt 60 ]; do kill -STOP $n; n=$((n+1)); done; done 2>/dev/null";
    let b = case.script(script, |_| {});
    case.started(&b);
    let mut slow = 0;
    for _ in 0..10 {
        let done = exec(&case, &["-d", &b.id, "/bin/true"]).finish();
        let said = done.stderr().contains("is stopped in the container again and again");
        assert!(done.code() == 0 || done.code() == 255 && said, "{done}");
        slow += u32::from(done.took > Duration::from_millis(900));
        if slow == 3 {
            break;
        }
    }
    assert!(slow > 0, "nobody was stopped");
    case.delete(&b.id);
}

#[test]
fn what_the_caller_has_in_its_environment_is_not_in_it() {
    let case = case!();
    let look = "for r in $(grep -v '\\[v' /proc/1/maps | cut -d' ' -f1); do a=$((0x${r%-*})); e=$((0x${r#*-})); \
        dd if=/proc/1/mem bs=4096 skip=$((a/4096)) count=$(((e-a)/4096)) 2>/dev/null; done";
    // With a hook to run, it leaves its program's file in another way.
    for hooks in [json!({}), json!({ "startContainer": [{ "path": "/bin/true" }] })] {
        let b = case.script("true", |config| {
            set_capabilities(config, &["CAP_SYS_PTRACE"]);
            config["process"]["env"] = json!(["PATH=/bin", "OWN=its-own-words"]);
            config["hooks"] = hooks.clone();
        });
        let create = case.call(["create", "-b", b.path(), &b.id]).env("SECRET", "words-of-the-caller");
        create.finish().ok();
        let done = sh(&case, &[], &b, look).ok();
        let memory = std::fs::read(done.stdout_path()).unwrap();
        let has = |text: &str| memory.windows(text.len()).any(|bytes| bytes == text.as_bytes());
        assert!(has("its-own-words") && !has("words-of-the-caller"), "{hooks}");
        case.delete(&b.id);
    }
}

#[test]
fn one_that_waits_in_the_kernel_does_not_keep_who_is_told_to_end() {
    let case = case!();
    need!(SilentMount::is_possible(), "there is no /dev/fuse");
    let mount = SilentMount::at(&case.subdir("silent"));
    let b = running(&case, |config| {
        add_mount(config, "/silent", "bind", case.path("silent"), &["bind"]);
    });
    let waiting = exec(&case, &["--cwd", "/silent/x", &b.id, "/bin/true"]).spawn();
    eventually("it waits", || mount.waiting() > 0);
    // So that nothing of it can be interrupted.
    assert!(!within(Duration::from_millis(300), || mount.waiting() > 1));
    waiting.signal(libc::SIGTERM);
    let done = waiting.wait();
    assert!(done.code() == 255 && done.took < Duration::from_secs(14), "{done}");
    assert!(done.stderr().contains("ended by signal 15"), "{done}");
    drop(mount);
    case.delete(&b.id);
}
