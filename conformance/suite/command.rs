//! Commands with a deadline. What they print goes to files: a container inherits them, so that nobody could
//! wait for the end of a pipe.

use std::ffi::{OsStr, OsString};
use std::fs::{self, OpenOptions};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::clause::{Outcome, Stop, fail};

/// A hang is a failure, too, and a machine that is slow or busy is none.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// A command that has ended. What it has printed is read when asked for: a container may have added to it.
#[derive(Debug)]
pub(crate) struct Done {
    line: String,
    status: ExitStatus,
    stdout: PathBuf,
    stderr: PathBuf,
}

/// A command that runs.
#[derive(Debug)]
pub(crate) struct Begun {
    child: Child,
    line: String,
    stdout: PathBuf,
    stderr: PathBuf,
}

/// A command that has not begun.
#[derive(Debug)]
pub(crate) struct Call {
    command: Command,
    line: String,
    stdout: PathBuf,
    stderr: PathBuf,
}

impl Call {
    /// A command whose output goes to `output`.out and `output`.err, with only `PATH` and `mark` in its
    /// environment.
    pub(crate) fn new(line: &[OsString], output: &Path, mark: (&str, &str)) -> Self {
        let mut command = Command::new(line.first().map_or(OsStr::new(""), OsString::as_os_str));
        command.args(line.iter().skip(1)).stdin(Stdio::null()).env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default()).env(mark.0, mark.1);
        let line = line.iter().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ");
        Self { command, line, stdout: output.with_extension("out"), stderr: output.with_extension("err") }
    }

    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    pub(crate) fn cwd(mut self, dir: impl AsRef<Path>) -> Self {
        self.command.current_dir(dir);
        self
    }

    pub(crate) fn stdin(mut self, stdin: impl Into<Stdio>) -> Self {
        self.command.stdin(stdin);
        self
    }

    /// Runs it to its end.
    pub(crate) fn finish(self) -> Result<Done, Stop> {
        self.start()?.finish()
    }

    /// Begins it.
    pub(crate) fn start(mut self) -> Result<Begun, Stop> {
        let open = |path: &PathBuf| OpenOptions::new().append(true).create(true).open(path);
        self.command.stdout(open(&self.stdout)?).stderr(open(&self.stderr)?);
        let child = self.command.spawn().map_err(|error| Stop::Fail(format!("{}: {error}", self.line)))?;
        Ok(Begun { child, line: self.line, stdout: self.stdout, stderr: self.stderr })
    }
}

impl Begun {
    /// Waits for its end.
    pub(crate) fn finish(mut self) -> Result<Done, Stop> {
        let mut status = None;
        let in_time = within(LIMIT, || {
            status = self.child.try_wait().ok().flatten();
            status.is_some()
        });
        if let Some(status) = status.filter(|_| in_time) {
            return Ok(Done { line: self.line, status, stdout: self.stdout, stderr: self.stderr });
        }
        self.child.kill()?;
        self.child.wait()?;
        fail(format!("{} has not ended after {LIMIT:?}", short(&self.line)))
    }
}

impl Done {
    /// As a shell has it: 128 and the signal.
    pub(crate) fn code(&self) -> i32 {
        self.status.code().unwrap_or_else(|| 128 + self.status.signal().unwrap_or(0))
    }

    pub(crate) fn stdout(&self) -> String {
        text(&self.stdout)
    }

    /// Where that is: a container goes on to write there.
    pub(crate) fn stdout_file(&self) -> PathBuf {
        self.stdout.clone()
    }

    pub(crate) fn stderr(&self) -> String {
        text(&self.stderr)
    }

    /// The last line that it has printed as an error.
    pub(crate) fn message(&self) -> String {
        let stderr = self.stderr();
        stderr.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("(nothing on stderr)").to_owned()
    }

    /// It has to have worked.
    pub(crate) fn ok(self) -> Result<Self, Stop> {
        match self.code() {
            0 => Ok(self),
            code => fail(format!("{} ended with {code}: {}", short(&self.line), self.message())),
        }
    }

    /// It has to have failed.
    pub(crate) fn fails(self) -> Result<Self, Stop> {
        match self.code() {
            0 => fail(format!("{} has not failed", short(&self.line))),
            _ => Ok(self),
        }
    }

    /// It has to have failed with one of these words (`a|b`) in what it says, in any case.
    pub(crate) fn fails_with(self, words: &str) -> Outcome {
        let done = self.fails()?;
        let said = (done.stderr() + &done.stdout()).to_lowercase();
        match words.split('|').any(|word| said.contains(&word.to_lowercase())) {
            true => Ok(()),
            false => fail(format!("failed without {words:?}: {}", done.message())),
        }
    }
}

/// A command line in a reason: without the directories, which differ from run to run.
fn short(line: &str) -> String {
    let mut words = line.split(' ');
    let program = words.next().and_then(|program| program.rsplit('/').next()).unwrap_or("");
    let others = words.filter(|word| !word.contains('/') && !word.starts_with("--"));
    std::iter::once(program).chain(others).collect::<Vec<_>>().join(" ")
}

/// A file's content, as far as it is text.
pub(crate) fn text(path: impl AsRef<Path>) -> String {
    fs::read(path).map_or(String::new(), |bytes| String::from_utf8_lossy(&bytes).into_owned())
}

/// Whether something happens in time. Asks often at first, and less often then.
pub(crate) fn within(limit: Duration, mut happened: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + limit;
    let mut pause = Duration::from_micros(200);
    loop {
        if happened() {
            return true;
        }
        if Instant::now() > end {
            return false;
        }
        std::thread::sleep(pause);
        pause = (pause * 3 / 2).min(Duration::from_millis(10));
    }
}

/// Fails if something does not happen by itself.
pub(crate) fn eventually(what: &str, happened: impl FnMut() -> bool) -> Outcome {
    if within(LIMIT, happened) { Ok(()) } else { fail(format!("not after {LIMIT:?}: {what}")) }
}
