//! When and where hooks run, and what they read.

use serde_json::{Value, json};

use super::{KINDS, hook};
use crate::support::bundle::{Bundle, add_mount, set_namespace};
use crate::support::{Case, case, is_there, read};

/// Appends a line to the log: the kind, the namespaces it is in, what it reads on standard input.
const RECORD: &str =
    "#!/bin/sh\necho \"$1 $(readlink /proc/self/ns/mnt) $(readlink /proc/self/ns/net) $(cat)\" >>\"$2\"\n";

/// A bundle whose hooks of all kinds write to one log, on the host and, bound in, in the container.
fn recording(case: &Case, script: &str) -> Bundle {
    let log = case.file("log", "", 0o666);
    let record = case.file("record", RECORD, 0o755);
    case.script(script, |config| {
        add_mount(config, "/log", "bind", &log, &["bind"]);
        add_mount(config, "/record", "bind", &record, &["bind", "ro"]);
        for kind in KINDS {
            let inside = kind == "startContainer";
            let (path, to) =
                if inside { ("/record".into(), "/log".into()) } else { (record.clone(), log.clone()) };
            config["hooks"][kind] =
                json!([{ "path": path, "args": ["record", kind, to], "env": ["PATH=/bin:/usr/bin"] }]);
        }
    })
}

/// One line of the log.
struct Call {
    kind: String,
    mount: String,
    network: String,
    state: Value,
}

fn calls(case: &Case) -> Vec<Call> {
    let parse = |line: &str| {
        let mut words = line.splitn(4, ' ').map(str::to_owned);
        let mut next = || words.next().unwrap();
        let (kind, mount, network) = (next(), next(), next());
        Call { kind, mount, network, state: serde_json::from_str(&next()).unwrap() }
    };
    read(case.path("log")).lines().map(parse).collect()
}

fn own_namespace(name: &str) -> String {
    std::fs::read_link(format!("/proc/self/ns/{name}")).unwrap().display().to_string()
}

#[test]
fn all_kinds_run_in_their_order_and_namespaces_with_the_state_on_standard_input() {
    let case = case!();
    let b = recording(&case, "sleep 100");
    case.created(&b);
    let pid = case.pid(&b.id);
    let inside =
        |name: &str| std::fs::read_link(format!("/proc/{pid}/ns/{name}")).unwrap().display().to_string();
    let (inside_mnt, inside_net) = (inside("mnt"), inside("net"));
    assert_eq!(calls(&case).iter().map(|c| c.kind.clone()).collect::<Vec<_>>(), KINDS[..3]);
    case.call(["start", &b.id]).finish().ok();
    case.delete(&b.id);
    let calls = calls(&case);
    assert_eq!(calls.iter().map(|c| c.kind.clone()).collect::<Vec<_>>(), KINDS);
    let statuses = ["creating", "creating", "creating", "created", "running", "stopped"];
    for (call, status) in calls.iter().zip(statuses) {
        let inside = ["createContainer", "startContainer"].contains(&call.kind.as_str());
        let (mount, network) = if inside {
            (inside_mnt.clone(), inside_net.clone())
        } else {
            (own_namespace("mnt"), own_namespace("net"))
        };
        assert_eq!((call.mount.clone(), call.network.clone()), (mount, network), "{}", call.kind);
        assert_eq!(call.state["status"], status, "{}", call.kind);
        assert_eq!(call.state["id"], b.id);
        assert_eq!(call.state["bundle"], b.path());
        assert_eq!(call.state["ociVersion"], "1.3.0");
        // As the hook's own pid namespace has it; nobody is there at the end.
        match call.kind.as_str() {
            "poststop" => assert!(call.state["pid"].is_null() || call.state["pid"] == 0, "{}", call.state),
            _ if inside => assert_eq!(call.state["pid"], 1, "{}", call.kind),
            _ => assert_eq!(call.state["pid"], pid, "{}", call.kind),
        }
    }
}

#[test]
fn run_has_them_too() {
    let case = case!();
    let b = recording(&case, "true");
    case.run(&b).ok();
    assert_eq!(calls(&case).iter().map(|c| c.kind.clone()).collect::<Vec<_>>(), KINDS);
}

#[test]
fn hooks_of_one_kind_run_in_the_order_of_the_list() {
    let case = case!();
    let log = case.path("order");
    let b = case.script("true", |config| {
        for n in 1..=3 {
            for kind in ["prestart", "createRuntime", "createContainer", "poststart", "poststop"] {
                hook(config, kind, &format!("echo {kind}{n} >>{}", log.display()));
            }
        }
    });
    case.run(&b).ok();
    let expected: Vec<String> = ["prestart", "createRuntime", "createContainer", "poststart", "poststop"]
        .iter()
        .flat_map(|kind| (1..=3).map(move |n| format!("{kind}{n}")))
        .collect();
    assert_eq!(read(&log).lines().collect::<Vec<_>>(), expected);
}

#[test]
fn annotations_are_in_the_state() {
    let case = case!();
    let out = case.path("seen");
    let b = case.script("true", |config| {
        config["annotations"] = json!({ "a.b": "c" });
        hook(config, "createRuntime", &format!("cat >{}", out.display()));
    });
    case.run(&b).ok();
    let state: Value = serde_json::from_str(&read(&out)).unwrap();
    assert_eq!(state["annotations"], json!({ "a.b": "c" }));
}

#[test]
fn host_side_hooks_begin_in_the_bundle() {
    let case = case!();
    let out = case.path("cwd");
    let b = case.script("true", |config| {
        for kind in ["prestart", "createRuntime", "createContainer", "poststart", "poststop"] {
            hook(config, kind, &format!("pwd >>{}", out.display()));
        }
    });
    case.run(&b).ok();
    assert_eq!(read(out), format!("{}\n", b.path()).repeat(5));
}

#[test]
fn hooks_find_the_mounts_and_may_add_to_the_root() {
    // What GPU and network hooks do: the tree is whole, and not yet the container's /.
    let case = case!();
    let b = case.script("cat /tmp/runtime /tmp/container; ls /v", |config| {
        add_mount(config, "/v", "tmpfs", "tmpfs", &[]);
        hook(config, "createRuntime", "echo runtime >rootfs/tmp/runtime");
        hook(config, "createContainer", "echo container >rootfs/tmp/container; echo x >rootfs/v/made");
        config["root"]["readonly"] = json!(true);
    });
    case.run(&b).prints("runtime\ncontainer\nmade\n");
}

#[test]
fn a_runtime_hook_can_enter_the_containers_namespaces_by_its_pid() {
    let case = case!();
    let out = case.path("names");
    let b = case.script("true", |config| {
        hook(
            config,
            "createRuntime",
            &format!(
                "pid=$(sed 's/.*\"pid\":\\([0-9]*\\).*/\\1/'); nsenter -t $pid -u hostname >{}",
                out.display()
            ),
        );
    });
    case.run(&b).ok();
    assert_eq!(read(out), "box\n");
}

#[test]
fn hooks_work_in_a_joined_pid_namespace() {
    let case = case!();
    let b = case.script("echo fine", |config| {
        set_namespace(config, "pid", Some(json!({ "type": "pid", "path": "/proc/self/ns/pid" })));
        for kind in KINDS {
            config["hooks"][kind] = json!([{ "path": "/bin/true" }]);
        }
    });
    for _ in 0..10 {
        case.run(&b).prints("fine\n");
    }
}

#[test]
fn poststop_hooks_run_once_also_when_the_bundle_is_gone() {
    let case = case!();
    let log = case.path("after");
    let b =
        case.script("true", |config| hook(config, "poststop", &format!("echo poststop >>{}", log.display())));
    case.started(&b);
    case.until(&b.id, "stopped");
    assert!(!is_there(&log));
    std::fs::rename(&b.dir, case.path("gone")).unwrap();
    case.call(["delete", &b.id]).finish().ok();
    case.call(["delete", "-f", &b.id]).finish().ok();
    assert_eq!(read(log), "poststop\n");
}
