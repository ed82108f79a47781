//! Where containers are kept: one directory each below the root of the store, on tmpfs.
//!
//! Making the directory is the check that the id is free; a lock on it orders the verbs; the record is
//! replaced by rename. Every file is reached through the directory's descriptor.

use std::ffi::OsStr;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::fcntl::{Flock, FlockArg};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use nix::sys::stat::{Mode, mkdirat};
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::id::ContainerId;
use crate::error::{Doing, Kind, Result, best_effort, failure, kind_of};
use crate::spec::record::{FORM, Record};
use crate::sys::fs::{self, Lookup, OFlag};
use crate::sys::{Call, Errno, SysError};

const RECORD: &str = "record.json";
const NEW_RECORD: &str = "record.json.new";
/// The socket at which init waits.
pub const GATE: &str = "gate";
/// Made and removed at once, as a sign to who holds the lock.
const HURRY: &str = "hurry";
/// The directory that a container with sd_notify(3) has.
const NOTIFY: &str = "notify";
/// The socket in it.
pub const NOTIFY_SOCKET: &str = "notify.sock";
/// What `exec` needs besides: [`crate::spec::for_exec`].
const FOR_EXEC: &str = "exec";
/// Compiled seccomp programs; ids don't begin with a dot.
pub const CACHE: &str = ".seccomp";
/// Cgroups as CRIU wants to find them.
pub const YARD: &str = ".criu";

/// The directory that has all containers.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    dir: OwnedFd,
}

/// One container's directory, as it is: other verbs may be at work on it.
#[derive(Debug)]
pub struct View {
    id: ContainerId,
    dir: OwnedFd,
}

/// One container's directory, locked for as long as this lives.
#[derive(Debug)]
pub struct Entry {
    id: ContainerId,
    path: PathBuf,
    dir: Flock<OwnedFd>,
}

impl Store {
    /// Opens the store and makes it where it is missing, for its owner alone.
    pub fn open(path: &Path) -> Result<Self> {
        let what = || format!("state root {path:?}");
        let path = std::path::absolute(path).doing(what)?;
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
        let dir = match fs::open(&path, flags) {
            Err(error) if error.errno == Errno::ENOENT => {
                make_all(&path).doing(what)?;
                fs::open(&path, flags)
            }
            opened => opened,
        };
        Ok(Self { dir: dir.doing(what)?, path })
    }

    /// Its descriptor.
    pub fn dir(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }

    /// Takes an id that is free: the directory is new, and locked. Between the two another verb may come
    /// in: a `delete` that takes the empty directory away, and after it a `create` that makes its own. So
    /// what is locked in the end is looked at again.
    pub fn reserve(&self, id: &ContainerId) -> Result<Entry> {
        const TRIES: u32 = 100;
        let exists = || failure(Kind::Exists, format!("container {id} already exists"));
        for _ in 0..TRIES {
            match mkdirat(&self.dir, id.as_str(), Mode::S_IRWXU) {
                Err(Errno::EEXIST) => return Err(exists()),
                made => made.call(|| format!("mkdirat({:?})", self.path.join(id.as_str())))?,
            }
            match self.lock(id) {
                Err(error) if kind_of(&error) == Kind::NotFound => {}
                Err(error) => return Err(self.given_back(id, error)),
                // Locked until it has been given back.
                Ok(entry) => match entry.record() {
                    Ok(None) => return Ok(entry),
                    Ok(Some(_)) => return Err(exists()),
                    Err(error) => return Err(self.given_back(id, error)),
                },
            }
        }
        Err(failure(
            Kind::InvalidState,
            format!("container {id} is deleted again and again while it is created"),
        ))
    }

    /// Removes the directory of an id that could not be taken: empty, it is nobody's, and otherwise it stays.
    fn given_back(&self, id: &ContainerId, error: anyhow::Error) -> anyhow::Error {
        let removed = unlinkat(&self.dir, id.as_str(), UnlinkatFlags::RemoveDir);
        best_effort("remove the directory again", removed);
        error
    }

    /// The container of this id, once no other verb is at work on it.
    pub fn lock(&self, id: &ContainerId) -> Result<Entry> {
        let dir = self.open_entry(id)?;
        let dir = flock(dir, FlockArg::LockExclusive)
            .call(|| format!("flock({:?})", self.path.join(id.as_str())))?;
        self.entry(id, dir)
    }

    fn entry(&self, id: &ContainerId, dir: Flock<OwnedFd>) -> Result<Entry> {
        let entry = Entry { id: id.clone(), path: self.path.join(id.as_str()), dir };
        // While this waited for the lock, `delete` may have removed the directory.
        match fs::stat(&*entry.dir)?.st_nlink {
            0 => Err(not_found(id)),
            _ => Ok(entry),
        }
    }

    /// As [`Self::lock`]; `None` if another verb does not give it up in time. There is no flock(2) with a
    /// deadline, and a handler for SIGALRM would be worse than looking again every few milliseconds.
    pub fn lock_within(&self, id: &ContainerId, limit: Duration) -> Result<Option<Entry>> {
        const PAUSE: Duration = Duration::from_millis(5);
        let end = Instant::now() + limit;
        loop {
            let dir = self.open_entry(id)?;
            match flock(dir, FlockArg::LockExclusiveNonblock) {
                Err(Errno::EWOULDBLOCK) if Instant::now() < end => std::thread::sleep(PAUSE),
                Err(Errno::EWOULDBLOCK) => return Ok(None),
                locked => {
                    let dir = locked.call(|| format!("flock({:?})", self.path.join(id.as_str())))?;
                    return self.entry(id, dir).map(Some);
                }
            }
        }
    }

    /// Asks whoever holds the lock not to wait for hooks any longer.
    pub fn hurry(&self, id: &ContainerId) -> Result<()> {
        let dir = self.open_entry(id)?;
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_NOFOLLOW;
        fs::openat2(&dir, HURRY, flags, 0o600, Lookup::Strict).call(|| format!("openat2({HURRY:?})"))?;
        fs::unlink(&dir, OsStr::new(HURRY)).map_err(Into::into)
    }

    fn open_entry(&self, id: &ContainerId) -> Result<OwnedFd> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY;
        match fs::openat2(self.dir(), id.as_str(), flags, 0, Lookup::Strict) {
            Err(Errno::ENOENT) => Err(not_found(id)),
            opened => Ok(opened.call(|| format!("openat2({:?})", self.path.join(id.as_str())))?),
        }
    }

    /// The container of this id, without waiting for other verbs.
    pub fn view(&self, id: &ContainerId) -> Result<View> {
        Ok(View { id: id.clone(), dir: self.open_entry(id)? })
    }

    /// What is recorded of a container, and whether its gate is closed, without waiting for other verbs.
    pub fn peek(&self, id: &ContainerId) -> Result<(Option<Record>, bool)> {
        let view = self.view(id)?;
        Ok((view.record()?, view.has_gate()?))
    }

    /// All ids, sorted.
    pub fn ids(&self) -> Result<Vec<ContainerId>> {
        let what = || format!("state root {:?}", self.path);
        let again = fs::openat2(self.dir(), ".", OFlag::O_RDONLY | OFlag::O_DIRECTORY, 0, Lookup::Strict)
            .call(|| "openat2(\".\")")
            .doing(what)?;
        let mut dir = nix::dir::Dir::from_fd(again).call(|| "fdopendir()").doing(what)?;
        let mut ids: Vec<ContainerId> = Vec::new();
        for entry in dir.iter() {
            let entry = entry.call(|| "readdir()").doing(what)?;
            // What has no id's name is not a container's: `.`, `..`, the cache.
            ids.extend(entry.file_name().to_str().ok().and_then(ContainerId::from_name));
        }
        ids.sort();
        Ok(ids)
    }
}

/// flock(2), again for as long as a signal interrupts it.
fn flock(mut dir: OwnedFd, how: FlockArg) -> nix::Result<Flock<OwnedFd>> {
    loop {
        match Flock::lock(dir, how) {
            Err((again, Errno::EINTR)) => dir = again,
            done => return done.map_err(|(_, errno)| errno),
        }
    }
}

/// There is no such container.
pub fn not_found(id: &ContainerId) -> anyhow::Error {
    // containerd, podman and CRI-O match these words.
    failure(Kind::NotFound, format!("container {id:?}: container does not exist", id = id.as_str()))
}

/// The store's directory, mode 0700, and what is missing above it. The sticky bit keeps it in XDG_RUNTIME_DIR, which
/// is cleaned up: XDG Base Directory Specification.
fn make_all(path: &Path) -> Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o1700);
    builder.recursive(true).create(path).map_err(Into::into)
}

impl View {
    /// Its descriptor.
    pub fn dir(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }

    /// The record. Records are replaced as a whole, so that this one is from some moment just now.
    pub fn record(&self) -> Result<Option<Record>> {
        read_record(self.dir.as_fd(), &self.id)
    }

    /// As [`Entry::has_gate`].
    pub fn has_gate(&self) -> Result<bool> {
        has_gate(self.dir.as_fd())
    }

    /// What [`Entry::keep_for_exec`] has kept; `None` if it has not.
    pub fn for_exec(&self) -> Result<Option<Vec<u8>>> {
        read(self.dir.as_fd(), FOR_EXEC).doing(|| format!("{FOR_EXEC:?} of container {}", self.id))
    }
}

impl Entry {
    /// Its descriptor.
    pub fn dir(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }

    /// Where it is, for people.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The record; `None` if `create` was killed before it wrote one.
    pub fn record(&self) -> Result<Option<Record>> {
        read_record(self.dir(), &self.id)
    }

    /// Whether init waits at its gate, or would if it lived.
    pub fn has_gate(&self) -> Result<bool> {
        has_gate(self.dir())
    }

    /// Takes the gate away: from now on the container is running, or has ended.
    pub fn remove_gate(&self) -> Result<()> {
        fs::unlink(self.dir(), OsStr::new(GATE)).map_err(Into::into)
    }

    /// Becomes readable when a `delete --force` asks the holder of the lock to hurry; inotify(7). To be asked for
    /// while nothing is written here. `None`, with a warning, where the user has no instance of inotify left
    /// (fs.inotify.max_user_instances): a container can be made and deleted all the same.
    pub fn urged(&self) -> Option<OwnedFd> {
        let watch = self.watch().inspect_err(|error| {
            crate::log::warn(format_args!("hooks that hang will not end with delete --force: {error:#}"));
        });
        watch.ok()
    }

    fn watch(&self) -> Result<OwnedFd> {
        let inotify =
            Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK).call(|| "inotify_init1()")?;
        let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&self.dir()));
        inotify
            .add_watch(path.as_str(), AddWatchFlags::IN_CREATE)
            .call(|| format!("inotify_add_watch({:?})", self.path))?;
        Ok(inotify.into())
    }

    /// Replaces the record. If that fails, the old one is still there.
    pub fn save(&self, record: &Record) -> Result<()> {
        let what = || format!("record {:?}", self.path.join(RECORD));
        let bytes = serde_json::to_vec(record).doing(what)?;
        self.write_new(&bytes).doing(what)?;
        nix::fcntl::renameat(&*self.dir, NEW_RECORD, &*self.dir, RECORD).call(|| "renameat()").doing(what)
    }

    /// Keeps what `exec` will need. Before the record has a process: nobody reads it before.
    pub fn keep_for_exec(&self, bytes: &[u8]) -> Result<()> {
        self.write(FOR_EXEC, bytes).doing(|| format!("{:?}", self.path.join(FOR_EXEC)))
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), SysError> {
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_TRUNC | OFlag::O_NOFOLLOW;
        // One that a killed verb left behind is overwritten: the lock says that nobody else writes.
        let file = fs::openat2(self.dir(), name, flags, 0o600, Lookup::Strict)
            .call(|| format!("openat2({name:?})"))?;
        std::fs::File::from(file).write_all(bytes).call(|| "write()")
    }

    fn write_new(&self, bytes: &[u8]) -> Result<()> {
        let written = self.write(NEW_RECORD, bytes);
        if written.is_err() {
            best_effort("remove a half-written record", fs::unlink(self.dir(), OsStr::new(NEW_RECORD)));
        }
        written.map_err(Into::into)
    }

    /// Makes the directory for sd_notify(3), which the container sees: anybody may look into it.
    pub fn make_notify_dir(&self) -> Result<()> {
        let anybody = Mode::from_bits_truncate(0o755);
        mkdirat(self.dir(), NOTIFY, anybody).call(|| format!("mkdirat({:?})", self.path.join(NOTIFY)))?;
        nix::sys::stat::fchmod(self.notify_dir()?, anybody).call(|| "fchmod()").map_err(Into::into)
    }

    /// That directory, for a mount of it.
    pub fn notify_path(&self) -> PathBuf {
        self.path.join(NOTIFY)
    }

    /// The same, opened.
    pub fn notify_dir(&self) -> Result<OwnedFd> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY;
        fs::openat2(self.dir(), NOTIFY, flags, 0, Lookup::Strict)
            .call(|| format!("openat2({:?})", self.path.join(NOTIFY)))
            .map_err(Into::into)
    }

    /// Removes the container's directory. It needs no new bytes, so that a full disk can't prevent it.
    pub fn remove(self, store: &Store) -> Result<()> {
        for name in [GATE, NEW_RECORD, RECORD, FOR_EXEC, HURRY] {
            fs::unlink(self.dir(), OsStr::new(name)).doing(|| format!("state directory {:?}", self.path))?;
        }
        let remove = || unlinkat(store.dir(), self.id.as_str(), UnlinkatFlags::RemoveDir);
        let removed = match remove() {
            // Few containers have it: looking for it in all of them would cost the others.
            Err(Errno::ENOTEMPTY) => {
                fs::unlink(self.notify_dir()?.as_fd(), OsStr::new(NOTIFY_SOCKET))?;
                unlinkat(self.dir(), NOTIFY, UnlinkatFlags::RemoveDir)
                    .call(|| format!("rmdir({NOTIFY:?})"))?;
                remove()
            }
            removed => removed,
        };
        removed.call(|| format!("rmdir({:?})", self.path)).map_err(Into::into)
    }
}

fn has_gate(dir: BorrowedFd<'_>) -> Result<bool> {
    match nix::sys::stat::fstatat(dir, GATE, nix::fcntl::AtFlags::AT_SYMLINK_NOFOLLOW) {
        Ok(_) => Ok(true),
        Err(Errno::ENOENT) => Ok(false),
        Err(errno) => Err(errno).call(|| format!("fstatat({GATE:?})")).map_err(Into::into),
    }
}

fn read_record(dir: BorrowedFd<'_>, id: &ContainerId) -> Result<Option<Record>> {
    let what = || format!("record of container {id}");
    let Some(bytes) = read(dir, RECORD).doing(what)? else { return Ok(None) };
    let record: Record = serde_json::from_slice(&bytes).doing(what)?;
    match record.form == FORM {
        true => Ok(Some(record)),
        false => Err(failure(Kind::Unsupported, format!("form {}, this version reads {FORM}", record.form)))
            .doing(what),
    }
}

/// A file of a container's directory; `None` if it is not there.
fn read(dir: BorrowedFd<'_>, name: &str) -> Result<Option<Vec<u8>>> {
    const LARGEST: u64 = 64 << 20;
    let file = match fs::openat2(dir, name, OFlag::O_RDONLY | OFlag::O_NOFOLLOW, 0, Lookup::Strict) {
        Err(Errno::ENOENT) => return Ok(None),
        opened => opened.call(|| format!("openat2({name:?})"))?,
    };
    Ok(Some(fs::read_all(file, LARGEST)?))
}
