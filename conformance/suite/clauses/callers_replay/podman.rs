//! podman, with conmon.

use std::path::Path;

use serde_json::{Value, json};

use super::caller::{conmons, created, detached, end_of, pid_in, podmans, process};
use super::words;
use crate::clause::{Outcome, expect, same};
use crate::command::{Done, text};
use crate::lab::Lab;
use crate::socket::{Console, Receiver};

pub(super) fn podman(lab: &Lab<'_>) -> Outcome {
    let (podman, bundle) = (podmans(lab), lab.base().then("wait").save()?);
    let (conmon, log) = conmons(&bundle);
    let container = created(&conmon, bundle, &[])?;
    let id = container.id();
    podman.works(["start", id])?;
    container.seen()?;
    same("the exit code of exec", end_of(detached(&conmon, id, json!({ "then": { "exit": 3 } }))?)?, 3)?;
    let waiting = detached(&conmon, id, json!({ "then": "wait" }))?;
    let resources = lab.file("resources", json!({ "pids": {} }).to_string(), 0o644)?;
    podman.works(words!["update", format!("--resources={}", resources.display()), id])?;
    podman.works(["pause", id])?;
    podman.works(["resume", id])?;
    podman.works(["kill", id, "2"])?;
    container.gets_signal(2)?;
    podman.works(["kill", "--all", id, "9"])?;
    same("the exit code of the other exec", end_of(waiting)?, 137)?;
    same("the exit code", container.end()?, 137)?;
    podman.works(["delete", "--force", id])?;
    // podman says it once more when it cleans up.
    podman.works(["delete", "--force", id])?;
    same("the log", text(log).as_str(), "")
}

pub(super) fn podman_terminal(lab: &Lab<'_>) -> Outcome {
    let bundle = lab.with("process/terminal", true).then("wait").save()?;
    let (conmon, _) = conmons(&bundle);
    let socket = Receiver::listen(&bundle.dir.join("attach"))?;
    let container = created(&conmon, bundle, &words!["--console-socket", socket.path])?;
    let console = Console::new(socket.receive()?.only()?);
    let podman = podmans(lab);
    podman.works(["start", container.id()])?;
    console.seen()?;
    let (file, order) = (lab.dir.join("exec-pid"), process(lab, json!({ "list": ["/proc/self/fd"] }), true)?);
    conmon.works(words![
        "exec",
        "--pid-file",
        file,
        "--process",
        order,
        "--console-socket",
        socket.path,
        "--detach",
        container.id()
    ])?;
    // Kept until it has ended: the end of a terminal is a hangup.
    let terminal = Console::new(socket.receive()?.only()?);
    let seen = terminal.seen()?;
    same("the exit code of exec", end_of(pid_in(&file)?)?, 0)?;
    let zero = seen["fds"]["0"].as_str().unwrap_or("(none)").to_owned();
    expect(zero.starts_with("/dev/pts/"), format!("its standard input is {zero}"))?;
    podman.works(["kill", container.id(), "9"])?;
    container.end()?;
    podman.works(["delete", "--force", container.id()]).map(drop)
}

pub(super) fn podman_failure(lab: &Lab<'_>) -> Outcome {
    let podman = podmans(lab);
    let broken = lab.with("process/args", json!(["/nowhere"])).save()?;
    let (conmon, log) = conmons(&broken);
    let (dir, file) = (broken.dir.clone(), broken.pid_file());
    told_once(&conmon.run(words!["create", "--bundle", dir, "--pid-file", file, broken.id])?, &log, &file)?;
    podman.works(["delete", "--force", &broken.id])?;

    let bundle = lab.base().then("wait").save()?;
    let (conmon, log) = conmons(&bundle);
    let container = created(&conmon, bundle, &[])?;
    podman.works(["start", container.id()])?;
    let (file, order) = (lab.dir.join("exec-pid"), lab.dir.join("order"));
    let missing = json!({ "user": { "uid": 0, "gid": 0 }, "cwd": "/", "args": ["/nowhere"] });
    std::fs::write(&order, missing.to_string())?;
    told_once(
        &conmon.run(words!["exec", "--pid-file", file, "--process", order, "--detach", container.id()])?,
        &log,
        &file,
    )?;
    podman.works(["delete", "--force", container.id()])?;
    container.end().map(drop)
}

/// podman reads the whole log as one document, conmon hands on what is on stderr, and no pid file means that it failed.
fn told_once(done: &Done, log: &Path, pid_file: &Path) -> Outcome {
    expect(done.code() != 0, "it has not failed")?;
    let line: Value = serde_json::from_str(&text(log))?;
    let message = line["msg"].as_str().unwrap_or("");
    expect(message.contains("/nowhere") && line["level"] == "error", format!("the log has {line}"))?;
    let words = ["no such file or directory", "executable file"];
    let said = done.stderr().to_lowercase();
    expect(words.iter().any(|word| said.contains(word)), format!("stderr has {said:?}"))?;
    expect(!pid_file.exists(), "there is a pid file")
}
