//! `events ID`: runc's, not the specification's. What a container uses, and when memory runs out in it.

use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::{Current, Runtime, look};
use crate::container::cgroup::{Cgroup, Kills};
use crate::container::id::ContainerId;
use crate::container::process::Alive;
use crate::container::rdt;
use crate::container::status::{Status, Verb};
use crate::error::{Doing, Kind, Result, errno_of, failure, unsupported};
use crate::launch::foreground::Signals;
use crate::spec::events::{Event, Rdt, Stats};
use crate::spec::record::Record;
use crate::sys::{Call, Errno, retry_eintr};

/// A container that has not stopped, with what its numbers are read from.
#[derive(Debug)]
struct Observed {
    id: ContainerId,
    record: Record,
    cgroup: Cgroup,
    alive: Alive,
}

/// Who gets the lines.
#[derive(Debug)]
pub struct Reader<'a, W> {
    /// Writes one, whole.
    pub write: W,
    /// Where it is written to: that nobody reads any more is noticed while nothing is written, too.
    pub fd: BorrowedFd<'a>,
}

/// What it uses now: `--stats`.
pub fn stats(runtime: &Runtime, id: &ContainerId) -> Result<Event> {
    observe(runtime, id)?.stats()
}

/// The same again and again, the first time after one interval, and what happens meanwhile. It ends well with the
/// container, with the reader, and by a signal that asks it to.
pub fn watch<W: FnMut(&Event) -> Result<()>>(
    runtime: &Runtime,
    id: &ContainerId,
    interval: Duration,
    mut reader: Reader<'_, W>,
) -> Result<()> {
    let observed = observe(runtime, id)?;
    let signals = Signals::that_ask_to_end()?;
    let mut kills = observed.cgroup.kills()?;
    let mut known = count(kills.as_ref())?.unwrap_or(0);
    let mut next = Instant::now() + interval;
    loop {
        let ends = observed.wait((&signals, reader.fd), kills.as_ref(), next)?;
        let now = count(kills.as_ref())?.unwrap_or_else(|| {
            // The cgroup has vanished: poll(2) would say so all the time.
            kills = None;
            known
        });
        let mut events = Vec::new();
        if now > known {
            events.push(Event::Oom { id: id.to_string(), kills: now });
        }
        known = now.max(known);
        if !ends && Instant::now() >= next {
            events.push(observed.stats()?);
            // What was missed, by a reader that is slow or a machine that slept, is not made up for.
            next = (next + interval).max(Instant::now());
        }
        for event in &events {
            match (reader.write)(event) {
                Err(error) if is_gone(&error) => return Ok(()),
                written => written?,
            }
        }
        if ends {
            // Dealt with: else it would end this process when it is let through again.
            return signals.next().map(drop);
        }
    }
}

/// It must not have stopped, and needs a cgroup of its own.
fn observe(runtime: &Runtime, id: &ContainerId) -> Result<Observed> {
    let (record, current) = look(runtime, id)?;
    if current.status == Status::Creating {
        return Err(failure(Kind::InvalidState, format!("container {id} is {}", current.status)));
    }
    // runc's words.
    let not_running = || failure(Kind::InvalidState, format!("container with id {id} is not running"));
    let (true, Some(record)) = (current.status.admits(Verb::Events), record) else {
        return Err(not_running());
    };
    let cgroup = current.cgroup(&record)?;
    let Current { alive, .. } = current;
    match (cgroup, alive) {
        (Some(cgroup), Some(alive)) => Ok(Observed { id: id.clone(), record, cgroup, alive }),
        (None, _) if !record.cgroup.is_ours() => Err(unsupported(format!(
            "container {id} has no cgroup of its own: what it uses is not counted apart from the others in {:?}",
            record.cgroup.path
        ))),
        _ => Err(not_running()),
    }
}

impl Observed {
    fn stats(&self) -> Result<Event> {
        let stats = self.cgroup.statistics().doing(|| format!("container {}", self.id))?;
        let intel_rdt = match &self.record.rdt {
            Some(record) => rdt::statistics(record).doing(|| "linux.intelRdt")?,
            None => Rdt::default(),
        };
        Ok(Event::Stats { id: self.id.to_string(), data: Box::new(Stats { intel_rdt, ..stats }) })
    }

    /// Until something happens, or it is time; true if it is to end.
    fn wait(
        &self,
        (signals, reader): (&Signals, BorrowedFd<'_>),
        kills: Option<&Kills>,
        until: Instant,
    ) -> Result<bool> {
        // Rounded up, for the kernel counts milliseconds here.
        let left = until.saturating_duration_since(Instant::now()) + Duration::from_micros(999);
        let mut fds = vec![
            PollFd::new(self.alive.pidfd(), PollFlags::POLLIN),
            PollFd::new(signals.fd(), PollFlags::POLLIN),
            // POLLERR, which needs not be asked for: a pipe that nobody reads.
            PollFd::new(reader, PollFlags::empty()),
        ];
        fds.extend(kills.map(|kills| PollFd::new(kills.fd(), PollFlags::POLLPRI)));
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        retry_eintr(|| poll(&mut fds, timeout)).call(|| "poll()")?;
        Ok(fds[..3].iter().any(|fd| fd.any() == Some(true)))
    }
}

fn count(kills: Option<&Kills>) -> Result<Option<u64>> {
    Ok(kills.map(Kills::count).transpose()?.flatten())
}

/// Nobody reads any more.
fn is_gone(error: &anyhow::Error) -> bool {
    let io = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::raw_os_error);
    io == Some(Errno::EPIPE as i32) || errno_of(error) == Some(Errno::EPIPE)
}
