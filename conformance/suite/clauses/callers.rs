//! Not in the specification: what podman and conmon, containerd, docker and buildah rely on.

use std::process::Stdio;

use serde_json::json;

use crate::clause::{Clause, callers, expect, same};
use crate::command::text;

const FILES: &str = "callers: files";
const MESSAGES: &str = "callers: messages";
const VERBS: &str = "callers: command line";

pub(crate) const CLAUSES: &[Clause] = &[
    callers(
        "callers.pid-file.plain",
        (FILES, "The pid file has the pid in decimal and no newline (go-runc, runtime-tools)."),
        |lab| {
            let container = lab.base().create()?;
            same("the pid file", text(container.bundle.pid_file()), container.pid.to_string())?;
            container.remove()
        },
    ),
    callers(
        "callers.message.does-not-exist",
        (MESSAGES, "A container that is missing \"does not exist\" (containerd)."),
        |lab| lab.run(["delete", "nobody"])?.fails_with("does not exist"),
    ),
    callers(
        "callers.message.not-found",
        (
            MESSAGES,
            "A program that is missing: \"executable file not found in $PATH\" or \"no such file or directory\" (podman, docker).",
        ),
        |lab| {
            let bundle = lab.with("process/args", json!(["/nowhere"])).save()?;
            bundle.try_create()?.fails_with("no such file or directory|executable file")
        },
    ),
    callers(
        "callers.stdin.inherited",
        (VERBS, "Standard descriptors of create are those of the container where it has no terminal."),
        |lab| {
            let input = lab.file("input", "hello", 0o644)?;
            let bundle = lab.base().ask("read", "/proc/self/fd/0").save()?;
            let done = bundle
                .create_call(&[])
                .stdin(Stdio::from(std::fs::File::open(input)?))
                .env("UNUSED", "1")
                .finish()?
                .ok()?;
            let container = crate::container::Container::of(bundle, &done)?;
            container.start()?;
            container.end()?;
            let seen = container.seen()?;
            container.delete()?;
            let read = &seen["read"]["/proc/self/fd/0"];
            expect(read == "hello", format!("the program reads {read}"))
        },
    ),
];
