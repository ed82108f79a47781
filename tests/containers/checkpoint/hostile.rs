//! Images that somebody else has had his hands in, and a CRIU that says what is not true.

use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::Command;

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use super::dummy::{RESTORED, VERSION, criu_that_says, notice};
use super::{checkpoint, checkpoint_line, counting, goes_on, images, lacking, restore, restore_line};
use crate::support::bundle::add_mount;
use crate::support::{
    Bundle, Case, Done, case, is_there, link, make_dir, need, nothing_is_left, read, remove, write,
};

#[test]
fn a_pipe_in_the_place_of_what_this_runtime_keeps_is_not_waited_for() {
    let case = criu_case!();
    let b = counting(&case, |_| {});
    let pipe = case.subdir("images").join("descriptors.json");
    mkfifo(&pipe, Mode::S_IRWXU).unwrap();
    checkpoint(&case, &b.id, &[]).fails(&["descriptors.json", "ENXIO"]);
    assert!(goes_on(&b));
    remove(&pipe);
    checkpoint(&case, &b.id, &[]).prints("");
    case.delete(&b.id);
    remove(&pipe);
    mkfifo(&pipe, Mode::S_IRWXU).unwrap();
    restore(&case, &b, &b.id, &["-d"]).fails(&["descriptors.json"]);
    nothing_is_left(&case, "by a pipe");
}

#[test]
fn what_somebody_else_has_left_in_a_directory_is_not_written_through() {
    let case = criu_case!();
    let b = counting(&case, |_| {});
    let (images, work) = (case.subdir("images"), case.subdir("work"));
    let victim = case.file("victim", "kept\n", 0o644);
    let lchown = |path: &Path, uid| std::os::unix::fs::lchown(path, Some(uid), None).unwrap();
    for place in [images.join("pages-1.img"), work.join("dump.log"), work.join("stats-dump")] {
        link(&victim, &place);
        lchown(&place, 1000);
        let name = place.file_name().unwrap().to_str().unwrap();
        checkpoint(&case, &b.id, &[]).fails(&[name, "user 1000 may write to it"]);
        remove(&place);
    }
    // What CRIU does not write may be there: engines have all that is a container's in one directory.
    let other = work.join("shm");
    link("/nowhere", &other);
    lchown(&other, 1000);
    checkpoint(&case, &b.id, &[]).prints("");
    case.delete(&b.id);
    link(&victim, &work.join("restore.log"));
    lchown(&work.join("restore.log"), 1000);
    restore(&case, &b, &b.id, &["-d"]).fails(&["restore.log", "user 1000 may write to it"]);
    assert_eq!(read(&victim), "kept\n");
    nothing_is_left(&case, "by links of others");
}

/// Restores by a CRIU that says this, after what it does at first.
fn restore_by(case: &Case, b: &Bundle, at_first: &str, said: &[&[u8]]) -> Done {
    let (images, work) = (images(case), case.path("work"));
    let flags = ["-d", "--work-path", work.to_str().unwrap()];
    let path = criu_that_says(case, at_first, said);
    case.call(restore_line(&images, b, &flags, &b.id)).env("PATH", path).finish()
}

#[test]
fn what_criu_says_that_is_not_true_harms_nobody_and_makes_no_container() {
    let case = case!();
    let b = case.script("exec sleep 1000", |_| {});
    make_dir(&images(&case));
    // Not the case's, which looks for what is left of it.
    let mut stranger = Command::new("sleep").arg("1000").spawn().unwrap();
    let unknown = "criu has not said what it has restored";
    for (said, words) in [
        (vec![notice("setup-namespaces", stranger.id())], "ECHILD"),
        (vec![notice("setup-namespaces", 0x7fff_fff0)], "pidfd_open("),
        (vec![notice("post-restore", stranger.id())], unknown),
        (vec![RESTORED.to_vec()], unknown),
        (vec![vec![0xff; 9]], "criu's answer"),
    ] {
        let all: Vec<&[u8]> = [VERSION].into_iter().chain(said.iter().map(Vec::as_slice)).collect();
        restore_by(&case, &b, "", &all).fails(&[words]);
        assert!(stranger.try_wait().unwrap().is_none(), "{words}");
        nothing_is_left(&case, words);
    }
    stranger.kill().unwrap();
    stranger.wait().unwrap();
}

#[test]
fn a_directory_that_is_another_one_by_the_time_that_criu_sees_it_is_refused() {
    let case = case!();
    let b = case.script("exec sleep 1000", |_| {});
    make_dir(&images(&case));
    let work = case.subdir("work");
    // CRIU sees mounts of its own.
    let cover = format!("mount -t tmpfs tmpfs {}", work.display());
    restore_by(&case, &b, &cover, &[VERSION, RESTORED]).fails(&["--work-path", "is not the same any more"]);
    nothing_is_left(&case, "by another directory");
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

/// The real CRIU, with something done before it begins.
fn preceded(case: &Case, what: &str) -> String {
    let programs = case.subdir("preceded");
    let script = format!("#!/bin/sh\n{what}\nPATH=${{PATH#*:}}\nexec criu \"$@\"\n");
    write(&programs.join("criu"), script, 0o755);
    format!("{}:{}", programs.display(), std::env::var("PATH").unwrap())
}

#[test]
fn a_directory_that_is_swapped_for_a_link_in_between_is_still_the_one_that_was_looked_at() {
    let case = criu_case!();
    let b = counting(&case, |_| {});
    let victim = case.subdir("victim");
    let swap = |name: &str| {
        let [dir, aside] = [case.path(name), case.path(&format!("{name}-aside"))];
        format!("mv {0} {1} && ln -s {2} {0}", dir.display(), aside.display(), victim.display())
    };
    let (images, work) = (images(&case), case.path("work"));
    let flags = ["--work-path", work.to_str().unwrap()];
    let call = |line: &[&str]| {
        let path = preceded(&case, &format!("{}; {}", swap("images"), swap("work")));
        case.call(line).env("PATH", path).finish()
    };
    call(&checkpoint_line(&images, &flags, &b.id)).prints("");
    case.call(["delete", &b.id]).finish().ok();
    assert!(is_there(case.path("images-aside/inventory.img")) && is_there(case.path("work-aside/dump.log")));
    for name in ["images", "work"] {
        remove(&case.path(name));
        std::fs::rename(case.path(&format!("{name}-aside")), case.path(name)).unwrap();
    }
    call(&restore_line(&images, &b, &[&["-d"], &flags[..]].concat(), &b.id)).ok();
    assert!(goes_on(&b) && is_there(case.path("work-aside/restore.log")));
    case.delete(&b.id);
    assert!(std::fs::read_dir(&victim).unwrap().next().is_none());
}

#[test]
fn images_of_another_container_are_an_error_that_says_what_does_not_fit() {
    let case = criu_case!();
    let volume = case.subdir("volume");
    let b = counting(&case, |config| add_mount(config, "/v", "bind", &volume, &["rbind"]));
    checkpoint(&case, &b.id, &[]).prints("");
    case.delete(&b.id);
    // The same root file system, and a configuration without that mount.
    let with = b.config();
    let mut config = with.clone();
    config["mounts"].as_array_mut().unwrap().pop();
    b.save(&config);
    restore(&case, &b, &b.id, &["-d"]).fails(&["criu can't do it", "mountpoint"]);
    nothing_is_left(&case, "by other mounts");
    // What is no directory, or could not be one.
    b.save(&with);
    let file = case.file("file", "", 0o600);
    for (work, words) in [(file.clone(), "--work-path"), (file.join("below"), "--work-path")] {
        let flags = ["-d", "--work-path", work.to_str().unwrap()];
        case.call(restore_line(&images(&case), &b, &flags, &b.id)).finish().fails(&[words, "irectory"]);
        nothing_is_left(&case, words);
    }
    restore(&case, &b, &b.id, &["-d"]).ok();
    assert!(goes_on(&b));
    case.delete(&b.id);
}
