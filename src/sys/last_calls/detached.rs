//! The calls made from the loop, by a process that has left the host's program.

use std::convert::Infallible;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::machine::{Step, map_code};
use super::steps::Steps;
use super::{LastCalls, number_of};
use crate::sys::{SysError, exe, fs};

/// What is done between the parts of the list.
#[derive(Debug, Default)]
pub struct Pause {
    /// A sibling is cloned, which goes on with the list. This process says who that is, by [`BIRTH_MARK`], and ends.
    pub birth: bool,
    /// By a listening socket: the link is closed, a connection awaited that takes its place, and a message on it.
    pub gate: Option<OwnedFd>,
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

/// What stands before an error that the loop tells: no message of JSON begins with it. Behind it the
/// negative errno, native endian, and what the caller of [`LastCalls::finish_detached`] has encoded.
pub const FAILURE_MARK: [u8; 8] = [0; 8];
/// What stands before the pid of a sibling that the loop has cloned: native endian, 8 bytes, as the caller's pid
/// namespace has it. Its pidfd comes along.
pub const BIRTH_MARK: [u8; 8] = [1; 8];

/// What an error of the birth is about.
pub const BIRTH: &str = "clone(CLONE_PARENT)";

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

impl LastCalls {
    /// Makes the calls from the loop in `stub`, after the program has been unmapped and `stub` has become
    /// its executable file. `encode` makes the message of an error about something. Returns only if it could
    /// not even begin.
    pub fn finish_detached(
        self,
        stub: &OwnedFd,
        waiting: &Waiting,
        encode: impl Fn(&str) -> Vec<u8>,
    ) -> Result<Infallible, SysError> {
        let entry = map_code(stub)?;
        let leaving = exe::leave(stub.as_fd(), entry);
        let mut steps = Steps::new(number_of(&waiting.link));
        let what = "leaving the host's program file";
        for unmap in &leaving.unmap {
            steps.add(libc::SYS_munmap, *unmap, &encode(what))?;
        }
        steps.add(libc::SYS_prctl, leaving.prctl, &encode(what))?;
        steps.close_but(waiting, &encode("close_range"))?;
        let add = |steps: &mut Steps, part: &[super::Call]| {
            part.iter().try_for_each(|call| {
                steps.add(call.number, call.args, &encode(&call.what))?;
                steps.expect(call.least);
                Ok(())
            })
        };
        let (before, after) = self.calls.split_at(self.before_gate.max(self.before_birth));
        let (before, newborn) = before.split_at(self.before_birth);
        add(&mut steps, before)?;
        if waiting.pause.birth {
            steps.clone_sibling(&encode(BIRTH))?;
        }
        add(&mut steps, newborn)?;
        if let Some(gate) = &waiting.pause.gate {
            steps.wait(number_of(gate), &encode("waiting for start"))?;
        }
        add(&mut steps, after)?;
        // From here nothing of this program runs, and nothing that it has allocated is ever freed.
        let first = steps.leak();
        std::mem::forget((self, leaving));
        // SAFETY: the loop's code is mapped at `entry`; it takes the first step's address, uses no stack,
        // and does not return: each list ends in a step at which it stops the process, if execve or exit_group
        // have not ended it before.
        let run: extern "C" fn(*const Step) -> ! = unsafe { std::mem::transmute(entry) };
        run(first)
    }
}
