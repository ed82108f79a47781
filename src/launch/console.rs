//! Runs in: host. Where the master of the container's terminal goes.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::PathBuf;

use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};

use crate::container::handshake;
use crate::error::{Doing, Kind, Result, failure};
use crate::sys::{Call, retry_eintr, tty};

/// What becomes of the terminal's master.
#[derive(Debug)]
pub enum Terminal {
    /// There is no terminal.
    None,
    /// This process serves it in the foreground.
    Keep,
    /// It is sent to whoever listens at this socket: `--console-socket`.
    Send(PathBuf),
    /// The same, connected.
    Connected(OwnedFd),
}

impl Terminal {
    /// Connects to a console socket, before anything exists.
    pub(super) fn connect(&mut self) -> Result<()> {
        let Self::Send(path) = self else { return Ok(()) };
        let what = || format!("console socket {path:?}");
        let socket = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)
            .call(|| "socket(AF_UNIX, SOCK_STREAM)")?;
        let address = UnixAddr::new(&*path).call(|| "sockaddr_un").doing(what)?;
        retry_eintr(|| connect(socket.as_raw_fd(), &address)).call(|| "connect()").doing(what)?;
        *self = Self::Connected(socket);
        Ok(())
    }

    /// Disposes of the master: one message with the pty's name and exactly one descriptor.
    pub(super) fn take(&self, master: OwnedFd) -> Result<Option<OwnedFd>> {
        match self {
            Self::Keep => {
                // Before the program can ask for it.
                let (stdin, stdout) = (std::io::stdin(), std::io::stdout());
                if let Ok(size) = tty::size(stdin.as_fd()).or_else(|_| tty::size(stdout.as_fd())) {
                    tty::set_size(master.as_fd(), size)?;
                }
                Ok(Some(master))
            }
            Self::Connected(socket) => {
                let name = format!("/dev/pts/{}", tty::number(master.as_fd())?);
                handshake::send(socket.as_fd(), name.as_bytes(), Some(master.as_fd()))
                    .doing(|| "console socket")?;
                Ok(None)
            }
            Self::None | Self::Send(_) => Err(failure(Kind::System, "nobody takes the terminal")),
        }
    }
}
