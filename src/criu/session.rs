//! A conversation with CRIU.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::WaitStatus;
use nix::unistd::Pid;
use prost::Message;

use super::birth::{Begin, become_criu};
use super::log;
use super::message::{Kind, NetworkLock, Opts, Request, Response, Version};
use super::program::Program;
use crate::error::{Doing, Kind as ErrorKind, Result, best_effort, failure, unsupported};
use crate::sys::fs::{self, OFlag};
use crate::sys::process::{self, Side};
use crate::sys::{Call, Errno, net, retry_eintr};

/// The oldest that knows all that is asked for here; an older one would skip what it does not know.
const OLDEST: (i32, i32) = (3, 17);
/// The first that says `query-ext-files` when all stand still.
const ASKS_FOR_FILES: (i32, i32) = (3, 19);
/// The first that writes no_new_privs, and restores it.
const KEEPS_NO_NEW_PRIVS: (i32, i32) = (3, 19);
/// The first that can leave connections as they are.
const SKIPS_NETWORK_LOCK: (i32, i32) = (3, 19);

/// In milliseconds: how long there may be silence, or be between the end of a process's descriptors and its own.
const MOMENT: u16 = 1000;
/// An answer of CRIU's is never larger.
const LARGEST: usize = 64 << 10;
/// How long CRIU may take to take back what it has done, or to finish: less than a `delete --force` waits before it ends
/// CRIU.
const PATIENCE: u16 = 5 * MOMENT;

/// How far CRIU is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// It takes back what it has done, if it is asked to.
    Revocable,
    /// It takes nothing back any more. What it makes may end by then, by itself as well.
    Last,
}

impl Stage {
    /// After how much silence CRIU may be waiting in vain.
    const fn silence(self) -> u16 {
        match self {
            Self::Revocable => MOMENT,
            Self::Last => PATIENCE,
        }
    }
}

/// What CRIU says on the way.
#[derive(Debug)]
pub struct Notice {
    /// criu(8), "--action-script".
    pub action: String,
    /// The first of the processes that are restored.
    pub pid: Option<Pid>,
    /// What comes along.
    pub fd: Option<OwnedFd>,
}

impl Notice {
    /// Once CRIU has heard the answer to it, it takes nothing back any more.
    fn is_the_last(&self) -> bool {
        ["post-dump", "post-restore"].contains(&self.action.as_str())
    }
}

/// What ends CRIU's work in the middle.
pub struct Watch<'a> {
    /// Something can be read from it: what has been done is taken back then.
    pub interrupt: BorrowedFd<'a>,
    /// CRIU waits for what will never come. Asked when it has been silent for a second, or for five at the end.
    pub in_vain: &'a dyn Fn() -> Result<bool>,
}

impl std::fmt::Debug for Watch<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch").field("interrupt", &self.interrupt).finish_non_exhaustive()
    }
}

/// CRIU, at work for this process. Dropped, it takes back what it has not finished, and is waited for.
#[derive(Debug)]
pub struct Session {
    link: Option<OwnedFd>,
    pid: Pid,
    worker: OwnedFd,
    /// It, and what it starts, are in the caller's process group.
    job: bool,
    /// What it has printed: of the time before it has a log.
    printed: OwnedFd,
    /// Not known before it has been asked.
    version: (i32, i32),
}

impl Session {
    /// Starts CRIU.
    pub fn start(program: &Program, begin: &Begin<'_>) -> Result<Self> {
        let (link, other) = net::seqpacket_pair()?;
        let printed = memfd_create(c"criu", MFdFlags::MFD_CLOEXEC).call(|| "memfd_create()")?;
        let namespaces = if begin.root.is_some() { libc::CLONE_NEWNS as u64 } else { 0 };
        match process::clone3(namespaces, begin.cgroup)? {
            Side::Init => {
                let Err(error) = become_criu(program, begin, (&other, &printed));
                let errmsg = Some(format!("{error:#}"));
                let last = Response { errmsg, ..Response::default() };
                best_effort("say so", net::send(other.as_fd(), &last.encode_to_vec(), None));
                process::exit_now(1)
            }
            Side::Host(pid, worker) => {
                Ok(Self { link: Some(link), pid, worker, job: begin.job, printed, version: (0, 0) })
            }
        }
    }

    /// That it is there, and of a version that will do.
    pub fn check(mut self, watch: &Watch<'_>) -> Result<Self> {
        let asked = Request { kind: Kind::Version as i32, keep_open: Some(true), ..Request::default() };
        self.send(&asked)?;
        let Some((response, _)) = self.next(watch, Stage::Revocable)? else {
            return Err(self.take_back(watch.interrupt)?);
        };
        let Version { major, minor } = version(response)?;
        self.version = (major, minor);
        match self.version < OLDEST {
            true => Err(unsupported(format!(
                "criu: version {major}.{minor} is too old: checkpoint and restore need {}.{} or newer",
                OLDEST.0, OLDEST.1
            ))),
            false => Ok(self),
        }
    }

    /// Whether it will ask what of the open files is external, when none of them changes any more.
    pub fn asks_for_files(&self) -> bool {
        self.version >= ASKS_FOR_FILES
    }

    /// Whether it restores no_new_privs.
    pub fn keeps_no_new_privs(&self) -> bool {
        self.version >= KEEPS_NO_NEW_PRIVS
    }

    /// CRIU's process.
    pub const fn pid(&self) -> Pid {
        self.pid
    }

    /// A directory of the host as CRIU sees it. Where it has a mount namespace of its own, it can mount nothing in one
    /// that was opened outside: move_mount(2), mount(2).
    pub fn dir(&self, path: &Path) -> Result<OwnedFd> {
        let below = path.strip_prefix("/").unwrap_or(path);
        let path = Path::new("/proc").join(self.pid.to_string()).join("root").join(below);
        let opened = fs::open(&path, OFlag::O_RDONLY | OFlag::O_DIRECTORY);
        opened.map_err(|error| if self.has_ended() { self.gone() } else { error.into() })
    }

    /// Has it do something: `noticed` does what is to be done on the way, answers what else is
    /// external (to `query-ext-files`), and ends it if it fails. So does `watch`, as long as it can be taken back. What fails
    /// after that has ended the processes itself: CRIU may wait for them for ever, and is killed.
    /// `log` is where it writes what it does: a directory and, for people, its path.
    pub fn run(
        self,
        (kind, opts): (Kind, Opts),
        (log_dir, log_path): (BorrowedFd<'_>, &Path),
        watch: &Watch<'_>,
        noticed: &mut dyn FnMut(Notice) -> Result<Vec<String>>,
    ) -> Result<()> {
        self.refuse_unknown(&opts)?;
        let log_name = opts.log_file.clone().unwrap_or_default();
        let log = log_path.join(&log_name);
        let request = Request { kind: kind as i32, opts: Some(opts), notify_success: None, keep_open: None };
        self.send(&request)?;
        let mut stage = Stage::Revocable;
        loop {
            let said = self.next(watch, stage).doing(|| format!("the log is {log:?}"))?;
            let Some((response, fd)) = said else { return Err(self.take_back(watch.interrupt)?) };
            let Some(notify) = response.notify.filter(|_| response.kind == Kind::Notify as i32) else {
                if response.success {
                    return Ok(());
                }
                // What it writes to its log comes before its end, not before its answer.
                drop(self);
                let why = log::why(log_dir, &log_name, &response.errmsg.unwrap_or_default());
                let errno = response.errno.filter(|errno| *errno != 0).map(nix::errno::Errno::from_raw);
                let errno = errno.map(|errno| format!(" ({errno:?})")).unwrap_or_default();
                let text = format!("criu can't do it{errno}: {why}; its log is {log:?}");
                return Err(failure(ErrorKind::System, text));
            };
            let pid = notify.pid.map(Pid::from_raw);
            let notice = Notice { action: notify.script.unwrap_or_default(), pid, fd };
            let before = stage;
            if notice.is_the_last() {
                stage = Stage::Last;
            }
            let external = noticed(notice).inspect_err(|_| self.is_left(before))?;
            let opts = (!external.is_empty()).then(|| Opts { external, ..Opts::default() });
            let go_on =
                Request { kind: Kind::Notify as i32, opts, notify_success: Some(true), keep_open: None };
            self.send(&go_on)?;
        }
    }

    /// Nobody listens to it any more. It ends by itself if it takes back what it has done.
    fn is_left(&self, stage: Stage) {
        if stage == Stage::Last {
            best_effort("kill criu", process::pidfd_signal(self.worker.as_fd(), libc::SIGKILL));
        }
    }

    /// CRIU would only say that the request is a bad one.
    fn refuse_unknown(&self, opts: &Opts) -> Result<()> {
        if opts.network_lock == Some(NetworkLock::Skip as i32) && self.version < SKIPS_NETWORK_LOCK {
            let ((major, minor), (since, and)) = (self.version, SKIPS_NETWORK_LOCK);
            let text =
                format!("--network-lock skip needs CRIU {since}.{and} or newer, and this is {major}.{minor}");
            return Err(unsupported(text));
        }
        Ok(())
    }

    fn send(&self, request: &Request) -> Result<()> {
        match net::send(self.link()?, &request.encode_to_vec(), None) {
            // There may be last words, which are read next.
            Err(error) if error.errno == Errno::EPIPE => Ok(()),
            sent => sent.map(drop).doing(|| "criu"),
        }
    }

    /// What it says next, and what comes along; nothing if there is something to be read that interrupts.
    fn next(&self, watch: &Watch<'_>, stage: Stage) -> Result<Option<(Response, Option<OwnedFd>)>> {
        let interrupt = (stage == Stage::Revocable).then_some(watch.interrupt);
        let watched = [self.link()?, self.worker.as_fd()].into_iter().chain(interrupt);
        let mut fds: Vec<PollFd<'_>> = watched.map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
        while retry_eintr(|| poll(&mut fds, stage.silence())).call(|| "poll(criu)")? == 0 {
            if (watch.in_vain)()? {
                process::pidfd_signal(self.worker.as_fd(), libc::SIGKILL)?;
                return Err(failure(ErrorKind::System, "a process has ended while criu was making it"));
            }
        }
        let ready = |fd: Option<&PollFd<'_>>| fd.and_then(PollFd::any) == Some(true);
        if ready(fds.get(2)) {
            return Ok(None);
        }
        if ready(fds.get(1)) {
            // It has ended, with a last word maybe. The link may be open all the same, by a process that it has made.
            retry_eintr(|| poll(&mut fds[..1], PollTimeout::ZERO)).call(|| "poll(criu)")?;
        }
        let (message, fd) = match ready(fds.first()) {
            true => net::receive(self.link()?, LARGEST).doing(|| "criu")?,
            false => Default::default(),
        };
        match message.as_slice() {
            [] => Err(self.gone()),
            bytes => Ok(Some((Response::decode(bytes).doing(|| "criu's answer")?, fd))),
        }
    }

    /// What is said when there is nobody any more who listens or speaks.
    fn gone(&self) -> anyhow::Error {
        self.has_ended();
        let text = match process::how_it_ended(self.worker.as_fd()) {
            Ok(Some(WaitStatus::Signaled(_, signal, _))) => format!("criu was killed by {signal}"),
            _ => {
                let printed = log::last_lines(&self.printed);
                let colon = if printed.is_empty() { "" } else { ": " };
                format!("criu has ended without an answer{colon}{printed}")
            }
        };
        failure(ErrorKind::System, text)
    }

    /// Its descriptors, and what /proc shows of it, go a moment before.
    fn has_ended(&self) -> bool {
        let mut fds = [PollFd::new(self.worker.as_fd(), PollFlags::POLLIN)];
        retry_eintr(|| poll(&mut fds, MOMENT)).is_ok_and(|ready| ready > 0)
    }

    /// Has it take back what it has done, which may take as long as what it is doing: who does not want to wait for that
    /// asks once more.
    fn take_back(mut self, interrupt: BorrowedFd<'_>) -> Result<anyhow::Error> {
        let take = || {
            nix::unistd::read(interrupt, &mut [0; size_of::<libc::signalfd_siginfo>()])
                .call(|| "read(signalfd)")
        };
        take()?;
        drop(self.link.take());
        let mut fds = [self.worker.as_fd(), interrupt].map(|fd| PollFd::new(fd, PollFlags::POLLIN));
        retry_eintr(|| poll(&mut fds, PollTimeout::NONE)).call(|| "poll(criu)")?;
        let text = match fds[0].any() {
            Some(true) => "a signal asks this command to end: it is taken back",
            _ => {
                take()?;
                process::pidfd_signal(self.worker.as_fd(), libc::SIGKILL)?;
                "two signals ask this command to end: criu was killed at its work"
            }
        };
        Ok(failure(ErrorKind::System, text))
    }

    fn link(&self) -> Result<BorrowedFd<'_>> {
        let link = self.link.as_ref().map(AsFd::as_fd);
        link.ok_or_else(|| failure(ErrorKind::System, "criu is not listened to any more"))
    }
}

fn version(response: Response) -> Result<Version> {
    response.version.ok_or_else(|| {
        let why = response.errmsg.unwrap_or_else(|| "it does not tell its version".to_owned());
        failure(ErrorKind::System, format!("criu: {why}"))
    })
}

impl Drop for Session {
    fn drop(&mut self) {
        // The end of the link is what ends it, but not if it waits for a process that is not there any more.
        drop(self.link.take());
        let mut fds = [PollFd::new(self.worker.as_fd(), PollFlags::POLLIN)];
        if let Ok(0) = retry_eintr(|| poll(&mut fds, PATIENCE)) {
            best_effort("kill criu", process::pidfd_signal(self.worker.as_fd(), libc::SIGKILL));
            if let Ok(0) = retry_eintr(|| poll(&mut fds, PATIENCE)) {
                // It waits in the kernel for what can't be interrupted, a file system that does not answer.
                crate::log::warn(format_args!("criu, process {}, was killed and is still there", self.pid));
                return;
            }
        }
        if let (Ok(Some(WaitStatus::Signaled(..))), false) =
            (process::how_it_ended(self.worker.as_fd()), self.job)
        {
            // Its helpers go on to listen to nobody. Until it is reaped its number is that of their group.
            let ended = killpg(self.pid, Signal::SIGKILL).or_else(|errno| match errno {
                Errno::ESRCH => Ok(()),
                other => Err(other),
            });
            best_effort("end what criu has started", ended);
        }
        best_effort("wait for criu", process::reap(self.worker.as_fd()));
    }
}
