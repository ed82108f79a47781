//! Runs in: host. A container from its images: CRIU makes its processes, all else is made as `create` does.

mod inherited;
mod root;
mod tree;

use std::collections::BTreeSet;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Instant;

use nix::unistd::Pid;

use super::birth::Unadopted;
use super::cgroup::Place;
use super::foreground::Signals;
use super::made::Made;
use super::receiver::Receiver;
use super::serve::write_pid_file;
use super::{Launched, Order};
use crate::container::cgroup::Cgroup;
use crate::container::destruction::DEADLINE;
use crate::container::images::{self, Dir};
use crate::container::{rdt, seccomp_cache, worker};
use crate::criu::{Begin, CgroupMode, CgroupRoot, Kind as Task, Notice, Opts, Program, Root, Session, Watch};
use crate::error::{Doing, Kind, Result, best_effort, failure, kind_of};
use crate::plan::Plan;
use crate::plan::annotations::CRIU_CONFIG;
use crate::proc::{Proc, path_of};
use crate::sys::process;

use inherited::Inherited;
use root::HostRoot;

/// What CRIU writes about its work, beside what it says of a failure.
const LOG: &str = "restore.log";
/// All that it writes to `--work-path`.
pub const FILES: [&str; 2] = [LOG, "stats-restore"];

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
        cgroup_yard: images::cgroup_yard(order.store, &proc)?,
        ..images.dir.opts(images.work, with_cgroup(images.opts, cgroup.as_ref()))
    };
    let mut shared: Vec<BorrowedFd<'_>> = inherited.shared.iter().map(AsFd::as_fd).collect();
    let lock = made.entry()?.dir().try_clone_to_owned()?;
    shared.push(lock.as_fd());
    let begin = Begin {
        root: Some(Root { at: &plan.rootfs.path, mount: root.mount.as_fd() }),
        // Where CRIU does not see to it they are born in its own.
        cgroup: cgroup.as_ref().filter(|_| ignores_cgroups(&opts)).map(Cgroup::dir),
        shared: &shared,
        job: opts.shell_job == Some(true),
        no_new_privs: false,
    };
    let before = proc.children()?;
    // The first process is not CRIU's child, which does not see it end.
    let in_vain = || one_has_ended(&before, &proc);
    let watch = Watch { interrupt: signals.fd(), in_vain: &in_vain };
    let session = start(&program, begin, (plan, &root, &proc), &watch, &mut made)?;
    let work = seen_by(&session, images.work).doing(|| "--work-path")?;
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
    let born = host.have_processes_made(session, (opts, images.work), &watch, &mut made)?;
    made.keep(born, host.terminal, None)
}

/// Starts CRIU. An older one does not restore no_new_privs: what it makes has them from it then.
fn start(
    program: &Program,
    begin: Begin<'_>,
    (plan, root, proc): (&Plan, &HostRoot, &Proc),
    watch: &Watch<'_>,
    made: &mut Made<'_>,
) -> Result<Session> {
    let mut start = |begin| {
        let session = Session::start(program, &begin)?;
        made.is_made_by(session.pid(), proc)?;
        session.check(watch)
    };
    let session = start(begin)?;
    if !wants_no_new_privs(plan) || session.keeps_no_new_privs() {
        return Ok(session);
    }
    drop(session);
    // The first one was mounted, and has gone with it.
    let mount = root.copy(plan)?;
    let root = begin.root.map(|root| Root { mount: mount.as_fd(), ..root });
    start(Begin { root, no_new_privs: true, ..begin })
}

/// CRIU mounts what it needs meanwhile in there. An absolute link on the way would lead back here.
fn seen_by(session: &Session, work: &Dir) -> Result<OwnedFd> {
    let seen = session.dir(&path_of(work.fd())?)?;
    work.check_same(&seen).map(|()| seen)
}

/// In a user namespace CRIU reads the images with the group of its root.
fn let_in_its_root(plan: &Plan, images: &Dir) -> Result<()> {
    let first = plan.namespaces.id_maps.as_ref().and_then(|maps| maps.gid.on_host(maps.gid.first()));
    first.map_or(Ok(()), |gid| images.let_in(gid)).doing(|| "--image-path")
}

fn wants_no_new_privs(plan: &Plan) -> bool {
    plan.process.as_ref().is_some_and(|process| process.no_new_privileges)
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
    ) -> Result<(Pid, Unadopted)> {
        let (log, job) = ((work.fd(), work.path()), opts.shell_job == Some(true));
        let restored = session.run((Task::Restore, opts), log, watch, &mut |notice| {
            self.noticed(notice, made).map(|()| Vec::new())
        });
        let restored = restored.and_then(|()| match (self.born.take(), made.record.process) {
            (Some(born), Some(_)) => Ok(born),
            _ => Err(unknown()),
        });
        if let Err(error) = &restored {
            made.hooks_ran |= kind_of(error) == Kind::Hook;
            // CRIU takes back what it has not finished, unless it is killed.
            if let Some((first, _init)) = self.born.take() {
                best_effort("end what criu has restored", tree::end(self.proc, first));
            }
            best_effort("end what criu has left", end_all_but(self.before, self.proc));
            if job {
                best_effort("end what criu has started", self.end_helpers());
            }
        }
        restored
    }

    /// Those of a CRIU that was killed listen to nobody. As a job of the caller's shell it has no group to find them by.
    fn end_helpers(&self) -> Result<()> {
        let container = self.order.store.view(self.order.id)?;
        worker::end(self.proc, None, &container, Instant::now() + DEADLINE)
    }

    fn noticed(&mut self, notice: Notice, made: &mut Made<'_>) -> Result<()> {
        match notice.action.as_str() {
            "setup-namespaces" => self.has_namespaces(notice.pid.ok_or_else(unknown)?, made),
            "orphan-pts-master" => {
                let master = notice.fd.ok_or_else(|| failure(Kind::System, "criu has sent no terminal"))?;
                self.terminal = self.order.terminal.take(master).doing(|| "terminal")?;
                Ok(())
            }
            "post-restore" => self.is_whole(made),
            "pre-resume" => self.is_confined(),
            _ => Ok(()),
        }
    }

    /// The first process is there, in its namespaces. As with runc, this is where hooks see them.
    fn has_namespaces(&mut self, pid: Pid, made: &mut Made<'_>) -> Result<()> {
        let plan = self.order.plan;
        // Nobody else is ended if this comes to nothing.
        let pidfd = process::pidfd_open(pid)?;
        process::is_child(pidfd.as_fd()).doing(|| "the process that criu has made")?;
        let (_, init) = self.born.insert((pid, Unadopted::new(pidfd)));
        match plan.hooks.any_for_host_in_create() {
            true => made.run_hooks(plan, pid, init),
            false => Ok(()),
        }
    }

    /// All are there, and go on when this is done.
    fn is_whole(&mut self, made: &mut Made<'_>) -> Result<()> {
        let plan = self.order.plan;
        let pid = self.born.as_ref().ok_or_else(unknown)?.0;
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

    /// They have their rights by now, and have not gone on yet. What an older CRIU has written does not tell of this one.
    fn is_confined(&self) -> Result<()> {
        if !wants_no_new_privs(self.order.plan) {
            return Ok(());
        }
        let first = self.born.as_ref().ok_or_else(unknown)?.0;
        let Some(pid) = tree::without_no_new_privs(self.proc, first)? else { return Ok(()) };
        let name = self.proc.threads(pid).first().map(|thread| thread.name.clone()).unwrap_or_default();
        // CRIU would let them go on: it takes nothing back any more.
        tree::kill(self.proc, first)?;
        let text = format!(
            "process.noNewPrivileges: the images do not have it of process {name:?}; a CRIU before 3.19 writes it of none"
        );
        Err(failure(Kind::Unsupported, text))
    }
}

fn unknown() -> anyhow::Error {
    failure(Kind::System, "criu has not said what it has restored")
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
