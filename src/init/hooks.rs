//! Runs in: init, or the helper that makes the container; `outside` in a process that this clones.
//!
//! Hooks in the container's namespaces: config.md, "POSIX-platform Hooks".

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::unistd::{Pid, getpid};

use super::identity::become_first;
use super::{Inherited, session};
use crate::container::handshake::{Done, Go, Link, Report};
use crate::container::hooks::{self, Occasion};
use crate::error::{Kind, Result, best_effort, failure};
use crate::plan::namespaces::bit;
use crate::spec::oci::{ContainerState, Hook, LinuxNamespaceType};
use crate::sys::process::{self, Side, clone3, exit_now, pidfd_open};
use crate::sys::{Call, namespace};

/// createContainer, before the pivot: the host's paths are there.
pub(super) fn run_create_container(given: &Inherited<'_>) -> Result<()> {
    run_create_container_of(None, given)
}

fn run_create_container_of(process: Option<Pid>, given: &Inherited<'_>) -> Result<()> {
    let hooks = &given.plan.hooks.create_container;
    run(given, hooks, ("createContainer", ContainerState::Creating, process), &given.record.bundle)
}

/// startContainer, at the end, in the container's own root.
pub(super) fn run_start_container(given: &Inherited<'_>) -> Result<()> {
    let hooks = &given.plan.hooks.start_container;
    run(given, hooks, ("startContainer", ContainerState::Created, None), Path::new("/"))
}

/// `process` is whose pid they are told: this one's, unless another one is given.
fn run(
    given: &Inherited<'_>,
    hooks: &[Hook],
    (kind, status, process): (&str, ContainerState, Option<Pid>),
    cwd: &Path,
) -> Result<()> {
    if hooks.is_empty() {
        return Ok(());
    }
    let pid = process.unwrap_or_else(getpid).as_raw();
    let state = given.record.hook_state(status, Some(pid));
    // A hook makes its files as the caller would.
    let own = process::umask(given.candidate.umask);
    let on = Occasion { kind, state: &state, cwd, output: given.hook_output, stops: &[] };
    let outcome = hooks::run(on, hooks);
    process::umask(own);
    outcome
}

/// A process that runs createContainer hooks, and whose children are not born in a pid namespace that the helper has to
/// join before these can run: they have the host's mounts as their root.
#[derive(Debug)]
pub(super) struct Outsider {
    link: Link,
    process: OwnedFd,
}

/// What it answers.
type Outcome = std::result::Result<Done, Report>;

impl Outsider {
    /// Clones it, if there is any hook to run.
    pub(super) fn begin(given: &Inherited<'_>) -> Result<Option<Self>> {
        if given.plan.hooks.create_container.is_empty() {
            return Ok(None);
        }
        let pid = getpid();
        let (helper, (link, other_end)) = (pidfd_open(pid)?, Link::pair()?);
        match clone3(0, None)? {
            Side::Init => {
                let outcome = outside(given, (pid, &helper), &other_end);
                exit_now(i32::from(outcome.is_err()))
            }
            Side::Host(_, process) => Ok(Some(Self { link, process })),
        }
    }

    /// Has it run them, where this process is but for the pid namespace.
    pub(super) fn run(self) -> Result<()> {
        self.link.send(&Go, None)?;
        let outcome = self.link.receive::<Outcome>()?;
        best_effort("reap who has run the hooks", process::reap(self.process.as_fd()));
        match outcome {
            Some(Ok(Done)) => Ok(()),
            Some(Err(report)) => Err(report.into()),
            None => Err(failure(Kind::System, "the process that runs createContainer hooks has ended")),
        }
    }
}

/// Waits for the word, and answers what has come of the hooks.
fn outside(given: &Inherited<'_>, helper: (Pid, &OwnedFd), link: &Link) -> Result<()> {
    nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL).call(|| "prctl(PR_SET_PDEATHSIG)")?;
    // Nor does it hold open what others are to see the end of.
    let kept = [link.fd(), helper.1.as_fd()].into_iter().chain(given.hook_output.fds());
    process::close_all_but(3, &kept.chain(crate::log::file().map(AsFd::as_fd)).collect::<Vec<_>>())?;
    // The caller's terminal is not for hooks.
    nix::unistd::setsid().call(|| "setsid()")?;
    if link.receive::<Go>()?.is_none() {
        return Ok(());
    }
    let outcome: Outcome = follow_and_run(given, helper).map(|()| Done).map_err(|error| Report::from(&error));
    link.send(&outcome, None)
}

fn follow_and_run(given: &Inherited<'_>, (pid, helper): (Pid, &OwnedFd)) -> Result<()> {
    let plan = given.plan;
    namespace::join_all(helper.as_fd(), plan.namespaces.all() & !bit(LinuxNamespaceType::Pid))?;
    become_first(plan)?;
    plan.keyring.as_deref().map_or(Ok(()), session::join_keyring)?;
    run_create_container_of(Some(pid), given)
}
