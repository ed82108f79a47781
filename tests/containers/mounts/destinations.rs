//! Where a mount goes, and that it never leaves the container's root.

use std::path::Path;

use super::SHOW;
use crate::support::bundle::add_mount;
use crate::support::canary::Canary;
use crate::support::mountinfo::{mount_at, mounts};
use crate::support::{case, is_there, link};

#[test]
fn a_destination_behind_links_is_inside_of_the_root() {
    let case = case!();
    let canary = Canary::new(&case);
    for target in [
        canary.dir.display().to_string(),
        format!("../../../../../../../..{}", canary.dir.display()),
        "/proc/self/root/canary".into(),
    ] {
        for at in ["/link", "/link/new", "/link/new/deep"] {
            let b = case.script("cat /proc/self/mountinfo; touch /link/here", |config| {
                add_mount(config, at, "tmpfs", "tmpfs", &["mode=755"]);
            });
            link(&target, &b.rootfs("link"));
            let done = case.run(&b);
            // A link into /proc leads nowhere before the container has one: to refuse it is fine, too.
            if done.code() == 0 {
                assert!(
                    mounts(&done).iter().any(|m| m.fstype == "tmpfs" && m.at.contains("canary")),
                    "{done}"
                );
            } else {
                done.says(&["mounts[4]", at]);
            }
            canary.is_untouched();
        }
    }
}

#[test]
fn a_bind_of_a_file_behind_links_is_inside_of_the_root() {
    // /etc/resolv.conf is such a link in many images, and what it leads to is often missing.
    let case = case!();
    let canary = Canary::new(&case);
    let file = case.file("resolv", "nameserver ::1\n", 0o644);
    for (target, made) in [
        ("../run/systemd/resolve/stub-resolv.conf", "run/systemd/resolve/stub-resolv.conf"),
        ("/run/resolv", "run/resolv"),
        ("../../../../../../run/up", "run/up"),
    ] {
        let b = case.script("cat /etc/resolv.conf", |config| {
            add_mount(config, "/etc/resolv.conf", "bind", &file, &["bind", "ro"])
        });
        link(target, &b.rootfs("etc/resolv.conf"));
        case.run(&b).prints("nameserver ::1\n");
        assert!(b.rootfs(made).is_file());
        assert_eq!(b.rootfs("etc/resolv.conf").read_link().unwrap(), Path::new(target));
    }
    let b = case.script("true", |config| add_mount(config, "/etc/x", "bind", &file, &["bind"]));
    link(canary.dir.join("file"), &b.rootfs("etc/x"));
    case.run(&b).ok();
    canary.is_untouched();
    assert!(is_there(b.rootfs(canary.dir.join("file").to_str().unwrap())));
}

#[test]
fn links_in_a_circle_are_an_error_that_names_the_mount() {
    let case = case!();
    let b = case.script("true", |config| add_mount(config, "/a/x", "tmpfs", "tmpfs", &[]));
    link("b", &b.rootfs("a"));
    link("a", &b.rootfs("b"));
    case.create(&b).fails(&["mounts[4] /a/x", "(ELOOP)"]);
}

#[test]
fn a_destination_is_cleaned_and_may_be_relative() {
    let case = case!();
    let done = case.sh(SHOW, |config| {
        add_mount(config, "relative/dir", "tmpfs", "tmpfs", &[]);
        add_mount(config, "/a/../b//c/.", "tmpfs", "tmpfs", &[]);
        add_mount(config, "/../../../up", "tmpfs", "tmpfs", &[]);
    });
    let done = done.ok();
    for at in ["/relative/dir", "/b/c", "/up"] {
        mount_at(&done, at);
    }
}

#[test]
fn mounts_are_made_in_their_order() {
    let case = case!();
    let (first, second) = (case.file("first", "first\n", 0o644), case.file("second", "second\n", 0o644));
    let script = "cat /f; cat /t/f; cat /t2/f 2>/dev/null; true";
    let b = case.script(script, |config| {
        add_mount(config, "/f", "bind", &first, &["bind"]);
        add_mount(config, "/f", "bind", &second, &["bind"]);
        add_mount(config, "/t", "tmpfs", "tmpfs", &[]);
        add_mount(config, "/t/f", "bind", &first, &["bind"]);
        add_mount(config, "/t2/f", "bind", &first, &["bind"]);
        add_mount(config, "/t2", "tmpfs", "tmpfs", &[]);
    });
    case.run(&b).prints("second\nfirst\n");
}
