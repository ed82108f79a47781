//! Runs in: host. `run` in the foreground: signals and the terminal go between the caller and the
//! container until that ends.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;

use crate::container::notify::Proxy;
use crate::error::{Doing, Kind, Result, best_effort, failure};
use crate::sys::{Call, process, retry_eintr, tty};

/// Signals that tell of faults in this process itself; a hook that does not read its input is one. They are never held.
const FAULTS: [Signal; 5] =
    [Signal::SIGPIPE, Signal::SIGSEGV, Signal::SIGBUS, Signal::SIGFPE, Signal::SIGILL];
/// Others that are this process's own and not the container's.
const OWN: [Signal; 4] = [Signal::SIGCHLD, Signal::SIGWINCH, Signal::SIGTTIN, Signal::SIGTTOU];
/// Signals that ask a process to end.
const ASKING: [Signal; 4] = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT];

/// What comes in while the container runs, held back from before its birth: no signal is lost.
#[derive(Debug)]
pub struct Signals {
    fd: SignalFd,
    previous: SigSet,
}

impl Signals {
    /// Holds signals back. Init gives itself the default again.
    pub fn hold() -> Result<Self> {
        let mut set = SigSet::all();
        FAULTS.into_iter().for_each(|fault| set.remove(fault));
        Self::held(SigmaskHow::SIG_SETMASK, &set)
    }

    /// As [`Self::hold`], of those alone that ask a process to end.
    pub fn that_ask_to_end() -> Result<Self> {
        // What is ignored would be seen all the same while it is blocked.
        let set = ASKING.into_iter().filter(|signal| !process::is_ignored(*signal)).collect();
        Self::held(SigmaskHow::SIG_BLOCK, &set)
    }

    fn held(how: SigmaskHow, set: &SigSet) -> Result<Self> {
        let mut previous = SigSet::empty();
        sigprocmask(how, Some(set), Some(&mut previous)).call(|| "sigprocmask()")?;
        let fd = SignalFd::with_flags(set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
            .call(|| "signalfd()")?;
        Ok(Self { fd, previous })
    }

    /// Readable when one has come.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// An error if one has come, which is then dealt with.
    pub fn take(&self) -> Result<()> {
        match self.next()? {
            Some(number) => Err(failure(Kind::Hook, format!("ended by signal {number} while hooks ran"))),
            None => Ok(()),
        }
    }

    /// An error if one has come that asks to end: for who waits for something else than the container's end.
    pub fn refuse_to_wait(&self) -> Result<()> {
        while let Some(number) = self.next()? {
            if is_among(&ASKING, number) {
                return Err(failure(Kind::System, format!("ended by signal {number}")));
            }
        }
        Ok(())
    }

    /// The number of one that has come, which is then dealt with.
    pub fn next(&self) -> Result<Option<i32>> {
        let info = self.fd.read_signal().call(|| "read(signalfd)")?;
        Ok(info.and_then(|info| i32::try_from(info.ssi_signo).ok()))
    }

    /// Passes what has come to the container, and answers what was for this process.
    fn forward(&self, to: BorrowedFd<'_>) -> Result<Own> {
        let mut own = Own::default();
        while let Some(number) = self.next()? {
            own.resized |= is_among(&[Signal::SIGWINCH], number);
            own.child_ended |= is_among(&[Signal::SIGCHLD], number);
            if !is_among(&OWN, number) && !is_among(&FAULTS, number) {
                best_effort("forward a signal", process::pidfd_signal(to, number));
            }
        }
        Ok(own)
    }
}

/// Real-time signals have a number and no name.
fn is_among(signals: &[Signal], number: i32) -> bool {
    signals.iter().any(|signal| *signal as i32 == number)
}

/// What signals have told this process itself.
#[derive(Debug, Default)]
struct Own {
    resized: bool,
    child_ended: bool,
}

impl Drop for Signals {
    fn drop(&mut self) {
        best_effort(
            "restore the signal mask",
            sigprocmask(SigmaskHow::SIG_SETMASK, Some(&self.previous), None),
        );
    }
}

/// Stays until the container's process has ended, and answers its exit code; a signal is 128 and its number.
pub fn attend(
    (pid, pidfd): (Pid, BorrowedFd<'_>),
    signals: &Signals,
    master: Option<OwnedFd>,
    mut notify: Option<Proxy>,
) -> Result<u8> {
    let mut relay = master.map(Relay::begin).transpose().doing(|| "terminal")?;
    loop {
        let ready = {
            let mut fds = vec![
                PollFd::new(pidfd, PollFlags::POLLIN),
                PollFd::new(signals.fd.as_fd(), PollFlags::POLLIN),
            ];
            fds.extend(relay.iter().flat_map(Relay::interests));
            fds.extend(notify.iter().map(|proxy| PollFd::new(proxy.fd(), PollFlags::POLLIN)));
            retry_eintr(|| poll(&mut fds, PollTimeout::NONE)).call(|| "poll()")?;
            fds.iter().map(|fd| fd.revents().is_some_and(|events| !events.is_empty())).collect::<Vec<_>>()
        };
        if ready[1] {
            let own = signals.forward(pidfd)?;
            if own.resized {
                relay.iter().for_each(Relay::resize);
            }
            if own.child_ended {
                reap_orphans(pid)?;
            }
        }
        if let Some(relay) = &mut relay {
            relay.shovel();
        }
        notify = notify.filter(still_awaited);
        if ready[0] {
            relay.iter_mut().for_each(Relay::drain);
            drop(relay);
            return code(process::reap(pidfd)?);
        }
    }
}

/// Reaps what has ended of the processes that this one has adopted: all but the container's own, whose end is the
/// end of the wait.
fn reap_orphans(kept: Pid) -> Result<()> {
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::__WALL;
    loop {
        let next = match retry_eintr(|| waitid(Id::All, flags | WaitPidFlag::WNOWAIT)) {
            Err(Errno::ECHILD) => return Ok(()),
            ended => ended.call(|| "waitid(P_ALL)")?.pid(),
        };
        match next.filter(|pid| *pid != kept) {
            Some(pid) => retry_eintr(|| waitid(Id::Pid(pid), flags)).call(|| "waitid(P_PID)")?,
            None => return Ok(()),
        };
    }
}

/// Whether the program has not said yet that it is ready. Its container does not end for a manager that can't be told.
fn still_awaited(proxy: &Proxy) -> bool {
    match proxy.pass_on() {
        Ok(told) => !told,
        Err(error) => {
            best_effort("tell the service manager", Err::<(), _>(error));
            false
        }
    }
}

fn code(status: WaitStatus) -> Result<u8> {
    match status {
        WaitStatus::Exited(_, code) => Ok(u8::try_from(code).unwrap_or(u8::MAX)),
        WaitStatus::Signaled(_, signal, _) => Ok(u8::try_from(128 + signal as i32).unwrap_or(u8::MAX)),
        other => Err(failure(
            Kind::System,
            format!("the container's process has ended: {}", process::ending(other)),
        )),
    }
}

/// How much is held for a side that does not take it at once.
const BUFFER: usize = 64 << 10;

/// Bytes on their way from one descriptor to another.
#[derive(Debug, Default)]
struct Pipe {
    held: VecDeque<u8>,
    ended: bool,
}

impl Pipe {
    fn has_room(&self) -> bool {
        !self.ended && self.held.len() < BUFFER
    }

    /// Moves what can be moved without waiting.
    fn shovel(&mut self, from: BorrowedFd<'_>, to: BorrowedFd<'_>) {
        let mut buffer = [0; 16 << 10];
        while self.has_room() {
            match nix::unistd::read(from, &mut buffer) {
                Ok(0) => self.ended = true,
                Ok(n) => self.held.extend(&buffer[..n]),
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => break,
                // EIO is how the master of a pty says that its other end is closed.
                Err(_) => self.ended = true,
            }
        }
        while !self.held.is_empty() {
            let (front, _) = self.held.as_slices();
            match nix::unistd::write(to, front) {
                Ok(n) => drop(self.held.drain(..n)),
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => break,
                // Nobody reads any more: the container goes on without.
                Err(_) => self.held.clear(),
            }
        }
    }
}

/// The caller's terminal, raw, and the container's pty.
#[derive(Debug)]
struct Relay {
    master: OwnedFd,
    input: OwnedFd,
    output: OwnedFd,
    /// What the caller's terminal was before, if it is one.
    before: Option<Termios>,
    modes: [OFlag; 2],
    inward: Pipe,
    outward: Pipe,
}

impl Relay {
    fn begin(master: OwnedFd) -> Result<Self> {
        let input = nix::unistd::dup(std::io::stdin()).call(|| "dup(0)")?;
        let output = nix::unistd::dup(std::io::stdout()).call(|| "dup(1)")?;
        let before = tcgetattr(&input).ok();
        let modes = [nonblocking(&input)?, nonblocking(&output)?];
        nonblocking(&master)?;
        if let Some(before) = &before {
            let mut raw = before.clone();
            cfmakeraw(&mut raw);
            tcsetattr(&input, SetArg::TCSANOW, &raw).call(|| "tcsetattr(raw)")?;
        }
        let relay =
            Self { master, input, output, before, modes, inward: Pipe::default(), outward: Pipe::default() };
        relay.resize();
        Ok(relay)
    }

    fn interests(&self) -> Vec<PollFd<'_>> {
        let mut fds = Vec::new();
        let mut events = PollFlags::empty();
        events.set(PollFlags::POLLIN, self.outward.has_room());
        events.set(PollFlags::POLLOUT, !self.inward.held.is_empty());
        if !self.outward.ended {
            fds.push(PollFd::new(self.master.as_fd(), events));
        }
        if self.inward.has_room() {
            fds.push(PollFd::new(self.input.as_fd(), PollFlags::POLLIN));
        }
        if !self.outward.held.is_empty() {
            fds.push(PollFd::new(self.output.as_fd(), PollFlags::POLLOUT));
        }
        fds
    }

    fn shovel(&mut self) {
        self.inward.shovel(self.input.as_fd(), self.master.as_fd());
        self.outward.shovel(self.master.as_fd(), self.output.as_fd());
    }

    /// The last words of the container: all that its pty still holds, before it is closed.
    fn drain(&mut self) {
        // The caller may wait for it as long as it likes: from here the writes block.
        best_effort(
            "make output blocking",
            fcntl(&self.output, FcntlArg::F_SETFL(self.modes[1] & !OFlag::O_NONBLOCK)),
        );
        self.outward.shovel(self.master.as_fd(), self.output.as_fd());
        while !self.outward.held.is_empty() {
            self.outward.shovel(self.master.as_fd(), self.output.as_fd());
        }
    }

    fn resize(&self) {
        let size = tty::size(self.input.as_fd()).or_else(|_| tty::size(self.output.as_fd()));
        if let Ok(size) = size {
            best_effort("resize the terminal", tty::set_size(self.master.as_fd(), size));
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        for (fd, mode) in [(&self.input, self.modes[0]), (&self.output, self.modes[1])] {
            best_effort("restore a descriptor", fcntl(fd, FcntlArg::F_SETFL(mode)));
        }
        if let Some(before) = &self.before {
            best_effort("restore the terminal", tcsetattr(&self.input, SetArg::TCSADRAIN, before));
        }
    }
}

/// Sets O_NONBLOCK and answers the flags from before.
fn nonblocking(fd: &OwnedFd) -> Result<OFlag> {
    let before = OFlag::from_bits_retain(fcntl(fd, FcntlArg::F_GETFL).call(|| "fcntl(F_GETFL)")?);
    fcntl(fd, FcntlArg::F_SETFL(before | OFlag::O_NONBLOCK)).call(|| "fcntl(F_SETFL, O_NONBLOCK)")?;
    Ok(before)
}
