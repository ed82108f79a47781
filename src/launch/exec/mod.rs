//! Runs in: host. The host's side of `exec`: a helper in the container's cgroup joins its namespaces and clones the
//! process, see [`crate::init::join`]; the host answers both until the process has become its program.
//!
//! No lock of the container is held: other verbs go on, and what they do to it is seen. Before the process goes on to its
//! program, the host has been told of it, and is there; if the container's own has ended by then, the host ends it, unless
//! its program runs already. And who ends the container kills what is in its cgroup until there is nobody.

mod birth;
mod serve;

use std::os::fd::OwnedFd;
use std::path::Path;

use nix::unistd::Pid;

use super::console::Terminal;
use super::foreground::Signals;
use super::receiver::Receiver;
use crate::container::process::Alive;
use crate::container::status::{Status, cannot_exec};
use crate::error::Result;
use crate::plan::exec::ExecPlan;
use crate::proc::Proc;
use crate::spec::record::Record;

use serve::Host;

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
    let cgroup = birth::cgroup(&order)?;
    let birth = order.birth();
    let (link, helper) =
        birth::clone_helper(&order, birth, cgroup.as_ref(), &proc).map_err(|error| order.explained(error))?;
    let mut host = Host::new(&order, &proc, cgroup.as_ref(), link, birth);
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
}
