//! The processes of a cgroup: who they are, signals to all of them, and their end.

use std::collections::BTreeSet;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit};
use nix::unistd::Pid;

use super::events::{Events, Waited};
use super::removal::each_below;
use super::{Cgroup, stuck};
use crate::error::{Doing, Kind, Result, failure};
use crate::log;
use crate::sys::fs::{self, Lookup, OFlag};
use crate::sys::{Call, Errno, process};

/// How long it may take to reach processes that make others all the time.
const PATIENCE: Duration = Duration::from_secs(2);
/// So many times it is looked for new ones before all are made to stand still.
const ROUNDS: u32 = 4;

impl Cgroup {
    /// Every process in it and below it that this pid namespace sees.
    pub fn processes(&self) -> Result<Vec<Pid>> {
        let mut pids = Vec::new();
        each_below(self.dir(), &mut |dir| {
            let file = fs::openat2(dir, "cgroup.procs", OFlag::O_RDONLY, 0, Lookup::Strict)
                .call(|| "openat2(\"cgroup.procs\")")?;
            let text = match fs::read_all(file, 16 << 20) {
                // A threaded cgroup, which the container has made: its processes are in the list of one above it.
                Err(error) if error.errno == Errno::EOPNOTSUPP => return Ok(()),
                read => read?,
            };
            let numbers =
                String::from_utf8_lossy(&text).lines().filter_map(|l| l.parse().ok()).collect::<Vec<i32>>();
            // 0 is somebody whom this pid namespace does not see.
            pids.extend(numbers.into_iter().filter(|pid| *pid > 0).map(Pid::from_raw));
            Ok(())
        })?;
        Ok(pids)
    }

    /// Kills all processes in it and below it: cgroup.kill, since Linux 5.14, works on frozen ones too. It kills a process
    /// by its first thread, and nobody if that has ended before the others (pthread_exit(3)): so who is still there in a
    /// moment gets a signal of its own.
    pub fn kill(&self) -> Result<()> {
        const A_MOMENT: Duration = Duration::from_millis(50);
        match self.write("cgroup.kill", "1") {
            // None, or a threaded one.
            Err(error) if matches!(error.errno, Errno::ENOENT | Errno::EOPNOTSUPP) => {}
            Err(error) if error.errno == Errno::ENODEV => return Ok(()),
            written => {
                written?;
                if self.wait_empty(Instant::now() + A_MOMENT)? {
                    return Ok(());
                }
            }
        }
        self.signal(libc::SIGKILL)
    }

    /// Sends a signal to each process in it and below it, once; also to those that are made meanwhile. Who makes
    /// others faster than they are found is frozen for that time; not at once, for `state` would say `paused`.
    pub fn signal(&self, number: i32) -> Result<()> {
        let end = Instant::now() + PATIENCE;
        let (mut told, mut rounds, mut still) = (BTreeSet::new(), 0, None);
        loop {
            let fresh: Vec<Pid> = self.processes()?.into_iter().filter(|pid| !told.contains(pid)).collect();
            if fresh.is_empty() {
                return Ok(());
            }
            self.signal_each(&fresh, number)?;
            told.extend(fresh);
            rounds += 1;
            if rounds == ROUNDS && !self.is_told_to_freeze()? {
                // Who can't be frozen in time, for it waits in the kernel, makes no others either.
                still = self
                    .stand_still(PATIENCE, None)
                    .inspect_err(|error| log::warn(format_args!("{error:#}")))
                    .ok();
            }
            // A machine that is slow has not looked often yet.
            if rounds >= ROUNDS && Instant::now() > end && still.is_none() {
                let text = format!("its processes make others faster than signal {number} reaches them");
                return Err(failure(Kind::System, text)).doing(|| format!("cgroup {:?}", self.at));
            }
        }
    }

    fn signal_each(&self, pids: &[Pid], number: i32) -> Result<()> {
        for pids in pids.chunks(at_once()) {
            let mut held = Vec::new();
            for pid in pids {
                match process::pidfd_open(*pid) {
                    Err(error) if error.errno == Errno::ESRCH => {}
                    opened => held.push((*pid, opened?)),
                }
            }
            // Before its pidfd was open, a process may have ended and its pid become a stranger's. If the pid is
            // in the cgroup now, then as that of the process that is held, or that one has ended.
            let still: BTreeSet<Pid> = self.processes()?.into_iter().collect();
            for (_, pidfd) in held.iter().filter(|(pid, _)| still.contains(pid)) {
                match process::pidfd_signal(pidfd.as_fd(), number) {
                    Err(error) if error.errno == Errno::ESRCH => {}
                    sent => sent?,
                }
            }
        }
        Ok(())
    }

    /// Waits until no process is left; false if some are at the end of that time.
    pub fn wait_empty(&self, end: Instant) -> Result<bool> {
        let Some(events) = Events::of(self)? else { return Ok(true) };
        Ok(matches!(events.wait(|now| !now.populated, end, None)?, Waited::Met(_)))
    }
}

/// How many pidfds are open at the same time: the more, the fewer times all processes are listed again.
fn at_once() -> usize {
    let (limit, _) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or((32, 32));
    usize::try_from(limit / 2).unwrap_or(usize::MAX).clamp(8, 256)
}

/// Who has been killed and is still there.
pub fn survivors(pids: &[Pid]) -> anyhow::Error {
    let text = format!(
        "killed, and still there: {}; the container's state is kept: delete it again when what they wait for is over",
        stuck::list(pids, stuck::Which::All)
    );
    failure(Kind::System, text)
}
