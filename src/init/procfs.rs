//! Runs in: a helper that makes a container; `open_within` in a process that it clones, and at the end in a sibling of
//! that.
//!
//! A procfs of a pid namespace that this process is not in, nor ever will be. Since Linux 6.18 one can be asked for.
//! Before, it is that of who opens its context, and somebody has to be in there for that: a process that has nothing of
//! the host, no file system to speak of, and a filter that lets it do nothing else.

use std::convert::Infallible;
use std::os::fd::{AsFd, OwnedFd};

use nix::sched::{CloneFlags, setns};
use nix::sys::statfs::PROC_SUPER_MAGIC;
use nix::unistd::Pid;

use super::empty;
use crate::container::handshake::{Hints, Link, Message, Report};
use crate::error::{Kind, Result, best_effort, failure};
use crate::plan::seccomp;
use crate::proc::Proc;
use crate::sys::fs;
use crate::sys::last_calls::{self, LastCalls};
use crate::sys::mount::{self, MountAttr};
use crate::sys::process::{self, SIBLING, Side, clone3, exit_now};
use crate::sys::{Call, Errno, SysError, caps, exe};

/// A context in which a procfs of a pid namespace is configured.
#[derive(Debug)]
pub(super) struct Context {
    pub(super) fs: OwnedFd,
    /// By this process, and not by one that others may speak for.
    pub(super) is_own: bool,
}

impl Context {
    /// `hints` are for who can't be born in there.
    pub(super) fn of(theirs: &OwnedFd, hints: &Hints) -> Result<Self> {
        let own = mount::fsopen("proc")?;
        match mount::fsconfig_fd(own.as_fd(), "pidns", theirs.as_fd()) {
            Ok(()) => Ok(Self { fs: own, is_own: true }),
            // The kernel does not know the parameter.
            Err(error) if error.errno == Errno::EINVAL => {
                Ok(Self { fs: from_within(theirs, hints)?, is_own: false })
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// What has been made of a context that was opened in there: somebody else may have sent another one.
pub(super) fn checked(made: OwnedFd, theirs: &OwnedFd) -> Result<OwnedFd> {
    let is_proc = fs::is_on(&made, PROC_SUPER_MAGIC);
    let proc = Proc::detached(made);
    match is_proc && proc.namespace(Pid::from_raw(1), "pid")? == fs::stat(theirs)?.st_ino {
        true => Ok(proc.into_fd()),
        false => Err(failure(Kind::System, "what was sent from the joined pid namespace is not its procfs")),
    }
}

fn from_within(theirs: &OwnedFd, hints: &Hints) -> Result<OwnedFd> {
    let (link, other_end) = Link::pair()?;
    let (stub, root) = (last_calls::stub()?, empty::directory()?);
    match clone3(CloneFlags::CLONE_NEWNS.bits().unsigned_abs().into(), None)? {
        Side::Init => {
            let Err(error) = open_within((theirs, hints), &stub, &root, &other_end);
            other_end.report(&error);
            exit_now(1)
        }
        Side::Host(_, helper) => {
            drop(other_end);
            let mut opener = None;
            let context = hear(&link, &mut opener);
            // It is nobody's to hold; its sibling is somebody's.
            best_effort("reap who has cloned the opener", process::reap(helper.as_fd()));
            opener.iter().for_each(|opener| best_effort("end the opener of a procfs", end(opener)));
            context
        }
    }
}

/// What is sent, and by whom: in any order.
fn hear(link: &Link, opener: &mut Option<OwnedFd>) -> Result<OwnedFd> {
    const MOST_SILENCE: u32 = 10;
    link.end_silence()?;
    let mut context = None;
    let mut seconds = 0;
    let mut can_speak = || {
        seconds += 1;
        Ok(seconds < MOST_SILENCE)
    };
    while opener.is_none() || context.is_none() {
        match link.receive_unless::<Message>(&mut can_speak)? {
            Some((Message::Born(_), Some(pidfd))) if opener.is_none() => {
                process::is_child(pidfd.as_fd())?;
                *opener = Some(pidfd);
            }
            Some((Message::Opened, Some(fd))) if context.is_none() => context = Some(fd),
            Some((Message::Failed(report), _)) => return Err(report.into()),
            _ => {
                let text = "the process that opens a procfs of the joined pid namespace has ended, or somebody there holds it";
                return Err(failure(Kind::System, text));
            }
        }
    }
    context.ok_or_else(|| failure(Kind::System, "no context"))
}

/// Who traces it may keep it a zombie.
fn end(opener: &OwnedFd) -> Result<(), SysError> {
    process::pidfd_signal(opener.as_fd(), libc::SIGKILL)?;
    match process::how_it_ended(opener.as_fd())? {
        Some(_) => process::reap(opener.as_fd()).map(drop),
        None => Ok(()),
    }
}

fn open_within(
    (theirs, hints): (&OwnedFd, &Hints),
    stub: &OwnedFd,
    root: &OwnedFd,
    link: &Link,
) -> Result<Infallible> {
    nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL).call(|| "prctl(PR_SET_PDEATHSIG)")?;
    // Nothing of the host: no file system, no program, no descriptor.
    mount::set_attr_everywhere(&MountAttr { propagation: libc::MS_PRIVATE, ..MountAttr::default() })?;
    mount::attach_on_cwd(root.as_fd())?;
    nix::unistd::fchdir(root).call(|| "fchdir(an empty directory)")?;
    mount::pivot_root_to_cwd()?;
    mount::detach_cwd()?;
    nix::unistd::chdir("/").call(|| r#"chdir("/")"#)?;
    setns(theirs, CloneFlags::CLONE_NEWPID).call(|| "setns(CLONE_NEWPID)")?;
    if exe::can_detach() {
        exe::detach(stub.as_fd())?;
    }
    crate::log::leave_file();
    process::close_all_but(3, &[link.fd()])?;
    caps::clear_ambient()?;
    caps::set(caps::SYS_ADMIN, caps::SYS_ADMIN, 0)?;
    confine()?;
    match clone3(SIBLING, None).map_err(|error| Report::of(error, hints))? {
        Side::Host(pid, pidfd) => link.send(&Message::Born(pid.as_raw()), Some(pidfd.as_fd()))?,
        Side::Init => link.send(&Message::Opened, Some(mount::fsopen("proc")?.as_fd()))?,
    }
    exit_now(0)
}

/// What is left to do, and memory for it: what a tracer could have it do is no more than that.
fn confine() -> Result<()> {
    const CALLS: [libc::c_long; 9] = [
        libc::SYS_clone3,
        libc::SYS_fsopen,
        libc::SYS_sendmsg,
        libc::SYS_exit_group,
        libc::SYS_close,
        libc::SYS_brk,
        libc::SYS_mmap,
        libc::SYS_munmap,
        libc::SYS_mremap,
    ];
    let numbers: Vec<u32> = CALLS.iter().filter_map(|number| u32::try_from(*number).ok()).collect();
    let Some(filter) = seccomp::only(&numbers) else { return Ok(()) };
    let mut calls = LastCalls::default();
    calls.load_filter(&filter, 0)?;
    calls.then_gate();
    calls.begin().map_err(Into::into)
}
