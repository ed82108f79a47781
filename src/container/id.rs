//! Container ids.

use std::fmt;
use std::str::FromStr;

use crate::error::{Result, invalid};

/// Names a container and is safe as a single path component.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ContainerId(String);

/// NAME_MAX: the id is a directory's name.
const LONGEST: usize = 255;

impl ContainerId {
    /// The id that a directory of the store is named by, if it is one.
    pub fn from_name(name: &str) -> Option<Self> {
        (is_harmless(name) && name.len() <= LONGEST).then(|| Self(name.to_owned()))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_harmless(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"_+-.".contains(&b);
    !text.is_empty() && !text.starts_with('.') && text.bytes().all(allowed)
}

impl FromStr for ContainerId {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        if !is_harmless(text) {
            return Err(invalid(format!(
                "invalid container id {text:?}: letters, digits and _ + - . are allowed, not beginning with a dot"
            )));
        }
        match text.len() > LONGEST {
            true => Err(invalid(format!(
                "invalid container id: {} bytes, at most {LONGEST} are allowed",
                text.len()
            ))),
            false => Ok(Self(text.to_owned())),
        }
    }
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::ContainerId;

    #[test]
    fn an_id_is_one_harmless_path_component() {
        for bad in ["", ".", "..", "a/b", "a\0", ".cache", "ä", "a b", "%2e", &"x".repeat(256)] {
            assert!(bad.parse::<ContainerId>().is_err(), "{bad:?}");
        }
        for good in ["a", "a.b", "_+-.", "0", &"x".repeat(255)] {
            assert!(good.parse::<ContainerId>().is_ok(), "{good:?}");
        }
    }
}
