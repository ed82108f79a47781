//! Hooks that fail, and what is said of them.

use std::path::Path;

use serde_json::{Value, json};

use super::hook;
use crate::support::{case, is_there, nothing_is_left, read};

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
