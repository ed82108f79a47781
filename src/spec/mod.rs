//! What comes in and goes out as JSON: the configuration of a bundle, the record and state of a
//! container, the features document.

pub mod features;
mod mend;
mod pointer;
pub mod record;

use std::path::{Path, PathBuf};

pub use oci_spec::runtime as oci;
use oci_spec::runtime::Spec;
use serde_json::Value;

use crate::error::{Doing, Result, invalid};
use crate::sys::fs::{self, OFlag};

/// The newest version of the specification whose properties this program knows.
pub const OCI_VERSION: &str = "1.3.0";

/// A configuration larger than this is refused; the largest real ones are some 100 KB.
const MAX_CONFIG: u64 = 16 << 20;

/// A bundle directory and its configuration.
#[derive(Debug)]
pub struct Bundle {
    /// Absolute.
    pub dir: PathBuf,
    /// The parsed configuration.
    pub spec: Spec,
}

/// Reads a bundle's configuration: `config.json` in it, or the file given. bundle.md.
pub fn load(bundle: &Path, config: Option<&Path>) -> Result<Bundle> {
    let dir = std::path::absolute(bundle).doing(|| format!("bundle {bundle:?}"))?;
    if dir.to_str().is_none() {
        return Err(invalid(format!(
            "bundle {dir:?}: a path that is not UTF-8 can't be said in a container's state"
        )));
    }
    let config = config.map_or_else(|| dir.join("config.json"), Path::to_owned);
    let what = || format!("config {config:?}");
    let file = fs::open(&config, OFlag::O_RDONLY | OFlag::O_NONBLOCK).doing(what)?;
    if fs::file_type(&fs::stat(&file)?) != libc::S_IFREG {
        return Err(invalid("not a regular file")).doing(what);
    }
    let content = fs::read_all(file, MAX_CONFIG).doing(what)?;
    let spec = parse(&content).doing(what)?;
    Ok(Bundle { dir, spec })
}

/// Parses a configuration. Unknown properties are ignored, unknown values of known ones are errors,
/// but for capabilities: config.md says to warn (since 1.1).
pub fn parse(content: &[u8]) -> Result<Spec> {
    check_depth(content)?;
    let spec = match serde_json::from_slice(content) {
        Ok(spec) => spec,
        Err(error) => parse_again(content, &error)?,
    };
    check_version(&spec)?;
    Ok(spec)
}

/// The parser passes over unknown properties however deep they are; no configuration needs to be that deep.
fn check_depth(content: &[u8]) -> Result<()> {
    const DEEPEST: usize = 128;
    let (mut depth, mut in_string, mut escaped) = (0usize, false, false);
    for byte in content {
        match byte {
            b'"' if !escaped => in_string = !in_string,
            b'[' | b'{' if !in_string => depth += 1,
            b']' | b'}' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
        escaped = in_string && *byte == b'\\' && !escaped;
        if depth > DEEPEST {
            return Err(invalid(format!("nested more than {DEEPEST} deep")));
        }
    }
    Ok(())
}

/// The way to an error: says which property is wrong, unless there is nothing wrong but what [`mend`] knows.
fn parse_again(content: &[u8], error: &serde_json::Error) -> Result<Spec> {
    let explain = |content: &[u8], error: &serde_json::Error| match error.classify() {
        serde_json::error::Category::Data => {
            invalid(format!("{}: {error}", pointer::at(content, error.line(), error.column())))
        }
        _ => invalid(format!("not valid JSON: {error}")),
    };
    let Ok(mut value) = serde_json::from_slice::<Value>(content) else {
        return Err(explain(content, error));
    };
    if !mend::mend(&mut value) {
        return Err(explain(content, error));
    }
    let content = serde_json::to_vec(&value)?;
    serde_json::from_slice(&content).map_err(|error| explain(&content, &error))
}

/// config.md, "Specification version": SemVer, and 1.x is what this program understands.
fn check_version(spec: &Spec) -> Result<()> {
    let version = spec.version();
    let core = version.split_once(['-', '+']).map_or(version.as_str(), |(core, _)| core);
    let parts: Vec<&str> = core.split('.').collect();
    let number = |p: &&str| {
        !p.is_empty() && p.bytes().all(|b| b.is_ascii_digit()) && (*p == "0" || !p.starts_with('0'))
    };
    if parts.len() != 3 || !parts.iter().all(number) {
        return Err(invalid(format!("/ociVersion: {version:?} is not a version in SemVer 2.0 form")));
    }
    match parts[0] {
        "1" => Ok(()),
        _ => Err(invalid(format!("/ociVersion: {version:?} is not supported, only 1.x is"))),
    }
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn an_unknown_property_is_ignored() {
        assert!(parse(br#"{"ociVersion":"1.0.2","novel":{"x":1}}"#).is_ok());
    }

    #[test]
    fn an_unknown_value_names_the_property() {
        let error =
            parse(br#"{"ociVersion":"1.0.0","linux":{"namespaces":[{"type":"pid"},{"type":"oddity"}]}}"#);
        let text = format!("{:#}", error.unwrap_err());
        assert!(text.starts_with("/linux/namespaces/1/type: unknown variant `oddity`"), "{text}");
    }

    #[test]
    fn a_version_that_is_none_is_refused() {
        for bad in ["", "1", "1.0", "1.0.x", "2.0.0", "1.0.00", "v1.0.0"] {
            assert!(parse(format!(r#"{{"ociVersion":"{bad}"}}"#).as_bytes()).is_err(), "{bad}");
        }
        for good in ["1.0.0", "1.0.2-dev", "1.3.0+dev", "1.0.0-rc1"] {
            assert!(parse(format!(r#"{{"ociVersion":"{good}"}}"#).as_bytes()).is_ok(), "{good}");
        }
    }

    #[test]
    fn nesting_ten_thousand_deep_is_an_error_and_no_crash() {
        let (open, close) = ("[".repeat(10_000), "]".repeat(10_000));
        let known = format!(r#"{{"ociVersion":"1.0.0","mounts":{open}{close}}}"#);
        assert!(parse(known.as_bytes()).is_err());
        assert!(parse(format!(r#"{{"ociVersion":"1.0.0","x":{open}{close}}}"#).as_bytes()).is_err());
        let text = format!(r#"{{"ociVersion":"1.0.0","x":"{open}\\\"{open}"}}"#);
        assert!(parse(text.as_bytes()).is_ok());
    }
}
