//! Processes that wait in the kernel, where neither a freeze nor SIGKILL reaches them.

use std::fs::File;
use std::os::unix::fs::OpenOptionsExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::support::bundle::add_mount;
use crate::support::fuse::SilentMount;
use crate::support::{Bundle, Case, case, eventually, is_there, need, nothing_is_left, read};

/// A container with such a process.
fn stuck(case: &Case) -> (Bundle, SilentMount) {
    let mount = SilentMount::at(&case.subdir("silent"));
    let b = case.script("cat /silent/x & sleep 1000", |config| {
        add_mount(config, "/silent", "bind", case.path("silent"), &["bind"]);
    });
    case.started(&b);
    eventually("it waits", || mount.waiting() > 0);
    (b, mount)
}

/// What is said of it: where it waits has not one name in all kernels.
fn told(b: &Bundle) -> String {
    let all = read(b.cgroup.join("cgroup.procs"));
    let cat = all.lines().find(|pid| read(format!("/proc/{pid}/comm")) == "cat\n").unwrap();
    format!("(cat: state D in {})", read(format!("/proc/{cat}/wchan")))
}

#[test]
fn what_can_not_be_frozen_is_named_and_the_others_go_on() {
    let case = case!();
    need!(SilentMount::is_possible(), "there is no /dev/fuse");
    let (b, mount) = stuck(&case);
    let told = told(&b);
    let done = case.call(["pause", &b.id]).finish();
    assert!(done.took > Duration::from_secs(9) && done.took < Duration::from_secs(15), "{done}");
    done.fails(&["cannot pause", "again: process", &format!("{told}; try again")]);
    assert_eq!(read(b.cgroup.join("cgroup.freeze")), "0\n");
    assert_eq!(case.status(&b.id), "running");
    drop(mount);
    case.call(["pause", &b.id]).finish().ok();
    case.delete(&b.id);
}

#[test]
fn a_pause_that_is_asked_to_end_thaws_what_it_has_frozen() {
    let case = case!();
    need!(SilentMount::is_possible(), "there is no /dev/fuse");
    let (b, mount) = stuck(&case);
    let told = || read(b.cgroup.join("cgroup.freeze")) == "1\n";
    let pause = case.call(["pause", &b.id]).spawn();
    eventually("it is told to freeze", told);
    pause.signal(nix::libc::SIGTERM);
    let done = pause.wait();
    assert!(done.code() != 0 && done.took < Duration::from_secs(5), "{done}");
    assert!(!told());
    // What nobody can do anything after, resume can.
    let pause = case.call(["pause", &b.id]).spawn();
    eventually("it is told to freeze", told);
    drop(pause);
    assert_eq!(case.status(&b.id), "paused");
    drop(mount);
    case.call(["resume", &b.id]).finish().ok();
    case.delete(&b.id);
}

#[test]
fn what_does_not_even_end_when_it_is_killed_is_named_and_the_state_is_kept() {
    let case = case!();
    need!(SilentMount::is_possible(), "there is no /dev/fuse");
    let (b, mount) = stuck(&case);
    let told = told(&b);
    for line in [&["delete", "--force", &b.id][..], &["delete", "-f", &b.id]] {
        let done = case.call(line).finish();
        assert!(done.took > Duration::from_secs(9) && done.took < Duration::from_secs(15), "{done}");
        done.fails(&[&b.id, &told, "state is kept", "delete it again"]);
    }
    // Its first process waits for the other one.
    case.state_of(&b.id);
    assert!(is_there(&b.cgroup));
    drop(mount);
    case.call(["delete", "--force", &b.id]).finish().ok();
    nothing_is_left(&case, "after what it waited for was over");
}

#[test]
fn a_first_process_that_can_not_end_is_named() {
    let case = case!();
    need!(SilentMount::is_possible(), "there is no /dev/fuse");
    let mount = SilentMount::at(&case.subdir("silent"));
    let b = case.script("exec cat /silent/x", |config| {
        add_mount(config, "/silent", "bind", case.path("silent"), &["bind"]);
    });
    case.started(&b);
    eventually("it waits", || mount.waiting() > 0);
    let pid = case.pid(&b.id);
    case.call(["kill", &b.id, "KILL"]).finish().ok();
    let done = case.call(["delete", "--force", &b.id]).finish();
    done.fails(&[&format!("process {pid} (cat: state D in "), "state is kept"]);
    assert_ne!(case.status(&b.id), "stopped");
    drop(mount);
    case.until(&b.id, "stopped");
    case.call(["delete", &b.id]).finish().ok();
}

#[test]
fn a_file_system_that_does_not_answer_does_not_hold_up_who_looks_for_criu() {
    let case = case!();
    need!(SilentMount::is_possible(), "there is no /dev/fuse");
    let b = case.script("exit 0", |_| {});
    case.created(&b);
    let lock = File::open(case.path("state").join(&b.id)).unwrap();
    lock.lock().unwrap();
    let mount = SilentMount::of_nobody(&case.subdir("silent"));
    let open = File::options().read(true).custom_flags(libc::O_PATH).open(case.path("silent")).unwrap();
    // As CRIU is called.
    std::fs::copy("/bin/sleep", case.path("criu")).unwrap();
    let mut criu = Command::new(case.path("criu")).arg("1000").stdin(Stdio::from(open)).spawn().unwrap();
    let done = case.call(["delete", "--force", &b.id]).finish();
    assert!(done.took > Duration::from_secs(9) && done.took < Duration::from_secs(15), "{done}");
    done.fails(&[&b.id, "another command is at work on it"]);
    assert!(criu.try_wait().unwrap().is_none(), "a stranger was ended");
    criu.kill().unwrap();
    criu.wait().unwrap();
    drop(mount);
    lock.unlock().unwrap();
    case.delete(&b.id);
}
