//! `checkpoint ID`: runc's, not the specification's. A running container is written to files, by CRIU.

use std::collections::BTreeSet;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use nix::unistd::Pid;

use super::{Current, Runtime};
use crate::container::cgroup::{Cgroup, Tree};
use crate::container::destruction::DEADLINE;
use crate::container::external::{self, Descriptors};
use crate::container::id::ContainerId;
use crate::container::images::{self, Dir};
use crate::container::process::Alive;
use crate::container::sharing;
use crate::container::status::{Status, Verb};
use crate::container::store::{Entry, Store};
use crate::criu::{Begin, Kind as Task, Notice, Opts, Program, Session, Watch};
use crate::error::{Doing, Kind, Result, best_effort, failure, unsupported};
use crate::launch::foreground::Signals;
use crate::plan::annotations::CRIU_CONFIG;
use crate::proc::{Mounted, Proc, is_machines_root};
use crate::spec::record::{ProcessId, Record};
use crate::sys::Call;

/// What CRIU writes about its work, beside what it says of a failure.
const LOG: &str = "dump.log";
/// All that it writes to `--work-path`.
const FILES: [&str; 2] = [LOG, "stats-dump"];

/// What is to be written, and how.
#[derive(Debug)]
pub struct Asked {
    /// `--image-path`
    pub images: PathBuf,
    /// `--work-path`; the images' without one.
    pub work: Option<PathBuf>,
    /// `--parent-path`
    pub parent: Option<PathBuf>,
    /// What becomes of the container.
    pub then: Then,
    /// `--status-fd`: gets a byte when a server of `--lazy-pages` takes requests.
    pub status: Option<OwnedFd>,
    /// What is CRIU's alone.
    pub opts: Opts,
}

/// What becomes of the container when it has been written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// It has stopped.
    Stop,
    /// It goes on: `--leave-running`.
    GoOn,
    /// Its memory alone has been written, and it goes on: `--pre-dump`.
    GoOnUnwritten,
}

/// Writes the container. What fails, or is asked to end, leaves it running.
pub fn checkpoint(runtime: &Runtime, id: &ContainerId, asked: Asked) -> Result<()> {
    let entry = runtime.lock(id)?;
    let record = entry.record()?;
    let current = Current::of(record.as_ref(), entry.has_gate()?)?;
    let (true, Some(record), Some(alive)) =
        (current.status.admits(Verb::Checkpoint), &record, &current.alive)
    else {
        let text = format!("cannot checkpoint container {id}: it is {}", current.status);
        return Err(failure(Kind::InvalidState, text));
    };
    write((&runtime.store, &entry), record, (alive, current.status), asked)
        .doing(|| format!("checkpoint of container {id}"))
}

/// CRIU reads and writes what of other processes only root may.
pub(super) fn only_root() -> anyhow::Error {
    unsupported("only root can write processes to images, and make them from images")
}

fn write(
    (store, entry): (&Store, &Entry),
    record: &Record,
    (alive, status): (&Alive, Status),
    asked: Asked,
) -> Result<()> {
    if !is_machines_root() {
        return Err(only_root());
    }
    let program = Program::find()?;
    let proc = Proc::open()?;
    let seen = proc.mounts_of(alive.pid)?;
    sharing::check(&proc, alive, &seen)?;
    let images = Dir::make_for_images(&asked.images).doing(|| "--image-path")?;
    asked.parent.as_deref().map_or(Ok(()), |parent| images.check_parent(parent))?;
    let work = asked.work.as_deref().unwrap_or(&asked.images);
    let work = Dir::make(work).and_then(|dir| dir.check_for(FILES).map(|()| dir)).doing(|| "--work-path")?;
    let (then, mut reader) = (asked.then, asked.status.map(std::fs::File::from));
    let tree = record.cgroup.is_ours().then(Tree::find).transpose()?;
    let cgroup = tree.as_ref().map(|tree| tree.open(&record.cgroup)).transpose()?.flatten();
    let mut opts = opts(record, &proc, (alive, &seen), (asked.opts, then, asked.parent))?;
    let freeze_cgroup = tree.map(|tree| tree.shown(&record.cgroup.path).to_string_lossy().into_owned());
    let cgroup_yard = images::cgroup_yard(store, &proc)?;
    opts = Opts { freeze_cgroup, cgroup_yard, ..images.opts(&work, opts) };
    let task = if then == Then::GoOnUnwritten { Task::SinglePreDump } else { Task::Dump };
    let mut noticed = |notice: Notice| match notice.action.as_str() {
        // All stand still.
        "query-ext-files" => open_files(&proc, alive, cgroup.as_ref(), &images),
        "status-ready" => {
            let written = reader.take().map_or(Ok(()), |mut reader| reader.write_all(b"\0"));
            written.call(|| "write(--status-fd)")?;
            Ok(Vec::new())
        }
        _ => Ok(Vec::new()),
    };
    let signals = Signals::that_ask_to_end()?;
    // CRIU traces them, and sees if they end.
    let watch = Watch { interrupt: signals.fd(), in_vain: &|| Ok(false) };
    let session = Session::start(&program, &Begin { shared: &[entry.dir()], ..Begin::default() })?;
    entry.save(&Record { worker: ProcessId::of(&proc, session.pid())?, ..record.clone() })?;
    let session = session.check(&watch)?;
    if then != Then::GoOnUnwritten && !session.asks_for_files() {
        // A shell that goes on moves them while they are looked at.
        let frozen = cgroup.as_ref().filter(|_| status == Status::Running);
        let frozen = frozen.map(|cgroup| cgroup.stand_still(DEADLINE, Some(signals.fd()))).transpose()?;
        opts.external.extend(open_files(&proc, alive, cgroup.as_ref(), &images)?);
        drop(frozen);
    }
    let written = session.run((task, opts), (work.fd(), work.path()), &watch, &mut noticed);
    if written.is_err() && status == Status::Running {
        // CRIU thaws what it has frozen, unless it is killed.
        best_effort("thaw the container", cgroup.as_ref().map_or(Ok(()), |cgroup| cgroup.thaw(DEADLINE)));
    }
    written?;
    // CRIU has killed it; what the next verb sees of it is over.
    match then == Then::Stop && !alive.wait(DEADLINE)? {
        true => {
            Err(failure(Kind::System, format!("written, and still there after {} s", DEADLINE.as_secs())))
        }
        false => Ok(()),
    }
}

/// What of their open files is not theirs to be written: keeps it, and answers what CRIU does not know by itself.
fn open_files(proc: &Proc, first: &Alive, cgroup: Option<&Cgroup>, images: &Dir) -> Result<Vec<String>> {
    let mut all: BTreeSet<Pid> = [first.pid].into();
    all.extend(cgroup.map(Cgroup::processes).transpose()?.into_iter().flatten());
    let descriptors = Descriptors::of(proc, first.pid, &all)?;
    images.write_descriptors(&descriptors.names)?;
    Ok(descriptors.external.into_iter().collect())
}

fn opts(
    record: &Record,
    proc: &Proc,
    (alive, seen): (&Alive, &[Mounted]),
    (opts, then, parent): (Opts, Then, Option<PathBuf>),
) -> Result<Opts> {
    let mounts = external::mount_points(proc, (alive, seen), &record.cgroup.path)?;
    let mut external: Vec<String> = mounts.iter().map(|at| format!("mnt[{at}]:{at}")).collect();
    external.extend(external::namespaces(proc, alive, &record.joined)?);
    Ok(Opts {
        pid: Some(alive.pid.as_raw()),
        log_file: Some(LOG.to_owned()),
        leave_running: Some(then != Then::Stop),
        // What has changed since is known from here on, or has been since the parent.
        track_mem: Some(then == Then::GoOnUnwritten || parent.is_some()),
        parent_img: parent.map(|path| path.to_string_lossy().into_owned()),
        external,
        config_file: images::config(record.annotations.get(CRIU_CONFIG)),
        ..opts
    })
}
