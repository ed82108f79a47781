//! A bundle on disk, and what can be done with it.

use std::ffi::OsString;
use std::path::PathBuf;

use serde_json::Value;

use crate::clause::{Stop, fail};
use crate::command::{Call, Done, text};
use crate::container::Container;
use crate::lab::Lab;
use crate::seen::Seen;

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
        let mut line: Vec<OsString> = globals.iter().map(OsString::from).collect();
        line.extend(["create".into(), "--bundle".into(), self.dir.clone().into()]);
        line.extend(["--pid-file".into(), self.pid_file().into(), OsString::from(&self.id)]);
        self.lab.call(line)
    }

    /// A created container.
    pub(crate) fn create(self) -> Result<Container<'l>, Stop> {
        let done = self.try_create()?.ok()?;
        Container::of(self, &done)
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
