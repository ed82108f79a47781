//! `exec`: another process in a container that is there.
#![expect(clippy::disallowed_methods, reason = "tests make and change files of their own, by path")]

mod attacks;
mod cgroup;
mod command;
mod confinement;
mod file;
mod namespaces;
mod newborn;
mod races;
mod state;
mod terminal;

use std::path::PathBuf;
use std::sync::Once;
use std::time::Duration;

use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::support::bundle::Bundle;
use crate::support::{Call, Case, Done};

/// A container that runs until it is deleted.
fn running(case: &Case, change: impl FnOnce(&mut Value)) -> Bundle {
    reap_what_is_left();
    let b = case.script("sleep 1000", change);
    case.started(&b);
    b
}

/// As an engine's monitor does: a process of `exec` whose caller has gone becomes a child of this test, and its pid
/// namespace does not end before somebody has waited for it. First processes are the affair of each test.
fn reap_what_is_left() {
    static BEGUN: Once = Once::new();
    BEGUN.call_once(|| drop(std::thread::Builder::new().spawn(reap_for_ever).unwrap()));
}

fn reap_for_ever() {
    let own = format!("PPid:\t{}\n", std::process::id());
    let is_left = |status: &str| {
        let inner = status.lines().find_map(|line| line.strip_prefix("NSpid:\t")).unwrap_or("");
        let inner = inner.split_once('\t').map_or("", |(_, inner)| inner);
        status.contains(&own)
            && status.contains("State:\tZ")
            && !inner.is_empty()
            && !inner.ends_with("\t1")
            && inner != "1"
    };
    loop {
        for entry in std::fs::read_dir("/proc").unwrap().filter_map(Result::ok) {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            if std::fs::read_to_string(entry.path().join("status")).is_ok_and(|status| is_left(&status)) {
                waitpid(Pid::from_raw(pid), Some(WaitPidFlag::WNOHANG)).map(drop).unwrap_or_default();
            }
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// `exec` with these words after it.
fn exec<'c>(case: &'c Case, words: &[&str]) -> Call<'c> {
    reap_what_is_left();
    case.call(["exec"].iter().chain(words))
}

/// A shell script in the container, with these flags.
fn sh(case: &Case, flags: &[&str], b: &Bundle, script: &str) -> Done {
    let words = [flags, &[b.id.as_str(), "/bin/sh", "-c", script]].concat();
    exec(case, &words).finish()
}

/// It has to have failed as `exec` does, with one line that has all these words.
#[track_caller]
fn refused(done: Done, words: &[&str]) -> Done {
    assert_eq!(done.code(), 255, "{done}");
    done.says(words)
}

/// A file for `--process`: a shell script, changed by `change`.
fn process_file(case: &Case, script: &str, change: impl FnOnce(&mut Value)) -> PathBuf {
    let mut process = json!({
        "user": { "uid": 0, "gid": 0 }, "cwd": "/", "env": ["PATH=/bin"], "args": ["/bin/sh", "-c", script],
    });
    change(&mut process);
    case.file("process.json", process.to_string(), 0o644)
}

/// What a program prints of itself.
const ABOUT: &str = "id; pwd; env | grep -v -e SHLVL -e PWD -e MINIDOCKER | sort; \
    grep -E 'Cap(Inh|Prm|Eff|Bnd|Amb)|NoNewPrivs|Seccomp:|Groups' /proc/self/status | tr -d '\t '; \
    umask; ulimit -n; cat /proc/self/oom_score_adj";
