//! Runs in: init, the whole of it.
//!
//! The container's side of its birth: it begins after the clone and ends in execve. It reads the plan and
//! decides nothing. What only the host can reach it has been given as descriptors, or asks for.
//!
//! There are two scripts. [`enter`] makes a container and its first process; [`join()`] puts another process into one
//! that is there.

mod additions;
mod attributes;
mod candidate;
mod copy_up;
mod devices;
mod empty;
mod environment;
mod exec;
mod harden;
mod hooks;
mod identity;
mod join;
mod mounts;
mod namespaces;
mod pivot;
mod procfs;
mod program;
mod rootfs;
mod session;
mod sources;
mod strangers;
mod terminal;

use std::convert::Infallible;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use attributes::AtExec;

use crate::container::handshake::{Done, Link, Message};
use crate::container::hooks::Output;
use crate::error::{Doing, Kind, Result, failure};
use crate::plan::{Plan, RootSwitch};
use crate::spec::oci::LinuxNamespaceType;
use crate::spec::record::Record;
use crate::sys::{self, Call};

pub use attributes::set_oom_score;
pub use candidate::{Candidate, Departure, Filter};
pub use identity::own_if_pipe;
pub use join::{Joining, join};
pub use namespaces::{explain_new, join_as_helper};
pub use rootfs::cut_root;
pub use sources::{Own, Sources, find, mount_found};

/// What init has from the host: all of it prepared before the clone.
#[derive(Debug)]
pub struct Inherited<'a> {
    /// What to do.
    pub plan: &'a Plan,
    /// For the state that hooks read.
    pub record: &'a Record,
    /// The process itself.
    pub candidate: Candidate<'a>,
    /// Where it waits for `start`.
    pub gate: Gate,
    /// What it could not open itself.
    pub sources: Sources,
    /// What hooks write to.
    pub hook_output: &'a Output,
}

impl Inherited<'_> {
    /// What of the host's own has to stay open.
    fn kept(&self) -> Vec<BorrowedFd<'_>> {
        let sources = &self.sources;
        let mut kept: Vec<BorrowedFd<'_>> = Vec::new();
        if let Some(files) = &sources.files {
            kept.push(files.rootfs.as_fd());
            kept.extend(files.devices.iter().flatten().chain(&files.null).map(AsFd::as_fd));
        }
        kept.extend(sources.namespaces.iter().map(AsFd::as_fd).chain(sources.additions.kept()));
        kept.extend(self.hook_output.fds());
        if let Gate::Socket(gate) = &self.gate {
            kept.push(gate.as_fd());
        }
        kept
    }

    fn link(&self) -> Result<&Link> {
        self.candidate.link()
    }
}

/// What ends the wait between `create` and `start`.
#[derive(Debug)]
pub enum Gate {
    /// A listening socket: another process opens the gate.
    Socket(OwnedFd),
    /// No wait: the host is `run`, and its answer to `Ready` is the go-ahead.
    Open,
}

/// Does everything. There is no way back: it ends in execve, or here.
pub fn enter(mut inherited: Inherited<'_>) -> ! {
    let Err(error) = create(&mut inherited);
    inherited.candidate.give_up(&error)
}

/// The phases of `create` in the container, in their order; each has a reason to be where it is
/// (see the table in `lib.rs`).
fn create(given: &mut Inherited<'_>) -> Result<Infallible> {
    prepare(given)?;
    let plan = given.plan;
    let mut pid_join = namespaces::enter(given).doing(|| "namespaces")?;
    let labels = plan.process.as_ref().map(|process| AtExec::open(&process.labels)).transpose()?;
    let root = rootfs::assemble(given).doing(|| "rootfs")?;
    if plan.hooks.any_for_host_in_create() {
        given.link()?.ask(&Message::RunHostHooks, None)?;
    }
    pid_join.run_hooks(given)?;
    let pty = terminal::open(plan, &root).doing(|| "terminal")?;
    pivot::into(plan, &root).doing(|| "pivot")?;
    if let Some(pty) = pty {
        terminal::attach(plan, &root, &pty, given.link()?).doing(|| "terminal")?;
    }
    harden::apply(&plan.rootfs, &root, given.sources.files()?.null.take())?;
    let mut program = environment::of(&given.candidate, &root.root)?;
    program.tell_listening(given.candidate.listening);
    if !plan.namespaces.has(LinuxNamespaceType::User) {
        identity::raise_limits(plan.process.as_ref())?;
    }
    attributes::set_memory_policy(plan.memory_policy.as_ref())?;
    attributes::set_personality(plan.personality)?;
    if plan.namespaces.has_strangers() {
        // Who is born among them last has what this process has; the host does the rest of its part for that one.
        given.link()?.ask(&Message::Expecting, None)?;
        pid_join.finish(given, &mut program).doing(|| "namespaces")?;
    } else {
        say_ready(given)?;
    }
    let sets = identity::assume(&given.candidate, labels.unwrap_or_default()).doing(|| "process")?;
    program.find_program()?;
    if !plan.namespaces.has_strangers() {
        be_recorded(given)?;
    }
    // What waits has nothing of the host's open that it does not need.
    drop(root);
    exec::when_started(given, sets, program)
}

/// Everything is there; who it runs as is left. The host writes its record meanwhile.
fn say_ready(given: &Inherited<'_>) -> Result<()> {
    if given.plan.process.as_ref().is_some_and(|process| !process.scheduling.is_none()) {
        given.link()?.ask(&Message::SetScheduling, None)?;
    }
    given.link()?.send(&Message::Ready, None)
}

/// It is: from here it lives on its own.
fn be_recorded(given: &Inherited<'_>) -> Result<()> {
    if given.link()?.receive::<Done>()?.is_none() {
        return Err(failure(Kind::System, "the host side has ended"));
    }
    nix::sys::prctl::set_pdeathsig(None).call(|| "prctl(PR_SET_PDEATHSIG, 0)").map_err(Into::into)
}

/// What comes before the first namespace is looked at.
fn prepare(given: &mut Inherited<'_>) -> Result<()> {
    given.candidate.begin(&given.kept())?;
    // A helper has done it already: this is then a copy of a process without a file.
    if !given.plan.namespaces.needs_helper() {
        given.candidate.leave_file_early()?;
    }
    // Modes of what is made below are exact.
    given.candidate.umask = sys::process::umask(0);
    Ok(())
}

/// Whether the container has a mount namespace that nobody else has.
fn owns_mounts(plan: &Plan) -> bool {
    plan.rootfs.switch != RootSwitch::Chroot
}
