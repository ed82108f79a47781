//! What a process waits for between the parts of its list.

use std::os::fd::{BorrowedFd, OwnedFd};

use super::number_of;
use crate::sys::fs;

/// What is done between the parts of the list.
#[derive(Debug, Default)]
pub struct Pause {
    /// A sibling is cloned, which goes on with the list. This process says who that is, by [`super::BIRTH_MARK`], and ends.
    pub birth: Option<Birth>,
    /// By a listening socket: the link is closed, a connection awaited that takes its place, and a message on it.
    pub gate: Option<OwnedFd>,
}

/// How a sibling that has been cloned can be sure that it is known. Who has cloned it may have been killed before it could
/// say so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Birth {
    /// The list goes on with a wait for the answer, [`super::LastCalls::await_answer`].
    Answered,
    /// It says so itself, in the same words but for the pid, and goes on at once. It can be stopped before that: so who has
    /// cloned it says it, too.
    Announced,
}

/// Who goes on after that, and whom an error is told.
#[derive(Debug)]
pub struct Waiting {
    /// To whoever waits for this process.
    pub link: OwnedFd,
    /// What it does in between.
    pub pause: Pause,
    /// Descriptors below this stay open; of the others only link and gate do.
    pub first: u32,
}

impl Waiting {
    /// The number that the next new descriptor gets once the loop has closed the others.
    pub fn next_number(link: BorrowedFd<'_>, pause: &Pause, first: u32) -> u32 {
        let kept = |n: u32| {
            let n = u64::from(n);
            n == number_of(&link) || pause.gate.as_ref().map(number_of) == Some(n)
        };
        let is_taken = |n: &u32| if *n < first { fs::is_open(*n) } else { kept(*n) };
        (0..u32::MAX).find(|n| !is_taken(n)).unwrap_or(u32::MAX)
    }
}
