//! What init says to the host while a container is born. Each message below is answered by [`Done`], when the host
//! has done what it is for, or by the end of the link.
//!
//! ```text
//! init                             host
//!  |  MapIds                        |
//!  |------------------------------->|   /proc/PID/uid_map, gid_map; hard limits
//!  |  MoveNetDevices                |
//!  |------------------------------->|   into its network namespace, with their addresses
//!  |  OpenSource(i)                 |
//!  |------------------------------->|   what mounts[i] binds, in its turn: + fd with the answer
//!  |  MapMount(i) + fd              |
//!  |------------------------------->|   a file system that init has made shows other ids
//!  |  RunHostHooks                  |
//!  |------------------------------->|   prestart, createRuntime
//!  |  OfferTerminal + fd            |
//!  |------------------------------->|   to the console socket, or kept by `run`
//!  |  SetScheduling                 |
//!  |------------------------------->|   scheduler and I/O priority
//!  |  Ready                         |
//!  |------------------------------->|   the record is complete
//!  |  OfferListener                 |
//!  |------------------------------->|   taken as soon as it is there, sent to the agent
//!  |  closes the link: waits at its gate (create), or becomes the program (run)
//!  |------------------------------->|
//!
//! init                             start
//!  |                            Go  |
//!  |<-------------------------------|
//!  |  becomes the program, which closes the link
//!  |------------------------------->|
//! ```
//!
//! Into a pid namespace that is joined init is born last. Who speaks until then is the helper that makes the container, and
//! in the place of `SetScheduling` and `Ready` are `Expecting` and `Born`:
//!
//! ```text
//! helper                           host
//!  |  MapIds ... OfferTerminal      |
//!  |------------------------------->|   as above
//!  |  Expecting                     |
//!  |------------------------------->|   from here nothing is believed, and nothing handed out
//!  |  Born + pidfd, and ends        |
//!  |------------------------------->|   scheduler and I/O priority; the record is complete
//!
//! init                             host
//!  |                          Done  |
//!  |<-------------------------------|
//!  |  OfferListener                 |
//!  |------------------------------->|   taken as soon as it is there, sent to the agent
//!  |  closes the link: waits at its gate (create), or becomes the program (run)
//!  |------------------------------->|
//! ```
//!
//! A process that `exec` starts goes by the same words. A helper joins the container's namespaces, and clones the
//! process into its pid namespace when nothing of the host is left in its memory; both have the same end of the link.
//!
//! ```text
//! helper                           host
//!  |  OfferTerminal + fd            |
//!  |------------------------------->|   to the console socket, or kept by `exec`
//!  |  Born + pidfd, and ends        |
//!  |------------------------------->|   processors, scheduler and I/O priority; the container is still there
//!
//! process                          host
//!  |                          Done  |
//!  |<-------------------------------|
//!  |  OfferListener                 |
//!  |------------------------------->|   taken as soon as it is there, sent to the agent
//!  |  becomes the program, which closes the link
//!  |------------------------------->|
//! ```
//!
//! If the host has nothing to give it, there is no `Done`, and the process waits for none. It says `Born` itself before it
//! goes on, for the helper may be killed before that could; the helper does, too, for the process may be stopped.
//!
//! At any point either can say [`Message::Failed`] instead and end.

use std::os::fd::{BorrowedFd, OwnedFd};

use nix::sys::socket::{Shutdown, setsockopt, shutdown, sockopt};
use nix::sys::time::TimeVal;
use serde::{Deserialize, Serialize};

use crate::error::{Failure, Kind, Result, errno_of, failure, kind_of};
use crate::sys::last_calls::{BIRTH_MARK, FAILURE_MARK};
use crate::sys::{Call, Errno, SysError, net};

/// What init says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Message {
    /// A helper's: the pid in the host's pid namespace of the process that it has cloned. Its pidfd comes along.
    Born(i32),
    /// Another helper's: the socket that it was to open comes along.
    Opened,
    /// Write my id maps, and what else only the host can.
    MapIds,
    /// Move the network devices: this process is in its network namespace.
    MoveNetDevices,
    /// Open what the mount at this place of the plan binds; it comes with the answer.
    OpenSource(usize),
    /// Map the ids of the mount at this place of the plan, which comes along, detached.
    MapMount(usize),
    /// Run prestart and createRuntime: the mounts are there.
    RunHostHooks,
    /// Take the terminal's master, which comes along.
    OfferTerminal,
    /// Set my scheduler and I/O priority: I have run all that is not to have them.
    SetScheduling,
    /// Everything that `create` has to do in the container is done.
    Ready,
    /// A helper's, among strangers: all is done but the birth of init. Who is heard from now on may be one of them.
    Expecting,
    /// Send the listener of my filter to the agent. It is about to be my descriptor of this number: it comes
    /// with the filter, and the filter may leave even the call that would say so to the agent.
    OfferListener(u32),
    /// It can't be done, and init is ending.
    Failed(Report),
}

/// What the host answers to each of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done;

/// What `start` says at the gate, and a helper to who runs hooks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Go;

/// An error on its way from one process to the other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    kind: Kind,
    text: String,
    /// What to add if errno turns out to be one of these.
    hints: Hints,
}

/// What an errno means, by its number.
pub type Hints = Vec<(i32, String)>;

impl Report {
    /// What an error about something would say, its errno not known yet.
    pub fn ahead(what: &str, hints: Hints) -> Self {
        Self { kind: Kind::System, text: what.to_owned(), hints }
    }

    /// The same where errno is known.
    pub fn of(error: SysError, hints: &Hints) -> Self {
        let text = format!("{error}{}", meaning(error.errno, hints));
        Self { kind: Kind::System, text, hints: Vec::new() }
    }

    /// With the errno that it turned out to be.
    fn with(self, errno: Errno) -> anyhow::Error {
        let meaning = meaning(errno, &self.hints);
        failure(self.kind, format!("{}: {}{meaning}", self.text, errno.desc().to_lowercase()))
    }
}

fn meaning(errno: Errno, hints: &Hints) -> String {
    let hint = hints.iter().find(|(number, _)| *number == errno as i32);
    hint.map(|(_, text)| format!(": {text}")).unwrap_or_default()
}

impl From<&anyhow::Error> for Report {
    fn from(error: &anyhow::Error) -> Self {
        Self { kind: kind_of(error), text: format!("{error:#}"), hints: Vec::new() }
    }
}

impl From<Report> for anyhow::Error {
    fn from(report: Report) -> Self {
        Failure { kind: report.kind, text: report.text }.into()
    }
}

/// One end of the link between host and init: whole messages, in order, and its end is seen.
#[derive(Debug)]
pub struct Link(OwnedFd);

/// Larger than any message; an error's text is cut to fit.
const LARGEST: usize = 64 << 10;
const LONGEST_TEXT: usize = 32 << 10;

impl Link {
    /// Both ends.
    pub fn pair() -> Result<(Self, Self)> {
        let (a, b) = net::seqpacket_pair()?;
        Ok((Self(a), Self(b)))
    }

    /// The link over a connection that is there already.
    pub fn over(socket: OwnedFd) -> Self {
        Self(socket)
    }

    /// Ends it, whoever has a copy of its descriptor: unix(7), shutdown(2).
    pub fn end(&self) -> Result<()> {
        let ended = shutdown(std::os::fd::AsRawFd::as_raw_fd(&self.0), Shutdown::Both);
        match ended {
            // The other side has done so.
            Ok(()) | Err(Errno::ENOTCONN) => Ok(()),
            failed => failed.call(|| "shutdown(link)").map_err(Into::into),
        }
    }

    /// Its descriptor, for good.
    pub fn into_fd(self) -> OwnedFd {
        self.0
    }

    /// Its descriptor.
    pub fn fd(&self) -> BorrowedFd<'_> {
        std::os::fd::AsFd::as_fd(&self.0)
    }

    /// Init's side: says something that the host has to do something for, and waits until it is done.
    pub fn ask(&self, message: &Message, fd: Option<BorrowedFd<'_>>) -> Result<()> {
        self.send(message, fd)?;
        match self.receive::<Done>()? {
            Some(_) => Ok(()),
            None => Err(failure(Kind::System, "the host side has ended")),
        }
    }

    /// Init's side: asks for something of the host's.
    pub fn ask_for_fd(&self, message: &Message) -> Result<OwnedFd> {
        self.send(message, None)?;
        match self.receive_with_fd::<Done>()? {
            Some((Done, Some(fd))) => Ok(fd),
            Some((Done, None)) => Err(failure(Kind::System, "the host has sent no descriptor")),
            None => Err(failure(Kind::System, "the host side has ended")),
        }
    }

    /// Init's side: the last words. Whether anybody hears them is not init's concern.
    pub fn report(&self, error: &anyhow::Error) {
        let mut report = Report::from(error);
        let mut end = report.text.len().min(LONGEST_TEXT);
        while !report.text.is_char_boundary(end) {
            end -= 1;
        }
        report.text.truncate(end);
        drop(self.send(&Message::Failed(report), None));
    }

    /// Sends one message.
    pub fn send<M: Serialize>(&self, message: &M, fd: Option<BorrowedFd<'_>>) -> Result<()> {
        let bytes = serde_json::to_vec(message)?;
        net::send(self.fd(), &bytes, fd).map(drop).map_err(Into::into)
    }

    /// What the other side has said before it ended, as an error, if it has. It may be somebody else who speaks, and
    /// does not end.
    pub fn last_words(&self) -> Option<anyhow::Error> {
        const MOST: usize = 16;
        for _ in 0..MOST {
            match self.receive::<Message>() {
                Ok(Some(Message::Failed(report))) => return Some(report.into()),
                Ok(Some(_)) => {}
                Ok(None) => return None,
                Err(error) if errno_of(&error) == Some(Errno::EAGAIN) => return None,
                Err(error) => return Some(error),
            }
        }
        None
    }

    /// Receives one message; `None` at the end of the link.
    pub fn receive<M: for<'a> Deserialize<'a>>(&self) -> Result<Option<M>> {
        self.receive_with_fd().map(|received| received.map(|(message, _)| message))
    }

    /// As [`Self::receive_with_fd`], where silence ends after a second ([`Self::end_silence`]): it is asked then whether
    /// there is still something to wait for. An init that is frozen says nothing either; one that has become its program
    /// never will, whoever has got hold of its end of the link.
    pub fn receive_unless<M: for<'a> Deserialize<'a>>(
        &self,
        can_speak: &mut dyn FnMut() -> Result<bool>,
    ) -> Result<Option<(M, Option<OwnedFd>)>> {
        loop {
            match self.receive_with_fd() {
                Err(error) if errno_of(&error) == Some(Errno::EAGAIN) => {
                    if !can_speak()? {
                        return Ok(None);
                    }
                }
                received => return received,
            }
        }
    }

    /// From now on who waits for a message gets EAGAIN after a second.
    pub fn end_silence(&self) -> Result<()> {
        setsockopt(&self.0, sockopt::ReceiveTimeout, &TimeVal::new(1, 0))
            .call(|| "setsockopt(SO_RCVTIMEO)")
            .map_err(Into::into)
    }

    /// Receives one message and the descriptor that came with it.
    pub fn receive_with_fd<M: for<'a> Deserialize<'a>>(&self) -> Result<Option<(M, Option<OwnedFd>)>> {
        let (message, fd) = net::receive(self.fd(), LARGEST)?;
        match message.as_slice() {
            [] => Ok(None),
            message => match (message.strip_prefix(&FAILURE_MARK), message.strip_prefix(&BIRTH_MARK)) {
                (Some(failure), _) => Err(last_words(failure)?),
                (_, Some(pid)) => Ok(Some((serde_json::from_slice(&born(pid)?)?, fd))),
                (None, None) => Ok(Some((serde_json::from_slice(message)?, fd))),
            },
        }
    }
}

/// What init says when its program is gone: errno, and the report that was prepared for it.
fn last_words(message: &[u8]) -> Result<anyhow::Error> {
    let (errno, report) =
        message.split_first_chunk().ok_or_else(|| failure(Kind::System, "half a message"))?;
    let errno = i32::try_from(-i64::from_ne_bytes(*errno)).unwrap_or(0);
    let report: Report = serde_json::from_slice(report)?;
    Ok(report.with(Errno::from_raw(errno)))
}

/// [`Message::Born`] in the words of who has no program any more.
fn born(pid: &[u8]) -> Result<Vec<u8>> {
    let pid = pid.first_chunk().map(|pid| i64::from_ne_bytes(*pid)).and_then(|pid| i32::try_from(pid).ok());
    let pid = pid.ok_or_else(|| failure(Kind::System, "half a message"))?;
    Ok(serde_json::to_vec(&Message::Born(pid))?)
}

#[cfg(test)]
mod tests {
    use super::{Link, Message, Report};

    #[test]
    fn who_goes_on_talking_has_no_last_words() {
        let (ours, theirs) = Link::pair().unwrap();
        ours.end_silence().unwrap();
        for _ in 0..40 {
            theirs.send(&Message::Ready, None).unwrap();
        }
        assert!(ours.last_words().is_none());
        assert!(ours.receive::<Message>().unwrap().is_some());
    }

    /// Whether init asks the host for it, so that the diagram has it. Where each message has to be said what it is.
    fn is_drawn(message: &Message) -> bool {
        match message {
            Message::MapIds
            | Message::MoveNetDevices
            | Message::OpenSource(_)
            | Message::MapMount(_)
            | Message::RunHostHooks
            | Message::OfferTerminal
            | Message::SetScheduling
            | Message::Ready
            | Message::OfferListener(_) => true,
            Message::Born(_) | Message::Opened | Message::Expecting | Message::Failed(_) => false,
        }
    }

    #[test]
    fn the_diagram_has_every_message_that_is_answered_and_no_other() {
        let source = include_str!("handshake.rs");
        let drawn: Vec<&str> = source
            .lines()
            .take_while(|line| !line.contains("closes the link"))
            .filter_map(|line| line.strip_prefix("//!  |  ")?.split([' ', '(']).next())
            .collect();
        let all = [
            Message::Born(1),
            Message::Opened,
            Message::MapIds,
            Message::MoveNetDevices,
            Message::OpenSource(1),
            Message::MapMount(1),
            Message::RunHostHooks,
            Message::OfferTerminal,
            Message::SetScheduling,
            Message::Ready,
            Message::Expecting,
            Message::OfferListener(1),
            Message::Failed(Report::ahead("x", Vec::new())),
        ];
        let name = |message: &Message| {
            let name = format!("{message:?}");
            name.split('(').next().unwrap_or_default().to_owned()
        };
        let answered: Vec<String> = all.iter().filter(|message| is_drawn(message)).map(name).collect();
        assert_eq!(drawn, answered);
    }
}
