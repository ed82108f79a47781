//! Values as bytes: D-Bus specification, "Marshaling (Wire Format)".

use super::value::{Value, alignment, first_type};
use crate::error::{Kind, Result, failure};

/// The order of the bytes of a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Little,
    Big,
}

/// Writes little-endian.
#[derive(Debug, Default)]
pub(super) struct Writer(pub(super) Vec<u8>);

impl Writer {
    pub(super) fn pad(&mut self, alignment: usize) {
        while self.0.len() % alignment != 0 {
            self.0.push(0);
        }
    }

    fn number(&mut self, bytes: &[u8]) {
        self.pad(bytes.len());
        self.0.extend_from_slice(bytes);
    }

    fn length(&mut self, length: usize) {
        // Nobody takes a message of 4 GiB: what is too long is refused by its own length.
        self.number(&u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
    }

    fn text(&mut self, text: &str) {
        self.0.extend_from_slice(text.as_bytes());
        self.0.push(0);
    }

    pub(super) fn value(&mut self, value: &Value) {
        match value {
            Value::Byte(n) => self.0.push(*n),
            Value::Bool(b) => self.number(&u32::from(*b).to_le_bytes()),
            Value::I16(n) => self.number(&n.to_le_bytes()),
            Value::U16(n) => self.number(&n.to_le_bytes()),
            Value::I32(n) => self.number(&n.to_le_bytes()),
            Value::U32(n) => self.number(&n.to_le_bytes()),
            Value::I64(n) => self.number(&n.to_le_bytes()),
            Value::U64(n) | Value::Double(n) => self.number(&n.to_le_bytes()),
            Value::Str(text) | Value::Path(text) => {
                self.length(text.len());
                self.text(text);
            }
            Value::Signature(text) => self.signature(text),
            Value::Struct(fields) => {
                self.pad(8);
                fields.iter().for_each(|field| self.value(field));
            }
            Value::Entry(entry) => {
                self.pad(8);
                self.value(&entry.0);
                self.value(&entry.1);
            }
            Value::Variant(value) => {
                self.signature(&value.signature());
                self.value(value);
            }
            Value::Array(element, values) => self.array(element, values),
        }
    }

    fn signature(&mut self, text: &str) {
        self.0.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
        self.text(text);
    }

    /// The length counts the elements, not the padding before the first one.
    fn array(&mut self, element: &str, values: &[Value]) {
        self.length(0);
        let at = self.0.len() - 4;
        self.pad(alignment(element));
        let start = self.0.len();
        values.iter().for_each(|value| self.value(value));
        let length = u32::try_from(self.0.len() - start).unwrap_or(u32::MAX);
        self.0[at..at + 4].copy_from_slice(&length.to_le_bytes());
    }
}

/// Reads what somebody else has written, and trusts none of it.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    order: Order,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8], order: Order) -> Self {
        Self::from(bytes, 0, order)
    }

    /// From the middle of a message: alignment counts from its start.
    pub(super) fn from(bytes: &'a [u8], at: usize, order: Order) -> Self {
        Self { bytes, at, order }
    }

    /// The values of these types, and nothing after them.
    pub(super) fn values(mut self, signature: &str) -> Result<Vec<Value>> {
        let values = self.row(signature, DEEPEST)?;
        match self.at == self.bytes.len() {
            true => Ok(values),
            false => Err(malformed("it goes on after its end")),
        }
    }

    fn row(&mut self, signature: &str, depth: usize) -> Result<Vec<Value>> {
        let mut values = Vec::new();
        let mut left = signature;
        while !left.is_empty() {
            let (one, rest) = first_type(left).ok_or_else(|| malformed("a type is none"))?;
            values.push(self.value(one, depth)?);
            left = rest;
        }
        Ok(values)
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let end = self.at.checked_add(count).filter(|end| *end <= self.bytes.len());
        let end = end.ok_or_else(|| malformed("it ends too early"))?;
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    fn align(&mut self, alignment: usize) -> Result<()> {
        let over = self.at % alignment;
        if over > 0 {
            self.take(alignment - over)?;
        }
        Ok(())
    }

    fn number<const N: usize>(&mut self) -> Result<[u8; N]> {
        self.align(N)?;
        let mut bytes = [0; N];
        bytes.copy_from_slice(self.take(N)?);
        // As little-endian from here.
        if self.order == Order::Big {
            bytes.reverse();
        }
        Ok(bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32> {
        Ok(u32::from_le_bytes(self.number()?))
    }

    fn length(&mut self) -> Result<usize> {
        usize::try_from(self.u32()?).ok().ok_or_else(|| malformed("a length is too large"))
    }

    fn text(&mut self, length: usize) -> Result<String> {
        let text = self.take(length)?;
        let end = self.take(1)?;
        let text = std::str::from_utf8(text).ok().ok_or_else(|| malformed("a string is not UTF-8"))?;
        match end == [0] && !text.contains('\0') {
            true => Ok(text.to_owned()),
            false => Err(malformed("a string has no end")),
        }
    }

    fn value(&mut self, signature: &str, depth: usize) -> Result<Value> {
        let depth = depth.checked_sub(1).ok_or_else(|| malformed("its values are too deep"))?;
        let inner = signature.get(1..).unwrap_or_default();
        Ok(match signature.as_bytes().first() {
            Some(b'y') => Value::Byte(u8::from_le_bytes(self.number()?)),
            Some(b'b') => Value::Bool(self.u32()? != 0),
            Some(b'n') => Value::I16(i16::from_le_bytes(self.number()?)),
            Some(b'q') => Value::U16(u16::from_le_bytes(self.number()?)),
            Some(b'i') => Value::I32(i32::from_le_bytes(self.number()?)),
            Some(b'u') => Value::U32(self.u32()?),
            Some(b'x') => Value::I64(i64::from_le_bytes(self.number()?)),
            Some(b't') => Value::U64(u64::from_le_bytes(self.number()?)),
            Some(b'd') => Value::Double(u64::from_le_bytes(self.number()?)),
            Some(b's') => Value::Str(self.string()?),
            Some(b'o') => Value::Path(self.string()?),
            Some(b'g') => Value::Signature(self.signature()?),
            Some(b'v') => {
                let signature = self.signature()?;
                match first_type(&signature) {
                    Some((one, "")) => Value::variant(self.value(one, depth)?),
                    _ => return Err(malformed("a variant is not of one type")),
                }
            }
            Some(b'a') => self.array(inner, depth)?,
            Some(b'(') => {
                self.align(8)?;
                Value::Struct(self.row(inner.strip_suffix(')').unwrap_or(inner), depth)?)
            }
            Some(b'{') => {
                self.align(8)?;
                let mut pair = self.row(inner.strip_suffix('}').unwrap_or(inner), depth)?.into_iter();
                match (pair.next(), pair.next()) {
                    (Some(key), Some(value)) => Value::Entry(Box::new((key, value))),
                    _ => return Err(malformed("an entry is no pair")),
                }
            }
            _ => return Err(malformed("a type is unknown")),
        })
    }

    fn string(&mut self) -> Result<String> {
        let length = self.length()?;
        self.text(length)
    }

    fn signature(&mut self) -> Result<String> {
        let [length] = self.number()?;
        self.text(length.into())
    }

    fn array(&mut self, element: &str, depth: usize) -> Result<Value> {
        let length = self.length()?;
        self.align(alignment(element))?;
        let end = self.at.checked_add(length).filter(|end| *end <= self.bytes.len());
        let end = end.ok_or_else(|| malformed("an array goes on after its end"))?;
        let mut values = Vec::new();
        while self.at < end {
            values.push(self.value(element, depth)?);
        }
        match self.at == end {
            true => Ok(Value::Array(element.to_owned(), values)),
            false => Err(malformed("an array ends within an element")),
        }
    }
}

/// Values in values; the specification's limit.
const DEEPEST: usize = 64;

pub(super) fn malformed(what: &str) -> anyhow::Error {
    failure(Kind::System, format!("a message that is not in the form of D-Bus: {what}"))
}

#[cfg(test)]
mod tests {
    use super::{Order, Reader, Writer};
    use crate::dbus::value::{Value, signature_of};

    fn bytes(values: &[Value]) -> Vec<u8> {
        let mut writer = Writer::default();
        values.iter().for_each(|value| writer.value(value));
        writer.0
    }

    fn samples() -> Vec<Value> {
        let property = |name: &str, value| Value::Struct(vec![Value::str(name), Value::variant(value)]);
        vec![
            Value::Byte(7),
            Value::U64(u64::MAX),
            Value::Bool(true),
            Value::I16(-2),
            Value::str("grün"),
            Value::U16(3),
            Value::Path("/a/b".into()),
            Value::Signature("a(sv)".into()),
            Value::Double(1.5f64.to_bits()),
            Value::Array("t".into(), vec![]),
            Value::Array(
                "(sv)".into(),
                vec![
                    property("A", Value::I32(-5)),
                    property("PIDs", Value::Array("u".into(), vec![Value::U32(1), Value::U32(2)])),
                ],
            ),
            Value::Array(
                "{sv}".into(),
                vec![Value::Entry(Box::new((Value::str("k"), Value::variant(Value::I64(-9)))))],
            ),
        ]
    }

    #[test]
    fn what_is_written_is_read_again() {
        let values = samples();
        let read = Reader::new(&bytes(&values), Order::Little).values(&signature_of(&values)).unwrap();
        assert_eq!(read, values);
    }

    /// The specification's own examples, "Summary of D-Bus marshaling".
    #[test]
    fn the_bytes_are_the_specifications() {
        assert_eq!(
            bytes(&[Value::str("foo"), Value::str("+"), Value::str("bar")]),
            [3, 0, 0, 0, b'f', b'o', b'o', 0, 1, 0, 0, 0, b'+', 0, 0, 0, 3, 0, 0, 0, b'b', b'a', b'r', 0,]
        );
        // An array of one 64-bit number: the padding is not counted.
        let array = Value::Array("x".into(), vec![Value::I64(5)]);
        assert_eq!(bytes(&[array]), [8, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn the_other_order_is_read_too() {
        let big = [0, 0, 0, 5, 0, 0, 0, 1, b'x', 0];
        let read = Reader::new(&big, Order::Big).values("us").unwrap();
        assert_eq!(read, [Value::U32(5), Value::str("x")]);
    }

    #[test]
    fn what_is_cut_off_or_changed_is_an_error_and_no_panic() {
        let values = samples();
        let (good, signature) = (bytes(&values), signature_of(&values));
        for end in 0..good.len() {
            assert!(Reader::new(&good[..end], Order::Little).values(&signature).is_err(), "{end}");
        }
        for at in 0..good.len() {
            for value in [0, 1, 127, 255] {
                let mut bad = good.clone();
                bad[at] = value;
                drop(Reader::new(&bad, Order::Little).values(&signature));
            }
        }
    }

    #[test]
    fn variants_in_variants_come_to_an_end() {
        let mut deep = Vec::new();
        for _ in 0..1000 {
            deep.extend_from_slice(&[1, b'v', 0]);
        }
        assert!(Reader::new(&deep, Order::Little).values("v").is_err());
    }
}
