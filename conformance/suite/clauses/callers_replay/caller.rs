//! How a caller calls, and what it reads.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;
use serde_json::{Value, json};

use super::words;
use crate::bundle::Bundle;
use crate::clause::{Stop, expect, fail};
use crate::command::{Call, Done, eventually, text};
use crate::container::Container;
use crate::lab::Lab;

/// The way in which one caller calls: what its command lines begin with, and where it is.
pub(super) struct Caller<'l> {
    pub(super) lab: &'l Lab<'l>,
    pub(super) globals: Vec<OsString>,
    pub(super) cwd: PathBuf,
}

impl<'l> Caller<'l> {
    pub(super) fn new(lab: &'l Lab<'l>, globals: &[&OsStr]) -> Self {
        let globals = globals.iter().map(OsString::from).collect();
        Self { lab, globals, cwd: lab.dir.clone() }
    }

    /// go-runc: a log in the bundle.
    pub(super) fn go_runc(bundle: &Bundle<'l>) -> Self {
        let log = bundle.dir.join("log.json");
        let words = words!["--root", bundle.lab.state, "--log", log, "--log-format", "json"];
        Self { cwd: bundle.dir.clone(), ..Self::new(bundle.lab, &words) }
    }

    pub(super) fn call<A: AsRef<OsStr>>(&self, words: impl IntoIterator<Item = A>) -> Call {
        let mut line = vec![self.lab.runtime.program.clone().into_os_string()];
        line.extend(self.globals.iter().cloned());
        line.extend(words.into_iter().map(|word| word.as_ref().to_owned()));
        self.lab.command(&line).cwd(&self.cwd)
    }

    pub(super) fn run<A: AsRef<OsStr>>(&self, words: impl IntoIterator<Item = A>) -> Result<Done, Stop> {
        self.call(words).finish()
    }

    /// It has to work, and to say nothing: callers take what is on stderr for an error.
    pub(super) fn works<A: AsRef<OsStr>>(&self, words: impl IntoIterator<Item = A>) -> Result<Done, Stop> {
        let done = self.run(words)?.ok()?;
        expect(done.stderr().is_empty(), format!("it says {:?}", done.stderr()))?;
        Ok(done)
    }

    pub(super) fn status(&self, id: &str) -> Result<String, Stop> {
        let state: Value = serde_json::from_str(&self.works(["state", id])?.stdout())?;
        Ok(state["status"].as_str().unwrap_or("(none)").to_owned())
    }
}

/// podman's for a container of its own: no --root on the command line of anything but its runtime flags.
pub(super) fn podmans<'l>(lab: &'l Lab<'l>) -> Caller<'l> {
    Caller::new(lab, &words!["--root", lab.state])
}

/// conmon's `create` and `exec`: with a log that podman reads afterwards.
pub(super) fn conmons<'l>(bundle: &Bundle<'l>) -> (Caller<'l>, PathBuf) {
    let log = bundle.dir.join("oci-log");
    let mut caller = podmans(bundle.lab);
    caller.globals.extend(["--log-format=json".into(), "--log".into(), log.clone().into()]);
    caller.cwd.clone_from(&bundle.dir);
    (caller, log)
}

/// What `exec --process` reads.
pub(super) fn process(lab: &Lab<'_>, order: Value, terminal: bool) -> Result<PathBuf, Stop> {
    let process = json!({
        "terminal": terminal, "user": { "uid": 0, "gid": 0 }, "cwd": "/", "env": ["PATH=/bin"],
        "args": ["/probe", order.to_string()],
    });
    lab.file(&format!("process{}", lab.number()), process.to_string(), 0o644)
}

/// The pid that a caller reads from a file, which has nothing else in it.
pub(super) fn pid_in(file: &Path) -> Result<Pid, Stop> {
    let found = text(file);
    match found.parse() {
        Ok(pid) => Ok(Pid::from_raw(pid)),
        Err(_) => fail(format!("the pid file has {found:?}")),
    }
}

/// The exit code of a process that has been left to this one, as to conmon and the shim.
pub(super) fn end_of(pid: Pid) -> Result<i32, Stop> {
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
pub(super) fn created<'l>(
    caller: &Caller<'l>,
    bundle: Bundle<'l>,
    words: &[&OsStr],
) -> Result<Container<'l>, Stop> {
    let (dir, file) = (bundle.dir.clone(), bundle.pid_file());
    let begin = words!["create", "--bundle", dir, "--pid-file", file];
    let line = begin.iter().chain(words).chain(&words![bundle.id]).copied().collect::<Vec<_>>();
    let done = caller.call(line).stdin(Stdio::null()).finish()?.ok()?;
    expect(done.stderr().is_empty(), format!("create says {:?}", done.stderr()))?;
    pid_in(&file)?;
    Container::of(bundle, &done)
}

/// `exec --detach` as conmon and the shim say it: the pid in the file is that of a child of this process.
pub(super) fn detached(caller: &Caller<'_>, id: &str, order: Value) -> Result<Pid, Stop> {
    let lab = caller.lab;
    let file = lab.dir.join(format!("exec-pid{}", lab.number()));
    let order = process(lab, order, false)?;
    caller.works(words!["exec", "--pid-file", file, "--process", order, "--detach", id])?;
    pid_in(&file)
}
