//! Runs in: init, after the pivot: the wait for `start`, or for a sibling's birth; and the last steps to the program.

use std::convert::Infallible;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::sys::socket::{SockFlag, accept4};

use super::program::Program;
use super::{Candidate, Departure, Gate, Inherited, hooks};
use crate::container::handshake::{Go, Hints, Link, Message, Report};
use crate::error::{Doing, Kind, Result, failure};
use crate::plan::capabilities::CapabilitySets;
use crate::plan::process::ProcessPlan;
use crate::plan::seccomp;
use crate::sys::last_calls::{BIRTH, Birth, LastCalls, Pause, Waiting};
use crate::sys::process::{BrokenPipe, SIBLING, Side};
use crate::sys::{self, Call, retry_eintr};

/// Waits at the gate, and becomes the program. After the wait errors go to who opened it.
pub(super) fn when_started(
    given: &mut Inherited<'_>,
    sets: CapabilitySets,
    program: Program,
) -> Result<Infallible> {
    let gate = match std::mem::replace(&mut given.gate, Gate::Open) {
        Gate::Socket(gate) => Some(gate),
        Gate::Open => None,
    };
    let birth = given.plan.namespaces.has_strangers().then_some(Birth::Answered);
    let pause = Pause { birth, gate };
    match given.candidate.departure {
        Departure::Late => detached(&mut given.candidate, pause, sets, program),
        Departure::Early | Departure::Sealed => from_here(given, &pause, sets, program),
    }
}

/// When a sibling of this process has been cloned, that becomes the program. Errors go to the host.
pub(super) fn as_sibling(
    candidate: &mut Candidate<'_>,
    birth: Birth,
    sets: CapabilitySets,
    mut program: Program,
) -> Result<Infallible> {
    let pause = Pause { birth: Some(birth), gate: None };
    if candidate.departure == Departure::Late {
        return detached(candidate, pause, sets, program);
    }
    // It will be seen in there: what this process has had from the host it needs no more.
    crate::log::leave_file();
    sys::process::close_all_but(3 + candidate.preserved, &[candidate.link()?.fd()])?;
    be_born(candidate, &mut program)?;
    let hints = program.hints();
    finish(last_calls(candidate, &pause, sets, program)?, &hints)
}

/// Clones a sibling, by ordinary code: that returns from here, this process tells of it and ends.
fn be_born(candidate: &Candidate<'_>, program: &mut Program) -> Result<()> {
    let cloned = sys::process::clone3(SIBLING, None);
    match cloned.map_err(|error| Report::of(error, &program.hints_of_birth()))? {
        Side::Host(pid, pidfd) => {
            candidate.link()?.send(&Message::Born(pid.as_raw()), Some(pidfd.as_fd()))?;
            sys::process::exit_now(0)
        }
        Side::Init => program.tell_listening(candidate.listening),
    }
    Ok(())
}

/// From the loop, which leaves the host's file.
fn detached(
    candidate: &mut Candidate<'_>,
    pause: Pause,
    sets: CapabilitySets,
    program: Program,
) -> Result<Infallible> {
    let (hints, of_birth) = (program.hints(), program.hints_of_birth());
    let calls = last_calls(candidate, &pause, sets, program)?;
    sys::process::on_broken_pipe(BrokenPipe::Kills);
    let link = candidate.link.take().ok_or_else(|| failure(Kind::System, "nobody is listening"))?;
    let waiting = Waiting { link: link.into_fd(), pause, first: 3 + candidate.preserved };
    let encode = |what: &str| {
        let hints = if what == BIRTH { &of_birth } else { &hints };
        // A report is a few strings; there is nothing in it that JSON could not say.
        serde_json::to_vec(&Report::ahead(what, hints.clone())).unwrap_or_default()
    };
    let outcome = calls.finish_detached(&candidate.stub, &waiting, encode);
    candidate.link = Some(Link::over(waiting.link));
    outcome.map_err(Into::into)
}

/// With hooks to run in between, or on a machine without the loop: this process has left its file already.
fn from_here(
    given: &mut Inherited<'_>,
    pause: &Pause,
    sets: CapabilitySets,
    mut program: Program,
) -> Result<Infallible> {
    // What it has had from the host it needs no more. It may wait for long, and be seen; and the program's path, which
    // may begin with /proc/self/fd, is not to lead through any of it.
    crate::log::leave_file();
    let gate = pause.gate.as_ref().map(AsFd::as_fd);
    let kept = gate.into_iter().chain([given.link()?.fd()]).chain(given.hook_output.fds());
    sys::process::close_all_but(3 + given.candidate.preserved, &kept.collect::<Vec<_>>())?;
    if pause.birth.is_some() {
        be_born(&given.candidate, &mut program)?;
    }
    let hints = program.hints();
    let mut calls = last_calls(&given.candidate, pause, sets, program)?;
    calls.begin()?;
    if let Some(gate) = &pause.gate {
        // Its end tells the host that the container is created.
        if let Some(link) = given.candidate.link.take() {
            link.end()?;
        }
        given.candidate.link = Some(wait_at(gate)?);
    }
    hooks::run_start_container(given)?;
    finish(calls, &hints)
}

/// The calls that are left, from ordinary code.
fn finish(calls: LastCalls, hints: &Hints) -> Result<Infallible> {
    sys::process::on_broken_pipe(BrokenPipe::Kills);
    calls.finish().map_err(|error| Report::of(error, hints).into())
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

/// Where in the list the filter is loaded, and a privilege given up that this takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Confined {
    /// Last: the filter need not allow anything but what is after it.
    AtTheEnd,
    /// Before the wait at the gate.
    BeforeGate,
    /// Before the birth of a sibling.
    BeforeBirth,
}

/// All that is left to do, in its order.
fn last_calls(
    candidate: &Candidate<'_>,
    pause: &Pause,
    sets: CapabilitySets,
    program: Program,
) -> Result<LastCalls> {
    // config.md: `create` needs no process, `start` does.
    let Some(process) = candidate.process else {
        let mut calls = LastCalls::default();
        if let Some(birth) = pause.birth {
            begin_sibling(candidate, birth, &mut calls)?;
            calls.then_gate();
        }
        return Ok(calls);
    };
    let mut calls = match candidate.filter {
        // That the agent can't be reached is an error of `create`; so the calls of the wait are filtered, too.
        Some(filter) if filter.is_listened_to && (pause.gate.is_some() || pause.birth.is_none()) => {
            but_execve(candidate, process, (pause, Confined::BeforeGate), sets)?
        }
        Some(filter)
            if pause.birth.is_some() && candidate.departure == Departure::Late && !filter.is_listened_to =>
        {
            // A sibling is seen in the container: who may trace it there (CAP_SYS_PTRACE) would have a process without
            // the filter, and with the privilege to load one.
            let calls = but_execve(candidate, process, (pause, Confined::BeforeBirth), sets)?;
            let link = candidate.link()?.fd();
            match calls.filtered(link, pause).iter().all(|call| seccomp::lets(filter.program, call)) {
                true => calls,
                false => but_execve(candidate, process, (pause, Confined::AtTheEnd), sets)?,
            }
        }
        _ => but_execve(candidate, process, (pause, Confined::AtTheEnd), sets)?,
    };
    program.execute_by(&mut calls)?;
    Ok(calls)
}

fn but_execve(
    candidate: &Candidate<'_>,
    process: &ProcessPlan,
    (pause, confined): (&Pause, Confined),
    sets: CapabilitySets,
) -> Result<LastCalls> {
    let mut calls = LastCalls::default();
    let needs_more = candidate.filter_needs_more();
    let confine = |calls: &mut LastCalls| -> Result<()> {
        calls.umask(process.umask.unwrap_or(candidate.umask));
        // All that this process has opened is closed by execve; this is the last sweep, for what it has not.
        calls.cloexec_from(3 + candidate.preserved);
        load(candidate, pause, calls)?;
        if needs_more {
            calls.set_capabilities(sets.effective, sets.permitted, sets.inheritable);
        }
        Ok(())
    };
    if !needs_more {
        // Nothing that was kept to leave the program's file is held while it waits.
        calls.set_capabilities(sets.effective, sets.permitted, sets.inheritable);
    }
    if confined == Confined::BeforeBirth {
        confine(&mut calls)?;
    }
    calls.then_birth();
    if let Some(birth) = pause.birth {
        begin_sibling(candidate, birth, &mut calls)?;
    }
    if confined == Confined::BeforeGate {
        confine(&mut calls)?;
    }
    calls.then_gate();
    // The hard limits are high enough since `create`; lowering them needs no privilege, and what comes
    // before this can't run into them.
    for limit in &process.rlimits {
        calls.set_rlimit(limit.resource, limit.soft, limit.hard);
    }
    if confined == Confined::AtTheEnd {
        confine(&mut calls)?;
    }
    Ok(calls)
}

/// Session and terminal are its own, and it lives only if the host knows of it: whatever has become of that, the end of
/// the link says so.
fn begin_sibling(candidate: &Candidate<'_>, birth: Birth, calls: &mut LastCalls) -> Result<()> {
    calls.begin_session();
    if candidate.process.is_some_and(|process| process.terminal.is_some()) {
        calls.control_terminal();
    }
    if birth == Birth::Answered {
        calls.await_answer(candidate.link()?.fd(), "the host side has ended");
    }
    Ok(())
}

/// Of a filter with an agent the host is told the listener's number beforehand, and takes it when it is there; this
/// process then makes no call that the filter could leave to an agent that does not listen yet.
fn load(candidate: &Candidate<'_>, pause: &Pause, calls: &mut LastCalls) -> Result<()> {
    let Some(filter) = &candidate.filter else { return Ok(()) };
    let load = |calls: &mut LastCalls| calls.load_filter(filter.program, filter.flags);
    if !filter.is_listened_to {
        return load(calls).doing(|| "linux.seccomp");
    }
    let link = candidate.link()?.fd();
    let number = match candidate.departure {
        Departure::Late => Waiting::next_number(link, pause, 3 + candidate.preserved),
        Departure::Early | Departure::Sealed => sys::fs::next_number(),
    };
    let offer = serde_json::to_vec(&Message::OfferListener(number))?;
    calls.say(link, offer, "linux.seccomp: write(the listener's number)");
    load(calls).doing(|| "linux.seccomp")?;
    calls.await_answer(link, "linux.seccomp.listenerPath: the host side has ended");
    // Without an agent the calls that are left to it fail; as long as this process has the listener, they would wait
    // for ever.
    calls.close(number);
    Ok(())
}
