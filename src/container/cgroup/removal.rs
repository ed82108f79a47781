//! The end of a cgroup: its processes, and then itself with all that was made in it.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::{Cgroup, Tree};
use crate::error::{Doing, Kind, Result, failure};
use crate::spec::record::CgroupRecord;
use crate::sys::fs::{self, Lookup, OFlag};
use crate::sys::{Call, Errno, SysError, process, retry_eintr};

impl Cgroup {
    /// Kills all processes in it and below it: cgroup.kill, since Linux 5.14, works on frozen ones too.
    pub fn kill(&self) -> Result<()> {
        match self.write("cgroup.kill", "1") {
            Err(error) if error.errno == Errno::ENOENT => self.signal(libc::SIGKILL),
            Err(error) if error.errno == Errno::ENODEV => Ok(()),
            written => written.map_err(Into::into),
        }
    }

    /// Sends a signal to all processes in it and below it that were there when this began.
    pub fn signal(&self, number: i32) -> Result<()> {
        /// So many pidfds are open at the same time.
        const AT_ONCE: usize = 16;
        for pids in self.processes()?.chunks(AT_ONCE) {
            let mut held = Vec::new();
            for pid in pids {
                match process::pidfd_open(*pid) {
                    Err(error) if error.errno == Errno::ESRCH => {}
                    opened => held.push((*pid, opened?)),
                }
            }
            // Before its pidfd was open, a process may have ended and its pid become a stranger's. If the pid is
            // in the cgroup now, then as that of the process that is held, or that one has ended.
            let still = self.processes()?;
            for (_, pidfd) in held.iter().filter(|(pid, _)| still.contains(pid)) {
                match process::pidfd_signal(pidfd.as_fd(), number) {
                    Err(error) if error.errno == Errno::ESRCH => {}
                    sent => sent?,
                }
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
        match tree.remove_empty(&self.record) {
            Err(error) if matches!(error.errno, Errno::EBUSY | Errno::ENOTEMPTY) => {
                remove_below(self.dir()).doing(what)?;
                tree.remove_empty(&self.record).doing(what)
            }
            done => done.doing(what),
        }
    }
}

impl Tree {
    /// Removes what was made of a cgroup that has none in it: itself, and those above it that nobody else is in.
    pub(super) fn remove_empty(&self, record: &CgroupRecord) -> Result<(), SysError> {
        let mut made = record.path.ancestors().take(record.made);
        let Some(itself) = made.next() else { return Ok(()) };
        remove_dir(&self.root, itself).call(|| "rmdir()")?;
        for ancestor in made {
            // Others may be in it, or may just be making theirs.
            if remove_dir(&self.root, ancestor).is_err() {
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
    walk(dir, &mut |_| Ok(()), &mut |parent, name| {
        remove_dir(parent, name).call(|| format!("rmdir({name:?})")).map_err(Into::into)
    })
}

/// Calls `visit` with `dir` and every cgroup below it. One that vanishes meanwhile is passed over.
pub(super) fn each_below(
    dir: BorrowedFd<'_>,
    visit: &mut dyn FnMut(BorrowedFd<'_>) -> Result<()>,
) -> Result<()> {
    let mut unless_gone = |dir: BorrowedFd<'_>| match visit(dir) {
        Err(error) if matches!(crate::error::errno_of(&error), Some(Errno::ENOENT | Errno::ENODEV)) => Ok(()),
        visited => visited,
    };
    walk(dir, &mut unless_gone, &mut |_, _| Ok(()))
}

/// A cgroup on the way down: what it has that was not looked at yet, and its own name.
struct Level {
    name: CString,
    left: Vec<CString>,
}

/// Goes through `top` and all cgroups below it. `enter` gets each when it is come to, `leave` its parent and its name
/// when all below it has been left. A container can make thousands, side by side or one in the other: so there
/// are never more than two descriptors, no recursion, and the way back is `..`, which stays what it was: cgroups
/// can't be moved.
fn walk(
    top: BorrowedFd<'_>,
    enter: &mut dyn FnMut(BorrowedFd<'_>) -> Result<()>,
    leave: &mut dyn FnMut(BorrowedFd<'_>, &CStr) -> Result<()>,
) -> Result<()> {
    enter(top)?;
    let Some(mut here) = open_child(top, c".")? else { return Ok(()) };
    let mut way = vec![Level { name: CString::default(), left: children(top)? }];
    while let Some(level) = way.last_mut() {
        if let Some(name) = level.left.pop() {
            if let Some(child) = open_child(here.as_fd(), &name)? {
                enter(child.as_fd())?;
                way.push(Level { name, left: children(child.as_fd())? });
                here = child;
            }
            continue;
        }
        let done = way.pop().map(|level| level.name).unwrap_or_default();
        if way.is_empty() {
            break;
        }
        here = match fs::open_parent(&here) {
            // Somebody else has removed it, with all above it maybe: what is left, the next try finds.
            Err(error) if error.errno == Errno::ENOENT => return Ok(()),
            opened => opened?,
        };
        leave(here.as_fd(), &done)?;
    }
    Ok(())
}

/// The names of the cgroups in this one.
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
