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
use crate::plan::namespaces::bit;
use crate::proc::Proc;
use crate::rootpath::{InRootfs, Rootfs};
use crate::spec::oci::LinuxNamespaceType;
use crate::sys::fs::{self, OFlag};
use crate::sys::mount::{self, Depth, MountAttr};
use crate::sys::{Errno, namespace};

const PRIVATE: MountAttr = MountAttr { set: 0, clear: 0, propagation: libc::MS_PRIVATE, userns_fd: 0 };

/// How they are attached.
#[derive(Debug, Default)]
pub(super) struct Additions {
    /// The host's procfs, if there may be a mount that is shared with the host's.
    proc: Option<Proc>,
}

impl Additions {
    /// What it takes; `namespaces` are those to join, as in the plan.
    pub(super) fn prepare(plan: &Plan, namespaces: &[OwnedFd]) -> Result<Self> {
        let may_share = plan.rootfs.mounts.iter().any(MountStep::may_share_with_host)
            || joins_hosts_mounts(plan, namespaces)?;
        Ok(Self { proc: may_share.then(Proc::open).transpose()? })
    }

    /// What of the host's own has to stay open.
    pub(super) fn kept(&self) -> Option<BorrowedFd<'_>> {
        self.proc.as_ref().map(Proc::as_fd)
    }

    /// Attaches the root file system on the current directory, in a mount namespace that is joined: all that is mounted
    /// in it would go where that namespace's mounts do.
    pub(super) fn attach_root(&self, tree: BorrowedFd<'_>) -> Result<()> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
        self.attach(tree, &Rootfs::new(fs::open("/", flags)?), fs::open(".", flags)?.as_fd())
    }

    /// Attaches a mount on a target below this root, where no mount of another namespace gets a copy of it.
    pub(super) fn attach(&self, mount: BorrowedFd<'_>, root: &Rootfs, target: BorrowedFd<'_>) -> Result<()> {
        let around = self.proc.as_ref().map(|proc| Shared::around(proc, root, target)).transpose()?;
        match around.flatten() {
            Some(around) => around.attach_apart(mount, target),
            None => mount::attach(mount, target).map_err(Into::into),
        }
    }
}

/// Whether a mount namespace is joined that may share mounts with the host's: one of another user namespace has begun
/// with slaves of them.
fn joins_hosts_mounts(plan: &Plan, namespaces: &[OwnedFd]) -> Result<bool> {
    let mut joins = plan.namespaces.join.iter().zip(namespaces);
    let Some((_, theirs)) = joins.find(|(join, _)| join.kind == bit(LinuxNamespaceType::Mount)) else {
        return Ok(false);
    };
    let own = fs::open("/proc/self/ns/user", OFlag::O_RDONLY)?;
    namespace::is_same(namespace::owner(theirs.as_fd())?.as_fd(), own.as_fd()).map_err(Into::into)
}

/// A mount of the container's tree that has peers.
struct Shared {
    /// Its root.
    root: OwnedFd,
    /// Where that is.
    at: InRootfs,
}

impl Shared {
    /// The mount that the target is in, if it is such a one. Who renames directories of the rootfs meanwhile can make it
    /// seem to be elsewhere.
    fn around(proc: &Proc, root: &Rootfs, target: BorrowedFd<'_>) -> Result<Option<Self>> {
        const TRIES: u32 = 16;
        (1..TRIES)
            .find_map(|_| Self::find(proc, root, target).ok())
            .map_or_else(|| Self::find(proc, root, target), Ok)
    }

    fn find(proc: &Proc, root: &Rootfs, target: BorrowedFd<'_>) -> Result<Option<Self>> {
        let mounts = proc.own_mounts()?;
        let of = |fd: BorrowedFd<'_>| {
            let id = proc.mount_id(fd)?;
            let found = mounts.iter().find(|mounted| mounted.id == id);
            found
                .ok_or_else(|| failure(Kind::System, format!("/proc/self/mountinfo: there is no mount {id}")))
        };
        let around = of(target)?;
        if around.sharing.group.is_none() {
            return Ok(None);
        }
        let at = around.at.strip_prefix(&of(root.dir())?.at).unwrap_or(&around.at);
        let at = InRootfs::new(at)?;
        // Where the kernel says that it is, there is no link to follow.
        let found = root.open(&at, OFlag::O_PATH | OFlag::O_NOFOLLOW)?;
        match proc.mount_id(found.as_fd())? == around.id {
            true => Ok(Some(Self { root: found, at })),
            false => Err(failure(Kind::System, format!("{at} was exchanged while it was looked up"))),
        }
    }

    /// Attaches a mount in it while it is nobody's peer, and nobody's slave.
    fn attach_apart(&self, mount: BorrowedFd<'_>, target: BorrowedFd<'_>) -> Result<()> {
        let peer = mount::clone_fd(self.root.as_fd(), Depth::Top)?;
        mount::set_attr(self.root.as_fd(), Depth::Top, &PRIVATE)?;
        mount::attach(mount, target)?;
        mount::join_group(self.root.as_fd(), peer.as_fd()).map_err(|error| match error.errno {
            Errno::EINVAL => unsupported(format!(
                "{} is shared with the host, and Linux keeps what is mounted in it from there since 5.15 only: \
                 bind it with rslave or rprivate, or leave this path out",
                self.at
            )),
            _ => error.into(),
        })
    }
}
