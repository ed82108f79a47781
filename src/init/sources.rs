//! Runs in: host, for root; in init, before its ids change, for an ordinary user.
//!
//! Opening what init can't open itself later, or must not: what of the host the container gets, before the first
//! mount; never from the container's own /dev.
//!
//! Root does it before the container exists. An ordinary user may copy mounts only in a mount namespace of his
//! own user namespace: so init does it there, as long as it still has his ids and may look up what he may. What is
//! bound it only finds then, and copies it in its turn, as root's init and host do: see [`super::mounts`].

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use super::additions::Additions;
use crate::error::{Doing, Result, invalid};
use crate::plan::devices::Device;
use crate::plan::mounts::{MountStep, Source};
use crate::plan::namespaces::{Join, bit};
use crate::plan::options::Links;
use crate::plan::{DeviceNodes, Plan};
use crate::spec::oci::LinuxNamespaceType;
use crate::sys::fs::{self, OFlag};
use crate::sys::mount::{self, Depth, MountAttr};
use crate::sys::{Call, namespace as ns};

/// What init needs of the host.
#[derive(Debug)]
pub struct Sources {
    /// The namespaces to join, as in the plan.
    pub(super) namespaces: Vec<OwnedFd>,
    /// How init attaches what is not listed.
    pub(super) additions: Additions,
    /// The rest, once somebody has opened it.
    pub(super) files: Option<Files>,
    /// What mounts show of the container's own.
    own: Option<Own>,
}

/// Files and directories of the host.
#[derive(Debug)]
pub(super) struct Files {
    /// A detached copy of the root file system.
    pub(super) rootfs: OwnedFd,
    /// For each mount, what it binds, where init has to find it before its ids change; the context of a procfs of a
    /// pid namespace that the container joins.
    pub(super) found: Vec<Option<OwnedFd>>,
    /// Whether that context comes from a process that others may have spoken for.
    pub(super) is_suspect: bool,
    /// For each device, the host's own, where they are bound.
    pub(super) devices: Vec<Option<OwnedFd>>,
    /// The host's /dev/null, checked to be it.
    pub(super) null: Option<OwnedFd>,
}

/// What there is on the host of the container itself.
#[derive(Clone, Debug)]
pub struct Own {
    /// The cgroup that it is in.
    pub cgroup: PathBuf,
    /// The directory with its socket for sd_notify(3), if it has one.
    pub notify: PathBuf,
}

impl Own {
    /// What of it a mount shows, if it does.
    pub fn shown_by(&self, source: &Source) -> Option<&Path> {
        match source {
            Source::OwnCgroup => Some(&self.cgroup),
            Source::Notify => Some(&self.notify),
            Source::Fresh(_) | Source::Bind { .. } | Source::Remount(_) => None,
        }
    }
}

impl Sources {
    /// Makes the rootfs the current directory: in a new mount namespace it is then the new namespace's, which a
    /// descriptor would not be. And opens what the plan names, as far as this process can.
    pub fn open(plan: &Plan) -> Result<Self> {
        let path = &plan.rootfs.path;
        let rootfs = enter_rootfs(path).doing(|| format!("rootfs {path:?}"))?;
        let namespaces = plan.namespaces.join.iter().map(namespace).collect::<Result<Vec<_>>>()?;
        let additions = Additions::prepare(plan)?;
        let files = match plan.authority.has_capabilities() {
            true => Some(Files::open(plan, &rootfs)?),
            false => None,
        };
        Ok(Self { namespaces, additions, files, own: None })
    }

    /// What is the container's own, once it is there.
    pub fn show_own(&mut self, own: Own) {
        self.own = Some(own);
    }

    /// An ordinary user's: in the new mount namespace, its rootfs the current directory.
    pub(super) fn open_late(&mut self, plan: &Plan) -> Result<()> {
        if self.files.is_some() {
            return Ok(());
        }
        let path = &plan.rootfs.path;
        let rootfs =
            fs::open(".", OFlag::O_PATH | OFlag::O_DIRECTORY).doing(|| format!("rootfs {path:?}"))?;
        let mut files = Files::open(plan, &rootfs)?;
        let find = |step: &MountStep| self.find(step).doing(|| step.to_string());
        files.found = plan.rootfs.mounts.iter().map(find).collect::<Result<_>>()?;
        self.files = Some(files);
        Ok(())
    }

    fn find(&self, step: &MountStep) -> Result<Option<OwnedFd>> {
        if let Source::Bind { from, links, .. } = &step.source {
            return find(from, *links).map(Some);
        }
        let own = self.own.as_ref().and_then(|own| own.shown_by(&step.source));
        own.map(|path| find(path, Links::Followed)).transpose()
    }

    /// The namespaces to join, as in the plan.
    pub fn namespaces(&self) -> &[OwnedFd] {
        &self.namespaces
    }

    /// The same, each with what the plan says of it.
    pub(super) fn joins<'s>(&'s self, plan: &'s Plan) -> impl Iterator<Item = (&'s Join, &'s OwnedFd)> {
        plan.namespaces.join.iter().zip(&self.namespaces)
    }

    /// The one of this type.
    pub(super) fn joined<'s>(
        &'s self,
        plan: &'s Plan,
        kind: LinuxNamespaceType,
    ) -> Option<(&'s Join, &'s OwnedFd)> {
        self.joins(plan).find(|(join, _)| join.kind == bit(kind))
    }

    /// What has been opened.
    pub(super) fn files(&mut self) -> Result<&mut Files> {
        self.files.as_mut().ok_or_else(|| invalid("nothing of the host has been opened"))
    }
}

impl Files {
    fn open(plan: &Plan, rootfs: &OwnedFd) -> Result<Self> {
        let path = &plan.rootfs.path;
        let nodes = plan.rootfs.device_nodes;
        let null = (!plan.rootfs.masked.is_empty()).then(null_device).transpose();
        Ok(Self {
            rootfs: mount::clone_fd(rootfs.as_fd(), Depth::Recursive).doing(|| format!("rootfs {path:?}"))?,
            found: plan.rootfs.mounts.iter().map(|_| None).collect(),
            is_suspect: false,
            devices: plan.rootfs.devices.iter().map(|d| host_device(nodes, d)).collect::<Result<_>>()?,
            null: null.doing(|| "linux.maskedPaths")?,
        })
    }
}

/// What a bind names: the first half of [`mount_found`].
pub fn find(from: &Path, links: Links) -> Result<OwnedFd> {
    let flags = match links {
        Links::Followed => OFlag::O_PATH,
        Links::Bound | Links::Copied => OFlag::O_PATH | OFlag::O_NOFOLLOW,
    };
    fs::open(from, flags).map_err(Into::into)
}

/// A detached mount of it; a link that is to be copied stays what it is.
pub fn mount_found(found: OwnedFd, links: Links, depth: Depth) -> Result<OwnedFd> {
    if links == Links::Copied && fs::file_type(&fs::stat(&found)?) == libc::S_IFLNK {
        return Ok(found);
    }
    mount::clone_fd(found.as_fd(), depth).map_err(Into::into)
}

fn enter_rootfs(path: &Path) -> Result<OwnedFd> {
    let dir = fs::open(path, OFlag::O_PATH | OFlag::O_DIRECTORY)?;
    nix::unistd::fchdir(&dir).call(|| "fchdir()")?;
    Ok(dir)
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
    if fs::file_type(&stat) != file_type || stat.st_rdev != number {
        return Err(invalid(format!("the host's {path:?} is not device {major}:{minor}")));
    }
    // A copy of a shared mount is shared with it: what the container mounts over its /dev/null would be over the
    // host's as well. mount_namespaces(7), "Shared subtrees".
    let private = MountAttr { propagation: libc::MS_PRIVATE, ..MountAttr::default() };
    mount::set_attr(clone.as_fd(), Depth::Top, &private)?;
    Ok(clone)
}

fn namespace(join: &Join) -> Result<OwnedFd> {
    let open = || -> Result<OwnedFd> {
        let fd = fs::open(&join.path, OFlag::O_RDONLY | OFlag::O_NONBLOCK)?;
        match ns::kind(fd.as_fd()) {
            Ok(kind) if kind == join.kind => refuse_own(kind, &fd).map(|()| fd),
            Ok(_) => Err(invalid("it is a namespace of another type")),
            Err(error) => Err(error).doing(|| "it is not a namespace"),
        }
    };
    open().doing(|| join.to_string())
}

/// Two that a container can't have in common with the runtime by joining: setns(2) into one's own user namespace is
/// an error, and mounts in the runtime's own have to be taken away in the end. All others are as if not listed.
fn refuse_own(kind: u64, fd: &OwnedFd) -> Result<()> {
    let path = match kind {
        kind if kind == bit(LinuxNamespaceType::User) => "/proc/self/ns/user",
        kind if kind == bit(LinuxNamespaceType::Mount) => "/proc/self/ns/mnt",
        _ => return Ok(()),
    };
    let own = fs::open(path, OFlag::O_RDONLY)?;
    match ns::is_same(own.as_fd(), fd.as_fd())? {
        true => Err(invalid("it is the runtime's own: leave it out of linux.namespaces")),
        false => Ok(()),
    }
}
