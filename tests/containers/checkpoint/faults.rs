//! What CRIU, its files or its disk make impossible: it says so, and nothing has changed.

use std::path::Path;

use super::dummy::old_criu;
use super::{
    COUNTING, checkpoint, checkpoint_line, checkpoint_to, counting, goes_on, images, lacking, moved, number,
    restore, restore_line,
};
use crate::support::bundle::add_mount;
use crate::support::{
    case, eventually, host_command, is_there, link, make_dir, need, nothing_is_left, write,
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
fn a_host_without_criu_or_with_an_old_one_is_told_what_to_do() {
    let case = case!();
    let b = case.script("exec sleep 1000", |_| {});
    case.started(&b);
    let path = case.subdir("programs");
    let images = images(&case);
    let call = |line: &[&str]| case.call(line).env("PATH", &path).finish();
    let restore = || call(&restore_line(&images, &b, &["-d"], &b.id));
    call(&checkpoint_line(&images, &[], &b.id))
        .fails(&["criu: executable file not found in $PATH", "install the package criu"]);
    make_dir(&images);
    case.delete(&b.id);
    restore().fails(&["criu: executable file not found in $PATH"]);
    // Says nothing: what it is asked first is its version.
    write(&path.join("criu"), "#!/bin/sh\nexit 0\n", 0o755);
    restore().fails(&["criu has ended without an answer"]);
    write(&path.join("criu"), "no program", 0o755);
    restore().fails(&["criu: execve(", "ENOEXEC"]);
    write(&path.join("criu"), "#!/bin/sh\necho libnet.so.9: cannot open >&2; exit 127\n", 0o755);
    restore().fails(&["criu has ended without an answer: libnet.so.9: cannot open"]);
    nothing_is_left(&case, "by restores without criu");
}

#[test]
fn an_old_criu_is_told_from_one_that_will_do() {
    let case = case!();
    let b = case.script("exec sleep 1000", |_| {});
    case.started(&b);
    for (minor, flags, words) in [
        (16, &[][..], &["criu: version 3.16 is too old", "need 3.17 or newer"]),
        (17, &["--network-lock", "skip"], &["--network-lock skip needs CRIU 3.19", "this is 3.17"]),
    ] {
        let line = checkpoint_line(Path::new("images"), flags, &b.id);
        case.call(line).env("PATH", old_criu(&case, minor)).finish().fails(words);
        assert_eq!(case.status(&b.id), "running");
    }
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
fn a_disk_that_becomes_full_at_any_moment_is_named_and_the_container_goes_on() {
    let case = criu_case!();
    let b = counting(&case, |_| {});
    let (mut failed, mut pages) = (0, 1);
    for round in 0.. {
        let (images, work) = (case.subdir(&format!("images-{round}")), case.path("work"));
        let _disk = Disk::mount(&images, &format!("nr_blocks={pages},mode=755"));
        let done = checkpoint_to(&case, &images, &b.id, &["--leave-running"]);
        assert_eq!(case.status(&b.id), "running");
        assert!(goes_on(&b), "{pages} pages");
        assert!(is_there(work.join("dump.log")));
        if done.code() == 0 {
            break;
        }
        done.fails(&["No space left on device"]);
        (failed, pages) = (failed + 1, pages + 1 + pages / 8);
    }
    assert!(failed > 5, "{failed}");
    // With the log in the same place, which may not say why then.
    let small = case.subdir("small");
    for pages in (1..40).step_by(4) {
        let _disk = Disk::mount(&small, &format!("nr_blocks={pages},mode=755"));
        case.call(checkpoint_line(&small, &["--leave-running"], &b.id)).finish().fails(&["o space "]);
        assert!(goes_on(&b), "{pages} pages");
    }
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
