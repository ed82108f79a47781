//! Runs in: host. A container from its images: CRIU makes its processes, all else is made as `create` does.

use std::collections::BTreeSet;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::unistd::Pid;

use super::birth::Unadopted;
use super::cgroup::Place;
use super::foreground::Signals;
use super::made::Made;
use super::receiver::Receiver;
use super::serve::write_pid_file;
use super::{Launched, Order, leave_rootfs};
use crate::container::cgroup::Cgroup;
use crate::container::external::{is_inherited, namespace_key};
use crate::container::images::{self, Dir};
use crate::container::{rdt, seccomp_cache};
use crate::criu::{
    Begin, CgroupMode, CgroupRoot, InheritFd, JoinNamespace, Kind as Task, Notice, Opts, Program, Root,
    Session, Watch,
};
use crate::error::{Doing, Kind, Result, best_effort, failure, kind_of};
use crate::init::{Own, Sources, own_if_pipe};
use crate::plan::annotations::CRIU_CONFIG;
use crate::plan::mounts::{MountStep, Source};
use crate::plan::namespaces::{Join, bit};
use crate::plan::{DeviceNodes, Plan};
use crate::proc::{self, Proc, path_of};
use crate::rootpath::{InRootfs, Rootfs};
use crate::spec::oci::LinuxNamespaceType;
use crate::sys::fs::{self, OFlag};
use crate::sys::mount::{self, Depth};
use crate::sys::{Call, process};

/// What CRIU writes about its work, beside what it says of a failure.
const LOG: &str = "restore.log";

/// What a container is made from.
#[derive(Debug)]
pub struct Images<'a> {
    /// Where they are.
    pub dir: &'a Dir,
    /// Where the log goes.
    pub work: &'a Dir,
    /// What is CRIU's alone.
    pub opts: Opts,
}

/// Makes a container from its images; its program goes on where it was. On failure nothing of it is left.
pub fn restore(mut order: Order<'_>, images: Images<'_>) -> Result<Launched> {
    let program = Program::find()?;
    let proc = Proc::open()?;
    let plan = order.plan;
    let pid_file = order.pid_file.map(std::path::absolute).transpose().doing(|| "--pid-file")?;
    let root = HostRoot::open(plan)?;
    let inherited = Inherited::find(plan, images.dir, &root.sources)?;
    let filter = plan.seccomp.as_ref().map(|s| seccomp_cache::program(order.store, s)).transpose()?;
    order.terminal.connect()?;
    let pidfd_to = order.pidfd_receiver()?;
    let rdt = plan.intel_rdt.as_ref().map(|_| rdt::Tree::find()).transpose().doing(|| "linux.intelRdt")?;
    let hook_output = order.hook_output()?;
    let place = Place::find(&plan.cgroup, plan.authority, &proc)?;
    let record = order.record(place.intend()?, rdt.as_ref(), &proc)?;
    // Until the container has been undone, and CRIU is gone.
    let signals = Signals::that_ask_to_end()?;
    let mut made = Made::reserve(order.store, order.id, record, &hook_output)?;
    let cgroup = made.begin((&place, &proc), rdt.as_ref(), plan)?;
    let own = made.own(&place)?;
    root.make_mount_points(plan)?;
    let_in_its_root(plan, images.dir)?;
    let opts = Opts {
        log_file: Some(LOG.to_owned()),
        root: Some(plan.rootfs.path.to_string_lossy().into_owned()),
        // Its processes become this process's children, and so their caller's.
        rst_sibling: Some(true),
        external: root.external(plan, &own)?,
        inherit_fd: inherited.keys.clone(),
        join_ns: inherited.joined.clone(),
        config_file: images::config(made.record.annotations.get(CRIU_CONFIG)),
        ..images.dir.opts(images.work, with_cgroup(images.opts, cgroup.as_ref()))
    };
    let mut shared: Vec<BorrowedFd<'_>> = inherited.shared.iter().map(AsFd::as_fd).collect();
    shared.push(made.entry()?.dir());
    let begin = Begin {
        root: Some(Root { at: &plan.rootfs.path, mount: root.mount.as_fd() }),
        // Where CRIU does not see to it they are born in its own.
        cgroup: cgroup.as_ref().filter(|_| ignores_cgroups(&opts)).map(Cgroup::dir),
        shared: &shared,
        job: opts.shell_job == Some(true),
    };
    let before = proc.children()?;
    // The first process is not CRIU's child, which does not see it end.
    let in_vain = || one_has_ended(&before, &proc);
    let watch = Watch { interrupt: signals.fd(), in_vain: &in_vain };
    let session = Session::start(&program, &begin, &watch)?;
    // It mounts what it needs meanwhile in there. An absolute link on the way would lead back here.
    let work = path_of(images.work.fd()).and_then(|path| session.dir(&path)).doing(|| "--work-path")?;
    let opts = Opts { work_dir_fd: Some(work.as_raw_fd()), ..opts };
    let mut host = Host {
        order: &mut order,
        proc: &proc,
        before: &before,
        cgroup,
        rdt,
        filter,
        pid_file,
        pidfd_to,
        born: None,
        terminal: None,
    };
    host.have_processes_made(session, (opts, images.work), &watch, &mut made)?;
    let born = host.born.ok_or_else(|| failure(Kind::System, "criu has not said what it has restored"))?;
    made.keep(born, host.terminal, None)
}

/// In a user namespace CRIU reads the images with the group of its root.
fn let_in_its_root(plan: &Plan, images: &Dir) -> Result<()> {
    let first = plan.namespaces.id_maps.as_ref().and_then(|maps| maps.gid.on_host(maps.gid.first()));
    first.map_or(Ok(()), |gid| images.let_in(gid)).doing(|| "--image-path")
}

/// The container's cgroup, whatever it was called when it was written; the others of hosts with cgroup v1 stay.
fn with_cgroup(opts: Opts, cgroup: Option<&Cgroup>) -> Opts {
    match cgroup {
        Some(cgroup) => Opts {
            // It is there, and so new that there is nothing below it: that is how strict this can be.
            manage_cgroups_mode: match opts.manage_cgroups_mode {
                Some(mode) if mode == CgroupMode::Strict as i32 => Some(CgroupMode::Soft as i32),
                other => other,
            },
            cg_root: vec![CgroupRoot {
                controller: Some(String::new()),
                path: Path::new("/").join(&cgroup.record().path).to_string_lossy().into_owned(),
            }],
            ..opts
        },
        None => Opts { manage_cgroups_mode: Some(CgroupMode::Ignore as i32), ..opts },
    }
}

fn ignores_cgroups(opts: &Opts) -> bool {
    opts.manage_cgroups_mode == Some(CgroupMode::Ignore as i32)
}

/// The host in conversation with CRIU.
struct Host<'a, 'o> {
    order: &'a mut Order<'o>,
    proc: &'a Proc,
    /// This process's children that CRIU has not made.
    before: &'a BTreeSet<Pid>,
    cgroup: Option<Cgroup>,
    rdt: Option<rdt::Tree>,
    /// Of the configuration, for `exec`; CRIU restores the container's own.
    filter: Option<Vec<u8>>,
    pid_file: Option<PathBuf>,
    pidfd_to: Option<Receiver>,
    born: Option<(Pid, Unadopted)>,
    terminal: Option<OwnedFd>,
}

impl Host<'_, '_> {
    /// On failure none is left.
    fn have_processes_made(
        &mut self,
        session: Session,
        (opts, work): (Opts, &Dir),
        watch: &Watch<'_>,
        made: &mut Made<'_>,
    ) -> Result<()> {
        let log = (work.fd(), work.path());
        let restored = session.run((Task::Restore, opts), log, watch, &mut |notice| {
            self.noticed(notice, made).map(|()| Vec::new())
        });
        if let Err(error) = &restored {
            made.hooks_ran |= kind_of(error) == Kind::Hook;
            drop(self.born.take());
            // CRIU takes back what it has not finished, unless it is killed.
            best_effort("end what criu has left", end_all_but(self.before, self.proc));
        }
        restored
    }

    fn noticed(&mut self, notice: Notice, made: &mut Made<'_>) -> Result<()> {
        let pid = || notice.pid.ok_or_else(|| failure(Kind::System, "criu has told no pid"));
        match notice.action.as_str() {
            "setup-namespaces" => self.has_namespaces(pid()?, made),
            "orphan-pts-master" => {
                let master = notice.fd.ok_or_else(|| failure(Kind::System, "criu has sent no terminal"))?;
                self.terminal = self.order.terminal.take(master).doing(|| "terminal")?;
                Ok(())
            }
            "post-restore" => self.is_whole(pid()?, made),
            _ => Ok(()),
        }
    }

    /// The first process is there, in its namespaces. As with runc, this is where hooks see them.
    fn has_namespaces(&mut self, pid: Pid, made: &mut Made<'_>) -> Result<()> {
        let plan = self.order.plan;
        let (_, init) = self.born.insert((pid, Unadopted::new(process::pidfd_open(pid)?)));
        match plan.hooks.any_for_host_in_create() {
            true => made.run_hooks(plan, pid, init),
            false => Ok(()),
        }
    }

    /// All are there, and go on when this is done.
    fn is_whole(&mut self, pid: Pid, made: &mut Made<'_>) -> Result<()> {
        let plan = self.order.plan;
        if let Some(cgroup) = &mut self.cgroup {
            cgroup.complete(&plan.cgroup, self.proc, pid)?;
        }
        if let (Some(tree), Some(plan), Some(record)) = (&self.rdt, &plan.intel_rdt, &made.record.rdt) {
            tree.enter(plan, record, pid).doing(|| "linux.intelRdt")?;
        }
        made.complete(&self.order.for_exec().to_bytes(self.filter.as_deref())?, self.proc, pid)?;
        if let (Some(receiver), Some((_, init))) = (&self.pidfd_to, &self.born) {
            receiver.send(b"standard", init.pidfd()?)?;
        }
        self.pid_file.as_deref().map_or(Ok(()), |path| write_pid_file(path, pid))
    }
}

fn one_has_ended(before: &BTreeSet<Pid>, proc: &Proc) -> Result<bool> {
    for pid in proc.children()?.difference(before) {
        if proc.process(*pid)?.is_none_or(|(_, now)| now.ended || now.ending) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn end_all_but(before: &BTreeSet<Pid>, proc: &Proc) -> Result<()> {
    for pid in proc.children()?.difference(before) {
        drop(Unadopted::new(process::pidfd_open(*pid)?));
    }
    Ok(())
}

/// What CRIU has from this process.
struct Inherited {
    keys: Vec<InheritFd>,
    joined: Vec<JoinNamespace>,
    shared: Vec<OwnedFd>,
}

impl Inherited {
    fn find(plan: &Plan, images: &Dir, sources: &Sources) -> Result<Self> {
        let mut found = Self { keys: Vec::new(), joined: Vec::new(), shared: Vec::new() };
        for (join, fd) in plan.namespaces.join.iter().zip(sources.namespaces()) {
            found.namespace(join, fd)?;
        }
        for (number, name) in (0..).zip(images.descriptors()?) {
            // Two descriptors of one file are one to CRIU.
            if is_inherited(&name) && found.keys.iter().all(|known| known.key != name) {
                let own = own_descriptor(number).doing(|| format!("descriptor {number}"))?;
                give(own.as_fd(), plan).doing(|| format!("descriptor {number}"))?;
                found.inherit(name, own);
            }
        }
        Ok(found)
    }

    fn inherit(&mut self, key: String, fd: OwnedFd) {
        self.keys.push(InheritFd { key, fd: fd.as_raw_fd() });
        self.shared.push(fd);
    }

    fn namespace(&mut self, join: &Join, fd: &OwnedFd) -> Result<()> {
        use LinuxNamespaceType::{Ipc, Network, Pid as Pids, Time, User, Uts};
        if let Some(kind) = [Network, Pids].into_iter().find(|kind| bit(*kind) == join.kind) {
            if let Some((_, key)) = namespace_key(kind) {
                self.inherit(key.to_owned(), fd.try_clone()?);
            }
            return Ok(());
        }
        let names = [(Ipc, "ipc"), (Uts, "uts"), (Time, "time"), (User, "user")];
        let name = names.into_iter().find(|(kind, _)| bit(*kind) == join.kind).map(|(_, name)| name);
        let name = name.ok_or_else(|| {
            let at = format!("linux.namespaces[{}] {}", join.index, join.path.display());
            failure(
                Kind::Unsupported,
                format!("{at}: criu can't restore into a mount or cgroup namespace that is there"),
            )
        })?;
        let file = format!("/proc/{}/fd/{}", std::process::id(), fd.as_raw_fd());
        self.joined.push(JoinNamespace { kind: name.to_owned(), file });
        Ok(())
    }
}

/// A copy of one of this process's three; what comes after them is the host's /dev/null.
fn own_descriptor(number: u32) -> Result<OwnedFd> {
    let copied = match number {
        0 => nix::unistd::dup(std::io::stdin()),
        1 => nix::unistd::dup(std::io::stdout()),
        2 => nix::unistd::dup(std::io::stderr()),
        _ => return Ok(fs::open("/dev/null", OFlag::O_RDWR)?),
    };
    copied.call(|| format!("dup({number})")).map_err(Into::into)
}

/// In a user namespace CRIU opens a pipe anew, as the root of that.
fn give(fd: BorrowedFd<'_>, plan: &Plan) -> Result<()> {
    let Some(maps) = &plan.namespaces.id_maps else { return Ok(()) };
    let owner = plan.process.as_ref().and_then(|process| maps.uid.on_host(process.uid));
    own_if_pipe(fd, owner, maps.gid.on_host(maps.gid.first()))
}

/// The root file system, where the host has it.
struct HostRoot {
    dir: Rootfs,
    mount: OwnedFd,
    sources: Sources,
}

impl HostRoot {
    fn open(plan: &Plan) -> Result<Self> {
        let sources = Sources::open(plan)?;
        let open = || -> Result<_> {
            // Which is now the rootfs.
            let dir = fs::open(".", OFlag::O_PATH | OFlag::O_DIRECTORY)?;
            let mount = mount::clone_fd(dir.as_fd(), Depth::Recursive)?;
            leave_rootfs()?;
            Ok((Rootfs::new(dir), mount))
        };
        let (dir, mount) = open().doing(|| format!("rootfs {:?}", plan.rootfs.path))?;
        Ok(Self { dir, mount, sources })
    }

    /// CRIU makes no mount points, and the root file system may be a new one. What is below a file system that is
    /// itself restored is restored with it.
    fn make_mount_points(&self, plan: &Plan) -> Result<()> {
        let steps = &plan.rootfs.mounts;
        for (number, step) in steps.iter().enumerate() {
            let covering =
                steps[..number].iter().rev().find_map(|other| Some((other, step.at.within(&other.at)?)));
            let made = match covering {
                None => make_point(&self.dir, &step.at, step),
                Some((MountStep { source: Source::Bind { from, .. }, .. }, at)) if at.name().is_some() => {
                    make_point(&Rootfs::new(fs::open(from, OFlag::O_PATH)?), &at, step)
                }
                Some(_) => Ok(()),
            };
            made.doing(|| step.to_string())?;
        }
        Ok(())
    }

    /// What CRIU finds of the host's, by the names that `checkpoint` has given it: where it was mounted.
    fn external(&self, plan: &Plan, own: &Own) -> Result<Vec<String>> {
        let mut external = Vec::new();
        let host = proc::mounts()?;
        for step in &plan.rootfs.mounts {
            let (from, depth) = match &step.source {
                // CRIU does not follow a link that is the source itself.
                Source::Bind { from, depth, .. } => (real(from).doing(|| step.to_string())?, *depth),
                other => match own.shown_by(other) {
                    Some(path) => (path.to_owned(), Depth::Top),
                    None => continue,
                },
            };
            let below = host.iter().filter(|mount| depth == Depth::Recursive && mount.at != from);
            let below = below.filter_map(|mount| mount.at.strip_prefix(&from).ok());
            for at in self.names(&step.at) {
                external.push(format!("mnt[{at}]:{}", from.display()));
                external.extend(
                    below
                        .clone()
                        .map(|rest| format!("mnt[{at}/{}]:{}", rest.display(), from.join(rest).display())),
                );
            }
        }
        external.extend(plan.rootfs.masked.iter().map(|at| format!("mnt[{at}]:/dev/null")));
        if plan.rootfs.device_nodes == DeviceNodes::Bound {
            external.extend(plan.rootfs.devices.iter().map(|device| format!("mnt[{0}]:{0}", device.at)));
        }
        Ok(external)
    }

    /// As the configuration has it, and where links in the root file system lead: the kernel knows the latter.
    fn names(&self, at: &InRootfs) -> Vec<String> {
        let mut names = vec![at.to_string()];
        let found = self.dir.find(at).ok().flatten();
        if let (Some(Ok(real)), Ok(root)) = (found.map(|fd| path_of(fd.as_fd())), path_of(self.dir.dir())) {
            let below = real.strip_prefix(&root).ok();
            let name = below.map(|below| Path::new("/").join(below).display().to_string());
            names.extend(name.filter(|name| *name != names[0]));
        }
        names
    }
}

/// Where a path leads, all links followed.
fn real(path: &Path) -> Result<PathBuf> {
    path_of(fs::open(path, OFlag::O_PATH)?.as_fd())
}

fn make_point(root: &Rootfs, at: &InRootfs, step: &MountStep) -> Result<()> {
    let is_dir = match &step.source {
        Source::Bind { from, .. } => {
            fs::file_type(&fs::stat(fs::open(from, OFlag::O_PATH)?)?) == libc::S_IFDIR
        }
        _ => true,
    };
    match is_dir {
        true => root.make_dir(at).map(drop)?,
        false => root.make_file(at).map(drop)?,
    }
    Ok(())
}
