//! Whole lives of containers in the command lines that callers use, word for word and in their order: what has to be
//! there between them is there, without an engine. conmon and podman, go-runc (containerd, docker), buildah, CRI-O,
//! BuildKit (docker build), conmon-rs.

mod caller;
mod containerd;
mod others;
mod podman;

use crate::clause::{Clause, Need, callers};

const LIFE: &str = "callers: a life in their command lines";

pub(crate) const CLAUSES: &[Clause] = &[
    callers(
        "callers.replay.podman",
        (LIFE, "podman and conmon: create, start, exec, update, pause, resume, kill, delete."),
        podman::podman,
    )
    .needs(&[Need::Verb("exec"), Need::Verb("update"), Need::Verb("pause")]),
    callers(
        "callers.replay.podman-terminal",
        (LIFE, "podman and conmon, with a terminal: create and exec hand over theirs."),
        podman::podman_terminal,
    )
    .needs(&[Need::Verb("exec")]),
    callers(
        "callers.replay.podman-failure",
        (LIFE, "conmon: a failure is one JSON document, the same on stderr, and no pid file."),
        podman::podman_failure,
    )
    .needs(&[Need::Verb("exec")]),
    callers(
        "callers.replay.containerd",
        (LIFE, "go-runc as containerd's shim calls it: create to delete, with exec, ps, pause, update."),
        containerd::containerd,
    )
    .needs(&[Need::Verb("exec"), Need::Verb("ps"), Need::Verb("pause"), Need::Verb("update")]),
    callers(
        "callers.replay.containerd-unstarted",
        (LIFE, "go-runc: delete without --force of what was not started, and once more."),
        containerd::containerd_unstarted,
    ),
    callers(
        "callers.replay.buildah",
        (LIFE, "buildah: create in the bundle, start, state until it has stopped, kill without a signal."),
        others::buildah,
    ),
    callers(
        "callers.replay.cri-o",
        (LIFE, "CRI-O: exec in the foreground, kill by name, kill -a, state, delete."),
        others::cri_o,
    )
    .needs(&[Need::Verb("exec")]),
    callers(
        "callers.replay.buildkit",
        (
            LIFE,
            "BuildKit: run in the foreground, exec with a pid file beside it, kill, delete of what is kept.",
        ),
        others::buildkit,
    )
    .needs(&[Need::Verb("exec")]),
    callers(
        "callers.replay.conmon-rs",
        (LIFE, "conmon-rs: --root=DIR, the program of exec on the command line, -d."),
        others::conmon_rs,
    )
    .needs(&[Need::Verb("exec")]),
    callers(
        "callers.replay.docker-wrapper",
        (
            LIFE,
            "docker's runtimeArgs: a shell script hands on all words; features and --version say nothing on stderr.",
        ),
        others::docker,
    ),
];

/// Words of a command line, whatever strings or paths they are.
macro_rules! words {
    ($($word:expr),+ $(,)?) => {
        [$(std::ffi::OsStr::new(&$word)),+]
    };
}
use words;
