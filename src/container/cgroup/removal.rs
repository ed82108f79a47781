//! The end of a cgroup: its processes, and then itself with all that was made in it.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::{Cgroup, Tree};
use crate::error::{Doing, Kind, Result, failure};
use crate::sys::fs::{self, Lookup, OFlag};
use crate::sys::{Call, Errno, process, retry_eintr};

impl Cgroup {
    /// Kills all processes in it and below it: cgroup.kill, since Linux 5.14, works on frozen ones too.
    pub fn kill(&self) -> Result<()> {
        match self.write("cgroup.kill", "1") {
            Err(error) if error.errno == Errno::ENOENT => self.signal(libc::SIGKILL),
            Err(error) if error.errno == Errno::ENODEV => Ok(()),
            written => written.map_err(Into::into),
        }
    }

    /// Sends a signal to all processes in it and below it.
    pub fn signal(&self, number: i32) -> Result<()> {
        for pid in self.processes()? {
            match process::pidfd_open(pid).and_then(|pidfd| process::pidfd_signal(pidfd.as_fd(), number)) {
                Err(error) if error.errno == Errno::ESRCH => {}
                sent => sent?,
            }
        }
        Ok(())
    }

    /// Waits until no process is left; the error names those that are.
    pub fn wait_empty(&self, limit: Duration) -> Result<()> {
        let end = Instant::now() + limit;
        let events = match self.file("cgroup.events", OFlag::O_RDONLY) {
            Err(Errno::ENOENT | Errno::ENODEV) => return Ok(()),
            opened => opened.call(|| "openat2(\"cgroup.events\")")?,
        };
        loop {
            // Read first: the kernel reports a change since the last read (POLLPRI).
            if !populated(&events)? {
                return Ok(());
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let pids: Vec<String> = self.processes()?.iter().map(ToString::to_string).collect();
                let text =
                    format!("processes {} do not end; the container is kept, try again", pids.join(" "));
                return Err(failure(Kind::System, text)).doing(|| format!("cgroup {:?}", self.record.path));
            }
            let mut fds = [PollFd::new(events.as_fd(), PollFlags::POLLPRI)];
            let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
            retry_eintr(|| poll(&mut fds, timeout)).call(|| "poll(cgroup.events)")?;
        }
    }

    /// Removes it, with the cgroups that the container made in it, and those above it that `create` made
    /// and in which nothing is left. One that was there before `create` stays.
    pub fn remove(&self, tree: &Tree) -> Result<()> {
        let what = || format!("cgroup {:?}", tree.shown(&self.record.path));
        if self.record.made == 0 {
            return Ok(());
        }
        let parent = self.record.path.parent().unwrap_or(Path::new(""));
        match remove_dir(&tree.root, &self.record.path) {
            Err(Errno::EBUSY | Errno::ENOTEMPTY) => {
                remove_below(self.dir()).doing(what)?;
                remove_dir(&tree.root, &self.record.path).call(|| "rmdir()").doing(what)?;
            }
            done => done.call(|| "rmdir()").doing(what)?,
        }
        for ancestor in parent.ancestors().take(self.record.made - 1) {
            // Others may be in it, or may just be making theirs.
            if remove_dir(&tree.root, ancestor).is_err() {
                break;
            }
        }
        Ok(())
    }
}

fn populated(events: &OwnedFd) -> Result<bool> {
    let mut text = [0; 256];
    match nix::sys::uio::pread(events, &mut text, 0) {
        Err(Errno::ENODEV) => Ok(false),
        read => {
            let length = read.call(|| "pread(cgroup.events)")?;
            Ok(String::from_utf8_lossy(&text[..length]).lines().any(|line| line == "populated 1"))
        }
    }
}

fn remove_dir(dir: impl AsFd, name: &(impl nix::NixPath + ?Sized)) -> nix::Result<()> {
    match unlinkat(dir, name, UnlinkatFlags::RemoveDir) {
        Err(Errno::ENOENT | Errno::ENODEV) => Ok(()),
        done => done,
    }
}

/// Removes all cgroups below `dir`, the deepest first.
fn remove_below(dir: BorrowedFd<'_>) -> Result<()> {
    for name in children(dir)? {
        if let Some(child) = open_child(dir, &name)? {
            remove_below(child.as_fd())?;
        }
        remove_dir(dir, name.as_c_str()).call(|| format!("rmdir({name:?})"))?;
    }
    Ok(())
}

/// Calls `visit` with `dir` and every cgroup below it. One that vanishes meanwhile is passed over.
pub(super) fn each_below(
    dir: BorrowedFd<'_>,
    visit: &mut dyn FnMut(BorrowedFd<'_>) -> Result<()>,
) -> Result<()> {
    match visit(dir) {
        Err(error) if matches!(crate::error::errno_of(&error), Some(Errno::ENOENT | Errno::ENODEV)) => {
            return Ok(());
        }
        visited => visited?,
    }
    for name in children(dir)? {
        if let Some(child) = open_child(dir, &name)? {
            each_below(child.as_fd(), visit)?;
        }
    }
    Ok(())
}

/// The names of the cgroups in this one. They are opened one at a time: a container can make thousands.
fn children(dir: BorrowedFd<'_>) -> Result<Vec<CString>> {
    let Some(listing) = open_child(dir, c".")? else { return Ok(Vec::new()) };
    let mut listing = nix::dir::Dir::from_fd(listing).call(|| "fdopendir()")?;
    let mut found = Vec::new();
    for entry in listing.iter() {
        let entry = entry.call(|| "readdir()")?;
        let is_dir = entry.file_type() == Some(nix::dir::Type::Directory);
        if is_dir && ![c".", c".."].contains(&entry.file_name()) {
            found.push(entry.file_name().to_owned());
        }
    }
    Ok(found)
}

/// A cgroup in this one; `None` if it has vanished.
fn open_child(dir: BorrowedFd<'_>, name: &CStr) -> Result<Option<OwnedFd>> {
    match fs::openat2(dir, name, OFlag::O_RDONLY | OFlag::O_DIRECTORY, 0, Lookup::Strict) {
        Err(Errno::ENOENT | Errno::ENODEV) => Ok(None),
        opened => Ok(Some(opened.call(|| format!("openat2({name:?})"))?)),
    }
}
