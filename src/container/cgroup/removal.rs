//! The end of a cgroup: itself with all that was made in it, once its processes have ended.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::unistd::{UnlinkatFlags, unlinkat};

use super::{Cgroup, Tree};
use crate::error::{Doing, Result, best_effort, errno_of};
use crate::plan::devices::Rules;
use crate::proc::is_machines_root;
use crate::spec::record::CgroupRecord;
use crate::sys::fs::{self, Lookup, OFlag};
use crate::sys::{Call, Errno, SysError};

impl Cgroup {
    /// Removes it, with the cgroups that the container made in it, and those above it that `create` made
    /// and in which nothing is left. One that was there before `create` stays, without the container's rules of devices.
    pub fn remove(&self, tree: &Tree) -> Result<()> {
        let what = || format!("cgroup {:?}", tree.shown(&self.record.path));
        if self.record.made == 0 {
            if is_machines_root() {
                best_effort("take the rules of devices away", self.change_devices(&Rules::AllowAll));
            }
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
        Err(error) if matches!(errno_of(&error), Some(Errno::ENOENT | Errno::ENODEV)) => Ok(()),
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
