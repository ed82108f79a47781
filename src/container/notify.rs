//! sd_notify(3) for a container's program, by a socket between it and the service manager's.
//!
//! The program finds a socket of its own in `/run/notify`, a read-only mount of a directory beside the container's
//! record; whoever starts the container listens there until the program is ready, and tells the manager, with the
//! program's pid in the manager's pid namespace. The manager's own socket is not given away: the program's words would
//! come from a process that is not the service's (`NotifyAccess=`), it could say more than that it is ready, and an
//! abstract socket can't be bound. Nobody stays behind for it: `start` and a detached `run` return when the program
//! is ready or has ended, as with runc, which is what a unit of `Type=notify` waits for.

use std::ffi::OsStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockType, UnixAddr, bind, connect, recv, setsockopt, socket,
    sockopt::SendTimeout,
};
use nix::sys::time::{TimeVal, TimeValLike};
use nix::unistd::{Pid, pipe2};

use super::store::{Entry, NOTIFY_SOCKET as SOCKET};
use crate::error::{Doing, Result, best_effort, invalid};
use crate::sys::{Call, Errno, fs, net, process, retry_eintr};

/// The service manager's socket: `NOTIFY_SOCKET` in the runtime's own environment.
#[derive(Clone, Debug)]
pub struct Manager {
    address: UnixAddr,
}

impl Manager {
    /// sd_notify(3), "Environment": an absolute path, or an abstract socket's name behind an `@`.
    pub fn parse(value: &OsStr) -> Result<Self> {
        let what = || format!("NOTIFY_SOCKET {value:?}");
        let address = match value.as_bytes() {
            [b'/', ..] => UnixAddr::new(value),
            [b'@', name @ ..] => UnixAddr::new_abstract(name),
            _ => {
                return Err(invalid("neither an absolute path nor the name of an abstract socket"))
                    .doing(what);
            }
        };
        Ok(Self { address: address.call(|| "sockaddr_un").doing(what)? })
    }
}

/// The container's end: made before the program runs, so that no word is lost.
#[derive(Debug)]
pub struct Inbox {
    inner: OwnedFd,
    manager: OwnedFd,
}

impl Inbox {
    /// Listens in the container's directory, once the manager is there to be told.
    pub fn open(entry: &Entry, manager: &Manager) -> Result<Self> {
        let manager = connected(manager).doing(|| "NOTIFY_SOCKET")?;
        let inner = listening(entry).doing(|| SOCKET)?;
        Ok(Self { inner, manager })
    }

    /// For the process of this pid, as the manager sees it.
    pub fn of(self, pid: Pid) -> Proxy {
        Proxy { inbox: self, pid }
    }
}

fn connected(manager: &Manager) -> Result<OwnedFd> {
    /// Seconds that a manager may leave its socket full.
    const PATIENCE: i64 = 10;
    let socket = datagrams(SockFlag::SOCK_CLOEXEC)?;
    setsockopt(&socket, SendTimeout, &TimeVal::seconds(PATIENCE)).call(|| "setsockopt(SO_SNDTIMEO)")?;
    connect(socket.as_raw_fd(), &manager.address).call(|| format!("connect({})", manager.address))?;
    Ok(socket)
}

fn listening(entry: &Entry) -> Result<OwnedFd> {
    let dir = entry.notify_dir()?;
    // Of a `start` that was killed.
    fs::unlink(dir.as_fd(), OsStr::new(SOCKET))?;
    let socket = datagrams(SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK)?;
    let address = net::socket_at(dir.as_fd(), SOCKET)?;
    // For a program of any id: nothing but bind(2) can give a socket its mode without naming it once more.
    let own = process::umask(0);
    let bound = bind(socket.as_raw_fd(), &address).call(|| "bind()");
    process::umask(own);
    bound?;
    Ok(socket)
}

fn datagrams(flags: SockFlag) -> Result<OwnedFd> {
    let made = socket(AddressFamily::Unix, SockType::Datagram, flags, None);
    made.call(|| "socket(AF_UNIX, SOCK_DGRAM)").map_err(Into::into)
}

/// Who tells the manager that a program is ready.
#[derive(Debug)]
pub struct Proxy {
    inbox: Inbox,
    pid: Pid,
}

impl Proxy {
    /// Readable when the program has said something.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.inbox.inner.as_fd()
    }

    /// Reads what there is; true once the program has said that it is ready and the manager has been told.
    /// Everything else, and descriptors that come along, are dropped.
    pub fn pass_on(&self) -> Result<bool> {
        /// A program that never stops talking must not keep this from looking elsewhere.
        const AT_ONCE: u32 = 64;
        let mut message = [0; 4096];
        for _ in 0..AT_ONCE {
            match recv(self.fd().as_raw_fd(), &mut message, MsgFlags::MSG_DONTWAIT) {
                Ok(length) if says_ready(&message[..length]) => return self.tell().map(|()| true),
                Ok(_) | Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return Ok(false),
                Err(errno) => return Err(errno).call(|| "recv(notify.sock)").map_err(Into::into),
            }
        }
        Ok(false)
    }

    fn tell(&self) -> Result<()> {
        let words = format!("MAINPID={}\nREADY=1\n", self.pid);
        let told = net::send(self.inbox.manager.as_fd(), words.as_bytes(), None);
        told.map(drop).doing(|| "NOTIFY_SOCKET")
    }

    /// For who does not stay: returns when the manager has been told, or the process has ended.
    pub fn wait(self, process: BorrowedFd<'_>) -> Result<()> {
        loop {
            let mut fds =
                [PollFd::new(process, PollFlags::POLLIN), PollFd::new(self.fd(), PollFlags::POLLIN)];
            retry_eintr(|| poll(&mut fds, PollTimeout::NONE)).call(|| "poll()")?;
            let ended = fds[0].any().unwrap_or(false);
            // Its last word may have been that it is ready.
            if self.pass_on()? {
                best_effort("wait for the service manager", self.barrier());
                return Ok(());
            }
            if ended {
                return Ok(());
            }
        }
    }

    /// sd_notify_barrier(3): the manager looks up who has told it, so that this process must not be gone by then.
    /// The end of the pipe says that all before it has been read.
    fn barrier(&self) -> Result<()> {
        /// Milliseconds.
        const PATIENCE: u16 = 5_000;
        let (heard, passed) = pipe2(OFlag::O_CLOEXEC).call(|| "pipe2()")?;
        net::send(self.inbox.manager.as_fd(), b"BARRIER=1", Some(passed.as_fd()))?;
        drop(passed);
        let mut fds = [PollFd::new(heard.as_fd(), PollFlags::POLLIN)];
        retry_eintr(|| poll(&mut fds, PATIENCE)).call(|| "poll()")?;
        Ok(())
    }
}

/// One assignment a line.
fn says_ready(message: &[u8]) -> bool {
    message.split(|byte| *byte == b'\n').any(|line| line == b"READY=1")
}

#[cfg(test)]
mod tests {
    use super::{Manager, OsStr, says_ready};

    #[test]
    fn ready_is_a_line_of_its_own() {
        for yes in ["READY=1", "READY=1\n", "STATUS=x\nREADY=1\nX=y"] {
            assert!(says_ready(yes.as_bytes()), "{yes}");
        }
        for no in ["", "READY=0", "READY=10", "STATUS=READY=1", " READY=1", "ready=1"] {
            assert!(!says_ready(no.as_bytes()), "{no}");
        }
    }

    #[test]
    fn a_manager_has_a_path_or_an_abstract_name() {
        for good in ["/run/notify", "@name"] {
            assert!(Manager::parse(OsStr::new(good)).is_ok(), "{good}");
        }
        for bad in ["run/notify", "vsock:2:1", "", "/a\0b", &format!("/{}", "x".repeat(200))] {
            let error = format!("{:#}", Manager::parse(OsStr::new(bad)).unwrap_err());
            assert!(error.starts_with("NOTIFY_SOCKET"), "{error}");
        }
    }
}
