//! Runs in: host. Answering init until the container is there.

use std::io::Write;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, bind, listen, socket};
use nix::sys::wait::WaitStatus;
use nix::unistd::Pid;

use super::birth::Unadopted;
use super::mounts::HostMounts;
use super::newborn::{self, Patience};
use super::receiver::Receiver;
use super::{Made, Order, Start, id_maps, listener, scheduling};
use crate::container::cgroup::Cgroup;
use crate::container::destruction::DEADLINE;
use crate::container::handshake::{Done, Link, Message};
use crate::container::process::never_executed;
use crate::container::rdt;
use crate::container::store::{Entry, GATE};
use crate::error::{Doing, Kind, Result, best_effort, errno_of, failure};
use crate::init::{Own, set_oom_score};
use crate::plan::Authority;
use crate::proc::Proc;
use crate::spec::oci::ContainerState;
use crate::sys::fs::{self, OFlag};
use crate::sys::{Call, Errno, net, process};

/// What is thought of it if nobody says anything.
#[derive(Debug, Default)]
struct Silence {
    /// Who is to speak is born among strangers, or about to be.
    of_newborn: bool,
    seconds: u64,
    patience: Patience,
}

/// The host in conversation with init.
pub(super) struct Host<'a, 'o> {
    pub(super) order: &'a mut Order<'o>,
    pub(super) proc: &'a Proc,
    pub(super) own: &'a Own,
    pub(super) cgroup: Option<&'a mut Cgroup>,
    pub(super) mounts: &'a HostMounts<'a>,
    /// Init; as long as that is to be born among strangers, the helper that makes the container.
    pub(super) pid: Pid,
    /// The same process.
    pub(super) init: Unadopted,
    pub(super) link: Link,
    pub(super) rdt: Option<&'a rdt::Tree>,
    pub(super) pid_file: Option<PathBuf>,
    pub(super) pidfd_to: Option<Receiver>,
    pub(super) terminal: Option<OwnedFd>,
    pub(super) filter: Option<&'a [u8]>,
}

impl Host<'_, '_> {
    /// Answers until init closes the link: it waits at its gate then, or has become its program.
    pub(super) fn serve(&mut self, made: &mut Made<'_>) -> Result<()> {
        if !self.order.plan.namespaces.has_strangers() {
            self.complete_cgroup()?;
        }
        self.adjust_oom_score()?;
        self.enter_rdt(made)?;
        let mut ready = false;
        let mut silence = Silence::default();
        while let Some((message, fd)) =
            self.link.receive_unless::<Message>(&mut || self.can_speak(&mut silence))?
        {
            let of_newborn = silence.of_newborn || message == Message::Expecting;
            let is_birth = matches!(message, Message::Born(_)) && !ready;
            // Whoever says so when it is not his to say has failed.
            ready |= matches!(message, Message::Ready | Message::Born(_));
            let answered = match (silence.of_newborn, fd) {
                (true, Some(pidfd)) if is_birth => self.settle(pidfd, made).map(|()| None),
                (true, _) => self.answer_newborn(message, made).map(|()| None),
                (false, fd) => self.answer(message, fd, made),
            };
            silence = Silence { of_newborn, seconds: 0, ..silence };
            let answered = answered.and_then(|fd| self.link.send(&Done, fd.as_ref().map(OwnedFd::as_fd)));
            answered.or_else(|error| Err(self.better_reason(error)?))?;
        }
        match self.init.ended()? {
            // A program may have run to its end by now; an init that waits may not.
            status @ Some(_) if !ready || self.order.start == Start::AtGate => Err(lost(status)),
            // The link ends a moment before the process.
            None if !ready => Err(lost(None)),
            _ if self.order.start == Start::AtOnce && !self.became_the_program()? => Err(never_executed()),
            _ => self.tell_the_caller(),
        }
    }

    /// What can only be done now that there is somebody in it.
    fn complete_cgroup(&mut self) -> Result<()> {
        let (plan, proc, pid) = (&self.order.plan.cgroup, self.proc, self.pid);
        self.cgroup.as_deref_mut().map_or(Ok(()), |cgroup| cgroup.complete(plan, proc, pid))
    }

    /// Whether it makes sense to wait for who has said nothing for a while.
    fn can_speak(&self, silence: &mut Silence) -> Result<bool> {
        self.cgroup.as_deref().map_or(Ok(()), Cgroup::refuse_frozen)?;
        if !silence.of_newborn {
            return Ok(true);
        }
        silence.seconds += 1;
        // What is left before the gate takes no time, and its answer may have been read by somebody else.
        if self.order.start == Start::AtGate && silence.seconds > DEADLINE.as_secs() {
            let text = format!(
                "init has been born and does not go on: somebody in its pid namespace holds process {}",
                self.pid
            );
            return Err(failure(Kind::System, text));
        }
        silence.patience.with(&self.init, self.proc)
    }

    /// An init that has gone meanwhile is why its host fails. It knows better what was wrong; unless it was killed.
    fn better_reason(&self, error: anyhow::Error) -> Result<anyhow::Error> {
        let (hung_up, ended) = (errno_of(&error) == Some(Errno::EPIPE), self.init.ended()?);
        if !hung_up && ended.is_none() {
            return Ok(error);
        }
        let said = self.link.last_words();
        Ok(said.unwrap_or_else(|| if hung_up { lost(ended) } else { error }))
    }

    /// The container is there: what the caller knows its process by.
    fn tell_the_caller(&self) -> Result<()> {
        if let Some(receiver) = &self.pidfd_to {
            // runc's word, for a container's first process.
            receiver.send(b"standard", self.init.pidfd()?)?;
        }
        self.pid_file.as_deref().map_or(Ok(()), |path| write_pid_file(path, self.pid))
    }

    /// Nobody else reaps it: so it is there, or its zombie.
    fn became_the_program(&self) -> Result<bool> {
        Ok(self.proc.process(self.pid)?.is_some_and(|(_, now)| now.executed))
    }

    /// Does what the message is for; what is answered is sent along with [`Done`].
    fn answer(
        &mut self,
        message: Message,
        fd: Option<OwnedFd>,
        made: &mut Made<'_>,
    ) -> Result<Option<OwnedFd>> {
        let done = match message {
            Message::OpenSource(number) => return self.mounts.open(number, self.own).map(Some),
            Message::MapMount(number) => self.mounts.map(number, fd),
            Message::MapIds => self.map_ids(),
            Message::RunHostHooks => made.run_hooks(self.order.plan, self.pid, &self.init),
            Message::MoveNetDevices => made.give_devices(self.order.plan, self.pid),
            Message::OfferTerminal => self.take_terminal(fd),
            Message::SetScheduling => self.set_scheduling(),
            Message::Expecting => Ok(()),
            Message::Ready => self.record(made),
            Message::OfferListener(number) => self.introduce_agent(number, made),
            Message::Failed(report) => Err(report.into()),
            Message::Born(_) | Message::Opened => Err(failure(Kind::System, "a helper's words from init")),
        };
        done.map(|()| None)
    }

    /// The helper has cloned init, and ends. From here others may speak for init: it is heard for what nobody else can
    /// have any use of, and nothing of the host is handed out any more.
    fn settle(&mut self, pidfd: OwnedFd, made: &mut Made<'_>) -> Result<()> {
        (self.pid, self.init) = newborn::child(pidfd, self.proc)?;
        self.complete_cgroup()?;
        self.set_scheduling()?;
        self.record(made)
    }

    fn answer_newborn(&self, message: Message, made: &Made<'_>) -> Result<()> {
        match message {
            Message::OfferListener(number) => self.introduce_agent(number, made),
            Message::Failed(report) => Err(report.into()),
            other => Err(failure(
                Kind::System,
                format!("{other:?} from a process that has been born among others"),
            )),
        }
    }

    /// proc_pid_oom_score_adj(5): the file of a process in a user namespace is the host's to write.
    fn adjust_oom_score(&self) -> Result<()> {
        let plan = self.order.plan;
        if plan.authority == Authority::User && plan.namespaces.needs_helper() {
            // The helper has done it, while the file was this user's.
            return Ok(());
        }
        let score = plan.process.as_ref().and_then(|process| process.oom_score_adj);
        score.map_or(Ok(()), |score| set_oom_score(self.proc, &self.pid.to_string(), score))
    }

    fn set_scheduling(&self) -> Result<()> {
        let process = self.order.plan.process.as_ref();
        process.map_or(Ok(()), |process| scheduling::set(self.pid, &process.scheduling)).doing(|| "process")
    }

    /// config-linux.md, "IntelRdt": before there is a program that could start others.
    fn enter_rdt(&self, made: &Made<'_>) -> Result<()> {
        match (self.rdt, &self.order.plan.intel_rdt, &made.record.rdt) {
            (Some(tree), Some(plan), Some(record)) => {
                tree.enter(plan, record, self.pid).doing(|| "linux.intelRdt")
            }
            _ => Ok(()),
        }
    }

    /// user_namespaces(7); and hard limits, which a process in such a namespace can't raise.
    fn map_ids(&self) -> Result<()> {
        for limit in self.order.plan.process.iter().flat_map(|process| &process.rlimits) {
            process::raise_hard_limit(self.pid, limit.resource, limit.hard).doing(|| "process.rlimits")?;
        }
        let Some(maps) = &self.order.plan.namespaces.id_maps else {
            return Ok(());
        };
        id_maps::write(self.proc, self.pid, maps)
    }

    fn take_terminal(&mut self, fd: Option<OwnedFd>) -> Result<()> {
        let master = fd.ok_or_else(|| failure(Kind::System, "init offered a terminal and sent none"))?;
        self.terminal = self.order.terminal.take(master)?;
        Ok(())
    }

    /// config-linux.md: the container is still being created.
    fn introduce_agent(&self, number: u32, made: &Made<'_>) -> Result<()> {
        let listener = self.order.plan.seccomp.as_ref().and_then(|seccomp| seccomp.listener.as_ref());
        let agent = listener.ok_or_else(|| failure(Kind::System, "init offered a listener to nobody"))?;
        let fd = listener::take(self.init.pidfd()?, number, &self.link)?;
        let state = made.record.hook_state(ContainerState::Creating, Some(self.pid.as_raw()));
        listener::send(agent, &made.record.bundle, &fd, (self.pid, state))
    }

    /// The container is there.
    fn record(&self, made: &mut Made<'_>) -> Result<()> {
        made.complete(&self.order.for_exec().to_bytes(self.filter)?, self.proc, self.pid)
    }
}

/// Somebody has ended init: `status`, if it is known yet.
fn lost(status: Option<WaitStatus>) -> anyhow::Error {
    let how = status.map(|status| format!(": {}", process::ending(status))).unwrap_or_default();
    failure(Kind::System, format!("init has ended unexpectedly{how}"))
}

/// Written beside and renamed: who waits for it reads a whole number. What is no file, such as /dev/null or a FIFO, is
/// written to: it would be gone. No newline, for callers parse the raw content.
pub(super) fn write_pid_file(path: &Path, pid: Pid) -> Result<()> {
    let content = pid.to_string();
    let stays = |stat: nix::sys::stat::FileStat| {
        matches!(fs::file_type(&stat), libc::S_IFCHR | libc::S_IFIFO | libc::S_IFBLK | libc::S_IFSOCK)
    };
    let written = match nix::sys::stat::stat(path).is_ok_and(stays) {
        true => fs::open(path, OFlag::O_WRONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY)
            .and_then(|file| fs::write_all(file, content.as_bytes()))
            .map_err(Into::into),
        false => replace_file(path, &content),
    };
    written.doing(|| format!("pid file {path:?}"))
}

fn replace_file(path: &Path, content: &str) -> Result<()> {
    let name = path.file_name().ok_or_else(|| failure(Kind::Invalid, "not a file's path"))?;
    let new = path.with_file_name(format!(".{}.{}", name.to_string_lossy(), std::process::id()));
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true).mode(0o644);
    let written = options.open(&new).and_then(|mut file| file.write_all(content.as_bytes()));
    if let Err(error) = written.and_then(|()| std::fs::rename(&new, path)) {
        best_effort("remove a half-written pid file", nix::unistd::unlink(&new));
        return Err(error.into());
    }
    Ok(())
}

/// The socket at which init will wait. Its directory is the container's, for its owner alone.
pub(super) fn gate(entry: &Entry) -> Result<OwnedFd> {
    let socket = socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC, None)
        .call(|| "socket(AF_UNIX, SOCK_SEQPACKET)")?;
    let address = net::socket_at(entry.dir(), GATE)?;
    bind(socket.as_raw_fd(), &address).call(|| format!("bind({GATE:?})"))?;
    listen(&socket.as_fd(), Backlog::new(1).call(|| "listen()")?).call(|| "listen()")?;
    Ok(socket)
}
