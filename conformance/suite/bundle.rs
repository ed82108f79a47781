//! A bundle on disk, and what can be done with it.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use serde_json::Value;

use crate::clause::{Stop, fail};
use crate::command::{Call, Done, text};
use crate::container::Container;
use crate::lab::Lab;
use crate::seen::Seen;
use crate::socket::{Console, Receiver};

/// A bundle, and the id of the container that is made from it.
#[derive(Clone, Debug)]
pub(crate) struct Bundle<'l> {
    pub(crate) lab: &'l Lab<'l>,
    pub(crate) dir: PathBuf,
    pub(crate) id: String,
    pub(crate) cgroup: PathBuf,
}

impl<'l> Bundle<'l> {
    /// Where the runtime writes the pid.
    pub(crate) fn pid_file(&self) -> PathBuf {
        self.dir.join("pid")
    }

    /// A path in the root file system.
    pub(crate) fn rootfs(&self, path: &str) -> PathBuf {
        self.dir.join("rootfs").join(path.trim_start_matches('/'))
    }

    /// `create`, however it ends.
    pub(crate) fn try_create(&self) -> Result<Done, Stop> {
        self.create_call(&[]).finish()
    }

    /// `create` after these global options, to be changed further.
    pub(crate) fn create_call(&self, globals: &[&str]) -> Call {
        self.create_with(globals, &[])
    }

    /// `create` after these global options, and with these of its own.
    pub(crate) fn create_with(&self, globals: &[&str], own: &[&OsStr]) -> Call {
        self.lab.call(self.create_line(globals, own))
    }

    fn create_line(&self, globals: &[&str], own: &[&OsStr]) -> Vec<OsString> {
        let mut line: Vec<OsString> = globals.iter().map(OsString::from).collect();
        line.extend(["create".into(), "--bundle".into(), self.dir.clone().into()]);
        line.extend(["--pid-file".into(), self.pid_file().into()]);
        line.extend(own.iter().map(OsString::from));
        line.push(OsString::from(&self.id));
        line
    }

    /// A created container.
    pub(crate) fn create(self) -> Result<Container<'l>, Stop> {
        let done = self.try_create()?.ok()?;
        Container::of(self, &done)
    }

    /// A container created by a runtime that finds these open, in the words of a shell: `7</dev/null`.
    pub(crate) fn create_with_open(self, opened: &str, own: &[&OsStr]) -> Result<Container<'l>, Stop> {
        let mut line =
            ["sh", "-euc", &format!("exec {opened}; exec \"$@\""), "sh"].map(OsString::from).to_vec();
        line.extend(self.lab.line(self.create_line(&[], own)));
        let done = self.lab.command(&line).finish()?.ok()?;
        Container::of(self, &done)
    }

    /// A created container with a terminal, and the terminal's master.
    pub(crate) fn create_on_terminal(self) -> Result<(Container<'l>, Console), Stop> {
        let receiver = Receiver::listen(&self.dir.join("console"))?;
        let done = self
            .create_with(&[], &["--console-socket".as_ref(), receiver.path.as_os_str()])
            .finish()?
            .ok()?;
        let console = Console::new(receiver.receive()?.only()?);
        Ok((Container::of(self, &done)?, console))
    }

    /// What a hook has written.
    pub(crate) fn record(&self, name: &str) -> Result<Seen, Stop> {
        match self.maybe_record(name) {
            Some(record) => Ok(record),
            None => fail(format!("hook {name} has not run")),
        }
    }

    /// What a hook has written if it has run.
    pub(crate) fn maybe_record(&self, name: &str) -> Option<Seen> {
        let text = text(self.rootfs("hooks").join(name));
        serde_json::from_str::<Value>(&text).ok().map(Seen)
    }
}
