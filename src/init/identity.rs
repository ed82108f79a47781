//! Runs in: init: who it is while it makes the container, and after the pivot who the program runs as. Everything is
//! assigned, nothing is kept of what the caller had (CVE-2022-29162).

use std::os::fd::{AsFd, BorrowedFd};

use super::attributes::AtExec;
use super::{Candidate, Departure};
use crate::error::{Doing, Kind, Result, failure, unsupported};
use crate::plan::Plan;
use crate::plan::capabilities::CapabilitySets;
use crate::plan::process::ProcessPlan;
use crate::plan::user::Groups;
use crate::sys::fs;
use crate::sys::{Call, Errno, SysError, caps, process};

/// linux/magic.h, PIPEFS_MAGIC.
const PIPEFS: nix::sys::statfs::FsType = nix::sys::statfs::FsType(0x5049_5045);

/// In the container's user namespace: the ids that are to make it, which are its root's where it has one.
pub(super) fn become_first(plan: &Plan) -> Result<()> {
    let maps = plan.namespaces.id_maps.as_ref();
    become_ids(maps.map_or((0, 0), |maps| (maps.uid.first(), maps.gid.first())))
}

/// In a user namespace this process has all capabilities, and no id yet that could own a file.
pub(super) fn become_ids((uid, gid): (u32, u32)) -> Result<()> {
    let change = || -> nix::Result<()> {
        nix::unistd::setresgid(gid.into(), gid.into(), gid.into())?;
        nix::unistd::setresuid(uid.into(), uid.into(), uid.into())
    };
    match change() {
        Err(Errno::EINVAL) => {
            Err(unsupported("the joined user namespace maps no id to 0, which prepares the container"))
        }
        done => done.call(|| format!("setresuid({uid}), setresgid({gid})")).map_err(Into::into),
    }
}

/// Labels, groups, ids, capabilities, no_new_privs and the current directory. Answers what the process may
/// have of the capabilities that it is to have.
pub(super) fn assume(candidate: &Candidate<'_>, labels: AtExec) -> Result<CapabilitySets> {
    let Some(process) = candidate.process else {
        return Ok(CapabilitySets::default());
    };
    labels.set(&process.labels)?;
    let permitted = caps::permitted()?;
    let sets = available(process, permitted);
    for capability in 0..64 {
        if sets.bounding & 1 << capability == 0 {
            match caps::drop_bounding(capability) {
                // The kernel has no capability of this number, nor any above it.
                Err(error) if error.errno == Errno::EINVAL => break,
                dropped => dropped.doing(|| "capabilities.bounding")?,
            }
        }
    }
    own_pipes(process)?;
    set_groups(candidate, process)?;
    nix::unistd::setresgid(process.gid.into(), process.gid.into(), process.gid.into())
        .call(|| format!("setresgid({})", process.gid))
        .map_err(|error| explain_id(error, "user.gid"))?;
    // Else the permitted set would be emptied with the change of id; execve clears this.
    nix::sys::prctl::set_keepcaps(true).call(|| "prctl(PR_SET_KEEPCAPS)")?;
    nix::unistd::setresuid(process.uid.into(), process.uid.into(), process.uid.into())
        .call(|| format!("setresuid({})", process.uid))
        .map_err(|error| explain_id(error, "user.uid"))?;
    set_capabilities(sets, kept_for_later(candidate) & permitted)?;
    if process.no_new_privileges {
        nix::sys::prctl::set_no_new_privs().call(|| "prctl(PR_SET_NO_NEW_PRIVS)")?;
    }
    enter_directory(process)?;
    Ok(sets)
}

fn own_pipes(process: &ProcessPlan) -> Result<()> {
    if process.uid == 0 {
        return Ok(());
    }
    let (stdin, stdout, stderr) = (std::io::stdin(), std::io::stdout(), std::io::stderr());
    [stdin.as_fd(), stdout.as_fd(), stderr.as_fd()]
        .into_iter()
        .try_for_each(|fd| own_if_pipe(fd, Some(process.uid), None))
}

/// A program may open /dev/stdout anew, which for a pipe asks for its owner's rights. Nothing else is
/// touched: a file or device that the caller has redirected to stays whose it is.
pub fn own_if_pipe(fd: BorrowedFd<'_>, uid: Option<u32>, gid: Option<u32>) -> Result<()> {
    // A FIFO with a name is a file of the caller's.
    if fs::file_type(&fs::stat(fd)?) != libc::S_IFIFO || !fs::is_on(fd, PIPEFS) {
        return Ok(());
    }
    match nix::unistd::fchown(fd, uid.map(Into::into), gid.map(Into::into)) {
        // In a user namespace a pipe of the host's may be nobody's to give.
        Ok(()) | Err(Errno::EPERM | Errno::EINVAL | Errno::EROFS) => Ok(()),
        failed => failed.call(|| format!("fchown(a pipe, {uid:?}, {gid:?})")).map_err(Into::into),
    }
}

/// What the last calls need and drop: to load the filter, and to leave the program's file (prctl(2),
/// PR_SET_MM_MAP).
fn kept_for_later(candidate: &Candidate<'_>) -> u64 {
    match candidate.filter_needs_more() || candidate.departure == Departure::Late {
        true => caps::SYS_ADMIN,
        false => 0,
    }
}

/// Hard limits that are to be higher need CAP_SYS_RESOURCE, which the process may not have later on.
pub(super) fn raise_limits(process: Option<&ProcessPlan>) -> Result<()> {
    let limits = process.iter().flat_map(|process| &process.rlimits);
    limits.into_iter().try_for_each(|limit| {
        process::raise_hard_limit(nix::unistd::Pid::from_raw(0), limit.resource, limit.hard)
            .doing(|| "process.rlimits")
    })
}

/// The capability sets of a process, as far as this one can give them. config.md: the rest is a warning.
fn available(process: &ProcessPlan, permitted: u64) -> CapabilitySets {
    let granted = process.capabilities.within(permitted);
    let missing = process.capabilities.beyond(granted);
    if missing != 0 {
        let names: Vec<String> = ::caps::all()
            .into_iter()
            .filter(|c| missing & 1 << c.index() != 0)
            .map(|c| c.to_string())
            .collect();
        crate::log::warn(format_args!("ignoring unknown or unavailable capabilities: {names:?}"));
    }
    granted
}

/// The three sets of the thread and the ambient one; `kept`, which this process has, stays until the filter is
/// loaded.
fn set_capabilities(sets: CapabilitySets, kept: u64) -> Result<()> {
    caps::set(sets.effective | kept, sets.permitted | kept, sets.inheritable).doing(|| "capabilities")?;
    caps::clear_ambient()?;
    for capability in (0..64).filter(|c| sets.ambient & 1 << c != 0) {
        caps::raise_ambient(capability).doing(|| "capabilities.ambient")?;
    }
    Ok(())
}

/// In a user namespace made by an ordinary user setgroups(2) is denied: then there must be nothing to set.
fn set_groups(candidate: &Candidate<'_>, process: &ProcessPlan) -> Result<()> {
    let Groups::Are(groups) = &process.groups else {
        return Ok(());
    };
    match process::setgroups(groups) {
        Err(error) if error.errno == Errno::EPERM && groups.is_empty() && candidate.in_user_namespace => {
            Ok(())
        }
        set => set.map_err(|error| explain_id(error, "user.additionalGids")),
    }
}

fn explain_id(error: SysError, property: &str) -> anyhow::Error {
    match error.errno {
        Errno::EINVAL => failure(
            Kind::Invalid,
            format!("{property}: {error}; the container's user namespace does not map it"),
        ),
        _ => anyhow::Error::from(error).context(property.to_owned()),
    }
}

/// As the container's user, after the pivot. The kernel itself says whether it is inside (CVE-2024-21626).
fn enter_directory(process: &ProcessPlan) -> Result<()> {
    let cwd = process.cwd.seen_from_inside();
    nix::unistd::chdir(cwd).call(|| format!("chdir({cwd:?})")).doing(|| "cwd")?;
    match process::working_directory()?.starts_with(b"/") {
        true => Ok(()),
        false => Err(failure(Kind::Invalid, format!("cwd: {cwd:?} is outside of the container"))),
    }
}
