//! The last system calls of a process that is about to become another program, as data.
//!
//! A process that waits in a container's namespaces must not lead back to the runtime's file (see [`super::exe`]).
//! Copying the program to anonymous memory costs more than a millisecond; but what init has left to
//! do when it waits for `start` is a short list of system calls, each with known arguments. So the list is
//! prepared in memory, and a loop of some fifteen instructions, which stands in the sealed memfd that
//! becomes the process's executable file, makes the calls one by one. The first of them unmap the
//! program. There is no copy, no code of the host is mapped any more, and a filter that is loaded on the
//! way need allow nothing but the calls after it. The same loop clones: what `exec` puts into a container's pid
//! namespace is born when nothing of the host is left in its memory.
//!
//! Where the loop can't be used (another architecture, or hooks that need the whole program), the same
//! list is worked off by ordinary code.

mod detached;
mod machine;
mod steps;
mod waiting;

use std::any::Any;
use std::convert::Infallible;
use std::ffi::{CString, c_char};
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::errno::Errno;

use super::{Call as _, SysError, caps, check, seccomp};
pub use detached::BIRTH;
pub use machine::{has_loop, stub};
pub use steps::{BIRTH_MARK, CALLS_OF_ANNOUNCEMENT, FAILURE_MARK};
pub use waiting::{Birth, Pause, Waiting};

/// The calls, in their order, and the memory that their arguments point to.
#[derive(Debug, Default)]
pub struct LastCalls {
    calls: Vec<Call>,
    /// How many of them come before the birth of a sibling.
    before_birth: usize,
    /// How many of them come before the wait at a gate.
    before_gate: usize,
    /// The first one that the filter sees.
    filtered_from: usize,
    memory: Vec<Box<dyn Any>>,
}

#[derive(Debug)]
struct Call {
    number: libc::c_long,
    args: [u64; 6],
    /// A result below this is a failure.
    least: i64,
    /// What an error is about.
    what: String,
}

/// [`Call::least`] of one that may fail.
const WHATEVER: i64 = i64::MIN;

impl LastCalls {
    fn push<const N: usize>(&mut self, number: libc::c_long, given: [u64; N], what: impl Into<String>) {
        let mut args = [0; 6];
        args[..N].copy_from_slice(&given);
        self.calls.push(Call { number, args, least: 0, what: what.into() });
    }

    /// Keeps what a pointer refers to.
    fn keep<T: 'static>(&mut self, value: T) {
        self.memory.push(Box::new(value));
    }

    /// The calls that its filter sees if it is loaded before a birth, those of [`Pause`] included: numbers and arguments.
    pub fn filtered(&self, link: BorrowedFd<'_>, pause: &Pause) -> Vec<(libc::c_long, [u64; 6])> {
        let own = self.calls.iter().skip(self.filtered_from).map(|call| (call.number, call.args));
        let gate = pause.gate.as_ref().map(|gate| steps::calls_of_wait(number_of(&link), number_of(gate)));
        let birth = pause.birth.map(|birth| steps::calls_of_birth(number_of(&link), birth));
        own.chain(birth.into_iter().flatten()).chain(gate.into_iter().flatten()).collect()
    }

    /// What has been said so far is done before a sibling is born, what follows by that.
    pub fn then_birth(&mut self) {
        self.before_birth = self.calls.len();
    }

    /// What has been said so far is done before the wait at the gate, what follows after it.
    pub fn then_gate(&mut self) {
        self.before_gate = self.calls.len();
    }

    /// write(2) of a message.
    pub fn say(&mut self, link: BorrowedFd<'_>, message: Vec<u8>, what: &str) {
        let (at, length) = (message.as_ptr() as u64, message.len() as u64);
        self.keep(message);
        self.push(libc::SYS_write, [number_of(&link), at, length], what);
    }

    /// read(2) of an answer, whatever it says; the end of the link is a failure.
    pub fn await_answer(&mut self, link: BorrowedFd<'_>, what: &str) {
        let mut answer = Box::new([0u8; 64]);
        let (at, length) = (answer.as_mut_ptr() as u64, answer.len() as u64);
        self.keep(answer);
        self.push(libc::SYS_read, [number_of(&link), at, length], what);
        if let Some(read) = self.calls.last_mut() {
            read.least = 1;
        }
    }

    /// close(2), whatever comes of it.
    pub fn close(&mut self, number: u32) {
        self.push(libc::SYS_close, [number.into()], "close");
        if let Some(close) = self.calls.last_mut() {
            close.least = WHATEVER;
        }
    }

    /// setsid(2).
    pub fn begin_session(&mut self) {
        self.push(libc::SYS_setsid, [], "setsid");
    }

    /// TIOCSCTTY: standard input becomes the controlling terminal of this session.
    pub fn control_terminal(&mut self) {
        self.push(libc::SYS_ioctl, [0, libc::TIOCSCTTY, 0], "terminal: ioctl(TIOCSCTTY)");
    }

    /// prlimit(2) of this process.
    pub fn set_rlimit(&mut self, resource: nix::sys::resource::Resource, soft: u64, hard: u64) {
        let limit = Box::new(libc::rlimit64 { rlim_cur: soft, rlim_max: hard });
        let at = std::ptr::from_ref(&*limit) as u64;
        self.keep(limit);
        let what = format!("process.rlimits: prlimit({resource:?}, {soft}, {hard})");
        self.push(libc::SYS_prlimit64, [0, resource as u64, at, 0], what);
    }

    /// umask(2).
    pub fn umask(&mut self, mask: u32) {
        self.push(libc::SYS_umask, [mask.into()], "umask");
    }

    /// close_range(2): every descriptor from `first` up closes at execve.
    pub fn cloexec_from(&mut self, first: u32) {
        let flags = libc::CLOSE_RANGE_CLOEXEC.into();
        self.push(libc::SYS_close_range, [first.into(), u32::MAX.into(), flags], "close_range");
    }

    /// seccomp(2), SECCOMP_SET_MODE_FILTER, of a finished program.
    pub fn load_filter(&mut self, program: &[u8], flags: u64) -> Result<(), SysError> {
        let (instructions, header) = seccomp::prepared(program)?;
        let header = Box::new(header);
        let at = std::ptr::from_ref(&*header) as u64;
        self.keep(instructions);
        self.keep(header);
        let what = format!("linux.seccomp: seccomp({} instructions)", program.len() / seccomp::INSTRUCTION);
        self.push(libc::SYS_seccomp, [libc::SECCOMP_SET_MODE_FILTER.into(), flags, at], what);
        self.filtered_from = self.calls.len();
        Ok(())
    }

    /// capset(2).
    pub fn set_capabilities(&mut self, effective: u64, permitted: u64, inheritable: u64) {
        let prepared = Box::new(caps::prepared(effective, permitted, inheritable));
        let header = std::ptr::from_ref(&prepared.0) as u64;
        let data = prepared.1.as_ptr() as u64;
        self.keep(prepared);
        self.push(libc::SYS_capset, [header, data], "capabilities: capset");
    }

    /// execve(2). `what` names the program in an error.
    pub fn execute(&mut self, path: CString, args: Vec<CString>, env: Vec<CString>, what: String) {
        let pointers = |list: &[CString]| -> Vec<*const c_char> {
            list.iter().map(|s| s.as_ptr()).chain([std::ptr::null()]).collect()
        };
        let (argv, envp) = (pointers(&args), pointers(&env));
        self.push(libc::SYS_execve, [path.as_ptr() as u64, argv.as_ptr() as u64, envp.as_ptr() as u64], what);
        self.keep((path, args, env));
        self.keep((argv, envp));
    }

    /// Makes the calls that come before the gate, from ordinary code, and after a birth if there is one.
    pub fn begin(&mut self) -> Result<(), SysError> {
        self.calls.drain(..std::mem::take(&mut self.before_gate)).try_for_each(|call| call.make())
    }

    /// Makes the calls from ordinary code. Returns on failure only.
    pub fn finish(self) -> Result<Infallible, SysError> {
        self.calls.iter().try_for_each(Call::make)?;
        Err(Errno::ENOEXEC).call(|| "the configuration has no process to start")
    }
}

impl Call {
    fn make(&self) -> Result<(), SysError> {
        let [a, b, c, d, e, f] = self.args;
        // SAFETY: the arguments were prepared for this call by a method of `LastCalls`, and what they point
        // to is in its `memory`.
        let rc = unsafe { libc::syscall(self.number, a, b, c, d, e, f) };
        match check(rc) {
            _ if self.least == WHATEVER => Ok(()),
            Ok(rc) if rc < self.least => Err(Errno::EPIPE).call(|| self.what.clone()),
            done => done.map(drop).call(|| self.what.clone()),
        }
    }
}

fn number_of(fd: &impl AsRawFd) -> u64 {
    fd.as_raw_fd().unsigned_abs().into()
}
