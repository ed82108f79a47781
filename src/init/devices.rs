//! Runs in: init, before the pivot.

use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};

use nix::fcntl::AtFlags;
use nix::sys::stat::{Mode, SFlag, fstatat, makedev, mknodat};
use nix::unistd::{fchownat, symlinkat};

use super::additions::Additions;
use crate::error::{Doing, Result, invalid};
use crate::plan::devices::{Device, Link};
use crate::plan::{DeviceNodes, RootfsPlan};
use crate::rootpath::{InRootfs, Rootfs};
use crate::sys::{Call, Errno};

/// Makes the devices and links of the plan.
pub(super) fn make(
    plan: &RootfsPlan,
    root: &Rootfs,
    host: &[Option<OwnedFd>],
    additions: &Additions,
) -> Result<()> {
    let mut places = Places { root, last: None };
    for (device, host) in plan.devices.iter().zip(host) {
        match (plan.device_nodes, host) {
            (DeviceNodes::Bound, Some(host)) => bind(device, root, host, additions),
            _ => node(device, &mut places),
        }
        .doing(|| device.name.clone())?;
    }
    plan.links.iter().try_for_each(|l| link(l, &mut places).doing(|| format!("link {}", l.at)))
}

/// The directories that devices are in: nearly always the same one, looked up once.
struct Places<'a> {
    root: &'a Rootfs,
    last: Option<(InRootfs, OwnedFd)>,
}

impl Places<'_> {
    fn of<'p>(&mut self, at: &'p InRootfs) -> Result<(&OwnedFd, &'p OsStr)> {
        let parent = at.parent();
        let name = at.name().ok_or_else(|| invalid("the container's root itself"))?;
        if self.last.as_ref().is_none_or(|(dir, _)| *dir != parent) {
            let dir = self.root.make_dir(&parent)?;
            self.last = Some((parent, dir));
        }
        match &self.last {
            Some((_, dir)) => Ok((dir, name)),
            None => Err(invalid("no directory")),
        }
    }
}

fn node(device: &Device, places: &mut Places<'_>) -> Result<()> {
    let (dir, name) = places.of(&device.at)?;
    let number = makedev(device.major.into(), device.minor.into());
    let kind = SFlag::from_bits_truncate(device.file_type);
    match mknodat(dir, name, kind, Mode::from_bits_truncate(device.mode), number) {
        Err(Errno::EEXIST) => return check_existing(device, dir, name, number),
        made => made.call(|| format!("mknodat({name:?})"))?,
    }
    if device.uid != 0 || device.gid != 0 {
        let (uid, gid) = (device.uid.into(), device.gid.into());
        fchownat(dir, name, Some(uid), Some(gid), AtFlags::AT_SYMLINK_NOFOLLOW)
            .call(|| format!("fchownat({name:?})"))?;
    }
    Ok(())
}

/// config-linux.md, "Devices": a file that is not the device is an error.
fn check_existing(device: &Device, dir: &OwnedFd, name: &OsStr, number: u64) -> Result<()> {
    let there = fstatat(dir, name, AtFlags::AT_SYMLINK_NOFOLLOW).call(|| format!("fstatat({name:?})"))?;
    let same_kind = there.st_mode & libc::S_IFMT == device.file_type;
    match same_kind && (device.file_type == libc::S_IFIFO || there.st_rdev == number) {
        true => Ok(()),
        false => Err(invalid("another file is there already, and it is not this device")),
    }
}

/// In a user namespace: the host's node over an empty file.
fn bind(device: &Device, root: &Rootfs, host: &OwnedFd, additions: &Additions) -> Result<()> {
    let target = root.make_file(&device.at)?;
    additions.attach(host.as_fd(), root, target.as_fd())
}

fn link(link: &Link, places: &mut Places<'_>) -> Result<()> {
    let (dir, name) = places.of(&link.at)?;
    match symlinkat(link.target, dir, name) {
        // An image may bring its own /dev, links and all.
        Err(Errno::EEXIST) => Ok(()),
        made => made.call(|| format!("symlinkat({name:?})")).map_err(Into::into),
    }
}
