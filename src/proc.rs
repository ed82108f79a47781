//! procfs, opened once and checked, and what the runtime reads there.

use std::collections::BTreeSet;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use nix::sys::statfs::PROC_SUPER_MAGIC;
use nix::unistd::Pid;

use crate::error::{Doing, Kind, Result, failure};
use crate::sys::fs::{self, Lookup, OFlag};
use crate::sys::{Call, Errno, retry_eintr};

/// A procfs that no container can have prepared. The host's is only used while `/proc` is still the host's: by the host
/// side, and by init before the first mount that the container's configuration asks for.
#[derive(Debug)]
pub struct Proc(OwnedFd);

/// A process's identity for as long as the machine runs: a pid alone may be another process's by now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct StartTime(
    /// proc_pid_stat(5), field 22: clock ticks since boot.
    pub u64,
);

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

    /// Whether there are hierarchies of cgroup v1, too, mounted or not.
    pub fn has_cgroup_v1(&self) -> Result<bool> {
        let text = self.read("self/cgroup")?;
        Ok(text.split(|byte| *byte == b'\n').any(|line| !line.is_empty() && !line.starts_with(b"0::")))
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
            failure(Kind::Unsupported, format!("/proc/{file}: this process is in no cgroup2 tree"))
        })
    }

    /// user_namespaces(7): what this process sees in the place of an id that the process of this pid has; `None` if
    /// there is no such id in its user namespace.
    pub fn uid_on_host(&self, pid: Pid, uid: u32) -> Result<Option<u32>> {
        let text = self.read(&format!("{pid}/uid_map"))?;
        Ok(mapped(&String::from_utf8_lossy(&text), uid))
    }

    /// The processes of a pid namespace, as far as this one may know which they are in.
    pub fn processes_in(&self, namespace: u64) -> Result<Vec<(Pid, Stat)>> {
        let dir = self.file(".", OFlag::O_RDONLY | OFlag::O_DIRECTORY)?;
        let mut dir = nix::dir::Dir::from_fd(dir).call(|| "fdopendir(\"/proc\")")?;
        let pids = dir.iter().filter_map(|entry| entry.ok()?.file_name().to_str().ok()?.parse().ok());
        let mut found = Vec::new();
        for pid in pids.map(Pid::from_raw).filter(|pid| self.namespace(*pid, "pid").ok() == Some(namespace)) {
            found.extend(self.process(pid)?.map(|(_, now)| (pid, now)));
        }
        Ok(found)
    }

    /// The mounts that a process sees, oldest first: proc_pid_mountinfo(5).
    pub fn mounts_of(&self, pid: Pid) -> Result<Vec<Mounted>> {
        let path = format!("{pid}/mountinfo");
        parse_mounts(self.file(&path, OFlag::O_RDONLY)?).doing(|| format!("/proc/{path}"))
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

    /// The children of this thread: proc_pid_task_children(5), CONFIG_PROC_CHILDREN.
    pub fn children(&self) -> Result<BTreeSet<Pid>> {
        let text = self.read("thread-self/children")?;
        let pids = String::from_utf8_lossy(&text);
        Ok(pids.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).map(Pid::from_raw).collect())
    }

    /// The threads of a process: proc_pid_task(5). Those that end meanwhile are left out, as is all that is forbidden.
    pub fn threads(&self, pid: Pid) -> Vec<Thread> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY;
        let Ok(dir) = self.file(&format!("{pid}/task"), flags) else { return Vec::new() };
        let Ok(mut dir) = nix::dir::Dir::from_fd(dir) else { return Vec::new() };
        let numbers =
            dir.iter().filter_map(|entry| entry.ok()?.file_name().to_str().ok()?.parse::<i32>().ok());
        numbers.filter_map(|tid| self.thread(&format!("{pid}/task/{tid}"))).collect()
    }

    fn thread(&self, path: &str) -> Option<Thread> {
        let text = |name: &str| {
            let bytes = self.read(&format!("{path}/{name}")).ok()?;
            Some(String::from_utf8_lossy(&bytes).into_owned())
        };
        let stat = text("stat")?;
        let (name, rest) = stat.split_once('(')?.1.rsplit_once(')')?;
        // 0 for one that runs, or for who may not know.
        let wchan = text("wchan").filter(|wchan| !wchan.is_empty() && wchan != "0");
        Some(Thread { name: name.to_owned(), state: rest.trim_start().chars().next()?, wchan })
    }

    /// A process, its zombie included; `None` if there is none of this pid.
    pub fn process(&self, pid: Pid) -> Result<Option<(ProcessStat, Stat)>> {
        let path = format!("{pid}/stat");
        let file = match self.file(&path, OFlag::O_RDONLY) {
            Err(error) if crate::error::errno_of(&error) == Some(Errno::ENOENT) => return Ok(None),
            opened => ProcessStat(opened?),
        };
        let now = file.read().doing(|| format!("/proc/{path}"))?;
        Ok(now.map(|now| (file, now)))
    }
}

/// proc_pid_mountinfo(5): where the first file system of a type is mounted; `None` if none is.
pub fn mounted(fstype: &str) -> Result<Option<PathBuf>> {
    Ok(mounts()?.into_iter().find(|mounted| mounted.fstype == fstype).map(|mounted| mounted.at))
}

/// Where something is that this process has open: proc_pid_fd(5).
pub fn path_of(fd: BorrowedFd<'_>) -> Result<PathBuf> {
    let link = format!("/proc/self/fd/{}", fd.as_raw_fd());
    Ok(nix::fcntl::readlink(link.as_str()).call(|| format!("readlink({link:?})"))?.into())
}

/// The mounts that this process sees, oldest first: proc_pid_mountinfo(5).
pub fn mounts() -> Result<Vec<Mounted>> {
    let file = fs::open("/proc/self/mountinfo", OFlag::O_RDONLY)?;
    parse_mounts(file).doing(|| "/proc/self/mountinfo")
}

fn parse_mounts(mountinfo: OwnedFd) -> Result<Vec<Mounted>> {
    let list = fs::read_all(mountinfo, 64 << 20)?;
    Ok(String::from_utf8_lossy(&list).lines().filter_map(parse_mount).collect())
}

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
}

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
    /// Such as `ext4`.
    pub fstype: String,
}

/// proc_pid_mountinfo(5).
fn parse_mount(line: &str) -> Option<Mounted> {
    let (left, right) = line.split_once(" - ")?;
    let mut fields = left.split(' ');
    let (id, _parent, device) = (fields.next()?.parse().ok()?, fields.next()?, fields.next()?.to_owned());
    let (root, at) = (unescaped(fields.next()?), unescaped(fields.next()?));
    Some(Mounted { id, device, root, at, fstype: right.split(' ').next()?.to_owned() })
}

/// Space, tab, newline and backslash in a path are octal numbers.
fn unescaped(path: &str) -> PathBuf {
    let escapes = [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")];
    escapes.into_iter().fold(path.to_owned(), |path, (number, plain)| path.replace(number, plain)).into()
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

/// What a thread does, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thread {
    /// proc_pid_comm(5).
    pub name: String,
    /// proc_pid_stat(5), field 3.
    pub state: char,
    /// The kernel's function that it waits in: proc_pid_wchan(5).
    pub wchan: Option<String>,
}

/// The file that tells of one process, and never of a later one of its pid.
#[derive(Debug)]
pub struct ProcessStat(OwnedFd);

/// proc_pid_stat(5), at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// Field 22.
    pub start: StartTime,
    /// Field 3: it is a zombie. Field 20: a process whose first thread has ended goes on with the others.
    pub ended: bool,
    /// Field 9, PF_EXITING: it ends, and has nothing left to be joined, but may wait for others on its way.
    pub ending: bool,
    /// Field 3: it has been stopped, by a signal or by who traces it.
    pub stopped: bool,
    /// Field 9, PF_FORKNOEXEC: it has made an execve, and is not what it was when it was forked.
    pub executed: bool,
}

impl ProcessStat {
    /// How it is now; `None` if it has ended and been reaped.
    pub fn read(&self) -> Result<Option<Stat>> {
        let mut text = [0; 2048];
        let length = match retry_eintr(|| nix::sys::uio::pread(&self.0, &mut text, 0)) {
            Err(Errno::ESRCH) => return Ok(None),
            read => read.call(|| "pread()")?,
        };
        let parsed = text.get(..length).and_then(|text| parse_stat(&String::from_utf8_lossy(text)));
        parsed.map(Some).ok_or_else(|| failure(Kind::System, "not in the form of proc_pid_stat(5)"))
    }
}

/// proc_pid_stat(5). The command, field 2, may have spaces and parentheses: the last one ends it.
fn parse_stat(stat: &str) -> Option<Stat> {
    /// linux/sched.h: getting shut down.
    const PF_EXITING: u32 = 0x04;
    /// linux/sched.h: forked, but didn't exec.
    const PF_FORKNOEXEC: u32 = 0x40;
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    let state = fields.next()?;
    let flags: u32 = fields.nth(5)?.parse().ok()?;
    let threads: u32 = fields.nth(10)?.parse().ok()?;
    let start = StartTime(fields.nth(1)?.parse().ok()?);
    let is_last = threads <= 1;
    Some(Stat {
        start,
        ended: is_last && matches!(state, "Z" | "X"),
        ending: is_last && flags & PF_EXITING != 0,
        stopped: matches!(state, "T" | "t"),
        executed: flags & PF_FORKNOEXEC == 0,
    })
}

#[cfg(test)]
mod tests {
    use super::{Mounted, StartTime, Stat, mapped, parse_mount, parse_stat};

    #[test]
    fn an_id_is_looked_up_in_all_ranges() {
        let map = "         0     100000          1\n         1     300000        100\n";
        assert_eq!(
            [0, 1, 100, 101].map(|id| mapped(map, id)),
            [Some(100_000), Some(300_000), Some(300_099), None]
        );
    }

    #[test]
    fn a_command_with_spaces_and_parentheses_does_not_shift_the_fields() {
        let rest = "S 1 2 3 4 5 4194304 7 8 9 10 11 12 13 14 15 16 17 18 4242 20 21";
        let start = StartTime(4242);
        let expected = Stat { start, ended: false, ending: false, stopped: false, executed: true };
        assert_eq!(parse_stat(&format!("17 (a) b (c) {rest}")), Some(expected));
    }

    #[test]
    fn a_mount_has_a_number_a_file_system_a_root_and_a_place() {
        let line =
            r"36 35 98:0 /mnt1 /mnt\040of\134mine rw,noatime master:1 - ext3 /dev/root rw,errors=continue";
        let mounted = Mounted {
            id: 36,
            device: "98:0".into(),
            root: "/mnt1".into(),
            at: r"/mnt of\mine".into(),
            fstype: "ext3".into(),
        };
        assert_eq!(parse_mount(line), Some(mounted));
    }

    #[test]
    fn a_zombie_has_ended_and_still_tells_whether_it_became_a_program() {
        let rest = "7 8 9 10 11 12 13 14 15 16 1 18 4242 20 21";
        for (flags, ending, executed) in [(4_194_304 + 64, false, false), (4_194_304 + 4, true, true)] {
            let start = StartTime(4242);
            let expected = Stat { start, ended: true, ending, stopped: false, executed };
            assert_eq!(parse_stat(&format!("17 (sh) Z 1 2 3 4 5 {flags} {rest}")), Some(expected));
        }
    }

    #[test]
    fn a_process_whose_first_thread_has_ended_has_not() {
        let of = |threads: u32| {
            let rest = format!("7 8 9 10 11 12 13 14 15 16 {threads} 18 4242 20 21");
            let now = parse_stat(&format!("17 (pt) Z 1 2 3 4 5 4194308 {rest}")).unwrap();
            (now.ended, now.ending)
        };
        assert_eq!([2, 1, 0].map(of), [(false, false), (true, true), (true, true)]);
    }
}
