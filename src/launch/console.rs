//! Runs in: host. Where the master of the container's terminal goes.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};

use crate::container::handshake;
use crate::error::{Doing, Kind, Result, failure};
use crate::sys::{Call, Errno, retry_eintr, tty};

/// How long the listener at a console socket may take to accept, and how often it is tried.
const DEADLINE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(10);

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
        // A listener that accepts nobody would have connect(2) wait for ever.
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket = socket(AddressFamily::Unix, SockType::Stream, flags, None)
            .call(|| "socket(AF_UNIX, SOCK_STREAM)")?;
        let address = UnixAddr::new(&*path).call(|| "sockaddr_un").doing(what)?;
        let end = Instant::now() + DEADLINE;
        loop {
            match retry_eintr(|| connect(socket.as_raw_fd(), &address)) {
                // unix(7): its queue is full. There is nothing to poll for.
                Err(Errno::EAGAIN) if Instant::now() < end => std::thread::sleep(PAUSE),
                connected => break connected.call(|| "connect()").doing(what)?,
            }
        }
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
