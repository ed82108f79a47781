//! Runs in: host. A socket of the caller's that gets one descriptor: `--console-socket`, `--pidfd-socket`.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, UnixAddr, connect, setsockopt, socket, sockopt::SendTimeout,
};
use nix::sys::time::{TimeVal, TimeValLike};

use crate::container::handshake;
use crate::error::{Doing, Result};
use crate::sys::{Call, retry_eintr};

/// How long it may take to be accepted, and again to be heard, in seconds: EAGAIN after that.
const PATIENCE: i64 = 10;

/// Whoever listens there, connected.
#[derive(Debug)]
pub struct Receiver {
    socket: OwnedFd,
    name: String,
}

impl Receiver {
    /// Connects. `what` names the socket in errors.
    pub(super) fn connect(what: &str, path: &Path) -> Result<Self> {
        let name = format!("{what} {path:?}");
        let socket = connected(path).doing(|| name.clone())?;
        Ok(Self { socket, name })
    }

    /// One message with exactly one descriptor. `words` is not empty: there is no message without a byte.
    pub(super) fn send(&self, words: &[u8], fd: BorrowedFd<'_>) -> Result<()> {
        handshake::send(self.socket.as_fd(), words, Some(fd)).doing(|| self.name.clone())
    }
}

fn connected(path: &Path) -> Result<OwnedFd> {
    let socket = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)
        .call(|| "socket(AF_UNIX, SOCK_STREAM)")?;
    let address = UnixAddr::new(path).call(|| "sockaddr_un")?;
    setsockopt(&socket, SendTimeout, &TimeVal::seconds(PATIENCE)).call(|| "setsockopt(SO_SNDTIMEO)")?;
    retry_eintr(|| connect(socket.as_raw_fd(), &address)).call(|| "connect()")?;
    Ok(socket)
}
