//! Runs in: init, before the rootfs; and `join_for_child` in the helper.

use std::os::fd::{AsFd, OwnedFd};

use nix::sched::{CloneFlags, setns, unshare};

use super::{Inherited, session};
use crate::container::handshake::Message;
use crate::error::{Doing, Result, errno_of, unsupported};
use crate::plan::Plan;
use crate::plan::namespaces::{Join, bit};
use crate::proc::Proc;
use crate::spec::oci::LinuxNamespaceType as Kind;
use crate::sys::{self, Call, Errno, SysError};

/// Joins what is to be joined, and makes the new ones what the configuration says.
pub(super) fn enter(given: &mut Inherited<'_>) -> Result<()> {
    let plan = given.plan;
    let namespaces = &plan.namespaces;
    if namespaces.id_maps.is_some() {
        given.link()?.ask(&Message::MapIds, None)?;
    }
    if !namespaces.needs_helper() {
        join_all(&namespaces.join, &given.sources.namespaces)?;
    }
    if namespaces.joins(Kind::Mount) {
        // Its root is the current directory now; in a new one it is still the rootfs.
        nix::unistd::chdir(&plan.rootfs.path)
            .call(|| format!("chdir({:?}) in the joined mount namespace", plan.rootfs.path))?;
    }
    // As long as this process has the caller's ids: what it opens is what the caller may, and its own files in
    // /proc still belong to it.
    given.sources.open_late(plan)?;
    offset_clocks(plan)?;
    if namespaces.has(Kind::User) {
        become_first(plan)?;
    }
    name_host(plan)?;
    if namespaces.makes(Kind::Network) {
        sys::net::loopback_up()?;
    }
    if !plan.net_devices.is_empty() {
        // Before the sysctls, which may be about them.
        given.link()?.ask(&Message::MoveNetDevices, None)?;
    }
    if namespaces.makes(Kind::Cgroup) {
        // Its root is the cgroup of the process that makes it: so not with the clone, but here, inside.
        unshare(CloneFlags::CLONE_NEWCGROUP).call(|| "unshare(CLONE_NEWCGROUP)")?;
    }
    if plan.sysctls_by.is_none() && !plan.sysctls.is_empty() {
        // Before the first mount: /proc is still the host's, which the container can't have prepared.
        set_sysctls(plan, &Proc::open()?)?;
    }
    session::begin(plan)
}

/// Joins for a process that is cloned next. Namespaces of the host need the host's privilege, those of a
/// joined user namespace that namespace's: so first all that is possible, then the user namespace, then
/// the rest.
pub fn join_for_child(plan: &Plan, fds: &[OwnedFd]) -> Result<()> {
    let mut rest = Vec::new();
    for (join, fd) in others(plan, fds) {
        match set(fd, join) {
            Err(error) if error.errno == Errno::EPERM => rest.push((join, fd)),
            joined => joined.doing(|| shown(join))?,
        }
    }
    join_user(plan, fds)?;
    join_rest(rest.into_iter())
}

/// The same for an ordinary user, who can join nothing before the user namespace: see [`join_user`].
pub fn join_inside(plan: &Plan, fds: &[OwnedFd]) -> Result<()> {
    join_rest(others(plan, fds))
}

/// The user namespace alone.
pub fn join_user(plan: &Plan, fds: &[OwnedFd]) -> Result<()> {
    let user = bit(Kind::User);
    match plan.namespaces.join.iter().zip(fds).find(|(join, _)| join.kind == user) {
        Some((join, fd)) => set(fd, join).map_err(explain).doing(|| shown(join)),
        None => Ok(()),
    }
}

fn others<'p>(plan: &'p Plan, fds: &'p [OwnedFd]) -> impl Iterator<Item = (&'p Join, &'p OwnedFd)> {
    plan.namespaces.join.iter().zip(fds).filter(|(join, _)| join.kind != bit(Kind::User))
}

fn join_rest<'p>(mut rest: impl Iterator<Item = (&'p Join, &'p OwnedFd)>) -> Result<()> {
    rest.try_for_each(|(join, fd)| set(fd, join).map_err(explain).doing(|| shown(join)))
}

fn explain(error: SysError) -> SysError {
    let hint = match error.errno {
        Errno::EPERM => "; it belongs to a user namespace in which this process has no rights",
        _ => "",
    };
    SysError { call: format!("{}{hint}", error.call), ..error }
}

fn join_all(joins: &[Join], fds: &[OwnedFd]) -> Result<()> {
    joins.iter().zip(fds).try_for_each(|(join, fd)| set(fd, join).map_err(explain).doing(|| shown(join)))
}

fn shown(join: &Join) -> String {
    format!("linux.namespaces[{}] {}", join.index, join.path.display())
}

fn set(fd: &OwnedFd, join: &Join) -> Result<(), SysError> {
    // The kernel compares the type.
    #[expect(clippy::cast_possible_truncation, reason = "CLONE_NEW* bits are ints")]
    let kind = CloneFlags::from_bits_truncate(join.kind as libc::c_int);
    setns(fd.as_fd(), kind).call(|| format!("setns({kind:?})"))
}

fn become_first(plan: &Plan) -> Result<()> {
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

/// time_namespaces(7): offsets can be set until a process is in it; this one is only its maker. Joining
/// afterwards makes execve need not do it.
fn offset_clocks(plan: &Plan) -> Result<()> {
    let Some(offsets) = &plan.namespaces.time_offsets else {
        return Ok(());
    };
    let time = CloneFlags::from_bits_retain(0x80);
    unshare(time).call(|| "unshare(CLONE_NEWTIME)")?;
    let proc = Proc::open()?;
    let written = proc.write("self/timens_offsets", offsets.as_bytes());
    match written.as_ref().err().and_then(errno_of) {
        Some(Errno::ERANGE) => written
            .doing(|| "linux.timeOffsets: a clock would be negative, or later than the kernel can count"),
        _ => written.doing(|| "linux.timeOffsets"),
    }?;
    let made = sys::fs::open("/proc/self/ns/time_for_children", sys::fs::OFlag::O_RDONLY)?;
    setns(made, time).call(|| "setns(CLONE_NEWTIME)").map_err(Into::into)
}

fn name_host(plan: &Plan) -> Result<()> {
    if let Some(name) = &plan.hostname {
        nix::unistd::sethostname(name).call(|| format!("sethostname({name:?})"))?;
    }
    if let Some(name) = &plan.domainname {
        sys::process::set_domain_name(name)?;
    }
    Ok(())
}

/// What a sysctl of a namespace changes is decided by who writes it, not by whose procfs it is.
pub(super) fn set_sysctls(plan: &Plan, proc: &Proc) -> Result<()> {
    plan.sysctls.iter().try_for_each(|sysctl| {
        proc.write(&sysctl.path, sysctl.value.as_bytes()).doing(|| format!("linux.sysctl {}", sysctl.key))
    })
}
