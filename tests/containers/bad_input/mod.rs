//! Bad input: one clear line that names the object, and errno where a call failed; exit code 1; nothing left
//! behind, which the leak check sees to.

mod configuration;
mod isolation;
mod program;
mod tree;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use serde_json::{Value, json};

use crate::support::bundle::{Bundle, add_mount};
use crate::support::{Case, case, is_there, write};

/// Both ways into the runtime refuse the bundle with these words, leave nothing, and say so before the
/// program runs.
#[track_caller]
fn refused(case: &Case, bundle: &Bundle, words: &[&str]) {
    for verb in ["create", "run"] {
        case.call([verb, "-b", bundle.path(), &bundle.id]).finish().fails(words);
        assert_eq!(case.leaks(), [""; 0], "after {verb}");
        assert!(!is_there(bundle.rootfs("ran")), "the program ran");
    }
}

/// The base configuration with one thing wrong.
#[track_caller]
fn bad(case: &Case, words: &[&str], change: impl FnOnce(&mut Value)) {
    refused(case, &case.script("echo >/ran", change), words);
}

#[test]
fn hooks_with_a_relative_path_or_without_time_are_refused() {
    let case = case!();
    for kind in ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"] {
        bad(&case, &[kind, "[1]", "bin/true", "not absolute"], |c| {
            c["hooks"] = json!({ kind: [{ "path": "/bin/true" }, { "path": "bin/true" }] });
        });
        for timeout in [0, -1] {
            bad(&case, &[kind, "[0]", "/bin/true", "timeout"], |c| {
                c["hooks"] = json!({ kind: [{ "path": "/bin/true", "timeout": timeout }] });
            });
        }
    }
}

#[test]
fn paths_that_are_not_utf_8_work_or_are_named() {
    let case = case!();
    let b = case.script("echo fine", |_| {});
    let odd = case.dir.join(OsStr::from_bytes(b"odd-\xff\xfe dir\n"));
    std::fs::rename(&b.dir, &odd).unwrap();
    // The state has to be JSON, and this bundle has no name in it: said, or done.
    let run = case.call([OsStr::new("run"), OsStr::new("-b"), odd.as_os_str(), b.id.as_ref()]).finish();
    match run.code() {
        0 => assert_eq!(run.stdout(), "fine\n"),
        _ => drop(run.fails(&["odd-"])),
    }
    let b = case.script("echo fine", |_| {});
    case.call([OsStr::new("run"), OsStr::new("-b"), b.path().as_ref(), OsStr::from_bytes(b"id\xff")])
        .finish()
        .fails(&["UTF-8"]);
    let nowhere = OsStr::from_bytes(b"/nowhere\xff");
    case.call([OsStr::new("run"), OsStr::new("-b"), nowhere, b.id.as_ref()]).finish().fails(&["/nowhere"]);
}

#[test]
fn bundles_with_spaces_and_newlines_in_their_path_work() {
    let case = case!();
    let b = case.script("echo fine", |_| {});
    for name in ["with space", "with\nnewline", "mit Umläuten", "a:b,c=d", "it's \"quoted\" \\ 040"] {
        let dir = case.path(name);
        std::fs::rename(&b.dir, &dir).unwrap();
        case.call(["run".as_ref(), "-b".as_ref(), dir.as_os_str(), b.id.as_ref()]).finish().prints("fine\n");
        std::fs::rename(&dir, &b.dir).unwrap();
    }
}

#[test]
fn long_names_are_refused_by_name() {
    let case = case!();
    bad(&case, &["hostname"], |c| c["hostname"] = json!("h".repeat(65)));
    case.sh("hostname", |c| c["hostname"] = json!("h".repeat(64))).prints(&format!("{}\n", "h".repeat(64)));
    bad(&case, &["process: cwd", "(ENAMETOOLONG)"], |c| {
        c["process"]["cwd"] = json!(format!("/{}", "x".repeat(300)))
    });
    bad(&case, &["mounts[4]", "(ENAMETOOLONG)"], |c| {
        add_mount(c, &format!("/{}", "x".repeat(300)), "tmpfs", "tmpfs", &[])
    });
}

#[test]
fn a_console_socket_and_a_terminal_need_each_other() {
    let case = case!();
    let with = case.script("true", |c| c["process"]["terminal"] = json!(true));
    let without = case.script("true", |_| {});
    case.create(&with).fails(&["--console-socket"]);
    case.call(["run", "-d", "-b", with.path(), &with.id]).finish().fails(&["--console-socket"]);
    let create = |b: &Bundle, socket: &str| {
        case.call(["create", "-b", b.path(), "--console-socket", socket, &b.id]).finish()
    };
    create(&without, "/s").fails(&["--console-socket", "process.terminal"]);
    create(&with, "/no/such/socket").fails(&["console socket", "/no/such/socket", "(ENOENT)"]);
    let file = case.file("plain", "", 0o600);
    create(&with, file.to_str().unwrap()).fails(&["console socket", "(ECONNREFUSED)"]);
    create(&with, &format!("/{}", "x".repeat(300))).fails(&["console socket", "(ENAMETOOLONG)"]);
}

#[test]
fn preserved_descriptors_have_to_be_open() {
    let case = case!();
    let b = case.script("true", |_| {});
    case.call(["run", "-b", b.path(), "--preserve-fds", "3", &b.id]).finish().fails(&["--preserve-fds"]);
    let done = case.call(["run", "-b", b.path(), "--preserve-fds", "many", &b.id]).finish();
    assert_eq!(done.code(), 1, "{done}");
    case.call(["run", "-b", b.path(), "--preserve-fds", "4000000000", &b.id])
        .finish()
        .fails(&["--preserve-fds"]);
    let listen = ["sh", "-c", "LISTEN_FDS=2 LISTEN_PID=$$ exec \"$@\"", "sh"];
    case.call_through(&listen, ["run", "-b", b.path(), &b.id]).finish().fails(&["LISTEN_FDS"]);
}

#[test]
fn a_state_root_that_can_not_be_used_is_named() {
    let case = case!();
    let b = case.script("true", |_| {});
    let file = case.file("plain", "", 0o600);
    let file = file.to_str().unwrap();
    for verb in [vec!["run", "-b", b.path(), &b.id], vec!["list"], vec!["state", "x"]] {
        let line: Vec<&str> = ["--root", file].into_iter().chain(verb).collect();
        case.call(line).finish().fails(&[file, "(ENOTDIR)"]);
    }
}

#[test]
fn a_damaged_record_is_named_and_delete_force_still_says_why() {
    let case = case!();
    let b = case.script("sleep 100", |_| {});
    case.created(&b);
    let record = case.state.join(&b.id).join("record.json");
    let good = std::fs::read(&record).unwrap();
    write(&record, &good[..good.len() / 2], 0o600);
    case.call(["state", &b.id]).finish().fails(&[&b.id]);
    case.call(["start", &b.id]).finish().fails(&[&b.id]);
    let dir = format!("{:?}", case.state.join(&b.id));
    for line in [&["delete", &b.id][..], &["delete", "--force", &b.id]] {
        case.call(line).finish().fails(&["end its processes", "and then its directory", &dir]);
    }
    // One that can't be read is no reason to hide the others.
    case.call(["list", "-q"]).finish().prints("");
    write(&record, good, 0o600);
    case.delete(&b.id);
}

#[test]
fn a_log_that_can_not_be_opened_is_named() {
    let case = case!();
    case.call(["--log", "/no/such/dir/log", "list"]).finish().fails(&["/no/such/dir/log", "o such file"]);
}
