//! cgroup.events: whether there are processes in a cgroup or below it, and whether all of them are frozen.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Instant;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::Cgroup;
use crate::error::Result;
use crate::sys::fs::OFlag;
use crate::sys::{Call, Errno, retry_eintr};

/// The file, open.
#[derive(Debug)]
pub(super) struct Events(OwnedFd);

/// What it says at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Now {
    /// There is a process in it or below it.
    pub(super) populated: bool,
    /// All are frozen, by this cgroup or by one above it.
    pub(super) frozen: bool,
}

impl Now {
    /// One that has vanished has nothing in it.
    const GONE: Self = Self { populated: false, frozen: false };

    /// What a cgroup says now.
    pub(super) fn of(cgroup: &Cgroup) -> Result<Self> {
        Events::of(cgroup)?.map_or(Ok(Self::GONE), |events| events.now())
    }

    /// By the text of the file; of none, there is nothing in it.
    pub(super) fn parse(text: &str) -> Self {
        let is = |line: &str| text.lines().any(|other| other == line);
        Self { populated: is("populated 1"), frozen: is("frozen 1") }
    }
}

/// How waiting has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waited {
    /// It is so.
    Met(Now),
    /// It was not in time.
    TimedOut,
    /// What was to interrupt it has become readable.
    Interrupted,
}

impl Events {
    /// `None` if the cgroup has vanished.
    pub(super) fn of(cgroup: &Cgroup) -> Result<Option<Self>> {
        match cgroup.file("cgroup.events", OFlag::O_RDONLY) {
            Err(Errno::ENOENT | Errno::ENODEV) => Ok(None),
            opened => Ok(Some(Self(opened.call(|| "openat2(\"cgroup.events\")")?))),
        }
    }

    /// Reads it. The kernel reports what changes after that (POLLPRI).
    pub(super) fn now(&self) -> Result<Now> {
        let mut text = [0; 256];
        let length = match nix::sys::uio::pread(&self.0, &mut text, 0) {
            Err(Errno::ENODEV) => return Ok(Now::GONE),
            read => read.call(|| "pread(cgroup.events)")?,
        };
        Ok(Now::parse(&String::from_utf8_lossy(&text[..length])))
    }

    /// Waits until something is so; `interrupt` becomes readable when it is not to be waited for any longer.
    pub(super) fn wait(
        &self,
        is_so: impl Fn(Now) -> bool,
        end: Instant,
        interrupt: Option<BorrowedFd<'_>>,
    ) -> Result<Waited> {
        loop {
            let now = self.now()?;
            if is_so(now) {
                return Ok(Waited::Met(now));
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(Waited::TimedOut);
            }
            let mut fds = vec![PollFd::new(self.0.as_fd(), PollFlags::POLLPRI)];
            fds.extend(interrupt.map(|fd| PollFd::new(fd, PollFlags::POLLIN)));
            let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
            retry_eintr(|| poll(&mut fds, timeout)).call(|| "poll(cgroup.events)")?;
            if fds.get(1).is_some_and(|fd| fd.any() == Some(true)) {
                return Ok(Waited::Interrupted);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Now;

    #[test]
    fn what_an_older_kernel_does_not_say_is_not_so() {
        assert_eq!(Now::parse("populated 1\nfrozen 0\n"), Now { populated: true, frozen: false });
        assert_eq!(Now::parse("populated 0\nfrozen 1\n"), Now { populated: false, frozen: true });
        assert_eq!(Now::parse("populated 1\n"), Now { populated: true, frozen: false });
    }
}
