//! Runs in: init, after the pivot: the wait for `start`, and the last steps to the program.

use std::convert::Infallible;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::sys::socket::{SockFlag, accept4};

use super::program::Program;
use super::{Departure, Gate, Inherited, identity, run_hooks};
use crate::container::handshake::{Go, Link, Message, Report};
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
    if given.departure != Departure::Late {
        return from_here(given, sets, program);
    }
    let calls = last_calls(given, sets, program)?;
    sys::process::on_broken_pipe(BrokenPipe::Kills);
    let link = given.link.take().ok_or_else(|| failure(Kind::System, "nobody is listening"))?;
    let gate = match std::mem::replace(&mut given.gate, Gate::Open) {
        Gate::Socket(gate) => Some(gate),
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
fn from_here(given: &mut Inherited<'_>, sets: CapabilitySets, program: Program) -> Result<Infallible> {
    if let Gate::Socket(gate) = &given.gate {
        // It may wait for long, and be seen: what it has had from the host it needs no more.
        crate::log::leave_file();
        let kept = [gate.as_fd(), given.link()?.fd()].into_iter().chain(given.hook_output.fds());
        sys::process::close_all_but(3 + given.preserved, &kept.collect::<Vec<_>>())?;
    }
    let mut calls = last_calls(given, sets, program)?;
    calls.begin()?;
    if let Gate::Socket(gate) = &given.gate {
        // Its end tells the host that the container is created.
        given.link = None;
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
    let is_listened_to = given.plan.seccomp.as_ref().is_some_and(|seccomp| seccomp.listener.is_some());
    let filter_needs_more = identity::filter_needs_more(given);
    let confine = |calls: &mut LastCalls| -> Result<()> {
        calls.umask(process.umask.unwrap_or(given.umask));
        // All that this process has opened is closed by execve; this is the last sweep, for what it has not.
        calls.cloexec_from(3 + given.preserved);
        match is_listened_to {
            true => load_listened(given, calls)?,
            false => load(given, calls)?,
        }
        if filter_needs_more {
            calls.set_capabilities(sets.effective, sets.permitted, sets.inheritable);
        }
        Ok(())
    };
    if !filter_needs_more {
        // Nothing that was kept to leave the program's file is held while it waits.
        calls.set_capabilities(sets.effective, sets.permitted, sets.inheritable);
    }
    if is_listened_to {
        // That the agent can't be reached is an error of `create`; so the calls of the wait are filtered, too.
        confine(&mut calls)?;
    }
    calls.then_wait();
    // The hard limits are high enough since `create`; lowering them needs no privilege, and what comes
    // before this can't run into them.
    for limit in &process.rlimits {
        calls.set_rlimit(limit.resource, limit.soft, limit.hard);
    }
    if !is_listened_to {
        confine(&mut calls)?;
    }
    program.execute_by(&mut calls)?;
    Ok(calls)
}

fn load(given: &Inherited<'_>, calls: &mut LastCalls) -> Result<()> {
    if let (Some(program), Some(plan)) = (&given.filter, &given.plan.seccomp) {
        calls.load_filter(program, plan.flags).doing(|| "linux.seccomp")?;
    }
    Ok(())
}

/// The host is told the listener's number beforehand and takes it when it is there; this process then makes
/// no call that the filter could leave to an agent that does not listen yet.
fn load_listened(given: &Inherited<'_>, calls: &mut LastCalls) -> Result<()> {
    let link = given.link()?.fd();
    let number = match (&given.gate, given.departure) {
        (Gate::Socket(gate), Departure::Late) => {
            Waiting::next_number(link, Some(gate.as_fd()), 3 + given.preserved)
        }
        (Gate::Open, Departure::Late) => Waiting::next_number(link, None, 3 + given.preserved),
        _ => sys::fs::next_number(),
    };
    let offer = serde_json::to_vec(&Message::OfferListener(number))?;
    calls.say(link, offer, "linux.seccomp: write(the listener's number)");
    load(given, calls)?;
    calls.await_answer(link, "linux.seccomp.listenerPath: the host side has ended");
    // Without an agent the calls that are left to it fail; as long as this process has the listener, they would wait
    // for ever.
    calls.close(number);
    Ok(())
}
