//! The list that the loop works off, being made.

use nix::errno::Errno;

use super::machine::Step;
use super::number_of;
use super::waiting::{Birth, Waiting};
use crate::sys::{Call as _, SysError, process};

/// What stands before an error that the loop tells: no message of JSON begins with it. Behind it the
/// negative errno, native endian, and what the caller of [`super::LastCalls::finish_detached`] has encoded.
pub const FAILURE_MARK: [u8; 8] = [0; 8];
/// What stands before the pid of a sibling that the loop has cloned: native endian, 8 bytes, as the caller's pid
/// namespace has it, or 0 if it is the sibling who speaks. Its pidfd comes along.
pub const BIRTH_MARK: [u8; 8] = [1; 8];

/// The list that the loop works off, being made. It has its final place from the beginning, for steps
/// refer to each other.
pub(super) struct Steps {
    list: Box<[Step; Self::MOST]>,
    count: usize,
    link: u64,
}

impl Steps {
    /// One more than there is ever need for: the last one stays what ends the loop.
    const MOST: usize = 64;
    /// Where the loop ends the process, should even exit_group be forbidden: no step comes after the last.
    const END: Step = Step { number: u64::MAX, args: [0; 6], result: 0, least: 0, on_failure: 0, on_zero: 0 };

    pub(super) fn new(link: u64) -> Self {
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
    pub(super) fn add(
        &mut self,
        number: libc::c_long,
        args: [u64; 6],
        message: &[u8],
    ) -> Result<(), SysError> {
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
    pub(super) fn clone_sibling(&mut self, message: &[u8]) -> Result<Announced, SysError> {
        self.add(libc::SYS_clone, CLONE, message)?;
        let clone = self.count - 1;
        let birth = Announcement::leaked(self.list[clone].result);
        self.list[clone].args[2] = birth.pidfd;
        self.say(&birth, message)?;
        self.add(libc::SYS_exit_group, [0; 6], message)?;
        self.list[clone].on_zero = std::ptr::from_ref(&self.list[self.count]) as u64;
        Ok(birth)
    }

    /// The sibling's own words, with a pidfd of its own.
    pub(super) fn announce(&mut self, birth: &Announced, message: &[u8]) -> Result<(), SysError> {
        let first = self.count;
        for (number, args) in CALLS_OF_ANNOUNCEMENT {
            self.add(number, args, message)?;
        }
        self.list[first].result = (&raw mut self.list[first + 1].args[0]) as u64;
        self.list[first + 1].result = birth.pidfd;
        self.say(birth, message)
    }

    fn say(&mut self, birth: &Announced, message: &[u8]) -> Result<(), SysError> {
        let flags = libc::MSG_NOSIGNAL.unsigned_abs().into();
        self.add(libc::SYS_sendmsg, [self.link, birth.message, flags, 0, 0, 0], message)
    }

    /// Closes what this process has of the host but the link and the gate: it may wait for long.
    pub(super) fn close_but(&mut self, waiting: &Waiting, message: &[u8]) -> Result<(), SysError> {
        let mut kept = vec![number_of(&waiting.link)];
        kept.extend(waiting.pause.gate.as_ref().map(number_of));
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
    pub(super) fn wait(&mut self, gate: u64, message: &[u8]) -> Result<(), SysError> {
        // Nobody hears of a failure before the connection is there; the process ends all the same.
        let first = self.count;
        for (number, args) in calls_of_wait(self.link, gate) {
            self.add(number, args, message)?;
        }
        self.list[first + 1].result = (&raw mut self.list[first + 2].args[0]) as u64;
        let word: &'static mut [u8] = vec![0; 64].leak();
        let read = &mut self.list[first + 3];
        (read.args[1], read.args[2]) = (word.as_mut_ptr() as u64, word.len() as u64);
        // The end of the connection without a word: who opened the gate has been killed.
        self.expect(1);
        Ok(())
    }

    /// The last call has to answer at least this.
    pub(super) const fn expect(&mut self, least: i64) {
        self.list[self.count - 1].least = least;
    }

    pub(super) fn leak(self) -> *const Step {
        Box::leak(self.list).as_ptr()
    }
}

/// clone(2), as x86-64 has it: flags, no other stack, and where the pidfd is written. Filters that engines load let this
/// through, and not clone3(2), into whose arguments they can't look.
const CLONE: [u64; 6] = [process::SIBLING | libc::CLONE_PIDFD as u64, 0, 0, 0, 0, 0];

/// The calls by which a sibling is cloned, and an error of any other call told: what a filter has to let through that is
/// loaded before them. Addresses are left out.
pub(super) fn calls_of_birth(link: u64, birth: Birth) -> impl Iterator<Item = (libc::c_long, [u64; 6])> {
    let of_link = [link, 0, 0, 0, 0, 0];
    let announcement: &[_] = match birth {
        Birth::Answered => &[],
        Birth::Announced => &CALLS_OF_ANNOUNCEMENT,
    };
    let calls = [
        (libc::SYS_clone, CLONE),
        (libc::SYS_sendmsg, of_link),
        (libc::SYS_write, of_link),
        (libc::SYS_exit_group, [0; 6]),
    ];
    calls.into_iter().chain(announcement.iter().copied())
}

/// The calls by which a sibling gets what it says of itself ([`Birth::Announced`]): its pid, and the descriptor for that.
pub const CALLS_OF_ANNOUNCEMENT: [(libc::c_long, [u64; 6]); 2] =
    [(libc::SYS_getpid, [0; 6]), (libc::SYS_pidfd_open, [0; 6])];

/// The calls of the wait at a gate, addresses and what accept4(2) answers left out. shutdown(2) and not close(2): the
/// number stays taken, so that the connection gets another one; and no copy of the link keeps it open.
pub(super) fn calls_of_wait(link: u64, gate: u64) -> [(libc::c_long, [u64; 6]); 4] {
    let both = u64::from(libc::SHUT_RDWR.unsigned_abs());
    let cloexec = |flag: libc::c_int| u64::from(flag.unsigned_abs());
    [
        (libc::SYS_shutdown, [link, both, 0, 0, 0, 0]),
        (libc::SYS_accept4, [gate, 0, 0, cloexec(libc::SOCK_CLOEXEC), 0, 0]),
        (libc::SYS_dup3, [0, link, cloexec(libc::O_CLOEXEC), 0, 0, 0]),
        (libc::SYS_read, [link, 0, 0, 0, 0, 0]),
    ]
}

/// A message with the pidfd of what has been cloned, which the loop and the kernel write where the message has it: as four
/// bytes, or as a call's result of eight.
#[repr(C)]
struct Announcement {
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

/// Where the pidfd is written, and where sendmsg(2) finds the message.
pub(super) struct Announced {
    pidfd: u64,
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
            parts: [part(Box::leak(Box::new(BIRTH_MARK)).as_ptr() as u64), part(pid)],
            rights: Rights { header: cmsg, fd: -1, padding: 0 },
            header,
        }));
        it.header.msg_iov = it.parts.as_mut_ptr();
        it.header.msg_iovlen = it.parts.len();
        it.header.msg_control = (&raw mut it.rights).cast();
        it.header.msg_controllen = size_of::<Rights>();
        Announced { pidfd: (&raw mut it.rights.fd) as u64, message: (&raw const it.header) as u64 }
    }
}
