//! Namespaces of the user's other containers, and of somebody else.

use serde_json::json;

use super::PATIENT;
use crate::support::bundle::set_namespace;
use crate::support::user::user;
use crate::support::{case, host_command};

#[test]
fn the_namespaces_of_a_users_own_container_can_be_joined() {
    let case = case!();
    let user = user!(case);
    let holder = user.bundle(PATIENT, |_| {});
    let pid = user.started(&holder);
    let links = [
        ("user", "user"),
        ("pid", "pid"),
        ("ipc", "ipc"),
        ("uts", "uts"),
        ("network", "net"),
        ("cgroup", "cgroup"),
    ];
    let of = |pid: &str, link: &str| {
        std::fs::read_link(format!("/proc/{pid}/ns/{link}")).unwrap().display().to_string()
    };
    for also in [&[][..], &["pid"], &["network"], &["pid", "ipc", "uts", "network", "cgroup"]] {
        let joins = |kind: &str| kind == "user" || also.contains(&kind);
        let script = "cd /proc/self/ns; for l in user pid ipc uts net cgroup; do readlink $l; done; id -u; cat /proc/self/oom_score_adj; echo >/dev/null";
        let b = user.bundle(script, |config| {
            for (kind, link) in links.into_iter().filter(|(kind, _)| joins(kind)) {
                set_namespace(
                    config,
                    kind,
                    Some(json!({ "type": kind, "path": format!("/proc/{pid}/ns/{link}") })),
                );
            }
            config["hostname"] = json!("");
            config["process"]["oomScoreAdj"] = json!(300);
        });
        let lines = user.run(&b).ok().lines();
        for ((kind, link), seen) in links.into_iter().zip(&lines) {
            assert_eq!(*seen == of(&pid.to_string(), link), joins(kind), "{kind} of {also:?}");
        }
        assert_eq!(lines[6..], ["0", "300"]);
    }
    // Its mounts, too: its own root is all that is there, and no bundle.
    let b = user.bundle("true", |config| {
        for (kind, link) in [("user", "user"), ("mount", "mnt")] {
            set_namespace(
                config,
                kind,
                Some(json!({ "type": kind, "path": format!("/proc/{pid}/ns/{link}") })),
            );
        }
    });
    user.run(&b).fails(&["joined mount namespace", b.path()]);
    user.delete(&holder.id);
    user.has_no_container();
}

#[test]
fn a_namespace_of_somebody_else_can_not_be_joined() {
    let case = case!();
    let user = user!(case);
    let foreign =
        case.script("sleep 100", |config| crate::support::bundle::add_user_namespace(config, 100_000));
    case.started(&foreign);
    let (own, theirs) = (user.bundle(PATIENT, |_| {}), case.pid(&foreign.id));
    let mine = user.started(&own);
    // /proc/PID/ns of another user can't even be opened; a bind mount of one can, which is how engines keep them.
    let at = case.file("netns", "", 0o644);
    host_command("mount", &["--bind".as_ref(), format!("/proc/{theirs}/ns/net").as_ref(), at.as_os_str()]);
    let with = |path: &str| {
        user.bundle("true", |config| {
            let path_of_mine = format!("/proc/{mine}/ns/user");
            set_namespace(config, "user", Some(json!({ "type": "user", "path": path_of_mine })));
            set_namespace(config, "network", Some(json!({ "type": "network", "path": path })));
        })
    };
    let (by_path, by_file) = (with(&format!("/proc/{theirs}/ns/net")), with(at.to_str().unwrap()));
    let (first, second) = (user.run(&by_path), user.run(&by_file));
    host_command("umount", &[at.as_os_str()]);
    first.fails(&["linux.namespaces", "ns/net", "EACCES"]);
    second.fails(&["linux.namespaces", "netns", "no rights", "EPERM"]);
    user.delete(&own.id);
    case.delete(&foreign.id);
    user.has_no_container();
}
