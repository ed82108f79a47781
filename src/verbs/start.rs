//! `start ID`: runtime.md, "Start"; lifecycle steps 6 to 9.

use std::os::fd::AsRawFd;

use nix::sys::socket::{AddressFamily, SockFlag, SockType, connect, socket};

use super::{Current, Runtime};
use crate::container::cgroup::Tree;
use crate::container::destruction;
use crate::container::handshake::{Go, Link, Message};
use crate::container::id::ContainerId;
use crate::container::later_hooks;
use crate::container::notify::{Inbox, Manager};
use crate::container::process::{Alive, never_executed};
use crate::container::status::{Status, Verb};
use crate::container::store::{Entry, GATE};
use crate::error::{Doing, Kind, Result, best_effort, errno_of, failure, kind_of};
use crate::sys::{Call, Errno, net, retry_eintr};

/// Lets the container's process become its program. With a service manager that is to hear of it, and a container
/// made for that, it returns when the program is ready or has ended.
pub fn start(runtime: &Runtime, id: &ContainerId, manager: Option<&Manager>) -> Result<()> {
    let entry = runtime.store.lock(id)?;
    let record = entry.record()?;
    let mut frozen = false;
    let current = Current::of_told(record.as_ref(), entry.has_gate()?, |cgroup| {
        // Most are not, and then it is known of those above, too.
        let tree = Tree::find()?;
        frozen = tree.is_frozen(cgroup)?;
        Ok(frozen && tree.is_told_to_freeze(cgroup)?)
    })?;
    let (true, Some(record)) = (current.status.admits(Verb::Start), record) else {
        let remedy = if current.status == Status::Paused { "; resume it first" } else { "" };
        let text = format!("cannot start container {id}: it is {}{remedy}", current.status);
        return Err(failure(Kind::InvalidState, text));
    };
    let not_frozen = || current.cgroup(&record)?.map_or(Ok(()), |cgroup| cgroup.refuse_frozen());
    if frozen {
        not_frozen().doing(|| format!("cannot start container {id}"))?;
    }
    let mut can_speak = || {
        not_frozen().doing(|| format!("container {id}: started, and will run when it is thawed"))?;
        let executed = current.alive.as_ref().map(Alive::has_executed).transpose()?.flatten();
        Ok(executed == Some(false))
    };
    let inbox = match manager {
        Some(manager) if record.notify => Some(Inbox::open(&entry, manager)?),
        _ => None,
    };
    let outcome = open_gate(&entry, &mut can_speak)
        .map_err(|error| if_gone(id, error))
        .and_then(|()| became_the_program(current.alive.as_ref()))
        .and_then(|()| later_hooks::poststart(&entry, &record, current.pid()));
    match outcome {
        // Lifecycle steps 8 and 9: a hook that fails ends the container.
        Err(error) if kind_of(&error) == Kind::Hook => {
            best_effort("destroy the container", destruction::destroy(&runtime.store, entry, &record));
            Err(error)
        }
        Err(error) => Err(match current.cgroup(&record) {
            Ok(Some(cgroup)) => cgroup.explain(error, record.process),
            _ => error,
        }),
        Ok(()) => {
            // Others may do something with it while this waits.
            drop(entry);
            if let (Some(inbox), Some(alive)) = (inbox, &current.alive) {
                best_effort("tell the service manager", inbox.of(alive.pid).wait(alive.pidfd()));
            }
            Ok(())
        }
    }
}

/// The link ends with execve, and with the process: only what the kernel keeps of the process tells them apart.
/// Of one that somebody has reaped already nothing is known.
fn became_the_program(init: Option<&Alive>) -> Result<()> {
    match init.map(Alive::has_executed).transpose()?.flatten() {
        Some(false) => Err(never_executed()),
        Some(true) | None => Ok(()),
    }
}

/// An init that has been killed before it heard the word has closed its end.
fn if_gone(id: &ContainerId, error: anyhow::Error) -> anyhow::Error {
    match errno_of(&error) {
        Some(Errno::EPIPE | Errno::ECONNREFUSED | Errno::ECONNRESET) => {
            failure(Kind::InvalidState, format!("cannot start container {id}: its process has ended"))
        }
        _ => error,
    }
}

/// Says the word to init and waits until it has become the program, or says why it could not. The gate
/// goes first: whatever happens after that, the container is no longer `created`.
fn open_gate(entry: &Entry, can_speak: &mut dyn FnMut() -> Result<bool>) -> Result<()> {
    let socket = socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC, None)
        .call(|| "socket(AF_UNIX, SOCK_SEQPACKET)")?;
    let address = net::socket_at(entry.dir(), GATE)?;
    retry_eintr(|| connect(socket.as_raw_fd(), &address)).call(|| format!("connect({GATE:?})"))?;
    entry.remove_gate()?;
    let link = Link::over(socket);
    link.send(&Go, None)?;
    link.end_silence()?;
    match link.receive_unless(can_speak)?.map(|(message, _)| message) {
        Some(Message::Failed(report)) => Err(report.into()),
        Some(other) => Err(failure(Kind::System, format!("init said {other:?} at its gate"))),
        None => Ok(()),
    }
}
