//! The environment of the container's command: docker's few variables, and what `-e` says.

use std::ffi::OsStr;
use std::str::FromStr;

use crate::error::{Result, invalid};

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// One `-e`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Variable {
    key: String,
    /// `None` passes on the caller's.
    value: Option<String>,
}

impl FromStr for Variable {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let (key, value) = match text.split_once('=') {
            Some((key, value)) => (key, Some(value.to_owned())),
            None => (text, None),
        };
        if key.is_empty() {
            return Err(invalid("a variable needs a name"));
        }
        match text.contains('\0') {
            true => Err(invalid("a variable can't have a NUL byte")),
            false => Ok(Self { key: key.to_owned(), value }),
        }
    }
}

/// All variables, each once. HOME is the runtime's to find. `caller` looks a variable up in the caller's
/// environment: one that is not there is not set in the container either.
pub(super) fn assemble<V: AsRef<OsStr>>(
    hostname: &str,
    terminal: bool,
    wanted: &[Variable],
    caller: impl Fn(&str) -> Option<V>,
) -> Result<Vec<String>> {
    let mut all = vec![("PATH", PATH.to_owned()), ("HOSTNAME", hostname.to_owned())];
    if terminal {
        all.push(("TERM", "xterm".to_owned()));
    }
    for Variable { key, value } in wanted {
        let value = match value {
            Some(value) => Some(value.clone()),
            None => caller(key).map(|value| text(key, value.as_ref())).transpose()?,
        };
        all.retain(|(name, _)| name != key);
        all.extend(value.map(|value| (key.as_str(), value)));
    }
    Ok(all.into_iter().map(|(key, value)| format!("{key}={value}")).collect())
}

fn text(key: &str, value: &OsStr) -> Result<String> {
    let text = value.to_str().ok_or_else(|| invalid(format!("variable {key}: its value is not UTF-8")))?;
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::{Variable, assemble};

    fn assembled(wanted: &[&str]) -> Vec<String> {
        let wanted: Vec<Variable> = wanted.iter().map(|text| text.parse().unwrap()).collect();
        let caller = |key: &str| (key == "SECRET").then_some("s3");
        assemble("h", false, &wanted, caller).unwrap().split_off(1)
    }

    #[test]
    fn only_what_is_named_comes_from_the_caller() {
        assert_eq!(assembled(&["A=1", "SECRET", "NOSUCH", "E="]), ["HOSTNAME=h", "A=1", "SECRET=s3", "E="]);
    }

    #[test]
    fn the_last_of_a_name_counts() {
        assert_eq!(assembled(&["A=1", "HOSTNAME=x", "A=2=3"]), ["HOSTNAME=x", "A=2=3"]);
    }

    #[test]
    fn a_variable_has_a_name_and_no_nul() {
        for bad in ["", "=", "=x", "A=\0", "A\0"] {
            assert!(bad.parse::<Variable>().is_err(), "{bad:?}");
        }
    }
}
