//! A file system's own parameters, as fsconfig(2) takes them one by one.

use crate::error::{Result, invalid};

/// fsconfig(2), FSCONFIG_SET_STRING: so many bytes, and a NUL.
pub const LONGEST_VALUE: usize = 255;

/// A file system's own parameter: `key` or `key=value`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// Such as `size`.
    pub key: String,
    /// Such as `65536k`.
    pub value: Option<String>,
}

impl Parameter {
    /// One without a value.
    pub fn flag(key: &str) -> Self {
        Self { key: key.to_owned(), value: None }
    }

    /// One with a value.
    pub fn string(key: &str, value: impl Into<String>) -> Self {
        Self { key: key.to_owned(), value: Some(value.into()) }
    }
}

/// The SELinux contexts: mount(8), "context=".
const CONTEXTS: [&str; 5] = ["context", "fscontext", "defcontext", "rootcontext", "seclabel"];

impl Parameter {
    /// Whether it is an SELinux context.
    pub fn is_context(&self) -> bool {
        CONTEXTS.contains(&self.key.as_str())
    }
}

/// Reads a word that no table knows. It is what mount(2) would take in its comma-separated data: so commas
/// separate, but for those in quotes (SELinux contexts) and behind a backslash (overlay's directories).
pub(super) fn parse(text: &str) -> Result<Vec<Parameter>> {
    let parameters = pieces(text).into_iter().filter(|piece| !piece.is_empty()).map(one);
    match parameters.clone().any(|parameter| parameter.key.is_empty()) {
        true => Err(invalid(format!("option {text:?} has no name before the \"=\""))),
        false => Ok(parameters.collect()),
    }
}

fn one(text: &str) -> Parameter {
    let Some((key, value)) = text.split_once('=') else {
        return Parameter::flag(text);
    };
    let parameter = Parameter::string(key, value);
    match value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        // The quotes are for the comma-separated form only.
        Some(bare) if parameter.is_context() => Parameter::string(key, bare),
        _ => parameter,
    }
}

fn pieces(text: &str) -> Vec<&str> {
    let (mut pieces, mut start) = (Vec::new(), 0);
    let (mut quoted, mut escaped) = (false, false);
    for (at, c) in text.char_indices() {
        match c {
            '"' if !escaped => quoted = !quoted,
            ',' if !quoted && !escaped => {
                pieces.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
        escaped = c == '\\' && !escaped;
    }
    pieces.push(&text[start..]);
    pieces
}

#[cfg(test)]
mod tests {
    use super::{Parameter, parse};

    #[test]
    fn commas_separate_as_in_the_data_of_mount() {
        assert_eq!(
            parse("size=64k,mode=700,,huge").unwrap(),
            [Parameter::string("size", "64k"), Parameter::string("mode", "700"), Parameter::flag("huge")]
        );
    }

    #[test]
    fn commas_in_quotes_or_behind_a_backslash_belong_to_the_value() {
        assert_eq!(
            parse("context=\"u:r:t:s0:c1,c2\",size=1k").unwrap(),
            [Parameter::string("context", "u:r:t:s0:c1,c2"), Parameter::string("size", "1k")]
        );
        assert_eq!(
            parse("lowerdir=/a\\,b:/c\\\\,x").unwrap(),
            [Parameter::string("lowerdir", "/a\\,b:/c\\\\"), Parameter::flag("x")]
        );
    }
}
