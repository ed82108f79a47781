//! What comes in and goes out as JSON: the configuration of a bundle, the record and state of a
//! container, the features document.

pub mod events;
pub mod features;
pub mod for_exec;
mod mend;
mod pointer;
pub mod record;
mod required;

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
    let lack = check_form(content)?;
    let mut spec = match serde_json::from_slice(content) {
        Ok(spec) => spec,
        Err(error) => parse_again(content, &error)?,
    };
    mend::forget_absent_limit(&mut spec, content);
    check_version(&spec)?;
    lack.map_or(Ok(spec), |lack| Err(invalid(lack)))
}

/// Parses `linux.resources` on their own, as `update` gets them.
pub fn parse_resources(content: &[u8]) -> Result<oci::LinuxResources> {
    let spec = parse_part(content, ("linux.resources", r#""linux":{"resources":"#, "}"))?;
    let resources = spec.linux().as_ref().and_then(|linux| linux.resources().clone());
    Ok(resources.unwrap_or_default())
}

/// Parses `process` on its own, as `exec` gets it.
pub fn parse_process(content: &[u8]) -> Result<oci::Process> {
    let spec = parse_part(content, ("process", r#""process":"#, ""))?;
    spec.process().clone().ok_or_else(|| invalid("there is no process in it"))
}

/// A configuration of nothing but one object.
fn parse_part(content: &[u8], (name, before, after): (&str, &str, &str)) -> Result<Spec> {
    // Whole, so that it can't be more than one value of what it is put into.
    serde_json::from_slice::<serde::de::IgnoredAny>(content)
        .map_err(|error| invalid(format!("not valid JSON: {error}")))?;
    // The model would take a list of values, too.
    if content.trim_ascii_start().first() != Some(&b'{') {
        return Err(invalid(format!("it is not an object, as {name} is")));
    }
    let before = format!(r#"{{"ociVersion":"{OCI_VERSION}",{before}"#);
    parse(&[before.as_bytes(), content, after.as_bytes(), b"}"].concat())
}

/// What the parser passes over. It skips unknown properties however deep they are, and no configuration needs to be
/// that deep. And in maps, such as annotations, the last of several values would hold: config.md has names that are
/// unique (glossary.md, "JSON").
///
/// Returned is the first thing that is [`required`] and missing, which counts only if the parser has nothing to say.
fn check_form(content: &[u8]) -> Result<Option<String>> {
    const DEEPEST: usize = 128;
    // The names of all objects that are open; of each object and array where its names and its text begin.
    let (mut names, mut open) = (Vec::<&[u8]>::new(), Vec::<(usize, usize)>::new());
    let mut last_string = None;
    let mut lack = None;
    let mut at = 0;
    while let Some(byte) = content.get(at) {
        at += 1;
        match byte {
            b'"' => {
                let length = string_length(&content[at..]);
                last_string = Some(&content[at..at + length]);
                at += length + 1;
                continue;
            }
            b':' => names.extend(last_string),
            b'{' | b'[' if open.len() == DEEPEST => {
                return Err(invalid(format!("nested more than {DEEPEST} deep")));
            }
            b'{' | b'[' => open.push((names.len(), at - 1)),
            b'}' | b']' => {
                let (first, begin) = open.pop().unwrap_or((0, 0));
                check_unique(&mut names[first..])?;
                if let (b'}', None, Some(key)) = (byte, &lack, names[..first].last()) {
                    let keys = || keys(&open, &names[..first]);
                    let (text, names) = (&content[..at], &names[first..]);
                    lack = required::check(&required::Ended { text, begin, keys: &keys, key, names });
                }
                names.truncate(first);
            }
            _ => continue,
        }
        last_string = None;
    }
    Ok(lack)
}

/// The names that lead to an object: of all that are open, `names` has the last one before each of them, and what is
/// in an array has the array's.
fn keys<'a>(open: &[(usize, usize)], names: &[&'a [u8]]) -> Vec<&'a [u8]> {
    let mut places: Vec<usize> = open.iter().map(|(first, _)| *first).chain([names.len()]).collect();
    places.dedup();
    places.iter().filter_map(|place| names.get(place.checked_sub(1)?).copied()).collect()
}

/// Up to the closing quote, or to the end.
fn string_length(text: &[u8]) -> usize {
    let mut escaped = false;
    let is_end = |byte: &u8| {
        let end = *byte == b'"' && !escaped;
        escaped = *byte == b'\\' && !escaped;
        end
    };
    text.iter().position(is_end).unwrap_or(text.len())
}

/// Escapes are rare in names: only where there are some, the names are read as the parser does.
fn check_unique(names: &mut [&[u8]]) -> Result<()> {
    names.sort_unstable();
    let twice = match names.iter().any(|name| name.contains(&b'\\')) {
        true => {
            let mut names: Vec<String> = names.iter().map(|name| unescaped(name)).collect();
            names.sort_unstable();
            names.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| pair[0].clone())
        }
        false => names
            .windows(2)
            .find(|pair| pair[0] == pair[1])
            .map(|pair| String::from_utf8_lossy(pair[0]).into_owned()),
    };
    twice.map_or(Ok(()), |name| Err(invalid(format!("the name {name:?} is there twice in one object"))))
}

/// One that is no string of JSON stays as it is: the parser refuses it.
fn unescaped(name: &[u8]) -> String {
    let string = [b"\"", name, b"\""].concat();
    serde_json::from_slice(&string).unwrap_or_else(|_| String::from_utf8_lossy(name).into_owned())
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
    use super::{parse, parse_resources};

    #[test]
    fn resources_are_read_on_their_own_as_in_a_configuration() {
        let limit = |json: &str| {
            let resources = parse_resources(json.as_bytes()).map_err(|e| format!("{e:#}"))?;
            Ok::<_, String>(resources.pids().map(|pids| pids.limit()))
        };
        assert_eq!(limit(r#"{"pids":{"limit":7},"novel":1}"#), Ok(Some(7)));
        assert_eq!((limit("{}"), limit(r#"{"pids":{}}"#)), (Ok(None), Ok(None)));
        for bad in ["", "null", "[]", "garbage", "{}}", "{}},\"process\":{}", r#"{"pids":{"limit":"7"}}"#] {
            assert!(limit(bad).is_err(), "{bad}");
        }
        let error = limit(r#"{"hugepageLimits":[{"pageSize":"2MB"}]}"#).unwrap_err();
        assert_eq!(error, "/linux/resources/hugepageLimits/0: missing field `limit`");
    }

    #[test]
    fn an_unknown_property_is_ignored() {
        assert!(parse(br#"{"ociVersion":"1.0.2","novel":{"x":1}}"#).is_ok());
    }

    #[test]
    fn a_name_that_is_there_twice_is_refused_wherever_it_is() {
        for twice in [
            r#""annotations":{"a":"1","b":"2","a":"3"}"#,
            r#""linux":{"sysctl":{"net.a":"1","net.a":"1"}}"#,
            r#""x":[{"y":{"z":1,"z":2}}]"#,
            r#""x":1,"x":1"#,
            r#""ociVersion":"1.0.0""#,
            r#""x":{"a\"b":1,"a\"b" : 1}"#,
            r#""linux":{"sysctl":{"net.a":"1","b":"2","net\u002ea":"1"}}"#,
            r#""annotations":{"\u0061":"1","b":"2","a":"3"}"#,
        ] {
            let error = parse(format!(r#"{{"ociVersion":"1.0.0",{twice}}}"#).as_bytes()).unwrap_err();
            assert!(format!("{error:#}").contains("twice"), "{twice}: {error:#}");
        }
        for once in [
            r#""annotations":{"a":"b","b":"a","c":"a"}"#,
            r#""x":[{"y":1},{"y":1}],"y":{"x":{"x":1}}"#,
            r#""x":"y\\","y":["x","x","ociVersion"]"#,
            r#""annotations":{"a":"\"x\":1,\"x\":2"}"#,
            r#""annotations":{"a\\u0061":"1","aa":"2","\u0061":"3"}"#,
        ] {
            assert!(parse(format!(r#"{{"ociVersion":"1.0.0",{once}}}"#).as_bytes()).is_ok(), "{once}");
        }
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
