//! Values and their types: D-Bus specification, "Type System".

use std::fmt;

/// A value that a message can carry. Descriptors are not among them: nothing here sends or takes any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// y
    Byte(u8),
    /// b
    Bool(bool),
    /// n
    I16(i16),
    /// q
    U16(u16),
    /// i
    I32(i32),
    /// u
    U32(u32),
    /// x
    I64(i64),
    /// t
    U64(u64),
    /// d: IEEE 754, as bits.
    Double(u64),
    /// s
    Str(String),
    /// o
    Path(String),
    /// g
    Signature(String),
    /// a: the type of an element, and the elements.
    Array(String, Vec<Value>),
    /// (...)
    Struct(Vec<Value>),
    /// {..}, in arrays only.
    Entry(Box<(Value, Value)>),
    /// v
    Variant(Box<Value>),
}

impl Value {
    /// A string.
    pub fn str(text: impl Into<String>) -> Self {
        Self::Str(text.into())
    }

    /// A value that says its type itself.
    pub fn variant(value: Self) -> Self {
        Self::Variant(Box::new(value))
    }

    /// The type, as the specification writes it.
    pub fn signature(&self) -> String {
        let one = match self {
            Self::Byte(_) => "y",
            Self::Bool(_) => "b",
            Self::I16(_) => "n",
            Self::U16(_) => "q",
            Self::I32(_) => "i",
            Self::U32(_) => "u",
            Self::I64(_) => "x",
            Self::U64(_) => "t",
            Self::Double(_) => "d",
            Self::Str(_) => "s",
            Self::Path(_) => "o",
            Self::Signature(_) => "g",
            Self::Variant(_) => "v",
            Self::Array(element, _) => return format!("a{element}"),
            Self::Struct(fields) => return format!("({})", signature_of(fields)),
            Self::Entry(entry) => return format!("{{{}{}}}", entry.0.signature(), entry.1.signature()),
        };
        one.to_owned()
    }

    /// The text of a string, path or signature.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Str(text) | Self::Path(text) | Self::Signature(text) => Some(text),
            _ => None,
        }
    }
}

/// The types of values in a row.
pub(super) fn signature_of(values: &[Value]) -> String {
    values.iter().map(Value::signature).collect()
}

/// How values of this type are aligned in a message.
pub(super) fn alignment(signature: &str) -> usize {
    match signature.as_bytes().first() {
        Some(b'n' | b'q') => 2,
        Some(b'b' | b'i' | b'u' | b's' | b'o' | b'a') => 4,
        Some(b'x' | b't' | b'd' | b'(' | b'{') => 8,
        _ => 1,
    }
}

/// The first complete type of a signature, and the rest; `None` if there is none.
pub(super) fn first_type(signature: &str) -> Option<(&str, &str)> {
    /// The specification's limit of arrays and of structs, one in another.
    const DEEPEST: usize = 64;
    let length = length_of_type(signature.as_bytes(), DEEPEST)?;
    signature.split_at_checked(length)
}

fn length_of_type(signature: &[u8], depth: usize) -> Option<usize> {
    let depth = depth.checked_sub(1)?;
    match signature.first()? {
        b'a' => Some(1 + length_of_type(signature.get(1..)?, depth)?),
        open @ (b'(' | b'{') => {
            let close = if *open == b'(' { b')' } else { b'}' };
            let mut at = 1;
            let mut fields = 0;
            while *signature.get(at)? != close {
                at += length_of_type(signature.get(at..)?, depth)?;
                fields += 1;
            }
            let enough = if close == b')' { fields > 0 } else { fields == 2 };
            enough.then_some(at + 1)
        }
        one => b"ybnqiuxtdsogv".contains(one).then_some(1),
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Byte(n) => write!(f, "{n}"),
            Self::Bool(b) => write!(f, "{b}"),
            Self::I16(n) => write!(f, "{n}"),
            Self::U16(n) => write!(f, "{n}"),
            Self::I32(n) => write!(f, "{n}"),
            Self::U32(n) => write!(f, "{n}"),
            Self::I64(n) => write!(f, "{n}"),
            Self::U64(n) => write!(f, "{n}"),
            Self::Double(bits) => write!(f, "{}", f64::from_bits(*bits)),
            Self::Str(text) | Self::Path(text) | Self::Signature(text) => write!(f, "{text:?}"),
            Self::Variant(value) => write!(f, "<{value}>"),
            Self::Entry(entry) => write!(f, "{}: {}", entry.0, entry.1),
            Self::Array(_, values) => list(f, "[", values, "]"),
            Self::Struct(values) => list(f, "(", values, ")"),
        }
    }
}

fn list(f: &mut fmt::Formatter<'_>, open: &str, values: &[Value], close: &str) -> fmt::Result {
    f.write_str(open)?;
    for (index, value) in values.iter().enumerate() {
        write!(f, "{}{value}", if index == 0 { "" } else { ", " })?;
    }
    f.write_str(close)
}

#[cfg(test)]
mod tests {
    use super::first_type;

    #[test]
    fn a_signature_is_taken_apart_by_complete_types() {
        assert_eq!(first_type("s"), Some(("s", "")));
        assert_eq!(first_type("a(sv)u"), Some(("a(sv)", "u")));
        assert_eq!(first_type("a{sv}a(sa(sv))"), Some(("a{sv}", "a(sa(sv))")));
        for bad in ["", "a", "(", "()", "(s", "{s}", "{ssv}", "z", "a)"] {
            assert_eq!(first_type(bad), None, "{bad}");
        }
        assert_eq!(first_type(&"a".repeat(10_000)), None);
    }
}
