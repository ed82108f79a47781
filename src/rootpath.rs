//! The only way to name something below a container's root: [`InRootfs`] looked up by [`Rootfs`].
//!
//! The root and everything below it belong to the container, which may change it at any time. So no path
//! below it is ever handed to a call that takes host paths: each lookup starts at the root's descriptor
//! and the kernel stops links at it (openat2(2), RESOLVE_IN_ROOT). CVE-2021-30465, CVE-2026-41579.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use nix::sys::stat::{Mode, mkdirat};

use crate::error::{Doing, Result, invalid};
use crate::sys::fs::{self, Lookup, OFlag};
use crate::sys::{Call, Errno, SysError};

/// A path as the container sees it: absolute, without `.` and `..`. No `AsRef<Path>` on purpose.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct InRootfs(PathBuf);

impl InRootfs {
    /// Takes a path of the configuration. A relative one is meant from the root (config.md, "Mounts").
    pub fn new(path: &Path) -> Result<Self> {
        if path.as_os_str().as_bytes().contains(&0) {
            return Err(invalid(format!("path {path:?} has a NUL byte")));
        }
        let mut clean = PathBuf::from("/");
        for component in path.components() {
            match component {
                Component::ParentDir => drop(clean.pop()),
                Component::Normal(name) => clean.push(name),
                Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
            }
        }
        Ok(Self(clean))
    }

    /// Takes a path that has to be absolute.
    pub fn absolute(path: &Path) -> Result<Self> {
        match path.is_absolute() {
            true => Self::new(path),
            false => Err(invalid(format!("path {path:?} is not absolute"))),
        }
    }

    /// The last component; `None` for the root itself.
    pub fn name(&self) -> Option<&OsStr> {
        self.0.file_name()
    }

    /// The directory it is in; the root's is the root.
    pub fn parent(&self) -> Self {
        Self(self.0.parent().unwrap_or(&self.0).to_owned())
    }

    /// Seen from `other`, if it is that or below it.
    pub fn within(&self, other: &Self) -> Option<Self> {
        self.0.strip_prefix(&other.0).ok().map(|rest| Self(Path::new("/").join(rest)))
    }

    /// Whether it is `other` or below it.
    pub fn is_in(&self, other: &str) -> bool {
        self.0.starts_with(other)
    }

    /// Whether it is exactly this path.
    pub fn is(&self, other: &str) -> bool {
        self.0 == Path::new(other)
    }

    /// The path for the container's own calls, after the pivot.
    pub fn seen_from_inside(&self) -> &Path {
        &self.0
    }
}

impl fmt::Display for InRootfs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.display())
    }
}

impl fmt::Debug for InRootfs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

/// A container's root directory, by descriptor.
#[derive(Debug)]
pub struct Rootfs(OwnedFd);

/// What has to be at the end of a path that is made where it is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Make {
    /// A directory, mode 0755 less the umask.
    Dir,
    /// An empty file, mode 0644 less the umask.
    File,
}

/// path_resolution(7): so many symbolic links, then ELOOP.
const MAX_LINKS: u32 = 40;

impl Rootfs {
    /// The root that this directory is.
    pub fn new(dir: OwnedFd) -> Self {
        Self(dir)
    }

    /// Its descriptor.
    pub fn dir(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// Opens what is at the path; links are followed inside the root.
    pub fn open(&self, at: &InRootfs, flags: OFlag) -> Result<OwnedFd, SysError> {
        self.lookup(&at.0, flags).call(|| format!("openat2(\"{at}\", {flags:?}) in the rootfs"))
    }

    /// As [`Self::open`] with O_PATH; `None` where there is nothing.
    pub fn find(&self, at: &InRootfs) -> Result<Option<OwnedFd>, SysError> {
        match self.open(at, OFlag::O_PATH) {
            Ok(fd) => Ok(Some(fd)),
            Err(error) if matches!(error.errno, Errno::ENOENT | Errno::ENOTDIR) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// As [`Self::open`] for reading, of a regular file; `None` where there is nothing. An image may have a FIFO there
    /// (CVE-2024-9676), or a device, for which opening alone may do something: so it is looked at before.
    pub fn open_regular(&self, at: &InRootfs) -> Result<Option<OwnedFd>> {
        let Some(there) = self.find(at)? else { return Ok(None) };
        let there = fs::stat(there)?;
        if fs::file_type(&there) != libc::S_IFREG {
            return Err(invalid("not a regular file"));
        }
        // O_NONBLOCK, and looked at once more: it may be another one by now.
        let file = self.open(at, OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY)?;
        match fs::is_same(&fs::stat(&file)?, &there) {
            true => Ok(Some(file)),
            false => Err(invalid("exchanged while it was opened")),
        }
    }

    /// The directory at the path, made with all above it where it is missing (mode 0755 less the umask).
    pub fn make_dir(&self, at: &InRootfs) -> Result<OwnedFd, SysError> {
        self.make(&at.0, Make::Dir, 0).call(|| format!("mkdirat(\"{at}\") in the rootfs"))
    }

    /// As [`Self::make_dir`], but where it is there no part of the path may be a link.
    pub fn make_plain_dir(&self, at: &InRootfs) -> Result<OwnedFd> {
        let below = at.0.strip_prefix("/").unwrap_or(&at.0);
        match fs::openat2(self.dir(), below, OFlag::O_PATH | OFlag::O_DIRECTORY, 0, Lookup::Strict) {
            Err(errno @ (Errno::ELOOP | Errno::ENOTDIR)) => Err(errno)
                .call(|| format!("openat2(\"{at}\") in the rootfs"))
                .doing(|| format!("{at} must be mounted on an ordinary directory")),
            // Below another mount of the container, or not there yet.
            Err(Errno::EXDEV | Errno::ENOENT) => Ok(self.make_dir(at)?),
            opened => Ok(opened.call(|| format!("openat2(\"{at}\") in the rootfs"))?),
        }
    }

    /// The file at the path, made empty, with all directories above it, where there is nothing.
    pub fn make_file(&self, at: &InRootfs) -> Result<OwnedFd, SysError> {
        self.make(&at.0, Make::File, 0).call(|| format!("openat2(\"{at}\", O_CREAT) in the rootfs"))
    }

    /// As [`Self::make_dir`] or [`Self::make_file`]; but if the path ends in a link, that link itself.
    pub fn make_or_link(&self, at: &InRootfs, what: Make) -> Result<OwnedFd, SysError> {
        let make = || match (at.0.parent(), at.name()) {
            (Some(parent), Some(name)) => {
                let dir = self.make(parent, Make::Dir, 0)?;
                let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW;
                match fs::openat2(&dir, name, flags, 0, Lookup::InRoot) {
                    Err(Errno::ENOENT) => make_entry(&dir, name, what),
                    there => there,
                }
            }
            _ => Err(Errno::EISDIR),
        };
        make().call(|| format!("openat2(\"{at}\", O_NOFOLLOW) in the rootfs"))
    }

    /// A symbolic link at the path, with all directories above it. One that is there has to be the same.
    pub fn make_link(&self, at: &InRootfs, target: &OsStr) -> Result<()> {
        let name = at.name().ok_or_else(|| invalid("the container's root itself"))?;
        let dir = self.make_dir(&at.parent())?;
        match nix::unistd::symlinkat(target, &dir, name) {
            Err(Errno::EEXIST) => match nix::fcntl::readlinkat(&dir, name) {
                Ok(there) if there == target => Ok(()),
                Ok(there) => {
                    Err(invalid(format!("a link to {there:?} is there already, and not to {target:?}")))
                }
                Err(_) => Err(invalid("something that is no link is there already")),
            },
            made => {
                made.call(|| format!("symlinkat({target:?}, \"{at}\") in the rootfs")).map_err(Into::into)
            }
        }
    }

    fn lookup(&self, path: &Path, flags: OFlag) -> nix::Result<OwnedFd> {
        // An absolute path would start at the process's own root but for RESOLVE_IN_ROOT; it is
        // stripped all the same, so that the rule does not hang on one flag.
        let below = path.strip_prefix("/").unwrap_or(path);
        let below = if below.as_os_str().is_empty() { Path::new(".") } else { below };
        fs::openat2(self.dir(), below, flags, 0, Lookup::InRoot)
    }

    fn make(&self, path: &Path, what: Make, links: u32) -> nix::Result<OwnedFd> {
        let flags = match what {
            Make::Dir => OFlag::O_PATH | OFlag::O_DIRECTORY,
            Make::File => OFlag::O_PATH,
        };
        match self.lookup(path, flags) {
            Err(Errno::ENOENT) => {}
            done => return done,
        }
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(Errno::ENOENT);
        };
        let dir = self.make(parent, Make::Dir, links)?;
        match make_entry(&dir, name, what) {
            Err(Errno::EEXIST) => {}
            done => return done,
        }
        // Something is there and yet not found: a link that leads to nothing, or somebody was faster.
        match nix::fcntl::readlinkat(&dir, name) {
            Ok(_) if links == MAX_LINKS => Err(Errno::ELOOP),
            Ok(target) => self.make(&follow(parent, target), what, links + 1),
            Err(Errno::EINVAL) => self.lookup(path, flags),
            Err(errno) => Err(errno),
        }
    }
}

/// Where a link in `parent` leads; `..` in it is the kernel's to resolve, for `parent` may itself be a link.
fn follow(parent: &Path, target: OsString) -> PathBuf {
    match Path::new(&target).is_absolute() {
        true => target.into(),
        false => parent.join(target),
    }
}

fn make_entry(dir: &OwnedFd, name: &OsStr, what: Make) -> nix::Result<OwnedFd> {
    match what {
        Make::Dir => {
            mkdirat(dir, name, Mode::from_bits_truncate(0o755))?;
            fs::openat2(dir, name, OFlag::O_PATH | OFlag::O_DIRECTORY, 0, Lookup::Strict)
        }
        Make::File => {
            let flags = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_RDONLY | OFlag::O_NOFOLLOW;
            fs::openat2(dir, name, flags, 0o644, Lookup::Strict)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{InRootfs, Rootfs};
    use crate::sys::fs::{self, OFlag};
    use std::path::Path;

    fn path(text: &str) -> InRootfs {
        InRootfs::new(Path::new(text)).unwrap()
    }

    #[test]
    fn a_path_is_cleaned_and_never_leaves_the_root() {
        assert!(path("a/./b/../c").is("/a/c"));
        assert!(path("../../etc").is("/etc"));
        assert!(path("/").name().is_none());
    }

    struct Tree {
        dir: std::path::PathBuf,
    }

    impl Tree {
        fn new(name: &str) -> Self {
            let dir = std::env::temp_dir().join(format!("rootpath-{}-{name}", std::process::id()));
            std::process::Command::new("mkdir").args(["-p"]).arg(dir.join("root")).status().unwrap();
            Self { dir }
        }

        fn link(&self, target: &str, name: &str) {
            nix::unistd::symlinkat(target, nix::fcntl::AT_FDCWD, &self.dir.join("root").join(name)).unwrap();
        }

        fn rootfs(&self) -> Rootfs {
            Rootfs::new(fs::open(&self.dir.join("root"), OFlag::O_PATH | OFlag::O_DIRECTORY).unwrap())
        }

        fn has(&self, name: &str) -> bool {
            self.dir.join(name).symlink_metadata().is_ok()
        }
    }

    impl Drop for Tree {
        fn drop(&mut self) {
            drop(std::process::Command::new("rm").arg("-rf").arg(&self.dir).status());
        }
    }

    #[test]
    fn missing_directories_are_made() {
        let tree = Tree::new("dirs");
        tree.rootfs().make_dir(&path("/a/b/c")).unwrap();
        tree.rootfs().make_file(&path("/a/f/file")).unwrap();
        assert!(tree.has("root/a/b/c") && tree.has("root/a/f/file"));
    }

    #[test]
    fn a_dangling_link_is_followed_inside_the_root_only() {
        let tree = Tree::new("dangling");
        tree.link("../../../outside", "up");
        tree.link("/outside2/deep", "absolute");
        tree.rootfs().make_dir(&path("/up/x")).unwrap();
        tree.rootfs().make_file(&path("/absolute")).unwrap();
        assert!(tree.has("root/outside/x") && tree.has("root/outside2/deep"));
        assert!(!tree.has("outside"));
    }

    #[test]
    fn only_a_regular_file_within_the_root_is_opened_as_one() {
        let tree = Tree::new("regular");
        let rootfs = tree.rootfs();
        rootfs.make_file(&path("/etc/file")).unwrap();
        tree.link("/etc/file", "link");
        tree.link("/etc/none", "dangling");
        let fifo = tree.dir.join("root/fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        for there in ["/etc/file", "/link"] {
            assert!(rootfs.open_regular(&path(there)).unwrap().is_some(), "{there}");
        }
        for missing in ["/etc/none", "/dangling", "/etc/file/x"] {
            assert!(rootfs.open_regular(&path(missing)).unwrap().is_none(), "{missing}");
        }
        for other in ["/etc", "/fifo"] {
            let error = rootfs.open_regular(&path(other)).unwrap_err().to_string();
            assert_eq!(error, "not a regular file", "{other}");
        }
    }

    #[test]
    fn links_in_a_circle_are_an_error() {
        let tree = Tree::new("circle");
        tree.link("b", "a");
        tree.link("a", "b");
        assert_eq!(tree.rootfs().make_dir(&path("/a/x")).unwrap_err().errno, nix::errno::Errno::ELOOP);
    }
}
