//! Messages: D-Bus specification, "Message Protocol".

use super::value::{Value, signature_of};
use super::wire::{Order, Reader, Writer, malformed};
use crate::error::Result;

/// What a message is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// A call of a method.
    Call,
    /// A method's answer.
    Return,
    /// A method's error.
    Error,
    /// Something has happened.
    Signal,
    /// A later version's, to be passed over.
    Unknown,
}

/// A message: its header's fields, and its arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// What it is for.
    pub kind: Type,
    /// Counted by its sender, from 1.
    pub serial: u32,
    /// The serial of the call that it answers.
    pub reply_to: Option<u32>,
    /// Of the object that is called, or that something has happened to.
    pub path: Option<String>,
    /// The method's or signal's.
    pub interface: Option<String>,
    /// The method's or signal's.
    pub member: Option<String>,
    /// Of an error.
    pub error: Option<String>,
    /// Who is called.
    pub destination: Option<String>,
    /// Who has sent it, as the bus says.
    pub sender: Option<String>,
    /// Its arguments.
    pub body: Vec<Value>,
}

/// A method of an object of somebody's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Method<'a> {
    /// Whose the object is: a name on the bus.
    pub destination: &'a str,
    /// The object.
    pub path: &'a str,
    /// The method's interface.
    pub interface: &'a str,
    /// The method.
    pub name: &'a str,
}

const PATH: u8 = 1;
const INTERFACE: u8 = 2;
const MEMBER: u8 = 3;
const ERROR_NAME: u8 = 4;
const REPLY_SERIAL: u8 = 5;
const DESTINATION: u8 = 6;
const SENDER: u8 = 7;
const SIGNATURE: u8 = 8;

/// The part of the header that is always there: up to the length of the fields.
const FIXED: usize = 16;

impl Message {
    /// A call with these arguments.
    pub fn call(method: Method<'_>, serial: u32, body: &[Value]) -> Self {
        Self {
            kind: Type::Call,
            serial,
            reply_to: None,
            path: Some(method.path.to_owned()),
            interface: Some(method.interface.to_owned()),
            member: Some(method.name.to_owned()),
            error: None,
            destination: Some(method.destination.to_owned()),
            sender: None,
            body: body.to_vec(),
        }
    }

    /// As bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut body = Writer::default();
        self.body.iter().for_each(|value| body.value(value));
        let text = |code, text: &Option<String>, make: fn(String) -> Value| {
            text.clone().map(|text| field(code, make(text)))
        };
        let signature = signature_of(&self.body);
        let fields: Vec<Value> = [
            text(PATH, &self.path, Value::Path),
            text(INTERFACE, &self.interface, Value::Str),
            text(MEMBER, &self.member, Value::Str),
            text(ERROR_NAME, &self.error, Value::Str),
            self.reply_to.map(|serial| field(REPLY_SERIAL, Value::U32(serial))),
            text(DESTINATION, &self.destination, Value::Str),
            text(SENDER, &self.sender, Value::Str),
            (!signature.is_empty()).then(|| field(SIGNATURE, Value::Signature(signature))),
        ]
        .into_iter()
        .flatten()
        .collect();
        let code = match self.kind {
            Type::Call => 1,
            Type::Return => 2,
            Type::Error => 3,
            Type::Signal => 4,
            Type::Unknown => 0,
        };
        let mut out = Writer(vec![b'l', code, 0, 1]);
        out.value(&Value::U32(u32::try_from(body.0.len()).unwrap_or(u32::MAX)));
        out.value(&Value::U32(self.serial));
        out.value(&Value::Array("(yv)".to_owned(), fields));
        out.pad(8);
        out.0.append(&mut body.0);
        out.0
    }

    /// The first message of what has been received, and its length; `None` if it is not whole yet.
    pub fn decode(bytes: &[u8]) -> Result<Option<(Self, usize)>> {
        /// A bus takes larger ones, but nothing that is asked for here has such an answer.
        const LARGEST: usize = 1 << 20;
        let Some(fixed) = bytes.get(..FIXED) else { return Ok(None) };
        let order = match fixed[0] {
            b'l' => Order::Little,
            b'B' => Order::Big,
            _ => return Err(malformed("its first byte is no order of bytes")),
        };
        let mut numbers = Reader::from(fixed, 4, order);
        let (body_length, serial, fields_length) = (numbers.u32()?, numbers.u32()?, numbers.u32()?);
        let fields_end = FIXED.saturating_add(fields_length as usize);
        let header = fields_end.next_multiple_of(8);
        let whole = header.saturating_add(body_length as usize);
        if fixed[3] != 1 || whole > LARGEST {
            return Err(malformed("it is of another version, or larger than 1 MiB"));
        }
        if bytes.len() < whole {
            return Ok(None);
        }
        let fields = Reader::from(&bytes[..fields_end], FIXED - 4, order);
        let mut message = Self::with_fields(&fields.values("a(yv)")?);
        message.serial = serial;
        message.kind = match fixed[1] {
            1 => Type::Call,
            2 => Type::Return,
            3 => Type::Error,
            4 => Type::Signal,
            _ => Type::Unknown,
        };
        let signature = message.body.pop();
        let signature = signature.as_ref().and_then(Value::text).unwrap_or_default();
        message.body = Reader::new(&bytes[header..whole], order).values(signature)?;
        Ok(Some((message, whole)))
    }

    /// The signature, if there is one, is the body for now.
    fn with_fields(fields: &[Value]) -> Self {
        let mut message = Self::call(Method { destination: "", path: "", interface: "", name: "" }, 0, &[]);
        (message.path, message.interface, message.member, message.destination) = (None, None, None, None);
        let [Value::Array(_, fields)] = fields else { return message };
        for field in fields {
            let Value::Struct(pair) = field else { continue };
            let [Value::Byte(code), Value::Variant(value)] = pair.as_slice() else { continue };
            let text = || value.text().map(str::to_owned);
            match (*code, value.as_ref()) {
                (PATH, _) => message.path = text(),
                (INTERFACE, _) => message.interface = text(),
                (MEMBER, _) => message.member = text(),
                (ERROR_NAME, _) => message.error = text(),
                (REPLY_SERIAL, Value::U32(serial)) => message.reply_to = Some(*serial),
                (DESTINATION, _) => message.destination = text(),
                (SENDER, _) => message.sender = text(),
                (SIGNATURE, signature) => message.body = vec![signature.clone()],
                _ => {}
            }
        }
        message
    }
}

fn field(code: u8, value: Value) -> Value {
    Value::Struct(vec![Value::Byte(code), Value::variant(value)])
}

#[cfg(test)]
mod tests {
    use super::{Message, Method, Type};
    use crate::dbus::value::Value;

    fn hello() -> Message {
        let method = Method {
            destination: "org.freedesktop.DBus",
            path: "/org/freedesktop/DBus",
            interface: "org.freedesktop.DBus",
            name: "Hello",
        };
        Message::call(method, 1, &[])
    }

    #[test]
    fn a_message_is_read_as_it_was_written_once_it_is_whole() {
        let mut messages = [hello(), hello(), hello()];
        messages[1].body = vec![Value::str("x"), Value::U32(7)];
        messages[2].kind = Type::Error;
        messages[2].reply_to = Some(3);
        messages[2].error = Some("a.b.Error".into());
        messages[2].sender = Some(":1.5".into());
        for message in messages {
            let mut bytes = message.encode();
            for end in 0..bytes.len() {
                assert_eq!(Message::decode(&bytes[..end]).unwrap(), None);
            }
            let length = bytes.len();
            bytes.extend_from_slice(b"the next");
            assert_eq!(Message::decode(&bytes).unwrap(), Some((message, length)));
        }
    }

    #[test]
    fn what_is_changed_is_an_error_and_no_panic() {
        let good = hello().encode();
        for at in 0..good.len() {
            for value in [0, 1, 8, 127, 255] {
                let mut bad = good.clone();
                bad[at] = value;
                drop(Message::decode(&bad));
            }
        }
        for (at, value) in [(0, b'x'), (3, 2), (7, 200), (15, 200)] {
            let mut bad = good.clone();
            bad[at] = value;
            assert!(Message::decode(&bad).is_err(), "{at}");
        }
    }
}
