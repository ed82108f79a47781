//! What is open: proc_pid_fd(5), proc_pid_fdinfo(5).

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::time::Instant;

use nix::sys::stat::{FileStat, major, minor};
use nix::unistd::Pid;

use super::Proc;
use crate::error::Result;
use crate::sys::Call;
use crate::sys::fs::{self, OFlag};

/// Something that a process has open.
#[derive(Clone, Debug)]
pub struct Descriptor {
    /// By which it has it.
    pub number: u32,
    /// A path, or a name such as `pipe:[17]`.
    pub target: PathBuf,
    /// The number of the mount that it was opened on.
    pub mount: u32,
    /// What is open.
    pub stat: FileStat,
    /// For reading.
    pub reads: bool,
    /// For writing.
    pub writes: bool,
}

impl Proc {
    /// All that a process has open: proc_pid_fd(5), proc_pid_fdinfo(5). What is closed meanwhile is left out.
    pub fn descriptors(&self, pid: Pid) -> Result<Vec<Descriptor>> {
        let path = format!("{pid}/fd");
        let dir = self.file(&path, OFlag::O_RDONLY | OFlag::O_DIRECTORY)?;
        let mut dir = nix::dir::Dir::from_fd(dir).call(|| format!("fdopendir(\"/proc/{path}\")"))?;
        let numbers = dir.iter().filter_map(|entry| entry.ok()?.file_name().to_str().ok()?.parse().ok());
        Ok(numbers.filter_map(|number| self.descriptor(pid, number)).collect())
    }

    fn descriptor(&self, pid: Pid, number: u32) -> Option<Descriptor> {
        let link = format!("{pid}/fd/{number}");
        let target = nix::fcntl::readlinkat(&self.0, link.as_str()).ok()?.into();
        // The link leads to the file itself, whatever has its name by now.
        let stat = nix::sys::stat::fstatat(&self.0, link.as_str(), nix::fcntl::AtFlags::empty()).ok()?;
        let info = self.read(&format!("{pid}/fdinfo/{number}")).ok()?;
        let info = String::from_utf8_lossy(&info);
        let field = |name: &str| info.lines().find_map(|line| Some(line.strip_prefix(name)?.trim()));
        let flags = u32::from_str_radix(field("flags:")?, 8).ok()?;
        let mount = field("mnt_id:")?.parse().ok()?;
        Some(Descriptor { number, target, mount, stat, reads: flags & 3 != 1, writes: flags & 3 != 0 })
    }

    /// Whether a process has a part in a lock, flock(2), of this file; no longer than `until`, and not then. Its files are
    /// asked nothing, for one may be of a file system that does not answer.
    pub fn has_part_in_lock(&self, pid: Pid, file: &FileStat, until: Instant) -> Result<bool> {
        let path = format!("{pid}/fdinfo");
        let dir = self.file(&path, OFlag::O_RDONLY | OFlag::O_DIRECTORY)?;
        let mut dir = nix::dir::Dir::from_fd(dir).call(|| format!("fdopendir(\"/proc/{path}\")"))?;
        let name = format!("{:02x}:{:02x}:{}", major(file.st_dev), minor(file.st_dev), file.st_ino);
        let names = dir.iter().filter_map(|entry| Some(entry.ok()?.file_name().to_str().ok()?.to_owned()));
        let mut infos = names
            .filter(|number| number.bytes().all(|b| b.is_ascii_digit()))
            .take_while(|_| Instant::now() < until)
            .filter_map(|number| self.read(&format!("{path}/{number}")).ok());
        Ok(infos.any(|info| is_locked(&String::from_utf8_lossy(&info), &name)))
    }
}

/// Whether fdinfo has a lock of this file: `lock: 1: FLOCK  ADVISORY  WRITE 12 00:19:34 0 EOF`.
fn is_locked(info: &str, file: &str) -> bool {
    let of = |line: &str| {
        let mut words = line.strip_prefix("lock:")?.split_ascii_whitespace().skip(1);
        (words.next()? == "FLOCK").then(|| words.nth(3) == Some(file))
    };
    info.lines().any(|line| of(line) == Some(true))
}

/// Where something is that this process has open: proc_pid_fd(5).
pub fn path_of(fd: BorrowedFd<'_>) -> Result<PathBuf> {
    let link = format!("/proc/self/fd/{}", fd.as_raw_fd());
    Ok(nix::fcntl::readlink(link.as_str()).call(|| format!("readlink({link:?})"))?.into())
}

/// Where a path leads, all links followed: as /proc/self/mountinfo names it.
pub fn real_path(path: &Path) -> Result<PathBuf> {
    path_of(fs::open(path, OFlag::O_PATH)?.as_fd())
}

#[cfg(test)]
mod tests {
    use super::is_locked;

    #[test]
    fn a_lock_is_of_its_kind_and_of_its_file() {
        let info = "pos:\t0\nflags:\t02100002\nlock:\t1: FLOCK  ADVISORY  WRITE 12 fe:00:1007 0 EOF\n";
        assert!(is_locked(info, "fe:00:1007"));
        assert!(!is_locked(info, "fe:00:100"));
        assert!(!is_locked(&info.replace("FLOCK", "POSIX"), "fe:00:1007"));
        for other in ["", "lock:", "lock:\t1: FLOCK", "pos:\tfe:00:1007"] {
            assert!(!is_locked(other, "fe:00:1007"), "{other:?}");
        }
    }
}
