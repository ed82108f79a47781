//! Runs in: init, after the pivot: read-only root, masked and read-only paths.

use std::os::fd::{AsFd, OwnedFd};

use super::empty;
use super::rootfs::Assembled;
use crate::error::{Doing, Result, invalid};
use crate::plan::RootfsPlan;
use crate::rootpath::InRootfs;
use crate::sys::fs;
use crate::sys::mount::{self, Depth, MountAttr, attr};

/// Applies all of it. A path that is not there is passed over; any other failure is the container's.
pub(super) fn apply(plan: &RootfsPlan, assembled: &Assembled, null: Option<OwnedFd>) -> Result<()> {
    for (index, path) in plan.readonly_paths.iter().enumerate() {
        make_readonly(assembled, path).doing(|| format!("linux.readonlyPaths[{index}] {path}"))?;
    }
    let mut files = Cover::new(null);
    let mut dirs = Cover::new(None);
    for (index, path) in plan.masked.iter().enumerate() {
        mask(assembled, path, &mut files, &mut dirs)
            .doing(|| format!("linux.maskedPaths[{index}] {path}"))?;
    }
    if plan.readonly {
        mount::set_attr(assembled.root.dir(), Depth::Top, &readonly()).doing(|| "root.readonly")?;
    }
    Ok(())
}

fn readonly() -> MountAttr {
    MountAttr { set: attr::RDONLY, ..MountAttr::default() }
}

fn make_readonly(assembled: &Assembled, path: &InRootfs) -> Result<()> {
    let Some(there) = assembled.find(path)? else {
        return Ok(());
    };
    let copy = mount::clone_fd(there.as_fd(), Depth::Recursive)?;
    mount::set_attr(copy.as_fd(), Depth::Recursive, &readonly())?;
    assembled.attach(copy.as_fd(), there.as_fd())
}

fn mask(assembled: &Assembled, path: &InRootfs, files: &mut Cover, dirs: &mut Cover) -> Result<()> {
    let Some(there) = assembled.find(path)? else {
        return Ok(());
    };
    match fs::file_type(&fs::stat(&there)?) {
        libc::S_IFDIR => {
            if dirs.mount.is_none() {
                // One file system for all of them, however many they are.
                dirs.mount = Some(empty::directory()?);
            }
            dirs.over(assembled, &there)
        }
        _ => files.over(assembled, &there),
    }
}

/// A mount that is used many times. Only what is attached can be copied before Linux 6.15: so the first
/// use attaches it itself.
struct Cover {
    mount: Option<OwnedFd>,
    attached: bool,
}

impl Cover {
    fn new(mount: Option<OwnedFd>) -> Self {
        Self { mount, attached: false }
    }

    fn over(&mut self, assembled: &Assembled, target: &OwnedFd) -> Result<()> {
        let mount = self.mount.as_ref().ok_or_else(|| invalid("there is nothing to cover it with"))?;
        if self.attached {
            let copy = mount::clone_fd(mount.as_fd(), Depth::Top)?;
            return assembled.attach(copy.as_fd(), target.as_fd());
        }
        assembled.attach(mount.as_fd(), target.as_fd())?;
        self.attached = true;
        Ok(())
    }
}
