//! Runs in: init, before the pivot: a tmpfs that begins with what it covers.
//!
//! The image may hold anything, so everything goes by descriptors, no link is followed, and nothing is opened
//! but directories and regular files.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::dir::{Dir, Type};
use nix::fcntl::{AtFlags, readlinkat};
use nix::sys::sendfile::sendfile;
use nix::sys::stat::{FchmodatFlags, FileStat, Mode, SFlag, fchmodat, fstatat, mkdirat, mknodat};
use nix::unistd::{fchownat, symlinkat};

use crate::error::{Doing, Result, invalid};
use crate::plan::options::Parameter;
use crate::sys::fs::{self, Lookup, OFlag};
use crate::sys::{Call, retry_eintr};

/// Deeper than any path that the kernel takes at once.
const DEEPEST: u32 = 2048;

/// Copies what is in `from` into the empty directory `to`, with owners, modes and links; and gives `to` the
/// owner and mode of `from`, but for what `to` was mounted with: podman passes on `--tmpfs DIR:mode=1770`.
pub(super) fn tree(from: &OwnedFd, to: &OwnedFd, parameters: &[Parameter]) -> Result<()> {
    let (mut stat, mounted) = (fs::stat(from)?, fs::stat(to)?);
    for parameter in parameters {
        match parameter.key.as_str() {
            "mode" => stat.st_mode = mounted.st_mode,
            "uid" => stat.st_uid = mounted.st_uid,
            "gid" => stat.st_gid = mounted.st_gid,
            _ => {}
        }
    }
    copy_entries(from.as_fd(), to.as_fd(), 0)?;
    take_over(to.as_fd(), c".", &stat)
}

fn copy_entries(from: BorrowedFd<'_>, to: BorrowedFd<'_>, depth: u32) -> Result<()> {
    if depth > DEEPEST {
        return Err(invalid(format!("directories more than {DEEPEST} deep")));
    }
    let mut listing =
        Dir::from_fd(open(from, c".", OFlag::O_RDONLY | OFlag::O_DIRECTORY)?).call(|| "fdopendir()")?;
    for entry in listing.iter() {
        let entry = entry.call(|| "readdir()")?;
        let name = entry.file_name();
        if name != c"." && name != c".." {
            copy_entry(from, to, name, entry.file_type(), depth)
                .doing(|| name.to_string_lossy().into_owned())?;
        }
    }
    Ok(())
}

fn copy_entry(
    from: BorrowedFd<'_>,
    to: BorrowedFd<'_>,
    name: &CStr,
    kind: Option<Type>,
    depth: u32,
) -> Result<()> {
    let stat = fstatat(from, name, AtFlags::AT_SYMLINK_NOFOLLOW).call(|| "fstatat()")?;
    match fs::file_type(&stat) {
        libc::S_IFDIR => {
            mkdirat(to, name, Mode::S_IRWXU).call(|| "mkdirat()")?;
            let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY;
            let (from, to) = (open(from, name, flags)?, open(to, name, flags)?);
            copy_entries(from.as_fd(), to.as_fd(), depth + 1)?;
        }
        libc::S_IFREG => copy_file(from, to, name)?,
        libc::S_IFLNK => {
            let target = readlinkat(from, name).call(|| "readlinkat()")?;
            symlinkat(target.as_os_str(), to, name).call(|| "symlinkat()")?;
        }
        // A socket is nothing without its process.
        libc::S_IFSOCK => return Ok(()),
        _ => {
            let made =
                mknodat(to, name, SFlag::from_bits_truncate(stat.st_mode), Mode::S_IRUSR, stat.st_rdev);
            made.call(|| format!("mknodat({kind:?})"))?;
        }
    }
    take_over(to, name, &stat)
}

fn copy_file(from: BorrowedFd<'_>, to: BorrowedFd<'_>, name: &CStr) -> Result<()> {
    // O_NONBLOCK: what was a file a moment ago may be a FIFO by now.
    let source = open(from, name, OFlag::O_RDONLY | OFlag::O_NONBLOCK)?;
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL;
    let copy = fs::openat2(to, name, flags, 0o600, Lookup::Strict).call(|| "openat2(O_CREAT)")?;
    while retry_eintr(|| sendfile(&copy, &source, None, 1 << 24)).call(|| "sendfile()")? > 0 {}
    Ok(())
}

fn open(dir: BorrowedFd<'_>, name: &CStr, flags: OFlag) -> Result<OwnedFd> {
    fs::openat2(dir, name, flags, 0, Lookup::Strict).call(|| "openat2()").map_err(Into::into)
}

/// Owner first: a change of owner takes set-id bits away.
fn take_over(dir: BorrowedFd<'_>, name: &CStr, stat: &FileStat) -> Result<()> {
    let (uid, gid) = (stat.st_uid.into(), stat.st_gid.into());
    fchownat(dir, name, Some(uid), Some(gid), AtFlags::AT_SYMLINK_NOFOLLOW).call(|| "fchownat()")?;
    if fs::file_type(stat) == libc::S_IFLNK {
        return Ok(());
    }
    let mode = Mode::from_bits_truncate(stat.st_mode);
    fchmodat(dir, name, mode, FchmodatFlags::FollowSymlink).call(|| "fchmodat()").map_err(Into::into)
}
