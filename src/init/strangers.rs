//! Runs in: a helper, which makes a container whose first process is born in a pid namespace where others are already.
//!
//! Whoever is in there sees each process of it from its birth, and may take it over (CAP_SYS_PTRACE). So nothing that has
//! the host in reach is ever in it: the container is made by a helper that is not, and its first process is born last.

use std::os::fd::{AsFd, OwnedFd};

use nix::sched::{CloneFlags, setns};

use super::namespaces::shown;
use super::procfs::Context;
use super::program::{Program, if_none_is_born};
use super::{Inherited, Sources};
use crate::error::{Doing, Result};
use crate::plan::Plan;
use crate::plan::mounts::Source;
use crate::spec::oci::LinuxNamespaceType as Kind;
use crate::sys::{Call, namespace};

/// The same if it is to be joined last: as long as it is not, not even a hook is born in it. One that does not belong
/// to the container's user namespace can only be joined from outside of that.
pub(super) fn to_join_last(plan: &Plan, sources: &Sources) -> Result<Option<OwnedFd>> {
    let Some((_, pid)) = sources.joined(plan, Kind::Pid) else { return Ok(None) };
    let is_last = match sources.joined(plan, Kind::User) {
        Some((_, user)) => namespace::is_same(namespace::owner(pid.as_fd())?.as_fd(), user.as_fd())?,
        None => !plan.namespaces.makes(Kind::User),
    };
    is_last.then(|| pid.try_clone().call(|| "dup()")).transpose().map_err(Into::into)
}

/// From now on what this process clones is in it: the program, for one. `last` is what is left to be joined.
pub(super) fn join(given: &Inherited<'_>, last: Option<OwnedFd>, program: &mut Program) -> Result<()> {
    name(given).into_iter().for_each(|name| program.joins(name));
    last.map_or(Ok(()), |namespace| setns(namespace, CloneFlags::CLONE_NEWPID))
        .call(|| "setns(CLONE_NEWPID)")
        .map_err(Into::into)
}

/// The pid namespace that is joined, for messages.
fn name(given: &Inherited<'_>) -> Option<String> {
    given.sources.joined(given.plan, Kind::Pid).map(|(join, _)| shown(join))
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
