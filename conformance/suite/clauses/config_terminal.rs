//! config.md: process.terminal and consoleSize; how callers get the terminal.

use serde_json::json;

use crate::clause::{Clause, Outcome, callers, expect, must, same};
use crate::lab::Lab;
use crate::socket::Receiver;

const PROCESS: &str = "config.md#process";
const DEVICES: &str = "config-linux.md#default-devices";
const SOCKET: &str = "callers: console socket";
const DUPLICATED: &str = "a pseudoterminal pair is allocated for the process and the pseudoterminal pty is duplicated on the process's standard streams";
const CONSOLE: &str = "/dev/console is set up if terminal is enabled in the config by bind mounting the pseudoterminal pty to /dev/console.";
const SIZE: &str = "consoleSize (object, OPTIONAL) specifies the console size in characters of the terminal.";
/// A pseudoterminal's slave has this major number (Documentation/admin-guide/devices.txt).
const PTS: u32 = 136;

pub(crate) const CLAUSES: &[Clause] = &[
    must("config.terminal.standard-streams", (PROCESS, DUPLICATED), |lab| {
        lab.base().report_on_terminal()?.is("terminal/is", json!([true, true, true]))
    }),
    must("config.terminal.is-a-pty", (PROCESS, DUPLICATED), |lab| {
        let seen = lab.base().ask("stat", "/dev/pts/0").report_on_terminal()?;
        seen.is("terminal/name", "/dev/pts/0")?;
        seen.is("stat/~1dev~1pts~10", json!({ "kind": "c", "major": PTS, "minor": 0 }))
    }),
    must(
        "config.terminal.controlling",
        (PROCESS, "terminal (bool, OPTIONAL) specifies whether a terminal is attached to the process"),
        |lab| {
            let seen = lab.base().ask("open", json!(["/dev/tty", "rw"])).report_on_terminal()?;
            seen.is("open/rw:~1dev~1tty", json!(null))?;
            seen.is("sid", 1)
        },
    ),
    must("config.terminal.input", (PROCESS, DUPLICATED), |lab| {
        let bundle = lab.with("process/terminal", true).ask("read", "/proc/self/fd/0").save()?;
        let (container, console) = bundle.create_on_terminal()?;
        console.type_in("typed\n\x04")?;
        container.start()?;
        let seen = console.seen()?;
        container.end()?;
        container.delete()?;
        seen.is("read/~1proc~1self~1fd~10", "typed")
    }),
    must("config.terminal.console", (DEVICES, CONSOLE), |lab| {
        let seen = lab.base().ask("stat", "/dev/console").report_on_terminal()?;
        seen.is("stat/~1dev~1console", json!({ "kind": "c", "major": PTS, "minor": 0 }))
    }),
    must("config.terminal.console.is-a-mount", (DEVICES, CONSOLE), |lab| {
        let seen = lab.base().report_on_terminal()?;
        same("its file system", seen.mount("/dev/console")?["type"].as_str().unwrap_or("none"), "devpts")
    }),
    must("config.terminal.console.opens", (DEVICES, CONSOLE), |lab| {
        let seen = lab.base().ask("open", json!(["/dev/console", "rw"])).report_on_terminal()?;
        seen.is("open/rw:~1dev~1console", json!(null))
    }),
    must("config.terminal.console-size", (PROCESS, SIZE), |lab| {
        let size = json!({ "height": 31, "width": 97 });
        let seen = lab.with("process/consoleSize", size).report_on_terminal()?;
        seen.is("terminal", json!({ "rows": 31, "columns": 97 }))
    }),
    must("config.terminal.console-size.unset", (PROCESS, SIZE), |lab| {
        lab.base().report_on_terminal()?.is("terminal", json!({ "rows": 0, "columns": 0 }))
    }),
    must(
        "config.terminal.console-size.invalid",
        (
            "config.md#valid-values",
            "Runtimes MUST generate an error when invalid or unsupported values are encountered.",
        ),
        |lab| {
            let size = json!({ "height": "tall", "width": 97 });
            refused_with_socket(lab, "process/consoleSize", size)
        },
    ),
    must("config.terminal.user", (PROCESS, DUPLICATED), |lab| {
        let user = json!({ "uid": 1000, "gid": 1000 });
        let seen = lab
            .with("process/user", user)
            .ask("open", json!(["/proc/self/fd/0", "rw"]))
            .ask("stat", "/dev/pts/0")
            .report_on_terminal()?;
        seen.is("open/rw:~1proc~1self~1fd~10", json!(null))?;
        seen.is("stat/~1dev~1pts~10", json!({ "uid": 1000 }))
    }),
    must("config.terminal.user-namespace", (PROCESS, DUPLICATED), |lab| {
        let seen = lab.base().user_namespace(300_000).report_on_terminal()?;
        seen.is("terminal/is", json!([true, true, true]))
    }),
    must(
        "config.terminal.no-other-descriptors",
        (
            "runtime-linux.md#file-descriptors",
            "By default, only the stdin, stdout and stderr file descriptors are kept open for the application by the runtime.",
        ),
        |lab| {
            let seen = lab.base().report_on_terminal()?;
            let names: Vec<&String> = seen["fds"].as_object().map_or(Vec::new(), |fds| fds.keys().collect());
            expect(names == ["0", "1", "2"], format!("the descriptors are {names:?}"))
        },
    ),
    callers(
        "callers.console-socket.message",
        (
            SOCKET,
            "One connection brings one message of 1 to 4095 bytes with exactly one descriptor, a terminal's master (go-runc, conmon).",
        ),
        |lab| {
            let bundle = lab.with("process/terminal", true).save()?;
            let receiver = Receiver::listen(&bundle.dir.join("console"))?;
            let flags = ["--console-socket".as_ref(), receiver.path.as_os_str()];
            let done = bundle.create_with(&[], &flags).finish()?.ok()?;
            let mut received = receiver.receive()?;
            let length = received.text.len();
            expect((1..4096).contains(&length), format!("the message has {length} bytes"))?;
            same("the message with the descriptor", received.messages_with_descriptors.len(), 1)?;
            let master = received.only()?;
            expect(nix::unistd::isatty(&master).unwrap_or(false), "what has come is no terminal")?;
            receiver.has_no_more()?;
            crate::container::Container::of(bundle, &done)?.remove()
        },
    ),
    callers(
        "callers.console-socket.ends-with-the-program",
        (SOCKET, "Nobody but the program keeps the terminal open: its master tells of the end (conmon)."),
        |lab| {
            let (container, console) = lab.with("process/terminal", true).save()?.create_on_terminal()?;
            container.start()?;
            console.seen()?;
            container.end()?;
            let mut byte = [0; 64];
            let ended = crate::command::within(crate::command::LIMIT, || {
                nix::unistd::read(console.master(), &mut byte) == Err(nix::errno::Errno::EIO)
            });
            expect(ended, "somebody keeps it open")?;
            container.delete()
        },
    ),
    callers(
        "callers.console-socket.missing",
        (SOCKET, "create with a terminal and no console socket fails (podman, containerd)."),
        |lab| lab.with("process/terminal", true).refused("console|terminal|tty"),
    ),
    callers(
        "callers.console-socket.nobody-there",
        (SOCKET, "create fails where nobody listens at the console socket."),
        |lab| {
            let bundle = lab.with("process/terminal", true).save()?;
            bundle
                .create_with(&[], &["--console-socket".as_ref(), "/nowhere".as_ref()])
                .finish()?
                .fails_with("/nowhere|console|socket|no such file")?;
            lab.knows_nothing_of(&bundle.id)
        },
    ),
];

/// A container with a terminal and one more property has to be refused, though there is a console socket.
fn refused_with_socket(lab: &Lab<'_>, path: &str, value: serde_json::Value) -> Outcome {
    let bundle = lab.with("process/terminal", true).with(path, value).save()?;
    let receiver = Receiver::listen(&bundle.dir.join("console"))?;
    let flags = ["--console-socket".as_ref(), receiver.path.as_os_str()];
    lab.note_refusal(&bundle.create_with(&[], &flags).finish()?.fails()?, path);
    lab.knows_nothing_of(&bundle.id)
}
