//! Runs in: host. The host's side of `exec`: a helper in the container's cgroup joins its namespaces and clones the
//! process, see [`crate::init::join`]; the host answers both until the process has become its program.
//!
//! No lock of the container is held: other verbs go on, and what they do to it is seen. A process that the host knows
//! of lives only when the host says so, as long as the container's own does; and who ends the container kills what is in
//! its cgroup until there is nobody.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nix::sys::wait::WaitStatus;
use nix::unistd::Pid;

use super::birth::Unadopted;
use super::console::Terminal;
use super::foreground::Signals;
use super::into_cgroup::{Beginning, Mover, clone_into};
use super::newborn::{self, Patience};
use super::receiver::Receiver;
use super::serve::write_pid_file;
use super::{listener, scheduling};
use crate::container::cgroup::{Cgroup, Tree};
use crate::container::handshake::{Done, Link, Message};
use crate::container::process::{Alive, TOO_MANY};
use crate::container::rdt;
use crate::container::status::{Status, cannot_exec};
use crate::error::{Doing, Kind, Result, best_effort, errno_of, failure, invalid, unsupported};
use crate::init::{Candidate, Departure, Filter, Joining, join};
use crate::plan::exec::ExecPlan;
use crate::proc::Proc;
use crate::spec::oci::ContainerState;
use crate::spec::record::Record;
use crate::sys::fs::{self, OFlag};
use crate::sys::process::{Side, clone3};
use crate::sys::{self, Errno, SysError, sched};

/// A process to be started in a container.
#[derive(Debug)]
pub struct ExecOrder<'a> {
    /// The container.
    pub record: &'a Record,
    /// Its process.
    pub init: &'a Alive,
    /// What is to be started.
    pub plan: &'a ExecPlan,
    /// The container's compiled filter.
    pub filter: &'a [u8],
    /// What becomes of its terminal's master.
    pub terminal: Terminal,
    /// Where its pid is written.
    pub pid_file: Option<&'a Path>,
    /// A socket that gets its pidfd.
    pub pidfd_socket: Option<&'a Path>,
    /// A cgroup below the container's, relative to that.
    pub cgroup: Option<&'a Path>,
    /// What to do in a container that stands still.
    pub if_paused: IfPaused,
    /// What may ask the caller to end meanwhile, if that is held back.
    pub signals: Option<&'a Signals>,
    /// How many descriptors from 3 up are LISTEN_FDS, sd_listen_fds(3).
    pub listen_fds: u32,
    /// `--preserve-fds`: so many more after them.
    pub preserve_fds: u32,
}

/// What to do in a container whose processes stand still.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IfPaused {
    /// Nothing is started.
    Refuse,
    /// It goes on when they do: `--ignore-paused`.
    Wait,
}

/// A process that has become its program.
#[derive(Debug)]
pub struct Executed {
    /// In this pid namespace.
    pub pid: Pid,
    /// The same process.
    pub pidfd: OwnedFd,
    /// Its terminal's master, if it was to be kept.
    pub terminal: Option<OwnedFd>,
}

/// Starts it. On failure nothing of it is left.
pub fn exec(mut order: ExecOrder<'_>) -> Result<Executed> {
    let proc = Proc::open()?;
    order.terminal.connect()?;
    let pidfd_to = order.pidfd_socket.map(|path| Receiver::connect("pidfd socket", path)).transpose()?;
    let cgroup = cgroup(&order)?;
    let (link, helper) = clone_helper(&order, cgroup.as_ref(), &proc).map_err(|e| order.explained(e))?;
    let mut host = Host {
        order: &order,
        proc: &proc,
        cgroup: cgroup.as_ref(),
        link,
        process: None,
        terminal: if order.plan.process.terminal.is_some() { None } else { Some(None) },
    };
    let served = host.serve(&helper).map_err(|error| host.better_reason(error, &helper));
    // It has ended by itself, or is not needed.
    drop(helper);
    match served {
        Ok(()) => host.hand_over(pidfd_to.as_ref()),
        Err(error) => {
            host.abandon();
            Err(order.explained(error))
        }
    }
}

impl ExecOrder<'_> {
    /// Of a container that has ended meanwhile, that is what is wrong.
    fn explained(&self, error: anyhow::Error) -> anyhow::Error {
        match self.init.is_ending() {
            Ok(true) => cannot_exec(&self.record.id, Status::Stopped),
            _ => error,
        }
    }

    fn joining(&self, link: Link) -> Result<Joining<'_>> {
        let plan = self.plan;
        let filter = plan.filter_flags.map(|flags| Filter {
            program: self.filter,
            flags,
            is_listened_to: plan.listener.is_some(),
        });
        let candidate = Candidate {
            process: Some(&plan.process),
            filter,
            in_user_namespace: plan.in_user_namespace(),
            link: Some(link),
            departure: departure(self.listen_fds),
            stub: sys::exe::stub()?,
            umask: 0,
            preserved: self.listen_fds.saturating_add(self.preserve_fds),
            listening: self.listen_fds,
        };
        let root = plan.chroot.then(|| root_of(self.init)).transpose()?;
        Ok(Joining { plan, candidate, init: self.init.pidfd(), root, is_moved: false })
    }
}

/// A process that finds its own pid to tell it the program (LISTEN_PID) runs more than system calls.
fn departure(listening: u32) -> Departure {
    match sys::exe::can_detach() {
        false => Departure::Sealed,
        true if listening == 0 && sys::last_calls::has_loop() => Departure::Late,
        true => Departure::Early,
    }
}

/// The root of a process: proc_pid_root(5).
fn root_of(init: &Alive) -> Result<OwnedFd> {
    let path = format!("/proc/{}/root", init.pid);
    let root = fs::open(path.as_str(), OFlag::O_PATH | OFlag::O_DIRECTORY)?;
    // The pid is still that of the process that is held: so it was its root.
    match init.is_ending()? {
        false => Ok(root),
        true => Err(failure(Kind::InvalidState, "the container's process has ended")),
    }
}

/// Where the process is to be born; `None` if the container is in its caller's cgroup.
fn cgroup(order: &ExecOrder<'_>) -> Result<Option<Cgroup>> {
    let record = &order.record.cgroup;
    if !record.is_ours() {
        return match order.cgroup {
            None => Ok(None),
            Some(_) => Err(unsupported("--cgroup: the container has no cgroup of its own")),
        };
    }
    let gone = || cannot_exec(&order.record.id, Status::Stopped);
    let own = Tree::find()?.open(record)?.ok_or_else(gone)?;
    match order.cgroup {
        None => Ok(Some(own)),
        Some(path) => own.below(path).map(Some).doing(|| format!("--cgroup {path:?}")),
    }
}

/// Clones the helper into the cgroup, on the processors that are its first.
fn clone_helper(order: &ExecOrder<'_>, cgroup: Option<&Cgroup>, proc: &Proc) -> Result<(Link, Unadopted)> {
    let (link, helper_link) = Link::pair()?;
    let joining = order.joining(helper_link)?;
    let affinity = order.plan.process.exec_affinity.as_ref().filter(|affinity| !affinity.initial.is_empty());
    let before = affinity.map(|affinity| run_on(&affinity.initial.mask())).transpose()?;
    let inner;
    let beginning = match clone_into(0, cgroup) {
        // It can't have processes of its own any more, for an init of the container's own has made others below it: then
        // to where the container's process is.
        Err(error) if matches!(error.errno, Errno::EBUSY | Errno::EOPNOTSUPP) && order.cgroup.is_none() => {
            inner = Tree::find()?.open_of(&order.record.cgroup, proc, order.init.pid)?;
            match &inner {
                Some(inner) => clone_into(0, Some(inner)),
                None => Err(error),
            }
        }
        beginning => beginning,
    };
    let helper = match beginning.map_err(explained) {
        Ok(Beginning::There(Side::Init)) => join(joining),
        Ok(Beginning::There(Side::Host(_, pidfd))) => Ok(Unadopted::new(pidfd)),
        Ok(Beginning::Here(mover)) => match clone_and_move(joining, &link, &mover) {
            // Who has removed the cgroup has ended the container before.
            Err(error) if matches!(errno_of(&error), Some(Errno::ENODEV | Errno::ENOENT)) => {
                Err(cannot_exec(&order.record.id, Status::Stopped))
            }
            helper => helper,
        },
        Err(error) => Err(error),
    };
    if let Some(before) = before {
        best_effort("run on the processors from before", sched::set_affinity(Pid::from_raw(0), &before));
    }
    Ok((link, helper?))
}

/// A helper that begins in this process's cgroup, and goes on in the container's.
fn clone_and_move(mut joining: Joining<'_>, link: &Link, mover: &Mover<'_>) -> Result<Unadopted> {
    joining.is_moved = true;
    match clone3(0, None)? {
        Side::Init => join(joining),
        Side::Host(pid, pidfd) => {
            drop(joining);
            let helper = Unadopted::new(pidfd);
            mover.bring(pid, link)?;
            Ok(helper)
        }
    }
}

/// config.md, "execCPUAffinity": where this process runs its clone begins. Answers where it was.
fn run_on(processors: &[u64]) -> Result<Vec<u64>> {
    let before = sched::affinity()?;
    sched::set_affinity(Pid::from_raw(0), processors).doing(|| "process.execCPUAffinity.initial")?;
    Ok(before)
}

/// clone(2), cgroups(7).
fn explained(error: SysError) -> anyhow::Error {
    let hint = match error.errno {
        Errno::EAGAIN => TOO_MANY,
        Errno::EBUSY => "the cgroup has controllers for those below it, and no processes of its own then",
        _ => return error.into(),
    };
    SysError { call: format!("{}; {hint}", error.call), ..error }.into()
}

/// What is said of a process that has gone without a word.
const ENDED: &str =
    "the process has ended before it became the program: it was killed, by a filter of linux.seccomp maybe";

/// The host in conversation with helper and process.
struct Host<'a, 'o> {
    order: &'a ExecOrder<'o>,
    proc: &'a Proc,
    cgroup: Option<&'a Cgroup>,
    link: Link,
    process: Option<(Pid, Unadopted)>,
    /// What has been kept of the terminal, once that has been offered.
    terminal: Option<Option<OwnedFd>>,
}

impl Host<'_, '_> {
    /// Answers until the link is closed: by execve, or by the end of all who had it.
    fn serve(&mut self, helper: &Unadopted) -> Result<()> {
        self.link.end_silence()?;
        let mut patience = Patience::default();
        while let Some((message, fd)) = self.link.receive_unless::<Message>(&mut || {
            self.goes_on(helper)?;
            match &self.process {
                Some((_, process)) => patience.with(process, self.proc),
                None => patience.with(helper, self.proc).map(|_| true),
            }
        })? {
            self.answer(message, fd)?;
            self.link.send(&Done, None)?;
        }
        let Some((pid, process)) = &self.process else {
            return Err(self.lost("the process that joins the namespaces has ended", helper.ended()?));
        };
        match self.proc.process(*pid)?.is_some_and(|(_, now)| now.executed) {
            true => Ok(()),
            false => Err(self.lost(ENDED, process.ended()?)),
        }
    }

    /// If somebody has killed it, that may have been the container's end: its own process is about to end then, too,
    /// and that is what is wrong.
    fn lost(&self, text: &str, how: Option<WaitStatus>) -> anyhow::Error {
        const LONGEST: Duration = Duration::from_secs(2);
        const PAUSE: Duration = Duration::from_millis(5);
        let was_killed = matches!(how, None | Some(WaitStatus::Signaled(_, Signal::SIGKILL, _)));
        let end = Instant::now() + LONGEST;
        while was_killed && matches!(self.order.init.is_ending(), Ok(false)) && Instant::now() < end {
            std::thread::sleep(PAUSE);
        }
        let how = how.map(|status| format!(": {status:?}")).unwrap_or_default();
        failure(Kind::System, format!("{text}{how}"))
    }

    /// What has gone meanwhile knows better what was wrong.
    fn better_reason(&self, error: anyhow::Error, helper: &Unadopted) -> anyhow::Error {
        /// Between the end of the link and that of the process.
        const A_MOMENT: Duration = Duration::from_millis(200);
        let who = self.process.as_ref().map_or(helper, |(_, process)| process);
        match errno_of(&error) {
            // The second one is of an answer that nobody has read. The first may be of a socket of the caller's.
            Some(Errno::EPIPE | Errno::ECONNRESET) => {
                self.link.last_words().unwrap_or_else(|| match who.ends_within(A_MOMENT) {
                    Ok(true) => self.lost(ENDED, None),
                    _ => error,
                })
            }
            _ => error,
        }
    }

    /// Whether it makes sense to wait for somebody who has said nothing for a while.
    fn goes_on(&self, helper: &Unadopted) -> Result<()> {
        self.still_there()?;
        if let (None, Some(status)) = (&self.process, helper.ended()?) {
            // Whom it has cloned it can't say any more; that one ends with the link.
            return Err(self.lost("the process that joins the namespaces has ended", Some(status)));
        }
        self.order.signals.map_or(Ok(()), Signals::refuse_to_wait)?;
        match (self.order.if_paused, self.cgroup) {
            (IfPaused::Refuse, Some(cgroup)) => {
                let tree = Tree::find()?;
                if tree.is_told_to_freeze(&self.order.record.cgroup)? {
                    return Err(cannot_exec(&self.order.record.id, Status::Paused));
                }
                cgroup.refuse_frozen()
            }
            _ => Ok(()),
        }
    }

    fn still_there(&self) -> Result<()> {
        match self.order.init.is_ending()? {
            true => Err(cannot_exec(&self.order.record.id, Status::Stopped)),
            false => Ok(()),
        }
    }

    /// As soon as the process is born, somebody in the container may speak for it, and for the helper, too (pidfd_getfd(2),
    /// with CAP_SYS_PTRACE). So it is heard for what is its own only, and what it is is not asked.
    fn answer(&mut self, message: Message, fd: Option<OwnedFd>) -> Result<()> {
        match (message, fd) {
            (Message::OfferTerminal, Some(master)) if self.terminal.is_none() => {
                self.terminal = Some(self.order.terminal.take(master)?);
                Ok(())
            }
            (Message::Born(_), Some(pidfd)) if self.process.is_none() => {
                let (pid, process) = newborn::child(pidfd, self.proc)?;
                self.process = Some((pid, process));
                self.settle(pid)
            }
            (Message::OfferListener(number), None) => self.introduce_agent(number),
            (Message::Failed(report), _) => Err(report.into()),
            (other, _) => {
                Err(failure(Kind::System, format!("{other:?} from a process that is to be executed")))
            }
        }
    }

    /// What only the host can give it; the process waits for that, and for the word that the container is still there.
    fn settle(&self, pid: Pid) -> Result<()> {
        let process = &self.order.plan.process;
        if let Some(rdt) = &self.order.record.rdt {
            rdt::Tree::find().and_then(|tree| tree.join(rdt, pid)).doing(|| "linux.intelRdt")?;
        }
        if let Some(affinity) = process.exec_affinity.as_ref().filter(|affinity| !affinity.last.is_empty()) {
            sched::set_affinity(pid, &affinity.last.mask()).doing(|| "process.execCPUAffinity.final")?;
        }
        scheduling::set(pid, &process.scheduling).doing(|| "process")?;
        self.still_there()
    }

    fn introduce_agent(&self, number: u32) -> Result<()> {
        let nobody = || failure(Kind::System, "a listener is offered to nobody");
        let (agent, (pid, process)) =
            self.order.plan.listener.as_ref().zip(self.process.as_ref()).ok_or_else(nobody)?;
        let fd = listener::take(process.pidfd()?, number, &self.link)?;
        let record = self.order.record;
        let state = record.hook_state(ContainerState::Running, Some(self.order.init.pid.as_raw()));
        listener::send(agent, &record.bundle, &fd, (*pid, state))
    }

    /// The helper is gone, and may have said last whom it has cloned: that is killed and reaped, too. Who can't reap it
    /// is the caller, and the end of a pid namespace waits until somebody has.
    fn abandon(mut self) {
        /// More than are ever on their way, unless somebody else sends them.
        const MOST: u32 = 16;
        for _ in 0..MOST {
            if self.process.is_some() {
                break;
            }
            match self.link.receive_with_fd::<Message>() {
                Ok(Some((Message::Born(_), Some(pidfd)))) => {
                    self.process = newborn::child(pidfd, self.proc).ok();
                }
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => break,
            }
        }
    }

    /// It runs: what the caller knows it by. If the caller can't be told, it does not.
    fn hand_over(self, pidfd_to: Option<&Receiver>) -> Result<Executed> {
        let gone = || invalid("there is no process");
        let (pid, process) = self.process.ok_or_else(gone)?;
        if let Some(receiver) = pidfd_to {
            receiver.send(PIDFD_WORD, process.pidfd()?)?;
        }
        self.order.pid_file.map_or(Ok(()), |path| write_pid_file(path, pid))?;
        Ok(Executed { pid, pidfd: process.adopt().ok_or_else(gone)?, terminal: self.terminal.flatten() })
    }
}

/// runc's word, for a process of `exec`.
const PIDFD_WORD: &[u8] = b"setns";
