//! procfs, opened once and checked, and what the runtime reads there.

mod descriptors;
mod mounts;
mod process;

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use nix::sys::statfs::PROC_SUPER_MAGIC;
use nix::unistd::Pid;

use crate::error::{Doing, Kind, Result, failure};
use crate::sys::Call;
use crate::sys::fs::{self, Lookup, OFlag};

pub use descriptors::{Descriptor, path_of, real_path};
pub use mounts::{MountTable, Mounted, Sharing, mounted, mounts};
pub use process::{ProcessStat, StartTime, Stat, Thread};

/// A procfs that no container can have prepared. The host's is only used while `/proc` is still the host's: by the host
/// side, and by init before the first mount that the container's configuration asks for.
#[derive(Debug)]
pub struct Proc(OwnedFd);

/// user_namespaces(7): whether root is root of the machine here. The number of the first namespace is part of the
/// kernel's interface: `USER_NS_INIT_INO` in linux/nsfs.h.
pub fn in_machines_user_namespace() -> bool {
    const FIRST: u64 = 0xEFFF_FFFD;
    // Who has no procfs is told so where one is needed.
    nix::sys::stat::stat("/proc/self/ns/user").map_or(true, |stat| stat.st_ino == FIRST)
}

/// Whether this process is root, and of the machine.
pub fn is_machines_root() -> bool {
    nix::unistd::geteuid().is_root() && in_machines_user_namespace()
}

impl Proc {
    /// Opens `/proc` and checks that it is one.
    pub fn open() -> Result<Self> {
        let dir = fs::open("/proc", OFlag::O_PATH | OFlag::O_DIRECTORY)?;
        match fs::is_on(&dir, PROC_SUPER_MAGIC) {
            true => Ok(Self(dir)),
            false => Err(failure(Kind::Unsupported, "/proc: not a proc file system")),
        }
    }

    /// One that has just been made and is nowhere yet, so that nothing covers any of it.
    pub fn detached(mount: OwnedFd) -> Self {
        Self(mount)
    }

    /// Its root, to look at.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// Its root.
    pub fn into_fd(self) -> OwnedFd {
        self.0
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

    /// The cgroup of this process in the cgroup2 tree, relative to its root: cgroups(7), /proc/PID/cgroup. Empty for
    /// the root itself.
    pub fn cgroup(&self) -> Result<PathBuf> {
        self.cgroup_in("self/cgroup")
    }

    /// The same of another process.
    pub fn cgroup_of(&self, pid: Pid) -> Result<PathBuf> {
        self.cgroup_in(&format!("{pid}/cgroup"))
    }

    fn cgroup_in(&self, file: &str) -> Result<PathBuf> {
        let text = self.read(file)?;
        let text = String::from_utf8_lossy(&text);
        let path = text.lines().find_map(|line| line.strip_prefix("0::/"));
        path.map(PathBuf::from).ok_or_else(|| {
            failure(Kind::Unsupported, format!("/proc/{file}: the process is in no cgroup2 tree"))
        })
    }

    /// Whether there are hierarchies of cgroup v1, too, mounted or not.
    pub fn has_cgroup_v1(&self) -> Result<bool> {
        let text = self.read("self/cgroup")?;
        Ok(text.split(|byte| *byte == b'\n').any(|line| !line.is_empty() && !line.starts_with(b"0::")))
    }

    /// user_namespaces(7): what this process sees in the place of an id that the process of this pid has; `None` if
    /// there is no such id in its user namespace.
    pub fn uid_on_host(&self, pid: Pid, uid: u32) -> Result<Option<u32>> {
        let text = self.read(&format!("{pid}/uid_map"))?;
        Ok(mapped(&String::from_utf8_lossy(&text), uid))
    }

    /// The number of a namespace that a process is in: proc_pid_ns(5), `net:[4026531840]`.
    pub fn namespace(&self, pid: Pid, name: &str) -> Result<u64> {
        let link = format!("{pid}/ns/{name}");
        let target = nix::fcntl::readlinkat(&self.0, link.as_str())
            .call(|| format!("readlinkat(\"/proc/{link}\")"))?;
        let number = target.to_string_lossy().split(['[', ']']).nth(1).and_then(|text| text.parse().ok());
        number.ok_or_else(|| failure(Kind::System, format!("/proc/{link}: {target:?} is no namespace")))
    }

    /// The pid of a process that is held: pidfd_open(2), proc_pid_fdinfo(5).
    pub fn pid_of(&self, pidfd: BorrowedFd<'_>) -> Result<Pid> {
        let path = format!("self/fdinfo/{}", pidfd.as_raw_fd());
        let info = self.read(&path)?;
        let info = String::from_utf8_lossy(&info);
        let pid = info.lines().find_map(|line| line.strip_prefix("Pid:")?.trim().parse().ok());
        // 0 and -1: one of another pid namespace, or that has been reaped.
        let pid = pid.filter(|pid| *pid > 0).map(Pid::from_raw);
        pid.ok_or_else(|| failure(Kind::System, format!("/proc/{path}: no process of this pid namespace")))
    }
}

/// The lines are `inside outside count`.
fn mapped(map: &str, id: u32) -> Option<u32> {
    map.lines().find_map(|line| {
        let mut numbers = line.split_ascii_whitespace().map(str::parse::<u32>);
        let (inside, outside) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
        let count = numbers.next()?.ok()?;
        let offset = id.checked_sub(inside).filter(|offset| *offset < count)?;
        outside.checked_add(offset)
    })
}

#[cfg(test)]
mod tests {
    use super::mapped;

    #[test]
    fn an_id_is_looked_up_in_all_ranges() {
        let map = "         0     100000          1\n         1     300000        100\n";
        assert_eq!(
            [0, 1, 100, 101].map(|id| mapped(map, id)),
            [Some(100_000), Some(300_000), Some(300_099), None]
        );
    }
}
