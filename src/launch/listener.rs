//! Runs in: host. The listener of a filter's SCMP_ACT_NOTIFY on its way from init to the agent: config-linux.md,
//! "Seccomp" and "The Container Process State".
//!
//! Init can't send it: whatever call it would use may be one that the filter leaves to the agent, which has
//! nothing to answer with yet. So init only says beforehand which number the listener will have, loads the
//! filter and waits; the listener is taken with pidfd_getfd(2), and init goes on when the agent has it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Instant;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::Pid;

use super::receiver::Receiver;
use crate::container::destruction::DEADLINE;
use crate::container::handshake::Link;
use crate::error::{Doing, Kind, Result, failure};
use crate::plan::seccomp::Listener;
use crate::proc::path_of;
use crate::spec::OCI_VERSION;
use crate::spec::oci::{ContainerProcessStateBuilder, State};
use crate::sys::{Call, Errno, process, retry_eintr};

/// Takes the listener from init as soon as it is there.
pub(super) fn take(init: BorrowedFd<'_>, number: u32, link: &Link) -> Result<OwnedFd> {
    let end = Instant::now() + DEADLINE;
    loop {
        match process::pidfd_getfd(init, number) {
            Err(error) if error.errno == Errno::EBADF && Instant::now() > end => {
                let text = format!(
                    "linux.seccomp: the filter is not loaded after {} s: {error}",
                    DEADLINE.as_secs()
                );
                return Err(failure(Kind::System, text));
            }
            // The filter is not loaded yet.
            Err(error) if error.errno == Errno::EBADF => still_loading(link)?,
            taken => return check(taken.doing(|| "linux.seccomp: the listener")?),
        }
    }
}

/// A pause, and the end of it: init says nothing more unless it has failed.
fn still_loading(link: &Link) -> Result<()> {
    let mut fds = [PollFd::new(link.fd(), PollFlags::POLLIN)];
    let heard = retry_eintr(|| poll(&mut fds, PollTimeout::from(1u8))).call(|| "poll()")? > 0;
    match heard {
        false => Ok(()),
        true => Err(link.last_words().unwrap_or_else(|| failure(Kind::System, "init has ended"))),
    }
}

/// pidfd_getfd(2) takes whatever has the number.
fn check(fd: OwnedFd) -> Result<OwnedFd> {
    let name = path_of(fd.as_fd())?;
    match name == Path::new("anon_inode:seccomp notify") {
        true => Ok(fd),
        false => Err(failure(Kind::System, format!("init offered {name:?} as a seccomp listener"))),
    }
}

/// Sends the one message of a connection, with the listener in its first part: about the process of this pid, in a
/// container of this state.
pub(super) fn send(agent: &Listener, bundle: &Path, fd: &OwnedFd, (pid, state): (Pid, State)) -> Result<()> {
    let message = message(agent, pid, state)?;
    Receiver::connect("linux.seccomp.listenerPath", &bundle.join(&agent.path))?.send(&message, fd.as_fd())
}

fn message(agent: &Listener, pid: Pid, state: State) -> Result<Vec<u8>> {
    let message = ContainerProcessStateBuilder::default()
        .version(OCI_VERSION)
        .fds(vec!["seccompFd".to_owned()])
        .pid(pid.as_raw());
    let message = match &agent.metadata {
        Some(metadata) => message.metadata(metadata.clone()),
        None => message,
    };
    Ok(serde_json::to_vec(&message.state(state).build()?)?)
}
