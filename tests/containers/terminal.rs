//! Terminals: config.md, "Process" (`terminal`, `consoleSize`); `--console-socket` and `run` in the
//! foreground as callers of runc know them.

use std::os::fd::{AsFd, OwnedFd};

use serde_json::{Value, json};

use crate::support::bundle::{Bundle, add_mount, add_user_namespace};
use crate::support::terminal::{ConsoleSocket, Pty, Received, expect, set_size};
use crate::support::{Call, Case, Running, case, eventually, link};

fn with_terminal(config: &mut Value) {
    config["process"]["terminal"] = json!(true);
}

/// `create` with a console socket: the terminal's master, and the id of the container.
fn create(case: &Case, script: &str, change: impl FnOnce(&mut Value)) -> (OwnedFd, String) {
    let b = case.script(script, |config| {
        with_terminal(config);
        change(config);
    });
    (created(case, &b).fds.remove(0), b.id)
}

/// What comes through the console socket of a `create`.
fn created(case: &Case, b: &Bundle) -> Received {
    let name = format!("console{}", b.id);
    let socket = ConsoleSocket::listen(&case.path(&name));
    let create = case.call(["create", "-b", b.path(), "--console-socket", &name, &b.id]).spawn();
    let received = socket.receive();
    create.wait().ok();
    received
}

/// The same as [`create`], and it has been started.
fn start(case: &Case, script: &str, change: impl FnOnce(&mut Value)) -> (OwnedFd, String) {
    let (master, id) = create(case, script, change);
    case.call(["start", &id]).finish().ok();
    (master, id)
}

/// `run` in a pty of the test's own, as from a user's terminal.
fn run_in<'c>(case: &'c Case, pty: &Pty, script: &str, change: impl FnOnce(&mut Value)) -> Call<'c> {
    let b = case.script(script, |config| {
        with_terminal(config);
        change(config);
    });
    // Its controlling terminal, so that it gets the signals of one.
    let through = ["setsid", "--ctty", "--wait"];
    case.call_through(&through, ["run", "-b", b.path(), &b.id])
        .stdin(pty.slave())
        .output(pty.slave(), pty.slave())
}

fn run_in_pty(case: &Case, pty: &Pty, script: &str) -> Running {
    run_in(case, pty, script, |_| {}).spawn()
}

#[test]
fn the_console_socket_gets_one_message_with_exactly_one_descriptor() {
    let case = case!();
    let b = case.script("sleep 100", with_terminal);
    let received = created(&case, &b);
    assert_eq!((received.fds.len(), received.messages), (1, 1));
    assert!(!received.payload.is_empty() && received.payload.len() < 4096);
    assert!(nix::unistd::isatty(&received.fds[0]).unwrap());
    case.delete(&b.id);
}

#[test]
fn nothing_more_comes_from_the_console_socket_once_create_has_ended() {
    // A caller that reads to the end must not wait for the end of the container.
    let case = case!();
    let b = case.script("sleep 100", with_terminal);
    let received = created(&case, &b);
    let rest = received.rest();
    case.delete(&b.id);
    assert_eq!(rest, Some(Vec::new()));
}

#[test]
fn the_console_sockets_terminal_works_both_ways() {
    let case = case!();
    let (master, id) =
        start(&case, "tty; echo size $(stty size); read line; echo got $line; sleep 100", |config| {
            config["process"]["consoleSize"] = json!({ "height": 33, "width": 101 });
        });
    let shown = expect(master.as_fd(), "size 33 101");
    assert!(shown.contains("/dev/pts/0") || shown.contains("/dev/console"), "{shown}");
    nix::unistd::write(&master, b"words\n").unwrap();
    expect(master.as_fd(), "got words");
    case.delete(&id);
}

#[test]
fn the_terminal_is_the_sessions_own_and_has_job_control() {
    let case = case!();
    let (master, id) =
        start(&case, "trap 'echo interrupted' INT; echo up; while :; do sleep 0.05; done", |_| {});
    expect(master.as_fd(), "up");
    // ^C is the terminal's to turn into a signal for the session's foreground group.
    nix::unistd::write(&master, b"\x03").unwrap();
    expect(master.as_fd(), "interrupted");
    case.delete(&id);
}

#[test]
fn a_resize_of_the_console_sockets_terminal_reaches_the_program() {
    let case = case!();
    let (master, id) =
        start(&case, "trap 'echo size $(stty size)' WINCH; echo up; while :; do sleep 0.05; done", |_| {});
    expect(master.as_fd(), "up");
    set_size(master.as_fd(), 21, 77);
    expect(master.as_fd(), "size 21 77");
    case.delete(&id);
}

#[test]
fn dev_console_is_the_terminal() {
    let case = case!();
    let script = "stat -c 'console 0x%t' /dev/console; echo to-console >/dev/console; stat -c 'same %i' /dev/console; test -t 0 && test -t 1 && test -t 2 && echo three; sleep 100";
    let (master, id) = start(&case, script, |config| config["root"]["readonly"] = json!(true));
    // 136 and up are the numbers of ptys.
    let shown = expect(master.as_fd(), "three");
    assert!(shown.contains("console 0x88") && shown.contains("to-console"), "{shown}");
    case.delete(&id);
}

#[test]
fn a_hostile_image_does_not_choose_the_console() {
    // CVE-2025-52565, T-E2, where /dev is the image's own.
    let case = case!();
    let canary = case.file("canary", "precious\n", 0o644);
    for at in ["dev/console", "dev/pts", "dev/ptmx"] {
        let b = case.script("echo up; sleep 100", |config| {
            with_terminal(config);
            config["mounts"].as_array_mut().unwrap().retain(|m| m["destination"] != "/dev");
        });
        link(&canary, &b.rootfs(at));
        let socket = ConsoleSocket::listen(&case.path(&format!("s{}", at.replace('/', ""))));
        let create = case
            .call(["create", "-b", b.path(), "--console-socket", socket.path.to_str().unwrap(), &b.id])
            .finish();
        if create.code() == 0 {
            case.delete(&b.id);
        } else {
            create.fails(&["/dev"]);
        }
        assert_eq!(crate::support::read(&canary), "precious\n");
        assert!(canary.metadata().unwrap().is_file());
    }
}

#[test]
fn a_terminal_works_for_another_user_and_in_a_user_namespace() {
    let case = case!();
    let script = "stat -c 'owner %u' $(tty); echo x >$(tty) && echo writable; sleep 100";
    let (master, id) =
        start(&case, script, |config| config["process"]["user"] = json!({ "uid": 33, "gid": 33 }));
    let shown = expect(master.as_fd(), "writable");
    assert!(shown.contains("owner 33"), "{shown}");
    case.delete(&id);
    let b = case.script(script, |config| {
        with_terminal(config);
        add_user_namespace(config, 100_000);
    });
    b.chown(100_000);
    let received = created(&case, &b);
    case.call(["start", &b.id]).finish().ok();
    expect(received.fds[0].as_fd(), "writable");
    case.delete(&b.id);
}

#[test]
fn run_in_the_foreground_passes_what_is_typed_and_shown() {
    let case = case!();
    let pty = Pty::open();
    let run = run_in_pty(&case, &pty, "echo up; read line; echo got $line; exit 5");
    pty.expect("up");
    pty.type_in("words\r");
    let shown = pty.expect("got words");
    assert!(shown.contains("words"), "{shown}");
    assert_eq!(run.wait().code(), 5);
}

#[test]
fn run_in_the_foreground_begins_with_the_callers_size_and_follows_it() {
    let case = case!();
    let pty = Pty::open();
    pty.resize(31, 99);
    let run = run_in_pty(
        &case,
        &pty,
        "trap 'echo now $(stty size)' WINCH; echo first $(stty size); while :; do sleep 0.05; done",
    );
    pty.expect("first 31 99");
    pty.resize(22, 66);
    pty.expect("now 22 66");
    drop(end(&case, run));
}

#[test]
fn the_size_is_there_before_the_program_begins() {
    // Often, for a program that looks at once must not be faster than who tells it.
    let case = case!();
    for _ in 0..20 {
        let pty = Pty::open();
        pty.resize(31, 99);
        let run = run_in(&case, &pty, "", |config| config["process"]["args"] = json!(["/bin/stty", "size"]));
        let run = run.spawn();
        pty.expect("31 99");
        assert_eq!(run.wait().code(), 0);
    }
}

#[test]
fn run_resizes_when_it_is_told_by_signal() {
    // BuildKit: its pty is not run's controlling terminal, so it sends SIGWINCH itself.
    let case = case!();
    let pty = Pty::open();
    pty.resize(20, 50);
    let b = case.script(
        "trap 'echo now $(stty size)' WINCH; echo first $(stty size); while :; do sleep 0.05; done",
        with_terminal,
    );
    let run =
        case.call(["run", "-b", b.path(), &b.id]).stdin(pty.slave()).output(pty.slave(), pty.slave()).spawn();
    pty.expect("first 20 50");
    pty.resize(24, 61);
    run.signal(nix::libc::SIGWINCH);
    pty.expect("now 24 61");
    drop(end(&case, run));
}

#[test]
fn keys_are_the_containers_while_it_runs_and_the_callers_afterwards() {
    let case = case!();
    let pty = Pty::open();
    let before = nix::sys::termios::tcgetattr(pty.slave()).unwrap();
    let run =
        run_in_pty(&case, &pty, "trap 'echo interrupted; exit 7' INT; echo up; while :; do sleep 0.05; done");
    pty.expect("up");
    // Raw: ^C is a byte for the container's terminal, and no signal for run.
    pty.type_in("\x03");
    pty.expect("interrupted");
    assert_eq!(run.wait().code(), 7);
    let after = nix::sys::termios::tcgetattr(pty.slave()).unwrap();
    assert_eq!(
        (before.local_flags, before.input_flags, before.output_flags),
        (after.local_flags, after.input_flags, after.output_flags)
    );
}

#[test]
fn the_last_words_of_a_container_are_shown() {
    let case = case!();
    for _ in 0..10 {
        let pty = Pty::open();
        let run = run_in_pty(&case, &pty, "seq 1 500; echo the very last");
        let shown = pty.expect("the very last");
        assert!(shown.contains("499\r\n500\r\n"), "{shown}");
        assert_eq!(run.wait().code(), 0);
    }
}

#[test]
fn much_output_comes_through_whole() {
    let case = case!();
    // R19: without a terminal of the caller's own, to a file.
    let b = case.script("stty raw; seq 1 200000; sleep 0.1", with_terminal);
    let done = case.call(["run", "-b", b.path(), &b.id]).finish().ok();
    let expected: String = (1..=200_000).map(|n| format!("{n}\n")).collect();
    assert_eq!(done.stdout().replace('\r', "").len(), expected.len());
    assert_eq!(done.stdout().replace('\r', ""), expected);
}

#[test]
fn the_end_of_the_callers_input_does_not_end_a_terminal() {
    let case = case!();
    let b = case.script("echo up; sleep 0.2; echo still; exit 4", with_terminal);
    let done = case.call(["run", "-b", b.path(), &b.id]).finish();
    assert_eq!(done.code(), 4, "{done}");
    assert!(done.stdout().contains("still"), "{done}");
}

#[test]
fn without_a_devpts_a_terminal_works_or_is_refused_by_name() {
    // crun and runc refuse it, for there is no /dev/pts/ptmx.
    let case = case!();
    let b = case.script("test -t 0 && echo terminal", |config| {
        with_terminal(config);
        config["mounts"].as_array_mut().unwrap().retain(|m| m["destination"] != "/dev/pts");
    });
    let done = case.call(["run", "-b", b.path(), &b.id]).finish();
    match done.code() {
        0 => assert_eq!(done.stdout(), "terminal\r\n"),
        _ => drop(done.fails(&["terminal", "/dev/pts"])),
    }
}

#[test]
fn a_bound_dev_works_with_a_terminal() {
    // What `--privileged` does: the host's /dev in the container.
    let case = case!();
    let b = case.script("test -t 0 && echo terminal", |config| {
        with_terminal(config);
        config["mounts"]
            .as_array_mut()
            .unwrap()
            .retain(|m| !m["destination"].as_str().unwrap().starts_with("/dev"));
        add_mount(config, "/dev", "bind", "/dev", &["rbind", "rprivate"]);
    });
    let list = || crate::support::host_command("ls", &["-A".as_ref(), "/dev".as_ref()]);
    let before = list();
    let done = case.call(["run", "-b", b.path(), &b.id]).finish().ok();
    assert_eq!(done.stdout(), "terminal\r\n");
    assert_eq!(list(), before);
}

/// Ends a container that runs in the foreground.
fn end(case: &Case, run: Running) -> crate::support::Done {
    let id = case.call(["list", "-q"]).finish().ok().lines().remove(0);
    case.call(["kill", &id, "KILL"]).finish().ok();
    let done = run.wait();
    assert_eq!(done.code(), 137, "{done}");
    eventually("it is gone", || case.call(["list", "-q"]).finish().ok().stdout().is_empty());
    done
}
