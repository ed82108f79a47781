//! The directory that a container is written to by `checkpoint`, and made from by `restore`. Nearly all in it is
//! CRIU's; whose images they are it does not say.

use std::ffi::OsStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::fcntl::{AtFlags, readlinkat};
use nix::sys::stat::{FileStat, Mode, fstatat, mkdirat};
use nix::unistd::{AccessFlags, faccessat, symlinkat};

use super::cgroup::Tree;
use super::store::{Store, YARD};
use crate::criu::Opts;
use crate::error::{Doing, Result, invalid};
use crate::proc::{Proc, path_of};
use crate::sys::fs::{self, Lookup, OFlag};
use crate::sys::{Call, Errno};

/// What the first process had as its standard descriptors, a JSON array of strings: runc's name and form.
const DESCRIPTORS: &str = "descriptors.json";

/// What CRIU takes options from where the annotation does not say: ours, or what a host has for another runtime.
const CONFIGS: [&str; 2] = ["/etc/criu/minidocker-oci.conf", "/etc/criu/runc.conf"];

/// The file with options that go before all others; an empty annotation is for none.
pub fn config(annotation: Option<&String>) -> Option<String> {
    match annotation {
        Some(path) => Some(path.clone()).filter(|path| !path.is_empty()),
        None => CONFIGS.iter().find(|path| Path::new(path).is_file()).map(|path| (*path).to_owned()),
    }
}

/// A directory in which CRIU finds the cgroup2 tree, as `unified`. It would mount the tree itself otherwise, and that takes
/// from the machine's the options that it was mounted with: nsdelegate, memory_recursiveprot. `None` where there are
/// hierarchies of cgroup v1 as well, which would have to be in it, too.
pub fn cgroup_yard(store: &Store, proc: &Proc) -> Result<Option<String>> {
    const TREE: &str = "unified";
    if proc.has_cgroup_v1()? {
        return Ok(None);
    }
    let yard = path_of(store.dir())?.join(YARD);
    match mkdirat(store.dir(), YARD, Mode::S_IRWXU) {
        Err(Errno::EEXIST) => {}
        made => made.call(|| format!("mkdirat({yard:?})"))?,
    }
    // Relative: it is followed by a process that is in the container's root already, from a descriptor of the yard.
    let up: PathBuf = yard.components().skip(1).map(|_| "..").collect();
    let target = up.join(Tree::find()?.shown(Path::new("")).strip_prefix("/").doing(|| "the cgroup2 tree")?);
    let link = Path::new(YARD).join(TREE);
    match symlinkat(&target, store.dir(), &link) {
        Err(Errno::EEXIST) if readlinkat(store.dir(), &link).is_ok_and(|there| there == *target) => {}
        made => made.call(|| format!("symlinkat({target:?}, {:?})", yard.join(TREE)))?,
    }
    Ok(Some(yard.to_string_lossy().into_owned()))
}

/// A directory for CRIU.
#[derive(Debug)]
pub struct Dir {
    fd: OwnedFd,
    path: PathBuf,
}

impl Dir {
    /// Makes it where it is missing, for its owner alone: what is written holds all that is in the memory of processes.
    pub fn make(path: &Path) -> Result<Self> {
        let path = std::path::absolute(path)?;
        let mut builder = std::fs::DirBuilder::new();
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        match builder.recursive(true).create(&path) {
            // Of a file too, which is told better when it is opened.
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            made => made.call(|| format!("mkdir({path:?})"))?,
        }
        Self::open(&path)
    }

    /// The same for images: what is in it already may become one of them.
    pub fn make_for_images(path: &Path) -> Result<Self> {
        let dir = Self::make(path)?;
        content_is_roots(dir.fd()).doing(|| format!("{:?}", dir.path))?;
        Ok(dir)
    }

    /// Opens one that is there, if only root could have put anything there: CRIU, which is root, makes the processes
    /// that the images describe, and writes through links.
    pub fn open(path: &Path) -> Result<Self> {
        let path = std::path::absolute(path)?;
        let fd = fs::open(&path, OFlag::O_RDONLY | OFlag::O_DIRECTORY)?;
        is_roots(&fs::stat(&fd)?).doing(|| format!("{path:?}"))?;
        Ok(Self { fd, path })
    }

    /// The same of all that is read: what is in it, and in the earlier ones that it builds on.
    pub fn open_images(path: &Path) -> Result<Self> {
        const EARLIER: usize = 1000;
        let dir = Self::open(path)?;
        let mut at = dir.fd.try_clone()?;
        let shown = |fd: &OwnedFd| format!("{:?}", path_of(fd.as_fd()).unwrap_or_else(|_| dir.path.clone()));
        for _ in 0..EARLIER {
            content_is_roots(at.as_fd()).doing(|| shown(&at))?;
            let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
            at = match nix::fcntl::openat(&at, "parent", flags, Mode::empty()) {
                Err(Errno::ENOENT) => return Ok(dir),
                opened => opened.call(|| "openat(\"parent\")").doing(|| shown(&at))?,
            };
            is_roots(&fs::stat(&at)?).doing(|| shown(&at))?;
        }
        Err(invalid(format!("{path:?}: it builds on more than {EARLIER} others")))
    }

    /// Lets a group look files up in it: processes that are restored in a user namespace do so with their own ids. The
    /// files may be read by anybody who gets that far.
    pub fn let_in(&self, gid: u32) -> Result<()> {
        let mode = Mode::from_bits_truncate(fs::stat(&self.fd)?.st_mode);
        if mode.contains(Mode::S_IXOTH) {
            return Ok(());
        }
        let what = || format!("{:?}", self.path);
        nix::unistd::fchown(&self.fd, None, Some(gid.into()))
            .call(|| format!("fchown({gid})"))
            .doing(what)?;
        // Nor may it write there, as root's own group might.
        let mode = (mode | Mode::S_IXGRP) & !Mode::S_IWGRP;
        nix::sys::stat::fchmod(&self.fd, mode).call(|| "fchmod(g+x-w)").doing(what)
    }

    /// Its descriptor.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// What CRIU is told whatever it does: to work in these directories, and to say what it does.
    pub fn opts(&self, work: &Self, opts: Opts) -> Opts {
        /// criu(8), `-v4`: all that there is, for who asks why can rarely try again.
        const VERBOSE: i32 = 4;
        Opts {
            images_dir_fd: self.fd.as_raw_fd(),
            work_dir_fd: Some(work.fd.as_raw_fd()),
            log_level: Some(VERBOSE),
            notify_scripts: Some(true),
            // A terminal's other end is the caller's.
            orphan_pts_master: Some(true),
            // What the host mounts may go on to appear in a container.
            ext_masters: Some(true),
            ext_sharing: Some(true),
            ..opts
        }
    }

    /// That CRIU can write these files there, which it does through links. On a read-only file system it could not say
    /// why it fails.
    pub fn check_for(&self, files: [&str; 2]) -> Result<()> {
        let what = || format!("{:?}", self.path);
        faccessat(&self.fd, ".", AccessFlags::W_OK, AtFlags::empty())
            .call(|| "faccessat(W_OK)")
            .doing(what)?;
        for name in files {
            match fstatat(&self.fd, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
                Err(Errno::ENOENT) => {}
                stat => is_roots(&stat.call(|| "fstatat()")?).doing(|| name.to_owned()).doing(what)?,
            }
        }
        Ok(())
    }

    /// That another descriptor is of it, too: somebody who owns a directory above it may have put another one there.
    pub fn check_same(&self, other: &OwnedFd) -> Result<()> {
        match fs::is_same(&fs::stat(&self.fd)?, &fs::stat(other)?) {
            true => Ok(()),
            false => Err(invalid(format!("{:?} is not the same any more", self.path))),
        }
    }

    /// For people.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// That there is a directory at this path, from here: CRIU makes a link to it, which goes wherever this one does.
    pub fn check_parent(&self, parent: &Path) -> Result<()> {
        if parent.is_absolute() {
            return Err(invalid(format!("--parent-path: {parent:?} is not relative to --image-path")));
        }
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let opened = nix::fcntl::openat(&self.fd, parent, flags, Mode::empty())
            .call(|| format!("openat({parent:?}) from {:?}", self.path));
        opened.map_err(Into::into).and_then(|dir| is_roots(&fs::stat(dir)?)).doing(|| "--parent-path")
    }

    /// Keeps what the standard descriptors were.
    pub fn write_descriptors(&self, descriptors: &[String]) -> Result<()> {
        let what = || format!("{:?}", self.path.join(DESCRIPTORS));
        // A pipe that is there has nobody at its other end.
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_TRUNC | OFlag::O_NONBLOCK;
        let file = fs::openat2(&self.fd, OsStr::new(DESCRIPTORS), flags, 0o600, Lookup::Strict)
            .call(|| "openat2()")
            .doing(what)?;
        fs::write_all(file, &serde_json::to_vec(descriptors).doing(what)?).doing(what)
    }

    /// What they were; images of others may not tell.
    pub fn descriptors(&self) -> Result<Vec<String>> {
        const LARGEST: u64 = 1 << 20;
        let what = || format!("{:?}", self.path.join(DESCRIPTORS));
        let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK;
        match fs::openat2(&self.fd, OsStr::new(DESCRIPTORS), flags, 0, Lookup::Strict) {
            Err(Errno::ENOENT) => Ok(Vec::new()),
            opened => {
                let bytes = fs::read_all(opened.call(|| "openat2()").doing(what)?, LARGEST).doing(what)?;
                serde_json::from_slice(&bytes).doing(what)
            }
        }
    }
}

fn content_is_roots(dir: BorrowedFd<'_>) -> Result<()> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let mut entries = nix::dir::Dir::openat(dir, ".", flags, Mode::empty()).call(|| "openat(\".\")")?;
    for entry in entries.iter() {
        let entry = entry.call(|| "readdir()")?;
        let name = entry.file_name();
        if name == c".." {
            continue;
        }
        let stat = fstatat(dir, name, AtFlags::AT_SYMLINK_NOFOLLOW).call(|| "fstatat()");
        stat.map_err(Into::into)
            .and_then(|stat| is_roots(&stat))
            .doing(|| name.to_string_lossy().into_owned())?;
    }
    Ok(())
}

fn is_roots(stat: &FileStat) -> Result<()> {
    // A link is as good as its directory.
    let mode = if fs::file_type(stat) == libc::S_IFLNK { 0 } else { stat.st_mode };
    let others = mode & libc::S_IWOTH != 0 || (mode & libc::S_IWGRP != 0 && stat.st_gid != 0);
    let who = match stat.st_uid {
        0 if others => "others than root".to_owned(),
        0 => return Ok(()),
        uid => format!("user {uid}"),
    };
    Err(invalid(format!(
        "{who} may write to it, and would be root by what is written there; if you trust it: chown root, chmod go-w"
    )))
}
