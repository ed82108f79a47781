//! Commands with a deadline. What they print goes to files: a container inherits them, so that nobody could
//! wait for the end of a pipe.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use minidocker_oci::sys::process::{pidfd_open, pidfd_signal};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::Pid;

use super::{Case, PATIENCE};

/// A command that has not begun.
#[derive(Debug)]
pub(crate) struct Call<'c> {
    case: &'c Case,
    command: Command,
    line: Vec<OsString>,
    own_output: bool,
}

impl<'c> Call<'c> {
    pub(super) fn new(case: &'c Case, line: Vec<OsString>) -> Self {
        let mut command = Command::new(&line[0]);
        command.args(&line[1..]).stdin(Stdio::null()).current_dir(&case.dir);
        // Nothing of the caller's environment decides how a test ends; by the mark it is found afterwards.
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env(super::leaks::MARK, &case.unique);
        Self { case, command, line, own_output: true }
    }

    pub(crate) fn env(mut self, key: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(key, value);
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

    /// Standard output and error elsewhere than in files: a pty, a pipe.
    pub(crate) fn output(mut self, stdout: impl Into<Stdio>, stderr: impl Into<Stdio>) -> Self {
        self.command.stdout(stdout).stderr(stderr);
        self.own_output = false;
        self
    }

    /// Begins it.
    pub(crate) fn spawn(mut self) -> Running {
        let number = self.case.calls.fetch_add(1, Ordering::Relaxed);
        let paths = ["out", "err"].map(|kind| self.case.path(&format!("{kind}.{number}")));
        let [stdout, stderr] =
            paths.clone().map(|p| fs::OpenOptions::new().append(true).create_new(true).open(p).unwrap());
        if self.own_output {
            self.command.stdout(stdout).stderr(stderr);
        }
        // Before it can do anything: this process may have to wait for its turn after that.
        let began = Instant::now();
        let child = {
            let _alone = super::alone();
            self.command.spawn().unwrap_or_else(|e| panic!("{:?}: {e}", self.line))
        };
        let pid = Pid::from_raw(child.id().try_into().unwrap());
        let [stdout, stderr] = paths;
        let pidfd = pidfd_open(pid).unwrap();
        Running { child, pidfd, line: self.line, end: Instant::now() + PATIENCE, began, stdout, stderr }
    }

    /// Runs it to its end.
    pub(crate) fn finish(self) -> Done {
        self.spawn().wait()
    }
}

/// A command on its way. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    pidfd: OwnedFd,
    line: Vec<OsString>,
    began: Instant,
    end: Instant,
    stdout: PathBuf,
    stderr: PathBuf,
}

impl Running {
    pub(crate) fn pid(&self) -> i32 {
        self.child.id().try_into().unwrap()
    }

    pub(crate) fn signal(&self, number: i32) {
        pidfd_signal(self.pidfd.as_fd(), number).unwrap();
    }

    pub(crate) fn ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// What it has printed until now.
    pub(crate) fn stdout(&self) -> String {
        super::read(&self.stdout)
    }

    pub(crate) fn wait(mut self) -> Done {
        let left = self.end.saturating_duration_since(Instant::now());
        let mut fds = [PollFd::new(self.pidfd.as_fd(), PollFlags::POLLIN)];
        let timeout = PollTimeout::try_from(left).unwrap();
        let in_time = minidocker_oci::sys::retry_eintr(|| poll(&mut fds, timeout)).unwrap() > 0;
        if !in_time {
            self.child.kill().unwrap();
        }
        let status = self.child.wait().unwrap();
        let done = Done {
            line: self.line.clone(),
            status,
            took: self.began.elapsed(),
            stdout: self.stdout.clone(),
            stderr: self.stderr.clone(),
        };
        assert!(in_time, "did not end in time: {done}");
        done
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|status| status.is_none()) {
            self.child.kill().unwrap();
            self.child.wait().unwrap();
        }
    }
}

/// A command that has ended. What it printed is read when asked for: a container may have added to it.
#[derive(Debug)]
pub(crate) struct Done {
    line: Vec<OsString>,
    status: ExitStatus,
    pub(crate) took: Duration,
    stdout: PathBuf,
    stderr: PathBuf,
}

impl std::fmt::Display for Done {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let line: Vec<_> = self.line.iter().map(|arg| arg.to_string_lossy()).collect();
        writeln!(f, "{} ended with {} after {:?}", line.join(" "), self.status, self.took)?;
        writeln!(f, "--- stdout\n{}--- stderr\n{}---", self.stdout(), self.stderr())
    }
}

impl Done {
    /// As a shell has it: 128 and the signal.
    pub(crate) fn code(&self) -> i32 {
        self.status.code().unwrap_or_else(|| 128 + self.status.signal().unwrap())
    }

    pub(crate) fn stdout(&self) -> String {
        super::read(&self.stdout)
    }

    /// The file that has it, for what is no text.
    pub(crate) fn stdout_path(&self) -> &Path {
        &self.stdout
    }

    pub(crate) fn stderr(&self) -> String {
        super::read(&self.stderr)
    }

    /// It has to have worked.
    #[track_caller]
    pub(crate) fn ok(self) -> Self {
        assert_eq!(self.code(), 0, "{self}");
        self
    }

    /// It has to have worked, and printed exactly this.
    #[track_caller]
    pub(crate) fn prints(self, text: &str) -> Self {
        let done = self.ok();
        assert_eq!(done.stdout(), text, "{done}");
        done
    }

    /// It has to have failed with code 1 and one line that has all these words.
    #[track_caller]
    pub(crate) fn fails(self, words: &[&str]) -> Self {
        assert_eq!(self.code(), 1, "{self}");
        self.says(words)
    }

    /// Standard error is one line that has all these words.
    #[track_caller]
    pub(crate) fn says(self, words: &[&str]) -> Self {
        let stderr = self.stderr();
        assert!(stderr.ends_with('\n') && stderr.lines().count() == 1, "not one line: {self}");
        for word in words {
            assert!(stderr.contains(word), "no {word:?} in: {self}");
        }
        self
    }

    /// Its output as lines.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.stdout().lines().map(str::to_owned).collect()
    }
}
