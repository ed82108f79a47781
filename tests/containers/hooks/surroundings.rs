//! What a hook has: environment, arguments, descriptors, signals.

use std::path::Path;

use serde_json::json;

use super::{KINDS, hook};
use crate::support::bundle::add_mount;
use crate::support::{case, installed, need, read};

#[test]
fn a_hook_without_env_has_none_and_none_of_the_containers_or_callers() {
    // CVE-2025-23266: an image's LD_PRELOAD reached a hook of the host.
    let case = case!();
    let outs: Vec<_> = KINDS.iter().map(|kind| case.path(kind)).collect();
    let b = case.script("true", |config| {
        config["process"]["env"] =
            json!(["PATH=/bin", "LD_PRELOAD=/evil.so", "LD_AUDIT=/evil.so", "GCONV_PATH=/evil"]);
        for (kind, out) in KINDS.iter().zip(&outs) {
            // What the hook itself was started with: the shell adds variables of its own.
            let to = if *kind == "startContainer" { Path::new("/environ") } else { out };
            let script = format!("(read x; echo \"$x\" >{}) </proc/self/environ; exit 0", to.display());
            config["hooks"][kind] = json!([{ "path": "/bin/sh", "args": ["sh", "-c", script] }]);
        }
    });
    case.call(["run", "-b", b.path(), &b.id]).env("CALLERS", "secret").finish().ok();
    for (kind, out) in KINDS.iter().zip(outs).filter(|(kind, _)| **kind != "startContainer") {
        assert_eq!(read(out), "\n", "{kind}");
    }
    assert!(!read(b.rootfs("environ")).contains("CALLERS"));
}

#[test]
fn a_hook_has_the_args_and_env_that_it_asks_for() {
    let case = case!();
    let out = case.path("args");
    let program = case.file("show", format!("#!/bin/sh\nexec >{}\ntr '\\0' '|' </proc/$$/cmdline\necho\nenv | sort | grep -v '^PWD\\|^_\\|^SHLVL'\n", out.display()), 0o755);
    let b = case.script("true", |config| {
        config["hooks"]["createRuntime"] = json!([{ "path": program, "args": ["show", "a b", ""], "env": ["PATH=/bin:/usr/bin", "K=v=w"] }]);
    });
    case.run(&b).ok();
    assert_eq!(read(out), format!("/bin/sh|{}|a b||\nK=v=w\nPATH=/bin:/usr/bin\n", program.display()));
}

#[test]
fn the_environment_of_a_hook_is_what_stands_there_to_the_byte() {
    // environ(7), not a map: order, doubles, and what has no `=`.
    let case = case!();
    let env = ["Z=1", "A=2", "Z=3", "NO_EQUALS", "=x", "EMPTY=", "MORE===", "PATH=/bin"];
    for kind in ["prestart", "createContainer", "poststop"] {
        let out = case.path(kind);
        let b = case.script("true", |config| {
            // The shell opens it in the process that becomes cat, with the environment that it has itself.
            let script = format!("cat </proc/self/environ >{}", out.display());
            config["hooks"][kind] = json!([{ "path": "/bin/sh", "args": ["sh", "-c", script], "env": env }]);
        });
        case.run(&b).ok();
        assert_eq!(read(&out), format!("{}\0", env.join("\0")), "{kind}");
    }
}

#[test]
fn a_hook_without_args_has_its_path_as_its_name() {
    let case = case!();
    let out = case.path("name");
    let program =
        case.file("show", format!("#!/bin/sh\ntr '\\0' '|' </proc/$$/cmdline >>{}\n", out.display()), 0o755);
    for args in [json!(null), json!([])] {
        let b = case.script("true", |config| {
            let mut hook = json!({ "path": program, "env": ["PATH=/bin:/usr/bin"] });
            if !args.is_null() {
                hook["args"] = args;
            }
            config["hooks"]["createRuntime"] = json!([hook]);
        });
        case.run(&b).ok();
    }
    assert_eq!(read(out), format!("/bin/sh|{0}|/bin/sh|{0}|", program.display()));
}

#[test]
fn hooks_run_where_no_inotify_instance_is_left() {
    let case = case!();
    need!(installed("strace"), "strace is not installed");
    let log = case.path("log");
    let b = case.script("sleep 100", |config| {
        for kind in ["createRuntime", "poststart", "poststop"] {
            hook(config, kind, &format!("echo {kind} >>{}", log.display()));
        }
    });
    let without = |args: &[&str]| {
        let trace = case.path("trace");
        let inject = "inject=inotify_init1:error=EMFILE";
        let line =
            ["strace", "-D", "-qq", "-e", "trace=inotify_init1", "-e", inject, "-o", trace.to_str().unwrap()];
        case.call_through(&line, args).finish().ok();
        assert!(read(&trace).contains("INJECTED"), "{args:?}");
    };
    without(&["create", "-b", b.path(), &b.id]);
    without(&["start", &b.id]);
    without(&["delete", "-f", &b.id]);
    assert_eq!(read(log), "createRuntime\npoststart\npoststop\n");
}

#[test]
fn a_hook_need_not_read_its_input() {
    // Often, for the write to nobody must not end the runtime, nor init, whose signals are the default ones.
    let case = case!();
    let long = "x".repeat(200_000);
    let b = case.script("echo fine", |config| {
        config["annotations"] = json!({ "larger.than.a.pipe": long });
        for kind in KINDS {
            config["hooks"][kind] =
                json!([{ "path": "/bin/true" }, { "path": "/bin/true" }, { "path": "/bin/true" }]);
        }
    });
    for _ in 0..10 {
        case.run(&b).prints("fine\n");
    }
}

#[test]
fn a_hook_that_closes_its_input_and_goes_on_is_waited_for() {
    let case = case!();
    let log = case.path("ended");
    let b = case.script("echo fine", |config| {
        config["annotations"] = json!({ "larger.than.a.pipe": "x".repeat(200_000) });
        hook(config, "createRuntime", &format!("exec <&-; sleep 0.3; echo ended >{}", log.display()));
    });
    case.run(&b).prints("fine\n");
    assert_eq!(read(log), "ended\n");
}

#[test]
fn hooks_get_no_descriptors_but_three() {
    let case = case!();
    let outs: Vec<_> = ["createRuntime", "createContainer", "poststart", "poststop"]
        .iter()
        .map(|kind| (*kind, case.path(kind)))
        .collect();
    let b = case.script("true", |config| {
        for (kind, out) in &outs {
            hook(
                config,
                kind,
                &format!(
                    "ls /proc/$$/fd | grep -v '^[012]$' | while read n; do readlink /proc/$$/fd/$n; done >{}; true",
                    out.display()
                ),
            );
        }
    });
    let leak = ["bash", "-c", "exec 3</ 4</etc/passwd 9</; exec \"$@\"", "bash"];
    case.call_through(&leak, ["run", "-b", b.path(), &b.id]).finish().ok();
    for (kind, out) in outs {
        // A shell may have its own script or a pipe open.
        let lines: Vec<String> =
            read(out).lines().filter(|line| line.starts_with('/')).map(str::to_owned).collect();
        assert_eq!(lines, [""; 0], "{kind}");
    }
}

#[test]
fn signals_of_a_hook_are_the_default_ones() {
    let case = case!();
    let outs: Vec<_> = ["createRuntime", "createContainer", "poststop"]
        .iter()
        .map(|kind| (*kind, case.path(kind)))
        .collect();
    let b = case.script("true", |config| {
        for (kind, out) in &outs {
            hook(config, kind, &format!("exec grep -E '^Sig(Blk|Ign)' /proc/self/status >{}", out.display()));
        }
    });
    case.run(&b).ok();
    for (kind, out) in outs {
        let text = read(out);
        let blocked = text.lines().find(|l| l.starts_with("SigBlk")).unwrap();
        assert_eq!(blocked, "SigBlk:\t0000000000000000", "{kind}");
        let ignored = u64::from_str_radix(
            text.lines().find(|l| l.starts_with("SigIgn")).unwrap().trim_start_matches("SigIgn:\t"),
            16,
        )
        .unwrap();
        assert_eq!(ignored & (1 << 12), 0, "{kind} ignores SIGPIPE");
    }
}

#[test]
fn a_hook_has_the_callers_umask() {
    let case = case!();
    let dir = case.subdir("made");
    let b = case.script("true", |config| {
        add_mount(config, "/made", "bind", &dir, &["bind"]);
        config["process"]["user"]["umask"] = json!(0o077);
        for kind in KINDS {
            let at = if kind == "startContainer" { std::path::PathBuf::from("/made") } else { dir.clone() };
            config["hooks"][kind] = json!([{ "path": "/bin/touch", "args": ["touch", at.join(kind)] }]);
        }
    });
    // The image has a busybox at this place, the host a program of its own.
    let through = ["sh", "-c", "umask 027; exec \"$@\"", "masked"];
    case.call_through(&through, ["create", "-b", b.path(), &b.id]).finish().ok();
    case.call_through(&through, ["start", &b.id]).finish().ok();
    case.until(&b.id, "stopped");
    case.call_through(&through, ["delete", &b.id]).finish().ok();
    for kind in KINDS {
        let mode = std::os::unix::fs::PermissionsExt::mode(&dir.join(kind).metadata().unwrap().permissions());
        assert_eq!(mode & 0o777, 0o640, "{kind}");
    }
}
