//! The place of one case: a directory, a state root and a cgroup of its own, and the runtime under test.

use std::cell::{Cell, RefCell};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;

use crate::clause::{Outcome, Stop, fail};
use crate::command::{Call, Done, text};
use crate::draft::Draft;
use crate::leaks;
use crate::runtime::Runtime;

/// Where cgroup2 has to be: nowhere else do all runtimes find it.
pub(crate) const CGROUP: &str = "/sys/fs/cgroup";

/// The environment variable by which a case's processes are found.
pub(crate) const MARK: &str = "CONFORMANCE_CASE";

/// The controllers of cgroup2 on this machine.
pub(crate) fn controllers() -> Vec<String> {
    text(Path::new(CGROUP).join("cgroup.controllers")).split_whitespace().map(str::to_owned).collect()
}

/// What all unique names of this process begin with.
pub(crate) fn unique_prefix() -> String {
    format!("conf-{}-", std::process::id())
}

/// One case's place. All paths are the host's.
#[derive(Debug)]
pub(crate) struct Lab<'r> {
    pub(crate) runtime: &'r Runtime,
    /// Unique among all cases that run at any time.
    pub(crate) unique: String,
    /// For everything that the case makes.
    pub(crate) dir: PathBuf,
    /// `--root`
    pub(crate) state: PathBuf,
    /// The probe as a program of the host: hooks.
    pub(crate) probe: PathBuf,
    pub(crate) mounts_before: Vec<String>,
    count: Cell<u32>,
    notes: RefCell<Vec<String>>,
}

impl<'r> Lab<'r> {
    /// A place below `scratch`, where a file `probe` is.
    pub(crate) fn open(runtime: &'r Runtime, scratch: &Path) -> Result<Self, Stop> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let unique = format!("{}{}", unique_prefix(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let dir = scratch.join(&unique);
        make_dir(&dir, 0o755)?;
        fs::create_dir(Path::new(CGROUP).join(&unique))?;
        Ok(Self {
            runtime,
            state: dir.join("state"),
            probe: scratch.join("probe"),
            mounts_before: leaks::mounts(),
            count: Cell::new(0),
            notes: RefCell::default(),
            unique,
            dir,
        })
    }

    /// The cgroup in which all of its containers are.
    pub(crate) fn cgroup(&self) -> PathBuf {
        Path::new(CGROUP).join(&self.unique)
    }

    /// A number that it has not given yet.
    pub(crate) fn number(&self) -> u32 {
        self.count.replace(self.count.get() + 1)
    }

    /// The base configuration in a bundle of its own.
    pub(crate) fn base(&self) -> Draft<'_> {
        Draft::new(self)
    }

    /// The base configuration with one property.
    pub(crate) fn with(&self, path: &str, value: impl Into<Value>) -> Draft<'_> {
        self.base().with(path, value)
    }

    /// The base configuration less one property.
    pub(crate) fn without(&self, path: &str) -> Draft<'_> {
        self.base().without(path)
    }

    /// The base configuration with capabilities.
    pub(crate) fn capabilities(&self, names: &[&str]) -> Draft<'_> {
        self.base().capabilities(names)
    }

    /// The umask that the runtime begins with.
    pub(crate) fn own_umask(&self) -> Result<u32, Stop> {
        let status = text("/proc/self/status");
        let octal = status.lines().find_map(|line| line.strip_prefix("Umask:")).unwrap_or("");
        Ok(u32::from_str_radix(octal.trim(), 8)?)
    }

    /// The runtime with this case's state root, and what follows `--root`.
    pub(crate) fn call<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Call {
        self.command(&self.line(args))
    }

    /// The words of such a call.
    pub(crate) fn line<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Vec<OsString> {
        let mut line: Vec<OsString> =
            vec![self.runtime.program.clone().into(), "--root".into(), self.state.clone().into()];
        line.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        line
    }

    /// Any command line, watched in the same way.
    pub(crate) fn command(&self, line: &[OsString]) -> Call {
        Call::new(line, &self.dir.join(format!("call{}", self.number())), (MARK, &self.unique)).cwd(&self.dir)
    }

    /// The runtime to its end.
    pub(crate) fn run<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Result<Done, Stop> {
        self.call(args).finish()
    }

    /// A container of this id has to be unknown.
    pub(crate) fn knows_nothing_of(&self, id: &str) -> Outcome {
        match self.run(["state", id])?.code() {
            0 => fail("the container exists all the same"),
            _ => Ok(()),
        }
    }

    /// What a reader of the table should know about a pass.
    pub(crate) fn note(&self, note: impl Into<String>) {
        self.notes.borrow_mut().push(note.into());
    }

    /// How something was refused, and whether the message has one of these words (`a|b`).
    pub(crate) fn note_refusal(&self, done: &Done, words: &str) {
        let said = done.stderr().to_lowercase();
        let named = words.split('|').any(|word| said.contains(&word.to_lowercase()));
        self.note(format!(
            "{}: {}",
            if named { "refused" } else { "refused without naming it" },
            done.message()
        ));
    }

    /// All notes.
    pub(crate) fn notes(&self) -> String {
        self.notes.borrow().join("; ")
    }

    /// A new file in the case's directory.
    pub(crate) fn file(&self, name: &str, content: impl AsRef<[u8]>, mode: u32) -> Result<PathBuf, Stop> {
        let path = self.dir.join(name);
        write(&path, content, mode)?;
        Ok(path)
    }

    /// A new directory in the case's directory.
    pub(crate) fn subdir(&self, name: &str) -> Result<PathBuf, Stop> {
        let path = self.dir.join(name);
        make_dir(&path, 0o755)?;
        Ok(path)
    }
}

/// A file with exactly this mode, and what is missing above it.
pub(crate) fn write(path: &Path, content: impl AsRef<[u8]>, mode: u32) -> Outcome {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::write(path, content)?;
    Ok(fs::set_permissions(path, fs::Permissions::from_mode(mode))?)
}

/// A directory with exactly this mode, and what is missing above it.
pub(crate) fn make_dir(path: &Path, mode: u32) -> Outcome {
    fs::create_dir_all(path)?;
    Ok(fs::set_permissions(path, fs::Permissions::from_mode(mode))?)
}
