//! mount(2), for file systems that take all parameters as one text, as overlayfs does before Linux 6.5. To those
//! fsconfig(2) hands what it has collected when the superblock is made: no value with a comma, none of more than 255
//! bytes, and no word about what was wrong.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags};

use super::{Call, Depth, MountAttr, SysError, attach, attr, clone_path, detach_cwd};
use crate::sys::fs::{self, OFlag};

/// mount(2), "NOTES": a page, with a NUL.
const LONGEST: usize = 4095;

/// Whether the running kernel does so with a file system: fsconfig(2) takes a parameter that nothing has then.
pub fn takes_parameters_whole(fstype: &str) -> bool {
    super::fsopen(fstype).and_then(|fs| super::fsconfig_flag(fs.as_fd(), "minidocker")).is_ok()
}

/// What mount(2) is told.
#[derive(Debug)]
pub struct Whole<'a> {
    /// Such as `overlay`.
    pub fstype: &'a str,
    /// Shown in /proc/self/mountinfo.
    pub source: Option<&'a str>,
    /// Parameters between commas.
    pub data: &'a str,
    /// Of the superblock and of the mount.
    pub read_only: bool,
}

impl Whole<'_> {
    /// A detached mount, with mount attributes from `attr`. mount(2) needs a place in this mount namespace: that is in
    /// a tmpfs, which is on the directory `over` meanwhile.
    pub fn mount(&self, attrs: u64, over: BorrowedFd<'_>) -> Result<OwnedFd, SysError> {
        let back = fs::open(Path::new("."), OFlag::O_PATH | OFlag::O_DIRECTORY)?;
        let scratch = super::fresh("tmpfs", 0, |_| Ok(()))?;
        attach(scratch.as_fd(), over)?;
        nix::unistd::fchdir(&scratch).call(|| "fchdir(tmpfs)")?;
        let made = self.mount_here();
        let gone = detach_cwd();
        nix::unistd::fchdir(&back).call(|| "fchdir(back)")?;
        let made = made?;
        gone?;
        // How access times are kept is one choice of several.
        let clear = if attrs & attr::ATIME == 0 { 0 } else { attr::ATIME };
        super::set_attr(made.as_fd(), Depth::Top, &MountAttr { set: attrs, clear, ..MountAttr::default() })?;
        Ok(made)
    }

    /// On a name in the current directory, which is the tmpfs.
    #[expect(clippy::disallowed_methods, reason = "what fsconfig(2) can't hand over has no other way")]
    fn mount_here(&self) -> Result<OwnedFd, SysError> {
        let what = || format!("mount({:?}, {:?})", self.fstype, self.data);
        if self.data.len() > LONGEST {
            return Err(Errno::E2BIG).call(|| format!("{}: at most {LONGEST} bytes", what()));
        }
        let flags = if self.read_only { MsFlags::MS_RDONLY } else { MsFlags::empty() };
        nix::unistd::mkdir("at", nix::sys::stat::Mode::S_IRWXU).call(|| "mkdir(\"at\")")?;
        nix::mount::mount(self.source, "at", Some(self.fstype), flags, Some(self.data)).call(what)?;
        let copy = clone_path(Path::new("at"), Depth::Top);
        nix::mount::umount2("at", MntFlags::MNT_DETACH).call(|| "umount2(\"at\", MNT_DETACH)")?;
        copy
    }
}
