//! The calls made from the loop, by a process that has left the host's program.

use std::convert::Infallible;
use std::os::fd::{AsFd, OwnedFd};

use super::machine::{Step, map_code};
use super::steps::Steps;
use super::waiting::{Birth, Waiting};
use super::{LastCalls, number_of};
use crate::sys::{SysError, exe};

/// What an error of the birth is about.
pub const BIRTH: &str = "clone(CLONE_PARENT)";
/// What an error of a sibling is about that says who it is.
const ANNOUNCEMENT: &str = "pidfd_open and sendmsg, of the process itself";

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
        if let Some(birth) = waiting.pause.birth {
            let clone = steps.clone_sibling(&encode(BIRTH))?;
            if birth == Birth::Announced {
                steps.announce(&clone, &encode(ANNOUNCEMENT))?;
            }
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
