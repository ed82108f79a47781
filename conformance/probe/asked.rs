//! What is looked at only when the order names it.
//!
//! | order | answer |
//! |--|--|
//! | `"stat": [PATH...]` | `PATH: {kind, mode, uid, gid, major, minor, size, link}` or `{errno}` |
//! | `"read": [PATH...]` | `PATH: text` or `{errno}` |
//! | `"list": [PATH...]` | `PATH: [name...]` sorted, or `{errno}` |
//! | `"open": [[PATH, how]...]` with r, w, rw, x (new file) | `"HOW:PATH": null` or errno |
//! | `"write": [[PATH, text]...]` | `PATH: null` or errno |
//! | `"run": [[PATH, ARG...]...]` | `PATH: {code, stdout}` or `{errno}` |
//! | `"calls": [[name, number, [word...]]...]` | `name: null` or errno; a string is passed by address |

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::process::Command;

use serde_json::{Map, Value, json};

use crate::sys::call;

/// The answers to all that is asked for.
pub(crate) fn answer(order: &Value) -> Value {
    let mut answers = Map::new();
    for (question, one) in [
        ("stat", stat as fn(&Value) -> Option<(String, Value)>),
        ("read", read),
        ("list", list),
        ("open", open),
        ("write", write),
        ("run", run),
        ("calls", system_call),
    ] {
        if let Some(items) = order[question].as_array() {
            let all: BTreeMap<String, Value> = items.iter().filter_map(one).collect();
            answers.insert(question.to_owned(), json!(all));
        }
    }
    Value::Object(answers)
}

fn errno(error: &std::io::Error) -> Value {
    json!(error.raw_os_error().map(|number| format!("{:?}", nix::errno::Errno::from_raw(number))))
}

fn outcome<T>(result: &std::io::Result<T>) -> Value {
    result.as_ref().err().map_or(Value::Null, errno)
}

fn or_errno<T>(result: std::io::Result<T>, answer: impl FnOnce(T) -> Value) -> Value {
    match result {
        Ok(value) => answer(value),
        Err(error) => json!({ "errno": errno(&error) }),
    }
}

fn stat(path: &Value) -> Option<(String, Value)> {
    let path = path.as_str()?;
    let describe = |found: fs::Metadata| {
        let kind = found.file_type();
        let kinds = [
            (kind.is_char_device(), "c"),
            (kind.is_block_device(), "b"),
            (kind.is_fifo(), "p"),
            (kind.is_socket(), "s"),
            (kind.is_symlink(), "link"),
            (kind.is_dir(), "directory"),
        ];
        let device = found.rdev();
        json!({
            "kind": kinds.iter().find(|(is, _)| *is).map_or("file", |(_, name)| name),
            "mode": found.mode() & 0o7777,
            "uid": found.uid(), "gid": found.gid(), "size": found.size(),
            "major": nix::sys::stat::major(device), "minor": nix::sys::stat::minor(device),
            "device": found.dev(), "inode": found.ino(),
            "link": fs::read_link(path).ok(),
        })
    };
    Some((path.to_owned(), or_errno(fs::symlink_metadata(path), describe)))
}

fn read(path: &Value) -> Option<(String, Value)> {
    let path = path.as_str()?;
    let text = |bytes: Vec<u8>| json!(String::from_utf8_lossy(&bytes).trim_end_matches(['\n', '\0']));
    Some((path.to_owned(), or_errno(fs::read(path), text)))
}

fn list(path: &Value) -> Option<(String, Value)> {
    let path = path.as_str()?;
    let names = |dir: fs::ReadDir| {
        let mut names: Vec<String> =
            dir.filter_map(|e| Some(e.ok()?.file_name().to_string_lossy().into_owned())).collect();
        names.sort();
        json!(names)
    };
    Some((path.to_owned(), or_errno(fs::read_dir(path), names)))
}

fn open(item: &Value) -> Option<(String, Value)> {
    let (path, how) = (item[0].as_str()?, item[1].as_str()?);
    let mut options = fs::OpenOptions::new();
    options.read(how.contains('r')).write(how.contains(['w', 'x'])).create_new(how.contains('x'));
    Some((format!("{how}:{path}"), outcome(&options.open(path))))
}

fn write(item: &Value) -> Option<(String, Value)> {
    let (path, text) = (item[0].as_str()?, item[1].as_str()?);
    Some((path.to_owned(), outcome(&fs::write(path, text))))
}

fn run(item: &Value) -> Option<(String, Value)> {
    let words: Vec<&str> = item.as_array()?.iter().filter_map(Value::as_str).collect();
    let (program, args) = words.split_first()?;
    let told = |output: std::process::Output| {
        let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        let seen = serde_json::from_str::<Value>(&text).unwrap_or(Value::String(text));
        json!({ "code": output.status.code(), "stdout": seen })
    };
    Some(((*program).to_owned(), or_errno(Command::new(program).args(args).output(), told)))
}

fn system_call(item: &Value) -> Option<(String, Value)> {
    let (name, number) = (item[0].as_str()?, item[1].as_i64()?);
    let given = item[2].as_array().cloned().unwrap_or_default();
    // With a NUL at their ends, and alive until the call is over.
    let texts: Vec<String> = given.iter().map(|word| word.as_str().unwrap_or("").to_owned() + "\0").collect();
    let mut words = [0u64; 6];
    for ((word, value), text) in words.iter_mut().zip(&given).zip(&texts) {
        let signed = || value.as_i64().map(|word| u64::from_ne_bytes(word.to_ne_bytes()));
        *word = if value.is_string() {
            text.as_ptr().expose_provenance() as u64
        } else {
            value.as_u64().or_else(signed)?
        };
    }
    let errno = call(number, words).err().map(nix::errno::Errno::from_raw);
    Some((name.to_owned(), json!(errno.map(|e| format!("{e:?}")))))
}
