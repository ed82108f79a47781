//! A hook that hangs holds nobody else up.

use std::path::Path;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::json;

use crate::support::bundle::Bundle;
use crate::support::{
    Case, UNIGNORED, case, eventually, is_there, make_dir, nothing_is_left, read, remove, within,
};

/// A bundle whose host's hook of this kind hangs, and says so first.
fn hanging(case: &Case, kind: &str) -> (Bundle, std::path::PathBuf) {
    let mark = case.path(&format!("{kind}-hangs"));
    let b = case.script("sleep 100", |config| {
        let script = format!("echo $$ >{0}.new; mv {0}.new {0}; exec sleep 1000", mark.display());
        config["hooks"][kind] =
            json!([{ "path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/bin:/usr/bin"] }]);
    });
    (b, mark)
}

#[test]
fn a_hook_that_hangs_does_not_hold_up_a_forced_delete() {
    let case = case!();
    for kind in ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"] {
        for there in [false, true] {
            let (b, mark) = hanging(&case, kind);
            if there {
                // Then the cgroup is known as the container's only when it has been created.
                make_dir(&b.cgroup);
            }
            if kind == "startContainer" {
                // It runs in there, where the host's files are not.
                let mut config = b.config();
                config["hooks"][kind][0]["args"][2] = json!("echo 1 >/mark; exec sleep 1000");
                b.save(&config);
            }
            let at = if kind == "startContainer" { b.rootfs("mark") } else { mark };
            let mut held = match kind {
                "prestart" | "createRuntime" | "createContainer" => {
                    case.call(["create", "-b", b.path(), &b.id]).spawn()
                }
                "poststop" => {
                    case.created(&b);
                    case.call(["delete", &b.id]).spawn()
                }
                _ => {
                    case.created(&b);
                    case.call(["start", &b.id]).spawn()
                }
            };
            eventually("the hook hangs", || is_there(&at));
            assert!(!held.ended());
            case.delete(&b.id);
            let done = held.wait();
            assert_eq!(done.code() == 0, kind == "poststop", "{kind}: {done}");
            nothing_is_left_but(&case, &b.cgroup, there, kind);
            remove(&at);
        }
    }
}

#[track_caller]
fn nothing_is_left_but(case: &Case, cgroup: &Path, there: bool, what: &str) {
    if there {
        eventually("its cgroup is empty", || std::fs::remove_dir(cgroup).is_ok());
    }
    nothing_is_left(case, what);
}

#[test]
fn a_create_that_is_asked_to_end_while_a_hook_hangs_leaves_nothing() {
    let case = case!();
    for kind in ["prestart", "createRuntime"] {
        for verb in ["create", "run"] {
            for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
                let (b, mark) = hanging(&case, kind);
                let create = case.call_through(&UNIGNORED, [verb, "-b", b.path(), &b.id]).spawn();
                eventually("the hook hangs", || is_there(&mark));
                create.signal(signal as i32);
                create.wait().fails(&[kind, "signal"]);
                case.call(["state", &b.id]).finish().fails(&["does not exist"]);
                nothing_is_left(&case, kind);
                remove(&mark);
            }
        }
    }
    // What the caller had ignored is ignored.
    let (b, mark) = hanging(&case, "createRuntime");
    let ignoring = ["sh", "-c", "trap '' HUP; exec \"$@\"", "ignoring"];
    let mut create = case.call_through(&ignoring, ["create", "-b", b.path(), &b.id]).spawn();
    eventually("the hook hangs", || is_there(&mark));
    create.signal(libc::SIGHUP);
    assert!(!within(Duration::from_millis(200), || create.ended()));
    create.signal(libc::SIGTERM);
    assert_eq!(create.wait().code(), 1);
}

#[test]
fn a_create_that_is_killed_while_a_hook_hangs_can_be_deleted() {
    let case = case!();
    for kind in ["prestart", "createRuntime", "createContainer"] {
        let (b, mark) = hanging(&case, kind);
        let create = case.call(["create", "-b", b.path(), &b.id]).spawn();
        eventually("the hook hangs", || is_there(&mark));
        drop(create);
        case.nobody_holds(&b, kind);
        case.delete(&b.id);
        // The hook is the host's: it is not the container's, and nobody knows it any more.
        if kind != "createContainer" {
            let hook = nix::unistd::Pid::from_raw(read(&mark).trim().parse().unwrap());
            nix::sys::signal::kill(hook, Signal::SIGKILL).unwrap();
        }
        nothing_is_left(&case, kind);
    }
}
