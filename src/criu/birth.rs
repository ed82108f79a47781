//! Runs in: CRIU's process, before CRIU does.

use std::convert::Infallible;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{dup2_stderr, dup2_stdout};

use super::program::Program;
use crate::error::Result;
use crate::sys::Call;
use crate::sys::fs::{self, OFlag};
use crate::sys::mount::{self, MountAttr};
use crate::sys::process::{self, BrokenPipe};

/// How CRIU begins.
#[derive(Clone, Copy, Debug, Default)]
pub struct Begin<'a> {
    /// The container's root, in a mount namespace of CRIU's own.
    pub root: Option<Root<'a>>,
    /// The cgroup that it begins in, if not this process's.
    pub cgroup: Option<BorrowedFd<'a>>,
    /// Descriptors that it has, too, by the numbers that they have here. With that of a lock among them the lock is held
    /// until it has taken back what it has done, even if this process is killed.
    pub shared: &'a [BorrowedFd<'a>],
    /// Whether it stays in this process's session, for what it restores to be a job of it.
    pub job: bool,
    /// Whether it has no_new_privs, and with it what it makes.
    pub no_new_privs: bool,
}

/// A directory that is a mount, as CRIU wants the root of what it restores: nobody but CRIU sees that it is one.
#[derive(Clone, Copy, Debug)]
pub struct Root<'a> {
    /// Its path: CRIU begins at it, too.
    pub at: &'a Path,
    /// A detached copy of it, which shares nothing with the host; it may follow it.
    pub mount: BorrowedFd<'a>,
}

/// In the new process.
pub(super) fn become_criu(
    program: &Program,
    begin: &Begin<'_>,
    (socket, output): (&OwnedFd, &OwnedFd),
) -> Result<Infallible> {
    process::reset_signals()?;
    // What it prints is not this command's output.
    dup2_stdout(output).and_then(|()| dup2_stderr(output)).call(|| "dup2(criu's output)")?;
    // A caller that has gone is an error to it, which it takes back what it has done for.
    process::on_broken_pipe(BrokenPipe::IsAnError);
    if !begin.job {
        // What a terminal sends to all of a job is not for it.
        nix::unistd::setsid().call(|| "setsid()")?;
    }
    if begin.no_new_privs {
        nix::sys::prctl::set_no_new_privs().call(|| "prctl(PR_SET_NO_NEW_PRIVS)")?;
    }
    let between = begin.root.as_ref().map(mount_root).transpose()?;
    for fd in begin.shared.iter().copied().chain([socket.as_fd()]).chain(between.as_ref().map(AsFd::as_fd)) {
        fcntl(fd, FcntlArg::F_SETFD(FdFlag::empty())).call(|| "fcntl(F_SETFD)")?;
    }
    let worker = program.worker(socket.as_raw_fd());
    nix::unistd::execve(&worker.path, &worker.args, &worker.env)
        .call(|| format!("execve({:?})", worker.path))
        .map_err(Into::into)
}

/// In a mount namespace of its own. CRIU makes a mount of the container's follow the host by having it share first
/// with where it comes from, which the kernel refuses if that is private: move_mount(2), MOVE_MOUNT_SET_GROUP. So all
/// that CRIU sees follows a namespace in between, and that one the host, as far as it has anything to follow there.
/// With the descriptor that is answered the one in between ends: what has followed it follows the host then, or is private.
fn mount_root(root: &Root<'_>) -> Result<OwnedFd> {
    let everything = |propagation| {
        mount::set_attr_everywhere(&MountAttr { propagation, ..MountAttr::default() })
            .map_err(anyhow::Error::from)
    };
    // Mounts of the host go on to appear, and none of its own does on the host.
    everything(libc::MS_SLAVE)?;
    // By its path: a descriptor would be of the namespace from before.
    nix::unistd::chdir(root.at).call(|| format!("chdir({:?})", root.at))?;
    mount::attach_on_cwd(root.mount)?;
    everything(libc::MS_SHARED)?;
    let between = fs::open("/proc/self/ns/mnt", OFlag::O_RDONLY)?;
    unshare(CloneFlags::CLONE_NEWNS).call(|| "unshare(CLONE_NEWNS)")?;
    // What is mounted while it works is CRIU's alone.
    everything(libc::MS_SLAVE)?;
    Ok(between)
}
