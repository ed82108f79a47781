//! `checkpoint` and `restore`. They need a CRIU that works here: `conformance/in-tree $(conformance/tree criu)` has one.

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use serde_json::json;

use crate::support::terminal::{ConsoleSocket, expect};
use crate::support::{
    Bundle, Case, Done, Running, case, eventually, is_there, need, nothing_is_left, read, remove, within,
    write,
};

/// Counts for as long as it runs; ends with 3 when it is told to. It starts no other program meanwhile: CRIU can't seize
/// a process that is frozen in the middle of vfork(2), and gives up after ten seconds.
const COUNTING: &str = "mkfifo /f; exec 9<>/f; trap 'exit 3' TERM; \
     n=0; while :; do n=$((n+1)); echo $n >/n; read -t 0.02 x <&9; done";

/// Why CRIU does not work here; nothing if it does.
fn lacking() -> &'static str {
    static LACKING: OnceLock<String> = OnceLock::new();
    LACKING.get_or_init(|| match Command::new("criu").arg("check").output() {
        Err(_) => "criu is not installed".to_owned(),
        Ok(output) if output.status.success() => String::new(),
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            format!("criu does not work here: {}", said.lines().next().unwrap_or_default())
        }
    })
}

/// Which one it is.
fn criu_version() -> (u32, u32) {
    let output = Command::new("criu").arg("--version").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let number = text.split_whitespace().nth(1).unwrap_or_default();
    let mut parts = number.split('.').map(|part| part.parse().unwrap());
    (parts.next().unwrap(), parts.next().unwrap())
}

/// Begins a test that needs CRIU.
macro_rules! criu_case {
    () => {{
        need!(lacking().is_empty(), "{}", lacking());
        case!()
    }};
}

mod dummy;
mod every_call;
mod faults;
mod hostile;
mod killed;
mod options;
mod privileges;
mod races;
mod sharing;
mod surroundings;
mod verbs;

/// A running container that counts.
fn counting(case: &Case, change: impl FnOnce(&mut serde_json::Value)) -> Bundle {
    let b = case.script(COUNTING, change);
    case.started(&b);
    eventually("it counts", || number(&b) > 2);
    b
}

fn number(b: &Bundle) -> u64 {
    std::fs::read_to_string(b.rootfs("n")).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}

/// Whether the number grows from one look to the next. One that has been restored counts from where it was when it was
/// written, which is below what another one may have left there.
fn goes_on(b: &Bundle) -> bool {
    let mut before = u64::MAX;
    within(Duration::from_secs(5), || {
        let now = number(b);
        // It is none in the moment in which it is written.
        let grows = now > before;
        before = if now == 0 { u64::MAX } else { now };
        grows
    })
}

fn images(case: &Case) -> PathBuf {
    case.path("images")
}

fn checkpoint_line<'a>(images: &'a Path, flags: &[&'a str], id: &'a str) -> Vec<&'a str> {
    [&["checkpoint", "--image-path", images.to_str().unwrap()], flags, &[id]].concat()
}

fn restore_line<'a>(images: &'a Path, b: &'a Bundle, flags: &[&'a str], id: &'a str) -> Vec<&'a str> {
    [&["restore", "-b", b.path(), "--image-path", images.to_str().unwrap()], flags, &[id]].concat()
}

fn checkpoint(case: &Case, id: &str, flags: &[&str]) -> Done {
    checkpoint_to(case, &images(case), id, flags)
}

fn checkpoint_to(case: &Case, images: &Path, id: &str, flags: &[&str]) -> Done {
    let work = case.path("work");
    let flags = [&["--work-path", work.to_str().unwrap()], flags].concat();
    case.call(checkpoint_line(images, &flags, id)).finish()
}

fn restore(case: &Case, b: &Bundle, id: &str, flags: &[&str]) -> Done {
    restore_from(case, &images(case), b, id, flags)
}

fn restore_from(case: &Case, images: &Path, b: &Bundle, id: &str, flags: &[&str]) -> Done {
    let work = case.path("work");
    let flags = [&["--work-path", work.to_str().unwrap()], flags].concat();
    case.call(restore_line(images, b, &flags, id)).finish()
}

/// A bundle whose container has been written and deleted.
fn written(case: &Case) -> Bundle {
    let b = counting(case, |_| {});
    checkpoint(case, &b.id, &[]).prints("");
    case.call(["delete", &b.id]).finish().prints("");
    b
}

/// A checkpoint on its way.
fn checkpointing(case: &Case, images: &Path, b: &Bundle, flags: &[&str]) -> Running {
    case.call(checkpoint_line(images, flags, &b.id)).spawn()
}

/// A restore on its way, detached.
fn restoring(case: &Case, b: &Bundle, flags: &[&str]) -> Running {
    let flags = [&["-d"], flags].concat();
    case.call(restore_line(&images(case), b, &flags, &b.id)).spawn()
}

/// The container `of` of a bundle, written, deleted and restored under another id, detached; answers what has been
/// restored.
fn moved(case: &Case, b: &Bundle, of: &str) -> Bundle {
    checkpoint(case, of, &[]).prints("");
    case.until(of, "stopped");
    case.call(["delete", of]).finish().prints("");
    let other = b.as_id(case, &format!("{of}-restored"));
    restore(case, &other, &other.id, &["--detach"]).ok();
    other
}

#[test]
fn a_container_goes_on_where_it_was_when_it_is_restored() {
    let case = criu_case!();
    let b = counting(&case, |_| {});
    checkpoint(&case, &b.id, &[]).prints("");
    let at = number(&b);
    assert_eq!((case.status(&b.id).as_str(), case.pid(&b.id)), ("stopped", 0));
    for file in ["images/descriptors.json", "images/inventory.img", "work/dump.log", "work/stats-dump"] {
        assert!(is_there(case.path(file)), "{file}");
    }
    // It may be there meanwhile, or may not be.
    restore(&case, &b, &b.id, &["--detach"]).fails(&["already exists"]);
    case.call(["delete", &b.id]).finish().prints("");
    write(&b.rootfs("n"), "0\n", 0o644);
    let pid_file = case.path("pid");
    restore(&case, &b, &b.id, &["-d", "--pid-file", pid_file.to_str().unwrap()]).prints("");
    eventually("it counts on", || number(&b) > at);
    assert!(number(&b) < at + 1000, "{} after {at}", number(&b));
    let pid = case.pid(&b.id);
    assert_eq!((case.status(&b.id).as_str(), read(&pid_file)), ("running", pid.to_string()));
    assert!(read(b.cgroup.join("cgroup.procs")).lines().any(|line| line == pid.to_string()));
    // All verbs find it.
    case.call(["pause", &b.id]).finish().ok();
    case.call(["resume", &b.id]).finish().ok();
    assert!(goes_on(&b));
    case.call(["kill", &b.id]).finish().ok();
    case.until(&b.id, "stopped");
    case.call(["delete", &b.id]).finish().prints("");
}

#[test]
fn a_container_is_restored_under_another_id_in_another_cgroup() {
    let case = criu_case!();
    let b = counting(&case, |config| {
        config["linux"]["resources"] = json!({ "unified": { "cgroup.max.depth": "3" } });
    });
    let other = moved(&case, &b, &b.id);
    assert!(goes_on(&b));
    assert!(!is_there(&b.cgroup));
    assert_eq!(read(other.cgroup.join("cgroup.max.depth")), "3\n");
    // Again, from what has been restored.
    std::fs::rename(images(&case), case.path("used")).unwrap();
    let third = moved(&case, &b, &other.id);
    assert!(goes_on(&b));
    case.delete(&third.id);
}

#[test]
fn a_container_that_is_left_running_goes_on_and_can_be_restored_all_the_same() {
    let case = criu_case!();
    let b = counting(&case, |_| {});
    checkpoint(&case, &b.id, &["--leave-running", "--tcp-established", "--file-locks", "--leave-running"])
        .prints("");
    assert!(goes_on(&b));
    assert_eq!(case.status(&b.id), "running");
    case.call(["kill", &b.id, "KILL"]).finish().ok();
    case.until(&b.id, "stopped");
    case.call(["delete", &b.id]).finish().ok();
    restore(&case, &b, &b.id, &["-d", "--tcp-established", "--file-locks", "--no-pivot", "--no-new-keyring"])
        .ok();
    assert!(goes_on(&b));
    case.delete(&b.id);
}

#[test]
fn a_paused_container_stays_so_if_it_is_left_running() {
    let case = criu_case!();
    let b = counting(&case, |_| {});
    case.call(["pause", &b.id]).finish().ok();
    checkpoint(&case, &b.id, &["--leave-running"]).prints("");
    assert_eq!(case.status(&b.id), "paused");
    case.call(["resume", &b.id]).finish().ok();
    assert!(goes_on(&b));
    case.delete(&b.id);
}

#[test]
fn a_terminal_is_a_new_one_after_it_has_been_restored() {
    let case = criu_case!();
    let b = case.script("while read line; do echo \"[$line]\"; done", |config| {
        config["process"]["terminal"] = json!(true);
    });
    let socket = ConsoleSocket::listen(&case.path("console"));
    let call = case.call(["create", "-b", b.path(), "--console-socket", "console", &b.id]).spawn();
    let first = socket.receive();
    call.wait().ok();
    case.call(["start", &b.id]).finish().ok();
    nix::unistd::write(&first.fds[0], b"one\n").unwrap();
    expect(first.fds[0].as_fd(), "[one]");
    checkpoint(&case, &b.id, &[]).prints("");
    case.call(["delete", &b.id]).finish().ok();
    restore(&case, &b, &b.id, &["-d"]).fails(&["--console-socket"]);
    let call = restoring(&case, &b, &["--console-socket", "console"]);
    let second = socket.receive();
    call.wait().ok();
    nix::unistd::write(&second.fds[0], b"two\n").unwrap();
    expect(second.fds[0].as_fd(), "[two]");
    case.delete(&b.id);
}

#[test]
fn a_restore_in_the_foreground_ends_as_the_program_does_and_deletes_the_container() {
    let case = criu_case!();
    let b = counting(&case, |_| {});
    checkpoint(&case, &b.id, &[]).prints("");
    case.call(["delete", &b.id]).finish().ok();
    let call = case.call(restore_line(&images(&case), &b, &[], &b.id)).spawn();
    eventually("it runs", || {
        case.call(["state", &b.id]).finish().code() == 0 && case.status(&b.id) == "running"
    });
    assert!(goes_on(&b));
    call.signal(libc::SIGTERM);
    assert_eq!(call.wait().code(), 3);
    case.call(["state", &b.id]).finish().fails(&["does not exist"]);
}

#[test]
fn hooks_of_the_runtime_see_a_restored_container_and_one_that_fails_leaves_nothing_of_it() {
    let case = criu_case!();
    let hook = |kind: &str, word: &str| {
        let script = format!("echo {word} $(cat) >>{}", case.path("hooks").display());
        json!({ kind: [{ "path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/usr/bin:/bin"] }] })
    };
    let b = counting(&case, |config| config["hooks"] = hook("createRuntime", "ran"));
    checkpoint(&case, &b.id, &[]).prints("");
    case.call(["delete", &b.id]).finish().ok();
    remove(&case.path("hooks"));
    restore(&case, &b, &b.id, &["-d"]).ok();
    assert!(goes_on(&b));
    let seen = read(case.path("hooks"));
    let state: serde_json::Value = serde_json::from_str(seen.trim().strip_prefix("ran ").unwrap()).unwrap();
    assert_eq!((&state["status"], &state["pid"]), (&json!("creating"), &json!(case.pid(&b.id))));
    case.delete(&b.id);
    let mut config = b.config();
    config["hooks"] = json!({
        "prestart": [{ "path": "/bin/false" }],
        "poststop": hook("poststop", "stopped")["poststop"],
    });
    b.save(&config);
    restore(&case, &b, &b.id, &["-d"]).fails(&["error running prestart hook #0", "exited 1"]);
    assert!(read(case.path("hooks")).contains("stopped "));
    nothing_is_left(&case, "by a hook that fails");
}

#[test]
fn only_what_runs_can_be_written() {
    let case = case!();
    let b = case.script("exec sleep 1000", |_| {});
    checkpoint(&case, &b.id, &[]).fails(&["does not exist"]);
    case.created(&b);
    checkpoint(&case, &b.id, &[]).fails(&["cannot checkpoint container", &b.id, "it is created"]);
    case.call(["start", &b.id]).finish().ok();
    case.call(["kill", &b.id, "KILL"]).finish().ok();
    case.until(&b.id, "stopped");
    checkpoint(&case, &b.id, &[]).fails(&["it is stopped"]);
    assert!(!is_there(images(&case)));
    case.delete(&b.id);
}

#[test]
fn podman_finds_out_what_this_runtime_can_do() {
    let case = case!();
    for verb in ["checkpoint", "restore"] {
        let help = case.call([verb, "--help"]).finish().ok().stdout();
        assert!(help.contains("--image-path"), "{help}");
    }
    case.call(["restore", "--lsm-mount-context"]).finish().fails(&["flag needs an argument"]);
}
