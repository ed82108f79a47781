//! A connection to a bus: all that is said over it has to be over by one deadline, which includes connecting and
//! authentication.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::fmt;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{self, AddressFamily, MsgFlags, SockFlag, SockType, sockopt};
use nix::sys::time::{TimeVal, TimeValLike};

use super::address::{Place, places};
use super::message::{Message, Method, Type};
use super::value::Value;
use crate::error::{Doing, Kind, Result, failure};
use crate::sys::{Call, Errno, SysError, retry_eintr};

/// A connection, past authentication, with a name on the bus.
#[derive(Debug)]
pub struct Connection {
    socket: OwnedFd,
    /// What has been received and not been looked at.
    inbox: Vec<u8>,
    /// What was not an answer, in the order in which it came.
    signals: VecDeque<Message>,
    serial: u32,
    /// What the bus calls this connection.
    name: String,
    deadline: Instant,
}

/// What a method answered that did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Such as `org.freedesktop.DBus.Error.AccessDenied`.
    pub name: String,
    /// In words.
    pub text: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.text.is_empty() {
            true => write!(f, "{}", self.name),
            false => write!(f, "{} ({})", self.text, self.name),
        }
    }
}

impl std::error::Error for Refusal {}

/// The bus's own object.
const BUS: Method<'_> = Method {
    destination: "org.freedesktop.DBus",
    path: "/org/freedesktop/DBus",
    interface: "org.freedesktop.DBus",
    name: "Hello",
};

impl Connection {
    /// Connects to the first place of the address where somebody listens.
    pub fn open(address: &OsStr, deadline: Instant) -> Result<Self> {
        let socket = connect(&places(address)?, deadline)?;
        let (inbox, signals, name) = (Vec::new(), VecDeque::new(), String::new());
        let mut connection = Self { socket, inbox, signals, serial: 0, name, deadline };
        connection.authenticate().doing(|| "authentication")?;
        let hello = connection.call(BUS, &[])?;
        hello.body.first().and_then(Value::text).unwrap_or_default().clone_into(&mut connection.name);
        Ok(connection)
    }

    /// This process's pid, as who is on the bus counts: another one in another pid namespace, and 0 for who sees none of it.
    pub fn own_pid(&mut self) -> Result<u32> {
        let method = Method { name: "GetConnectionUnixProcessID", ..BUS };
        match self.call(method, &[Value::str(&self.name)])?.body.as_slice() {
            [Value::U32(pid)] => Ok(*pid),
            _ => Err(failure(Kind::System, "the bus has answered without a pid")),
        }
    }

    /// EXTERNAL: the bus asks the kernel who this is. No id is told: in a user namespace it would not be the bus's.
    /// All of it is said at once, so that there is one answer to wait for.
    fn authenticate(&mut self) -> Result<()> {
        self.send(b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n")?;
        for expected in ["DATA", "OK"] {
            let line = self.line(expected)?;
            if line.split(' ').next() != Some(expected) {
                let uid = nix::unistd::geteuid();
                let text = format!("the bus does not let user {uid} in, and says {line:?}");
                return Err(failure(Kind::Unsupported, text));
            }
        }
        Ok(())
    }

    fn line(&mut self, expected: &str) -> Result<String> {
        const LONGEST: usize = 16 << 10;
        loop {
            if let Some(end) = self.inbox.windows(2).position(|pair| pair == b"\r\n") {
                let line = self.inbox.drain(..end + 2).collect::<Vec<_>>();
                return Ok(String::from_utf8_lossy(&line[..end]).into_owned());
            }
            if self.inbox.len() > LONGEST {
                return Err(failure(Kind::System, "what answers there is no bus: its line has no end"));
            }
            self.receive(expected)?;
        }
    }

    /// Calls a method and waits for its answer, which is a [`Refusal`] at the root of the error if it is no.
    pub fn call(&mut self, method: Method<'_>, arguments: &[Value]) -> Result<Message> {
        let what = || format!("{}()", method.name);
        self.serial += 1;
        let serial = self.serial;
        self.send(&Message::call(method, serial, arguments).encode()).doing(what)?;
        loop {
            let message = self.next("answer").doing(what)?;
            match (message.kind, message.reply_to) {
                (Type::Return, Some(to)) if to == serial => return Ok(message),
                (Type::Error, Some(to)) if to == serial => return Err(refusal(message)).doing(what),
                (Type::Signal, _) => self.signals.push_back(message),
                // Of a call that nobody waits for any more, or of a later version.
                _ => {}
            }
        }
    }

    /// Has the bus pass on signals that this rule matches: D-Bus specification, "Match Rules".
    pub fn subscribe(&mut self, rule: &str) -> Result<()> {
        let method = Method { name: "AddMatch", ..BUS };
        self.call(method, &[Value::str(rule)]).map(drop)
    }

    /// Waits for a signal that is somebody's answer; `what` it is, for the error. Those that came while something else
    /// was waited for are looked at first, the others are passed over. What was not subscribed to can be among them, for
    /// everybody on a bus can send signals to one client: whose it is, `answer` has to ask.
    pub fn wait_for<T>(&mut self, what: &str, mut answer: impl FnMut(&Message) -> Option<T>) -> Result<T> {
        while let Some(message) = self.signals.pop_front() {
            if let Some(found) = answer(&message) {
                return Ok(found);
            }
        }
        loop {
            let message = self.next(what)?;
            if let Some(found) = Some(&message).filter(|m| m.kind == Type::Signal).and_then(&mut answer) {
                return Ok(found);
            }
        }
    }

    fn next(&mut self, awaited: &str) -> Result<Message> {
        loop {
            if let Some((message, length)) = Message::decode(&self.inbox)? {
                self.inbox.drain(..length);
                return Ok(message);
            }
            self.receive(awaited)?;
        }
    }

    fn receive(&mut self, awaited: &str) -> Result<()> {
        let mut buffer = [0; 4096];
        self.ready(PollFlags::POLLIN, awaited)?;
        let received = socket::recv(self.socket.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT);
        match received {
            Ok(0) | Err(Errno::ECONNRESET) => {
                let text = format!("the bus has closed the connection, while its {awaited} was waited for");
                Err(failure(Kind::System, text))
            }
            Err(Errno::EAGAIN | Errno::EINTR) => Ok(()),
            received => {
                let count = received.call(|| "recv()")?;
                self.inbox.extend_from_slice(&buffer[..count]);
                Ok(())
            }
        }
    }

    fn send(&mut self, bytes: &[u8]) -> Result<()> {
        let mut left = bytes;
        while !left.is_empty() {
            self.ready(PollFlags::POLLOUT, "readiness to listen")?;
            let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
            match socket::send(self.socket.as_raw_fd(), left, flags) {
                Err(Errno::EAGAIN | Errno::EINTR) => {}
                sent => left = left.get(sent.call(|| "send()")?..).unwrap_or_default(),
            }
        }
        Ok(())
    }

    fn ready(&self, event: PollFlags, awaited: &str) -> Result<()> {
        loop {
            let left = left(self.deadline, awaited)?;
            // Rounded up: else the last millisecond would be spent asking again and again.
            let timeout = PollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX);
            let mut fds = [PollFd::new(self.socket.as_fd(), event)];
            if retry_eintr(|| poll(&mut fds, timeout)).call(|| "poll()")? > 0 {
                return Ok(());
            }
        }
    }
}

/// The refusal at the root of an error, if somebody has refused.
pub fn refusal_of(error: &anyhow::Error) -> Option<&Refusal> {
    error.downcast_ref::<Refusal>()
}

fn refusal(message: Message) -> anyhow::Error {
    let text = message.body.first().and_then(Value::text).unwrap_or_default().to_owned();
    Refusal { name: message.error.unwrap_or_default(), text }.into()
}

fn left(deadline: Instant, awaited: &str) -> Result<Duration> {
    match deadline.saturating_duration_since(Instant::now()) {
        left if left.is_zero() => {
            let text = format!(
                "timed out: its {awaited} has not come; is the bus or systemd stopped or overloaded?"
            );
            Err(failure(Kind::System, text))
        }
        left => Ok(left),
    }
}

/// Where a queue of callers is full, connect(2) waits as long as a send may: socket(7), SO_SNDTIMEO.
fn connect(places: &[Place], deadline: Instant) -> Result<OwnedFd> {
    let mut failed = None;
    for place in places {
        let socket = socket::socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)
            .call(|| "socket(AF_UNIX)")?;
        let patience = TimeVal::microseconds(i64::try_from(left(deadline, "connection")?.as_micros())?);
        socket::setsockopt(&socket, sockopt::SendTimeout, &patience).call(|| "setsockopt(SO_SNDTIMEO)")?;
        let connected =
            place.address().and_then(|address| retry_eintr(|| socket::connect(socket.as_raw_fd(), &address)));
        match connected.call(|| format!("connect({place})")) {
            Ok(()) => return Ok(socket),
            Err(error) => failed = Some(error),
        }
    }
    Err(failed.map_or_else(|| failure(Kind::Invalid, "an address of no place"), explained))
}

fn explained(error: SysError) -> anyhow::Error {
    let hint = match error.errno {
        Errno::EAGAIN => "; nobody takes the connection: is the bus stopped?",
        _ => "",
    };
    SysError { call: format!("{}{hint}", error.call), ..error }.into()
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => write!(f, "{path:?}"),
            Self::Abstract(name) => write!(f, "@{name:?}"),
        }
    }
}
