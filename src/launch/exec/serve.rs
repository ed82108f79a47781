//! Runs in: host. Answering helper and process until that has become its program.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nix::sys::wait::WaitStatus;
use nix::unistd::Pid;

use super::{ExecOrder, Executed, IfPaused};
use crate::container::cgroup::{Cgroup, Tree};
use crate::container::handshake::{Done, Link, Message};
use crate::container::rdt;
use crate::container::status::{Status, cannot_exec};
use crate::error::{Doing, Kind, Result, best_effort, errno_of, failure, invalid};
use crate::launch::birth::Unadopted;
use crate::launch::foreground::Signals;
use crate::launch::newborn::{self, Patience};
use crate::launch::receiver::Receiver;
use crate::launch::serve::write_pid_file;
use crate::launch::{listener, scheduling};
use crate::proc::Proc;
use crate::spec::oci::ContainerState;
use crate::sys::last_calls::Birth;
use crate::sys::{Errno, process, sched};

/// What is said of a process that has gone without a word.
const ENDED: &str =
    "the process has ended before it became the program: it was killed, by a filter of linux.seccomp maybe";

/// Whether who has said something waits until what it takes is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    IsAwaited,
    IsNotAwaited,
}

/// The host in conversation with helper and process.
pub(super) struct Host<'a, 'o> {
    order: &'a ExecOrder<'o>,
    proc: &'a Proc,
    cgroup: Option<&'a Cgroup>,
    link: Link,
    process: Option<(Pid, Unadopted)>,
    birth: Birth,
    /// Whether it has been told a second time who the process is.
    is_confirmed: bool,
    /// What has been kept of the terminal, once that has been offered.
    terminal: Option<Option<OwnedFd>>,
}

impl<'a, 'o> Host<'a, 'o> {
    pub(super) fn new(
        order: &'a ExecOrder<'o>,
        proc: &'a Proc,
        cgroup: Option<&'a Cgroup>,
        link: Link,
        birth: Birth,
    ) -> Self {
        let terminal = if order.plan.process.terminal.is_some() { None } else { Some(None) };
        Self { order, proc, cgroup, link, process: None, birth, is_confirmed: false, terminal }
    }

    /// Answers until the link is closed: by execve, or by the end of all who had it.
    pub(super) fn serve(&mut self, helper: &Unadopted) -> Result<()> {
        self.link.end_silence()?;
        let mut patience = Patience::default();
        while let Some((message, fd)) = self.link.receive_unless::<Message>(&mut || {
            if self.is_program()? {
                return Ok(false);
            }
            self.goes_on(helper)?;
            match &self.process {
                Some((_, process)) => patience.with(process, self.proc),
                None => patience.with(helper, self.proc).map(|_| true),
            }
        })? {
            if self.answer(message, fd)? == Answer::IsAwaited {
                self.link.send(&Done, None)?;
            }
        }
        match &self.process {
            None => Err(self.lost("the process that joins the namespaces has ended", helper.ended()?)),
            Some((_, process)) if !self.is_program()? => Err(self.lost(ENDED, process.ended()?)),
            Some(_) => Ok(()),
        }
    }

    /// Whether it has become its program, even if that has ended by now: it has nothing more to say.
    fn is_program(&self) -> Result<bool> {
        let Some((pid, _)) = &self.process else { return Ok(false) };
        Ok(self.proc.process(*pid)?.is_some_and(|(_, now)| now.executed))
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
        let how = how.map(|status| format!(": {}", process::ending(status))).unwrap_or_default();
        failure(Kind::System, format!("{text}{how}"))
    }

    /// What has gone meanwhile knows better what was wrong.
    pub(super) fn better_reason(&self, error: anyhow::Error, helper: &Unadopted) -> anyhow::Error {
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

    /// An error in a container that has gone, unless the program runs: it may be what has ended that. In this order: it is
    /// the program before it ends anything.
    fn still_there(&self) -> Result<()> {
        match self.order.init.is_ending()? && !self.is_program()? {
            true => Err(cannot_exec(&self.order.record.id, Status::Stopped)),
            false => Ok(()),
        }
    }

    /// As soon as the process is born, somebody in the container may speak for it, and for the helper, too (pidfd_getfd(2),
    /// with CAP_SYS_PTRACE). So it is heard for what is its own only, and what it is is not asked.
    fn answer(&mut self, message: Message, fd: Option<OwnedFd>) -> Result<Answer> {
        match (message, fd) {
            (Message::OfferTerminal, Some(master)) if self.terminal.is_none() => {
                self.terminal = Some(self.order.terminal.take(master)?);
            }
            (Message::Born(_), Some(pidfd)) => return self.born(pidfd),
            (Message::OfferListener(number), None) => self.introduce_agent(number)?,
            (Message::Failed(report), _) => return Err(report.into()),
            (other, _) => {
                let text = format!("{other:?} from a process that is to be executed");
                return Err(failure(Kind::System, text));
            }
        }
        Ok(Answer::IsAwaited)
    }

    /// The helper says it; and the process itself, if it does not wait until the host knows.
    fn born(&mut self, pidfd: OwnedFd) -> Result<Answer> {
        let (pid, process) = newborn::child(pidfd, self.proc)?;
        match (&self.process, self.birth) {
            (None, birth) => {
                self.process = Some((pid, process));
                self.settle(pid)?;
                Ok(if birth == Birth::Announced { Answer::IsNotAwaited } else { Answer::IsAwaited })
            }
            (Some((known, _)), Birth::Announced) if *known == pid && !self.is_confirmed => {
                self.is_confirmed = true;
                // To drop it would end the process.
                drop(process.adopt());
                Ok(Answer::IsNotAwaited)
            }
            (Some((known, _)), _) => {
                let text = format!("process {known} is to be executed, and process {pid} is said to be, too");
                Err(failure(Kind::System, text))
            }
        }
    }

    /// What only the host can give it, if there is anything: the process waits for that. In a container that has gone
    /// meanwhile it does not live.
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

    /// The helper is gone, and it or the process may have said last who that is: it is killed and reaped, too. Who can't
    /// reap it is the caller, and the end of a pid namespace waits until somebody has. A process that has not said so by
    /// then finds the link ended, and ends.
    pub(super) fn abandon(mut self) {
        self.hear_who_it_is();
        best_effort("end the link", self.link.end());
        self.hear_who_it_is();
    }

    /// Until there is silence, or the end.
    fn hear_who_it_is(&mut self) {
        /// More than the link holds, whoever has sent them.
        const MOST: u32 = 1000;
        for _ in 0..MOST {
            if self.process.is_some() {
                return;
            }
            match self.link.receive_with_fd::<Message>() {
                Ok(Some((Message::Born(_), Some(pidfd)))) => {
                    self.process = newborn::child(pidfd, self.proc).ok();
                }
                Ok(None) => return,
                Err(error) if errno_of(&error) == Some(Errno::EAGAIN) => return,
                // Of whoever has its end of the link.
                Ok(Some(_)) | Err(_) => {}
            }
        }
    }

    /// It runs: what the caller knows it by. If the caller can't be told, it does not.
    pub(super) fn hand_over(self, pidfd_to: Option<&Receiver>) -> Result<Executed> {
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
