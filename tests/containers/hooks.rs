//! Hooks: config.md, "POSIX-platform Hooks", and runtime.md, "Lifecycle".

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::bundle::{Bundle, add_mount, set_namespace};
use crate::support::{Case, case, eventually, installed, is_there, need, nothing_is_left, read};

const KINDS: [&str; 6] =
    ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];

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

fn hook(config: &mut Value, kind: &str, script: &str) {
    let hook = json!({ "path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/bin:/usr/bin"] });
    let hooks = &mut config["hooks"][kind];
    match hooks.as_array_mut() {
        Some(hooks) => hooks.push(hook),
        None => *hooks = json!([hook]),
    }
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
fn a_failing_hook_of_create_ends_it_and_names_itself() {
    let case = case!();
    for kind in ["prestart", "createRuntime", "createContainer"] {
        let b = case.script("echo >/ran", |config| {
            hook(config, kind, "exit 0");
            hook(config, kind, "echo what went wrong >&2; exit 3");
            hook(config, "poststop", &format!("echo poststop >>{}", case.path("after").display()));
        });
        for verb in ["create", "run"] {
            let words = [
                format!("error running {kind} hook #1:"),
                format!("hooks.{kind}[1] /bin/sh"),
                "exited 3".into(),
                ": what went wrong".into(),
            ];
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            case.call([verb, "-b", b.path(), &b.id]).finish().fails(&words);
            assert_eq!(case.leaks(), [""; 0]);
        }
        assert!(!is_there(b.rootfs("ran")));
    }
    // Lifecycle: on failure it goes on with the deletion and its hooks.
    assert_eq!(read(case.path("after")), "poststop\n".repeat(6));
}

#[test]
fn a_failing_start_container_hook_ends_the_container() {
    let case = case!();
    let b = case.script("echo >/ran", |config| {
        hook(config, "startContainer", "echo no >&2; exit 1");
        hook(config, "poststop", &format!("echo poststop >>{}", case.path("after").display()));
    });
    case.created(&b);
    case.call(["start", &b.id]).finish().fails(&[
        "error running startContainer hook #0:",
        "exited 1",
        ": no",
    ]);
    assert!(!is_there(b.rootfs("ran")));
    // runtime.md: it is destroyed, or left stopped for delete to do it.
    if case.call(["state", &b.id]).finish().code() == 0 {
        case.until(&b.id, "stopped");
        case.call(["delete", &b.id]).finish().ok();
    }
    case.run(&b).fails(&["error running startContainer hook #0:"]);
    assert_eq!(read(case.path("after")), "poststop\n".repeat(2));
}

#[test]
fn a_failing_poststart_hook_ends_the_container() {
    // runtime.md since 1.3.
    let case = case!();
    let b = case.script("sleep 100", |config| {
        hook(config, "poststart", "echo no >&2; exit 1");
        hook(config, "poststop", &format!("echo poststop >>{}", case.path("after").display()));
    });
    case.created(&b);
    case.call(["start", &b.id]).finish().fails(&["error running poststart hook #0:", "exited 1", ": no"]);
    if case.call(["state", &b.id]).finish().code() == 0 {
        case.until(&b.id, "stopped");
        case.call(["delete", &b.id]).finish().ok();
    }
    for flags in [&["run"][..], &["run", "-d"]] {
        let line: Vec<&str> = flags.iter().copied().chain(["-b", b.path(), &b.id]).collect();
        case.call(line).finish().fails(&["error running poststart hook #0:"]);
        assert_eq!(case.leaks(), [""; 0]);
    }
    assert_eq!(read(case.path("after")), "poststop\n".repeat(3));
}

#[test]
fn a_failing_poststop_hook_is_a_warning_and_the_others_run() {
    let case = case!();
    let log = case.path("after");
    let b = case.script("true", |config| {
        hook(config, "poststop", "exit 1");
        config["hooks"]["poststop"].as_array_mut().unwrap().push(json!({ "path": "/no/such/hook" }));
        hook(config, "poststop", &format!("echo third >>{}", log.display()));
    });
    let done = case.run(&b).ok();
    assert_eq!(done.stderr(), "");
    let done = case.call(["--debug", "run", "-b", b.path(), &b.id]).finish().ok();
    assert!(done.stderr().contains("poststop hook #0") && done.stderr().contains("/no/such/hook"), "{done}");
    assert_eq!(read(log), "third\nthird\n");
}

#[test]
fn a_hook_that_does_not_end_is_killed_when_its_time_is_over() {
    let case = case!();
    let b = case.script("true", |config| {
        // It ignores what can be ignored.
        config["hooks"]["createRuntime"] =
            json!([{ "path": "/bin/sh", "args": ["sh", "-c", "trap '' TERM INT HUP; echo begun >&2; sleep 100"], "env": ["PATH=/bin:/usr/bin"], "timeout": 1 }]);
    });
    let done = case.create(&b).fails(&["error running createRuntime hook #0:", "timeout of 1 s", "begun"]);
    assert!(done.took >= Duration::from_secs(1), "{done}");
    // With all that it has started: the shell waits for a process of its own.
    nothing_is_left(&case, "by a hook that was killed");
}

/// Ends what a hook has left behind.
fn end_stray(case: &Case, command: &str) {
    eventually("the stray process ends", || {
        let strays: Vec<String> =
            case.leaks().into_iter().filter(|leak| leak.trim_end().ends_with(command)).collect();
        for stray in &strays {
            let pid = stray.trim_start_matches("process ").split(':').next().unwrap().parse().unwrap();
            nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::SIGKILL).unwrap();
        }
        strays.is_empty()
    });
}

#[test]
fn a_hook_of_any_kind_ends_with_its_process_group() {
    let case = case!();
    for kind in KINDS {
        let b = case.script("true", |config| {
            let script = "trap '' TERM; sleep 100 & sleep 100";
            config["hooks"][kind] = json!([{ "path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/bin"], "timeout": 1 }]);
        });
        let done = case.run(&b);
        if kind == "poststop" {
            done.ok();
        } else {
            done.fails(&[&format!("error running {kind} hook #0:"), "timeout of 1 s"]);
        }
        nothing_is_left(&case, kind);
    }
}

#[test]
fn a_hook_that_has_left_its_process_group_is_killed_all_the_same() {
    let case = case!();
    for kind in ["createRuntime", "createContainer", "poststop"] {
        let b = case.script("true", |config| {
            // Into the group of whoever has started it.
            let script = "setpgrp(0, getpgrp(getppid())) or die; sleep 100";
            config["hooks"][kind] =
                json!([{ "path": "/usr/bin/perl", "args": ["perl", "-e", script], "timeout": 1 }]);
        });
        let done = case.run(&b);
        if kind == "poststop" {
            done.ok();
        } else {
            done.fails(&[&format!("error running {kind} hook #0:"), "timeout of 1 s"]);
        }
        nothing_is_left(&case, kind);
    }
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
fn output_to_a_fifo_that_nobody_reads_is_an_error_and_no_wait() {
    let case = case!();
    let fifo = case.path("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let bundle = |kind: &str| {
        case.script("true", |config| {
            config["annotations"] = json!({ "run.oci.hooks.stdout": fifo });
            hook(config, kind, "echo said");
        })
    };
    case.create(&bundle("createRuntime")).fails(&["standard output of hooks", "fifo", "ENXIO"]);
    nothing_is_left(&case, "by a FIFO that nobody reads");

    // Its reader gone by the end: the container is deleted all the same.
    let reader = std::fs::File::options().read(true).write(true).open(&fifo).unwrap();
    let b = bundle("poststop");
    case.create(&b).ok();
    drop(reader);
    case.delete(&b.id);
}

#[test]
fn a_container_hook_that_does_not_end_is_killed_too() {
    let case = case!();
    for kind in ["createContainer", "startContainer"] {
        let b = case.script("true", |config| {
            config["hooks"][kind] = json!([{ "path": "/bin/sleep", "args": ["sleep", "100"], "timeout": 1 }]);
        });
        case.run(&b).fails(&[&format!("error running {kind} hook #0:"), "timeout of 1 s"]);
        assert_eq!(case.leaks(), [""; 0]);
    }
}

#[test]
fn a_hook_within_its_time_is_not_disturbed() {
    let case = case!();
    let b = case.script("echo fine", |config| {
        for kind in KINDS {
            config["hooks"][kind] = json!([{ "path": "/bin/true", "timeout": 9 }]);
        }
    });
    case.run(&b).prints("fine\n");
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
fn what_a_hook_says_is_quoted_from_both_ends_only() {
    let case = case!();
    let b = case.script("true", |config| {
        hook(
            config,
            "createRuntime",
            "exec >&2; echo FIRST; head -c 50000000 /dev/zero | tr '\\0' x; echo LAST; exit 1",
        );
    });
    let done = case.create(&b);
    assert_eq!(done.code(), 1);
    let stderr = done.stderr();
    assert!(stderr.len() < 10_000, "{} bytes", stderr.len());
    assert!(
        stderr.contains("FIRST") && stderr.contains("LAST") && stderr.contains("left out"),
        "{}",
        &stderr[..300]
    );
}

#[test]
fn the_words_of_a_hook_do_not_make_more_lines_of_the_error() {
    let case = case!();
    let b = case.script("true", |config| {
        hook(config, "createRuntime", "printf 'one\\ntwo\\r\\n\\033[31mthree' >&2; exit 1")
    });
    let log = case.path("log.json");
    let done = case
        .call(["--log", log.to_str().unwrap(), "--log-format=json", "create", "-b", b.path(), &b.id])
        .finish();
    assert_eq!(done.code(), 1);
    let object: Value = serde_json::from_str(&read(&log)).unwrap();
    assert!(
        object["msg"].as_str().unwrap().contains("one") && object["msg"].as_str().unwrap().contains("three"),
        "{object}"
    );
}

#[test]
fn a_hook_that_leaves_a_daemon_behind_is_over_when_it_is() {
    let case = case!();
    for kind in ["createRuntime", "createContainer", "poststart", "poststop"] {
        let b = case.script("echo fine", |config| hook(config, kind, "sleep 77 & exit 0"));
        case.run(&b).prints("fine\n");
        end_stray(&case, "sleep 77");
    }
    // And its failure is told at once, whoever holds its standard error.
    let b = case.script("true", |config| hook(config, "createRuntime", "sleep 77 & echo words >&2; exit 4"));
    case.create(&b).fails(&["exited 4", "words"]);
    end_stray(&case, "sleep 77");
}

#[test]
fn a_hook_that_is_missing_or_not_executable_is_named() {
    let case = case!();
    let plain = case.file("plain", "#!/bin/sh\n", 0o644);
    for kind in ["prestart", "createRuntime", "createContainer"] {
        for (path, words) in
            [(Path::new("/no/such/hook"), "o such file"), (plain.as_path(), "ermission denied")]
        {
            let b = case.script("true", |config| config["hooks"][kind] = json!([{ "path": path }]));
            case.create(&b).fails(&[
                &format!("error running {kind} hook #0:"),
                path.to_str().unwrap(),
                words,
            ]);
        }
    }
}

#[test]
fn a_hook_that_is_killed_by_a_signal_says_so() {
    let case = case!();
    let b = case.script("true", |config| hook(config, "createRuntime", "kill -SEGV $$"));
    case.create(&b).fails(&["error running createRuntime hook #0:", "signal 11"]);
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

/// Without a timeout it would hang for ever: the next `delete --force` ends it, and both are done.
#[test]
fn a_poststop_hook_that_hangs_ends_with_another_delete_by_force() {
    let case = case!();
    let log = case.path("after");
    let b = case.script("true", |config| {
        hook(config, "poststop", &format!("echo poststop >>{}; exec sleep 100", log.display()));
    });
    case.created(&b);
    let first = case.call(["delete", "--force", &b.id]).spawn();
    eventually("it runs", || is_there(&log));
    let second = case.call(["delete", "--force", &b.id]).finish().ok();
    assert!(second.took < Duration::from_secs(5), "{second}");
    first.wait().ok();
    assert_eq!(read(log), "poststop\n");
    case.call(["state", &b.id]).finish().fails(&["does not exist"]);
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
