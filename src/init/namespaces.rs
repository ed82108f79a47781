//! Runs in: init, before the rootfs, or in the helper that makes the container; and `join_as_helper` in every helper.

use std::os::fd::{AsFd, OwnedFd};

use nix::sched::{CloneFlags, setns, unshare};

use super::strangers::{self, PidJoin};
use super::{Inherited, attributes, identity, session};
use crate::container::handshake::Message;
use crate::container::process::TOO_MANY;
use crate::error::{Doing, Result, errno_of};
use crate::plan::namespaces::{Join, bit};
use crate::plan::{Authority, Plan};
use crate::proc::Proc;
use crate::spec::oci::LinuxNamespaceType as Kind;
use crate::sys::{self, Call, Errno, SysError};

/// Joins what is to be joined, and makes the new ones what the configuration says.
pub(super) fn enter(given: &mut Inherited<'_>) -> Result<PidJoin> {
    let plan = given.plan;
    let namespaces = &plan.namespaces;
    let mut pid_join = PidJoin::default();
    if namespaces.has_strangers() {
        pid_join = join_but_last(given)?;
        make(plan, namespaces.made_by_clone() & !bit(Kind::Time))?;
    }
    if namespaces.id_maps.is_some() {
        given.link()?.ask(&Message::MapIds, None)?;
    }
    if !namespaces.needs_helper() {
        join(&given.sources.joins(plan).collect::<Vec<_>>())?;
    }
    if namespaces.joins(Kind::Mount) {
        // Its root is the current directory now; in a new one it is still the rootfs.
        nix::unistd::chdir(&plan.rootfs.path)
            .call(|| format!("chdir({:?}) in the joined mount namespace", plan.rootfs.path))?;
    }
    // As long as this process has the caller's ids: what it opens is what the caller may, and its own files in
    // /proc still belong to it.
    given.sources.open_late(plan)?;
    if let PidJoin::Last(theirs) = &pid_join {
        strangers::find_procs(given, theirs)?;
    }
    make_clocks(plan)?;
    if namespaces.has(Kind::User) {
        identity::become_first(plan)?;
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
    session::begin(plan)?;
    Ok(pid_join)
}

/// CLONE_NEW* bits as nix has them; of a time namespace it has none.
fn flags(kinds: u64) -> CloneFlags {
    #[expect(clippy::cast_possible_truncation, reason = "CLONE_NEW* bits are ints")]
    let bits = kinds as libc::c_int;
    CloneFlags::from_bits_retain(bits)
}

/// What a clone would have made.
fn make(plan: &Plan, new: u64) -> Result<()> {
    // Several at once: a new user namespace comes first, and the others belong to it.
    let new = flags(new);
    unshare(new).call(|| format!("unshare({new:?})")).map_err(|error| explain_new(error, plan).into())
}

/// clone(2), unshare(2): what the errno of a new namespace means.
pub fn explain_new(error: SysError, plan: &Plan) -> SysError {
    let hint = match error.errno {
        Errno::EAGAIN => format!("; {TOO_MANY}"),
        Errno::ENOSPC => "; a limit of /proc/sys/user is reached, such as max_user_namespaces".to_owned(),
        Errno::EPERM if plan.namespaces.makes(Kind::User) => {
            "; this machine does not let this user make a user namespace (sysctl kernel.unprivileged_userns_clone, \
             kernel.apparmor_restrict_unprivileged_userns, a chroot, a seccomp filter)"
                .to_owned()
        }
        _ => String::new(),
    };
    SysError { call: format!("{}{hint}", error.call), ..error }
}

/// Joins for a process that is cloned by this one, and leaves the host's file where it has to before that.
pub fn join_as_helper(given: &Inherited<'_>) -> Result<()> {
    join_but_last(given).map(drop)
}

/// The same, but for a pid namespace that can be joined last.
fn join_but_last(given: &Inherited<'_>) -> Result<PidJoin> {
    let (plan, sources) = (given.plan, &given.sources);
    // In there it must not be traced, nor looked into through /proc (CVE-2016-9962); execve ends this.
    let hide = || nix::sys::prctl::set_dumpable(false).call(|| "prctl(PR_SET_DUMPABLE, 0)");
    let user = sources.joined(plan, Kind::User);
    let others = |pid_join: &PidJoin| -> Vec<_> {
        sources.joins(plan).filter(|(join, _)| is_now(join, pid_join)).collect()
    };
    match plan.authority {
        Authority::Root | Authority::NamespaceRoot => {
            // It will be seen in the namespaces that it joins: so it leaves the host's file first.
            given.candidate.leave_file_early()?;
            hide()?;
            let pid_join = PidJoin::plan(given)?;
            join_for_child(user, &others(&pid_join))?;
            Ok(pid_join)
        }
        Authority::User => {
            let score = plan.process.as_ref().and_then(|process| process.oom_score_adj);
            score.map_or(Ok(()), |score| attributes::set_oom_score(&Proc::open()?, "self", score))?;
            hide()?;
            let pid_join = PidJoin::plan(given)?;
            // To leave takes a privilege that it has in there only. It is not dumpable, and in no namespace yet in
            // which it had a name.
            join(user.as_slice())?;
            given.candidate.leave_file_early()?;
            join(&others(&pid_join))?;
            Ok(pid_join)
        }
    }
}

fn is_now(join: &Join, pid_join: &PidJoin) -> bool {
    join.kind != bit(Kind::User) && (join.kind != bit(Kind::Pid) || !matches!(pid_join, PidJoin::Last(_)))
}

/// Namespaces of the host need the host's privilege, those of a joined user namespace that namespace's: so first all
/// that is possible, then the user namespace, then the rest.
fn join_for_child(user: Option<(&Join, &OwnedFd)>, others: &[(&Join, &OwnedFd)]) -> Result<()> {
    let mut rest = Vec::new();
    for (join, fd) in others {
        match set(fd, join) {
            Err(error) if error.errno == Errno::EPERM => rest.push((*join, *fd)),
            joined => joined.doing(|| join.to_string())?,
        }
    }
    join(user.as_slice())?;
    join(&rest)
}

fn join(these: &[(&Join, &OwnedFd)]) -> Result<()> {
    these.iter().try_for_each(|(join, fd)| set(fd, join).map_err(explain).doing(|| join.to_string()))
}

fn explain(error: SysError) -> SysError {
    let hint = match error.errno {
        Errno::EPERM => "; it belongs to a user namespace in which this process has no rights",
        _ => "",
    };
    SysError { call: format!("{}{hint}", error.call), ..error }
}

fn set(fd: &OwnedFd, join: &Join) -> Result<(), SysError> {
    // The kernel compares the type.
    let kind = flags(join.kind);
    setns(fd.as_fd(), kind).call(|| format!("setns({kind:?})"))
}

/// time_namespaces(7): offsets can be set until a process is in it; this one is only its maker. Joining
/// afterwards makes execve need not do it.
fn make_clocks(plan: &Plan) -> Result<()> {
    let namespaces = &plan.namespaces;
    // Without offsets the clone makes it, if there is one.
    if !namespaces.makes(Kind::Time) || namespaces.time_offsets.is_none() && !namespaces.has_strangers() {
        return Ok(());
    }
    let time = flags(bit(Kind::Time));
    unshare(time).call(|| "unshare(CLONE_NEWTIME)")?;
    if let Some(offsets) = &namespaces.time_offsets {
        set_offsets(offsets)?;
    }
    let made = sys::fs::open("/proc/self/ns/time_for_children", sys::fs::OFlag::O_RDONLY)?;
    setns(made, time).call(|| "setns(CLONE_NEWTIME)").map_err(Into::into)
}

fn set_offsets(offsets: &str) -> Result<()> {
    let written = Proc::open()?.write("self/timens_offsets", offsets.as_bytes());
    match written.as_ref().err().and_then(errno_of) {
        Some(Errno::ERANGE) => written
            .doing(|| "linux.timeOffsets: a clock would be negative, or later than the kernel can count"),
        _ => written.doing(|| "linux.timeOffsets"),
    }
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
