//! `exec ID`: runc's, not the specification's. Another process in a container that is there.

use std::os::fd::AsFd;
use std::path::PathBuf;

use super::create::{Foreground, terminal};
use super::{Current, Runtime};
use crate::container::id::ContainerId;
use crate::container::status::{Status, Verb, cannot_exec};
use crate::error::{Doing, Kind, Result, failure};
use crate::launch::exec::{self, ExecOrder, Executed, IfPaused};
use crate::launch::facts;
use crate::launch::foreground::{Signals, attend};
use crate::plan::exec::{Asked, compile, process};
use crate::spec::for_exec::ForExec;

/// What `exec` is asked for.
#[derive(Clone, Debug)]
pub struct Execution {
    /// The container.
    pub id: ContainerId,
    /// The process.
    pub asked: Asked,
    /// `--console-socket`
    pub console_socket: Option<PathBuf>,
    /// `--pid-file`
    pub pid_file: Option<PathBuf>,
    /// `--pidfd-socket`
    pub pidfd_socket: Option<PathBuf>,
    /// `--cgroup`: below the container's, relative to it.
    pub cgroup: Option<PathBuf>,
    /// `--ignore-paused`
    pub if_paused: IfPaused,
    /// How many descriptors from 3 up are LISTEN_FDS, sd_listen_fds(3).
    pub listen_fds: u32,
    /// `--preserve-fds`: so many more after them.
    pub preserve_fds: u32,
}

/// Whether the caller waits for the end of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attendance {
    /// Until it ends.
    Foreground,
    /// Until it runs: `--detach`.
    Detached,
}

/// Starts the process, and answers its exit code, or 0 if it is detached.
pub fn exec(runtime: &Runtime, execution: &Execution, attendance: Attendance) -> Result<u8> {
    super::be_able_to_leave()?;
    if attendance == Attendance::Detached {
        return start(runtime, execution, None).map(|_| 0);
    }
    let signals = Signals::hold()?;
    let Executed { pid, pidfd, terminal } = start(runtime, execution, Some(&signals))?;
    attend((pid, pidfd.as_fd()), &signals, terminal, None)
}

fn start(runtime: &Runtime, execution: &Execution, signals: Option<&Signals>) -> Result<Executed> {
    let id = &execution.id;
    let view = runtime.store.view(id)?;
    let record = view.record()?;
    let current = Current::of(record.as_ref(), view.has_gate()?)?;
    let admitted = current.status.admits(Verb::Exec)
        || (current.status == Status::Paused && execution.if_paused == IfPaused::Wait);
    let (true, Some(record), Some(init)) = (admitted, record, current.alive) else {
        return Err(cannot_exec(id.as_str(), current.status));
    };
    let bytes = view.for_exec()?.ok_or_else(|| {
        let text = format!("container {id} was made by a version that has no exec: make it again");
        failure(Kind::Unsupported, text)
    })?;
    let (kept, filter) = ForExec::parse(&bytes).doing(|| format!("container {id}"))?;
    let process = process(&kept, &execution.asked)?;
    let plan = compile(&kept, &execution.asked, &process, facts::of_process(Some(&process))?)?;
    let foreground = if signals.is_some() { Foreground::Yes } else { Foreground::No };
    let wanted = plan.process.terminal.is_some();
    exec::exec(ExecOrder {
        record: &record,
        init: &init,
        plan: &plan,
        filter,
        terminal: terminal(wanted, execution.console_socket.as_deref(), foreground)?,
        pid_file: execution.pid_file.as_deref(),
        pidfd_socket: execution.pidfd_socket.as_deref(),
        cgroup: execution.cgroup.as_deref(),
        if_paused: execution.if_paused,
        signals,
        listen_fds: execution.listen_fds,
        preserve_fds: execution.preserve_fds,
    })
}
