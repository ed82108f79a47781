//! What comes of it when CRIU, its files or the commands end in the middle.

use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{COUNTING, checkpoint, counting, goes_on, images, lacking, moved, number, restore, restoring};
use crate::support::bundle::add_mount;
use crate::support::{
    Case, Running, case, eventually, host_command, is_there, link, make_dir, need, nothing_is_left, read,
    remove, within, write,
};

#[test]
fn what_criu_can_t_restore_leaves_nothing_and_its_log_is_named() {
    let case = criu_case!();
    let b = counting(&case, |_| {});
    checkpoint(&case, &b.id, &[]).prints("");
    case.call(["delete", &b.id]).finish().ok();
    for broken in ["mm-1.img", "pstree.img", "inventory.img"] {
        write(&images(&case).join(broken), "broken", 0o600);
        let log = case.path("work/restore.log");
        restore(&case, &b, &b.id, &["-d"]).fails(&["criu can't do it", log.to_str().unwrap()]);
        assert!(is_there(&log));
        nothing_is_left(&case, broken);
    }
    std::fs::rename(images(&case), case.path("used")).unwrap();
    restore(&case, &b, &b.id, &["-d"]).fails(&["--image-path", "No such file or directory"]);
    write(&case.path("images"), "", 0o600);
    restore(&case, &b, &b.id, &["-d"]).fails(&["--image-path", "Not a directory"]);
}

#[test]
fn what_criu_can_t_write_goes_on_and_its_log_is_named() {
    let case = criu_case!();
    // Has a file open that has no name any more, larger than CRIU takes into an image.
    let script = format!("exec 8>/big; dd if=/dev/zero bs=1M count=2 >&8; rm /big; {COUNTING}");
    let b = case.script(&script, |_| {});
    case.started(&b);
    eventually("it counts", || number(&b) > 2);
    let log = case.path("work/dump.log");
    checkpoint(&case, &b.id, &[]).fails(&["criu can't do it", log.to_str().unwrap(), "ghost file"]);
    assert!(goes_on(&b));
    assert_eq!(case.status(&b.id), "running");
    case.delete(&b.id);
}

#[test]
fn a_checkpoint_that_is_killed_or_interrupted_leaves_the_container_running_or_written() {
    let case = criu_case!();
    let b = counting(&case, |_| {});
    for (round, signal) in (0..12).zip([libc::SIGKILL, libc::SIGTERM].into_iter().cycle()) {
        let images = case.path(&format!("round-{round}"));
        let line = ["checkpoint", "--leave-running", "--image-path", images.to_str().unwrap(), &b.id];
        let call = case.call(line).spawn();
        std::thread::sleep(Duration::from_millis(5 + 20 * round));
        call.signal(signal);
        drop(call.wait());
        eventually("it is not frozen", || read(b.cgroup.join("cgroup.events")).contains("frozen 0"));
        assert!(goes_on(&b), "round {round}");
        assert_eq!(case.status(&b.id), "running");
    }
    case.delete(&b.id);
}

#[test]
fn a_restore_that_is_killed_can_be_deleted() {
    let case = criu_case!();
    let b = counting(&case, |_| {});
    checkpoint(&case, &b.id, &[]).prints("");
    case.call(["delete", &b.id]).finish().ok();
    for round in 0..8 {
        let images = images(&case);
        let line = ["restore", "-d", "-b", b.path(), "--image-path", images.to_str().unwrap(), &b.id];
        let call = case.call(line).spawn();
        std::thread::sleep(Duration::from_millis(5 + 15 * round));
        call.signal(libc::SIGKILL);
        drop(call.wait());
        case.delete(&b.id);
        nothing_is_left(&case, &format!("in round {round}"));
    }
}

#[test]
fn a_delete_by_force_ends_a_checkpoint() {
    let case = criu_case!();
    let b = counting(&case, |_| {});
    let images = images(&case);
    let call = case.call(["checkpoint", "--image-path", images.to_str().unwrap(), &b.id]).spawn();
    std::thread::sleep(Duration::from_millis(30));
    case.delete(&b.id);
    drop(call.wait());
    nothing_is_left(&case, "by the two");
}

#[test]
fn a_host_without_criu_or_with_an_old_one_is_told_what_to_do() {
    let case = case!();
    let b = case.script("exec sleep 1000", |_| {});
    case.started(&b);
    let path = case.subdir("programs");
    let images = images(&case);
    let call = |verb: &[&str]| {
        let line = [verb, &["--image-path", images.to_str().unwrap(), &b.id]].concat();
        case.call(line).env("PATH", &path).finish()
    };
    call(&["checkpoint"]).fails(&["criu: executable file not found in $PATH", "install the package criu"]);
    make_dir(&images);
    case.delete(&b.id);
    call(&["restore", "-d", "-b", b.path()]).fails(&["criu: executable file not found in $PATH"]);
    // Says nothing: what it is asked first is its version.
    write(&path.join("criu"), "#!/bin/sh\nexit 0\n", 0o755);
    call(&["restore", "-d", "-b", b.path()]).fails(&["criu has ended without an answer"]);
    write(&path.join("criu"), "no program", 0o755);
    call(&["restore", "-d", "-b", b.path()]).fails(&["criu: execve(", "ENOEXEC"]);
    write(&path.join("criu"), "#!/bin/sh\necho libnet.so.9: cannot open >&2; exit 127\n", 0o755);
    call(&["restore", "-d", "-b", b.path()])
        .fails(&["criu has ended without an answer: libnet.so.9: cannot open"]);
    nothing_is_left(&case, "by restores without criu");
}

/// The CRIU that works for a command, once it does.
pub(super) fn criu_of(call: &Running) -> Option<Pid> {
    let pid = call.pid();
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    // Its title says what it does, when that begins. What it makes has it as well, and comes after it.
    let is_criu = |pid: &&str| {
        let line = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.starts_with("criu\0swrk") || line.starts_with("criu: ")
    };
    children.split_whitespace().find(is_criu).map(|pid| Pid::from_raw(pid.parse().unwrap()))
}

/// Sends a signal to the CRIU of a command after a while; false if there is none any more.
pub(super) fn hit(call: &Running, after: Duration, signal: Signal) -> bool {
    within(Duration::from_secs(5), || criu_of(call).is_some());
    std::thread::sleep(after);
    criu_of(call).is_some_and(|criu| kill(criu, signal).is_ok())
}

#[test]
fn a_criu_that_is_killed_leaves_the_container_running_or_ends_it() {
    let case = criu_case!();
    let mut killed = 0;
    for round in 0..14 {
        let b = counting(&case, |_| {});
        let images = case.path(&format!("round-{round}"));
        let line = ["checkpoint", "--leave-running", "--image-path", images.to_str().unwrap(), &b.id];
        let call = case.call(line).spawn();
        let hit = hit(&call, Duration::from_millis(10 * round), Signal::SIGKILL);
        let done = call.wait();
        if hit && done.code() != 0 {
            done.fails(&["criu was killed by SIGKILL"]);
            killed += 1;
        }
        // Of a process that CRIU has just put its own code into, the kernel makes a fault when it is not traced any more.
        if case.status(&b.id) == "running" {
            assert!(goes_on(&b), "round {round}");
        }
        case.delete(&b.id);
        nothing_is_left(&case, &format!("in round {round}"));
    }
    assert!(killed > 0, "{killed}");
}

#[test]
fn a_criu_that_is_killed_leaves_nothing_of_a_new_container() {
    let case = criu_case!();
    killed_while_it_restores(&case, &[]);
}

#[test]
fn a_criu_that_is_killed_leaves_nothing_of_a_job_of_a_shell() {
    let case = criu_case!();
    killed_while_it_restores(&case, &["--shell-job"]);
}

fn killed_while_it_restores(case: &Case, flags: &[&str]) {
    let b = counting(case, |_| {});
    checkpoint(case, &b.id, flags).prints("");
    case.call(["delete", &b.id]).finish().ok();
    let mut killed = 0;
    for round in 0..14 {
        let call = restoring(case, &b, flags);
        let hit = hit(&call, Duration::from_millis(6 * round), Signal::SIGKILL);
        let done = call.wait();
        if hit && done.code() != 0 {
            done.fails(&["criu was killed by SIGKILL"]);
            killed += 1;
        } else {
            assert!(goes_on(&b), "round {round}");
            case.delete(&b.id);
        }
        nothing_is_left(case, &format!("in round {round}"));
    }
    assert!(killed > 0, "{killed}");
}

#[test]
fn a_second_signal_ends_a_criu_that_does_not_answer() {
    let case = criu_case!();
    let b = counting(&case, |_| {});
    let images = images(&case);
    let line = ["checkpoint", "--leave-running", "--image-path", images.to_str().unwrap(), &b.id];
    // One that is not stopped in time has done its work.
    let stopped = || {
        let call = case.call(line).spawn();
        hit(&call, Duration::from_millis(5), Signal::SIGSTOP).then_some(call)
    };
    let mut call = (0..20).find_map(|_| stopped()).expect("criu is always faster");
    call.signal(libc::SIGTERM);
    std::thread::sleep(Duration::from_millis(300));
    assert!(!call.ended());
    call.signal(libc::SIGTERM);
    call.wait().fails(&["two signals ask this command to end", "criu was killed"]);
    assert_eq!(case.status(&b.id), "running");
    assert!(goes_on(&b));
    case.delete(&b.id);
}

#[test]
fn a_checkpoint_that_is_killed_leaves_a_container_that_runs_or_has_stopped() {
    let case = criu_case!();
    for round in 0..8 {
        let b = counting(&case, |_| {});
        let images = case.path(&format!("round-{round}"));
        let call = case.call(["checkpoint", "--image-path", images.to_str().unwrap(), &b.id]).spawn();
        std::thread::sleep(Duration::from_millis(10 + 25 * round));
        call.signal(libc::SIGKILL);
        drop(call.wait());
        eventually("it runs again or has stopped", || case.status(&b.id) != "paused");
        match case.status(&b.id).as_str() {
            "stopped" => assert!(is_there(images.join("inventory.img"))),
            _ => assert!(goes_on(&b), "round {round}"),
        }
        case.delete(&b.id);
        nothing_is_left(&case, &format!("in round {round}"));
    }
}

#[test]
fn a_kill_ends_what_is_being_written() {
    let case = criu_case!();
    for round in 0..6 {
        let b = counting(&case, |_| {});
        let images = case.path(&format!("round-{round}"));
        let line = ["checkpoint", "--leave-running", "--image-path", images.to_str().unwrap(), &b.id];
        let call = case.call(line).spawn();
        std::thread::sleep(Duration::from_millis(10 + 25 * round));
        case.call(["kill", &b.id, "KILL"]).finish().ok();
        drop(call.wait());
        case.until(&b.id, "stopped");
        case.call(["delete", &b.id]).finish().ok();
        nothing_is_left(&case, &format!("in round {round}"));
    }
}

#[test]
fn a_pause_waits_for_the_end_of_a_checkpoint() {
    let case = criu_case!();
    let b = counting(&case, |_| {});
    let images = images(&case);
    let line = ["checkpoint", "--leave-running", "--image-path", images.to_str().unwrap(), &b.id];
    let call = case.call(line).spawn();
    eventually("it is written", || criu_of(&call).is_some());
    case.call(["pause", &b.id]).finish().ok();
    call.wait().ok();
    assert_eq!(case.status(&b.id), "paused");
    case.call(["resume", &b.id]).finish().ok();
    assert!(goes_on(&b));
    case.delete(&b.id);
}

#[test]
fn a_delete_by_force_ends_a_restore() {
    let case = criu_case!();
    let b = counting(&case, |_| {});
    checkpoint(&case, &b.id, &[]).prints("");
    case.call(["delete", &b.id]).finish().ok();
    let images = images(&case);
    for round in 0..6 {
        let line = ["restore", "-d", "-b", b.path(), "--image-path", images.to_str().unwrap(), &b.id];
        let call = case.call(line).spawn();
        std::thread::sleep(Duration::from_millis(10 + 15 * round));
        case.delete(&b.id);
        drop(call.wait());
        // It may have begun after the other had ended.
        case.delete(&b.id);
        nothing_is_left(&case, &format!("in round {round}"));
    }
}

#[test]
fn an_old_criu_is_told_from_one_that_will_do() {
    let case = case!();
    let b = case.script("exec sleep 1000", |_| {});
    case.started(&b);
    let path = case.subdir("programs");
    // Response: VERSION (10, but not as a newline: what bash prints goes out line by line), success, 3.16.
    let script = "#!/bin/bash\nprintf '\\x08\\x8a\\x00\\x10\\x01\\x52\\x04\\x08\\x03\\x10\\x10' >&\"$2\"\nexec sleep 0.1\n";
    write(&path.join("criu"), script, 0o755);
    let line = ["checkpoint", "--image-path", "images", &b.id];
    let path = format!("{}:/usr/bin:/bin", path.display());
    case.call(line)
        .env("PATH", path)
        .finish()
        .fails(&["criu: version 3.16 is too old", "need 3.17 or newer"]);
    assert_eq!(case.status(&b.id), "running");
    case.delete(&b.id);
}

#[test]
fn a_directory_that_others_can_write_to_is_refused() {
    let case = criu_case!();
    let b = counting(&case, |_| {});
    let images = case.subdir("images");
    let refused = |who: &str| {
        checkpoint(&case, &b.id, &[]).fails(&["--image-path", who, "chown root"]);
        restore(&case, &b, "other", &["-d"]).fails(&["--image-path", who, "chown root"]);
    };
    chown(&images, Some(1000), None).unwrap();
    refused("user 1000 may write to it");
    chown(&images, Some(0), None).unwrap();
    for mode in [0o777, 0o1777] {
        std::fs::set_permissions(&images, PermissionsExt::from_mode(mode)).unwrap();
        refused("others than root may write to it");
    }
    std::fs::set_permissions(&images, PermissionsExt::from_mode(0o770)).unwrap();
    chown(&images, None, Some(1000)).unwrap();
    refused("others than root may write to it");
    chown(&images, None, Some(0)).unwrap();
    checkpoint(&case, &b.id, &[]).prints("");
    case.delete(&b.id);
    // Of each file as well.
    let core = images.join("core-1.img");
    chown(&core, Some(1000), None).unwrap();
    restore(&case, &b, "other", &["-d"]).fails(&["core-1.img", "user 1000 may write to it"]);
    chown(&core, Some(0), None).unwrap();
    // And of what it builds on.
    let earlier = case.subdir("earlier");
    chown(&earlier, Some(1000), None).unwrap();
    link("../earlier", &images.join("parent"));
    restore(&case, &b, "other", &["-d"]).fails(&["earlier", "user 1000 may write to it"]);
    remove(&images.join("parent"));
    link("parent", &images.join("parent"));
    restore(&case, &b, "other", &["-d"]).fails(&["parent", "ELOOP"]);
    remove(&images.join("parent"));
    link("/etc", &images.join("strange"));
    restore(&case, &b, &b.id, &["-d"]).ok();
    assert!(goes_on(&b));
    case.delete(&b.id);
}

#[test]
fn directories_and_sources_may_be_links() {
    let case = criu_case!();
    let (volume, elsewhere) = (case.subdir("volume"), case.subdir("elsewhere"));
    write(&volume.join("inside"), "a volume\n", 0o644);
    for name in ["images", "work"] {
        make_dir(&elsewhere.join(name));
        link(elsewhere.join(name), &case.path(name));
    }
    link("volume", &case.path("to-volume"));
    link("volume/inside", &case.path("to-file"));
    let b = counting(&case, |config| {
        add_mount(config, "/dir", "bind", case.path("to-volume"), &["rbind"]);
        add_mount(config, "/file", "bind", case.path("to-file"), &["bind", "ro"]);
    });
    let other = moved(&case, &b, &b.id);
    assert!(goes_on(&b));
    let done = case.call(["exec", &other.id, "cat", "/dir/inside", "/file"]).finish();
    done.prints("a volume\na volume\n");
    case.delete(&other.id);
}

/// Mounted for as long as a test takes.
struct Disk<'a>(&'a Path);

impl<'a> Disk<'a> {
    fn mount(at: &'a Path, options: &str) -> Self {
        let line = ["-t", "tmpfs", "-o", options, "tmpfs"].map(AsRef::as_ref);
        host_command("mount", &[&line[..], &[at.as_os_str()]].concat());
        Self(at)
    }
}

impl Drop for Disk<'_> {
    fn drop(&mut self) {
        nix::mount::umount2(self.0, nix::mount::MntFlags::MNT_DETACH).unwrap();
    }
}

#[test]
fn a_disk_that_is_full_or_read_only_leaves_the_container_running() {
    let case = criu_case!();
    let b = counting(&case, |_| {});
    let images = case.subdir("images");
    for (options, words) in [
        ("size=64k,mode=755", ["criu can't do it", "No space left on device"]),
        ("ro,mode=755", ["checkpoint of container", "ead-only file system"]),
    ] {
        let _disk = Disk::mount(&images, options);
        checkpoint(&case, &b.id, &[]).fails(&words);
        assert!(goes_on(&b), "{options}");
        assert_eq!(case.status(&b.id), "running");
    }
    let work = case.path("work");
    let _disk = Disk::mount(&work, "ro,mode=755");
    checkpoint(&case, &b.id, &[]).fails(&["--work-path", "faccessat(W_OK)", "EROFS"]);
    assert!(goes_on(&b));
    case.delete(&b.id);
}

#[test]
fn another_root_file_system_is_an_error_that_names_what_is_missing() {
    let case = criu_case!();
    let b = counting(&case, |_| {});
    let other = case.script(COUNTING, |_| {});
    checkpoint(&case, &b.id, &[]).prints("");
    case.delete(&b.id);
    restore(&case, &other, &other.id, &["-d"]).fails(&["criu can't do it", "Can't open file f"]);
    nothing_is_left(&case, "by the other one's");
}
