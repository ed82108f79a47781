//! Whose is what: the lock, the link and the descriptors of a container that is being made, a cgroup that others
//! are in, an id that another container has by now.

use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::support::bundle::{Bundle, set_namespace};
use crate::support::{
    Case, PATIENCE, Running, UNIGNORED, case, eventually, installed, is_there, make_dir, need,
    nothing_is_left, read, remove, within, write,
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
fn a_cgroup_that_others_are_in_is_refused_and_they_live_on() {
    // config-linux.md, "Cgroups": a cgroup that does not fit is an error of create.
    let case = case!();
    need!(installed("strace"), "strace is not installed");
    let b = case.script("sleep 100", |_| {});
    let mut stranger = case.stranger_in(&b.cgroup);
    case.create(&b).fails(&["cgroup", "is not empty"]);
    assert!(!stranger.ended());
    // One that is killed before it has looked leaves a record; that does not make the cgroup its own.
    let log = case.path("trace");
    let kill = "inject=mkdirat:signal=KILL:when=2";
    let line = ["strace", "-D", "-qq", "-e", "trace=mkdirat", "-e", kill, "-o", log.to_str().unwrap()];
    assert_ne!(case.call_through(&line, ["create", "-b", b.path(), &b.id]).finish().code(), 0);
    assert_eq!(case.status(&b.id), "creating");
    case.call(["kill", "-a", &b.id, "KILL"]).finish();
    case.delete(&b.id);
    assert!(!stranger.ended());
    assert_eq!(processes_in(&b.cgroup), [stranger.pid()]);
    drop(stranger);
    eventually("it is empty", || std::fs::remove_dir(&b.cgroup).is_ok());
}

#[test]
fn an_empty_cgroup_that_was_there_is_used_and_stays() {
    let case = case!();
    let b = case.script("sleep 100 & sleep 100", |config| set_namespace(config, "pid", None));
    make_dir(&b.cgroup);
    case.started(&b);
    eventually("all of it runs", || processes_in(&b.cgroup).len() >= 2);
    case.delete(&b.id);
    assert_eq!(processes_in(&b.cgroup), [0; 0]);
    std::fs::remove_dir(&b.cgroup).unwrap();
}

#[test]
fn two_containers_do_not_share_a_cgroup() {
    let case = case!();
    let first = case.script("sleep 100", |_| {});
    let second = case.script("sleep 100", |config| {
        config["linux"]["cgroupsPath"] = first.config()["linux"]["cgroupsPath"].clone();
    });
    case.started(&first);
    case.create(&second).fails(&["cgroup", "is not empty"]);
    assert_eq!(case.status(&first.id), "running");
    // Nor when the first has ended and nobody is in it: deleting it would end the second.
    case.call(["kill", &first.id, "KILL"]).finish().ok();
    case.until(&first.id, "stopped");
    eventually("its cgroup is empty", || processes_in(&first.cgroup).is_empty());
    case.create(&second).fails(&["cgroup", &first.id]);
    case.call(["delete", &first.id]).finish().ok();
    case.started(&second);
    case.delete(&second.id);
    assert!(!is_there(&first.cgroup));
}

#[test]
fn a_container_with_thousands_of_cgroups_is_deleted_with_few_descriptors() {
    let case = case!();
    for forced in [true, false] {
        let b = case.script("sleep 100", |_| {});
        case.started(&b);
        for n in 0..1500 {
            make_dir(&b.cgroup.join(n.to_string()));
        }
        // And one below the other, as deep as a container can go.
        let mut deep = b.cgroup.join("deep");
        for _ in 0..200 {
            make_dir(&deep);
            deep.push("d");
        }
        let few = ["sh", "-c", "ulimit -n 32; exec \"$@\"", "few"];
        if !forced {
            case.call_through(&few, ["kill", "-a", &b.id, "TERM"]).finish().ok();
            case.call_through(&few, ["kill", "-a", &b.id, "KILL"]).finish().ok();
            case.until(&b.id, "stopped");
        }
        let delete = if forced { vec!["delete", "-f", &b.id] } else { vec!["delete", &b.id] };
        case.call_through(&few, delete).finish().ok();
        nothing_is_left(&case, "of its cgroups");
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
fn a_signal_to_all_reaches_all_and_only_the_containers_own() {
    let case = case!();
    let b = case.script("trap 'echo term' TERM; for i in $(seq 300); do sleep 100 & done; echo up; while :; do sleep 0.1; done", |_| {});
    let done = case.started(&b);
    // A shell's child that is not a program yet would forget the signal.
    let sleeping = || {
        let comm = |pid: &i32| std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        processes_in(&b.cgroup).iter().filter(|pid| comm(pid) == "sleep\n").count()
    };
    eventually("it is up", || done.stdout() == "up\n" && sleeping() >= 300);
    let few = ["sh", "-c", "ulimit -n 32; exec \"$@\"", "few"];
    case.call_through(&few, ["kill", "-a", &b.id, &(Signal::SIGTERM as i32).to_string()]).finish().ok();
    let gone = within(PATIENCE, || processes_in(&b.cgroup).len() <= 2 && done.stdout().contains("term"));
    assert!(gone, "{:?} {done}", processes_in(&b.cgroup));
    case.delete(&b.id);
}

/// A bundle whose host's hook of this kind hangs, and says so first.
fn hanging(case: &Case, kind: &str) -> (Bundle, std::path::PathBuf) {
    let mark = case.path(&format!("{kind}-hangs"));
    let b = case.script("sleep 100", |config| {
        let script = format!("echo $$ >{0}.new; mv {0}.new {0}; exec sleep 1000", mark.display());
        config["hooks"][kind] =
            json!([{ "path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/bin:/usr/bin"] }]);
    });
    (b, mark)
}

#[test]
fn a_hook_that_hangs_does_not_hold_up_a_forced_delete() {
    let case = case!();
    for kind in ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"] {
        for there in [false, true] {
            let (b, mark) = hanging(&case, kind);
            if there {
                // Then the cgroup is known as the container's only when it has been created.
                make_dir(&b.cgroup);
            }
            if kind == "startContainer" {
                // It runs in there, where the host's files are not.
                let mut config = b.config();
                config["hooks"][kind][0]["args"][2] = json!("echo 1 >/mark; exec sleep 1000");
                b.save(&config);
            }
            let at = if kind == "startContainer" { b.rootfs("mark") } else { mark };
            let mut held = match kind {
                "prestart" | "createRuntime" | "createContainer" => {
                    case.call(["create", "-b", b.path(), &b.id]).spawn()
                }
                "poststop" => {
                    case.created(&b);
                    case.call(["delete", &b.id]).spawn()
                }
                _ => {
                    case.created(&b);
                    case.call(["start", &b.id]).spawn()
                }
            };
            eventually("the hook hangs", || is_there(&at));
            assert!(!held.ended());
            case.delete(&b.id);
            let done = held.wait();
            assert_eq!(done.code() == 0, kind == "poststop", "{kind}: {done}");
            nothing_is_left_but(&case, &b.cgroup, there, kind);
            remove(&at);
        }
    }
}

#[track_caller]
fn nothing_is_left_but(case: &Case, cgroup: &Path, there: bool, what: &str) {
    if there {
        eventually("its cgroup is empty", || std::fs::remove_dir(cgroup).is_ok());
    }
    nothing_is_left(case, what);
}

#[test]
fn a_create_that_is_asked_to_end_while_a_hook_hangs_leaves_nothing() {
    let case = case!();
    for kind in ["prestart", "createRuntime"] {
        for verb in ["create", "run"] {
            for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
                let (b, mark) = hanging(&case, kind);
                let create = case.call_through(&UNIGNORED, [verb, "-b", b.path(), &b.id]).spawn();
                eventually("the hook hangs", || is_there(&mark));
                create.signal(signal as i32);
                create.wait().fails(&[kind, "signal"]);
                case.call(["state", &b.id]).finish().fails(&["does not exist"]);
                nothing_is_left(&case, kind);
                remove(&mark);
            }
        }
    }
    // What the caller had ignored is ignored.
    let (b, mark) = hanging(&case, "createRuntime");
    let ignoring = ["sh", "-c", "trap '' HUP; exec \"$@\"", "ignoring"];
    let mut create = case.call_through(&ignoring, ["create", "-b", b.path(), &b.id]).spawn();
    eventually("the hook hangs", || is_there(&mark));
    create.signal(libc::SIGHUP);
    assert!(!within(Duration::from_millis(200), || create.ended()));
    create.signal(libc::SIGTERM);
    assert_eq!(create.wait().code(), 1);
}

#[test]
fn a_create_that_is_killed_while_a_hook_hangs_can_be_deleted() {
    let case = case!();
    for kind in ["prestart", "createRuntime", "createContainer"] {
        let (b, mark) = hanging(&case, kind);
        let create = case.call(["create", "-b", b.path(), &b.id]).spawn();
        eventually("the hook hangs", || is_there(&mark));
        drop(create);
        case.nobody_holds(&b, kind);
        case.delete(&b.id);
        // The hook is the host's: it is not the container's, and nobody knows it any more.
        if kind != "createContainer" {
            let hook = nix::unistd::Pid::from_raw(read(&mark).trim().parse().unwrap());
            nix::sys::signal::kill(hook, Signal::SIGKILL).unwrap();
        }
        nothing_is_left(&case, kind);
    }
}

#[test]
fn a_kill_of_all_does_not_reach_strangers() {
    let case = case!();
    let b = case.script("sleep 100", |_| {});
    case.started(&b);
    // The machine has been started anew, and somebody else has made a cgroup of this path.
    let record = case.state.join(&b.id).join("record.json");
    let old = read(&record);
    let mut value: Value = serde_json::from_str(&old).unwrap();
    value["boot_id"] = json!("00000000-0000-0000-0000-000000000000");
    write(&record, value.to_string(), 0o600);
    let before = processes_in(&b.cgroup);
    case.call(["kill", "-a", &b.id, "KILL"]).finish();
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(processes_in(&b.cgroup), before);
    write(&record, old, 0o600);
    case.delete(&b.id);
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
