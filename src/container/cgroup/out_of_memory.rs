//! Out of memory: how many processes the kernel has killed for it, and at which limit. cgroup-v2.rst, "memory.events".

use std::collections::BTreeMap;
use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use super::tree_limits::text_below;
use super::{Cgroup, Tree, forms};
use crate::container::kernel_log::{self, Said};
use crate::error::{Failure, Kind, Result, errno_of, failure};
use crate::spec::events::NO_LIMIT;
use crate::spec::record::{CgroupRecord, Oom, ProcessId};
use crate::sys::fs::{self, OFlag};
use crate::sys::{Call, Errno};

/// memory.events, open. Once it has been read, the kernel reports what changes after that: POLLPRI.
#[derive(Debug)]
pub struct Kills(OwnedFd);

impl Kills {
    /// So many until now, in the cgroup and below it. `None` if the cgroup has vanished.
    pub fn count(&self) -> Result<Option<u64>> {
        let mut text = [0; 1024];
        match nix::sys::uio::pread(&self.0, &mut text, 0) {
            Err(Errno::ENODEV) => Ok(None),
            read => {
                let length = read.call(|| "pread(memory.events)")?;
                let events = forms::keyed(&String::from_utf8_lossy(&text[..length]));
                Ok(Some(events.get("oom_kill").copied().unwrap_or(0)))
            }
        }
    }

    /// For poll(2).
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Who has been killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Victim {
    /// The container's first process, and so the container.
    Init,
    /// Others: the container went on.
    Others,
    /// There is nothing that tells.
    Unknown,
}

/// Memory has run out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutOfMemory {
    /// How many processes have been killed; none if one has only been refused memory.
    kills: u64,
    limit: Limit,
    /// The most that the cgroup has had, where the kernel keeps that.
    peak: Option<u64>,
}

/// A file memory.max, and what is or was in it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Limit {
    /// This one was reached.
    Reached(PathBuf, u64),
    /// Which one was reached is not known, or it was all of the machine's memory; the container has had this one.
    Own(PathBuf, u64),
    /// Nor is there one of its own.
    Unknown,
}

impl From<Option<(PathBuf, u64)>> for Limit {
    fn from(reached: Option<(PathBuf, u64)>) -> Self {
        reached.map_or(Self::Unknown, |(file, limit)| Self::Reached(file, limit))
    }
}

impl Cgroup {
    /// `None` without the controller.
    pub fn kills(&self) -> Result<Option<Kills>> {
        match self.file("memory.events", OFlag::O_RDONLY) {
            Err(Errno::ENOENT | Errno::ENODEV) => Ok(None),
            opened => Ok(Some(Kills(opened.call(|| "openat2(\"memory.events\")")?))),
        }
    }

    /// What is known of processes that were killed in it, and whether the container's is among them, which has ended;
    /// `None` if none were. One that systemd has made goes with its last process: then the log still tells.
    pub fn out_of_memory(&self, init: Option<ProcessId>) -> Result<Option<(OutOfMemory, Victim)>> {
        let said = || init.map_or(Said::Nothing, |init| kernel_log::asked_of(init, &self.record.path));
        match self.keyed("memory.events")?.get("oom_kill") {
            Some(0) => Ok(None),
            Some(kills) => {
                let found = (self.describe(*kills)?, self.victim(&said())?);
                // It may have gone between two files.
                let is_there = self.record.unit.is_none() || !self.keyed("memory.events")?.is_empty();
                Ok(Some(found).filter(|_| is_there).or_else(|| self.by_log(said())))
            }
            None => Ok(self.record.unit.as_ref().and_then(|_| self.by_log(said()))),
        }
    }

    /// What has happened at its limit: it is the scope's that is reached where there are two, for the kernel needs memory for
    /// the one in it. What happens below counts above.
    pub(super) fn memory_events(&self) -> Result<BTreeMap<String, u64>> {
        self.around()?.as_ref().unwrap_or(self).keyed("memory.events")
    }

    fn victim(&self, said: &Said) -> Result<Victim> {
        // memory.oom.group: then all that were in it, or in what it is in. In one that was there before, they may have been
        // others.
        let of = |cgroup: &Self| -> Result<u64> {
            Ok(cgroup.keyed("memory.events.local")?.get("oom_group_kill").copied().unwrap_or(0))
        };
        let groups = of(self)? + self.around()?.as_ref().map_or(Ok(0), of)?;
        Ok(match said {
            Said::Killed(_) => Victim::Init,
            _ if groups > 0 && self.record.made > 0 => Victim::Init,
            Said::NotKilled => Victim::Others,
            Said::Nothing if self.record.made == 0 => Victim::Others,
            Said::Nothing => Victim::Unknown,
        })
    }

    /// Why a container has come to nothing, if it is for want of memory: else the error as it is.
    pub fn explain(&self, error: anyhow::Error, init: Option<ProcessId>) -> anyhow::Error {
        match self.too_little(&error, init) {
            Ok(Some(found)) => {
                let text = format!("{found}: not enough for a container's init");
                match error.downcast_ref::<Failure>() {
                    // That it has ended: this is why.
                    Some(Failure { kind: Kind::System, .. }) => failure(Kind::System, text),
                    _ => error.context(text),
                }
            }
            _ => error,
        }
    }

    /// One that was there before may have had its kills before.
    fn too_little(&self, error: &anyhow::Error, init: Option<ProcessId>) -> Result<Option<OutOfMemory>> {
        if self.record.made == 0 {
            return Ok(None);
        }
        match self.out_of_memory(init)? {
            None if errno_of(error) == Some(Errno::ENOMEM) => {
                let reached = self.memory_events()?.get("max").is_some_and(|times| *times > 0);
                reached.then(|| self.describe(0)).transpose()
            }
            found => Ok(found.map(|(found, _)| found)),
        }
    }

    /// Where the host shows the tree.
    fn tree_at(&self) -> PathBuf {
        self.at.ancestors().nth(self.record.path.components().count()).unwrap_or(&self.at).to_owned()
    }

    /// When often somebody is killed, the log has not all of it: then at least what this process has written is known.
    fn by_log(&self, said: Said) -> Option<(OutOfMemory, Victim)> {
        let found = OutOfMemory::by_log(said, &self.tree_at())?;
        let found = match (&found.limit, self.memory_max) {
            (Limit::Unknown, Some(limit)) => {
                OutOfMemory { limit: Limit::Own(self.at.join("memory.max"), limit), ..found }
            }
            _ => found,
        };
        Some((found, Victim::Init))
    }

    fn describe(&self, kills: u64) -> Result<OutOfMemory> {
        Ok(OutOfMemory { kills, limit: self.limit_reached()?.into(), peak: self.number("memory.peak")? })
    }

    /// The nearest one, from this cgroup up, that has kept somebody from memory.
    fn limit_reached(&self) -> Result<Option<(PathBuf, u64)>> {
        let mut at: &Path = &self.at;
        let mut dir = self.file(".", OFlag::O_RDONLY | OFlag::O_DIRECTORY).call(|| "openat2(\".\")")?;
        for _ in self.record.path.ancestors().filter(|path| !path.as_os_str().is_empty()) {
            let limit = text_below(&dir, "memory.max".as_ref()).and_then(|text| forms::number(&text));
            let events = text_below(&dir, "memory.events.local".as_ref())
                .map(|text| forms::keyed(&text))
                .unwrap_or_default();
            let reached = events.get("max").is_some_and(|times| *times > 0);
            if let Some(limit) = limit.filter(|limit| reached && *limit != NO_LIMIT) {
                return Ok(Some((at.join("memory.max"), limit)));
            }
            at = at.parent().unwrap_or(at);
            dir = fs::open_parent(&dir)?;
        }
        Ok(None)
    }
}

impl Tree {
    /// What the log tells of a container's process whose cgroup is gone.
    pub fn told_by_log(&self, record: &CgroupRecord, init: ProcessId) -> Option<OutOfMemory> {
        OutOfMemory::by_log(kernel_log::asked_of(init, &record.path), &self.mounted_at)
    }
}

impl OutOfMemory {
    fn by_log(said: Said, tree: &Path) -> Option<Self> {
        let Said::Killed(reached) = said else { return None };
        let peak = reached.as_ref().map(|reached| reached.usage);
        let limit = reached.map(|reached| (tree.join(reached.cgroup).join("memory.max"), reached.limit));
        Some(Self { kills: 1, limit: limit.into(), peak })
    }

    /// For `state`.
    pub fn document(&self) -> Oom {
        let limit = match self.limit {
            Limit::Reached(_, limit) => Some(limit),
            Limit::Own(..) | Limit::Unknown => None,
        };
        Oom { kills: self.kills, limit, peak: self.peak }
    }
}

impl fmt::Display for OutOfMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("out of memory")?;
        match self.kills {
            0 => {}
            1 => f.write_str(": killed 1 process")?,
            kills => write!(f, ": killed {kills} processes")?,
        }
        match &self.limit {
            Limit::Reached(file, limit) => write!(f, ", {file:?} is {limit} ({})", Size(*limit))?,
            Limit::Own(file, limit) => {
                write!(f, ", at a limit that is not known; {file:?} was {limit} ({})", Size(*limit))?;
            }
            Limit::Unknown => f.write_str(", at a limit that is not known")?,
        }
        self.peak.map_or(Ok(()), |peak| write!(f, ", peak {}", Size(peak)))
    }
}

/// A number of bytes for people.
struct Size(u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const KIB: u64 = 1 << 10;
        const MIB: u64 = 1 << 20;
        match self.0 {
            bytes if bytes >= MIB && bytes % MIB == 0 => write!(f, "{} MiB", bytes / MIB),
            bytes if bytes >= KIB && bytes % KIB == 0 => write!(f, "{} KiB", bytes / KIB),
            bytes => write!(f, "{bytes} bytes"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Limit, OutOfMemory};

    #[test]
    fn the_limit_is_named_with_its_file_and_value() {
        let mut found = OutOfMemory {
            kills: 2,
            limit: Limit::Reached("/sys/fs/cgroup/c/memory.max".into(), 64 << 20),
            peak: Some((64 << 20) - 4096),
        };
        let text = r#"out of memory: killed 2 processes, "/sys/fs/cgroup/c/memory.max" is 67108864 (64 MiB), peak 65532 KiB"#;
        assert_eq!(found.to_string(), text);
        found = OutOfMemory { kills: 1, limit: Limit::Unknown, peak: None };
        assert_eq!(found.to_string(), "out of memory: killed 1 process, at a limit that is not known");
        assert_eq!(found.document().limit, None);
        found.limit = Limit::Own("/sys/fs/cgroup/c/memory.max".into(), 4096);
        let own = r#"out of memory: killed 1 process, at a limit that is not known; "/sys/fs/cgroup/c/memory.max" was 4096 (4 KiB)"#;
        assert_eq!((found.to_string().as_str(), found.document().limit), (own, None));
    }
}
