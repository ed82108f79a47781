//! Runs in: host. The host's side of a container's birth: it opens what init can't, makes what has to be
//! there before the clone, answers init's questions, and undoes everything if it comes to nothing.

mod birth;
mod cgroup;
mod console;
pub mod exec;
pub mod facts;
pub mod foreground;
mod id_maps;
mod into_cgroup;
mod listener;
mod made;
mod mounts;
mod net_devices;
mod netlink;
mod newborn;
mod order;
mod receiver;
pub mod restore;
mod scheduling;
mod serve;

use std::os::fd::OwnedFd;
use std::path::PathBuf;

use nix::unistd::Pid;

use crate::container::cgroup::Cgroup;
use crate::container::handshake::Link;
use crate::container::notify::Proxy;
use crate::container::store::Entry;
use crate::container::{rdt, seccomp_cache};
use crate::error::{Doing, Kind, Result, kind_of};
use crate::init::{Candidate, Departure, Filter, Gate, Inherited, Sources};
use crate::plan::Plan;
use crate::proc::Proc;
use crate::spec::oci::LinuxNamespaceType;
use crate::spec::record::{ProcessId, Record};
use crate::sys::{self, Call};

use cgroup::Place;
pub use console::Terminal;
use made::Made;
use mounts::HostMounts;
pub use order::{Order, Start};
use receiver::Receiver;

/// A container that has been made.
#[derive(Debug)]
pub struct Launched {
    /// Its process in this pid namespace.
    pub pid: Pid,
    /// The same process.
    pub pidfd: OwnedFd,
    /// Its terminal's master, if it was to be kept.
    pub terminal: Option<OwnedFd>,
    /// What tells the service manager that its program is ready, if that has been started.
    pub notify: Option<Proxy>,
    /// Its directory, locked.
    pub entry: Entry,
    /// What has been recorded.
    pub record: Record,
}

/// All that can fail without leaving anything behind.
struct Prepared<'a> {
    pid_file: Option<PathBuf>,
    sources: Sources,
    mounts: HostMounts<'a>,
    filter: Option<Vec<u8>>,
    pidfd_to: Option<Receiver>,
    stub: OwnedFd,
    rdt: Option<rdt::Tree>,
}

impl<'a> Prepared<'a> {
    fn of(order: &mut Order<'a>, proc: &Proc) -> Result<Self> {
        let plan = order.plan;
        // Paths of the caller are made absolute before the rootfs becomes the current directory.
        let pid_file = order.pid_file.map(std::path::absolute).transpose().doing(|| "--pid-file")?;
        let sources = Sources::open(plan)?;
        let mounts = HostMounts::prepare(plan, proc, sources.namespaces())?;
        let filter = plan.seccomp.as_ref().map(|s| seccomp_cache::program(order.store, s)).transpose()?;
        order.terminal.connect()?;
        let pidfd_to = order.pidfd_receiver()?;
        let stub = sys::last_calls::stub()?;
        let rdt = plan.intel_rdt.as_ref().map(|_| rdt::Tree::find()).transpose();
        Ok(Self { pid_file, sources, mounts, filter, pidfd_to, stub, rdt: rdt.doing(|| "linux.intelRdt")? })
    }
}

/// Makes a container. On failure nothing of it is left.
pub fn launch(mut order: Order<'_>) -> Result<Launched> {
    let proc = Proc::open()?;
    let prepared = Prepared::of(&mut order, &proc)?;
    let hook_output = order.hook_output()?;
    let place = Place::find(&order.plan.cgroup, order.plan.authority, &proc)?;
    let record = order.record(place.intend()?, prepared.rdt.as_ref(), &proc)?;

    let mut made = Made::reserve(order.store, order.id, record, &hook_output)?;
    // Closed before it: to undo takes descriptors, and their limit may be why there is something to undo.
    let Prepared { pid_file, mut sources, mounts, filter, pidfd_to, stub, rdt } = prepared;
    let mut cgroup = made.begin((&place, &proc), rdt.as_ref(), order.plan)?;
    let own = made.own(&place)?;
    sources.show_own(own.clone());
    let inbox = order.inbox(made.entry()?)?;
    let gate = match order.start {
        Start::AtGate => Gate::Socket(serve::gate(made.entry()?)?),
        Start::AtOnce => Gate::Open,
    };
    let (link, init_link) = Link::pair()?;
    let record = made.record.clone();
    let candidate = candidate(&order, filter.as_deref(), init_link, stub);
    let inherited =
        Inherited { plan: order.plan, record: &record, candidate, gate, sources, hook_output: &hook_output };
    let (pid, pidfd) = birth::clone_init(order.plan, cgroup.as_ref(), inherited)
        .map_err(|error| explain(cgroup.as_ref(), error, None))?;
    let init = birth::Unadopted::new(pidfd);
    leave_rootfs()?;
    link.end_silence()?;
    let mut host = serve::Host {
        order: &mut order,
        proc: &proc,
        own: &own,
        cgroup: cgroup.as_mut(),
        mounts: &mounts,
        pid,
        init,
        link,
        rdt: rdt.as_ref(),
        pid_file,
        pidfd_to,
        terminal: None,
        filter: filter.as_deref(),
    };
    let served = host.serve(&mut made);
    let serve::Host { pid, init, terminal, .. } = host;
    made.hooks_ran |= served.as_ref().is_err_and(|error| kind_of(error) == Kind::Hook);
    served.map_err(|error| explain(cgroup.as_ref(), error, not_reaped(&proc, pid)))?;
    let notify = inbox.map(|inbox| inbox.of(pid));
    made.keep((pid, init), terminal, notify)
}

/// Who is to be the container's first process.
fn candidate<'c>(order: &Order<'c>, filter: Option<&'c [u8]>, link: Link, stub: OwnedFd) -> Candidate<'c> {
    let plan = order.plan;
    let filter = plan.seccomp.as_ref().zip(filter).map(|(seccomp, program)| Filter {
        program,
        flags: seccomp.flags,
        is_listened_to: seccomp.listener.is_some(),
    });
    Candidate {
        process: plan.process.as_ref(),
        filter,
        in_user_namespace: plan.in_user_namespace(),
        link: Some(link),
        departure: departure(plan, order.listen_fds),
        stub,
        umask: 0,
        preserved: order.listen_fds.saturating_add(order.preserve_fds),
        listening: order.listen_fds,
    }
}

/// An init that is killed has no last words, and its cgroup goes when this is undone: now it can be asked.
fn explain(cgroup: Option<&Cgroup>, error: anyhow::Error, init: Option<ProcessId>) -> anyhow::Error {
    match cgroup {
        Some(cgroup) => cgroup.explain(error, init),
        None => error,
    }
}

/// Whether it has ended or not, nobody else has its pid yet.
fn not_reaped(proc: &Proc, pid: Pid) -> Option<ProcessId> {
    ProcessId::of(proc, pid).ok()?
}

/// Late is a millisecond cheaper, and possible where nobody but the host sees init before it waits: it is alone
/// in its pid namespace, or born when all is done; and it runs nothing of the container's, nor looks what its pid is.
fn departure(plan: &Plan, listening: u32) -> Departure {
    let namespaces = &plan.namespaces;
    let alone = match namespaces.has_strangers() {
        true => listening == 0,
        false => namespaces.makes(LinuxNamespaceType::Pid) && !namespaces.needs_helper(),
    };
    let only_calls = plan.hooks.start_container.is_empty() && plan.process.is_some();
    match sys::exe::can_detach() {
        false => Departure::Sealed,
        true if alone && only_calls && sys::last_calls::has_loop() => Departure::Late,
        true => Departure::Early,
    }
}

/// The process leaves the rootfs's directory, which it entered for the clone only: it must not keep a file
/// system busy.
fn leave_rootfs() -> Result<()> {
    nix::unistd::chdir("/").call(|| r#"chdir("/")"#).map_err(Into::into)
}
