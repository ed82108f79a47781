//! procfs, opened once and checked, and what the runtime reads there.

use std::os::fd::{AsFd, OwnedFd};

use nix::sys::statfs::PROC_SUPER_MAGIC;
use nix::unistd::Pid;

use crate::error::{Doing, Kind, Result, failure};
use crate::sys::fs::{self, Lookup, OFlag};
use crate::sys::{Call, Errno};

/// The host's procfs. Only used while `/proc` is still the host's: by the host side, and by init before
/// the first mount that the container's configuration asks for.
#[derive(Debug)]
pub struct Proc(OwnedFd);

/// A process's identity for as long as the machine runs: a pid alone may be another process's by now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct StartTime(
    /// proc_pid_stat(5), field 22: clock ticks since boot.
    pub u64,
);

impl Proc {
    /// Opens `/proc` and checks that it is one.
    pub fn open() -> Result<Self> {
        let dir = fs::open("/proc", OFlag::O_PATH | OFlag::O_DIRECTORY)?;
        match fs::is_on(&dir, PROC_SUPER_MAGIC) {
            true => Ok(Self(dir)),
            false => Err(failure(Kind::Unsupported, "/proc: not a proc file system")),
        }
    }

    /// Opens a file of it by a relative path, such as `self/oom_score_adj`.
    pub fn file(&self, path: &str, flags: OFlag) -> Result<OwnedFd> {
        fs::openat2(self.0.as_fd(), path, flags, 0, Lookup::Beneath)
            .call(|| format!("openat2(\"/proc/{path}\", {flags:?})"))
            .map_err(Into::into)
    }

    /// Writes a value in one call.
    pub fn write(&self, path: &str, value: &[u8]) -> Result<()> {
        let file = self.file(path, OFlag::O_WRONLY)?;
        fs::write_all(file, value).doing(|| format!("/proc/{path}"))
    }

    fn read(&self, path: &str) -> Result<Vec<u8>> {
        let file = self.file(path, OFlag::O_RDONLY)?;
        fs::read_all(file, 1 << 20).doing(|| format!("/proc/{path}"))
    }

    /// A name for this boot: what was recorded in another one is over.
    pub fn boot_id(&self) -> Result<String> {
        let id = self.read("sys/kernel/random/boot_id")?;
        Ok(String::from_utf8_lossy(id.trim_ascii()).into_owned())
    }

    /// proc_filesystems(5): what this kernel can mount.
    pub fn filesystems(&self) -> Result<String> {
        self.read("filesystems").map(|text| String::from_utf8_lossy(&text).into_owned())
    }

    /// When a process started; `None` if there is none of this pid, or only its zombie.
    pub fn start_time(&self, pid: Pid) -> Result<Option<StartTime>> {
        let stat = match self.read(&format!("{pid}/stat")) {
            Ok(stat) => stat,
            Err(error) if gone(&error) => return Ok(None),
            Err(error) => return Err(error),
        };
        parse_stat(&String::from_utf8_lossy(&stat)).ok_or_else(|| {
            failure(Kind::System, format!("/proc/{pid}/stat: not in the form of proc_pid_stat(5)"))
        })
    }
}

fn gone(error: &anyhow::Error) -> bool {
    matches!(crate::error::errno_of(error), Some(Errno::ENOENT | Errno::ESRCH))
}

/// proc_pid_stat(5). The command, field 2, may have spaces and parentheses: the last one ends it.
fn parse_stat(stat: &str) -> Option<Option<StartTime>> {
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    let state = fields.next()?;
    let start = fields.nth(18)?.parse().ok()?;
    Some((!matches!(state, "Z" | "X")).then_some(StartTime(start)))
}

#[cfg(test)]
mod tests {
    use super::{StartTime, parse_stat};

    #[test]
    fn a_command_with_spaces_and_parentheses_does_not_shift_the_fields() {
        let rest = "S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4242 20 21";
        assert_eq!(parse_stat(&format!("17 (a) b (c) {rest}")), Some(Some(StartTime(4242))));
    }

    #[test]
    fn a_zombie_has_no_start_time_for_it_is_no_process_any_more() {
        let rest = "Z 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4242 20 21";
        assert_eq!(parse_stat(&format!("17 (sh) {rest}")), Some(None));
    }
}
