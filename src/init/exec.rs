//! Runs in: init, after the pivot: the wait for `start`, and the last steps to the program.

use std::convert::Infallible;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::sys::socket::{SockFlag, accept4};

use super::program::Program;
use super::{Departure, Gate, Inherited, identity, run_hooks};
use crate::container::handshake::{Go, Link, Report};
use crate::error::{Doing, Kind, Result, failure};
use crate::plan::capabilities::CapabilitySets;
use crate::spec::oci::ContainerState;
use crate::sys::last_calls::{LastCalls, Waiting};
use crate::sys::process::BrokenPipe;
use crate::sys::{self, Call, retry_eintr};

/// Waits at the gate, and becomes the program. After the wait errors go to who opened it.
pub(super) fn when_started(
    given: &mut Inherited<'_>,
    sets: CapabilitySets,
    program: Program,
) -> Result<Infallible> {
    let if_no_program = program.if_no_program();
    let calls = last_calls(given, sets, program)?;
    if given.departure != Departure::Late {
        return from_here(given, calls);
    }
    sys::process::on_broken_pipe(BrokenPipe::Kills);
    let link = given.link.take().ok_or_else(|| failure(Kind::System, "nobody is listening"))?;
    let gate = match &given.gate {
        Gate::Socket(gate) => Some(gate.try_clone()?),
        Gate::Open => None,
    };
    let waiting = Waiting { link: link.into_fd(), gate, first: 3 + given.preserved };
    let encode = |what: &str| {
        // A report is a few strings; there is nothing in it that JSON could not say.
        serde_json::to_vec(&Report::ahead(what, if_no_program.clone())).unwrap_or_default()
    };
    let outcome = calls.finish_detached(&given.stub, &waiting, encode);
    given.link = Some(Link::over(waiting.link));
    outcome.map_err(Into::into)
}

/// With hooks to run in between, or on a machine without the loop: this process has left its file already.
fn from_here(given: &mut Inherited<'_>, calls: LastCalls) -> Result<Infallible> {
    if let Gate::Socket(gate) = &given.gate {
        // Its end tells the host that the container is created.
        given.link = None;
        // It may wait for long, and be seen: what it has had from the host it needs no more.
        crate::log::leave_file();
        sys::process::close_all_but(3 + given.preserved, &[gate.as_fd()])?;
        given.link = Some(wait_at(gate)?);
    }
    run_hooks(given, "startContainer", ContainerState::Created)?;
    sys::process::on_broken_pipe(BrokenPipe::Kills);
    calls.finish().map_err(Into::into)
}

/// A connection without the word is of a `start` that was killed: the container has lost its gate.
fn wait_at(gate: &OwnedFd) -> Result<Link> {
    let connection =
        retry_eintr(|| accept4(gate.as_raw_fd(), SockFlag::SOCK_CLOEXEC)).call(|| "accept4(gate)")?;
    let link = Link::over(sys::fs::own(connection));
    match link.receive::<Go>()? {
        Some(Go) => Ok(link),
        None => Err(failure(Kind::InvalidState, "start was interrupted")),
    }
}

/// All that is left to do, in its order. The filter comes last: it need not allow anything but what is
/// after it.
fn last_calls(given: &Inherited<'_>, sets: CapabilitySets, program: Program) -> Result<LastCalls> {
    let mut calls = LastCalls::default();
    // config.md: `create` needs no process, `start` does.
    let Some(process) = &given.plan.process else {
        return Ok(calls);
    };
    let filter_needs_more = identity::filter_needs_more(given);
    if !filter_needs_more {
        // Nothing that was kept to leave the program's file is held while it waits.
        calls.set_capabilities(sets.effective, sets.permitted, sets.inheritable);
    }
    calls.then_wait();
    // The hard limits are high enough since `create`; lowering them needs no privilege, and what comes
    // before this can't run into them.
    for limit in &process.rlimits {
        calls.set_rlimit(limit.resource, limit.soft, limit.hard);
    }
    calls.umask(process.umask.unwrap_or(given.umask));
    // All that this process has opened is closed by execve; this is the last sweep, for what it has not.
    calls.cloexec_from(3 + given.preserved);
    if let Some(filter) = &given.filter {
        let flags = given.plan.seccomp.as_ref().map_or(0, |seccomp| seccomp.flags);
        calls.load_filter(filter, flags).doing(|| "linux.seccomp")?;
    }
    if filter_needs_more {
        calls.set_capabilities(sets.effective, sets.permitted, sets.inheritable);
    }
    program.execute_by(&mut calls)?;
    Ok(calls)
}
