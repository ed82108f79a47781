//! Runs in: host. A conversation with rtnetlink(7), one request at a time.
//!
//! The crate rtnetlink would bring 0.9 MB of code for every kind of link into a program of 3 MB, and an executor, for
//! six requests. Of the same family netlink-packet-core does the framing; the attributes stay bytes, so that what
//! is read of an address or a route is written back as it was, whatever newer kernels add to it.

use std::cell::Cell;
use std::os::fd::{AsRawFd, OwnedFd};

use netlink_packet_core::{
    DecodeError, Emitable, ErrorMessage, NLA_F_NESTED, NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL,
    NLM_F_REQUEST, NetlinkDeserializable, NetlinkHeader, NetlinkMessage, NetlinkPayload, NetlinkSerializable,
    Nla, NlasIterator,
};
use nix::sys::socket::{MsgFlags, recv, send};

use crate::error::{Doing, Kind, Result, errno_of, failure};
use crate::sys::{Call, Errno, SysError, retry_eintr};

/// An attribute: its type and what it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Attribute(pub(super) u16, pub(super) Vec<u8>);

impl Nla for Attribute {
    fn value_len(&self) -> usize {
        self.1.len()
    }

    fn kind(&self) -> u16 {
        self.0
    }

    fn emit_value(&self, buffer: &mut [u8]) {
        buffer.copy_from_slice(&self.1);
    }
}

/// A link, an address or a route, as it is asked for, answered or set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Object {
    /// RTM_*
    pub(super) kind: u16,
    /// ifinfomsg, ifaddrmsg or rtmsg.
    pub(super) header: Vec<u8>,
    pub(super) attributes: Vec<Attribute>,
}

/// How much precedes the attributes: rtnetlink(7).
const fn header_size(kind: u16) -> usize {
    match kind {
        libc::RTM_NEWLINK | libc::RTM_GETLINK | libc::RTM_SETLINK => 16,
        libc::RTM_NEWADDR | libc::RTM_GETADDR => 8,
        libc::RTM_NEWROUTE | libc::RTM_GETROUTE => 12,
        _ => 0,
    }
}

impl Object {
    /// With a header that is all zero, which means any.
    pub(super) fn new(kind: u16) -> Self {
        Self { kind, header: vec![0; header_size(kind)], attributes: Vec::new() }
    }

    pub(super) fn with(mut self, kind: u16, value: impl Into<Vec<u8>>) -> Self {
        self.attributes.push(Attribute(kind, value.into()));
        self
    }

    /// As the kernel reads names: NUL-terminated.
    pub(super) fn with_name(self, kind: u16, name: &str) -> Self {
        self.with(kind, [name.as_bytes(), b"\0"].concat())
    }

    pub(super) fn get(&self, kind: u16) -> Option<&[u8]> {
        self.attributes.iter().find(|a| a.0 & !NLA_F_NESTED == kind).map(|a| a.1.as_slice())
    }

    pub(super) fn number(&self, kind: u16) -> Option<u32> {
        self.get(kind)?.try_into().ok().map(u32::from_ne_bytes)
    }

    pub(super) fn name(&self, kind: u16) -> Option<String> {
        let text = self.get(kind)?;
        Some(String::from_utf8_lossy(text.strip_suffix(b"\0").unwrap_or(text)).into_owned())
    }

    /// A number of the header, at this offset.
    pub(super) fn field(&self, offset: usize) -> u32 {
        let bytes = self.header.get(offset..offset + 4).and_then(|bytes| bytes.try_into().ok());
        bytes.map_or(0, u32::from_ne_bytes)
    }

    pub(super) fn set_field(&mut self, offset: usize, value: u32) {
        if let Some(bytes) = self.header.get_mut(offset..offset + 4) {
            bytes.copy_from_slice(&value.to_ne_bytes());
        }
    }
}

impl NetlinkSerializable for Object {
    fn message_type(&self) -> u16 {
        self.kind
    }

    fn buffer_len(&self) -> usize {
        self.header.len() + self.attributes.as_slice().buffer_len()
    }

    fn serialize(&self, buffer: &mut [u8]) {
        let (header, attributes) = buffer.split_at_mut(self.header.len());
        header.copy_from_slice(&self.header);
        self.attributes.as_slice().emit(attributes);
    }
}

impl NetlinkDeserializable for Object {
    type Error = DecodeError;

    fn deserialize(header: &NetlinkHeader, payload: &[u8]) -> Result<Self, DecodeError> {
        let kind = header.message_type;
        let (header, rest) =
            payload.split_at_checked(header_size(kind)).ok_or("half a message".to_owned())?;
        let attributes = NlasIterator::new(rest).map(|nla| {
            let nla = nla?;
            let nested = if nla.nested_flag() { NLA_F_NESTED } else { 0 };
            Ok(Attribute(nla.kind() | nested, nla.value().to_vec()))
        });
        Ok(Self {
            kind,
            header: header.to_vec(),
            attributes: attributes.collect::<Result<_, DecodeError>>()?,
        })
    }
}

impl From<Object> for NetlinkPayload<Object> {
    fn from(object: Object) -> Self {
        Self::InnerMessage(object)
    }
}

/// A NETLINK_ROUTE socket: it speaks for the network namespace that it was opened in, and keeps that alive.
#[derive(Debug)]
pub(super) struct Socket {
    fd: OwnedFd,
    sequence: Cell<u32>,
}

impl Socket {
    pub(super) fn new(fd: OwnedFd) -> Self {
        Self { fd, sequence: Cell::new(0) }
    }

    /// The one object that is asked for; `None` if there is none.
    pub(super) fn find(&self, object: Object) -> Result<Option<Object>> {
        match self.request(object, NLM_F_REQUEST | NLM_F_ACK) {
            Err(error) if errno_of(&error) == Some(Errno::ENODEV) => Ok(None),
            found => Ok(found?.pop()),
        }
    }

    /// All objects of a kind.
    pub(super) fn dump(&self, object: &Object) -> Result<Vec<Object>> {
        const TRIES: u32 = 16;
        for _ in 0..TRIES {
            match self.request(object.clone(), NLM_F_REQUEST | NLM_F_DUMP) {
                Err(error) if errno_of(&error) == Some(Errno::EINTR) => {}
                done => return done,
            }
        }
        Err(failure(Kind::System, "the network's configuration changes faster than it can be read"))
    }

    /// Makes a new object.
    pub(super) fn add(&self, object: Object) -> Result<()> {
        self.request(object, NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL).map(drop)
    }

    /// Changes an object that is there.
    pub(super) fn set(&self, object: Object) -> Result<()> {
        self.request(object, NLM_F_REQUEST | NLM_F_ACK).map(drop)
    }

    fn request(&self, object: Object, flags: u16) -> Result<Vec<Object>> {
        let what = format!("rtnetlink request {}", object.kind);
        let mut message = NetlinkMessage::from(object);
        self.sequence.set(self.sequence.get().wrapping_add(1));
        message.header.flags = flags;
        message.header.sequence_number = self.sequence.get();
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        retry_eintr(|| send(self.fd.as_raw_fd(), &bytes, MsgFlags::empty())).call(|| what.clone())?;
        self.answer(&what)
    }

    /// All that is answered to the last request. What the kernel had to say to an earlier one is passed over.
    fn answer(&self, what: &str) -> Result<Vec<Object>> {
        // The kernel fills at most 32 KiB of a dump at once.
        let mut buffer = vec![0; 128 << 10];
        let mut objects = Vec::new();
        let mut interrupted = false;
        loop {
            let length = retry_eintr(|| recv(self.fd.as_raw_fd(), &mut buffer, MsgFlags::MSG_TRUNC));
            let length = length.call(|| format!("{what}: recv()"))?;
            let mut rest = buffer.get(..length).ok_or_else(|| failure(Kind::System, "an answer too long"))?;
            while !rest.is_empty() {
                let message = NetlinkMessage::<Object>::deserialize(rest).doing(|| what.to_owned())?;
                let length =
                    (message.header.length as usize).next_multiple_of(4).clamp(16, rest.len().max(16));
                rest = rest.get(length..).unwrap_or_default();
                if message.header.sequence_number != self.sequence.get() {
                    continue;
                }
                interrupted |= message.header.flags & DUMP_INTERRUPTED != 0;
                match message.payload {
                    NetlinkPayload::InnerMessage(object) => objects.push(object),
                    NetlinkPayload::Done(_) if interrupted => return Err(refusal(what, "", Errno::EINTR)),
                    NetlinkPayload::Done(done) if done.code < 0 => {
                        return Err(refusal(what, "", Errno::from_raw(-done.code)));
                    }
                    NetlinkPayload::Done(_) => return Ok(objects),
                    NetlinkPayload::Error(error) => return outcome(what, &error).map(|()| objects),
                    _ => {}
                }
            }
        }
    }
}

/// NLM_F_DUMP_INTR: what was read is partly from before a change and partly from after it.
const DUMP_INTERRUPTED: u16 = 0x10;

/// netlink(7), struct nlmsgerr: errno, and since Linux 4.12 a sentence.
fn outcome(what: &str, error: &ErrorMessage) -> Result<()> {
    const REQUEST_HEADER: usize = 16;
    const SENTENCE: u16 = 1; // NLMSGERR_ATTR_MSG
    let Some(code) = error.code else { return Ok(()) };
    let attributes = error.header.get(REQUEST_HEADER..).unwrap_or_default();
    let sentence = NlasIterator::new(attributes).flatten().find(|nla| nla.kind() == SENTENCE);
    let sentence = sentence.map(|nla| String::from_utf8_lossy(nla.value()).trim_end_matches('\0').to_owned());
    Err(refusal(what, &sentence.unwrap_or_default(), Errno::from_raw(code.get().saturating_abs())))
}

fn refusal(what: &str, sentence: &str, errno: Errno) -> anyhow::Error {
    let call = if sentence.is_empty() { what.to_owned() } else { format!("{what}: {sentence}") };
    SysError { call, errno }.into()
}
