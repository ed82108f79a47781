//! What is mounted: proc_pid_mountinfo(5).

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use nix::unistd::{Pid, Whence};

use super::Proc;
use crate::error::{Doing, Kind, Result, failure};
use crate::sys::Call;
use crate::sys::fs::{self, OFlag};

/// A mount, as far as anybody asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mounted {
    /// Its number, for as long as it is mounted.
    pub id: u32,
    /// `major:minor` of its file system.
    pub device: String,
    /// What of its file system it shows.
    pub root: PathBuf,
    /// Where, from the process's root.
    pub at: PathBuf,
    /// How it shares what is mounted in it.
    pub sharing: Sharing,
    /// Such as `ext4`.
    pub fstype: String,
}

/// mount_namespaces(7), "Shared subtrees": groups by their numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sharing {
    /// The group with which it shares what is mounted.
    pub group: Option<u32>,
    /// The group that it follows.
    pub master: Option<u32>,
    /// It can't be bound.
    pub unbindable: bool,
}

impl Sharing {
    /// Of the optional fields.
    pub fn parse<'a>(fields: impl Iterator<Item = &'a str>) -> Self {
        let mut sharing = Self::default();
        for field in fields {
            match field.split_once(':') {
                Some(("shared", group)) => sharing.group = group.parse().ok(),
                Some(("master", group)) => sharing.master = group.parse().ok(),
                _ => sharing.unbindable |= field == "unbindable",
            }
        }
        sharing
    }
}

impl Proc {
    /// The mounts that a process sees, oldest first: proc_pid_mountinfo(5).
    pub fn mounts_of(&self, pid: Pid) -> Result<Vec<Mounted>> {
        let path = format!("{pid}/mountinfo");
        parse_mounts(self.file(&path, OFlag::O_RDONLY)?).doing(|| format!("/proc/{path}"))
    }

    /// The mounts that this process sees by now, oldest first.
    pub fn own_mounts(&self) -> Result<Vec<Mounted>> {
        let path = "self/mountinfo";
        parse_mounts(self.file(path, OFlag::O_RDONLY)?).doing(|| format!("/proc/{path}"))
    }

    /// The number of the mount that a descriptor of this process is on: proc_pid_fdinfo(5).
    pub fn mount_id(&self, fd: BorrowedFd<'_>) -> Result<u32> {
        let path = format!("self/fdinfo/{}", fd.as_raw_fd());
        let info = self.read(&path)?;
        let info = String::from_utf8_lossy(&info);
        let id = info.lines().find_map(|line| line.strip_prefix("mnt_id:")?.trim().parse().ok());
        id.ok_or_else(|| failure(Kind::System, format!("/proc/{path}: no mnt_id")))
    }
}

/// The mounts of the namespace in which this was opened, whoever asks: proc_pid_mountinfo(5).
#[derive(Debug)]
pub struct MountTable(OwnedFd);

impl MountTable {
    /// That of this process.
    pub fn open() -> Result<Self> {
        fs::open("/proc/self/mountinfo", OFlag::O_RDONLY).map(Self).map_err(Into::into)
    }

    /// What is mounted there by now, oldest first.
    pub fn mounts(&self) -> Result<Vec<Mounted>> {
        nix::unistd::lseek(&self.0, 0, Whence::SeekSet).call(|| "lseek(mountinfo)")?;
        parse_mounts(self.0.try_clone().call(|| "dup()")?)
    }

    /// To look at.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// proc_pid_mountinfo(5): where the first file system of a type is mounted; `None` if none is.
pub fn mounted(fstype: &str) -> Result<Option<PathBuf>> {
    Ok(mounts()?.into_iter().find(|mounted| mounted.fstype == fstype).map(|mounted| mounted.at))
}

/// The mounts that this process sees, oldest first: proc_pid_mountinfo(5).
pub fn mounts() -> Result<Vec<Mounted>> {
    MountTable::open()?.mounts().doing(|| "/proc/self/mountinfo")
}

fn parse_mounts(mountinfo: OwnedFd) -> Result<Vec<Mounted>> {
    let list = fs::read_all(mountinfo, 64 << 20)?;
    Ok(String::from_utf8_lossy(&list).lines().filter_map(parse_mount).collect())
}

/// proc_pid_mountinfo(5).
fn parse_mount(line: &str) -> Option<Mounted> {
    let (left, right) = line.split_once(" - ")?;
    let mut fields = left.split(' ');
    let (id, _parent, device) = (fields.next()?.parse().ok()?, fields.next()?, fields.next()?.to_owned());
    let (root, at) = (unescaped(fields.next()?), unescaped(fields.next()?));
    let sharing = Sharing::parse(fields.skip(1));
    Some(Mounted { id, device, root, at, sharing, fstype: right.split(' ').next()?.to_owned() })
}

/// Space, tab, newline and backslash in a path are octal numbers.
fn unescaped(path: &str) -> PathBuf {
    let escapes = [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")];
    escapes.into_iter().fold(path.to_owned(), |path, (number, plain)| path.replace(number, plain)).into()
}

#[cfg(test)]
mod tests {
    use super::{Mounted, Sharing, parse_mount};

    #[test]
    fn a_mount_has_a_number_a_file_system_a_root_and_a_place() {
        let line =
            r"36 35 98:0 /mnt1 /mnt\040of\134mine rw,noatime master:1 - ext3 /dev/root rw,errors=continue";
        let mounted = Mounted {
            id: 36,
            device: "98:0".into(),
            root: "/mnt1".into(),
            at: r"/mnt of\mine".into(),
            sharing: Sharing { group: None, master: Some(1), unbindable: false },
            fstype: "ext3".into(),
        };
        assert_eq!(parse_mount(line), Some(mounted));
    }

    #[test]
    fn a_mount_shares_as_its_optional_fields_say() {
        for (fields, group, master, unbindable) in [
            ("", None, None, false),
            ("shared:7 ", Some(7), None, false),
            ("shared:7 master:3 propagate_from:2 ", Some(7), Some(3), false),
            ("master:1 shared:7 ", Some(7), Some(1), false),
            ("unbindable ", None, None, true),
        ] {
            let line = format!("36 35 98:0 / /mnt rw,noatime {fields}- ext3 /dev/root rw");
            let sharing = parse_mount(&line).unwrap().sharing;
            assert_eq!(sharing, Sharing { group, master, unbindable }, "{line}");
        }
    }
}
