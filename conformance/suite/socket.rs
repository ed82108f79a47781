//! The far end of a socket at which a runtime hands descriptors over: `--console-socket`, `listenerPath`.

use std::cell::RefCell;
use std::io::IoSliceMut;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, UnixAddr, recvmsg};
use serde_json::Value;

use crate::clause::{Outcome, Stop, expect, fail};
use crate::command::{LIMIT, within};
use crate::seen::Seen;
use crate::sys::own;

/// A listening socket. Who connects can send at once, before anybody accepts.
#[derive(Debug)]
pub(crate) struct Receiver {
    listener: UnixListener,
    pub(crate) path: PathBuf,
}

/// What one connection has brought.
#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) text: String,
    pub(crate) descriptors: Vec<OwnedFd>,
    /// In which of the messages the descriptors were, from 0 up.
    pub(crate) messages_with_descriptors: Vec<usize>,
    /// The other side has closed it.
    pub(crate) closed: bool,
}

impl Receiver {
    pub(crate) fn listen(path: &Path) -> Result<Self, Stop> {
        let listener = UnixListener::bind(path)?;
        listener.set_nonblocking(true)?;
        Ok(Self { listener, path: path.to_owned() })
    }

    /// The next connection that is waiting, if there is one.
    fn accept(&self) -> Option<UnixStream> {
        self.listener.accept().ok().map(|(stream, _)| stream)
    }

    /// The next connection, read until it is closed, or for a second more after its first message.
    pub(crate) fn receive(&self) -> Result<Received, Stop> {
        let mut stream = None;
        within(LIMIT, || {
            stream = self.accept();
            stream.is_some()
        });
        let Some(stream) = stream else {
            return fail(format!("nobody has connected to {}", self.path.display()));
        };
        let mut all = Received {
            text: String::new(),
            descriptors: Vec::new(),
            messages_with_descriptors: Vec::new(),
            closed: false,
        };
        let mut messages = 0;
        within(LIMIT, || {
            all.take_one(&stream, messages).is_ok_and(|()| messages == 0) && {
                messages += 1;
                true
            }
        });
        within(Duration::from_secs(1), || {
            if !all.closed && all.take_one(&stream, messages).is_ok() {
                messages += 1;
            }
            all.closed
        });
        Ok(all)
    }

    /// There is no further connection.
    pub(crate) fn has_no_more(&self) -> Outcome {
        expect(self.accept().is_none(), "there is a second connection")
    }
}

impl Received {
    /// Reads one message if it is there.
    fn take_one(&mut self, stream: &UnixStream, index: usize) -> Result<(), Errno> {
        let mut buffer = vec![0; 65_536];
        let mut space = nix::cmsg_space!([i32; 8]);
        let mut slices = [IoSliceMut::new(&mut buffer)];
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_CMSG_CLOEXEC;
        let message = recvmsg::<UnixAddr>(stream.as_raw_fd(), &mut slices, Some(&mut space), flags)?;
        let length = message.bytes;
        for control in message.cmsgs()? {
            if let ControlMessageOwned::ScmRights(numbers) = control {
                self.messages_with_descriptors.push(index);
                self.descriptors.extend(numbers.into_iter().map(own));
            }
        }
        self.closed = length == 0;
        self.text.push_str(&String::from_utf8_lossy(&buffer[..length]));
        Ok(())
    }

    /// The only descriptor.
    pub(crate) fn only(&mut self) -> Result<OwnedFd, Stop> {
        match (self.descriptors.pop(), self.descriptors.len()) {
            (Some(descriptor), 0) => Ok(descriptor),
            (_, more) => fail(format!("not one descriptor has come, but {more} others")),
        }
    }
}

/// The master of a container's terminal.
#[derive(Debug)]
pub(crate) struct Console {
    master: OwnedFd,
    shown: RefCell<String>,
}

impl Console {
    pub(crate) fn new(master: OwnedFd) -> Self {
        Self { master, shown: RefCell::default() }
    }

    pub(crate) fn master(&self) -> &OwnedFd {
        &self.master
    }

    pub(crate) fn type_in(&self, text: &str) -> Outcome {
        nix::unistd::write(&self.master, text.as_bytes())?;
        Ok(())
    }

    /// The program's report, once it is shown.
    pub(crate) fn seen(&self) -> Result<Seen, Stop> {
        let found = |line: &str| serde_json::from_str::<Value>(line).ok().filter(Value::is_object);
        let mut seen = None;
        within(LIMIT, || {
            let ended = self.read_on().is_err();
            let shown = self.shown.borrow();
            seen = shown.split_inclusive('\n').filter(|line| line.ends_with('\n')).find_map(found);
            seen.is_some() || ended
        });
        match seen {
            Some(seen) => Ok(Seen(seen)),
            None => fail(format!("the terminal shows no report, but {:?}", self.shown.borrow())),
        }
    }

    /// What is there to read; EIO once nobody has the other end open.
    fn read_on(&self) -> Result<(), Errno> {
        let mut ready = [PollFd::new(self.master.as_fd(), PollFlags::POLLIN)];
        if poll(&mut ready, 10u16)? == 0 {
            return Ok(());
        }
        let mut buffer = [0; 4096];
        let length = nix::unistd::read(&self.master, &mut buffer)?;
        self.shown.borrow_mut().push_str(&String::from_utf8_lossy(&buffer[..length]));
        Ok(())
    }
}
