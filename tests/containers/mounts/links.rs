//! `copy-symlink`, `src-nofollow` and `dest-nofollow`: crun(1); podman writes the first for `no-dereference`.

use serde_json::Value;

use super::SHOW;
use crate::support::bundle::{Bundle, add_mount, add_user_namespace};
use crate::support::canary::Canary;
use crate::support::mountinfo::{mount_at, mounts};
use crate::support::{Case, case, is_there, link, make_dir, read, write};

/// A bundle beside whose root there are a file, a directory, a link to the file and one to nowhere.
fn with_links(case: &Case, script: &str, change: impl FnOnce(&mut Value)) -> Bundle {
    let b = case.script(script, change);
    write(&b.dir.join("file"), "in file\n", 0o644);
    make_dir(&b.dir.join("dir"));
    link("file", &b.dir.join("to-file"));
    link("/no/where", &b.dir.join("dangling"));
    b
}

#[test]
fn copy_symlink_makes_a_link_like_the_source_and_mounts_nothing() {
    let case = case!();
    let script = "readlink /a/b/link; readlink /same; cat /file; cat /proc/self/mountinfo";
    let b = with_links(&case, script, |config| {
        add_mount(config, "/a/b/link", "bind", "dangling", &["rbind", "copy-symlink", "ro"]);
        add_mount(config, "/same", "bind", "dangling", &["bind", "copy-symlink"]);
        add_mount(config, "/file", "bind", "file", &["bind", "copy-symlink", "ro"]);
    });
    link("/no/where", &b.rootfs("same"));
    let done = case.run(&b).ok();
    assert!(done.stdout().starts_with("/no/where\n/no/where\nin file\n"), "{done}");
    assert!(mount_at(&done, "/file").has("ro"));
    assert!(!mounts(&done).iter().any(|m| m.at.contains("link") || m.at.contains("same")), "{done}");
}

#[test]
fn copy_symlink_works_in_a_user_namespace() {
    let case = case!();
    let b = with_links(&case, "readlink /link; stat -c %u /link", |config| {
        add_user_namespace(config, 100_000);
        add_mount(config, "/link", "bind", "dangling", &["bind", "copy-symlink"]);
    });
    b.chown(100_000);
    case.run(&b).prints("/no/where\n0\n");
}

#[test]
fn copy_symlink_does_not_replace_what_is_there() {
    let case = case!();
    for (there, said) in [
        (Some("/else/where"), "a link to \"/else/where\" is there already"),
        (None, "no link is there already"),
    ] {
        let b = with_links(&case, "true", |config| {
            add_mount(config, "/at", "bind", "dangling", &["bind", "copy-symlink"]);
        });
        match there {
            Some(target) => link(target, &b.rootfs("at")),
            None => b.put("at", "kept\n", 0o644),
        }
        case.create(&b).fails(&["mounts[4] /at", said]);
        assert!(there.is_some() || read(b.rootfs("at")) == "kept\n");
    }
}

#[test]
fn a_copied_link_stays_inside_of_the_root() {
    let case = case!();
    let canary = Canary::new(&case);
    let b = with_links(&case, "true", |config| {
        add_mount(config, "/up/link", "bind", "dangling", &["bind", "copy-symlink"]);
    });
    link(&canary.dir, &b.rootfs("up"));
    case.run(&b).ok();
    canary.is_untouched();
    assert!(is_there(b.rootfs(canary.dir.join("link").to_str().unwrap())));
}

#[test]
fn src_nofollow_binds_the_link_itself() {
    let case = case!();
    let script = "readlink /etc/over; readlink /new; cat /file; cat /proc/self/mountinfo";
    let b = with_links(&case, script, |config| {
        add_mount(config, "/etc/over", "bind", "dangling", &["bind", "src-nofollow"]);
        add_mount(config, "/new", "bind", "to-file", &["bind", "src-nofollow"]);
        add_mount(config, "/file", "bind", "file", &["bind", "src-nofollow"]);
    });
    b.put("etc/over", "", 0o644);
    let done = case.run(&b).ok();
    assert!(done.stdout().starts_with("/no/where\nfile\nin file\n"), "{done}");
    assert!(mount_at(&done, "/new").root.ends_with("/to-file"), "{done}");
}

#[test]
fn dest_nofollow_covers_a_link_and_not_what_it_leads_to() {
    let case = case!();
    let b = with_links(&case, &format!("cat /link /missing; [ -d /made/dir ] && ls /; {SHOW}"), |config| {
        add_mount(config, "/link", "bind", "file", &["bind", "dest-nofollow"]);
        add_mount(config, "/missing", "bind", "file", &["bind", "dest-nofollow"]);
        add_mount(config, "/made/dir", "bind", "dir", &["bind", "dest-nofollow"]);
        add_mount(config, "/both", "bind", "dangling", &["bind", "dest-nofollow", "src-nofollow"]);
    });
    link("/etc/target", &b.rootfs("link"));
    link("/etc/other", &b.rootfs("both"));
    let done = case.run(&b).ok();
    assert!(done.stdout().starts_with("in file\nin file\n"), "{done}");
    for at in ["/link", "/missing", "/made/dir", "/both"] {
        mount_at(&done, at);
    }
    assert!(!is_there(b.rootfs("etc/target")) && !is_there(b.rootfs("etc/other")));
    // Without it the same link is followed.
    let b = with_links(&case, SHOW, |config| add_mount(config, "/link", "bind", "file", &["bind"]));
    link("/etc/target", &b.rootfs("link"));
    mount_at(&case.run(&b).ok(), "/etc/target");
}

#[test]
fn words_about_links_that_exclude_each_other_are_refused() {
    let case = case!();
    for (kind, options, said) in [
        ("bind", &["bind", "copy-symlink", "src-nofollow"][..], "copy-symlink and src-nofollow"),
        ("bind", &["bind", "copy-symlink", "dest-nofollow"], "copy-symlink and dest-nofollow"),
        ("tmpfs", &["dest-nofollow"], "are for bind mounts"),
    ] {
        let b = with_links(&case, "true", |config| add_mount(config, "/x", kind, "dangling", options));
        case.create(&b).fails(&["mounts[4] /x", said]);
    }
    let b = with_links(&case, "true", |config| {
        add_mount(config, "/x", "bind", "missing", &["bind", "copy-symlink"]);
    });
    case.create(&b).fails(&["mounts[4] /x", "missing", "(ENOENT)"]);
}
