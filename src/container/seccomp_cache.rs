//! Compiled seccomp programs, kept by what they were compiled from: all containers of a machine share a
//! profile.
//!
//! The cache is a directory of the store, which belongs to whoever runs this program and to nobody
//! else; a cache, or a file in it, that others could have written is not used. A file's name is only a hash: the
//! whole profile stands in it and is compared, so that no two profiles can be taken for each other.
//!
//! It has a bound, for the store is usually in memory: who adds a file takes the oldest away, under a lock on
//! the directory. Nobody waits for that lock: a program that can't be kept now is kept the next time.

use std::ffi::{OsStr, OsString};
use std::hash::{DefaultHasher, Hasher};
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;

use nix::fcntl::{AtFlags, Flock, FlockArg};
use nix::sys::stat::{FileStat, Mode, mkdirat};

use super::store::{CACHE, Store};
use crate::error::{Doing, Result, best_effort};
use crate::plan::seccomp::{SeccompPlan, filter, unknown_names};
use crate::sys::fs::{self, Lookup, OFlag};
use crate::sys::seccomp::INSTRUCTION;
use crate::sys::{Call, Errno, SysError};

/// So many programs are kept. An engine has one or two profiles of its own.
const MOST_FILES: usize = 16;
/// So many bytes of them, and never more than a quarter of their file system.
const MOST_BYTES: u64 = 512 << 10;
/// What is made of the same profile by the same version has changed so many times.
const FORM: u32 = 2;
/// A profile is part of a configuration, which has a limit of its own.
const LARGEST: u64 = 32 << 20;

/// The program of a profile: from the cache, or compiled and put there.
pub fn program(store: &Store, plan: &SeccompPlan) -> Result<Vec<u8>> {
    if crate::log::is_verbose() {
        tell_unknown(plan);
    }
    let key = Key::of(plan)?;
    let cache = open(store)?;
    if let Some(program) = cache.as_ref().and_then(|cache| look_up(cache, &key)) {
        return Ok(program);
    }
    let program = filter(plan).doing(|| "linux.seccomp")?;
    if let Some(cache) = &cache {
        best_effort("cache a seccomp program", put(cache, &key, &program));
    }
    Ok(program)
}

fn tell_unknown(plan: &SeccompPlan) {
    let unknown = unknown_names(&plan.profile);
    if !unknown.is_empty() {
        let names: Vec<&str> = unknown.iter().copied().collect();
        crate::log::warn(format_args!(
            "linux.seccomp: passing over {} names that are no system calls here: {}",
            names.len(),
            names.join(" ")
        ));
    }
}

/// All that a program depends on.
struct Key {
    text: Vec<u8>,
    file: String,
}

impl Key {
    fn of(plan: &SeccompPlan) -> Result<Self> {
        let version = libseccomp::ScmpVersion::current().doing(|| "libseccomp's version")?;
        let mut text =
            format!("{} {FORM} {} {version:?}\n", env!("CARGO_PKG_VERSION"), std::env::consts::ARCH)
                .into_bytes();
        // Neither flags nor agent are in the program, and an agent may be every container's own.
        let mut profile = plan.profile.clone();
        profile.set_flags(None).set_listener_path(None).set_listener_metadata(None);
        serde_json::to_writer(&mut text, &profile)?;
        text.push(b'\n');
        let file = format!("{:016x}", hash(&text));
        Ok(Self { text, file })
    }
}

fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(bytes);
    hasher.finish()
}

/// The cache's directory; `None` if it is not ours alone.
fn open(store: &Store) -> Result<Option<OwnedFd>> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY;
    let open = || fs::openat2(store.dir(), CACHE, flags, 0, Lookup::Strict);
    let dir = match open() {
        Err(Errno::ENOENT) => match mkdirat(store.dir(), CACHE, Mode::S_IRWXU) {
            Ok(()) | Err(Errno::EEXIST) => open(),
            Err(errno) => Err(errno),
        },
        opened => opened,
    };
    // Without a cache it is only slower.
    let Ok(dir) = dir else { return Ok(None) };
    let ours = is_ours(&fs::stat(&dir)?);
    Ok(ours.then_some(dir))
}

/// Nobody else can have written it.
fn is_ours(stat: &FileStat) -> bool {
    stat.st_uid == nix::unistd::geteuid().as_raw() && stat.st_mode & 0o022 == 0
}

/// A file is the key, the program, and a checksum of both: one that a full disk cut short is none.
fn look_up(cache: &OwnedFd, key: &Key) -> Option<Vec<u8>> {
    let file = fs::openat2(
        cache,
        key.file.as_str(),
        OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK,
        0,
        Lookup::Strict,
    )
    .ok()?;
    let stat = fs::stat(&file).ok()?;
    if fs::file_type(&stat) != libc::S_IFREG || !is_ours(&stat) {
        return None;
    }
    let content = fs::read_all(file, LARGEST).ok()?;
    let (content, checksum) = content.split_last_chunk()?;
    let program = content.strip_prefix(key.text.as_slice())?;
    let whole =
        !program.is_empty() && program.len() % INSTRUCTION == 0 && hash(content).to_ne_bytes() == *checksum;
    whole.then(|| program.to_vec())
}

/// Written under another name and renamed: who reads it meanwhile finds all of it or nothing.
fn put(cache: &OwnedFd, key: &Key, program: &[u8]) -> Result<()> {
    let mut content = [key.text.as_slice(), program].concat();
    content.extend(hash(&content).to_ne_bytes());
    // A second open file: a lock belongs to one, and ends with it.
    let dir = fs::openat2(cache, ".", OFlag::O_RDONLY | OFlag::O_DIRECTORY, 0, Lookup::Strict)
        .call(|| "openat2(\".\")")?;
    let Ok(dir) = Flock::lock(dir, FlockArg::LockExclusiveNonblock) else {
        return Ok(());
    };
    match make_room(&dir, content.len() as u64)? {
        Room::Made => write(&dir, &key.file, &content).map_err(Into::into),
        Room::None => Ok(()),
    }
}

enum Room {
    Made,
    None,
}

/// Takes the oldest files away until one of this size fits in. What a killed `create` left half-written
/// is one of them.
fn make_room(dir: &Flock<OwnedFd>, size: u64) -> Result<Room> {
    let disk = nix::sys::statvfs::fstatvfs(&**dir).call(|| "fstatvfs()")?;
    let most = MOST_BYTES.min(disk.blocks() * disk.fragment_size() / 4);
    if size > most {
        return Ok(Room::None);
    }
    let mut files = files(dir)?;
    files.sort_unstable_by_key(|file| std::cmp::Reverse(file.changed));
    let (mut count, mut bytes) = (1, size);
    for file in files {
        count += 1;
        bytes += file.size;
        if count > MOST_FILES || bytes > most {
            fs::unlink(&**dir, &file.name)?;
        }
    }
    Ok(Room::Made)
}

/// One file of the cache.
struct Cached {
    name: OsString,
    size: u64,
    /// mtime: seconds and nanoseconds.
    changed: (i64, i64),
}

fn files(dir: &Flock<OwnedFd>) -> Result<Vec<Cached>> {
    let again = fs::openat2(&**dir, ".", OFlag::O_RDONLY | OFlag::O_DIRECTORY, 0, Lookup::Strict)
        .call(|| "openat2(\".\")")?;
    let mut list = nix::dir::Dir::from_fd(again).call(|| "fdopendir()")?;
    let mut files = Vec::new();
    for entry in list.iter() {
        let entry = entry.call(|| "readdir()")?;
        let name = OsStr::from_bytes(entry.file_name().to_bytes()).to_owned();
        let stat = nix::sys::stat::fstatat(&**dir, name.as_os_str(), AtFlags::AT_SYMLINK_NOFOLLOW)
            .call(|| format!("fstatat({name:?})"))?;
        if fs::file_type(&stat) != libc::S_IFDIR {
            let size = u64::try_from(stat.st_size).unwrap_or(0);
            files.push(Cached { name, size, changed: (stat.st_mtime, stat.st_mtime_nsec) });
        }
    }
    Ok(files)
}

fn write(cache: &Flock<OwnedFd>, to: &str, content: &[u8]) -> Result<(), SysError> {
    let name = format!("{to}.new");
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_TRUNC | OFlag::O_NOFOLLOW;
    let file = fs::openat2(&**cache, name.as_str(), flags, 0o600, Lookup::Strict)
        .call(|| format!("openat2({name:?})"))?;
    let written = std::fs::File::from(file).write_all(content).call(|| "write()");
    let renamed = written.and_then(|()| {
        nix::fcntl::renameat(&**cache, name.as_str(), &**cache, to).call(|| format!("renameat({to:?})"))
    });
    if renamed.is_err() {
        fs::unlink(&**cache, name.as_ref())?;
    }
    renamed
}
