//! The runtimes, and the commands that are timed.

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::str::FromStr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use nix::errno::Errno;
use nix::unistd::Pid;

use crate::bundle::{Scratch, Template};
use crate::{peak, report, sys};

/// The search path of the runtimes and, as they are found in it, of the bench.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A runtime as it is named on the command line: NAME=PATH.
#[derive(Clone, Debug)]
pub(crate) struct Named {
    name: String,
    program: PathBuf,
}

impl FromStr for Named {
    type Err = anyhow::Error;

    fn from_str(argument: &str) -> Result<Self> {
        let (name, program) = argument.split_once('=').context("not of the form NAME=PATH")?;
        Self::new(name, program)
    }
}

impl Named {
    /// The name becomes part of paths, ids and cgroups.
    pub(crate) fn new(name: &str, program: impl Into<PathBuf>) -> Result<Self> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
        if name.is_empty() || name.starts_with('.') || !name.bytes().all(allowed) {
            bail!("runtime name {name:?}: letters, digits, _, . and - are allowed");
        }
        Ok(Self { name: name.to_owned(), program: program.into() })
    }
}

/// A runtime, found and asked for its version.
#[derive(Debug)]
pub(crate) struct Runtime {
    pub(crate) name: String,
    pub(crate) program: PathBuf,
    /// The first line that `--version` prints.
    pub(crate) version: String,
    /// Its `--root`: empty at first and its own, kept over the rounds as an engine does.
    state: PathBuf,
    /// Its place among all, with their variants.
    pub(crate) index: usize,
    /// What is other than usual.
    pub(crate) variant: Variant,
}

/// What may be other for a runtime than usual, so that its price can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Variant {
    /// Nothing.
    Plain,
    /// The container has limits.
    Limited,
    /// So many of its containers are there already.
    Beside(usize),
}

impl Runtime {
    pub(crate) fn find(named: &Named, index: usize, scratch: &Scratch) -> Result<Self> {
        let program = look_up(&named.program)
            .with_context(|| format!("runtime {}: no program {}", named.name, named.program.display()))?;
        let output = Command::new(&program)
            .arg("--version")
            .output()
            .with_context(|| format!("{} --version", program.display()))?;
        let version = String::from_utf8_lossy(&output.stdout).lines().next().unwrap_or("").to_owned();
        if !output.status.success() || version.is_empty() {
            let said = String::from_utf8_lossy(&output.stderr);
            bail!("{} --version: {}: {}", program.display(), output.status, said.trim());
        }
        let state = scratch.make_dir(&format!("state-{}", named.name))?;
        Ok(Self { name: named.name.clone(), program, version, state, index, variant: Variant::Plain })
    }

    /// The same program with a state root of its own, as a runtime of another name.
    pub(crate) fn as_variant(&self, index: usize, variant: Variant, scratch: &Scratch) -> Result<Self> {
        let name = match variant {
            Variant::Plain => self.name.clone(),
            Variant::Limited => format!("{}.limits", self.name),
            Variant::Beside(count) => format!("{}.{count}-alive", self.name),
        };
        let state = scratch.make_dir(&format!("state-{name}"))?;
        Ok(Self { name, program: self.program.clone(), version: self.version.clone(), state, index, variant })
    }
}

/// The absolute path of a program. Found once, so that no timed command searches the path.
fn look_up(program: &Path) -> Option<PathBuf> {
    let is_program = |path: &PathBuf| {
        path.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    };
    if program.components().count() > 1 {
        return std::path::absolute(program).ok().filter(is_program);
    }
    PATH.split(':').map(|dir| Path::new(dir).join(program)).find(is_program)
}

/// What is measured around a command. Never both at once: the helper of the memory costs time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meter {
    Time,
    /// Of the processor instead of the clock on the wall.
    Busy,
    Memory,
}

/// What one command took.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Sample {
    /// Wall clock, from before the spawn until the wait has come back; or what of it the processor was busy for it.
    Time(Duration),
    /// Peak resident memory in KiB.
    Memory(u64),
}

/// The place of one container at a time: a runtime, a bundle with a cgroup of its own, an id.
#[derive(Debug)]
pub(crate) struct Slot<'a> {
    pub(crate) runtime: &'a Runtime,
    id: String,
    bundle: PathBuf,
    pid_file: PathBuf,
    peak_file: PathBuf,
    /// What the runtime says. A file, not a pipe: a container keeps it open, and a reader would wait for it.
    stderr: PathBuf,
}

impl<'a> Slot<'a> {
    /// Makes a slot for containers of `template` that run `arguments`. `name` tells a runtime's slots apart.
    pub(crate) fn make(
        runtime: &'a Runtime,
        name: &str,
        scratch: &Scratch,
        (template, arguments): (&Template, &[&str]),
    ) -> Result<Self> {
        let name = format!("{}-{name}", runtime.name);
        Ok(Self {
            runtime,
            id: format!("bench-{}-{name}", std::process::id()),
            bundle: scratch.make_bundle(&name, template, arguments)?,
            pid_file: scratch.dir.join(format!("{name}.pid")),
            peak_file: scratch.dir.join(format!("{name}.peak")),
            stderr: scratch.dir.join(format!("{name}.stderr")),
        })
    }

    /// `run`, in the foreground: one command that makes the container, waits for it and deletes it.
    pub(crate) fn run(&self, meter: Meter) -> Result<Sample> {
        let container = Container::begin(self);
        let sample = self.call(meter, &self.run_arguments())?;
        container.deleted();
        Ok(sample)
    }

    /// `create`, `start` and `delete -f`. The end of the payload is waited for in between and not counted.
    pub(crate) fn lifecycle(&self, meter: Meter) -> Result<[Sample; 3]> {
        let container = Container::begin(self);
        let (create, init) = self.create(meter)?;
        let start = self.call(meter, &["start".as_ref(), self.id.as_ref()])?;
        self.wait_payload(init)?;
        let delete = self.delete(meter)?;
        container.deleted();
        Ok([create, start, delete])
    }

    /// Starts a container that stays until the guard is dropped.
    pub(crate) fn stay(&self) -> Result<Container<'_>> {
        let container = Container::begin(self);
        self.create(Meter::Time)?;
        self.call(Meter::Time, &["start".as_ref(), self.id.as_ref()])?;
        Ok(container)
    }

    /// `exec` of a program in the container that stays.
    pub(crate) fn exec(&self, meter: Meter, program: &str) -> Result<Sample> {
        self.call(meter, &["exec".as_ref(), self.id.as_ref(), program.as_ref()])
    }

    /// Starts `run` and doesn't wait. The caller waits and has a `Container` for it.
    pub(crate) fn spawn_run(&self) -> Result<Pid> {
        spawn(&mut self.command(&self.run_arguments())?)
    }

    /// The same of `exec`, whose container stays.
    pub(crate) fn spawn_exec(&self, program: &str) -> Result<Pid> {
        spawn(&mut self.command(&["exec".as_ref(), self.id.as_ref(), program.as_ref()])?)
    }

    /// An error for a command of this slot that ended badly, with the end of what the runtime said.
    pub(crate) fn blame(&self, verb: &str, ended: &sys::Ended) -> anyhow::Error {
        let said = std::fs::read_to_string(&self.stderr).unwrap_or_default();
        let said: Vec<&str> = said.trim_end().lines().rev().take(5).collect();
        let said: Vec<&str> = said.into_iter().rev().collect();
        anyhow!("{} {verb} {}: {}: {}", self.runtime.name, self.id, ended.status, said.join("; "))
    }

    fn create(&self, meter: Meter) -> Result<(Sample, Pid)> {
        let arguments = [
            "create".as_ref(),
            "--bundle".as_ref(),
            self.bundle.as_os_str(),
            "--pid-file".as_ref(),
            self.pid_file.as_os_str(),
            self.id.as_ref(),
        ];
        let sample = self.call(meter, &arguments)?;
        let pid = std::fs::read_to_string(&self.pid_file)
            .with_context(|| format!("{} create: pid file {}", self.runtime.name, self.pid_file.display()))?;
        let pid = pid.trim().parse().with_context(|| format!("{} create: pid {pid:?}", self.runtime.name))?;
        Ok((sample, Pid::from_raw(pid)))
    }

    fn delete(&self, meter: Meter) -> Result<Sample> {
        self.call(meter, &["delete".as_ref(), "-f".as_ref(), self.id.as_ref()])
    }

    /// The container's init is a child of this process, a subreaper, since `create` has ended.
    fn wait_payload(&self, init: Pid) -> Result<()> {
        let what = || format!("{} {}: wait4({init})", self.runtime.name, self.id);
        loop {
            match sys::wait4(Some(init)) {
                Ok(ended) if ended.status.success() => return Ok(()),
                Ok(ended) => bail!("{} {}: the payload: {}", self.runtime.name, self.id, ended.status),
                Err(Errno::EINTR) => sys::go_on()?,
                Err(errno) => return Err(errno).with_context(what),
            }
        }
    }

    fn run_arguments(&self) -> [&OsStr; 4] {
        ["run".as_ref(), "--bundle".as_ref(), self.bundle.as_os_str(), self.id.as_ref()]
    }

    /// Runs a command of the runtime to its end. A failure is an error: it must not count as a quick one.
    fn call(&self, meter: Meter, arguments: &[&OsStr]) -> Result<Sample> {
        sys::go_on()?;
        let mut command = self.command(arguments)?;
        if meter == Meter::Memory {
            command = peak::under_helper(&command, &self.peak_file)?;
            command.stderr(self.open_stderr()?);
        }
        let before = Instant::now(); // CLOCK_MONOTONIC
        let pid = spawn(&mut command)?;
        let ended = sys::wait_command(pid).with_context(|| format!("wait4({pid})"))?;
        let took = before.elapsed();
        if !ended.status.success() {
            return Err(self.blame(&arguments[0].to_string_lossy(), &ended));
        }
        Ok(match meter {
            Meter::Time => Sample::Time(took),
            Meter::Busy => Sample::Time(ended.busy),
            Meter::Memory => Sample::Memory(peak::read(&self.peak_file)?),
        })
    }

    /// Everything that can be done before the clock runs: the streams are open, the environment is small.
    fn command(&self, arguments: &[&OsStr]) -> Result<Command> {
        let mut command = Command::new(&self.runtime.program);
        command.arg("--root").arg(&self.runtime.state).args(arguments);
        command.env_clear().env("PATH", PATH);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(self.open_stderr()?);
        Ok(command)
    }

    fn open_stderr(&self) -> Result<File> {
        OpenOptions::new()
            .create(true)
            .write(true)
            .truncate(true)
            .open(&self.stderr)
            .with_context(|| format!("open {}", self.stderr.display()))
    }
}

/// Starts a command. Its `Child` is dropped, which neither waits nor kills: `sys` waits.
fn spawn(command: &mut Command) -> Result<Pid> {
    // posix_spawn, as there is nothing to do between fork and exec: the size of the bench costs nothing.
    let child = command.spawn().with_context(|| format!("spawn {:?}", command.get_program()))?;
    Ok(Pid::from_raw(i32::try_from(child.id())?))
}

/// A container that may exist. Dropping it deletes it, whatever state it is in.
#[derive(Debug)]
pub(crate) struct Container<'a> {
    slot: &'a Slot<'a>,
    exists: bool,
}

impl<'a> Container<'a> {
    /// Before the first command, so that a half-made container is deleted as well.
    pub(crate) fn begin(slot: &'a Slot<'a>) -> Self {
        Self { slot, exists: true }
    }

    /// The runtime has deleted it. Nothing else runs, so every child that has ended is a stray.
    pub(crate) fn deleted(self) {
        self.deleted_among_others();
        sys::reap_strays();
    }

    /// The runtime has deleted it, and other commands are under way whose ends must not be taken away.
    pub(crate) fn deleted_among_others(mut self) {
        self.exists = false;
    }
}

impl Drop for Container<'_> {
    fn drop(&mut self) {
        if !self.exists {
            return;
        }
        let outcome = self.slot.command(&["delete".as_ref(), "-f".as_ref(), self.slot.id.as_ref()]);
        let outcome = outcome.and_then(|mut delete| Ok(sys::wait_command(spawn(&mut delete)?)?));
        let outcome = outcome.and_then(|ended| match ended.status.success() {
            true => Ok(()),
            false => Err(self.slot.blame("delete -f", &ended)),
        });
        report::warn_of("clean-up", outcome);
    }
}
