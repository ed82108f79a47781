//! Files by descriptor: openat2(2) with its resolve flags, small reads and writes.

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::NixPath;
use nix::errno::Errno;
use nix::fcntl::{OpenHow, ResolveFlag};
use nix::sys::stat::{FileStat, Mode};

use super::{Call, SysError};

pub use nix::fcntl::OFlag;

/// How a path is looked up below a directory; openat2(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// `/` and symbolic links stop at the directory, as after chroot (RESOLVE_IN_ROOT).
    InRoot,
    /// Below the directory on the same mount, without any symbolic link.
    Strict,
    /// Below the directory on the same mount; symbolic links may lead on below it.
    Beneath,
}

impl Lookup {
    fn flags(self) -> ResolveFlag {
        let plain = ResolveFlag::RESOLVE_NO_MAGICLINKS;
        let beneath = plain | ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_XDEV;
        match self {
            Lookup::InRoot => plain | ResolveFlag::RESOLVE_IN_ROOT,
            Lookup::Strict => beneath | ResolveFlag::RESOLVE_NO_SYMLINKS,
            Lookup::Beneath => beneath,
        }
    }
}

/// openat2(2), O_CLOEXEC. EAGAIN says that something was renamed meanwhile: it is tried 128 times and
/// then until 2 ms are over, so that a container that renames in a loop can't make this fail easily.
pub fn openat2<P: ?Sized + NixPath>(
    dir: impl AsFd,
    path: &P,
    flags: OFlag,
    mode: u32,
    lookup: Lookup,
) -> nix::Result<OwnedFd> {
    let how = OpenHow::new()
        .flags(flags | OFlag::O_CLOEXEC)
        .mode(Mode::from_bits_truncate(mode))
        .resolve(lookup.flags());
    let mut tries = 0u32;
    let mut deadline = None;
    loop {
        match nix::fcntl::openat2(dir.as_fd(), path, how) {
            Err(Errno::EAGAIN | Errno::EINTR) if tries < 128 => tries += 1,
            Err(Errno::EAGAIN) => {
                let end = *deadline.get_or_insert_with(|| Instant::now() + Duration::from_millis(2));
                if Instant::now() > end {
                    return Err(Errno::EAGAIN);
                }
            }
            done => return done,
        }
    }
}

/// open(2) of a path of the host, O_CLOEXEC.
pub fn open<P: ?Sized + NixPath + std::fmt::Debug>(path: &P, flags: OFlag) -> Result<OwnedFd, SysError> {
    nix::fcntl::open(path, flags | OFlag::O_CLOEXEC, Mode::empty())
        .call(|| format!("open({path:?}, {flags:?})"))
}

/// The directory above one whose place nobody can change, O_CLOEXEC: openat(2) of `..`.
pub fn open_parent(dir: impl AsFd) -> Result<OwnedFd, SysError> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    nix::fcntl::openat(dir.as_fd(), "..", flags, Mode::empty()).call(|| "openat(\"..\")")
}

/// The whole content of `file`, which must not be larger than `limit` bytes.
pub fn read_all(file: OwnedFd, limit: u64) -> Result<Vec<u8>, SysError> {
    // Nearly everything that is read here fits at once.
    let mut content = Vec::with_capacity(16 << 10);
    std::fs::File::from(file).take(limit + 1).read_to_end(&mut content).call(|| "read()")?;
    match content.len() as u64 > limit {
        true => Err(Errno::EFBIG).call(|| format!("read() of more than {limit} bytes")),
        false => Ok(content),
    }
}

/// One write of all of `content`: procfs and cgroupfs take a value in one call or not at all.
pub fn write_all(file: OwnedFd, content: &[u8]) -> Result<(), SysError> {
    let written = std::fs::File::from(file).write_all(content);
    written.call(|| format!("write({:?})", String::from_utf8_lossy(content)))
}

/// A descriptor that the kernel has just handed to this process, such as by SCM_RIGHTS.
pub fn own(received: std::os::fd::RawFd) -> OwnedFd {
    // SAFETY: the caller passes a number that it got from recvmsg(2), which nobody else owns.
    unsafe { std::os::fd::FromRawFd::from_raw_fd(received) }
}

/// The number that the next new descriptor of this process gets: the lowest that is free.
pub fn next_number() -> u32 {
    (0..u32::MAX).find(|n| !is_open(*n)).unwrap_or(u32::MAX)
}

/// Whether this number is an open descriptor of this process: fcntl(2), F_GETFD.
pub fn is_open(fd: u32) -> bool {
    let Ok(fd) = i32::try_from(fd) else { return false };
    // SAFETY: F_GETFD takes no argument and changes nothing.
    unsafe { libc::fcntl(fd, libc::F_GETFD) >= 0 }
}

/// fstat(2).
pub fn stat(fd: impl AsFd) -> Result<FileStat, SysError> {
    nix::sys::stat::fstat(fd).call(|| "fstat()")
}

/// Whether both are of one file: device and inode are the same.
pub fn is_same(one: &FileStat, other: &FileStat) -> bool {
    (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)
}

/// The file type bits of a mode: S_IFDIR, S_IFREG, ...
pub fn file_type(stat: &FileStat) -> u32 {
    stat.st_mode & libc::S_IFMT
}

/// Whether the file system of `fd` has this magic number; statfs(2).
pub fn is_on(fd: impl AsFd, magic: nix::sys::statfs::FsType) -> bool {
    nix::sys::statfs::fstatfs(fd).is_ok_and(|fs| fs.filesystem_type() == magic)
}

/// unlinkat(2) of a file; that it is not there is no error.
pub fn unlink(dir: impl AsFd, name: &OsStr) -> Result<(), SysError> {
    match nix::unistd::unlinkat(dir, name, nix::unistd::UnlinkatFlags::NoRemoveDir) {
        Err(Errno::ENOENT) => Ok(()),
        done => done.call(|| format!("unlinkat({name:?})")),
    }
}
