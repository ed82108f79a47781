//! Runs in: CRIU's process, before CRIU does.

use std::convert::Infallible;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::unistd::{dup2_stderr, dup2_stdout};

use super::program::Program;
use crate::error::Result;
use crate::sys::Call;
use crate::sys::mount::{self, Depth, MountAttr};
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
    /// A detached copy of it.
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
    if let Some(root) = &begin.root {
        // Mounts of the host go on to appear, and none of its own does on the host.
        let mode = |propagation| MountAttr { propagation, ..MountAttr::default() };
        mount::set_attr_everywhere(&mode(libc::MS_SLAVE))?;
        mount::set_attr(root.mount, Depth::Recursive, &mode(libc::MS_PRIVATE))?;
        // By its path: a descriptor would be of the namespace from before.
        nix::unistd::chdir(root.at).call(|| format!("chdir({:?})", root.at))?;
        mount::attach_on_cwd(root.mount)?;
    }
    for fd in begin.shared.iter().copied().chain([socket.as_fd()]) {
        fcntl(fd, FcntlArg::F_SETFD(FdFlag::empty())).call(|| "fcntl(F_SETFD)")?;
    }
    let worker = program.worker(socket.as_raw_fd());
    nix::unistd::execve(&worker.path, &worker.args, &worker.env)
        .call(|| format!("execve({:?})", worker.path))
        .map_err(Into::into)
}
