//! Where a container's files are while it lives: in memory, in a mount namespace that only this process and
//! its container have. Whatever ends this process, SIGKILL too, takes them away; nothing is ever mounted
//! where the host could see it.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::sched::{CloneFlags, unshare};
use nix::sys::stat::{Mode, mkdirat};

use super::image::Image;
use crate::error::{Doing, Result};
use crate::rootpath::Rootfs;
use crate::sys::fs::{self, Lookup, OFlag};
use crate::sys::mount::{self, MountAttr, attr};
use crate::sys::{Call, Errno, SysError};
use crate::verbs::Runtime;

/// The name of the mount point in the state root, the same empty directory for all containers: each process
/// has its own file system there. Ids of containers don't begin with a dot.
const MOUNT_POINT: &str = ".bundle";
/// The root file system's directory in the bundle.
pub(super) const ROOTFS: &str = "rootfs";

/// From here on this process mounts for itself. What the host mounts and unmounts still arrives, so that it
/// can unmount its disks while containers run. Images have to be opened after this: overlays take only
/// directories of the current namespace.
pub(super) fn leave_hosts_mounts() -> Result<()> {
    unshare(CloneFlags::CLONE_NEWNS).call(|| "unshare(CLONE_NEWNS)")?;
    mount::set_attr_everywhere(&MountAttr { propagation: libc::MS_SLAVE, ..MountAttr::default() })
        .map_err(Into::into)
}

/// A bundle with an overlay over an image.
#[derive(Debug)]
pub(super) struct Stage {
    /// The bundle's directory.
    pub(super) path: PathBuf,
    /// The container's root, as it will be.
    pub(super) rootfs: Rootfs,
    dir: OwnedFd,
}

impl Stage {
    /// Mounts a file system of its own, and in it the overlay.
    pub(super) fn set(runtime: &Runtime, root: &Path, image: &Image) -> Result<Self> {
        let path = std::path::absolute(root.join(MOUNT_POINT))?;
        let dir = memory(runtime).doing(|| format!("bundle {path:?}"))?;
        let overlay = overlay(&dir, &image.dir).doing(|| format!("overlay over image {:?}", image.path))?;
        Ok(Self { path, rootfs: Rootfs::new(overlay), dir })
    }

    /// Writes the bundle's configuration.
    pub(super) fn configure(&self, config: &[u8]) -> Result<()> {
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL;
        let file = fs::openat2(&self.dir, "config.json", flags, 0o600, Lookup::Strict)
            .call(|| "openat2(\"config.json\")");
        fs::write_all(file?, config).doing(|| format!("bundle {:?}: config.json", self.path))
    }
}

fn memory(runtime: &Runtime) -> Result<OwnedFd> {
    let point = make_dir(runtime.store.dir(), MOUNT_POINT, 0o700)?;
    let memory = mount::fresh("tmpfs", attr::NOSUID | attr::NODEV, |fs| {
        mount::fsconfig_string(fs, "source", b"minidocker")?;
        mount::fsconfig_string(fs, "mode", b"0700")
    })?;
    mount::attach(memory.as_fd(), point.as_fd())?;
    Ok(memory)
}

/// The layers are named by descriptor: a path may have colons and commas, which mean something to overlayfs,
/// and be longer than a parameter; and the container can read it, in /proc/self/mountinfo.
fn overlay(dir: &OwnedFd, image: &OwnedFd) -> Result<OwnedFd> {
    // The root of the upper layer is the container's root, whatever the image's directory is on the host.
    let upper = make_dir(dir.as_fd(), "upper", 0o755)?;
    let work = make_dir(dir.as_fd(), "work", 0o700)?;
    let target = make_dir(dir.as_fd(), ROOTFS, 0o755)?;
    let overlay = mount::fresh("overlay", 0, |fs| {
        mount::fsconfig_string(fs, "source", b"minidocker")?;
        layer(fs, "lowerdir", image)?;
        layer(fs, "upperdir", &upper)?;
        layer(fs, "workdir", &work)?;
        // Else a directory of the image can't be renamed.
        mount::fsconfig_string(fs, "redirect_dir", b"on")
    })?;
    mount::attach(overlay.as_fd(), target.as_fd())?;
    Ok(overlay)
}

fn layer(fs: BorrowedFd<'_>, key: &str, dir: &OwnedFd) -> Result<(), SysError> {
    mount::fsconfig_string(fs, key, format!("/proc/self/fd/{}", dir.as_raw_fd()).as_bytes())
}

fn make_dir(parent: BorrowedFd<'_>, name: &str, mode: u32) -> Result<OwnedFd> {
    match mkdirat(parent, name, Mode::from_bits_truncate(mode)) {
        Ok(()) | Err(Errno::EEXIST) => {}
        Err(errno) => Err(errno).call(|| format!("mkdirat({name:?})"))?,
    }
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
    fs::openat2(parent, name, flags, 0, Lookup::Strict)
        .call(|| format!("openat2({name:?})"))
        .map_err(Into::into)
}
