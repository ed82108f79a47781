//! A conversation with CRIU.

use std::convert::Infallible;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::Pid;
use prost::Message;

use super::log;
use super::message::{Kind, Opts, Request, Response, Version};
use super::program::Program;
use crate::error::{Doing, Kind as ErrorKind, Result, best_effort, failure, unsupported};
use crate::sys::fs::{self, OFlag};
use crate::sys::mount::{self, Depth, MountAttr};
use crate::sys::process::{self, BrokenPipe, Side};
use crate::sys::{Call, net, retry_eintr};

/// The oldest that knows all that is asked for here; an older one would skip what it does not know.
const OLDEST: (i32, i32) = (3, 17);

/// How CRIU begins.
#[derive(Debug, Default)]
pub struct Begin<'a> {
    /// The container's root, in a mount namespace of CRIU's own.
    pub root: Option<Root<'a>>,
    /// The cgroup that it begins in, if not this process's.
    pub cgroup: Option<BorrowedFd<'a>>,
    /// Descriptors that it has, too, by the numbers that they have here.
    pub shared: &'a [BorrowedFd<'a>],
    /// Whether it stays in this process's session, for what it restores to be a job of it.
    pub job: bool,
}

/// A directory that is a mount, as CRIU wants the root of what it restores: nobody but CRIU sees that it is one.
#[derive(Debug)]
pub struct Root<'a> {
    /// Its path: CRIU begins at it, too.
    pub at: &'a Path,
    /// A detached copy of it.
    pub mount: BorrowedFd<'a>,
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

/// CRIU, at work for this process. Dropped, it takes back what it has not finished, and is waited for.
#[derive(Debug)]
pub struct Session {
    link: Option<OwnedFd>,
    pid: Pid,
    worker: OwnedFd,
}

impl Session {
    /// Starts CRIU, of a version that will do.
    pub fn start(program: &Program, begin: &Begin<'_>) -> Result<Self> {
        let (link, other) = net::seqpacket_pair()?;
        let namespaces = if begin.root.is_some() { libc::CLONE_NEWNS as u64 } else { 0 };
        let session = match process::clone3(namespaces, begin.cgroup)? {
            Side::Init => {
                let Err(error) = become_criu(program, begin, &other);
                let errmsg = Some(format!("{error:#}"));
                let last = Response { errmsg, ..Response::default() };
                best_effort("say so", net::send(other.as_fd(), &last.encode_to_vec(), None));
                process::exit_now(1)
            }
            Side::Host(pid, worker) => Self { link: Some(link), pid, worker },
        };
        drop(other);
        let version = session.version()?;
        match (version.major, version.minor) < OLDEST {
            true => Err(unsupported(format!(
                "criu: version {}.{} is too old: checkpoint and restore need {}.{} or newer",
                version.major, version.minor, OLDEST.0, OLDEST.1
            ))),
            false => Ok(session),
        }
    }

    /// A directory of the host as CRIU sees it. Where it has a mount namespace of its own, it can mount nothing in one
    /// that was opened outside: move_mount(2), mount(2).
    pub fn dir(&self, path: &Path) -> Result<OwnedFd> {
        let below = path.strip_prefix("/").unwrap_or(path);
        let path = Path::new("/proc").join(self.pid.to_string()).join("root").join(below);
        fs::open(&path, OFlag::O_RDONLY | OFlag::O_DIRECTORY).map_err(Into::into)
    }

    fn version(&self) -> Result<Version> {
        self.send(&Request { kind: Kind::Version as i32, keep_open: Some(true), ..Request::default() })?;
        let (response, _) = self.receive()?;
        response.version.ok_or_else(|| {
            let why = response.errmsg.unwrap_or_else(|| "it does not tell its version".to_owned());
            failure(ErrorKind::System, format!("criu: {why}"))
        })
    }

    /// Has it do something: `noticed` does what is to be done on the way, answers what else is
    /// external (to `query-ext-files`), and ends it if it fails. So does whatever
    /// makes `interrupt` readable, as long as it can be taken back. `log` is where it writes what it does: a
    /// directory and, for people, its path.
    pub fn run(
        self,
        (kind, opts): (Kind, Opts),
        (log_dir, log_path): (BorrowedFd<'_>, &Path),
        interrupt: BorrowedFd<'_>,
        noticed: &mut dyn FnMut(Notice) -> Result<Vec<String>>,
    ) -> Result<()> {
        let log_name = opts.log_file.clone().unwrap_or_default();
        let request = Request { kind: kind as i32, opts: Some(opts), notify_success: None, keep_open: None };
        self.send(&request)?;
        let mut last = false;
        loop {
            if !last {
                self.wait_unless(interrupt)?;
            }
            let (response, fd) = self.receive()?;
            let Some(notify) = response.notify.filter(|_| response.kind == Kind::Notify as i32) else {
                if response.success {
                    return Ok(());
                }
                // What it writes to its log comes before its end, not before its answer.
                drop(self);
                let errors = log::errors(log_dir, &log_name);
                let why = if errors.is_empty() { response.errmsg.unwrap_or_default() } else { errors };
                let errno = response.errno.filter(|errno| *errno != 0).map(nix::errno::Errno::from_raw);
                let errno = errno.map(|errno| format!(" ({errno:?})")).unwrap_or_default();
                let log = log_path.join(log_name);
                let text = format!("criu can't do it{errno}: {why}; its log is {log:?}");
                return Err(failure(ErrorKind::System, text));
            };
            let pid = notify.pid.map(Pid::from_raw);
            let notice = Notice { action: notify.script.unwrap_or_default(), pid, fd };
            last |= notice.is_the_last();
            let external = noticed(notice)?;
            let opts = (!external.is_empty()).then(|| Opts { external, ..Opts::default() });
            let go_on =
                Request { kind: Kind::Notify as i32, opts, notify_success: Some(true), keep_open: None };
            self.send(&go_on)?;
        }
    }

    fn send(&self, request: &Request) -> Result<()> {
        net::send(self.link()?, &request.encode_to_vec(), None).map(drop).doing(|| "criu")
    }

    fn receive(&self) -> Result<(Response, Option<OwnedFd>)> {
        let mut buffer = vec![0; 64 << 10];
        let (length, fd) = net::receive(self.link()?, &mut buffer).doing(|| "criu")?;
        match buffer.get(..length) {
            None | Some([]) => Err(failure(ErrorKind::System, "criu has ended without an answer")),
            Some(bytes) => Ok((Response::decode(bytes).doing(|| "criu's answer")?, fd)),
        }
    }

    fn wait_unless(&self, interrupt: BorrowedFd<'_>) -> Result<()> {
        let mut fds =
            [PollFd::new(self.link()?, PollFlags::POLLIN), PollFd::new(interrupt, PollFlags::POLLIN)];
        retry_eintr(|| poll(&mut fds, PollTimeout::NONE)).call(|| "poll(criu)")?;
        match fds[1].any().unwrap_or(false) {
            true => Err(failure(ErrorKind::System, "a signal asks this command to end: it is taken back")),
            false => Ok(()),
        }
    }

    fn link(&self) -> Result<BorrowedFd<'_>> {
        let link = self.link.as_ref().map(AsFd::as_fd);
        link.ok_or_else(|| failure(ErrorKind::System, "criu is not listened to any more"))
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // The end of the link is what ends it.
        drop(self.link.take());
        best_effort("wait for criu", process::reap(self.worker.as_fd()));
    }
}

/// In the new process.
fn become_criu(program: &Program, begin: &Begin<'_>, socket: &OwnedFd) -> Result<Infallible> {
    process::reset_signals()?;
    // A caller that has gone is an error to it, which it takes back what it has done for.
    process::on_broken_pipe(BrokenPipe::IsAnError);
    if !begin.job {
        // What a terminal sends to all of a job is not for it.
        nix::unistd::setsid().call(|| "setsid()")?;
    }
    if let Some(root) = &begin.root {
        // Mounts of the host go on to appear, and none of its own does on the host.
        let mode = |propagation| MountAttr { propagation, ..MountAttr::default() };
        mount::set_attr_everywhere(&mode(libc::MS_SLAVE))?;
        mount::set_attr(root.mount, Depth::Recursive, &mode(libc::MS_PRIVATE))?;
        // By its path: a descriptor would be of the namespace from before.
        nix::unistd::chdir(root.at).call(|| format!("chdir({:?})", root.at))?;
        mount::attach_on_cwd(root.mount)?;
    }
    for fd in begin.shared.iter().copied().chain([socket.as_fd()]) {
        fcntl(fd, FcntlArg::F_SETFD(FdFlag::empty())).call(|| "fcntl(F_SETFD)")?;
    }
    let worker = program.worker(socket.as_raw_fd());
    nix::unistd::execve(&worker.path, &worker.args, &worker.env)
        .call(|| format!("execve({:?})", worker.path))
        .map_err(Into::into)
}
