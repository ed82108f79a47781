//! Runs in: a helper, which is a process of the host and joins the container's namespaces; at the end in a sibling of
//! it, which `exec` starts there.
//!
//! In the container's pid namespace there is never a process with a page, a descriptor or a file of the host: the
//! helper is not in it, and clones the one that is when it has left all of these behind (CVE-2016-9962, CVE-2019-5736).
//! Nor can the helper be traced where it is.

use std::convert::Infallible;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::sys::statfs::FsType;

use super::attributes::{self, AtExec};
use super::terminal::Pty;
use super::{Candidate, environment, exec, identity, session};
use crate::container::handshake::Done;
use crate::error::{Doing, Kind, Result, failure, unsupported};
use crate::plan::exec::ExecPlan;
use crate::proc::Proc;
use crate::rootpath::{InRootfs, Rootfs};
use crate::sys::fs::{self, OFlag};
use crate::sys::last_calls::Birth;
use crate::sys::{self, Call, Errno, SysError};

/// linux/magic.h, DEVPTS_SUPER_MAGIC.
const DEVPTS: FsType = FsType(0x1cd1);

/// What the helper has from the host.
#[derive(Debug)]
pub struct Joining<'a> {
    /// What to do.
    pub plan: &'a ExecPlan,
    /// The process that is to be.
    pub candidate: Candidate<'a>,
    /// The container's process: its namespaces are joined.
    pub init: BorrowedFd<'a>,
    /// That process's root, where it is not that of its mount namespace.
    pub root: Option<OwnedFd>,
    /// Whether the host says when this process is in its cgroup.
    pub is_moved: bool,
    /// How the process is sure that the host knows of it.
    pub birth: Birth,
}

/// Does everything. There is no way back: it ends in execve, or here.
pub fn join(mut given: Joining<'_>) -> ! {
    let Err(error) = into_container(&mut given);
    given.candidate.give_up(&error)
}

/// The phases of `exec` in the container, in their order (see the table in `lib.rs`).
fn into_container(given: &mut Joining<'_>) -> Result<Infallible> {
    let plan = given.plan;
    given.candidate.begin(
        &[Some(given.init), given.root.as_ref().map(AsFd::as_fd)].into_iter().flatten().collect::<Vec<_>>(),
    )?;
    given.candidate.umask = sys::process::umask(0);
    if given.is_moved && given.candidate.link()?.receive::<Done>()?.is_none() {
        return Err(failure(Kind::System, "the host side has ended"));
    }
    let labels = as_host(plan)?;
    enter(given).doing(|| "namespaces")?;
    let root = Rootfs::new(fs::open("/", OFlag::O_PATH | OFlag::O_DIRECTORY)?);
    if plan.process.terminal.is_some() {
        attach_terminal(given, &root).doing(|| "terminal")?;
    }
    let mut program = environment::of(&given.candidate, &root)?;
    attributes::set_memory_policy(plan.memory_policy.as_ref())?;
    attributes::set_personality(plan.personality)?;
    let sets = identity::assume(&given.candidate, labels).doing(|| "process")?;
    program.find_program()?;
    drop(root);
    exec::as_sibling(&mut given.candidate, given.birth, sets, program)
}

/// What takes the host's privileges, or its /proc.
fn as_host(plan: &ExecPlan) -> Result<AtExec> {
    if let Some(score) = plan.process.oom_score_adj {
        attributes::set_oom_score(&Proc::open()?, "self", score)?;
    }
    identity::raise_limits(Some(&plan.process))?;
    AtExec::open(&plan.process.labels)
}

/// All namespaces at once: the rights to each are still those of the host.
fn enter(given: &Joining<'_>) -> Result<()> {
    let plan = given.plan;
    if plan.authority.has_capabilities() {
        given.candidate.leave_file_early()?;
    }
    // From here on it can be seen by who shares a namespace with it; execve ends this.
    nix::sys::prctl::set_dumpable(false).call(|| "prctl(PR_SET_DUMPABLE, 0)")?;
    if plan.namespaces != 0 {
        sys::namespace::join_all(given.init, plan.namespaces).map_err(explained)?;
    }
    if !plan.authority.has_capabilities() {
        // To leave takes a privilege that it has in here only.
        given.candidate.leave_file_early()?;
    }
    if let Some(root) = &given.root {
        nix::unistd::fchdir(root).call(|| "fchdir(the container's root)")?;
        nix::unistd::chroot(".").call(|| "chroot(the container's root)")?;
    }
    if let Some(ids) = plan.first_ids {
        identity::become_ids(ids)?;
    }
    plan.keyring.as_deref().map_or(Ok(()), session::join_keyring)
}

/// setns(2).
fn explained(error: SysError) -> anyhow::Error {
    match error.errno {
        Errno::ESRCH => {
            let text = format!(
                "{error}; the container's process has ended, or its first thread has, by which they are joined"
            );
            failure(Kind::InvalidState, text)
        }
        _ => error.into(),
    }
}

/// A pty of the container's own devpts. What the container has at that place is only believed to be one if the kernel
/// says so.
fn attach_terminal(given: &Joining<'_>, root: &Rootfs) -> Result<()> {
    let at = InRootfs::new(Path::new("/dev/pts"))?;
    let none = || unsupported("the container has no devpts at /dev/pts");
    let devpts = root.find(&at)?.filter(|found| fs::is_on(found, DEVPTS)).ok_or_else(none)?;
    let pty = Pty::of(&devpts)?;
    pty.prepare(Some(&given.plan.process))?;
    pty.offer(given.candidate.link()?)?;
    pty.take_place()
}
