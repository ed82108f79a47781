//! The container's class of service: config-linux.md, "IntelRdt", in the resctrl file system of the kernel's
//! resctrl.rst. Without `linux.intelRdt` nothing here is called.
//!
//! Every file is reached below the file system's root by descriptor, as in [`super::cgroup`].

use std::collections::BTreeMap;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use nix::sys::stat::{Mode, mkdirat};
use nix::unistd::{Pid, UnlinkatFlags, unlinkat};

use crate::error::{Doing, Kind, Result, best_effort, failure, invalid, unsupported};
use crate::plan::intel_rdt::{Group, IntelRdt};
use crate::proc;
use crate::spec::events::Rdt;
use crate::spec::record::RdtRecord;
use crate::sys::fs::{self, Lookup, OFlag};
use crate::sys::{Call, Errno};

/// The host's resctrl file system.
#[derive(Debug)]
pub struct Tree {
    root: OwnedFd,
    mounted_at: PathBuf,
}

impl Tree {
    /// Finds it in this process's mounts.
    pub fn find() -> Result<Self> {
        Self::mounted()?.ok_or_else(|| {
            let text = "no resctrl file system is mounted; if the processor and the kernel have it \
                        (CONFIG_X86_CPU_RESCTRL), mount it: mount -t resctrl resctrl /sys/fs/resctrl";
            failure(Kind::Unsupported, text)
        })
    }

    fn mounted() -> Result<Option<Self>> {
        let Some(mounted_at) = proc::mounted("resctrl")? else { return Ok(None) };
        let root = fs::open(&mounted_at, OFlag::O_PATH | OFlag::O_DIRECTORY)?;
        Ok(Some(Self { root, mounted_at }))
    }

    /// What [`Self::make`] will make: for the record that precedes it. A group that the container can't have is an
    /// error while there is nothing to undo.
    pub fn intend(&self, plan: &IntelRdt) -> Result<RdtRecord> {
        let class = Some(directory(&plan.group).to_owned());
        let mut record = RdtRecord { own: None, named: None, monitor: None, class };
        match &plan.group {
            Group::Default => {}
            Group::Own(id) if self.has(id)? => {
                return Err(failure(Kind::Exists, format!("{:?} is there already", self.shown(id))));
            }
            Group::Own(id) => record.own = Some(id.clone()),
            Group::Named(name) if self.has(name)? => {}
            Group::Named(name) if plan.sets_limits() => record.named = Some(name.clone()),
            Group::Named(name) => {
                let text = format!(
                    "closID: {:?} is not there, and there is no schema to make it with",
                    self.shown(name)
                );
                return Err(invalid(text));
            }
        }
        if let Some(id) = &plan.monitor {
            let monitor = directory(&plan.group).join("mon_groups").join(id);
            if self.has(&monitor)? {
                return Err(failure(Kind::Exists, format!("{:?} is there already", self.shown(&monitor))));
            }
            record.monitor = Some(monitor);
        }
        Ok(record)
    }

    /// Makes the groups, and gives them their limits. What somebody else has made meanwhile is taken out of the
    /// record.
    pub fn make(&self, plan: &IntelRdt, record: &mut RdtRecord) -> Result<()> {
        let group = directory(&plan.group);
        let is_new = record.own.is_some() || record.named.is_some();
        if is_new {
            self.make_dir(group)
                .inspect_err(|_| *record = RdtRecord { own: None, named: None, ..record.clone() })?;
        }
        self.limit(plan, is_new).doing(|| format!("{:?}", self.shown(group.join("schemata"))))?;
        if let Some(monitor) = record.monitor.clone() {
            let made = self.make_dir(&monitor).inspect_err(|_| record.monitor = None);
            made.doing(|| "enableMonitoring")?;
        }
        Ok(())
    }

    fn limit(&self, plan: &IntelRdt, is_new: bool) -> Result<()> {
        if !plan.sets_limits() {
            return Ok(());
        }
        let path = directory(&plan.group).join("schemata");
        if !is_new {
            let there = fs::read_all(self.open(&path, OFlag::O_RDONLY)?, 1 << 20)?;
            check(&String::from_utf8_lossy(&there), &plan.limits)?;
        }
        let mut file = std::fs::File::from(self.open(&path, OFlag::O_WRONLY)?);
        // Each in a write of its own: within one the kernel takes a domain once only, and the last one has to win.
        let schemata = plan.schemata.join("\n");
        let schemata = (!schemata.is_empty()).then_some(&schemata);
        plan.limits.iter().chain(schemata).try_for_each(|value| self.write(&mut file, value))
    }

    fn write(&self, file: &mut std::fs::File, value: &str) -> Result<()> {
        let written = file.write_all(format!("{value}\n").as_bytes());
        written.call(|| format!("write({value:?})")).doing(|| self.explanation())
    }

    /// Changes the limits of the class that a container is in: of all that are in it. What has been written is put
    /// back if a later one fails.
    pub fn change(&self, record: &RdtRecord, limits: &[String]) -> Result<()> {
        let Some(class) = &record.class else {
            return Err(unsupported(
                "its class is not recorded: an older version has created this container",
            ));
        };
        let path = class.join("schemata");
        let change = || {
            let there = fs::read_all(self.open(&path, OFlag::O_RDONLY)?, 1 << 20)?;
            let mut file = std::fs::File::from(self.open(&path, OFlag::O_WRONLY)?);
            limits.iter().try_for_each(|value| self.write(&mut file, value)).inspect_err(|_| {
                let before = String::from_utf8_lossy(&there).into_owned();
                for line in
                    before.lines().filter(|line| limits.iter().any(|limit| resource(limit) == resource(line)))
                {
                    best_effort("put the schema back", self.write(&mut file, line.trim()));
                }
            })
        };
        change().doing(|| format!("{:?}", self.shown(&path)))
    }

    /// Puts a process into the groups; what it starts is in them, too.
    pub fn enter(&self, plan: &IntelRdt, record: &RdtRecord, pid: Pid) -> Result<()> {
        self.put_into(Some(directory(&plan.group)), record, pid)
    }

    /// The same for a later process of the container, by what is recorded.
    pub fn join(&self, record: &RdtRecord, pid: Pid) -> Result<()> {
        self.put_into(record.class.as_deref(), record, pid)
    }

    fn put_into(&self, class: Option<&Path>, record: &RdtRecord, pid: Pid) -> Result<()> {
        // The class first: its monitoring groups take none but its own.
        for group in class.into_iter().chain(record.monitor.as_deref()) {
            let tasks = group.join("tasks");
            let write = || -> Result<()> {
                let file = self.open(&tasks, OFlag::O_WRONLY)?;
                fs::write_all(file, pid.to_string().as_bytes()).map_err(Into::into)
            };
            write().doing(|| format!("{:?}", self.shown(&tasks)))?;
        }
        Ok(())
    }

    fn statistics(&self, record: &RdtRecord) -> Result<Rdt> {
        let Some(class) = &record.class else { return Ok(Rdt::default()) };
        let text = fs::read_all(self.open(&class.join("schemata"), OFlag::O_RDONLY)?, 1 << 20)?;
        let text = String::from_utf8_lossy(&text).into_owned();
        let schemata: Vec<String> = text.lines().map(|line| line.trim().to_owned()).collect();
        let line = |of: &str| schemata.iter().find(|line| resource(line) == of).cloned();
        let monitored = record.monitor.as_ref().or(record.class.as_ref());
        let monitoring = monitored.map(|group| self.monitoring(&group.join("mon_data"))).transpose()?;
        Ok(Rdt {
            l3_cache_schema: line("L3"),
            mem_bw_schema: line("MB"),
            monitoring: monitoring.unwrap_or_default(),
            schemata,
        })
    }

    /// resctrl.rst, "mon_data": a directory for each domain. None of them is there where nothing is monitored.
    fn monitoring(&self, dir: &Path) -> Result<BTreeMap<String, BTreeMap<String, u64>>> {
        let domains = self.names(dir)?.into_iter().map(|domain| {
            let number = |file: &str| {
                let text = fs::read_all(self.open(&dir.join(&domain).join(file), OFlag::O_RDONLY)?, 4096)?;
                // Or a word: that there is no number now.
                Ok::<_, anyhow::Error>(String::from_utf8_lossy(&text).trim().parse().ok())
            };
            let files = self.names(&dir.join(&domain))?.into_iter().map(|file| Ok((number(&file)?, file)));
            let files: Vec<(Option<u64>, String)> = files.collect::<Result<_>>()?;
            let numbers = files.into_iter().filter_map(|(number, file)| Some((file, number?))).collect();
            Ok((domain, numbers))
        });
        domains.collect()
    }

    /// What is in a directory; nothing if it is not there.
    fn names(&self, dir: &Path) -> Result<Vec<String>> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY;
        let listing = match fs::openat2(&self.root, dir, flags, 0, Lookup::Strict) {
            Err(Errno::ENOENT) => return Ok(Vec::new()),
            opened => opened.call(|| format!("openat2({:?})", self.shown(dir)))?,
        };
        let mut listing = nix::dir::Dir::from_fd(listing).call(|| "fdopendir()")?;
        let name = |entry: nix::dir::Entry| entry.file_name().to_str().ok().map(str::to_owned);
        let names = listing.iter().filter_map(|entry| name(entry.ok()?));
        Ok(names.filter(|name| !name.starts_with('.')).collect())
    }

    /// The kernel's sentence about the last thing that it refused.
    fn explanation(&self) -> String {
        let status = self.open(Path::new("info/last_cmd_status"), OFlag::O_RDONLY);
        let text = status.and_then(|file| Ok(fs::read_all(file, 4096)?)).unwrap_or_default();
        let text = String::from_utf8_lossy(text.trim_ascii()).into_owned();
        if text.is_empty() || text == "ok" { "refused".to_owned() } else { text }
    }

    fn shown(&self, path: impl AsRef<Path>) -> PathBuf {
        self.mounted_at.join(path)
    }

    fn open(&self, path: &Path, flags: OFlag) -> Result<OwnedFd> {
        fs::openat2(&self.root, path, flags, 0, Lookup::Strict)
            .call(|| format!("openat2({:?}, {flags:?})", self.shown(path)))
            .map_err(Into::into)
    }

    fn has(&self, path: impl AsRef<Path>) -> Result<bool> {
        match fs::openat2(&self.root, path.as_ref(), OFlag::O_PATH | OFlag::O_DIRECTORY, 0, Lookup::Strict) {
            Err(Errno::ENOENT) => Ok(false),
            opened => Ok(opened.map(|_| true).call(|| format!("openat2({:?})", self.shown(path)))?),
        }
    }

    fn make_dir(&self, path: &Path) -> Result<()> {
        let made = mkdirat(&self.root, path, Mode::from_bits_truncate(0o755));
        made.call(|| format!("mkdirat({:?})", self.shown(path))).doing(|| self.explanation())
    }

    fn remove_dir(&self, path: &Path) -> Result<()> {
        match unlinkat(&self.root, path, UnlinkatFlags::RemoveDir) {
            Err(Errno::ENOENT) => Ok(()),
            done => Ok(done.call(|| format!("rmdir({:?})", self.shown(path)))?),
        }
    }

    /// Removes what the record says. A class that has a name of its own goes only while nobody is in it.
    fn remove(&self, record: &RdtRecord) -> Result<()> {
        if let Some(monitor) = &record.monitor {
            self.remove_dir(monitor)?;
        }
        if let Some(own) = &record.own {
            self.remove_dir(Path::new(own))?;
        }
        if let Some(named) = &record.named {
            if self.is_unused(named) {
                best_effort("remove a class of service", self.remove_dir(Path::new(named)));
            }
        }
        Ok(())
    }

    /// The kernel would remove a class with processes in it, and put these into the default one.
    fn is_unused(&self, class: &str) -> bool {
        let tasks = self.open(&Path::new(class).join("tasks"), OFlag::O_RDONLY);
        tasks.and_then(|file| Ok(fs::read_all(file, 16 << 20)?)).is_ok_and(|tasks| tasks.is_empty())
    }
}

/// Removes what `create` has made; if the file system is not mounted any more, neither is that there.
pub fn remove(record: &RdtRecord) -> Result<()> {
    Tree::mounted()?.map_or(Ok(()), |tree| tree.remove(record)).doing(|| "linux.intelRdt")
}

/// What the container's class allows it, and what is counted for it, in its own monitoring group or else for all that
/// are in the class.
pub fn statistics(record: &RdtRecord) -> Result<Rdt> {
    Tree::mounted()?.map_or(Ok(Rdt::default()), |tree| tree.statistics(record))
}

/// Below the root of resctrl.
fn directory(group: &Group) -> &Path {
    match group {
        Group::Default => Path::new(""),
        Group::Named(name) | Group::Own(name) => Path::new(name),
    }
}

/// What a line of `schemata` is about, such as `L3`.
fn resource(line: &str) -> &str {
    line.split_once(':').map_or(line, |(resource, _)| resource).trim()
}

/// A schema that is not what the group has is an error: others are in it, too.
fn check(there: &str, wanted: &[String]) -> Result<()> {
    let there: BTreeMap<_, _> = there.lines().flat_map(parse).collect();
    for (key, value) in wanted.iter().flat_map(|line| parse(line)) {
        match there.get(&key) {
            Some(current) if *current == value => {}
            current => {
                let (resource, domain) = key;
                let current = current.map_or("nothing", String::as_str);
                return Err(invalid(format!(
                    "it is there already, with {current} and not {value} for {resource}:{domain}"
                )));
            }
        }
    }
    Ok(())
}

/// `L3:0=7ff;1=0ff` as the values of (L3, 0) and (L3, 1), without the zeros that the kernel pads with.
fn parse(line: &str) -> Vec<((String, String), String)> {
    let plain = |text: &str| match text.trim().trim_start_matches('0') {
        "" => "0".to_owned(),
        digits => digits.to_ascii_lowercase(),
    };
    let (resource, domains) = line.split_once(':').unwrap_or((line, ""));
    let domains = domains.split(';').filter(|domain| !domain.trim().is_empty());
    domains
        .map(|domain| {
            let (id, value) = domain.split_once('=').unwrap_or((domain, ""));
            ((resource.trim().to_owned(), plain(id)), plain(value))
        })
        .collect()
}

#[cfg(test)]
mod tests;
