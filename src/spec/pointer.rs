//! Which property of a JSON text a parser was at: it says line and column only.

/// The JSON pointer (RFC 6901) of the innermost value that holds this place. Lines and columns count
/// from 1, columns in bytes, as serde_json has them.
pub(super) fn at(text: &[u8], line: usize, column: usize) -> String {
    let start: usize =
        text.split_inclusive(|b| *b == b'\n').take(line.saturating_sub(1)).map(<[u8]>::len).sum();
    let end = start.saturating_add(column).min(text.len());
    after(&text[..end])
}

/// The same for the place at which a text has been cut off.
pub(super) fn after(text: &[u8]) -> String {
    Walk::default().through(text)
}

/// One object or array that the place is in.
enum Level {
    Object { key: String },
    Array { index: usize },
}

#[derive(Default)]
struct Walk {
    levels: Vec<Level>,
}

impl Walk {
    fn through(mut self, text: &[u8]) -> String {
        let mut rest = text;
        while let Some((byte, after)) = rest.split_first() {
            rest = after;
            match byte {
                b'{' => self.levels.push(Level::Object { key: String::new() }),
                b'[' => self.levels.push(Level::Array { index: 0 }),
                b'}' | b']' => drop(self.levels.pop()),
                b',' => {
                    if let Some(Level::Array { index }) = self.levels.last_mut() {
                        *index += 1;
                    }
                }
                b'"' => {
                    let (string, after) = string(rest);
                    rest = after;
                    let is_key = rest.iter().find(|b| !b.is_ascii_whitespace()) == Some(&b':');
                    if let (Some(Level::Object { key }), true) = (self.levels.last_mut(), is_key) {
                        *key = string;
                    }
                }
                _ => {}
            }
        }
        self.pointer()
    }

    fn pointer(&self) -> String {
        let part = |level: &Level| match level {
            Level::Object { key } => format!("/{}", key.replace('~', "~0").replace('/', "~1")),
            Level::Array { index } => format!("/{index}"),
        };
        self.levels.iter().map(part).collect()
    }
}

/// A string up to its closing quote, and what follows. Escapes stay as they are: this is for people.
fn string(text: &[u8]) -> (String, &[u8]) {
    let mut escaped = false;
    for (at, byte) in text.iter().enumerate() {
        match byte {
            b'"' if !escaped => return (String::from_utf8_lossy(&text[..at]).into_owned(), &text[at + 1..]),
            b'\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    (String::from_utf8_lossy(text).into_owned(), &[])
}

#[cfg(test)]
mod tests {
    use super::at;

    fn pointer(text: &str) -> String {
        let (before, _) = text.split_once('!').unwrap();
        at(
            text.replace('!', "").as_bytes(),
            before.matches('\n').count() + 1,
            before.rsplit('\n').next().unwrap().len(),
        )
    }

    #[test]
    fn a_place_is_named_by_keys_and_indices() {
        assert_eq!(pointer(r#"{"a":[{"b":1},{"c":"x"!}]}"#), "/a/1/c");
        assert_eq!(pointer("{\n \"a\": {\"k\\\"ey\": [1, 2, !3]}}"), "/a/k\\\"ey/2");
        assert_eq!(pointer(r#"{"a/b~":!1}"#), "/a~1b~0");
    }

    #[test]
    fn what_has_been_left_is_not_part_of_it() {
        assert_eq!(pointer(r#"{"a":{"b":[1,2]}!}"#), "/a");
        assert_eq!(pointer(r#"!{}"#), "");
    }
}
