//! A container that has been created, and the operations on it.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use nix::errno::Errno;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use serde_json::Value;

use crate::bundle::Bundle;
use crate::clause::{Outcome, Stop, fail, same};
use crate::command::{Done, LIMIT, eventually, text, within};
use crate::lab::Lab;
use crate::seen::Seen;

/// A container. It has to be deleted by the case: what is left is a failure.
#[derive(Debug)]
pub(crate) struct Container<'l> {
    pub(crate) bundle: Bundle<'l>,
    pub(crate) pid: i32,
    /// What its program prints.
    stdout: PathBuf,
}

impl<'l> Container<'l> {
    /// The one that a `create` has made.
    pub(crate) fn of(bundle: Bundle<'l>, created: &Done) -> Result<Self, Stop> {
        let text = text(bundle.pid_file());
        let Ok(pid) = text.trim().parse() else {
            return fail(format!("create has written {text:?} to the pid file"));
        };
        awaited().push(pid);
        Ok(Self { bundle, pid, stdout: created.stdout_file() })
    }

    pub(crate) fn lab(&self) -> &'l Lab<'l> {
        self.bundle.lab
    }

    pub(crate) fn id(&self) -> &str {
        &self.bundle.id
    }

    /// `start`, however it ends.
    pub(crate) fn try_start(&self) -> Result<Done, Stop> {
        self.lab().run(["start", self.id()])
    }

    /// `start`, which has to work.
    pub(crate) fn start(&self) -> Outcome {
        self.try_start()?.ok().map(drop)
    }

    /// `kill`, however it ends.
    pub(crate) fn try_kill(&self, signal: &str) -> Result<Done, Stop> {
        self.lab().run(["kill", self.id(), signal])
    }

    /// `kill`, which has to work.
    pub(crate) fn kill(&self, signal: &str) -> Outcome {
        self.try_kill(signal)?.ok().map(drop)
    }

    /// `delete`, however it ends.
    pub(crate) fn try_delete(&self) -> Result<Done, Stop> {
        self.lab().run(["delete", self.id()])
    }

    /// `delete`, which has to work.
    pub(crate) fn delete(&self) -> Outcome {
        self.try_delete()?.ok().map(drop)
    }

    /// Whatever it is doing: killed, waited for and deleted.
    pub(crate) fn remove(&self) -> Outcome {
        // It may end by itself meanwhile: what counts is that it has ended.
        drop(self.try_kill("KILL")?);
        // A zombie is waited for, too: the end of the pid namespace that it has joined waits until it is reaped.
        let is_awaited = awaited().contains(&self.pid);
        if is_awaited || self.is_alive() {
            self.end()?;
        }
        self.delete()
    }

    /// What `state` prints.
    pub(crate) fn state(&self) -> Result<Value, Stop> {
        let done = self.lab().run(["state", self.id()])?.ok()?;
        let text = done.stdout();
        serde_json::from_str(&text)
            .or_else(|error| fail(format!("state has printed no JSON: {error}: {text}")))
    }

    /// The status that `state` prints.
    pub(crate) fn status(&self) -> Result<String, Stop> {
        Ok(self.state()?["status"].as_str().unwrap_or("(none)").to_owned())
    }

    /// Fails unless it has this status.
    pub(crate) fn is(&self, status: &str) -> Outcome {
        same("the status", self.status()?.as_str(), status)
    }

    /// Whether its process is there and no zombie.
    pub(crate) fn is_alive(&self) -> bool {
        let stat = text(format!("/proc/{}/stat", self.pid));
        stat.rsplit(')')
            .next()
            .is_some_and(|rest| !rest.trim_start().starts_with(['Z', 'X', '\0']) && !rest.is_empty())
    }

    /// Waits for the end of its process: the exit code, or 128 and the signal. The suite is the subreaper, as
    /// an engine's monitor is, so that the process is its child.
    pub(crate) fn end(&self) -> Result<i32, Stop> {
        let mut end = None;
        let mut asked = 0;
        let ended = within(LIMIT, || {
            asked += 1;
            if asked > 20 {
                // The end of a pid namespace waits for all that were in it, those of exec among them.
                reap_executed();
            }
            end = match waitpid(Pid::from_raw(self.pid), Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(_, code)) => Some(Ok(code)),
                Ok(WaitStatus::Signaled(_, signal, _)) => Some(Ok(128 + signal as i32)),
                Err(Errno::ECHILD) if self.is_alive() => None,
                Err(error) => Some(Err(error)),
                Ok(_) => None,
            };
            end.is_some()
        });
        awaited().retain(|pid| *pid != self.pid);
        match end {
            Some(Ok(code)) if ended => Ok(code),
            Some(Err(error)) => fail(format!("the process was not left to the caller: waitpid: {error}")),
            _ => fail(format!("the program has not ended after {LIMIT:?}")),
        }
    }

    /// The lines that its program has printed.
    pub(crate) fn lines(&self) -> Vec<String> {
        let text = text(&self.stdout);
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.lines().map(str::to_owned).collect()
    }

    /// The program's report, once it is there.
    pub(crate) fn seen(&self) -> Result<Seen, Stop> {
        let found = |line: &String| serde_json::from_str::<Value>(line).ok().filter(Value::is_object);
        let mut seen = None;
        within(LIMIT, || {
            let ended = !self.is_alive();
            seen = self.lines().iter().find_map(found);
            seen.is_some() || ended
        });
        match seen {
            Some(seen) => Ok(Seen(seen)),
            None => fail(format!("the program has printed no report, but {:?}", text(&self.stdout))),
        }
    }

    /// Waits until the program has told of this signal.
    pub(crate) fn gets_signal(&self, number: i32) -> Outcome {
        let line = format!("{{\"signal\":{number}}}");
        eventually(&format!("signal {number} arrives"), || self.lines().contains(&line))
    }
}

/// The processes of containers whose end nobody has waited for. Where a pid namespace is joined they are not the first.
fn awaited() -> MutexGuard<'static, Vec<i32>> {
    static AWAITED: Mutex<Vec<i32>> = Mutex::new(Vec::new());
    AWAITED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Zombies that came here from containers and were not the first process there: nobody else asks for them.
fn reap_executed() {
    let own = std::process::id().to_string();
    for pid in crate::leaks::all_pids() {
        let status = text(format!("/proc/{pid}/status"));
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("").trim();
        let inner: Vec<&str> = field("NSpid:").split_whitespace().skip(1).collect();
        let is_other = inner.last().is_some_and(|inner| *inner != "1") && !awaited().contains(&pid);
        if field("PPid:") == own && field("State:").starts_with('Z') && is_other {
            waitpid(Pid::from_raw(pid), Some(WaitPidFlag::WNOHANG)).map(drop).unwrap_or_default();
        }
    }
}
