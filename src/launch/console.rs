//! Runs in: host. Where the master of the container's terminal goes.

use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use super::receiver::Receiver;
use crate::error::{Kind, Result, failure};
use crate::sys::tty;

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
    Connected(Receiver),
}

impl Terminal {
    /// Connects to a console socket, before anything exists.
    pub(super) fn connect(&mut self) -> Result<()> {
        let Self::Send(path) = self else { return Ok(()) };
        let receiver = Receiver::connect("console socket", path)?;
        *self = Self::Connected(receiver);
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
            Self::Connected(receiver) => {
                let name = format!("/dev/pts/{}", tty::number(master.as_fd())?);
                receiver.send(name.as_bytes(), master.as_fd())?;
                Ok(None)
            }
            Self::None | Self::Send(_) => Err(failure(Kind::System, "nobody takes the terminal")),
        }
    }
}
