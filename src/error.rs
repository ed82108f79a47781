//! Errors: a chain that people read, and under it a kind that callers act on.
//!
//! The innermost cause is a [`Failure`] (what is wrong, and its kind) or a `sys::SysError` (the call and
//! errno). Each level above adds the object it was about with [`Doing::doing`]: nouns, lower case.

use std::fmt;

use crate::sys::{Errno, SysError};

/// What every fallible function of this crate answers.
pub type Result<T, E = anyhow::Error> = std::result::Result<T, E>;

/// What a caller can act on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Kind {
    /// There is no such container.
    NotFound,
    /// There is a container of this id.
    Exists,
    /// The container is in a state in which this can't be done.
    InvalidState,
    /// The configuration or the command line is wrong.
    Invalid,
    /// The kernel or this program can't do it.
    Unsupported,
    /// A hook failed: the container is to be destroyed.
    Hook,
    /// A system call failed.
    System,
}

/// The root of a chain: what is wrong, in words.
#[derive(Clone, Debug)]
pub struct Failure {
    /// What a caller can act on.
    pub kind: Kind,
    /// What people read.
    pub text: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Failure {}

/// An error of this kind.
pub fn failure(kind: Kind, text: impl Into<String>) -> anyhow::Error {
    Failure { kind, text: text.into() }.into()
}

/// The configuration or the command line is wrong.
pub fn invalid(text: impl Into<String>) -> anyhow::Error {
    failure(Kind::Invalid, text)
}

/// Neither the kernel nor this program can do it.
pub fn unsupported(text: impl Into<String>) -> anyhow::Error {
    failure(Kind::Unsupported, text)
}

/// The kind of an error: its failure's, or [`Kind::System`].
pub fn kind_of(error: &anyhow::Error) -> Kind {
    error.downcast_ref::<Failure>().map_or(Kind::System, |failure| failure.kind)
}

/// errno at the root of an error, if a system call failed.
pub fn errno_of(error: &anyhow::Error) -> Option<Errno> {
    error.downcast_ref::<SysError>().map(|sys| sys.errno)
}

/// Adds the object that an error is about.
pub trait Doing<T> {
    /// `what` is evaluated on failure only: nouns, no full stop.
    fn doing<D: fmt::Display + Send + Sync + 'static>(self, what: impl FnOnce() -> D) -> Result<T>;
}

impl<T, E> Doing<T> for std::result::Result<T, E>
where
    Self: anyhow::Context<T, E>,
{
    fn doing<D: fmt::Display + Send + Sync + 'static>(self, what: impl FnOnce() -> D) -> Result<T> {
        anyhow::Context::with_context(self, what)
    }
}

/// A step of undoing: its failure is logged and does not replace the error being handled.
pub fn best_effort<T, E: Into<anyhow::Error>>(what: &str, outcome: std::result::Result<T, E>) {
    if let Err(error) = outcome {
        crate::log::warn(format_args!("{what}: {:#}", error.into()));
    }
}
