//! Whose is what: the lock, the link and the descriptors of a container that is being made, a cgroup that others
//! are in, an id that another container has by now.

mod cgroup;
mod hanging;

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::bundle::{Bundle, set_namespace};
use crate::support::{
    Case, PATIENCE, Running, case, eventually, installed, is_there, make_dir, need, nothing_is_left, read,
    remove, within, write,
};

/// The processes in a cgroup; none where there is no cgroup.
fn processes_in(cgroup: &Path) -> Vec<i32> {
    let text = std::fs::read_to_string(cgroup.join("cgroup.procs")).unwrap_or_default();
    text.lines().map(|line| line.parse().unwrap()).collect()
}

fn uid_of(pid: i32) -> Option<u32> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("Uid:"))?.split_whitespace().next()?.parse().ok()
}

/// A program that runs as somebody else: the change of ids takes the signal of the parent's death away.
fn as_a_user(config: &mut Value) {
    config["process"]["user"] = json!({ "uid": 1000, "gid": 1000 });
}

fn with_hook_in_the_container(config: &mut Value) {
    config["hooks"]["startContainer"] = json!([{ "path": "/bin/true" }]);
}

#[test]
fn an_init_whose_create_is_killed_ends_by_itself_and_holds_nothing() {
    let case = case!();
    need!(installed("strace"), "strace is not installed");
    for (what, change) in [
        ("late", as_a_user as fn(&mut Value)),
        ("early", |config| {
            as_a_user(config);
            with_hook_in_the_container(config);
        }),
    ] {
        let b = case.script("sleep 100", change);
        // The host stays in the write of the record that follows Ready, while init becomes that user.
        let log = case.path("trace");
        let hold = "inject=renameat:delay_enter=60000000:when=2";
        let line = ["strace", "-D", "-qq", "-e", "trace=renameat", "-e", hold, "-o", log.to_str().unwrap()];
        let create = case.call_through(&line, ["create", "-b", b.path(), &b.id]).spawn();
        let init = || processes_in(&b.cgroup).first().copied();
        eventually("init is the user", || init().and_then(uid_of) == Some(1000));
        // It has nothing to do now but to wait for the host.
        std::thread::sleep(Duration::from_millis(100));
        create.signal(libc::SIGKILL);
        drop(create);
        eventually(&format!("{what}: init has ended by itself"), || processes_in(&b.cgroup).is_empty());
        case.nobody_holds(&b, what);
        case.delete(&b.id);
        nothing_is_left(&case, what);
        case.started(&b);
        case.delete(&b.id);
    }
}

#[test]
fn whenever_create_is_killed_its_init_waits_for_start_or_ends() {
    let case = case!();
    let b = case.script("sleep 100", as_a_user);
    let began = Instant::now();
    case.created(&b);
    let whole = began.elapsed();
    case.delete(&b.id);
    for n in 0..40u32 {
        let create = case.call(["create", "-b", b.path(), &b.id]).spawn();
        std::thread::sleep(whole * n / 36);
        drop(create);
        let settled =
            within(PATIENCE, || processes_in(&b.cgroup).is_empty() || case.status(&b.id) == "created");
        assert!(settled, "killed after {n}/36 of its time, there is an init that nobody can start");
        case.nobody_holds(&b, &format!("killed after {n}/36 of its time"));
        case.delete(&b.id);
        nothing_is_left(&case, "by a killed create");
    }
}

/// What the descriptors of a process from 3 up lead to.
fn descriptors_of(pid: i32) -> Vec<String> {
    let dir = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let number = |path: &Path| path.file_name().unwrap().to_str().unwrap().parse::<u32>().unwrap();
    let paths = dir.map(|entry| entry.unwrap().path()).filter(|path| number(path) > 2);
    paths.map(|path| std::fs::read_link(path).unwrap().display().to_string()).collect()
}

#[track_caller]
fn holds_nothing_of_the_host(case: &Case, b: &Bundle, what: &str) {
    let open = descriptors_of(case.pid(&b.id));
    // The gate, and what is left of the link.
    assert!(
        (1..=2).contains(&open.len()) && open.iter().all(|o| o.starts_with("socket:")),
        "{what}: {open:?}"
    );
}

#[test]
fn what_waits_for_start_has_no_descriptor_of_the_host() {
    let case = case!();
    type Change = fn(&mut Value);
    let changes: [(&str, Change); 5] = [
        ("late", |_| {}),
        ("a hook", with_hook_in_the_container),
        ("the host's pid namespace", |config| set_namespace(config, "pid", None)),
        ("a pid namespace that is joined", |config| {
            set_namespace(config, "pid", Some(json!({ "type": "pid", "path": "/proc/self/ns/pid" })));
        }),
        ("no process", |config| drop(config.as_object_mut().unwrap().remove("process"))),
    ];
    for (what, change) in changes {
        let b = case.script("sleep 100", |config| {
            config["linux"]["seccomp"] = json!({ "defaultAction": "SCMP_ACT_ALLOW" });
            config["linux"]["maskedPaths"] = json!(["/proc/kcore"]);
            change(config);
        });
        // A log is the host's, too.
        let log = case.path("log");
        let line = ["--log", log.to_str().unwrap(), "create", "-b", b.path(), &b.id];
        case.call(line).finish().ok();
        holds_nothing_of_the_host(&case, &b, what);
        if what != "no process" {
            case.call(["start", &b.id]).finish().ok();
        }
        case.delete(&b.id);
    }
}

#[test]
fn what_waits_in_a_copy_of_the_program_has_no_descriptor_of_the_host() {
    let case = case!();
    need!(installed("strace"), "strace is not installed");
    let b = case.script("sleep 100", |_| {});
    let log = case.path("trace");
    // A kernel without PR_SET_MM_MAP: asked for twice before the verb starts anew from a copy, and once after.
    let line = [
        "strace",
        "-D",
        "-qq",
        "-e",
        "trace=prctl",
        "-e",
        "inject=prctl:error=EINVAL:when=1..3",
        "-o",
        log.to_str().unwrap(),
    ];
    case.call_through(&line, ["create", "-b", b.path(), &b.id]).finish().ok();
    let exe = std::fs::read_link(format!("/proc/{}/exe", case.pid(&b.id))).unwrap();
    let exe = exe.display().to_string();
    assert!(exe.starts_with("/memfd:minidocker-init"), "not a copy: {exe} {}", read(&log));
    assert!(read(format!("/proc/{}/cmdline", case.pid(&b.id))).contains("create"), "it has left its file");
    holds_nothing_of_the_host(&case, &b, "sealed");
    case.call(["start", &b.id]).finish().ok();
    case.delete(&b.id);
}

#[test]
fn run_leaves_a_container_alone_that_has_its_id_by_now() {
    let case = case!();
    let b = case.script("sleep 100", |_| {});
    let mut run = case.call(["run", "-b", b.path(), &b.id]).spawn();
    case.until_running(&b);
    // It sees nothing of what happens now. Stopped while it still had the lock, it would hold up everybody.
    case.nobody_holds(&b, "run has started it");
    run.signal(libc::SIGSTOP);
    case.delete(&b.id);
    case.created(&b);
    let pid = case.pid(&b.id);
    run.signal(libc::SIGCONT);
    eventually("run has ended", || run.ended());
    assert_eq!((case.status(&b.id).as_str(), case.pid(&b.id)), ("created", pid));
    case.delete(&b.id);
}

impl Case {
    /// Nobody has the container's lock, or not for long: whoever waits for what nobody does any more would keep it.
    fn nobody_holds(&self, b: &Bundle, what: &str) {
        let dir = self.state.join(&b.id);
        // One that was killed very early has not made it.
        let free = || self.host(["flock", "-n", dir.to_str().unwrap(), "true"]).finish().code() == 0;
        eventually(&format!("nobody holds the lock: {what}"), || !is_there(&dir) || free());
    }

    /// As far as `state` knows at all.
    fn until_running(&self, b: &Bundle) {
        eventually("it is running", || {
            let state = self.call(["state", &b.id]).finish();
            state.code() == 0 && state.stdout().contains("\"running\"")
        });
    }

    /// A process of the host's in a cgroup that it makes.
    fn stranger_in(&self, cgroup: &Path) -> Running {
        if !cgroup.is_dir() {
            make_dir(cgroup);
        }
        let stranger = self.host(["sleep", "100"]).spawn();
        write(&cgroup.join("cgroup.procs"), stranger.pid().to_string(), 0o644);
        stranger
    }
}

#[test]
fn an_id_is_free_again_whatever_fails_while_it_is_taken() {
    let case = case!();
    need!(installed("strace"), "strace is not installed");
    let b = case.script("sleep 100", |_| {});
    let mut failed = 0;
    for (call, count) in
        [("flock", 1), ("fstat", 12), ("openat2", 40), ("renameat", 2), ("bind", 1), ("listen", 1)]
    {
        for k in 1..=count {
            let log = case.path("trace");
            let inject = format!("inject={call}:error=ENFILE:when={k}");
            let trace = format!("trace={call}");
            // The host's side alone.
            let line = ["strace", "-D", "-qq", "-e", &trace, "-e", &inject, "-o", log.to_str().unwrap()];
            let create = case.call_through(&line, ["create", "-b", b.path(), &b.id]).finish();
            if create.code() == 0 {
                case.delete(&b.id);
            } else {
                failed += 1;
            }
            assert!(!is_there(case.state.join(&b.id)), "{inject}: {create}");
            nothing_is_left(&case, &inject);
        }
    }
    assert!(failed > 10, "only {failed} calls failed");
}

#[test]
fn a_console_socket_that_accepts_nobody_is_an_error_in_bounded_time() {
    let case = case!();
    let path = case.path("console");
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    nix::sys::socket::listen(&listener, nix::sys::socket::Backlog::new(0).unwrap()).unwrap();
    let _queued = std::os::unix::net::UnixStream::connect(&path).unwrap();
    let b = case.script("true", |config| config["process"]["terminal"] = json!(true));
    let create =
        case.call(["create", "-b", b.path(), "--console-socket", path.to_str().unwrap(), &b.id]).finish();
    let create = create.fails(&["console socket", "(EAGAIN)"]);
    assert!(create.took > Duration::from_secs(9), "{create}");
    assert!(!is_there(case.state.join(&b.id)));
}

#[test]
fn run_reaps_what_the_container_leaves_to_it_unless_it_is_told_not_to() {
    let case = case!();
    // In the host's pid namespace an orphan goes to the nearest ancestor that adopts it.
    let adopted = "(sh -c 'until [ -e /go ]; do sleep 0.02; done' & echo $! >/orphan)
        cd /proc/$(cat /orphan); grep PPid: status; touch /go";
    let script = format!("{adopted}; while [ -e /proc/$(cat /orphan) ]; do sleep 0.02; done");
    let b = case.script(&script, |config| set_namespace(config, "pid", None));
    let run = case.call(["run", "-b", b.path(), &b.id]).spawn();
    let pid = run.pid();
    run.wait().prints(&format!("PPid:\t{pid}\n"));
    let script = format!(
        "{adopted}; until grep -q 'State:.Z' status; do sleep 0.02; done; sleep 0.3; [ -e status ] && echo zombie"
    );
    let b = case.script(&script, |config| set_namespace(config, "pid", None));
    let done = case.call(["run", "--no-subreaper", "-b", b.path(), &b.id]).finish().ok();
    // This process adopts them, and does not look after them.
    assert_eq!(done.stdout(), format!("PPid:\t{}\nzombie\n", std::process::id()), "{done}");
}

#[test]
fn warnings_are_logged_at_the_level_of_warnings() {
    let case = case!();
    let b = case.script("true", |config| {
        config["process"]["capabilities"]["bounding"] = json!(["CAP_NO_SUCH"]);
    });
    for (level, warned) in [
        (&["--log-level", "error"][..], false),
        (&[], false),
        (&["--log-level", "warning"], true),
        (&["--log-level=info"], true),
        (&["--log-level", "DEBUG"], true),
        (&["--log-level", "error", "--debug"], true),
    ] {
        let log = case.path("log");
        let mut line = level.to_vec();
        line.extend(["--log", log.to_str().unwrap(), "run", "-b", b.path(), &b.id]);
        let done = case.call(line).finish().ok();
        assert_eq!(done.stderr().contains("CAP_NO_SUCH"), warned, "{level:?}: {done}");
        assert_eq!(read(&log).contains("level=warning"), warned, "{level:?}");
        remove(&log);
    }
    case.call(["--log-level", "loud", "list"]).finish().fails(&["loud"]);
}
