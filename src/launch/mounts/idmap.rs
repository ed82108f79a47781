//! Runs in: host; `hold` in a process of its own. User namespaces for id-mapped mounts: mount_setattr(2).

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use crate::container::handshake::{Done, Link};
use crate::error::{Doing, Result};
use crate::launch::birth::Unadopted;
use crate::plan::id_maps::IdMaps;
use crate::proc::{self, Mounted, Proc};
use crate::sys::fs::{self, OFlag};
use crate::sys::mount::{self, Depth};
use crate::sys::process::{Side, clone3, exit_now};
use crate::sys::{Errno, SysError};

/// A user namespace with these maps. It takes a process to make one, which is gone when this returns.
pub(super) fn user_namespace(proc: &Proc, maps: &IdMaps) -> Result<OwnedFd> {
    let (link, held) = Link::pair()?;
    match clone3(libc::CLONE_NEWUSER as u64, None)? {
        Side::Init => {
            drop(link);
            hold(&held)
        }
        Side::Host(pid, pidfd) => {
            let _holder = Unadopted::new(pidfd);
            proc.write(&format!("{pid}/uid_map"), maps.uid.to_string().as_bytes()).doing(|| "uidMappings")?;
            proc.write(&format!("{pid}/gid_map"), maps.gid.to_string().as_bytes()).doing(|| "gidMappings")?;
            fs::open(&PathBuf::from(format!("/proc/{pid}/ns/user")), OFlag::O_RDONLY).map_err(Into::into)
        }
    }
}

/// Is there until the host has ended or kills it.
fn hold(held: &Link) -> ! {
    drop(held.receive::<Done>());
    exit_now(0)
}

/// Which of the file systems at `from` is the one whose ids can't be mapped: the kernel does not say.
pub(super) fn explained(error: SysError, from: &Path, depth: Depth, user: BorrowedFd<'_>) -> anyhow::Error {
    let refuses = |mounted: &&Mounted| {
        let at = if from.starts_with(&mounted.at) { from } else { &mounted.at };
        let tried =
            mount::clone_path(at, Depth::Top).and_then(|tree| mount::map_ids(tree.as_fd(), Depth::Top, user));
        tried.is_err_and(|e| e.errno == error.errno)
    };
    let mounts = proc::mounts().unwrap_or_default();
    let real = proc::real_path(from).unwrap_or_else(|_| from.to_owned());
    // The newest of the deepest: a /proc that an initrd has moved here is older than the root that it is in.
    let around = mounts.iter().filter(|mounted| real.starts_with(&mounted.at));
    let top = around.max_by_key(|mounted| mounted.at.components().count());
    // The newest first: it covers older ones at its place.
    let below = mounts.iter().rev().filter(|m| depth == Depth::Recursive && m.at.starts_with(&real));
    let culprit = top.into_iter().chain(below).find(refuses);
    let why = if error.errno == Errno::EINVAL {
        "does not support id-mapped mounts"
    } else {
        "is not to be id-mapped"
    };
    match culprit {
        Some(mounted) => {
            let text = format!("file system {} at {:?} {why}", mounted.fstype, mounted.at);
            anyhow::Error::from(error).context(text)
        }
        None => error.into(),
    }
}
