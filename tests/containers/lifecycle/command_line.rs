//! Flags, ids and help, as callers write and read them.

use serde_json::json;

use super::PATIENT;
use crate::support::case;

#[test]
fn ids_are_letters_digits_and_a_few_signs() {
    let case = case!();
    let b = case.script("exit 0", |_| {});
    for good in ["a", "A.b", "_x", "+", "9", "a-b_c+d.e", &"x".repeat(200)] {
        case.call(["run", "-b", b.path(), good]).finish().ok();
    }
    let mut at_most = b.config();
    at_most["linux"]["cgroupsPath"] = json!(format!("/{}/long", case.unique));
    b.save(&at_most);
    case.call(["run", "-b", b.path(), &"x".repeat(255)]).finish().ok();
    // crun and we refuse a leading dot, too: such names are the runtime's own.
    for bad in ["", ".", "..", ".x", "a/b", "/", "a b", "a\nb", "ä", "%2e", "a:b", &"x".repeat(256)] {
        for verb in ["create", "run"] {
            case.call([verb, "-b", b.path(), "--", bad]).finish().fails(&["container id"]);
        }
        for verb in ["start", "state", "kill", "delete"] {
            case.call([verb, "--", bad]).finish().fails(&["container id"]);
        }
    }
}

#[test]
fn a_verb_without_an_id_is_an_error() {
    let case = case!();
    for verb in ["create", "run", "start", "state", "kill", "delete"] {
        let done = case.call([verb]).finish();
        assert_eq!(done.code(), 1, "{done}");
        assert!(done.stderr().contains("ID") || done.stderr().contains("id"), "{done}");
    }
}

#[test]
fn flags_may_be_repeated_and_stand_before_or_after_the_id() {
    let case = case!();
    let b = case.script("echo hi", |_| {});
    let state = case.state.to_str().unwrap();
    let pid_file = format!("--pid-file={}", case.path("pid").display());
    for line in [
        vec![
            "--root",
            state,
            "--log-format=json",
            "--log-format",
            "text",
            "run",
            "-b",
            "/nowhere",
            "-b",
            b.path(),
            &b.id,
        ],
        vec!["run", &b.id, "--bundle", b.path()],
        vec!["run", "--bundle=/nowhere", &b.id, &pid_file, &pid_file, "-b", b.path()],
        vec![
            "run",
            "--no-pivot",
            "--no-pivot",
            "--no-new-keyring",
            "--no-new-keyring",
            "-b",
            b.path(),
            &b.id,
        ],
        vec!["run", "-no-subreaper", "--no-subreaper", "--preserve-fds", "0", "--bundle", b.path(), &b.id],
        vec!["--rootless", "auto", "--rootless=false", "--debug", "--debug", "run", "-b", b.path(), &b.id],
        vec!["--cgroup-manager", "cgroupfs", "--log-level=error", "run", "-b", b.path(), &b.id],
    ] {
        let done = case.call(line).finish().ok();
        assert_eq!(done.stdout(), "hi\n");
    }
}

#[test]
fn later_verbs_need_not_repeat_what_create_was_told() {
    let case = case!();
    let b = case.script(PATIENT, |_| {});
    case.call(["--rootless=false", "create", "-b", b.path(), &b.id]).finish().ok();
    // The engines say --systemd-cgroup to some verbs and not to others; what counts is what create did.
    case.call(["--systemd-cgroup", "state", &b.id]).finish().ok();
    case.call(["--systemd-cgroup", "start", &b.id]).finish().ok();
    case.call(["--systemd-cgroup", "kill", &b.id, "9"]).finish().ok();
    case.until(&b.id, "stopped");
    case.call(["--systemd-cgroup", "delete", &b.id]).finish().ok();
}

#[test]
fn an_unknown_flag_or_verb_is_an_error_with_code_1() {
    let case = case!();
    for line in [vec!["--nonsense", "list"], vec!["list", "--nonsense"], vec!["nonsense"], vec![]] {
        let done = case.call(line).finish();
        assert_eq!((done.code(), done.stdout().as_str()), (1, ""), "{done}");
        assert_ne!(done.stderr(), "");
    }
}

#[test]
fn a_flag_without_its_value_is_told_in_the_words_that_podman_looks_for() {
    let case = case!();
    for line in [vec!["create", "--pid-file"], vec!["run", "--bundle"], vec!["list", "--format"]] {
        let done = case.call(line).finish();
        assert!(
            done.stderr().contains("flag needs an argument")
                || done.stderr().contains("requires an argument"),
            "{done}"
        );
    }
}

#[test]
fn version_is_three_lines() {
    let case = case!();
    for flag in ["--version", "-v"] {
        let lines = case.host([crate::support::runtime().as_os_str(), flag.as_ref()]).finish().ok().lines();
        assert_eq!(lines.len(), 3, "{lines:?}");
        assert_eq!(lines[0], format!("minidocker-oci version {}", env!("CARGO_PKG_VERSION")));
        assert!(lines[1].starts_with("commit: ") && lines[2] == "spec: 1.3.0", "{lines:?}");
    }
}

#[test]
fn help_goes_to_standard_output() {
    let case = case!();
    for line in [vec!["--help"], vec!["-h"], vec!["create", "--help"], vec!["delete", "-h"]] {
        let done = case.call(line).finish().ok();
        assert!(done.stdout().contains("Usage"), "{done}");
        assert_eq!(done.stderr(), "");
    }
}
