//! Runs in: a helper, which makes a container whose first process is born in a pid namespace where others are already.
//!
//! Whoever is in there sees each process of it from its birth, and may take it over (CAP_SYS_PTRACE). So nothing that has
//! the host in reach is ever in it: the container is made by a helper that is not, and its first process is born last.

use std::os::fd::{AsFd, OwnedFd};

use nix::sched::{CloneFlags, setns};

use super::Inherited;
use super::hooks::{self, Outsider};
use super::procfs::Context;
use super::program::{Program, if_none_is_born};
use crate::error::{Doing, Result};
use crate::plan::mounts::Source;
use crate::spec::oci::LinuxNamespaceType as Kind;
use crate::sys::{Call, namespace};

/// When the pid namespace that the configuration names is entered, if it names one.
#[derive(Debug, Default)]
pub(super) enum PidJoin {
    /// It names none.
    #[default]
    None,
    /// This one, when all is made: what has the host in reach stays out of it.
    Last(OwnedFd),
    /// With the user namespace, so first of all, and what this process clones since then is born in it. Hooks that have
    /// the host in reach are run by a process that was cloned before.
    First(Option<Outsider>),
}

impl PidJoin {
    /// Before the first namespace is joined. A pid namespace that does not belong to the container's user namespace can
    /// only be joined from outside of that, and with that one.
    pub(super) fn plan(given: &Inherited<'_>) -> Result<Self> {
        let (plan, sources) = (given.plan, &given.sources);
        let Some((_, pid)) = sources.joined(plan, Kind::Pid) else { return Ok(Self::None) };
        let can_be_last = match sources.joined(plan, Kind::User) {
            Some((_, user)) => namespace::is_same(namespace::owner(pid.as_fd())?.as_fd(), user.as_fd())?,
            None => !plan.namespaces.makes(Kind::User),
        };
        match can_be_last {
            true => Ok(Self::Last(pid.try_clone().call(|| "dup()")?)),
            false => Outsider::begin(given).map(Self::First),
        }
    }

    /// The createContainer hooks: as long as the host's mounts are their root, they are not among strangers either.
    pub(super) fn run_hooks(&mut self, given: &Inherited<'_>) -> Result<()> {
        match self {
            Self::First(outsider) => outsider.take().map_or(Ok(()), Outsider::run),
            Self::None | Self::Last(_) => hooks::run_create_container(given),
        }
    }

    /// All is made: from now on what this process clones is in it, the program for one.
    pub(super) fn finish(self, given: &Inherited<'_>, program: &mut Program) -> Result<()> {
        name(given).into_iter().for_each(|name| program.joins(name));
        match self {
            Self::Last(pid) => setns(pid, CloneFlags::CLONE_NEWPID).call(|| "setns(CLONE_NEWPID)")?,
            Self::None | Self::First(_) => {}
        }
        Ok(())
    }
}

/// The pid namespace that is joined, for messages.
fn name(given: &Inherited<'_>) -> Option<String> {
    given.sources.joined(given.plan, Kind::Pid).map(|(join, _)| join.to_string())
}

/// For each mount that is a procfs of the pid namespace that is joined, its context: a procfs shows the pid namespace of
/// who opens that, and nobody who makes the container is in it.
pub(super) fn find_procs(given: &mut Inherited<'_>, theirs: &OwnedFd) -> Result<()> {
    let plan = given.plan;
    let hints = name(given).iter().map(|name| if_none_is_born(name)).collect();
    let files = given.sources.files()?;
    for (step, found) in plan.rootfs.mounts.iter().zip(&mut files.found) {
        if matches!(&step.source, Source::Fresh(fresh) if fresh.fstype == "proc") {
            let context = Context::of(theirs, &hints).doing(|| step.to_string())?;
            files.is_suspect |= !context.is_own;
            *found = Some(context.fs);
        }
    }
    Ok(())
}
