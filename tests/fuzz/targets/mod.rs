//! What is fuzzed: each target takes any bytes, and panics if what must hold of them does not.

mod cgroup_path;
mod config;
mod exec_process;
mod exec_user;
mod id;
mod mount_options;
mod record;
mod seccomp;
mod user;

/// One entry for fuzzers.
#[derive(Debug)]
pub(crate) struct Target {
    /// Of its corpus, and on the command line.
    pub(crate) name: &'static str,
    /// What its inputs are, for whoever makes new ones.
    pub(crate) input: Input,
    /// Panics if the property does not hold.
    pub(crate) entry: fn(&[u8]),
}

/// The form of a target's inputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Input {
    /// Anything.
    Bytes,
    /// A JSON text.
    Json,
    /// A JSON text that is a config.json.
    Config,
}

pub(crate) const ALL: &[Target] = &[
    Target { name: "config", input: Input::Config, entry: config::entry },
    Target { name: "mount-options", input: Input::Bytes, entry: mount_options::entry },
    Target { name: "id", input: Input::Bytes, entry: id::entry },
    Target { name: "user", input: Input::Bytes, entry: user::entry },
    Target { name: "cgroup-path", input: Input::Bytes, entry: cgroup_path::entry },
    Target { name: "exec-process", input: Input::Json, entry: exec_process::entry },
    Target { name: "exec-user", input: Input::Bytes, entry: exec_user::entry },
    Target { name: "record", input: Input::Json, entry: record::entry },
    Target { name: "seccomp", input: Input::Json, entry: seccomp::entry },
];

/// An error that a user can do something with.
fn says_something(error: &anyhow::Error) {
    let text = format!("{error:#}");
    assert!(!text.trim().is_empty() && text.len() < 1 << 20, "{text:?}");
}
