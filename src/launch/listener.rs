//! Runs in: host. The listener of a filter's SCMP_ACT_NOTIFY on its way from init to the agent: config-linux.md,
//! "Seccomp" and "The Container Process State".
//!
//! Init can't send it: whatever call it would use may be one that the filter leaves to the agent, which has
//! nothing to answer with yet. So init only says beforehand which number the listener will have, loads the
//! filter and waits; the listener is taken with pidfd_getfd(2), and init goes on when the agent has it.

use std::io::{IoSlice, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, UnixAddr, connect, sendmsg, setsockopt,
    socket, sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike};

use crate::container::handshake::Link;
use crate::error::{Doing, Kind, Result, failure};
use crate::plan::seccomp::Listener;
use crate::spec::OCI_VERSION;
use crate::spec::oci::{ContainerProcessStateBuilder, State};
use crate::sys::fs::{self, OFlag};
use crate::sys::{Call, Errno, process, retry_eintr};

/// Seconds that an agent has to take connection and message.
const PATIENCE: i64 = 10;

/// Takes the listener from init as soon as it is there.
pub(super) fn take(init: BorrowedFd<'_>, number: u32, link: &Link) -> Result<OwnedFd> {
    loop {
        match process::pidfd_getfd(init, number) {
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
    let name = nix::fcntl::readlink(format!("/proc/self/fd/{}", fd.as_raw_fd()).as_str())
        .call(|| "readlink(/proc/self/fd)")?;
    match name == "anon_inode:seccomp notify" {
        true => Ok(fd),
        false => Err(failure(Kind::System, format!("init offered {name:?} as a seccomp listener"))),
    }
}

/// Sends the one message of a connection, with the listener in its first part.
pub(super) fn send(agent: &Listener, bundle: &Path, fd: &OwnedFd, state: State) -> Result<()> {
    let path = bundle.join(&agent.path);
    let what = || format!("linux.seccomp.listenerPath {path:?}");
    let message = message(agent, state)?;
    let socket = open(&path).doing(what)?;
    let fds = [fd.as_raw_fd()];
    let rights = [ControlMessage::ScmRights(&fds)];
    let sent = retry_eintr(|| {
        let parts = [IoSlice::new(&message)];
        sendmsg::<()>(socket.as_raw_fd(), &parts, &rights, MsgFlags::MSG_NOSIGNAL, None)
    });
    let sent = sent.call(|| format!("sendmsg({} bytes, 1 descriptor)", message.len())).doing(what)?;
    // A socket of this kind may take a part only. SIGPIPE is ignored by std.
    let rest = message.get(sent..).unwrap_or_default();
    UnixStream::from(socket).write_all(rest).doing(what)
}

fn message(agent: &Listener, state: State) -> Result<Vec<u8>> {
    let message = ContainerProcessStateBuilder::default()
        .version(OCI_VERSION)
        .fds(vec!["seccompFd".to_owned()])
        .pid(state.pid().unwrap_or(0));
    let message = match &agent.metadata {
        Some(metadata) => message.metadata(metadata.clone()),
        None => message,
    };
    Ok(serde_json::to_vec(&message.state(state).build()?)?)
}

/// Connected through a descriptor of the socket's file: the length of a socket's path is limited.
fn open(path: &Path) -> Result<OwnedFd> {
    let file = fs::open(path, OFlag::O_PATH)?;
    let socket = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)
        .call(|| "socket(AF_UNIX, SOCK_STREAM)")?;
    setsockopt(&socket, sockopt::SendTimeout, &TimeVal::seconds(PATIENCE))
        .call(|| "setsockopt(SO_SNDTIMEO)")?;
    let address = UnixAddr::new(format!("/proc/self/fd/{}", file.as_fd().as_raw_fd()).as_str())
        .call(|| "sockaddr_un")?;
    retry_eintr(|| connect(socket.as_raw_fd(), &address)).call(|| "connect()")?;
    Ok(socket)
}
