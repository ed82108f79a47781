//! Runs in: host. The host's side of a container's birth: it opens what init can't, makes what has to be
//! there before the clone, answers init's questions, and undoes everything if it comes to nothing.

mod birth;
mod cgroup;
mod console;
pub mod facts;
pub mod foreground;
mod id_maps;
mod listener;
mod mounts;
mod net_devices;
mod netlink;
mod receiver;
mod scheduling;
mod serve;

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::unistd::Pid;

use crate::container::cgroup::{Cgroup, Tree};
use crate::container::handshake::Link;
use crate::container::hooks::{self, Occasion, Output, Stop};
use crate::container::id::ContainerId;
use crate::container::notify::{Inbox, Manager, Proxy};
use crate::container::store::{Entry, Store};
use crate::container::{destruction, rdt, seccomp_cache};
use crate::error::{Doing, Kind, Result, best_effort, failure, kind_of};
use crate::init::{Departure, Gate, Inherited, Own, Sources};
use crate::plan::{Plan, RootSwitch};
use crate::proc::Proc;
use crate::spec::Bundle;
use crate::spec::oci::{ContainerState, LinuxNamespaceType};
use crate::spec::record::{CgroupRecord, FORM, LaterHooks, Record};
use crate::sys::{self, Call};

use cgroup::Place;
pub use console::Terminal;
use foreground::Signals;
use net_devices::NetDevices;
use receiver::Receiver;

/// A container to be made.
#[derive(Debug)]
pub struct Order<'a> {
    /// Where it is kept.
    pub store: &'a Store,
    /// Its id.
    pub id: &'a ContainerId,
    /// Its bundle.
    pub bundle: &'a Bundle,
    /// What the bundle's configuration means.
    pub plan: &'a Plan,
    /// When its program starts.
    pub start: Start,
    /// What becomes of its terminal's master.
    pub terminal: Terminal,
    /// Where its pid is written: decimal, no newline.
    pub pid_file: Option<&'a Path>,
    /// A socket that gets its pidfd.
    pub pidfd_socket: Option<&'a Path>,
    /// Who is to hear that the program is ready.
    pub manager: Option<&'a Manager>,
    /// How many descriptors from 3 up are LISTEN_FDS, sd_listen_fds(3).
    pub listen_fds: u32,
    /// `--preserve-fds`: so many more after them.
    pub preserve_fds: u32,
}

/// When the program starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// When `start` opens the gate.
    AtGate,
    /// As soon as everything is there.
    AtOnce,
}

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

impl Order<'_> {
    /// Who is to get the pidfd: the command line goes before the annotation.
    fn pidfd_receiver(&self) -> Result<Option<Receiver>> {
        match (self.pidfd_socket, &self.plan.annotations.pidfd_receiver) {
            (Some(path), _) => Receiver::connect("pidfd socket", path).map(Some),
            (None, Some(path)) => Receiver::connect("annotations.run.oci.pidfd_receiver", path).map(Some),
            (None, None) => Ok(None),
        }
    }

    /// A program that starts at once finds somebody listening; `start` sees to that for others.
    fn inbox(&self, entry: &Entry) -> Result<Option<Inbox>> {
        match self.manager {
            Some(manager) if self.plan.notify && self.start == Start::AtOnce => {
                Inbox::open(entry, manager).map(Some)
            }
            _ => Ok(None),
        }
    }
}

/// What hooks write to, opened where the caller sees it.
fn hook_output(plan: &Plan) -> Result<Output> {
    match plan.hooks.any() {
        true => {
            Output::open(plan.annotations.hook_stdout.as_deref(), plan.annotations.hook_stderr.as_deref())
        }
        false => Ok(Output::default()),
    }
}

/// Makes a container. On failure nothing of it is left.
pub fn launch(mut order: Order<'_>) -> Result<Launched> {
    // All that can fail without leaving anything behind comes first.
    // Paths of the caller are made absolute before the rootfs becomes the current directory.
    let pid_file = order.pid_file.map(std::path::absolute).transpose().doing(|| "--pid-file")?;
    let mut sources = Sources::open(order.plan)?;
    let proc = Proc::open()?;
    let mounts = mounts::HostMounts::prepare(order.plan, &proc, sources.namespaces())?;
    let filter = order.plan.seccomp.as_ref().map(|s| seccomp_cache::program(order.store, s)).transpose()?;
    order.terminal.connect()?;
    let pidfd_to = order.pidfd_receiver()?;
    let hook_output = hook_output(order.plan)?;
    let stub = sys::exe::stub()?;
    let rdt =
        order.plan.intel_rdt.as_ref().map(|_| rdt::Tree::find()).transpose().doing(|| "linux.intelRdt")?;
    let place = Place::find(&order.plan.cgroup, order.plan.authority, &proc)?;
    let record = record(&order, place.intend()?, rdt.as_ref(), &proc)?;

    let mut made = Made::reserve(order.store, order.id, record, &hook_output)?;
    let cgroup = made.begin(&place, rdt.as_ref(), order.plan)?;
    let own = made.own(&place)?;
    sources.show_own(own.clone());
    let inbox = order.inbox(made.entry()?)?;
    let gate = match order.start {
        Start::AtGate => Gate::Socket(serve::gate(made.entry()?)?),
        Start::AtOnce => Gate::Open,
    };
    let (link, init_link) = Link::pair()?;
    let record = made.record.clone();
    let inherited = Inherited {
        plan: order.plan,
        record: &record,
        link: Some(init_link),
        gate,
        sources,
        hook_output: &hook_output,
        filter,
        departure: departure(order.plan),
        stub,
        umask: 0,
        preserved: order.listen_fds.saturating_add(order.preserve_fds),
        listening: order.listen_fds,
    };
    let (pid, pidfd) = birth::clone_init(order.plan, cgroup.as_ref(), inherited)?;
    let born = birth::Unadopted::new(pidfd);
    leave_rootfs()?;
    let mut host = serve::Host {
        order: &mut order,
        proc: &proc,
        own: &own,
        mounts: &mounts,
        pid,
        link,
        rdt: rdt.as_ref(),
        pid_file,
        pidfd_to,
        terminal: None,
    };
    let served = host.serve(&mut made, &born);
    // Hooks that have seen the container are to see its end, too.
    made.hooks_ran |= served.as_ref().is_err_and(|error| kind_of(error) == Kind::Hook);
    served?;
    let terminal = host.terminal;
    let notify = inbox.map(|inbox| inbox.of(pid));
    made.keep((pid, born), terminal, notify)
}

/// Late is a millisecond cheaper, and possible where nobody but the host sees init before it waits: it is alone
/// in its pid namespace, and runs nothing of the container's.
fn departure(plan: &Plan) -> Departure {
    let alone = plan.namespaces.makes(LinuxNamespaceType::Pid) && !plan.namespaces.needs_helper();
    let only_calls = plan.hooks.start_container.is_empty() && plan.process.is_some();
    match sys::exe::can_detach() {
        false => Departure::Sealed,
        true if alone && only_calls && sys::last_calls::has_loop() => Departure::Late,
        true => Departure::Early,
    }
}

/// What the record says before anything exists.
fn record(order: &Order<'_>, cgroup: CgroupRecord, rdt: Option<&rdt::Tree>, proc: &Proc) -> Result<Record> {
    let spec = &order.bundle.spec;
    let rdt = match (rdt, &order.plan.intel_rdt) {
        (Some(tree), Some(plan)) => Some(tree.intend(plan).doing(|| "linux.intelRdt")?),
        _ => None,
    };
    // In a namespace that it joins they are that one's, and go with it.
    let shared = order.plan.rootfs.switch == RootSwitch::Chroot
        && !order.plan.namespaces.joins(LinuxNamespaceType::Mount);
    Ok(Record {
        form: FORM,
        id: order.id.to_string(),
        bundle: order.bundle.dir.clone(),
        rootfs: order.plan.rootfs.path.clone(),
        created: chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Nanos, true),
        owner: owner(),
        annotations: spec.annotations().iter().flatten().map(|(k, v)| (k.clone(), v.clone())).collect(),
        boot_id: proc.boot_id()?,
        process: None,
        cgroup,
        rdt,
        notify: order.plan.notify,
        shared_mounts: shared.then(|| order.plan.rootfs.path.clone()),
        exec_cpu_affinity: spec.process().as_ref().and_then(|process| process.exec_cpu_affinity().clone()),
        hooks: LaterHooks {
            poststart: order.plan.hooks.poststart.clone(),
            poststop: order.plan.hooks.poststop.clone(),
            stdout: order.plan.annotations.hook_stdout.clone(),
            stderr: order.plan.annotations.hook_stderr.clone(),
        },
    })
}

/// Who this is: a static program asks no name service, and root has a name everywhere.
fn owner() -> String {
    let uid = nix::unistd::getuid();
    if uid.is_root() { "root".to_owned() } else { uid.to_string() }
}

/// What exists of a container that is being made. Dropped before it is kept, it is all removed again.
struct Made<'a> {
    entry: Option<Entry>,
    record: Record,
    store: &'a Store,
    hook_output: &'a Output,
    hooks_ran: bool,
    devices: Option<NetDevices>,
}

impl<'a> Made<'a> {
    /// From here the id is taken.
    fn reserve(store: &'a Store, id: &ContainerId, record: Record, hook_output: &'a Output) -> Result<Self> {
        let entry = Some(store.reserve(id)?);
        Ok(Self { entry, record, store, hook_output, hooks_ran: false, devices: None })
    }

    fn entry(&self) -> Result<&Entry> {
        self.entry.as_ref().ok_or_else(|| failure(Kind::System, "the container has been removed"))
    }

    /// The record comes before the first thing that would have to be removed: a `create` that is killed
    /// at any moment leaves what `delete` needs to know.
    fn begin(&mut self, place: &Place<'_>, rdt: Option<&rdt::Tree>, plan: &Plan) -> Result<Option<Cgroup>> {
        self.entry()?.save(&self.record)?;
        let cgroup = match place.make(&self.record.cgroup) {
            Ok(cgroup) => cgroup,
            Err(error) => {
                // What there is at that place is not this container's.
                self.record.cgroup = Tree::none_made(self.record.cgroup.path.clone());
                return Err(error);
            }
        };
        self.record.cgroup = match &cgroup {
            Some(cgroup) => cgroup.record().clone(),
            None => Tree::none_made(place.callers()),
        };
        if self.record.cgroup.taken {
            if let Err(error) = self.nobody_else_has_the_cgroup() {
                self.record.cgroup.taken = false;
                return Err(error);
            }
            // Else a `delete` that finds this `create` at work could not end it.
            self.entry()?.save(&self.record)?;
        }
        if let (Some(tree), Some(plan), Some(record)) = (rdt, &plan.intel_rdt, &mut self.record.rdt) {
            tree.make(plan, record).doing(|| "linux.intelRdt")?;
        }
        if plan.notify {
            self.entry()?.make_notify_dir()?;
        }
        Ok(cgroup)
    }

    /// What there is of it on the host that a mount may show.
    fn own(&self, place: &Place<'_>) -> Result<Own> {
        Ok(Own { cgroup: place.shown(&self.record.cgroup), notify: self.entry()?.notify_path() })
    }

    /// config-linux.md, "Cgroups": one that is empty may be another container's all the same, which has ended or is
    /// just being made; its `delete` would end this one.
    fn nobody_else_has_the_cgroup(&self) -> Result<()> {
        for id in self.store.ids()? {
            let other = match self.store.peek(&id) {
                // Deleted meanwhile.
                Err(error) if kind_of(&error) == Kind::NotFound => continue,
                other => other?.0,
            };
            let same = |other: &Record| {
                other.id != self.record.id
                    && other.boot_id == self.record.boot_id
                    && other.cgroup.path == self.record.cgroup.path
            };
            if other.as_ref().is_some_and(same) {
                let path = &self.record.cgroup.path;
                let text = format!("linux.cgroupsPath: cgroup {path:?} is container {id}'s");
                return Err(failure(Kind::Invalid, text));
            }
        }
        Ok(())
    }

    /// What was the host's and is the container's, if there will be one.
    fn give_devices(&mut self, plan: &Plan, init: Pid) -> Result<()> {
        self.devices = Some(NetDevices::give(&plan.net_devices, init)?);
        Ok(())
    }

    /// prestart and createRuntime: in this process's namespaces, with the pid as it is here.
    fn run_hooks(&mut self, plan: &Plan, pid: Pid, init: &birth::Unadopted) -> Result<()> {
        self.hooks_ran = true;
        let state = self.record.hook_state(ContainerState::Creating, Some(pid.as_raw()));
        // A hook without a timeout may hang; who asks this process to end, or deletes the container, does not.
        let signals = Signals::that_ask_to_end()?;
        let urged = self.entry()?.urged()?;
        let stops = [
            Stop { fd: urged.as_fd(), why: hooks::DELETED },
            Stop { fd: signals.fd(), why: "for a signal asks this command to end" },
            Stop { fd: init.pidfd()?, why: "for init has ended" },
        ];
        let (cwd, output) = (&self.record.bundle, self.hook_output);
        let on = |kind| Occasion { kind, state: &state, cwd, output, stops: &stops };
        let ran = hooks::run(on("prestart"), &plan.hooks.prestart)
            .and_then(|()| hooks::run(on("createRuntime"), &plan.hooks.create_runtime));
        let asked = signals.take();
        ran.and(asked)
    }

    /// A class of service that was named stays, now that there is a container in it.
    fn keep_class(&mut self) -> Result<()> {
        match self.record.rdt.as_mut().and_then(|rdt| rdt.named.take()) {
            Some(_) => self.entry()?.save(&self.record),
            None => Ok(()),
        }
    }

    fn keep(
        mut self,
        (pid, born): (Pid, birth::Unadopted),
        terminal: Option<OwnedFd>,
        notify: Option<Proxy>,
    ) -> Result<Launched> {
        self.keep_class()?;
        match (self.entry.take(), born.adopt()) {
            (Some(entry), Some(pidfd)) => {
                if let Some(devices) = self.devices.take() {
                    devices.keep();
                }
                Ok(Launched { pid, pidfd, terminal, notify, entry, record: self.record.clone() })
            }
            _ => Err(failure(Kind::System, "the container has been removed")),
        }
    }
}

impl Drop for Made<'_> {
    fn drop(&mut self) {
        // Before the namespace that they are in goes.
        drop(self.devices.take());
        let Some(entry) = self.entry.take() else { return };
        let mut record = self.record.clone();
        if !self.hooks_ran {
            record.hooks.poststop.clear();
        }
        best_effort("remove the unfinished container", destruction::destroy(self.store, entry, &record));
    }
}

/// The process leaves the rootfs's directory, which it entered for the clone only: it must not keep a file
/// system busy.
fn leave_rootfs() -> Result<()> {
    nix::unistd::chdir("/").call(|| r#"chdir("/")"#).map_err(Into::into)
}
