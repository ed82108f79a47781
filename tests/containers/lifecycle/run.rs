//! `run`, and whose child the container is.

use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;
use serde_json::Value;

use super::PATIENT;
use crate::support::{case, eventually};

#[test]
fn run_ends_with_the_code_of_the_program() {
    let case = case!();
    for code in [0, 1, 7, 125, 255] {
        let done = case.sh(&format!("exit {code}"), |_| {});
        assert_eq!(done.code(), code, "{done}");
        assert_eq!(done.stderr(), "");
    }
}

#[test]
fn run_ends_with_128_and_the_number_of_the_signal_that_killed_the_program() {
    let case = case!();
    // Process 1 of a pid namespace ignores what it has no handler for: so one of the host's.
    let host_pids = |config: &mut Value| crate::support::bundle::set_namespace(config, "pid", None);
    for (name, number) in [("KILL", 9), ("TERM", 15), ("USR1", 10)] {
        let done = case.sh(&format!("kill -{name} $$; sleep 9"), host_pids);
        assert_eq!(done.code(), 128 + number, "{done}");
    }
}

#[test]
fn run_gives_the_program_its_own_standard_descriptors() {
    let case = case!();
    let input = std::fs::File::open(case.file("input", "from outside\n", 0o644)).unwrap();
    let b = case.script("cat; echo out; echo err >&2", |_| {});
    let done = case.call(["run", "-b", b.path(), &b.id]).stdin(input).finish();
    assert_eq!(
        (done.code(), done.stdout().as_str(), done.stderr().as_str()),
        (0, "from outside\nout\n", "err\n")
    );
}

#[test]
fn a_created_container_writes_to_the_output_of_create() {
    let case = case!();
    let b = case.script("echo out; echo err >&2", |_| {});
    let create = case.started(&b);
    case.until(&b.id, "stopped");
    assert_eq!((create.stdout().as_str(), create.stderr().as_str()), ("out\n", "err\n"));
    case.delete(&b.id);
}

#[test]
fn run_passes_signals_on_to_the_program() {
    let case = case!();
    let b = case.script(PATIENT, |_| {});
    let run = case.call(["run", "-b", b.path(), &b.id]).spawn();
    eventually("it is up", || run.stdout() == "up\n");
    run.signal(nix::libc::SIGTERM);
    assert_eq!(run.wait().code(), 3);
}

#[test]
fn run_detached_returns_while_the_program_runs() {
    let case = case!();
    let b = case.script(PATIENT, |_| {});
    case.call(["run", "-d", "-b", b.path(), &b.id]).finish().ok();
    assert_eq!(case.status(&b.id), "running");
    case.delete(&b.id);
}

#[test]
fn run_with_keep_leaves_a_stopped_container() {
    let case = case!();
    let b = case.script("exit 5", |_| {});
    assert_eq!(case.call(["run", "--keep", "-b", b.path(), &b.id]).finish().code(), 5);
    assert_eq!(case.status(&b.id), "stopped");
    case.call(["delete", &b.id]).finish().ok();
}

#[test]
fn the_process_is_the_callers_own_child_after_create() {
    // buildah waits for the container by itself, as its (sub)reaper.
    let case = case!();
    let b = case.script("exit 42", |_| {});
    case.created(&b);
    let pid = Pid::from_raw(case.pid(&b.id));
    case.call(["start", &b.id]).finish().ok();
    assert_eq!(waitpid(pid, None).unwrap(), WaitStatus::Exited(pid, 42));
    case.delete(&b.id);
}
