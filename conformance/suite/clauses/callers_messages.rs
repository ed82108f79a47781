//! What callers read of logs, messages and exit codes.

use serde_json::{Value, json};

use crate::bundle::Bundle;
use crate::clause::{Clause, Outcome, Stop, callers, expect, same};
use crate::command::{Done, text};
use crate::lab::Lab;

const LOG: &str = "callers: log";
const MESSAGES: &str = "callers: messages";
const CODES: &str = "callers: exit codes";

pub(crate) const CLAUSES: &[Clause] = &[
    callers(
        "callers.log.json.error",
        (LOG, "A failure is JSON with \"level\": \"error\" and \"msg\" (containerd, podman)."),
        |lab| {
            let line = failure_line(lab)?;
            same("the level", line["level"].as_str().unwrap_or("none"), "error")?;
            expect(
                line["msg"].as_str().is_some_and(|msg| !msg.is_empty()),
                format!("there is no msg in {line}"),
            )
        },
    ),
    callers(
        "callers.log.json.time",
        (LOG, "\"time\" is of RFC 3339: containerd's decoder takes nothing else."),
        |lab| {
            let line = failure_line(lab)?;
            let time = line["time"].as_str().unwrap_or("");
            expect(chrono::DateTime::parse_from_rfc3339(time).is_ok(), format!("time is {time:?}"))
        },
    ),
    callers("callers.log.json.one-document", (LOG, "The whole file is one JSON document (podman)."), |lab| {
        let (log, _) = failure(lab)?;
        expect(serde_json::from_str::<Value>(&log).is_ok(), format!("the file has {log:?}"))
    }),
    callers(
        "callers.log.also-on-stderr",
        (LOG, "With --log the message is on standard error, too (go-runc, conmon)."),
        |lab| {
            let (_, done) = failure(lab)?;
            expect(done.stderr().contains("/nowhere"), format!("stderr has {:?}", done.stderr()))
        },
    ),
    callers("callers.log.silent", (LOG, "Without a failure nothing is logged."), |lab| {
        let bundle = lab.base().save()?;
        let file = lab.dir.join("log");
        let log = file.display().to_string();
        let done = bundle.create_call(&["--log", &log, "--log-format", "json"]).finish()?.ok()?;
        let stderr = done.stderr();
        crate::container::Container::of(bundle, &done)?.remove()?;
        expect(text(file).is_empty() && stderr.is_empty(), format!("stderr has {stderr:?}"))
    }),
    callers("callers.log.appended", (LOG, "What the file has already is kept."), |lab| {
        let bundle = broken(lab)?;
        let file = lab.file("log", "before\n", 0o644)?;
        bundle
            .create_call(&["--log", &file.display().to_string(), "--log-format", "json"])
            .finish()?
            .fails()?;
        expect(text(&file).starts_with("before\n{"), format!("the file has {:?}", text(&file)))
    }),
    callers("callers.log.text", (LOG, "--log-format text is a line for people."), |lab| {
        let bundle = broken(lab)?;
        let file = lab.dir.join("log");
        bundle
            .create_call(&["--log", &file.display().to_string(), "--log-format", "text"])
            .finish()?
            .fails()?;
        expect(text(&file).contains("/nowhere"), format!("the file has {:?}", text(&file)))
    }),
    callers("callers.exit.create", (CODES, "A create that fails ends with 1."), |lab| {
        same("the exit code", broken(lab)?.try_create()?.code(), 1)
    }),
    callers("callers.exit.state", (CODES, "state of a missing container ends with 1."), |lab| {
        same("the exit code", lab.run(["state", "nobody"])?.code(), 1)
    }),
    callers("callers.exit.kill", (CODES, "kill of a missing container ends with 1."), |lab| {
        same("the exit code", lab.run(["kill", "nobody", "KILL"])?.code(), 1)
    }),
    callers(
        "callers.message.state-does-not-exist",
        (
            MESSAGES,
            "state and kill of a missing container: \"does not exist\" or \"no such file\" (containerd, CRI-O).",
        ),
        |lab| {
            lab.run(["state", "nobody"])?.fails_with("does not exist|no such file")?;
            lab.run(["kill", "nobody", "KILL"])?.fails_with("does not exist|no such file")
        },
    ),
    callers(
        "callers.message.not-running",
        (
            MESSAGES,
            "kill of a stopped container: \"not running\" or \"no such process\" (containerd, CRI-O).",
        ),
        |lab| {
            let container = lab.base().start()?;
            container.end()?;
            container.try_kill("KILL")?.fails_with("not running|no such process|already finished")?;
            container.delete()
        },
    ),
    callers(
        "callers.message.path",
        (
            MESSAGES,
            "A program that is not in PATH: \"executable file not found in $PATH\" or with backticks (podman's tests).",
        ),
        |lab| {
            fails_with(lab, "nothing-of-this-name", "executable file not found in $PATH|` not found in $PATH")
        },
    ),
    callers(
        "callers.message.not-executable",
        (
            MESSAGES,
            "A program without the right to execute: \"permission denied\" (podman and docker exit with 126).",
        ),
        |lab| {
            lab.base()
                .put("/plain", "text", 0o644)
                .with("process/args", json!(["/plain"]))
                .save()?
                .try_create()?
                .fails_with("permission denied|not executable")
        },
    ),
    callers(
        "callers.message.directory",
        (
            MESSAGES,
            "A directory for a program: \"is a directory\", \"permission denied\" or \"not a regular file\" (podman exits with 126).",
        ),
        |lab| fails_with(lab, "/etc", "is a directory|permission denied|not a regular file"),
    ),
    callers(
        "callers.message.id-in-use",
        (MESSAGES, "create of an id that is in use: \"exist\" (conmon shows it)."),
        |lab| {
            let container = lab.base().create()?;
            lab.base().id(container.id()).save()?.try_create()?.fails_with("exist")?;
            container.remove()
        },
    ),
    callers(
        "callers.message.exists-at-create",
        (
            MESSAGES,
            "What can't be executed is told by create, before start (docker and podman give 126 and 127).",
        ),
        |lab| lab.with("process/args", json!(["/nowhere"])).refused("/nowhere"),
    ),
];

fn broken<'l>(lab: &'l Lab<'l>) -> Result<Bundle<'l>, Stop> {
    lab.with("process/args", json!(["/nowhere"])).save()
}

/// A create that fails, and its log.
fn failure(lab: &Lab<'_>) -> Result<(String, Done), Stop> {
    let log = lab.dir.join("log");
    let done = broken(lab)?
        .create_call(&["--log", &log.display().to_string(), "--log-format", "json"])
        .finish()?
        .fails()?;
    Ok((text(log), done))
}

fn failure_line(lab: &Lab<'_>) -> Result<Value, Stop> {
    let (log, _) = failure(lab)?;
    // One document may have several lines.
    Ok(serde_json::from_str(&log).or_else(|_| serde_json::from_str(log.lines().last().unwrap_or("")))?)
}

fn fails_with(lab: &Lab<'_>, program: &str, words: &str) -> Outcome {
    lab.with("process/args", json!([program])).save()?.try_create()?.fails_with(words)
}
