//! What the probe has seen inside.

use std::fmt;
use std::ops::Index;

use serde_json::Value;

use crate::clause::{Outcome, Stop, fail};

/// The probe's report. `seen["rlimits"]["RLIMIT_CORE"]` is null where there is no such thing.
#[derive(Clone, Debug)]
pub(crate) struct Seen(pub(crate) Value);

impl Index<&str> for Seen {
    type Output = Value;

    fn index(&self, name: &str) -> &Value {
        &self.0[name]
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Seen {
    /// What is at `rlimits/RLIMIT_CORE/0`.
    pub(crate) fn at(&self, path: &str) -> &Value {
        self.0.pointer(&format!("/{path}")).unwrap_or(&Value::Null)
    }

    /// Fails unless this is at the path; of an object all that is wanted, and there may be more.
    pub(crate) fn is(&self, path: &str, wanted: impl Into<Value>) -> Outcome {
        includes(path, self.at(path), &wanted.into())
    }

    /// The uppermost mount at a place.
    pub(crate) fn mount(&self, at: &str) -> Result<&Value, Stop> {
        let mounts = self["mounts"].as_array().into_iter().flatten();
        mounts
            .rev()
            .find(|mount| mount["at"] == at)
            .ok_or_else(|| Stop::Fail(format!("nothing is mounted at {at}")))
    }

    /// Fails unless the mount at a place has all of these options, of its own or of its file system, and with
    /// `!` in front has them not as its own.
    pub(crate) fn mounted(&self, at: &str, options: &str) -> Outcome {
        let mount = self.mount(at)?;
        let has = |of: &str, option: &str| {
            mount[of].as_array().is_some_and(|list| list.iter().any(|o| o == option))
        };
        let is = |option: &str| match option.strip_prefix('!') {
            Some(absent) => !has("options", absent),
            None => has("options", option) || has("data", option),
        };
        match options.split_whitespace().find(|option| !is(option)) {
            Some(option) => fail(format!(
                "{at} is mounted with {} and {}, wanted {option}",
                mount["options"], mount["data"]
            )),
            None => Ok(()),
        }
    }

    /// Private, shared, slave or unbindable, or more than one of them.
    pub(crate) fn propagation(&self, at: &str) -> Result<String, Stop> {
        let words = join(self.mount(at)?["propagation"].as_array().map_or(&[], Vec::as_slice));
        let kinds = [("shared:", "shared"), ("master:", "slave"), ("unbindable", "unbindable")];
        let is: Vec<&str> =
            kinds.iter().filter(|(word, _)| words.contains(word)).map(|(_, kind)| *kind).collect();
        Ok(if is.is_empty() { "private".to_owned() } else { is.join(" and ") })
    }
}

fn join(words: &[Value]) -> String {
    words.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(",")
}

/// Fails unless `seen` has all that is `wanted`: an object may have more, anything else is the same.
pub(crate) fn includes(what: &str, seen: &Value, wanted: &Value) -> Outcome {
    match wanted.as_object() {
        Some(members) => members.iter().try_for_each(|(name, member)| {
            includes(&format!("{what} {name}").replace("/ ", "/"), &seen[name], member)
        }),
        None if seen == wanted => Ok(()),
        None => fail(format!("{what} is {}, not {wanted}", shortened(seen))),
    }
}

/// A value for a reason of one line.
fn shortened(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(160) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}
