//! Runs in: init; [`Additions::prepare`] in host.
//!
//! What the runtime itself mounts for a container, and `mounts` does not list: masks, read-only paths, devices of the
//! host, the console, the directory of the socket for sd_notify(3).
//!
//! In a bind that is shared with the host's mount these would appear on the host as well, and stay there: that is meant
//! for what `mounts` lists and for what the container mounts. So a mount leaves its peers while one of these is attached
//! in it, and joins them again. What the host mounts or unmounts in that moment does not reach the container.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::error::{Kind, Result, failure, unsupported};
use crate::plan::Plan;
use crate::plan::mounts::MountStep;
use crate::proc::{MountTable, Proc};
use crate::rootpath::{InRootfs, Rootfs};
use crate::spec::oci::LinuxNamespaceType;
use crate::sys::fs::{self, OFlag};
use crate::sys::mount::{self, Depth, MountAttr};
use crate::sys::{Errno, SysError};

const PRIVATE: MountAttr = MountAttr { set: 0, clear: 0, propagation: libc::MS_PRIVATE, userns_fd: 0 };

/// How they are attached.
#[derive(Debug, Default)]
pub(super) struct Additions {
    /// What it takes where there may be a mount that is shared with the host's.
    host: Option<Host>,
}

/// Of the host, opened while this is there.
#[derive(Debug)]
struct Host {
    /// Tells about this process.
    proc: Proc,
    /// Its mounts.
    mounts: MountTable,
}

impl Additions {
    /// In the host's mount namespace.
    pub(super) fn prepare(plan: &Plan) -> Result<Self> {
        let may_share = plan.rootfs.mounts.iter().any(MountStep::may_share_with_host)
            || plan.namespaces.joins(LinuxNamespaceType::Mount);
        let open = || Ok::<_, anyhow::Error>(Host { proc: Proc::open()?, mounts: MountTable::open()? });
        Ok(Self { host: may_share.then(open).transpose()? })
    }

    /// What of the host's own has to stay open.
    pub(super) fn kept(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.host.iter().flat_map(|host| [host.proc.as_fd(), host.mounts.as_fd()])
    }

    /// Attaches the root file system on the current directory, in a mount namespace that is joined: all that is mounted
    /// in it would go where that namespace's mounts do.
    pub(super) fn attach_root(&self, tree: BorrowedFd<'_>) -> Result<()> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
        self.attach(tree, &Rootfs::new(fs::open("/", flags)?), fs::open(".", flags)?.as_fd())
    }

    /// Attaches a mount on a target below this root, where no mount of another namespace gets a copy of it.
    pub(super) fn attach(&self, mount: BorrowedFd<'_>, root: &Rootfs, target: BorrowedFd<'_>) -> Result<()> {
        let around = self.host.as_ref().map(|host| host.shares(root, target)).transpose()?;
        match around.flatten() {
            Some(around) => around.attach_apart(mount, target),
            None => mount::attach(mount, target).map_err(Into::into),
        }
    }
}

impl Host {
    /// The mount that the target is in, if the host has a peer of it. Who renames directories of the rootfs meanwhile can
    /// make it seem to be elsewhere.
    fn shares(&self, root: &Rootfs, target: BorrowedFd<'_>) -> Result<Option<Shared>> {
        const TRIES: u32 = 16;
        let mut tries = (1..TRIES).filter_map(|_| self.find(root, target).ok());
        tries.next().map_or_else(|| self.find(root, target), Ok)
    }

    fn find(&self, root: &Rootfs, target: BorrowedFd<'_>) -> Result<Option<Shared>> {
        let mounts = self.proc.own_mounts()?;
        let of = |fd: BorrowedFd<'_>| {
            let id = self.proc.mount_id(fd)?;
            let found = mounts.iter().find(|mounted| mounted.id == id);
            found
                .ok_or_else(|| failure(Kind::System, format!("/proc/self/mountinfo: there is no mount {id}")))
        };
        let around = of(target)?;
        let group = around.sharing.group;
        if group.is_none() || !self.mounts.mounts()?.iter().any(|mounted| mounted.sharing.group == group) {
            return Ok(None);
        }
        let at = around.at.strip_prefix(&of(root.dir())?.at).unwrap_or(&around.at);
        let at = InRootfs::new(at)?;
        // Where the kernel says that it is, there is no link to follow.
        let found = root.open(&at, OFlag::O_PATH | OFlag::O_NOFOLLOW)?;
        match self.proc.mount_id(found.as_fd())? == around.id {
            true => Ok(Some(Shared { root: found, at })),
            false => Err(failure(Kind::System, format!("{at} was exchanged while it was looked up"))),
        }
    }
}

/// A mount of the container's tree that has a peer on the host.
struct Shared {
    /// Its root.
    root: OwnedFd,
    /// Where that is.
    at: InRootfs,
}

impl Shared {
    /// Attaches a mount in it while it is nobody's peer, and nobody's slave.
    fn attach_apart(&self, mount: BorrowedFd<'_>, target: BorrowedFd<'_>) -> Result<()> {
        let in_vain = |error: SysError, why: &str| match error.errno {
            Errno::EINVAL => unsupported(format!(
                "{} is shared with the host, and what is mounted in it can't be kept from there: {why}; \
                 bind it with rslave or rprivate, or leave this path out",
                self.at
            )),
            _ => error.into(),
        };
        let peer = mount::clone_fd(self.root.as_fd(), Depth::Top)
            .map_err(|error| in_vain(error, "a user namespace does not let go of what is mounted below"))?;
        mount::set_attr(self.root.as_fd(), Depth::Top, &PRIVATE)?;
        mount::attach(mount, target)?;
        mount::join_group(self.root.as_fd(), peer.as_fd())
            .map_err(|error| in_vain(error, "that takes Linux 5.15"))
    }
}
