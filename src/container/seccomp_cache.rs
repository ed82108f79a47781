//! Compiled seccomp programs, kept by what they were compiled from: libseccomp takes milliseconds for a
//! profile that all containers of a machine share.
//!
//! The cache is a directory of the store, which belongs to whoever runs this program and to nobody
//! else; a cache that others could have written is not used. A file's name is only a hash: the whole
//! profile stands in it and is compared, so that no two profiles can be taken for each other.

use std::hash::{DefaultHasher, Hasher};
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};

use nix::sys::stat::{Mode, mkdirat};

use super::store::{CACHE, Store};
use crate::error::{Doing, Kind, Result, failure};
use crate::plan::seccomp::{SeccompPlan, filter};
use crate::sys::fs::{self, Lookup, OFlag};
use crate::sys::seccomp::INSTRUCTION;
use crate::sys::{Call, Errno, SysError};

/// BPF_MAXINSNS.
const MOST_INSTRUCTIONS: usize = 4096;
/// A profile is part of a configuration, which has a limit of its own.
const LARGEST: u64 = 32 << 20;

/// The program of a profile: from the cache, or compiled and put there.
pub fn program(store: &Store, plan: &SeccompPlan) -> Result<Vec<u8>> {
    let key = Key::of(plan)?;
    let cache = open(store)?;
    if let Some(program) = cache.as_ref().and_then(|cache| look_up(cache, &key)) {
        return Ok(program);
    }
    let program = compile(plan).doing(|| "linux.seccomp")?;
    if let Some(cache) = &cache {
        crate::error::best_effort("cache a seccomp program", put(cache, &key, &program));
    }
    Ok(program)
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
            format!("{} {} {version:?}\n", env!("CARGO_PKG_VERSION"), std::env::consts::ARCH).into_bytes();
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
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
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
    let stat = fs::stat(&dir)?;
    let ours = stat.st_uid == nix::unistd::geteuid().as_raw() && stat.st_mode & 0o022 == 0;
    Ok(ours.then_some(dir))
}

/// A file is the key, the program, and a checksum of both: one that a full disk cut short is none.
fn look_up(cache: &OwnedFd, key: &Key) -> Option<Vec<u8>> {
    let file =
        fs::openat2(cache, key.file.as_str(), OFlag::O_RDONLY | OFlag::O_NOFOLLOW, 0, Lookup::Strict).ok()?;
    let content = fs::read_all(file, LARGEST).ok()?;
    let (content, checksum) = content.split_last_chunk()?;
    let program = content.strip_prefix(key.text.as_slice())?;
    let whole =
        !program.is_empty() && program.len() % INSTRUCTION == 0 && hash(content).to_ne_bytes() == *checksum;
    whole.then(|| program.to_vec())
}

/// Written under a name of its own and renamed: several containers may be compiling the same profile.
fn put(cache: &OwnedFd, key: &Key, program: &[u8]) -> Result<(), SysError> {
    let name = format!("{}.{}", key.file, std::process::id());
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_TRUNC | OFlag::O_NOFOLLOW;
    let file = fs::openat2(cache, name.as_str(), flags, 0o600, Lookup::Strict)
        .call(|| format!("openat2({name:?})"))?;
    let mut content = [key.text.as_slice(), program].concat();
    content.extend(hash(&content).to_ne_bytes());
    let written =
        std::fs::File::from(file).write_all(&content).map_err(|e| fs::errno_of(&e)).call(|| "write()");
    let renamed = written.and_then(|()| {
        let to = key.file.as_str();
        nix::fcntl::renameat(cache.as_fd(), name.as_str(), cache.as_fd(), to)
            .call(|| format!("renameat({to:?})"))
    });
    if renamed.is_err() {
        fs::unlink(cache, name.as_ref())?;
    }
    renamed
}

/// libseccomp exports to a descriptor.
fn compile(plan: &SeccompPlan) -> Result<Vec<u8>> {
    use nix::sys::memfd::{MFdFlags, memfd_create};
    let file = memfd_create(c"seccomp", MFdFlags::MFD_CLOEXEC).call(|| "memfd_create()")?;
    let filter = filter(plan)?;
    if !filter.skipped.is_empty() {
        crate::log::warn(format_args!(
            "linux.seccomp: no such system calls here: {}",
            filter.skipped.join(" ")
        ));
    }
    filter.context.export_bpf(&file).doing(|| "seccomp_export_bpf")?;
    nix::unistd::lseek(&file, 0, nix::unistd::Whence::SeekSet).call(|| "lseek()")?;
    let program = fs::read_all(file, u64::MAX - 1)?;
    match program.len() > MOST_INSTRUCTIONS * INSTRUCTION {
        true => Err(failure(
            Kind::Invalid,
            format!("{} instructions, the kernel takes 4096", program.len() / INSTRUCTION),
        )),
        false => Ok(program),
    }
}
