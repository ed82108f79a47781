//! The container's cgroup in the cgroup2 tree: cgroups(7), the kernel's cgroup-v2.rst.
//!
//! cgroups-rs has no CLONE_INTO_CGROUP, no device program and no errors that name the file, so this
//! part is ours. Every file is reached below the tree's root by descriptor (openat2, no links, same mount).

mod delegation;
mod events;
mod forms;
mod freezer;
mod limits;
mod out_of_memory;
mod owner;
mod placeholder;
mod removal;
mod scope;
mod signals;
mod standstill;
mod statistics;
mod stuck;
pub mod systemd;
mod tree_limits;
mod update;

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::sys::stat::{Mode, mkdirat};
use nix::sys::statfs::CGROUP2_SUPER_MAGIC;
use nix::unistd::Pid;

use crate::error::{Doing, Kind, Result, best_effort, failure};
use crate::plan::resources::owner::Owner;
use crate::plan::resources::{CgroupPlan, HOME};
use crate::proc::{self, Proc};
use crate::spec::record::CgroupRecord;
use crate::sys::fs::{self, Lookup, OFlag};
use crate::sys::{Call, Errno, SysError};
use events::Now;
pub use freezer::Frozen;
pub use out_of_memory::{Kills, OutOfMemory, Victim};
use placeholder::Placeholder;
pub use signals::survivors;
pub use update::{Changed, has_none};

/// Where a cgroup2 tree is mounted: on its own, or beside v1 controllers.
const USUAL: [&str; 2] = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];

/// The host's cgroup2 tree.
#[derive(Debug)]
pub struct Tree {
    root: OwnedFd,
    mounted_at: PathBuf,
}

/// A cgroup, open.
#[derive(Debug)]
pub struct Cgroup {
    dir: OwnedFd,
    record: CgroupRecord,
    /// Where the host shows it.
    at: PathBuf,
    /// What it was given, in bytes, where this process has made it.
    memory_max: Option<u64>,
    /// Who is in it until init is, where it can't be empty.
    placeholder: Option<Placeholder>,
}

impl Tree {
    /// Finds the tree at its usual places, else in this process's mounts.
    pub fn find() -> Result<Self> {
        if let Some(tree) = USUAL.iter().find_map(|path| Self::at(Path::new(path))) {
            return Ok(tree);
        }
        proc::mounted("cgroup2")?.and_then(|path| Self::at(&path)).ok_or_else(|| {
            let text = "no cgroup2 file system is mounted; mount one at /sys/fs/cgroup (boot with systemd.unified_cgroup_hierarchy=1)";
            failure(Kind::Unsupported, text)
        })
    }

    fn at(path: &Path) -> Option<Self> {
        let root = fs::open(path, OFlag::O_PATH | OFlag::O_DIRECTORY).ok()?;
        fs::is_on(&root, CGROUP2_SUPER_MAGIC).then(|| Self { root, mounted_at: path.to_owned() })
    }

    fn open_dir(&self, path: &Path) -> nix::Result<OwnedFd> {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        fs::openat2(&self.root, path, OFlag::O_RDONLY | OFlag::O_DIRECTORY, 0, Lookup::Strict)
    }

    /// Where a cgroup is seen on the host.
    pub fn shown(&self, path: &Path) -> PathBuf {
        self.mounted_at.join(path)
    }

    /// What will have been made once this cgroup is there: for the record that precedes it.
    pub fn intend(&self, path: &Path) -> Result<CgroupRecord> {
        let mut made = 0;
        for ancestor in path.ancestors() {
            match self.open_dir(ancestor) {
                Err(Errno::ENOENT) => made += 1,
                opened => {
                    opened.call(|| format!("openat2({:?})", self.shown(ancestor)))?;
                    break;
                }
            }
        }
        // The part that is this program's own goes with whoever leaves it last.
        let all = path.components().count();
        let made = if made > 0 && path.starts_with(HOME) { all } else { made };
        Ok(CgroupRecord { made, ..CgroupRecord::unmade(path.to_owned()) })
    }

    /// Makes the cgroup and applies its limits, before any process is in it. What it has made it removes
    /// again if a limit can't be applied.
    pub fn make(&self, intended: CgroupRecord, plan: &CgroupPlan) -> Result<Cgroup> {
        let what = || format!("cgroup {:?}", self.shown(&plan.path));
        let existed = self.make_dirs(&intended.path).doing(what).inspect_err(|_| {
            // Those above it may have been made.
            best_effort("remove the cgroups above again", self.remove_empty(&intended));
        })?;
        let made = if existed { 0 } else { intended.made.max(1) };
        let record = CgroupRecord { made, taken: existed, ..intended };
        let opened = self.open_dir(&record.path).call(|| "openat2()");
        let opened = opened.and_then(|dir| Ok((number_of(&dir)?, dir))).doing(what);
        if opened.is_err() {
            best_effort("remove the cgroup again", self.remove_empty(&record));
        }
        let (number, dir) = opened?;
        let record = CgroupRecord { number: Some(number), ..record };
        let at = self.shown(&record.path);
        let cgroup = Cgroup { dir, at, record, memory_max: plan.memory_max(), placeholder: None };
        let applied = cgroup
            .check_fit()
            .and_then(|()| limits::enable_for(self, &plan.path, &plan.writes))
            .and_then(|()| limits::apply(&cgroup, plan))
            .doing(what);
        if applied.is_err() {
            best_effort("remove the cgroup again", cgroup.remove(self));
        }
        applied.map(|()| cgroup)
    }

    /// Whether the cgroup existed before. A parent may vanish meanwhile, as other containers leave it:
    /// then it starts over.
    fn make_dirs(&self, path: &Path) -> Result<bool> {
        const TRIES: u32 = 64;
        let mut outcome = Err(Errno::ENOENT);
        for _ in 0..TRIES {
            outcome = mkdirat(&self.root, path, Mode::from_bits_truncate(0o755));
            match outcome {
                Err(Errno::EEXIST) => return Ok(true),
                Err(Errno::ENOENT) => self.make_ancestors(path)?,
                _ => break,
            }
        }
        outcome.call(|| "mkdirat()").map(|()| false).map_err(|error| self.explain_mkdir(path, error))
    }

    fn make_ancestors(&self, path: &Path) -> Result<()> {
        let mut ancestors: Vec<&Path> =
            path.ancestors().skip(1).filter(|p| !p.as_os_str().is_empty()).collect();
        ancestors.reverse();
        for ancestor in ancestors {
            match mkdirat(&self.root, ancestor, Mode::from_bits_truncate(0o755)) {
                Ok(()) | Err(Errno::EEXIST | Errno::ENOENT) => {}
                failed => {
                    let what = || format!("mkdirat({:?})", self.shown(ancestor));
                    failed.call(what).map_err(|error| self.explain_mkdir(ancestor, error))?;
                }
            }
        }
        Ok(())
    }

    /// The cgroup of a record; `None` if it is gone, even if there is another one in its place.
    pub fn open(&self, record: &CgroupRecord) -> Result<Option<Cgroup>> {
        match self.open_dir(&record.path) {
            Err(Errno::ENOENT | Errno::ENODEV) => Ok(None),
            opened => {
                let at = self.shown(&record.path);
                let dir = opened.call(|| format!("openat2({at:?})"))?;
                if let Some(number) = record.number {
                    if number_of(&dir)? != number {
                        return Ok(None);
                    }
                }
                let record = record.clone();
                Ok(Some(Cgroup { dir, record, at, memory_max: None, placeholder: None }))
            }
        }
    }

    /// The cgroup below that of a record in which the process of this pid is; `None` if it is elsewhere.
    pub fn open_of(&self, record: &CgroupRecord, proc: &Proc, pid: Pid) -> Result<Option<Cgroup>> {
        let path = proc.cgroup_of(pid)?;
        match path.starts_with(&record.path) {
            true => self.open(&CgroupRecord { path, made: 0, number: None, unit: None, ..record.clone() }),
            false => Ok(None),
        }
    }
}

/// By which the kernel knows a cgroup: bpf_get_current_cgroup_id() in bpf-helpers(7) returns it. It is not used again.
fn number_of(dir: &OwnedFd) -> Result<u64, SysError> {
    Ok(fs::stat(dir)?.st_ino)
}

impl Cgroup {
    /// One below it, which has to be there.
    pub fn below(&self, path: &Path) -> Result<Self> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY;
        let at = self.at.join(path);
        let dir = fs::openat2(&self.dir, path, flags, 0, Lookup::Strict);
        let dir = dir.call(|| format!("openat2({at:?})"))?;
        let path = self.record.path.join(path);
        let record = CgroupRecord { path, made: 0, number: None, unit: None, ..self.record.clone() };
        Ok(Self { dir, record, at, memory_max: None, placeholder: None })
    }

    /// Its descriptor, for CLONE_INTO_CGROUP.
    pub fn dir(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }

    /// Moves a process of this one's cgroup into it: who has not been born in it.
    pub fn take_in(&self, pid: Pid) -> Result<()> {
        self.write("cgroup.procs", &pid.to_string()).doing(|| format!("cgroup {:?}", self.at))
    }

    /// Where it is, and what of it has been made.
    pub fn record(&self) -> &CgroupRecord {
        &self.record
    }

    /// What can only be done now that init is in it, and in its namespaces.
    pub fn complete(&mut self, plan: &CgroupPlan, proc: &Proc, init: Pid) -> Result<()> {
        self.placeholder = None;
        self.apply_late(plan)?;
        let Some(Owner::Joined(uid)) = plan.owner else { return Ok(()) };
        let on_host = proc.uid_on_host(init, uid)?.ok_or_else(|| {
            failure(
                Kind::Invalid,
                format!("process.user.uid: {uid} is not in the user namespace that is joined"),
            )
        })?;
        owner::give(self, on_host).doing(|| "the cgroup's owner")
    }

    /// config-linux.md, "Cgroups": one that is in use is refused; and one that is frozen, itself or from above, in which
    /// init would never begin.
    fn check_fit(&self) -> Result<()> {
        match Now::of(self)? {
            Now { populated: true, .. } => Err(failure(Kind::Invalid, "container's cgroup is not empty")),
            Now { frozen: true, .. } => self.refuse_frozen().doing(|| "container's cgroup is frozen"),
            _ => Ok(()),
        }
    }

    fn file(&self, name: &str, flags: OFlag) -> nix::Result<OwnedFd> {
        fs::openat2(&self.dir, OsStr::new(name), flags, 0, Lookup::Strict)
    }

    fn read(&self, name: &str) -> Result<String> {
        let file = self.file(name, OFlag::O_RDONLY).call(|| format!("openat2({name:?})"))?;
        let bytes = fs::read_all(file, 16 << 20).doing(|| name.to_owned())?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn write(&self, name: &str, value: &str) -> Result<(), SysError> {
        let file = self.file(name, OFlag::O_WRONLY).call(|| format!("openat2({name:?})"))?;
        fs::write_all(file, value.as_bytes())
            .map_err(|e| SysError { call: format!("{name}: {}", e.call), ..e })
    }
}
