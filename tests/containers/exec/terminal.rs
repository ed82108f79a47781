//! `exec --tty`.

use std::os::fd::AsFd;

use serde_json::json;

use super::{exec, process_file, refused, running};
use crate::support::bundle::{Bundle, add_user_namespace};
use crate::support::terminal::{ConsoleSocket, Pty, expect, set_size};
use crate::support::{Case, Running, case};

/// In a pty of the test's own, as from a user's terminal.
fn in_pty(case: &Case, pty: &Pty, flags: &[&str], b: &Bundle, script: &str) -> Running {
    let line = [&["exec", "-t"], flags, &[b.id.as_str(), "/bin/sh", "-c", script]].concat();
    case.call_through(&["setsid", "--ctty", "--wait"], line)
        .stdin(pty.slave())
        .output(pty.slave(), pty.slave())
        .spawn()
}

/// Detached, with a console socket: the terminal's master.
fn by_socket(case: &Case, flags: &[&str], b: &Bundle, script: &str) -> std::os::fd::OwnedFd {
    let path = case.path("console");
    let socket = ConsoleSocket::listen(&path);
    let line =
        [&["-d", "-t", "--console-socket", "console"], flags, &[b.id.as_str(), "/bin/sh", "-c", script]];
    let call = exec(case, &line.concat()).spawn();
    let mut received = socket.receive();
    call.wait().ok();
    assert_eq!((received.fds.len(), received.messages), (1, 1));
    assert!(received.payload.starts_with(b"/dev/pts/"));
    crate::support::remove(&path);
    received.fds.remove(0)
}

#[test]
fn in_the_foreground_it_has_the_callers_size_and_follows_it() {
    let case = case!();
    let b = running(&case, |_| {});
    let pty = Pty::open();
    pty.resize(31, 99);
    let script =
        "trap 'echo now $(stty size); exit 6' WINCH; echo first $(stty size); while :; do sleep 0.05; done";
    let run = in_pty(&case, &pty, &[], &b, script);
    pty.expect("first 31 99");
    pty.resize(22, 66);
    pty.expect("now 22 66");
    assert_eq!(run.wait().code(), 6);
    case.delete(&b.id);
}

#[test]
fn it_is_resized_when_a_signal_says_so() {
    // BuildKit: its pty is not exec's controlling terminal.
    let case = case!();
    let b = running(&case, |_| {});
    let pty = Pty::open();
    pty.resize(20, 50);
    let script =
        "trap 'echo now $(stty size); exit 0' WINCH; echo first $(stty size); while :; do sleep 0.05; done";
    let run = exec(&case, &["-t", &b.id, "/bin/sh", "-c", script])
        .stdin(pty.slave())
        .output(pty.slave(), pty.slave())
        .spawn();
    pty.expect("first 20 50");
    pty.resize(24, 61);
    run.signal(nix::libc::SIGWINCH);
    pty.expect("now 24 61");
    run.wait().ok();
    case.delete(&b.id);
}

#[test]
fn what_is_typed_and_shown_is_passed_on() {
    let case = case!();
    let b = running(&case, |_| {});
    let pty = Pty::open();
    let script =
        "trap 'echo interrupted; exit 7' INT; tty; read line; echo got $line; while :; do sleep 0.05; done";
    let run = in_pty(&case, &pty, &[], &b, script);
    pty.expect("/dev/pts/0");
    pty.type_in("words\r");
    pty.expect("got words");
    pty.type_in("\x03");
    pty.expect("interrupted");
    assert_eq!(run.wait().code(), 7);
    case.delete(&b.id);
}

#[test]
fn all_that_it_has_said_is_shown() {
    let case = case!();
    let b = running(&case, |_| {});
    let done = exec(&case, &["-t", &b.id, "/bin/sh", "-c", "stty raw; seq 1 20000"]).finish().ok();
    let expected: String = (1..=20_000).map(|n| format!("{n}\n")).collect();
    assert_eq!(done.stdout().replace('\r', ""), expected);
    case.delete(&b.id);
}

#[test]
fn a_detached_terminal_goes_to_the_console_socket() {
    let case = case!();
    let b = running(&case, |_| {});
    let script = "trap 'echo size $(stty size)' WINCH; echo up $(tty); read line; echo got $line; \
        while :; do sleep 0.05; done";
    let master = by_socket(&case, &[], &b, script);
    expect(master.as_fd(), "up /dev/pts/0");
    nix::unistd::write(&master, b"words\n").unwrap();
    expect(master.as_fd(), "got words");
    set_size(master.as_fd(), 21, 77);
    expect(master.as_fd(), "size 21 77");
    case.delete(&b.id);
}

#[test]
fn a_file_has_terminal_and_size() {
    let case = case!();
    let b = running(&case, |_| {});
    let file = process_file(&case, "stty size; sleep 100", |process| {
        process["terminal"] = json!(true);
        process["consoleSize"] = json!({ "height": 33, "width": 101 });
    });
    let socket = ConsoleSocket::listen(&case.path("console"));
    let line = ["--process", file.to_str().unwrap(), "--console-socket", "console", "-d", &b.id];
    let call = exec(&case, &line).spawn();
    let received = socket.receive();
    call.wait().ok();
    expect(received.fds[0].as_fd(), "33 101");
    case.delete(&b.id);
}

#[test]
fn a_terminal_is_the_users_own() {
    let case = case!();
    for in_user_namespace in [false, true] {
        let b = case.script("sleep 1000", |config| {
            if in_user_namespace {
                add_user_namespace(config, 100_000);
            }
        });
        if in_user_namespace {
            b.chown(100_000);
        }
        case.started(&b);
        let script = "stat -c 'owner %u' $(tty); echo x >$(tty) && echo writable; sleep 100";
        let master = by_socket(&case, &["-u", "33:33"], &b, script);
        let shown = expect(master.as_fd(), "writable");
        assert!(shown.contains("owner 33"), "{shown}");
        drop(master);
        case.delete(&b.id);
    }
}

#[test]
fn what_does_not_fit_together_is_refused() {
    let case = case!();
    let b = running(&case, |_| {});
    let refusal = |line: &[&str], words: &str| drop(refused(exec(&case, line).finish(), &[words]));
    refusal(&["-d", "-t", &b.id, "/bin/true"], "cannot allocate tty");
    refusal(&["-d", "--console-socket", "/s", &b.id, "/bin/true"], "--console-socket");
    refusal(&["-t", "--console-socket", "/s", &b.id, "/bin/true"], "--console-socket");
    refusal(&["-d", "-t", "--console-socket", "/no/such", &b.id, "/bin/true"], "console socket \"/no/such\"");
    case.delete(&b.id);
    let b = running(&case, |config| {
        config["mounts"].as_array_mut().unwrap().retain(|m| m["destination"] != "/dev/pts");
    });
    refusal(&["-t", &b.id, "/bin/true"], "terminal: the container has no devpts at /dev/pts");
    case.delete(&b.id);
}

#[test]
fn what_a_container_puts_in_the_place_of_its_devpts_is_not_opened() {
    // CVE-2025-52565.
    let case = case!();
    let b = running(&case, |config| {
        config["mounts"].as_array_mut().unwrap().retain(|m| m["destination"] != "/dev/pts");
    });
    super::sh(&case, &[], &b, "mkdir /dev/pts /tmp/d; mkfifo /dev/pts/ptmx; ln -s /dev/pts /tmp/d/pts").ok();
    let done = exec(&case, &["-t", &b.id, "/bin/true"]).finish();
    refused(done, &["the container has no devpts"]);
    case.delete(&b.id);
}
