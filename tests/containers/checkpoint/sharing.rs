//! Mounts that share what is mounted in them, as all of a host do where systemd runs: mount_namespaces(7).

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::{checkpoint, counting, goes_on, images, lacking, moved, restore};
use crate::support::bundle::add_mount;
use crate::support::mountinfo::mount_at;
use crate::support::{Bundle, Case, case, host_command, is_there, make_dir, need, nothing_is_left, write};

/// The case's directory, as a mount that is shared.
struct Host {
    dir: PathBuf,
}

impl Host {
    fn of(case: &Case) -> Self {
        let host = Self { dir: case.dir.clone() };
        mount("--bind", &[&host.dir, &host.dir]);
        host.become_("shared");
        host
    }

    fn become_(&self, propagation: &str) {
        mount(&format!("--make-{propagation}"), &[&self.dir]);
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        host_command("umount", &["-l".as_ref(), self.dir.as_os_str()]);
    }
}

fn mount(option: &str, paths: &[&PathBuf]) {
    let words: Vec<&OsStr> =
        [OsStr::new(option)].into_iter().chain(paths.iter().map(|path| path.as_os_str())).collect();
    host_command("mount", &words);
}

/// Where a bind comes from on the host. None is in another one in the container.
fn volume(case: &Case, name: &str) -> PathBuf {
    case.path("volumes").join(name.replace('.', "/"))
}

/// Binds in the container, by the words that they have.
fn add_binds(case: &Case, config: &mut Value, binds: &[(&str, &str)]) {
    for (name, word) in binds {
        make_dir(&volume(case, name));
        add_mount(config, &format!("/{name}"), "bind", volume(case, name), &["rbind", word]);
    }
}

fn sharing(case: &Case, root: Option<&str>, binds: &[(&str, &str)]) -> Bundle {
    counting(case, |config| {
        config["linux"]["rootfsPropagation"] = json!(root);
        add_binds(case, config, binds);
    })
}

/// How a container's mount shares, as it sees it itself.
fn kind(case: &Case, id: &str, at: &str) -> &'static str {
    let done = case.call(["exec", id, "cat", "/proc/self/mountinfo"]).finish().ok();
    mount_at(&done, at).kind()
}

/// Whether what is mounted there on the host from now on is seen in the container.
fn follows(case: &Case, id: &str, on_host: &Path, inside: &str) -> bool {
    let at = on_host.join("new");
    make_dir(&at);
    host_command("mount", &["-t".as_ref(), "tmpfs".as_ref(), "new".as_ref(), at.as_os_str()]);
    write(&at.join("file"), "", 0o644);
    let seen = is_there(format!("/proc/{}/root{inside}/new/file", case.pid(id)));
    host_command("umount", &[at.as_os_str()]);
    seen
}

#[test]
fn what_follows_the_mounts_of_its_host_does_so_again_when_it_is_restored() {
    let case = criu_case!();
    let _host = Host::of(&case);
    for (root, binds) in [
        (Some("rslave"), &[][..]),
        (Some("slave"), &[("a", "rslave"), ("b", "rslave")]),
        (None, &[("a", "rslave"), ("b", "rslave")]),
    ] {
        let b = sharing(&case, root, binds);
        let other = moved(&case, &b, &b.id);
        assert!(goes_on(&b), "{root:?}");
        let expected = if root.is_some() { "slave" } else { "private" };
        assert_eq!(kind(&case, &other.id, "/"), expected, "{root:?}");
        assert_eq!(follows(&case, &other.id, &b.rootfs(""), ""), root.is_some(), "{root:?}");
        for (name, _) in binds {
            assert_eq!(kind(&case, &other.id, &format!("/{name}")), "slave", "{root:?}");
            assert!(follows(&case, &other.id, &volume(&case, name), &format!("/{name}")));
        }
        case.delete(&other.id);
        std::fs::rename(images(&case), case.path(&format!("images-of-{}", b.id))).unwrap();
    }
}

#[test]
fn what_followed_the_mounts_of_its_host_is_restored_where_these_are_private() {
    let case = criu_case!();
    let host = Host::of(&case);
    let b = sharing(&case, Some("rslave"), &[("a", "rslave"), ("b", "rslave")]);
    checkpoint(&case, &b.id, &[]).prints("");
    case.call(["delete", &b.id]).finish().prints("");
    host.become_("private");
    restore(&case, &b, &b.id, &["-d"]).ok();
    assert!(goes_on(&b));
    for at in ["/", "/a", "/b"] {
        assert_eq!(kind(&case, &b.id, at), "private", "{at}");
    }
    case.delete(&b.id);
}

#[test]
fn a_root_that_is_not_to_follow_the_host_any_more_does_not_do_so_when_it_is_restored() {
    let case = criu_case!();
    let _host = Host::of(&case);
    let b = sharing(&case, Some("rslave"), &[]);
    checkpoint(&case, &b.id, &[]).prints("");
    case.call(["delete", &b.id]).finish().prints("");
    let mut config = b.config();
    config["linux"]["rootfsPropagation"] = json!("rprivate");
    b.save(&config);
    restore(&case, &b, &b.id, &["-d"]).ok();
    assert_eq!(kind(&case, &b.id, "/"), "private");
    case.delete(&b.id);
}

#[test]
fn what_shares_with_the_host_is_restored_and_shares_no_more() {
    let case = criu_case!();
    let _host = Host::of(&case);
    let b = sharing(&case, None, &[("a", "rshared"), ("a.below", "rshared")]);
    let other = moved(&case, &b, &b.id);
    assert!(goes_on(&b));
    for name in ["a", "a.below"] {
        let at = format!("/{name}");
        assert_eq!(kind(&case, &other.id, &at), "shared");
        assert!(!follows(&case, &other.id, &volume(&case, name), &at), "{name}");
    }
    case.delete(&other.id);
}

#[test]
fn mounts_that_criu_could_not_restore_are_not_written() {
    let case = criu_case!();
    let _host = Host::of(&case);
    for (root, binds, words) in [
        (None, &[("a", "rshared"), ("b", "rshared")][..], ["/a and /b", "rprivate"]),
        (None, &[("a", "rslave"), ("b", "rshared")], ["/a and /b", "rprivate"]),
        (Some("rslave"), &[("b", "rshared")], ["/ and /b", "rprivate"]),
        (None, &[("a", "rshared"), ("a.x", "rslave"), ("a.y", "rslave")], ["/a.x and /a.y", "rprivate"]),
        (Some("unbindable"), &[], ["/ is unbindable", "rootfsPropagation"]),
    ] {
        let b = sharing(&case, root, binds);
        for flags in [&[][..], &["--leave-running"], &["--pre-dump"]] {
            let [mounts, remedy] = words;
            checkpoint(&case, &b.id, flags).fails(&["checkpoint of container", mounts, remedy]);
            assert!(!is_there(images(&case)) && !is_there(case.path("work")), "{words:?} {flags:?}");
        }
        assert!(goes_on(&b), "{words:?}");
        case.delete(&b.id);
        nothing_is_left(&case, "by a checkpoint that is refused");
    }
}
