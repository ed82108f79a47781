//! Runs in: host. Opening what init can't open itself, or must not: everything of the host that the
//! container gets, before the container exists. I5 of the design: never from the container's own /dev.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use crate::container::cgroup::Tree;
use crate::container::store::Entry;
use crate::error::{Doing, Result, invalid};
use crate::init::Sources;
use crate::plan::devices::Device;
use crate::plan::mounts::{MountStep, Source};
use crate::plan::namespaces::Join;
use crate::plan::options::Propagation;
use crate::plan::{DeviceNodes, Plan};
use crate::spec::oci::LinuxNamespaceType;
use crate::spec::record::CgroupRecord;
use crate::sys::fs::{self, OFlag};
use crate::sys::mount::{self, Depth};
use crate::sys::{Call, process};

/// Opens everything that the plan names, and makes the rootfs the current directory: in a new mount
/// namespace it is then the new namespace's, which a descriptor would not be.
pub(super) fn open(plan: &Plan) -> Result<Sources> {
    let rootfs = open_rootfs(&plan.rootfs.path).doing(|| format!("rootfs {:?}", plan.rootfs.path))?;
    let binds = plan.rootfs.mounts.iter().map(|step| bind(plan, step).doing(|| step.to_string()));
    let devices = plan.rootfs.devices.iter().map(|device| host_device(plan.rootfs.device_nodes, device));
    let null = (!plan.rootfs.masked.is_empty()).then(null_device).transpose();
    let namespaces = plan.namespaces.join.iter().map(namespace);
    Ok(Sources {
        rootfs,
        binds: binds.collect::<Result<_>>()?,
        devices: devices.collect::<Result<_>>()?,
        null: null.doing(|| "linux.maskedPaths")?,
        namespaces: namespaces.collect::<Result<_>>()?,
    })
}

impl Sources {
    /// The container's own cgroup and its own socket for sd_notify(3), once they exist, where a mount shows them.
    pub(super) fn bind_own(
        &mut self,
        plan: &Plan,
        tree: &Tree,
        (entry, cgroup): (&Entry, &CgroupRecord),
    ) -> Result<()> {
        for (step, bind) in plan.rootfs.mounts.iter().zip(&mut self.binds) {
            let own = || -> Result<Option<OwnedFd>> {
                match step.source {
                    Source::OwnCgroup => Ok(Some(tree.clone_mount(cgroup)?)),
                    Source::Notify => Ok(Some(mount::clone_fd(entry.notify_dir()?.as_fd(), Depth::Top)?)),
                    _ => Ok(None),
                }
            };
            if let Some(own) = own().doing(|| step.to_string())? {
                *bind = Some(own);
            }
        }
        Ok(())
    }
}

fn open_rootfs(path: &Path) -> Result<OwnedFd> {
    let dir = fs::open(path, OFlag::O_PATH | OFlag::O_DIRECTORY)?;
    nix::unistd::fchdir(&dir).call(|| "fchdir()")?;
    mount::clone_fd(dir.as_fd(), Depth::Recursive).map_err(Into::into)
}

/// What init could not open as this process can: with less privilege, from another mount namespace than a
/// copy of this one, or still sharing mounts with the host.
fn bind(plan: &Plan, step: &MountStep) -> Result<Option<OwnedFd>> {
    let Source::Bind { from, depth } = &step.source else { return Ok(None) };
    let copied =
        plan.namespaces.makes(LinuxNamespaceType::Mount) && !plan.namespaces.has(LinuxNamespaceType::User);
    if copied && step.propagation == [Propagation::NONE] {
        // Only that it is there: before anything exists.
        return fs::open(from, OFlag::O_PATH).map(|_| None).map_err(Into::into);
    }
    Ok(Some(mount::clone_path(from, *depth)?))
}

fn host_device(nodes: DeviceNodes, device: &Device) -> Result<Option<OwnedFd>> {
    match (nodes, device.file_type) {
        // A FIFO can be made by anybody.
        (DeviceNodes::Made, _) | (DeviceNodes::Bound, libc::S_IFIFO) => Ok(None),
        (DeviceNodes::Bound, _) => bound(device).doing(|| device.name.clone()).map(Some),
    }
}

/// The host's device of this number: at the same path, else by the name that the kernel gives it.
fn bound(device: &Device) -> Result<OwnedFd> {
    let clone = |path: &Path| device_clone(path, device.file_type, device.major, device.minor);
    clone(device.at.seen_from_inside()).or_else(|error| {
        let other = kernel_name(device).and_then(|path| clone(&path).ok());
        other.ok_or(error).doing(|| {
            let (major, minor) = (device.major, device.minor);
            format!("in a user namespace a device is bound from the host, which has no {major}:{minor}")
        })
    })
}

/// sysfs(5): DEVNAME in /sys/dev/char/1:3/uevent is relative to /dev.
fn kernel_name(device: &Device) -> Option<PathBuf> {
    let kind = if device.file_type == libc::S_IFBLK { "block" } else { "char" };
    let uevent = format!("/sys/dev/{kind}/{}:{}/uevent", device.major, device.minor);
    let uevent = fs::read_all(fs::open(uevent.as_str(), OFlag::O_RDONLY).ok()?, 4096).ok()?;
    let uevent = String::from_utf8_lossy(&uevent);
    uevent.lines().find_map(|line| line.strip_prefix("DEVNAME=")).map(|name| Path::new("/dev").join(name))
}

fn null_device() -> Result<OwnedFd> {
    device_clone(Path::new("/dev/null"), libc::S_IFCHR, 1, 3)
}

/// A detached mount of a device of the host, checked to be that device.
fn device_clone(path: &Path, file_type: u32, major: u32, minor: u32) -> Result<OwnedFd> {
    let clone = mount::clone_path(path, Depth::Top)?;
    let stat = fs::stat(&clone)?;
    let number = nix::sys::stat::makedev(major.into(), minor.into());
    match fs::file_type(&stat) == file_type && stat.st_rdev == number {
        true => Ok(clone),
        false => Err(invalid(format!("the host's {path:?} is not device {major}:{minor}"))),
    }
}

fn namespace(join: &Join) -> Result<OwnedFd> {
    let open = || -> Result<OwnedFd> {
        let fd = fs::open(&join.path, OFlag::O_RDONLY | OFlag::O_NONBLOCK)?;
        match process::namespace_type(fd.as_fd()) {
            Ok(kind) if kind == join.kind => Ok(fd),
            Ok(_) => Err(invalid("it is a namespace of another type")),
            Err(error) => Err(error).doing(|| "it is not a namespace"),
        }
    };
    open().doing(|| format!("linux.namespaces[{}] {:?}", join.index, join.path))
}
