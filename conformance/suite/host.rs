//! What a case does to the host for its own time: mounts, and namespaces that a thread holds.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};

use crate::clause::{Outcome, Stop, fail};
use crate::lab;

/// A mount of the host's, until it is dropped.
#[derive(Debug)]
pub(crate) struct HostMount(PathBuf);

impl HostMount {
    /// A tmpfs at a directory, which is made if it is missing.
    pub(crate) fn tmpfs(at: impl AsRef<Path>) -> Result<Self, Stop> {
        let at = at.as_ref();
        lab::make_dir(at, 0o755)?;
        mount(Some("tmpfs"), at, Some("tmpfs"), MsFlags::empty(), Some("mode=755,size=1m"))?;
        Ok(Self(at.to_owned()))
    }

    /// A directory or file at another one.
    pub(crate) fn bind(from: impl AsRef<Path>, at: impl AsRef<Path>) -> Result<Self, Stop> {
        let at = at.as_ref();
        mount(Some(from.as_ref()), at, None::<&str>, MsFlags::MS_BIND, None::<&str>)?;
        Ok(Self(at.to_owned()))
    }

    /// With these flags of the mount itself, not of its file system.
    pub(crate) fn becomes(&self, flags: MsFlags) -> Outcome {
        let how = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | flags;
        Ok(mount(None::<&str>, &self.0, None::<&str>, how, None::<&str>)?)
    }

    /// Its propagation: `MS_SHARED`, and what is mounted on it after that is shared, too.
    pub(crate) fn propagates(&self, how: MsFlags) -> Outcome {
        Ok(mount(None::<&str>, &self.0, None::<&str>, how, None::<&str>)?)
    }
}

impl Drop for HostMount {
    fn drop(&mut self) {
        // What is left is found by the search for leaks.
        umount2(&self.0, MntFlags::MNT_DETACH).unwrap_or_default();
    }
}

/// New namespaces of a thread of this process, until they are dropped.
#[derive(Debug)]
pub(crate) struct Held {
    thread: Option<JoinHandle<()>>,
    tid: i32,
    _end: Sender<()>,
}

impl Held {
    /// New namespaces, changed from inside.
    pub(crate) fn new(
        flags: CloneFlags,
        change: impl FnOnce() -> nix::Result<()> + Send + 'static,
    ) -> Result<Self, Stop> {
        let (tell, told) = channel();
        let (end, ended) = channel::<()>();
        let thread = std::thread::spawn(move || {
            let made = unshare(flags).and_then(|()| change());
            if tell.send(made.map(|()| nix::unistd::gettid().as_raw())).is_ok() {
                // Comes back when the sender is dropped.
                ended.recv().unwrap_or_default();
            }
        });
        match told.recv()? {
            Ok(tid) => Ok(Self { thread: Some(thread), tid, _end: end }),
            Err(errno) => fail(format!("unshare {flags:?} for the case: {errno}")),
        }
    }

    /// The file of a namespace, by its name in /proc/PID/ns.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/task/{}/ns/{name}", std::process::id(), self.tid))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let (end, _) = channel();
        self._end = end;
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap_or_default();
        }
    }
}
