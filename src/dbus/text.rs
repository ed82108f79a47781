//! Values as people write them: GVariant's text format, as far as it has types of D-Bus. Callers write properties of
//! units so, in annotations.

use super::value::{Value, first_type};
use crate::error::{Result, invalid};

/// A value in text, such as `uint64 5000000`, `'mixed'`, `['a', 'b']`, `@as []`.
pub fn parse(text: &str) -> Result<Value> {
    let mut parser = Parser { left: text };
    let value = parser.value(None, DEEPEST)?;
    parser.space();
    match parser.left.is_empty() {
        true if value.signature().len() > LONGEST_TYPE => {
            Err(invalid("its type is longer than D-Bus can say"))
        }
        true => Ok(value),
        false => Err(parser.wrong("the end")),
    }
}

/// Values in values.
const DEEPEST: usize = 32;

/// D-Bus specification, "Valid Signatures".
const LONGEST_TYPE: usize = 255;

/// The words that say the type of a number or string.
const TYPES: [(&str, &str); 12] = [
    ("boolean", "b"),
    ("byte", "y"),
    ("int16", "n"),
    ("uint16", "q"),
    ("int32", "i"),
    ("uint32", "u"),
    ("int64", "x"),
    ("uint64", "t"),
    ("double", "d"),
    ("string", "s"),
    ("objectpath", "o"),
    ("signature", "g"),
];

struct Parser<'a> {
    left: &'a str,
}

impl<'a> Parser<'a> {
    fn space(&mut self) {
        self.left = self.left.trim_start();
    }

    /// Passes over this character, if it is the next.
    fn next_is(&mut self, expected: char) -> bool {
        self.space();
        let rest = self.left.strip_prefix(expected);
        self.left = rest.unwrap_or(self.left);
        rest.is_some()
    }

    fn word(&mut self, part: impl Fn(char) -> bool) -> &'a str {
        self.space();
        let end = self.left.find(|c| !part(c)).unwrap_or(self.left.len());
        let (word, rest) = self.left.split_at(end);
        self.left = rest;
        word
    }

    fn wrong(&self, expected: &str) -> anyhow::Error {
        match self.left.is_empty() {
            true => invalid(format!("it ends where {expected} is expected")),
            false => invalid(format!("{expected} is expected at {:?}", self.left)),
        }
    }

    /// `wanted` is the type that it has to have, where that has been said.
    fn value(&mut self, wanted: Option<&str>, depth: usize) -> Result<Value> {
        let depth = depth.checked_sub(1).ok_or_else(|| invalid("values in values without end"))?;
        self.space();
        match self.left.chars().next() {
            Some('@') => self.annotated(wanted, depth),
            Some('[') => self.array(wanted, depth),
            Some('(') => self.tuple(wanted, depth),
            Some('<') => self.variant(wanted, depth),
            Some('\'' | '"') => self.string(wanted.unwrap_or("s")),
            Some(c) if c.is_ascii_digit() || matches!(c, '-' | '+' | '.') => self.number(wanted),
            Some(c) if c.is_ascii_alphabetic() => self.keyword(wanted, depth),
            _ => Err(self.wrong("a value")),
        }
    }

    /// `@as []`
    fn annotated(&mut self, wanted: Option<&str>, depth: usize) -> Result<Value> {
        self.next_is('@');
        let signature = self.word(|c| c.is_ascii_alphabetic() || matches!(c, '(' | ')' | '{' | '}'));
        match first_type(signature) {
            Some((one, "")) if wanted.is_none_or(|wanted| wanted == one) => self.value(Some(one), depth),
            _ => Err(invalid(format!("@{signature} is not the type of a value here"))),
        }
    }

    fn keyword(&mut self, wanted: Option<&str>, depth: usize) -> Result<Value> {
        let before = self.left;
        let word = self.word(|c| c.is_ascii_alphanumeric());
        let boolean = |value| match wanted {
            None | Some("b") => Ok(Value::Bool(value)),
            Some(other) => Err(invalid(format!("{word} is not of type {other}"))),
        };
        match word {
            "true" => return boolean(true),
            "false" => return boolean(false),
            _ => {}
        }
        let kind = TYPES.iter().find(|(name, _)| *name == word).map(|(_, kind)| *kind);
        match kind {
            Some(kind) if wanted.is_none_or(|wanted| wanted == kind) => self.value(Some(kind), depth),
            _ => {
                self.left = before;
                Err(self.wrong("a value (a string has quotes)"))
            }
        }
    }

    fn number(&mut self, wanted: Option<&str>) -> Result<Value> {
        let text = self.word(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '+' | '.'));
        let is_real = !text.contains("0x") && text.contains(['.', 'e', 'E']);
        let kind = wanted.unwrap_or(if is_real { "d" } else { "i" });
        let range = || invalid(format!("{text} is not in the range of type {kind}"));
        if kind == "d" {
            let real: f64 = text.parse().ok().ok_or_else(range)?;
            return Ok(Value::Double(real.to_bits()));
        }
        let n = integer(text).ok_or_else(|| invalid(format!("{text} is no number")))?;
        let value = match kind {
            "y" => n.try_into().ok().map(Value::Byte),
            "n" => n.try_into().ok().map(Value::I16),
            "q" => n.try_into().ok().map(Value::U16),
            "i" => n.try_into().ok().map(Value::I32),
            "u" => n.try_into().ok().map(Value::U32),
            "x" => n.try_into().ok().map(Value::I64),
            "t" => n.try_into().ok().map(Value::U64),
            _ => return Err(invalid(format!("{text} is not of type {kind}"))),
        };
        value.ok_or_else(range)
    }

    fn string(&mut self, kind: &str) -> Result<Value> {
        let text = self.quoted()?;
        match kind {
            "s" => Ok(Value::Str(text)),
            "o" if is_path(&text) => Ok(Value::Path(text)),
            "g" if is_signature(&text) => Ok(Value::Signature(text)),
            _ => Err(invalid(format!("{text:?} is not of type {kind}"))),
        }
    }

    fn quoted(&mut self) -> Result<String> {
        let mut chars = self.left.chars();
        let quote = chars.next();
        let mut text = String::new();
        loop {
            match chars.next() {
                None => return Err(invalid("a string has no end")),
                Some('\0') => return Err(invalid("a string has a NUL byte")),
                c if c == quote => break,
                Some('\\') => text.push(escaped(&mut chars)?),
                Some(c) => text.push(c),
            }
        }
        self.left = chars.as_str();
        Ok(text)
    }

    fn array(&mut self, wanted: Option<&str>, depth: usize) -> Result<Value> {
        let mut element = match wanted {
            None => None,
            Some(wanted) => Some(self.part_of(wanted, 'a')?.to_owned()),
        };
        self.next_is('[');
        let mut values = Vec::new();
        while !self.next_is(']') {
            if !values.is_empty() && !self.next_is(',') {
                return Err(self.wrong("',' or ']'"));
            }
            let value = self.value(element.as_deref(), depth)?;
            element.get_or_insert_with(|| value.signature());
            values.push(value);
        }
        let element = element.ok_or_else(|| invalid("an empty array does not say its type, as in @as []"))?;
        Ok(Value::Array(element, values))
    }

    fn tuple(&mut self, wanted: Option<&str>, depth: usize) -> Result<Value> {
        let mut left = match wanted {
            None => None,
            Some(wanted) => Some(self.part_of(wanted, '(')?.trim_end_matches(')').to_owned()),
        };
        self.next_is('(');
        let mut fields = Vec::new();
        while !self.next_is(')') {
            if !fields.is_empty() && !self.next_is(',') {
                return Err(self.wrong("',' or ')'"));
            }
            // One field has a comma after it.
            if fields.len() == 1 && self.next_is(')') {
                break;
            }
            let (kind, rest) = match left.as_deref().map(first_type) {
                None => (None, None),
                Some(Some((one, rest))) => (Some(one.to_owned()), Some(rest.to_owned())),
                Some(None) => return Err(invalid("a tuple has more fields than its type")),
            };
            fields.push(self.value(kind.as_deref(), depth)?);
            left = rest;
        }
        match fields.is_empty() || left.is_some_and(|left| !left.is_empty()) {
            true => Err(invalid("a tuple has fewer fields than its type, or none")),
            false => Ok(Value::Struct(fields)),
        }
    }

    fn variant(&mut self, wanted: Option<&str>, depth: usize) -> Result<Value> {
        if let Some(wanted) = wanted {
            self.part_of(wanted, 'v')?;
        }
        self.next_is('<');
        let value = self.value(None, depth)?;
        match self.next_is('>') {
            true => Ok(Value::variant(value)),
            false => Err(self.wrong("'>'")),
        }
    }

    /// What comes after the first character of a type, which has to be this one.
    fn part_of<'s>(&self, wanted: &'s str, kind: char) -> Result<&'s str> {
        wanted.strip_prefix(kind).ok_or_else(|| self.wrong(&format!("a value of type {wanted}")))
    }
}

/// As C writes them: 0x is hexadecimal, 0 octal.
fn integer(text: &str) -> Option<i128> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (digits, radix) = match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        Some(digits) => (digits, 16),
        None if digits.len() > 1 && digits.starts_with('0') => (&digits[1..], 8),
        None => (digits, 10),
    };
    // Else it would take another sign.
    let n = Some(digits).filter(|d| d.bytes().all(|b| b.is_ascii_alphanumeric()))?;
    let n = i128::from(u64::from_str_radix(n, radix).ok()?);
    Some(if negative { -n } else { n })
}

fn escaped(chars: &mut std::str::Chars<'_>) -> Result<char> {
    let wrong = || invalid("a string has a wrong escape");
    match chars.next().ok_or_else(wrong)? {
        'u' => code_point(chars, 4).ok_or_else(wrong),
        'U' => code_point(chars, 8).ok_or_else(wrong),
        'a' => Ok('\u{7}'),
        'b' => Ok('\u{8}'),
        'f' => Ok('\u{c}'),
        'n' => Ok('\n'),
        'r' => Ok('\r'),
        't' => Ok('\t'),
        'v' => Ok('\u{b}'),
        '\0' => Err(wrong()),
        c => Ok(c),
    }
}

/// So many hexadecimal digits.
fn code_point(chars: &mut std::str::Chars<'_>, count: usize) -> Option<char> {
    let digits: String = chars.by_ref().take(count).collect();
    let whole = digits.len() == count && digits.bytes().all(|b| b.is_ascii_hexdigit());
    let number = u32::from_str_radix(&digits, 16).ok().filter(|n| whole && *n > 0)?;
    char::from_u32(number)
}

/// D-Bus specification, "Valid Object Paths".
fn is_path(text: &str) -> bool {
    let plain = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    text == "/" || text.strip_prefix('/').is_some_and(|rest| rest.split('/').all(plain))
}

fn is_signature(text: &str) -> bool {
    let mut left = text;
    while let Some((_, rest)) = first_type(left) {
        left = rest;
    }
    left.is_empty() && text.len() < 256
}

#[cfg(test)]
mod tests {
    use super::parse;
    use crate::dbus::Value;

    fn strings(list: &[&str]) -> Value {
        Value::Array("s".into(), list.iter().map(|text| Value::str(*text)).collect())
    }

    #[test]
    fn what_engines_write_is_understood() {
        for (text, value) in [
            ("uint64 5000000", Value::U64(5_000_000)),
            ("15", Value::I32(15)),
            (" int32  37 ", Value::I32(37)),
            ("'mixed'", Value::str("mixed")),
            ("\"it's\"", Value::str("it's")),
            ("true", Value::Bool(true)),
            ("['a.service', \"b.service\"]", strings(&["a.service", "b.service"])),
            ("@as []", strings(&[])),
            ("<uint32 7>", Value::variant(Value::U32(7))),
        ] {
            assert_eq!(parse(text).unwrap(), value, "{text}");
        }
    }

    #[test]
    fn a_type_that_no_message_has_room_for_is_refused() {
        let tuple = |fields: usize| parse(&format!("({})", vec!["1"; fields].join(",")));
        assert!(tuple(253).is_ok());
        assert!(tuple(254).unwrap_err().to_string().contains("its type is longer"));
    }

    #[test]
    fn the_rest_of_the_format_is_too() {
        let devices = vec![Value::Struct(vec![Value::str("/dev/null"), Value::U64(100)])];
        for (text, value) in [
            ("-0x10", Value::I32(-16)),
            ("010", Value::I32(8)),
            ("0", Value::I32(0)),
            ("int64 -9223372036854775808", Value::I64(i64::MIN)),
            ("uint64 18446744073709551615", Value::U64(u64::MAX)),
            ("byte 255", Value::Byte(255)),
            ("1.5", Value::Double(1.5f64.to_bits())),
            ("double 2", Value::Double(2f64.to_bits())),
            (r"'a\n\u00fc\'\U0001f600'", Value::str("a\nü'😀")),
            ("objectpath '/a/b_1'", Value::Path("/a/b_1".into())),
            ("signature 'a(sv)'", Value::Signature("a(sv)".into())),
            ("[('/dev/null', uint64 100)]", Value::Array("(st)".into(), devices.clone())),
            ("@a(st) [('/dev/null', 100)]", Value::Array("(st)".into(), devices)),
            ("(1,)", Value::Struct(vec![Value::I32(1)])),
            ("@ay [1, 0x2]", Value::Array("y".into(), vec![Value::Byte(1), Value::Byte(2)])),
            ("@q 7", Value::U16(7)),
        ] {
            assert_eq!(parse(text).unwrap(), value, "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, part) in [
            ("", "it ends where a value is expected"),
            ("mixed", "a string has quotes"),
            ("5s", "5s is no number"),
            ("5 6", "the end is expected at \"6\""),
            ("'x", "a string has no end"),
            ("['x'", "it ends where ',' or ']' is expected"),
            ("['x', 1]", "1 is not of type s"),
            ("[]", "does not say its type"),
            ("99999999999", "not in the range of type i"),
            ("byte 256", "not in the range of type y"),
            ("uint32 -1", "not in the range of type u"),
            ("uint32 'x'", "\"x\" is not of type u"),
            ("uint32 true", "true is not of type u"),
            ("@as 5", "5 is not of type as"),
            ("@z 5", "@z is not the type"),
            ("@(ss) ('a',)", "fewer fields"),
            ("@(s) ('a', 'b')", "more fields"),
            ("objectpath 'a'", "not of type o"),
            ("'\\u00'", "wrong escape"),
            ("--5", "no number"),
            ("0x", "no number"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
        assert!(parse(&"[".repeat(100_000)).is_err());
    }
}
