//! Runs in: host. A socket of somebody who gets one descriptor: `--console-socket`, `--pidfd-socket`, and the agent
//! of a filter.

use std::io::Write;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, connect, setsockopt, socket, sockopt::SendTimeout,
};
use nix::sys::time::{TimeVal, TimeValLike};

use crate::error::{Doing, Result};
use crate::sys::fs::{self, OFlag};
use crate::sys::{Call, net, retry_eintr};

/// How long it may take to be accepted, and again to be heard, in seconds: EAGAIN after that.
const PATIENCE: i64 = 10;

/// Whoever listens there, connected.
#[derive(Debug)]
pub struct Receiver {
    socket: UnixStream,
    name: String,
}

impl Receiver {
    /// Connects. `what` names the socket in errors.
    pub(super) fn connect(what: &str, path: &Path) -> Result<Self> {
        let name = format!("{what} {path:?}");
        let socket = connected(path).doing(|| name.clone())?.into();
        Ok(Self { socket, name })
    }

    /// One message with exactly one descriptor, in its first part. `words` is not empty: there is no message without
    /// a byte.
    pub(super) fn send(&self, words: &[u8], fd: BorrowedFd<'_>) -> Result<()> {
        let sent = net::send(self.socket.as_fd(), words, Some(fd)).doing(|| self.name.clone())?;
        // A peer that has gone is an error: SIGPIPE is ignored since this program began (sys::entry).
        (&self.socket)
            .write_all(words.get(sent..).unwrap_or_default())
            .call(|| "write()")
            .doing(|| self.name.clone())
    }
}

/// Through a descriptor of the socket's file: the length of a socket's path is limited.
fn connected(path: &Path) -> Result<OwnedFd> {
    let file = fs::open(path, OFlag::O_PATH)?;
    let socket = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)
        .call(|| "socket(AF_UNIX, SOCK_STREAM)")?;
    setsockopt(&socket, SendTimeout, &TimeVal::seconds(PATIENCE)).call(|| "setsockopt(SO_SNDTIMEO)")?;
    let address = net::socket_at(file.as_fd(), "")?;
    retry_eintr(|| connect(socket.as_raw_fd(), &address)).call(|| "connect()")?;
    Ok(socket)
}
