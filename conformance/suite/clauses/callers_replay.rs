//! Whole lives of containers in the command lines that callers use, word for word and in their order: what has to be
//! there between them is there, without an engine. conmon and podman, go-runc (containerd, docker), buildah, CRI-O,
//! BuildKit (docker build), conmon-rs.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::bundle::Bundle;
use crate::clause::{Clause, Need, Outcome, Stop, callers, expect, fail, same};
use crate::command::{Call, Done, eventually, text};
use crate::container::Container;
use crate::lab::Lab;
use crate::socket::{Console, Receiver};

const LIFE: &str = "callers: a life in their command lines";

pub(crate) const CLAUSES: &[Clause] = &[
    callers(
        "callers.replay.podman",
        (LIFE, "podman and conmon: create, start, exec, update, pause, resume, kill, delete."),
        podman,
    )
    .needs(&[Need::Verb("exec"), Need::Verb("update"), Need::Verb("pause")]),
    callers(
        "callers.replay.podman-terminal",
        (LIFE, "podman and conmon, with a terminal: create and exec hand over theirs."),
        podman_terminal,
    )
    .needs(&[Need::Verb("exec")]),
    callers(
        "callers.replay.podman-failure",
        (LIFE, "conmon: a failure is one JSON document, the same on stderr, and no pid file."),
        podman_failure,
    )
    .needs(&[Need::Verb("exec")]),
    callers(
        "callers.replay.containerd",
        (LIFE, "go-runc as containerd's shim calls it: create to delete, with exec, ps, pause, update."),
        containerd,
    )
    .needs(&[Need::Verb("exec"), Need::Verb("ps"), Need::Verb("pause"), Need::Verb("update")]),
    callers(
        "callers.replay.containerd-unstarted",
        (LIFE, "go-runc: delete without --force of what was not started, and once more."),
        containerd_unstarted,
    ),
    callers(
        "callers.replay.buildah",
        (LIFE, "buildah: create in the bundle, start, state until it has stopped, kill without a signal."),
        buildah,
    ),
    callers(
        "callers.replay.cri-o",
        (LIFE, "CRI-O: exec in the foreground, kill by name, kill -a, state, delete."),
        cri_o,
    )
    .needs(&[Need::Verb("exec")]),
    callers(
        "callers.replay.buildkit",
        (
            LIFE,
            "BuildKit: run in the foreground, exec with a pid file beside it, kill, delete of what is kept.",
        ),
        buildkit,
    )
    .needs(&[Need::Verb("exec")]),
    callers(
        "callers.replay.conmon-rs",
        (LIFE, "conmon-rs: --root=DIR, the program of exec on the command line, -d."),
        conmon_rs,
    )
    .needs(&[Need::Verb("exec")]),
    callers(
        "callers.replay.docker-wrapper",
        (
            LIFE,
            "docker's runtimeArgs: a shell script hands on all words; features and --version say nothing on stderr.",
        ),
        docker,
    ),
];

/// The way in which one caller calls: what its command lines begin with, and where it is.
struct Caller<'l> {
    lab: &'l Lab<'l>,
    globals: Vec<OsString>,
    cwd: PathBuf,
}

impl<'l> Caller<'l> {
    fn new(lab: &'l Lab<'l>, globals: &[&OsStr]) -> Self {
        let globals = globals.iter().map(OsString::from).collect();
        Self { lab, globals, cwd: lab.dir.clone() }
    }

    /// go-runc: a log in the bundle.
    fn go_runc(bundle: &Bundle<'l>) -> Self {
        let log = bundle.dir.join("log.json");
        let words: [&OsStr; 6] = [
            "--root".as_ref(),
            bundle.lab.state.as_os_str(),
            "--log".as_ref(),
            log.as_os_str(),
            "--log-format".as_ref(),
            "json".as_ref(),
        ];
        Self { cwd: bundle.dir.clone(), ..Self::new(bundle.lab, &words) }
    }

    fn call<A: AsRef<OsStr>>(&self, words: impl IntoIterator<Item = A>) -> Call {
        let mut line = vec![self.lab.runtime.program.clone().into_os_string()];
        line.extend(self.globals.iter().cloned());
        line.extend(words.into_iter().map(|word| word.as_ref().to_owned()));
        self.lab.command(&line).cwd(&self.cwd)
    }

    fn run<A: AsRef<OsStr>>(&self, words: impl IntoIterator<Item = A>) -> Result<Done, Stop> {
        self.call(words).finish()
    }

    /// It has to work, and to say nothing: callers take what is on stderr for an error.
    fn works<A: AsRef<OsStr>>(&self, words: impl IntoIterator<Item = A>) -> Result<Done, Stop> {
        let done = self.run(words)?.ok()?;
        expect(done.stderr().is_empty(), format!("it says {:?}", done.stderr()))?;
        Ok(done)
    }

    fn status(&self, id: &str) -> Result<String, Stop> {
        let state: Value = serde_json::from_str(&self.works(["state", id])?.stdout())?;
        Ok(state["status"].as_str().unwrap_or("(none)").to_owned())
    }
}

/// podman's for a container of its own: no --root on the command line of anything but its runtime flags.
fn podmans<'l>(lab: &'l Lab<'l>) -> Caller<'l> {
    Caller::new(lab, &["--root".as_ref(), lab.state.as_os_str()])
}

/// conmon's `create` and `exec`: with a log that podman reads afterwards.
fn conmons<'l>(bundle: &Bundle<'l>) -> (Caller<'l>, PathBuf) {
    let log = bundle.dir.join("oci-log");
    let mut caller = podmans(bundle.lab);
    caller.globals.extend(["--log-format=json".into(), "--log".into(), log.clone().into()]);
    caller.cwd.clone_from(&bundle.dir);
    (caller, log)
}

/// What `exec --process` reads.
fn process(lab: &Lab<'_>, order: Value, terminal: bool) -> Result<PathBuf, Stop> {
    let process = json!({
        "terminal": terminal, "user": { "uid": 0, "gid": 0 }, "cwd": "/", "env": ["PATH=/bin"],
        "args": ["/probe", order.to_string()],
    });
    lab.file(&format!("process{}", lab.number()), process.to_string(), 0o644)
}

/// The pid that a caller reads from a file, which has nothing else in it.
fn pid_in(file: &Path) -> Result<Pid, Stop> {
    let found = text(file);
    match found.parse() {
        Ok(pid) => Ok(Pid::from_raw(pid)),
        Err(_) => fail(format!("the pid file has {found:?}")),
    }
}

/// The exit code of a process that has been left to this one, as to conmon and the shim.
fn end_of(pid: Pid) -> Result<i32, Stop> {
    let mut end = None;
    eventually("the process of exec is this one's child and ends", || {
        end = match waitpid(pid, Some(nix::sys::wait::WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(_, code)) => Some(code),
            Ok(WaitStatus::Signaled(_, signal, _)) => Some(128 + signal as i32),
            _ => None,
        };
        end.is_some()
    })?;
    Ok(end.unwrap_or_default())
}

/// A container that waits, created with these words.
fn created<'l>(caller: &Caller<'l>, bundle: Bundle<'l>, words: &[&OsStr]) -> Result<Container<'l>, Stop> {
    let (dir, file) = (bundle.dir.clone(), bundle.pid_file());
    let mut line: Vec<&OsStr> = vec!["create".as_ref(), "--bundle".as_ref(), dir.as_os_str()];
    line.extend(["--pid-file".as_ref(), file.as_os_str()]);
    line.extend_from_slice(words);
    line.push(bundle.id.as_ref());
    let done = caller.call(line).stdin(Stdio::null()).finish()?.ok()?;
    expect(done.stderr().is_empty(), format!("create says {:?}", done.stderr()))?;
    pid_in(&file)?;
    Container::of(bundle, &done)
}

/// `exec --detach` as conmon and the shim say it: the pid in the file is that of a child of this process.
fn detached(caller: &Caller<'_>, id: &str, order: Value) -> Result<Pid, Stop> {
    let lab = caller.lab;
    let file = lab.dir.join(format!("exec-pid{}", lab.number()));
    let order = process(lab, order, false)?;
    let words: [&OsStr; 7] = [
        "exec".as_ref(),
        "--pid-file".as_ref(),
        file.as_os_str(),
        "--process".as_ref(),
        order.as_os_str(),
        "--detach".as_ref(),
        id.as_ref(),
    ];
    caller.works(words)?;
    pid_in(&file)
}

fn podman(lab: &Lab<'_>) -> Outcome {
    let (podman, bundle) = (podmans(lab), lab.base().then("wait").save()?);
    let (conmon, log) = conmons(&bundle);
    let container = created(&conmon, bundle, &[])?;
    let id = container.id();
    podman.works(["start", id])?;
    container.seen()?;
    same("the exit code of exec", end_of(detached(&conmon, id, json!({ "then": { "exit": 3 } }))?)?, 3)?;
    let waiting = detached(&conmon, id, json!({ "then": "wait" }))?;
    let resources = lab.file("resources", json!({ "pids": {} }).to_string(), 0o644)?;
    podman.works([
        "update".as_ref(),
        format!("--resources={}", resources.display()).as_ref(),
        OsStr::new(id),
    ])?;
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

fn podman_terminal(lab: &Lab<'_>) -> Outcome {
    let bundle = lab.with("process/terminal", true).then("wait").save()?;
    let (conmon, _) = conmons(&bundle);
    let socket = Receiver::listen(&bundle.dir.join("attach"))?;
    let words = ["--console-socket".as_ref(), socket.path.as_os_str()];
    let container = created(&conmon, bundle, &words)?;
    let console = Console::new(socket.receive()?.only()?);
    let podman = podmans(lab);
    podman.works(["start", container.id()])?;
    console.seen()?;
    let (file, order) = (lab.dir.join("exec-pid"), process(lab, json!({ "list": ["/proc/self/fd"] }), true)?);
    let exec: [&OsStr; 9] = [
        "exec".as_ref(),
        "--pid-file".as_ref(),
        file.as_os_str(),
        "--process".as_ref(),
        order.as_os_str(),
        "--console-socket".as_ref(),
        socket.path.as_os_str(),
        "--detach".as_ref(),
        container.id().as_ref(),
    ];
    conmon.works(exec)?;
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

fn podman_failure(lab: &Lab<'_>) -> Outcome {
    let podman = podmans(lab);
    let broken = lab.with("process/args", json!(["/nowhere"])).save()?;
    let (conmon, log) = conmons(&broken);
    let (dir, file) = (broken.dir.clone(), broken.pid_file());
    let words: [&OsStr; 6] = [
        "create".as_ref(),
        "--bundle".as_ref(),
        dir.as_os_str(),
        "--pid-file".as_ref(),
        file.as_os_str(),
        broken.id.as_ref(),
    ];
    told_once(&conmon.run(words)?, &log, &file)?;
    podman.works(["delete", "--force", &broken.id])?;

    let bundle = lab.base().then("wait").save()?;
    let (conmon, log) = conmons(&bundle);
    let container = created(&conmon, bundle, &[])?;
    podman.works(["start", container.id()])?;
    let (file, order) = (lab.dir.join("exec-pid"), lab.dir.join("order"));
    let missing = json!({ "user": { "uid": 0, "gid": 0 }, "cwd": "/", "args": ["/nowhere"] });
    std::fs::write(&order, missing.to_string())?;
    let words: [&OsStr; 7] = [
        "exec".as_ref(),
        "--pid-file".as_ref(),
        file.as_os_str(),
        "--process".as_ref(),
        order.as_os_str(),
        "--detach".as_ref(),
        container.id().as_ref(),
    ];
    told_once(&conmon.run(words)?, &log, &file)?;
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

fn containerd(lab: &Lab<'_>) -> Outcome {
    let bundle = lab.base().then("wait").save()?;
    let shim = Caller::go_runc(&bundle);
    let container = created(&shim, bundle, &[])?;
    let id = container.id();
    shim.works(["start", id])?;
    container.seen()?;
    let file = lab.dir.join("exec.pid");
    let order = process(lab, json!({ "then": { "exit": 5 } }), false)?;
    let exec: [&OsStr; 7] = [
        "exec".as_ref(),
        "--process".as_ref(),
        order.as_os_str(),
        "--detach".as_ref(),
        "--pid-file".as_ref(),
        file.as_os_str(),
        id.as_ref(),
    ];
    shim.works(exec)?;
    same("the exit code of exec", end_of(pid_in(&file)?)?, 5)?;
    let pids: Value = serde_json::from_str(&shim.works(["ps", "--format", "json", id])?.stdout())?;
    same("the pids", &pids, &json!([container.pid]))?;
    shim.works(["pause", id])?;
    same("the status", shim.status(id)?.as_str(), "paused")?;
    shim.works(["resume", id])?;
    let resources = lab.file("resources", json!({ "unified": {} }).to_string(), 0o644)?;
    shim.call(["update", "--resources=-", id]).stdin(File::open(resources)?).finish()?.ok()?;
    shim.works(["kill", id, "15"])?;
    same("the exit code", container.end()?, 0)?;
    shim.run(["kill", "--all", id, "9"])?.ok()?;
    shim.run(["kill", id, "9"])?.fails_with("not running|no such process|already finished")?;
    shim.works(["delete", id])?;
    shim.run(["delete", id])?.fails_with("does not exist")?;
    shim.run(["kill", id, "9"])?.fails_with("does not exist|not running").map(drop)
}

fn containerd_unstarted(lab: &Lab<'_>) -> Outcome {
    let bundle = lab.base().then("wait").save()?;
    let shim = Caller::go_runc(&bundle);
    let container = created(&shim, bundle, &[])?;
    same("the status", shim.status(container.id())?.as_str(), "created")?;
    shim.works(["delete", container.id()])?;
    container.end()?;
    shim.works(["delete", "--force", container.id()])?;
    shim.run(["delete", container.id()])?.fails_with("does not exist")
}

fn buildah(lab: &Lab<'_>) -> Outcome {
    let bundle = lab.base().then("wait").save()?;
    let mut buildah = podmans(lab);
    buildah.cwd.clone_from(&bundle.dir);
    let container = created(&buildah, bundle, &[])?;
    let id = container.id();
    same("the status", buildah.status(id)?.as_str(), "created")?;
    buildah.works(["start", id])?;
    container.seen()?;
    same("the status", buildah.status(id)?.as_str(), "running")?;
    buildah.works(["kill", id])?;
    same("the exit code", container.end()?, 0)?;
    same("the status", buildah.status(id)?.as_str(), "stopped")?;
    buildah.works(["delete", id])?;
    let bundle = lab.base().then("wait").save()?;
    buildah.cwd.clone_from(&bundle.dir);
    let container = created(&buildah, bundle, &[])?;
    buildah.works(["kill", container.id(), "SIGKILL"])?;
    same("the exit code", container.end()?, 137)?;
    buildah.works(["delete", container.id()]).map(drop)
}

fn cri_o(lab: &Lab<'_>) -> Outcome {
    let crio = podmans(lab);
    let features = crio.works(["features"])?;
    expect(serde_json::from_str::<Value>(&features.stdout())?.is_object(), "features are no object")?;
    let bundle = lab.base().then("wait").save()?;
    let (conmon, _) = conmons(&bundle);
    let container = created(&conmon, bundle, &[])?;
    let id = container.id();
    crio.works(["start", id])?;
    container.seen()?;
    let order = process(lab, json!({ "then": { "exit": 4 } }), false)?;
    let exec: [&OsStr; 4] = ["exec".as_ref(), "--process".as_ref(), order.as_os_str(), id.as_ref()];
    let done = crio.run(exec)?;
    same("the exit code of exec", done.code(), 4)?;
    expect(
        done.stdout().starts_with("{\"") && done.stderr().is_empty(),
        format!("it says {:?}", done.stderr()),
    )?;
    let resources = lab.file("resources", json!({ "pids": {} }).to_string(), 0o644)?;
    crio.call(["update", "--resources", "-", id]).stdin(File::open(resources)?).finish()?.ok()?;
    crio.works(["kill", id, "SIGUSR1"])?;
    container.gets_signal(10)?;
    crio.works(["kill", "-a", id, "9"])?;
    same("the exit code", container.end()?, 137)?;
    crio.run(["kill", id, "KILL"])?.fails_with("not running|no such process|already finished")?;
    same("the status", crio.status(id)?.as_str(), "stopped")?;
    crio.works(["delete", "--force", id]).map(drop)
}

fn buildkit(lab: &Lab<'_>) -> Outcome {
    let bundle = lab.base().then("wait").save()?;
    let log = bundle.dir.join("log");
    let globals: [&OsStr; 6] = [
        "--root".as_ref(),
        lab.state.as_os_str(),
        "--log".as_ref(),
        log.as_os_str(),
        "--log-format".as_ref(),
        "json".as_ref(),
    ];
    let caller = Caller::new(lab, &globals);
    let (dir, id) = (bundle.dir.as_os_str(), bundle.id.as_str());
    let run = ["run".as_ref(), "--bundle".as_ref(), dir, "--keep".as_ref(), OsStr::new(id)];
    let running = caller.call(run).start()?;
    eventually("it runs", || caller.status(id).is_ok_and(|status| status == "running"))?;
    let (file, order) = (lab.dir.join("pid"), process(lab, json!({ "then": { "exit": 6 } }), false)?);
    let exec: [&OsStr; 6] = [
        "exec".as_ref(),
        "--process".as_ref(),
        order.as_os_str(),
        "--pid-file".as_ref(),
        file.as_os_str(),
        id.as_ref(),
    ];
    same("the exit code of exec", caller.run(exec)?.code(), 6)?;
    pid_in(&file)?;
    caller.works(["kill", id, "9"])?;
    same("the exit code of run", running.finish()?.code(), 137)?;
    same("the status", caller.status(id)?.as_str(), "stopped")?;
    caller.works(["delete", id]).map(drop)
}

fn conmon_rs(lab: &Lab<'_>) -> Outcome {
    let bundle = lab.base().then("wait").save()?;
    let root = format!("--root={}", lab.state.display());
    let mut caller = Caller::new(lab, &[root.as_ref()]);
    let container = created(&caller, bundle, &[])?;
    caller.works(["start", container.id()])?;
    container.seen()?;
    // It says its global options twice.
    caller.globals.push(root.into());
    let file = lab.dir.join("exec-pid");
    let pid_file = format!("--pid-file={}", file.display());
    caller.works(["exec", "-d", &pid_file, container.id(), "/probe", "{\"then\":{\"exit\":9}}"])?;
    same("the exit code of exec", end_of(pid_in(&file)?)?, 9)?;
    caller.works(["kill", container.id(), "KILL"])?;
    container.end()?;
    caller.works(["delete", container.id()]).map(drop)
}

fn docker(lab: &Lab<'_>) -> Outcome {
    let program = lab.runtime.program.display();
    let script = lab.file("wrapper", format!("#!/bin/sh\n{program} --log-format json $@\n"), 0o755)?;
    let wrapped = |words: &[&str]| -> Result<Done, Stop> {
        let mut line = vec![script.clone().into_os_string()];
        line.extend(words.iter().map(OsString::from));
        let done = lab.command(&line).finish()?.ok()?;
        expect(done.stderr().is_empty(), format!("it says {:?}", done.stderr()))?;
        Ok(done)
    };
    let version = wrapped(&["--version"])?.stdout();
    expect(version.lines().any(|line| line.contains("version")), format!("the version is {version:?}"))?;
    let features: Value = serde_json::from_str(&wrapped(&["features"])?.stdout())?;
    let options = features["mountOptions"].as_array().cloned().unwrap_or_default();
    expect(options.contains(&json!("rro")), "features do not have the mount option rro")?;
    let bundle = lab.base().save()?;
    let (dir, file) = (bundle.dir.display().to_string(), bundle.pid_file().display().to_string());
    let root = lab.state.display().to_string();
    let create = ["--root", &root, "create", "--bundle", &dir, "--pid-file", &file, &bundle.id];
    let done = wrapped(&create)?;
    Container::of(bundle, &done)?.remove()
}
