//! Runs in: host. What CRIU has from who calls it: namespaces that are there already, and standard descriptors.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use crate::container::external::{is_inherited, namespace_key};
use crate::container::images::Dir;
use crate::criu::{InheritFd, JoinNamespace};
use crate::error::{Doing, Kind, Result, failure};
use crate::init::{Sources, own_if_pipe};
use crate::plan::Plan;
use crate::plan::namespaces::{Join, bit};
use crate::spec::oci::LinuxNamespaceType;
use crate::sys::Call;
use crate::sys::fs::{self, OFlag};

/// What CRIU has from this process.
pub(super) struct Inherited {
    /// Which of its descriptors is what.
    pub(super) keys: Vec<InheritFd>,
    /// The namespaces that there are already.
    pub(super) joined: Vec<JoinNamespace>,
    /// Those descriptors.
    pub(super) shared: Vec<OwnedFd>,
}

impl Inherited {
    pub(super) fn find(plan: &Plan, images: &Dir, sources: &Sources) -> Result<Self> {
        let mut found = Self { keys: Vec::new(), joined: Vec::new(), shared: Vec::new() };
        for (join, fd) in plan.namespaces.join.iter().zip(sources.namespaces()) {
            found.namespace(join, fd)?;
        }
        for (number, name) in (0..).zip(images.descriptors()?) {
            // Two descriptors of one file are one to CRIU.
            if is_inherited(&name) && found.keys.iter().all(|known| known.key != name) {
                let own = own_descriptor(number).doing(|| format!("descriptor {number}"))?;
                give(own.as_fd(), plan).doing(|| format!("descriptor {number}"))?;
                found.inherit(name, own);
            }
        }
        Ok(found)
    }

    fn inherit(&mut self, key: String, fd: OwnedFd) {
        self.keys.push(InheritFd { key, fd: fd.as_raw_fd() });
        self.shared.push(fd);
    }

    fn namespace(&mut self, join: &Join, fd: &OwnedFd) -> Result<()> {
        use LinuxNamespaceType::{Ipc, Network, Pid as Pids, Time, User, Uts};
        if let Some(kind) = [Network, Pids].into_iter().find(|kind| bit(*kind) == join.kind) {
            if let Some((_, key)) = namespace_key(kind) {
                self.inherit(key.to_owned(), fd.try_clone()?);
            }
            return Ok(());
        }
        let names = [(Ipc, "ipc"), (Uts, "uts"), (Time, "time"), (User, "user")];
        let name = names.into_iter().find(|(kind, _)| bit(*kind) == join.kind).map(|(_, name)| name);
        let name = name.ok_or_else(|| {
            failure(
                Kind::Unsupported,
                format!("{join}: criu can't restore into a mount or cgroup namespace that is there"),
            )
        })?;
        let file = format!("/proc/{}/fd/{}", std::process::id(), fd.as_raw_fd());
        self.joined.push(JoinNamespace { kind: name.to_owned(), file });
        Ok(())
    }
}

/// A copy of one of this process's three; what comes after them is the host's /dev/null.
fn own_descriptor(number: u32) -> Result<OwnedFd> {
    let copied = match number {
        0 => nix::unistd::dup(std::io::stdin()),
        1 => nix::unistd::dup(std::io::stdout()),
        2 => nix::unistd::dup(std::io::stderr()),
        _ => return Ok(fs::open("/dev/null", OFlag::O_RDWR)?),
    };
    copied.call(|| format!("dup({number})")).map_err(Into::into)
}

/// In a user namespace CRIU opens a pipe anew, as the root of that.
fn give(fd: BorrowedFd<'_>, plan: &Plan) -> Result<()> {
    let Some(maps) = &plan.namespaces.id_maps else { return Ok(()) };
    let owner = plan.process.as_ref().and_then(|process| maps.uid.on_host(process.uid));
    own_if_pipe(fd, owner, maps.gid.on_host(maps.gid.first()))
}
