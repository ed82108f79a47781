//! Runs in: init, the whole of it.
//!
//! The container's side of its birth: it begins after the clone and ends in execve. It reads the plan and
//! decides nothing. What only the host can reach it has been given as descriptors, or asks for.

mod attributes;
mod copy_up;
mod devices;
mod environment;
mod exec;
mod harden;
mod identity;
mod mounts;
mod namespaces;
mod pivot;
mod program;
mod rootfs;
mod session;
mod sources;
mod terminal;

use std::convert::Infallible;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use attributes::AtExec;

use crate::container::handshake::{Done, Link, Message};
use crate::container::hooks::{self, Occasion, Output};
use crate::error::{Doing, Kind, Result, failure};
use crate::plan::{Plan, RootSwitch};
use crate::spec::oci::{ContainerState, LinuxNamespaceType};
use crate::spec::record::Record;
use crate::sys::process::BrokenPipe;
use crate::sys::{self, Call};

pub use namespaces::{join_for_child, join_inside, join_user};
pub use sources::{Own, Sources, find, mount_found};

/// What init has from the host: all of it prepared before the clone.
#[derive(Debug)]
pub struct Inherited<'a> {
    /// What to do.
    pub plan: &'a Plan,
    /// For the state that hooks read.
    pub record: &'a Record,
    /// To whoever waits for this container: the host, until it is created; then who starts it.
    pub link: Option<Link>,
    /// Where it waits for `start`.
    pub gate: Gate,
    /// What it could not open itself.
    pub sources: Sources,
    /// What hooks write to.
    pub hook_output: &'a Output,
    /// The compiled filter.
    pub filter: Option<Vec<u8>>,
    /// When it leaves the host's program file.
    pub departure: Departure,
    /// What its executable file becomes.
    pub stub: OwnedFd,
    /// The caller's umask, which the program gets unless the configuration has another.
    pub umask: u32,
    /// How many descriptors from 3 up the program gets.
    pub preserved: u32,
    /// How many of them are LISTEN_FDS, sd_listen_fds(3).
    pub listening: u32,
}

impl Inherited<'_> {
    /// Closes all that came with the clone and is the host's own: its end of the link, which would never be
    /// seen to end; the state directory, whose lock would outlive the host; the cgroup tree, /proc.
    fn close_the_hosts(&self) -> Result<()> {
        let sources = &self.sources;
        let mut kept: Vec<BorrowedFd<'_>> = vec![self.stub.as_fd()];
        if let Some(files) = &sources.files {
            kept.push(files.rootfs.as_fd());
            kept.extend(files.devices.iter().flatten().chain(&files.null).map(AsFd::as_fd));
        }
        kept.extend(sources.namespaces.iter().map(AsFd::as_fd));
        kept.extend(self.link.iter().map(Link::fd));
        kept.extend(crate::log::file().map(AsFd::as_fd));
        kept.extend(self.hook_output.fds());
        if let Gate::Socket(gate) = &self.gate {
            kept.push(gate.as_fd());
        }
        sys::process::close_all_but(3 + self.preserved, &kept).map_err(Into::into)
    }

    fn link(&self) -> Result<&Link> {
        self.link.as_ref().ok_or_else(|| failure(Kind::System, "nobody is listening"))
    }
}

/// When init leaves the host's program file, which a container must not find a way back to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Departure {
    /// First of all, with a copy of the program: somebody else may see this process, or it has to run more
    /// than system calls when it has waited.
    Early,
    /// When it begins to wait, without a copy.
    Late,
    /// There is no way back to a file of the host: all of this runs from a sealed copy.
    Sealed,
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
    if let Some(link) = &inherited.link {
        link.report(&error);
    }
    sys::process::exit_now(1)
}

/// The phases of `create` in the container, in their order; each has a reason to be where it is
/// (see the table in `lib.rs`).
fn create(given: &mut Inherited<'_>) -> Result<Infallible> {
    prepare(given)?;
    let plan = given.plan;
    namespaces::enter(given).doing(|| "namespaces")?;
    let labels = plan.process.as_ref().map(|process| AtExec::open(&process.labels)).transpose()?;
    let root = rootfs::assemble(given).doing(|| "rootfs")?;
    if plan.hooks.any_for_host_in_create() {
        given.link()?.ask(&Message::RunHostHooks, None)?;
    }
    run_hooks(given, "createContainer", ContainerState::Creating)?;
    let pty = terminal::open(plan, &root).doing(|| "terminal")?;
    pivot::into(plan, &root).doing(|| "pivot")?;
    if let Some(pty) = pty {
        terminal::attach(plan, &root, &pty, given.link()?).doing(|| "terminal")?;
    }
    harden::apply(&plan.rootfs, &root, given.sources.files()?.null.take())?;
    let mut process = environment::of(given, &root)?;
    if !plan.namespaces.has(LinuxNamespaceType::User) {
        identity::raise_limits(plan)?;
    }
    attributes::set_memory_policy(plan.memory_policy.as_ref())?;
    attributes::set_personality(plan.personality)?;
    if plan.process.as_ref().is_some_and(|process| !process.scheduling.is_none()) {
        given.link()?.ask(&Message::SetScheduling, None)?;
    }
    // Everything is there; who it runs as is left. The host writes its record meanwhile.
    given.link()?.send(&Message::Ready, None)?;
    let sets = identity::assume(given, labels.unwrap_or_default()).doing(|| "process")?;
    process.find_program()?;
    if given.link()?.receive::<Done>()?.is_none() {
        return Err(failure(Kind::System, "the host side has ended"));
    }
    // It is recorded: from here it lives on its own.
    nix::sys::prctl::set_pdeathsig(None).call(|| "prctl(PR_SET_PDEATHSIG, 0)")?;
    // What waits has nothing of the host's open that it does not need.
    drop(root);
    exec::when_started(given, sets, process)
}

/// What comes before the first namespace is looked at.
fn prepare(given: &mut Inherited<'_>) -> Result<()> {
    // If the host dies, so does a half-made container. Once this process has changed its ids that is no longer
    // so, but then the end of the link says it.
    nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL).call(|| "prctl(PR_SET_PDEATHSIG)")?;
    given.close_the_hosts()?;
    // A helper has done it already: this is then a copy of a process without a file.
    if given.departure == Departure::Early && !given.plan.namespaces.needs_helper() {
        sys::exe::detach(given.stub.as_fd()).doing(|| "leaving the host's program file")?;
    }
    sys::process::reset_signals()?;
    // A hook need not read its input.
    sys::process::on_broken_pipe(BrokenPipe::IsAnError);
    // Modes of what is made below are exact.
    given.umask = sys::process::umask(0);
    Ok(())
}

fn run_hooks(given: &Inherited<'_>, kind: &str, status: ContainerState) -> Result<()> {
    let (hooks, cwd) = match status {
        // Before the pivot the host's paths are there.
        ContainerState::Creating => (&given.plan.hooks.create_container, given.record.bundle.as_path()),
        _ => (&given.plan.hooks.start_container, Path::new("/")),
    };
    if hooks.is_empty() {
        return Ok(());
    }
    let state = given.record.hook_state(status, Some(nix::unistd::getpid().as_raw()));
    // A hook makes its files as the caller would.
    let own = sys::process::umask(given.umask);
    let on = Occasion { kind, state: &state, cwd, output: given.hook_output, stops: &[] };
    let outcome = hooks::run(on, hooks);
    sys::process::umask(own);
    outcome
}

/// Whether the container has a mount namespace that nobody else has.
fn owns_mounts(plan: &Plan) -> bool {
    plan.rootfs.switch != RootSwitch::Chroot
}
