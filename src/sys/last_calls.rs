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

use std::any::Any;
use std::convert::Infallible;
use std::ffi::{CString, c_char};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;

use super::{Call as _, SysError, caps, check, exe, process, seccomp};

/// The calls, in their order, and the memory that their arguments point to.
#[derive(Debug, Default)]
pub struct LastCalls {
    calls: Vec<Call>,
    /// How many of them come before the pause.
    before_pause: usize,
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

    /// What has been said so far is done before the [`Pause`], what follows after it.
    pub fn then_pause(&mut self) {
        self.before_pause = self.calls.len();
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

    /// Makes the calls that come before the pause, from ordinary code.
    pub fn begin(&mut self) -> Result<(), SysError> {
        self.calls.drain(..std::mem::take(&mut self.before_pause)).try_for_each(|call| call.make())
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

/// Whether this machine has the loop.
pub const fn has_loop() -> bool {
    cfg!(target_arch = "x86_64")
}

/// One call as the loop reads it; the assembly below knows the offsets.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
struct Step {
    number: u64,
    args: [u64; 6],
    /// Where the result is stored, or 0.
    result: u64,
    /// A result below this is a failure.
    least: i64,
    /// The steps to go on with after a failure; 0 to ignore it.
    on_failure: u64,
    /// The steps to go on with after a result of 0; 0 for the next one.
    on_zero: u64,
}

#[cfg(target_arch = "x86_64")]
std::arch::global_asm!(
    ".pushsection .rodata.last_calls, \"a\"",
    "minidocker_last_calls_begin:",
    "mov r12, rdi",
    "2:",
    "mov rax, [r12]",
    "cmp rax, -1",
    "je 5f",
    "mov rdi, [r12 + 8]",
    "mov rsi, [r12 + 16]",
    "mov rdx, [r12 + 24]",
    "mov r10, [r12 + 32]",
    "mov r8, [r12 + 40]",
    "mov r9, [r12 + 48]",
    "syscall",
    // EINTR: the same call again.
    "cmp rax, -4",
    "je 2b",
    "mov rcx, [r12 + 56]",
    "test rcx, rcx",
    "jz 3f",
    "mov [rcx], rax",
    "3:",
    "cmp rax, [r12 + 64]",
    "jge 4f",
    "mov rcx, [r12 + 72]",
    "test rcx, rcx",
    "jz 4f",
    "mov r12, rcx",
    "jmp 2b",
    "4:",
    "test rax, rax",
    "jnz 6f",
    "mov rcx, [r12 + 80]",
    "test rcx, rcx",
    "jz 6f",
    "mov r12, rcx",
    "jmp 2b",
    "6:",
    "add r12, 88",
    "jmp 2b",
    "5:",
    "ud2",
    "minidocker_last_calls_end:",
    ".popsection",
);

#[cfg(target_arch = "x86_64")]
unsafe extern "C" {
    static minidocker_last_calls_begin: u8;
    static minidocker_last_calls_end: u8;
}

/// The loop's machine code; it can stand at any address. Empty where there is none.
#[cfg(target_arch = "x86_64")]
pub(super) fn code() -> &'static [u8] {
    let begin = &raw const minidocker_last_calls_begin;
    let length = (&raw const minidocker_last_calls_end) as usize - begin as usize;
    // SAFETY: the assembler places both labels around the code, in read-only data of this program.
    unsafe { std::slice::from_raw_parts(begin, length) }
}

#[cfg(not(target_arch = "x86_64"))]
pub(super) fn code() -> &'static [u8] {
    &[]
}

/// What is done between the two parts of the list.
#[derive(Debug)]
pub enum Pause {
    /// Nothing.
    None,
    /// By a listening socket: the link is closed, a connection awaited that takes its place, and a message on it.
    Gate(OwnedFd),
    /// A sibling is cloned, which goes on with the list. This process says who that is, by [`BIRTH_MARK`], and ends.
    Birth,
}

impl Pause {
    fn gate(&self) -> Option<&OwnedFd> {
        match self {
            Self::Gate(gate) => Some(gate),
            Self::None | Self::Birth => None,
        }
    }
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

impl Waiting {
    /// The number that the next new descriptor gets once the loop has closed the others.
    pub fn next_number(link: BorrowedFd<'_>, pause: &Pause, first: u32) -> u32 {
        let kept = |n: u32| {
            let n = u64::from(n);
            n == number_of(&link) || pause.gate().map(number_of) == Some(n)
        };
        let is_taken = |n: &u32| if *n < first { super::fs::is_open(*n) } else { kept(*n) };
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
        let (before, after) = self.calls.split_at(self.before_pause);
        for call in before {
            steps.add(call.number, call.args, &encode(&call.what))?;
            steps.expect(call.least);
        }
        match &waiting.pause {
            Pause::None => {}
            Pause::Gate(gate) => steps.wait(number_of(gate), &encode("waiting for start"))?,
            Pause::Birth => steps.clone_sibling(&encode("clone3(CLONE_PARENT)"))?,
        }
        for call in after {
            steps.add(call.number, call.args, &encode(&call.what))?;
            steps.expect(call.least);
        }
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

fn number_of(fd: &impl AsRawFd) -> u64 {
    fd.as_raw_fd().unsigned_abs().into()
}

fn map_code(stub: &OwnedFd) -> Result<*mut libc::c_void, SysError> {
    let access = libc::PROT_READ | libc::PROT_EXEC;
    // SAFETY: a new mapping at an address of the kernel's choice.
    let at = unsafe {
        libc::mmap(std::ptr::null_mut(), exe::PAGE, access, libc::MAP_PRIVATE, stub.as_raw_fd(), 0)
    };
    if at == libc::MAP_FAILED { Err(Errno::last()).call(|| "mmap(the last calls' loop)") } else { Ok(at) }
}

/// The list that the loop works off, being made. It has its final place from the beginning, for steps
/// refer to each other.
struct Steps {
    list: Box<[Step; Self::MOST]>,
    count: usize,
    link: u64,
}

impl Steps {
    /// One more than there is ever need for: the last one stays what ends the loop.
    const MOST: usize = 48;
    /// Where the loop ends the process, should even exit_group be forbidden: no step comes after the last.
    const END: Step = Step { number: u64::MAX, args: [0; 6], result: 0, least: 0, on_failure: 0, on_zero: 0 };

    fn new(link: u64) -> Self {
        Self { list: Box::new([Self::END; Self::MOST]), count: 0, link }
    }

    fn next(&mut self) -> Result<&mut Step, SysError> {
        self.count += 1;
        self.list[..Self::MOST - 1]
            .get_mut(self.count - 1)
            .ok_or(Errno::E2BIG)
            .call(|| "the list of last calls")
    }

    /// A call whose failure is told on the link with this message, and ends the process.
    fn add(&mut self, number: libc::c_long, args: [u64; 6], message: &[u8]) -> Result<(), SysError> {
        let mut told = FAILURE_MARK.to_vec();
        let errno_at = told.len();
        told.extend([0; 8]);
        told.extend(message);
        let told: &'static mut [u8] = told.leak();
        let result = told[errno_at..].as_mut_ptr() as u64;
        let tell = [self.link, told.as_ptr() as u64, told.len() as u64, 0, 0, 0];
        let after: &'static [Step; 3] = Box::leak(Box::new([
            Step { number: libc::SYS_write.unsigned_abs(), args: tell, ..Self::END },
            Step { number: libc::SYS_exit_group.unsigned_abs(), args: [1, 0, 0, 0, 0, 0], ..Self::END },
            Self::END,
        ]));
        let on_failure = after.as_ptr() as u64;
        *self.next()? = Step { number: number.unsigned_abs(), args, result, on_failure, ..Self::END };
        Ok(())
    }

    /// Clones, tells of it and ends; for the sibling the result is 0, and the list goes on behind that.
    fn clone_sibling(&mut self, message: &[u8]) -> Result<(), SysError> {
        self.add(libc::SYS_clone3, [0; 6], message)?;
        let clone = self.count - 1;
        let birth = Announcement::leaked(self.list[clone].result);
        self.list[clone].args[..2].copy_from_slice(&birth.clone);
        let [link, flags] = [self.link, libc::MSG_NOSIGNAL.unsigned_abs().into()];
        self.add(libc::SYS_sendmsg, [link, birth.message, flags, 0, 0, 0], message)?;
        self.add(libc::SYS_exit_group, [0; 6], message)?;
        self.list[clone].on_zero = std::ptr::from_ref(&self.list[self.count]) as u64;
        Ok(())
    }

    /// Closes what this process has of the host but the link and the gate: it may wait for long.
    fn close_but(&mut self, waiting: &Waiting, message: &[u8]) -> Result<(), SysError> {
        let mut kept = vec![number_of(&waiting.link)];
        kept.extend(waiting.pause.gate().map(number_of));
        kept.sort_unstable();
        let mut first = u64::from(waiting.first);
        for fd in kept {
            if fd > first {
                self.add(libc::SYS_close_range, [first, fd - 1, 0, 0, 0, 0], message)?;
            }
            first = first.max(fd + 1);
        }
        self.add(libc::SYS_close_range, [first, u32::MAX.into(), 0, 0, 0, 0], message)
    }

    /// Ends the link, accepts a connection in its place, and reads a message.
    fn wait(&mut self, gate: u64, message: &[u8]) -> Result<(), SysError> {
        let link = self.link;
        let cloexec = |flag: libc::c_int| u64::from(flag.unsigned_abs());
        // Nobody hears of a failure before the connection is there; the process ends all the same.
        // shutdown(2) and not close(2): the number stays taken, so that the connection gets another one.
        let both = u64::from(libc::SHUT_RDWR.unsigned_abs());
        self.add(libc::SYS_shutdown, [link, both, 0, 0, 0, 0], message)?;
        self.add(libc::SYS_accept4, [gate, 0, 0, cloexec(libc::SOCK_CLOEXEC), 0, 0], message)?;
        let accepted = self.count - 1;
        self.add(libc::SYS_dup3, [0, link, cloexec(libc::O_CLOEXEC), 0, 0, 0], message)?;
        let taken = self.count - 1;
        self.list[accepted].result = (&raw mut self.list[taken].args[0]) as u64;
        let word: &'static mut [u8] = vec![0; 64].leak();
        let read = [link, word.as_mut_ptr() as u64, word.len() as u64, 0, 0, 0];
        self.add(libc::SYS_read, read, message)?;
        // The end of the connection without a word: who opened the gate has been killed.
        self.expect(1);
        Ok(())
    }

    /// The last call has to answer at least this.
    const fn expect(&mut self, least: i64) {
        self.list[self.count - 1].least = least;
    }

    fn leak(self) -> *const Step {
        Box::leak(self.list).as_ptr()
    }
}

/// A clone and a message with the pidfd of what it has made, which the kernel writes where the message has it.
#[repr(C)]
struct Announcement {
    clone: process::CloneArgs,
    parts: [libc::iovec; 2],
    rights: Rights,
    header: libc::msghdr,
}

/// cmsg(3), SCM_RIGHTS with one descriptor.
#[repr(C)]
struct Rights {
    header: libc::cmsghdr,
    fd: libc::c_int,
    padding: libc::c_int,
}

/// The first arguments of clone3(2), and the second one of sendmsg(2).
struct Announced {
    clone: [u64; 2],
    message: u64,
}

impl Announcement {
    /// `pid` is where the pid will be.
    fn leaked(pid: u64) -> Announced {
        // SAFETY: all zero is a valid msghdr: no name, no parts, no control message.
        let header: libc::msghdr = unsafe { std::mem::zeroed() };
        let part = |base: u64| libc::iovec { iov_base: base as *mut libc::c_void, iov_len: 8 };
        let length = std::mem::offset_of!(Rights, padding);
        let cmsg =
            libc::cmsghdr { cmsg_len: length, cmsg_level: libc::SOL_SOCKET, cmsg_type: libc::SCM_RIGHTS };
        let it: &'static mut Self = Box::leak(Box::new(Self {
            clone: process::CloneArgs::default(),
            parts: [part(Box::leak(Box::new(BIRTH_MARK)).as_ptr() as u64), part(pid)],
            rights: Rights { header: cmsg, fd: -1, padding: 0 },
            header,
        }));
        it.clone = process::CloneArgs::of(process::SIBLING, &raw mut it.rights.fd);
        it.header.msg_iov = it.parts.as_mut_ptr();
        it.header.msg_iovlen = it.parts.len();
        it.header.msg_control = (&raw mut it.rights).cast();
        it.header.msg_controllen = size_of::<Rights>();
        let size = size_of::<process::CloneArgs>() as u64;
        Announced { clone: [(&raw const it.clone) as u64, size], message: (&raw const it.header) as u64 }
    }
}
