//! Running hooks: config.md, "POSIX-platform Hooks".

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, killpg};

use crate::error::{Doing, Kind, Result, best_effort, failure};
use crate::spec::oci::{Hook, State};
use crate::sys::process::{self, Execution};
use crate::sys::{Call, Errno, retry_eintr};

/// How much of a hook's standard error an error quotes: this many bytes of its begin and of its end.
const QUOTE: usize = 4096;
/// How long a hook that has ended may leave its standard error open to others before it is not waited for.
const GRACE: Duration = Duration::from_millis(100);

/// What all hooks of a kind have in common.
#[derive(Clone, Copy, Debug)]
pub struct Occasion<'a> {
    /// The configuration's name for them.
    pub kind: &'a str,
    /// What they read on their standard input.
    pub state: &'a State,
    /// Where they begin.
    pub cwd: &'a Path,
    /// Their standard output and error.
    pub output: &'a Output,
    /// What ends them before their time.
    pub stops: &'a [Stop<'a>],
}

/// Why a hook is not waited for any longer.
#[derive(Clone, Copy, Debug)]
pub struct Stop<'a> {
    /// Readable when it is so.
    pub fd: BorrowedFd<'a>,
    /// What to say then.
    pub why: &'static str,
}

impl<'a> Stop<'a> {
    /// [`super::store::Entry::urged`].
    pub fn if_deleted(urged: Option<&'a OwnedFd>) -> Option<Self> {
        urged.map(|fd| Self { fd: fd.as_fd(), why: "for somebody deletes the container by force" })
    }
}

/// Files that hooks write to. Without them standard output is the runtime's, and standard error is kept to be
/// quoted in an error.
#[derive(Debug, Default)]
pub struct Output {
    stdout: Option<OwnedFd>,
    stderr: Option<OwnedFd>,
}

impl Output {
    /// Opens the files to append to, and makes those that are missing.
    pub fn open(stdout: Option<&Path>, stderr: Option<&Path>) -> Result<Self> {
        Ok(Self {
            stdout: stdout.map(append).transpose().doing(|| "standard output of hooks")?,
            stderr: stderr.map(append).transpose().doing(|| "standard error of hooks")?,
        })
    }

    /// The same for hooks that are to run whatever has become of the files.
    pub fn open_if_possible(stdout: Option<&Path>, stderr: Option<&Path>) -> Self {
        Self::open(stdout, stderr).unwrap_or_else(|error| {
            best_effort("hooks write to nothing", Err::<(), _>(error));
            Self::default()
        })
    }

    /// Both, as far as there are any.
    pub fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.stdout.iter().chain(&self.stderr).map(AsFd::as_fd)
    }
}

/// A FIFO that nobody reads is ENXIO, not a wait.
fn append(path: &Path) -> Result<OwnedFd> {
    use nix::sys::stat::Mode;
    let flags = OFlag::O_WRONLY | OFlag::O_APPEND | OFlag::O_CREAT | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let mode = Mode::S_IRUSR | Mode::S_IWUSR | Mode::S_IRGRP | Mode::S_IROTH;
    let file = nix::fcntl::open(path, flags | OFlag::O_NONBLOCK, mode)
        .call(|| format!("open({path:?}, {flags:?})"))?;
    // Hooks don't expect EAGAIN.
    fcntl(&file, FcntlArg::F_SETFL(OFlag::O_APPEND)).call(|| "fcntl(O_APPEND)")?;
    Ok(file)
}

/// Runs hooks one after the other and stops at the first that fails. A hook without `env` has an empty environment:
/// neither the caller's nor the container's is its business (CVE-2025-23266).
pub fn run(on: Occasion<'_>, hooks: &[Hook]) -> Result<()> {
    hooks.iter().enumerate().try_for_each(|(index, hook)| one(on, index, hook))
}

/// As [`run`], for hooks whose failure does not stop the others: poststop.
pub fn run_all(on: Occasion<'_>, hooks: &[Hook]) {
    for (index, hook) in hooks.iter().enumerate() {
        best_effort("continuing after", one(on, index, hook));
    }
}

fn one(on: Occasion<'_>, index: usize, hook: &Hook) -> Result<()> {
    let Occasion { kind, state, stops, .. } = on;
    let what =
        || format!("error running {kind} hook #{index}: hooks.{kind}[{index}] {}", hook.path().display());
    let input = serde_json::to_vec(state).doing(what)?;
    let began = Instant::now();
    let deadline =
        hook.timeout().and_then(|seconds| began.checked_add(Duration::from_secs(seconds.unsigned_abs())));
    let (end, stderr) = supervise(spawn(hook, on).doing(what)?, &input, deadline, stops).doing(what)?;
    let words = match end {
        End::Exited(status) if status.success() => return Ok(()),
        End::Exited(status) => ended(status),
        End::TimedOut => format!("killed, its timeout of {} s is over", hook.timeout().unwrap_or(0)),
        End::Stopped(why) => format!("killed, {why}"),
    };
    let text = format!("{words} after {} ms{}", began.elapsed().as_millis(), quoted(&stderr));
    Err(failure(Kind::Hook, text)).doing(what)
}

/// How a hook has ended.
enum End {
    Exited(ExitStatus),
    TimedOut,
    Stopped(&'static str),
}

fn ended(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exited {code}"),
        (_, signal) => format!("killed by signal {}", signal.unwrap_or(0)),
    }
}

fn spawn(hook: &Hook, on: Occasion<'_>) -> Result<Child> {
    let mut command = Command::new(hook.path());
    process::start_as(&mut command, execution(hook)?);
    // A bundle may be gone by the time of the poststop hooks.
    let cwd = if nix::sys::stat::stat(on.cwd).is_ok() { on.cwd } else { Path::new("/") };
    command.current_dir(cwd).stdin(Stdio::piped()).stderr(Stdio::piped());
    if let Some(file) = &on.output.stdout {
        command.stdout(file.try_clone().call(|| "dup()")?);
    }
    if let Some(file) = &on.output.stderr {
        command.stderr(file.try_clone().call(|| "dup()")?);
    }
    // A group of its own, so that all of it can be ended when its time is over.
    command.process_group(0);
    command.spawn().call(|| "execve()").map_err(|error| failure(Kind::Hook, error.to_string()))
}

/// config.md: `args` and `env` are execv's argv and environ, as they stand. Without `args` the hook has its path as
/// its name, for programs don't expect to have none.
fn execution(hook: &Hook) -> Result<Execution> {
    let string = |text: &[u8]| {
        CString::new(text).ok().ok_or_else(|| failure(Kind::Hook, "path, args or env has a NUL byte"))
    };
    let strings = |list: &Option<Vec<String>>| -> Result<Vec<CString>> {
        list.iter().flatten().map(|text| string(text.as_bytes())).collect()
    };
    let path = string(hook.path().as_os_str().as_bytes())?;
    let mut args = strings(hook.args())?;
    if args.is_empty() {
        args.push(path.clone());
    }
    Ok(Execution { path, args, env: strings(hook.env())? })
}

/// Feeds a hook its input, keeps what it says on standard error, and waits for its end. At the deadline, or for a reason
/// to stop, it is killed, with all of the process group that was made for it. A hook need not read, and may leave
/// children that hold its standard error: neither is waited for.
fn supervise(
    mut child: Child,
    input: &[u8],
    deadline: Option<Instant>,
    stops: &[Stop<'_>],
) -> Result<(End, Tail)> {
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap_or(i32::MAX));
    let pidfd = process::pidfd_open(pid)?;
    let mut stdin = child.stdin.take().map(OwnedFd::from);
    let mut stderr = child.stderr.take().map(OwnedFd::from);
    for pipe in [&stdin, &stderr].into_iter().flatten() {
        fcntl(pipe, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).call(|| "fcntl(O_NONBLOCK)")?;
    }
    let mut said = Tail::default();
    let mut left = input;
    let mut until = deadline;
    let mut status = None;
    loop {
        let ready = wait(&pidfd, [stdin.as_ref(), stderr.as_ref()], until, stops)?;
        if ready.input && !feed(stdin.as_ref(), &mut left) {
            stdin = None;
        }
        if ready.output && !said.take_from(stderr.as_ref()) {
            stderr = None;
        }
        if ready.exited && status.is_none() {
            status = Some(child.wait().call(|| "wait4()")?);
            stdin = None;
            until = Some(Instant::now() + GRACE);
        }
        let over = until.is_some_and(|until| Instant::now() >= until);
        match status {
            Some(status) if stderr.is_none() || over || !ready.output => {
                return Ok((End::Exited(status), said));
            }
            None if over || ready.stop.is_some() => {
                // Not reaped yet, it keeps its number: the group of that number is its own.
                best_effort("kill the group of a hook", killpg(pid, Signal::SIGKILL));
                // It may have gone to another group, which nothing may be done to.
                best_effort("kill a hook", process::pidfd_signal(pidfd.as_fd(), libc::SIGKILL));
                best_effort("reap a hook", child.wait());
                return Ok((ready.stop.map_or(End::TimedOut, End::Stopped), said));
            }
            _ => {}
        }
    }
}

struct Ready {
    exited: bool,
    input: bool,
    output: bool,
    stop: Option<&'static str>,
}

fn wait(
    pidfd: &OwnedFd,
    [stdin, stderr]: [Option<&OwnedFd>; 2],
    until: Option<Instant>,
    stops: &[Stop<'_>],
) -> Result<Ready> {
    let timeout = until.map_or(PollTimeout::NONE, |until| {
        let left = until.saturating_duration_since(Instant::now()) + Duration::from_millis(1);
        PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
    });
    let mut fds = vec![PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
    fds.extend(stdin.map(|fd| PollFd::new(fd.as_fd(), PollFlags::POLLOUT)));
    fds.extend(stderr.map(|fd| PollFd::new(fd.as_fd(), PollFlags::POLLIN)));
    let pipes = fds.len();
    fds.extend(stops.iter().map(|stop| PollFd::new(stop.fd, PollFlags::POLLIN)));
    retry_eintr(|| poll(&mut fds, timeout)).call(|| "poll()")?;
    let ready = |index: usize| fds.get(index).is_some_and(|fd| fd.any().unwrap_or(false));
    let output = 1 + usize::from(stdin.is_some());
    Ok(Ready {
        exited: ready(0),
        input: stdin.is_some() && ready(1),
        output: stderr.is_some() && ready(output),
        stop: stops.iter().enumerate().find_map(|(n, stop)| ready(pipes + n).then_some(stop.why)),
    })
}

/// Writes what fits; false when there is no more to write or nobody reads.
fn feed(stdin: Option<&OwnedFd>, left: &mut &[u8]) -> bool {
    match stdin.map(|fd| nix::unistd::write(fd, left)) {
        Some(Ok(n)) => {
            *left = &left[n..];
            !left.is_empty()
        }
        Some(Err(Errno::EAGAIN | Errno::EINTR)) => true,
        Some(Err(_)) | None => false,
    }
}

/// The begin and the end of an output of any length.
#[derive(Debug, Default)]
struct Tail {
    head: Vec<u8>,
    tail: std::collections::VecDeque<u8>,
    dropped: usize,
}

impl Tail {
    /// False at the end of the output.
    fn take_from(&mut self, stderr: Option<&OwnedFd>) -> bool {
        let mut buffer = [0; QUOTE];
        match stderr.map(|fd| nix::unistd::read(fd, &mut buffer)) {
            Some(Ok(n)) if n > 0 => {
                self.add(&buffer[..n]);
                true
            }
            Some(Err(Errno::EAGAIN | Errno::EINTR)) => true,
            Some(Ok(_) | Err(_)) | None => false,
        }
    }

    fn add(&mut self, bytes: &[u8]) {
        let room = (QUOTE - self.head.len()).min(bytes.len());
        self.head.extend(&bytes[..room]);
        self.tail.extend(&bytes[room..]);
        let excess = self.tail.len().saturating_sub(QUOTE);
        self.tail.drain(..excess);
        self.dropped += excess;
    }
}

fn quoted(said: &Tail) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    let tail: Vec<u8> = said.tail.iter().copied().collect();
    match (said.head.is_empty(), said.dropped) {
        (true, _) => String::new(),
        (false, 0) => format!(": {}", text(&[said.head.as_slice(), &tail].concat())),
        (false, dropped) => format!(": {} [{dropped} bytes left out] {}", text(&said.head), text(&tail)),
    }
}
