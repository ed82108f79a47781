//! Terminals from the outside: a pty to run in, and the socket at which a runtime hands one over.

use std::io::IoSliceMut;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Instant;

use minidocker_oci::sys::{fs::own, tty};
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::pty::{PtyMaster, grantpt, posix_openpt, ptsname_r, unlockpt};
use nix::sys::socket::{
    AddressFamily, Backlog, ControlMessageOwned, MsgFlags, SockFlag, SockType, UnixAddr, accept4, bind,
    listen, recvmsg, socket,
};
use std::os::fd::AsFd;

use super::PATIENCE;

/// A pty of the host: the test is its master.
#[derive(Debug)]
pub(crate) struct Pty {
    master: PtyMaster,
    pub(crate) path: PathBuf,
}

impl Pty {
    pub(crate) fn open() -> Self {
        let master = posix_openpt(OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let path = ptsname_r(&master).unwrap().into();
        Self { master, path }
    }

    /// The other end, for a command's standard descriptors.
    pub(crate) fn slave(&self) -> OwnedFd {
        let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
        nix::fcntl::open(&self.path, flags, nix::sys::stat::Mode::empty()).unwrap()
    }

    pub(crate) fn resize(&self, rows: u16, columns: u16) {
        set_size(self.master.as_fd(), rows, columns);
    }

    pub(crate) fn type_in(&self, text: &str) {
        assert_eq!(nix::unistd::write(&self.master, text.as_bytes()).unwrap(), text.len());
    }

    /// Reads until `text` has been shown, and answers all that was.
    pub(crate) fn expect(&self, text: &str) -> String {
        expect(self.master.as_fd(), text)
    }
}

/// TIOCSWINSZ.
pub(crate) fn set_size(terminal: std::os::fd::BorrowedFd<'_>, rows: u16, columns: u16) {
    tty::set_size(terminal, tty::Size { rows, columns }).unwrap();
}

/// Reads a terminal's master until it has shown `text`.
pub(crate) fn expect(master: std::os::fd::BorrowedFd<'_>, text: &str) -> String {
    let end = Instant::now() + PATIENCE;
    let mut shown = String::new();
    while !shown.contains(text) {
        let left = end.saturating_duration_since(Instant::now());
        let mut fds = [PollFd::new(master, PollFlags::POLLIN)];
        let ready = minidocker_oci::sys::retry_eintr(|| poll(&mut fds, PollTimeout::try_from(left).unwrap()))
            .unwrap();
        assert!(ready > 0, "no {text:?} in {PATIENCE:?}, but: {shown}");
        let mut buffer = [0; 4096];
        // EIO: nobody has the other end open any more.
        match nix::unistd::read(master, &mut buffer) {
            Ok(n) if n > 0 => shown.push_str(&String::from_utf8_lossy(&buffer[..n])),
            end => panic!("{end:?} before {text:?}: {shown}"),
        }
    }
    shown
}

/// `--console-socket`, and who listens at it.
#[derive(Debug)]
pub(crate) struct ConsoleSocket {
    socket: OwnedFd,
    pub(crate) path: PathBuf,
}

/// What came through a console socket.
#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) payload: Vec<u8>,
    pub(crate) fds: Vec<OwnedFd>,
    /// How many control messages there were.
    pub(crate) messages: usize,
    connection: OwnedFd,
}

impl ConsoleSocket {
    pub(crate) fn listen(path: &Path) -> Self {
        let socket = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).unwrap();
        bind(socket.as_raw_fd(), &UnixAddr::new(path).unwrap()).unwrap();
        listen(&socket, Backlog::new(1).unwrap()).unwrap();
        Self { socket, path: path.to_owned() }
    }

    /// One connection.
    pub(crate) fn accept(&self) -> OwnedFd {
        wait_for(self.socket.as_fd());
        own(accept4(self.socket.as_raw_fd(), SockFlag::SOCK_CLOEXEC).unwrap())
    }

    /// One connection, one message.
    pub(crate) fn receive(&self) -> Received {
        let connection = self.accept();
        wait_for(connection.as_fd());
        let (payload, fds, messages) = receive_from(&connection);
        Received { payload, fds, messages, connection }
    }
}

impl Received {
    /// What comes after the one message: nothing, and at once; `None` if there is no end.
    pub(crate) fn rest(&self) -> Option<Vec<u8>> {
        let mut fds = [PollFd::new(self.connection.as_fd(), PollFlags::POLLIN)];
        let ended = poll(&mut fds, 1_000u16).unwrap() > 0;
        ended.then(|| receive_from(&self.connection).0)
    }
}

fn receive_from(connection: &OwnedFd) -> (Vec<u8>, Vec<OwnedFd>, usize) {
    let mut buffer = vec![0; 8192];
    let mut control = nix::cmsg_space!([i32; 16]);
    let mut parts = [IoSliceMut::new(&mut buffer)];
    let message =
        recvmsg::<()>(connection.as_raw_fd(), &mut parts, Some(&mut control), MsgFlags::MSG_CMSG_CLOEXEC)
            .unwrap();
    let (mut fds, mut messages) = (Vec::new(), 0);
    for control in message.cmsgs().unwrap() {
        messages += 1;
        if let ControlMessageOwned::ScmRights(received) = control {
            fds.extend(received.into_iter().map(own));
        }
    }
    let length = message.bytes;
    (buffer[..length].to_vec(), fds, messages)
}

fn wait_for(fd: std::os::fd::BorrowedFd<'_>) {
    let mut fds = [PollFd::new(fd, PollFlags::POLLIN)];
    let timeout = PollTimeout::try_from(PATIENCE).unwrap();
    assert!(poll(&mut fds, timeout).unwrap() > 0, "nothing came in {PATIENCE:?}");
}
