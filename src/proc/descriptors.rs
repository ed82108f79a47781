//! What is open: proc_pid_fd(5), proc_pid_fdinfo(5).

use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::PathBuf;

use nix::unistd::Pid;

use super::Proc;
use crate::error::Result;
use crate::sys::Call;
use crate::sys::fs::OFlag;

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
    pub stat: nix::sys::stat::FileStat,
    /// For reading.
    pub reads: bool,
    /// For writing.
    pub writes: bool,
    /// With a lock, flock(2), that it has a part in.
    pub locked: bool,
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
        let (reads, writes, locked) = (flags & 3 != 1, flags & 3 != 0, field("lock:").is_some());
        Some(Descriptor { number, target, mount, stat, reads, writes, locked })
    }
}

/// Where something is that this process has open: proc_pid_fd(5).
pub fn path_of(fd: BorrowedFd<'_>) -> Result<PathBuf> {
    let link = format!("/proc/self/fd/{}", fd.as_raw_fd());
    Ok(nix::fcntl::readlink(link.as_str()).call(|| format!("readlink({link:?})"))?.into())
}
