//! Freezing and thawing: cgroup-v2.rst, "cgroup.freeze", since Linux 5.2.
//!
//! A cgroup is frozen when itself or one above it is told to be; each has a file of its own for that. The kernel takes
//! its time: a process that waits in the kernel for what can't be interrupted is frozen when it comes back.

use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::unistd::Pid;

use super::events::{Events, Now, Waited};
use super::{Cgroup, Tree, stuck};
use crate::error::{Doing, Kind, Result, best_effort, errno_of, failure, unsupported};
use crate::spec::record::CgroupRecord;
use crate::sys::fs::{self, Lookup, OFlag};
use crate::sys::{Call, Errno};

const FILE: &str = "cgroup.freeze";

/// All processes of a cgroup are frozen. Dropped before it is kept, it thaws them.
#[derive(Debug)]
pub struct Frozen<'c> {
    cgroup: &'c Cgroup,
    armed: bool,
}

impl Frozen<'_> {
    /// They stay frozen.
    pub fn keep(mut self) {
        self.armed = false;
    }
}

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        if self.armed {
            best_effort("thaw the cgroup again", self.cgroup.go_on());
        }
    }
}

impl Tree {
    /// Whether a cgroup itself has been told to freeze. One that is not there has not.
    pub fn is_told_to_freeze(&self, record: &CgroupRecord) -> Result<bool> {
        Ok(self.short(record, FILE)?.starts_with('1'))
    }

    /// Whether all in a cgroup stand still, by itself or by one above it.
    pub fn is_frozen(&self, record: &CgroupRecord) -> Result<bool> {
        Ok(Now::parse(&self.short(record, "cgroup.events")?).frozen)
    }

    /// A small file of a cgroup; nothing if it is not there. In as few calls as can be: `state` and `start` ask.
    fn short(&self, record: &CgroupRecord, file: &str) -> Result<String> {
        let path = record.path.join(file);
        let file = match fs::openat2(&self.root, &path, OFlag::O_RDONLY, 0, Lookup::Strict) {
            Err(Errno::ENOENT | Errno::ENODEV) => return Ok(String::new()),
            opened => opened.call(|| format!("openat2({:?})", self.shown(&path)))?,
        };
        let mut text = [0; 256];
        let length = match nix::sys::uio::pread(&file, &mut text, 0) {
            Err(Errno::ENODEV) => 0,
            read => read.call(|| format!("pread({:?})", self.shown(&path)))?,
        };
        Ok(String::from_utf8_lossy(&text[..length]).into_owned())
    }
}

impl Cgroup {
    /// Freezes all processes in it and below it, those that are just being made too. What fails, or is interrupted,
    /// or takes longer, has no effect.
    pub fn freeze(&self, limit: Duration, interrupt: Option<BorrowedFd<'_>>) -> Result<Frozen<'_>> {
        if self.processes()?.contains(&Pid::this()) {
            return Err(unsupported("this command is in it and would be frozen itself"));
        }
        let gone = || failure(Kind::InvalidState, "it has vanished, or all of its processes have ended");
        let Some(events) = Events::of(self)? else { return Err(gone()) };
        // Before the first write: killed between the two, it would be as if nothing had been asked for.
        let frozen = Frozen { cgroup: self, armed: true };
        self.tell("1")?;
        let end = Instant::now() + limit;
        match events.wait(|now| now.frozen || !now.populated, end, interrupt)? {
            Waited::Met(now) if now.populated => Ok(frozen),
            Waited::Met(_) => Err(gone()),
            Waited::Interrupted => {
                Err(failure(Kind::System, "a signal asks this command to end: it is thawed again"))
            }
            Waited::TimedOut => Err(failure(
                Kind::System,
                format!(
                    "not frozen after {} s, and thawed again: {}; try again when that is over",
                    limit.as_secs(),
                    stuck::list(&self.processes()?, stuck::Which::Awake)
                ),
            )),
        }
    }

    /// Lets them go on. What is frozen from above would not: so that is an error, and nothing has changed.
    pub fn thaw(&self, limit: Duration) -> Result<()> {
        let Some(events) = Events::of(self)? else { return Ok(()) };
        if let Some(file) = self.frozen_above()? {
            return Err(frozen_by(&file));
        }
        self.tell("0")?;
        match events.wait(|now| !now.frozen, Instant::now() + limit, None)? {
            Waited::Met(_) => Ok(()),
            // Meanwhile, that is.
            _ => Err(self.frozen_by()?.map_or_else(
                || {
                    failure(
                        Kind::System,
                        format!("still frozen {} s after {FILE} was written", limit.as_secs()),
                    )
                },
                |file| frozen_by(&file),
            )),
        }
    }

    /// What it has been told is taken back.
    pub(super) fn go_on(&self) -> Result<()> {
        self.tell("0")
    }

    /// An error if nothing in it runs, whether it has been frozen itself or from above.
    pub fn refuse_frozen(&self) -> Result<()> {
        match Now::of(self)?.frozen {
            true => Err(self.frozen_by()?.map_or_else(
                || unsupported("frozen, by a cgroup that can't be seen from here"),
                |file| frozen_by(&file),
            )),
            false => Ok(()),
        }
        .doing(|| format!("cgroup {:?}", self.at))
    }

    /// Whether it has been told to freeze itself.
    pub(super) fn is_told_to_freeze(&self) -> Result<bool> {
        match self.read(FILE) {
            Err(error) if matches!(errno_of(&error), Some(Errno::ENOENT | Errno::ENODEV)) => Ok(false),
            read => Ok(read?.starts_with('1')),
        }
    }

    /// The file that freezes it; `None` if it is none that can be seen.
    fn frozen_by(&self) -> Result<Option<PathBuf>> {
        match self.is_told_to_freeze()? {
            true => Ok(Some(self.at.join(FILE))),
            false => self.frozen_above(),
        }
    }

    fn frozen_above(&self) -> Result<Option<PathBuf>> {
        let above = self.record.path.ancestors().skip(1).filter(|path| !path.as_os_str().is_empty());
        let mut at: &Path = &self.at;
        let mut dir = fs::open_parent(self.dir())?;
        for _ in above {
            at = at.parent().unwrap_or(at);
            // The root has none, nor may all that is above be seen.
            if let Ok(file) = fs::openat2(&dir, FILE, OFlag::O_RDONLY, 0, Lookup::Strict) {
                if fs::read_all(file, 64)?.starts_with(b"1") {
                    return Ok(Some(at.join(FILE)));
                }
            }
            dir = fs::open_parent(&dir)?;
        }
        Ok(None)
    }

    /// One that has vanished is as well.
    fn tell(&self, value: &str) -> Result<()> {
        match self.write(FILE, value) {
            Err(error) if error.errno == Errno::ENODEV => Ok(()),
            Err(error) if error.errno == Errno::ENOENT && value == "0" => Ok(()),
            Err(error) if error.errno == Errno::ENOENT => Err(unsupported(format!(
                "{error}; the cgroup has vanished, or this kernel can't freeze (before Linux 5.2)"
            ))),
            Err(error) if matches!(error.errno, Errno::EACCES | Errno::EPERM) => {
                Err(unsupported(format!("{error}; this cgroup is not delegated to this user")))
            }
            written => written.map_err(Into::into),
        }
    }
}

fn frozen_by(file: &Path) -> anyhow::Error {
    let text = format!("it is frozen: {file:?} is 1; write 0 to it, or resume what it belongs to");
    failure(Kind::InvalidState, text)
}
