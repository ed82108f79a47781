//! A container's first process in a pid namespace that it joins: others are there before it, who may do with it what
//! their capabilities allow as soon as it is born. (A process of `exec` among them: `exec::newborn`.)

use std::collections::BTreeSet;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use minidocker_oci::sys::exe::can_detach;
use minidocker_oci::sys::process::{pidfd_getfd, pidfd_open, pidfd_signal};
use nix::sys::socket::{MsgFlags, recv, send};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::support::bundle::{Bundle, add_mount, add_user_namespace, set_capabilities, set_namespace};
use crate::support::{BEFORE_PIDNS, Case, case, installed, kernel_is_at_least, need, read, runtime};

/// A container that others join, with this program, which may look into each process of its pid namespace.
fn strangers(case: &Case, script: &str) -> (Bundle, i32) {
    let b = case.script(script, |config| set_capabilities(config, &["CAP_SYS_PTRACE", "CAP_KILL"]));
    case.started(&b);
    let pid = case.pid(&b.id);
    (b, pid)
}

fn join(config: &mut Value, pid: i32) {
    let path = format!("/proc/{pid}/ns/pid");
    set_namespace(config, "pid", Some(json!({ "type": "pid", "path": path })));
}

/// The processes of the pid namespace of `first`, but it, by their pids on the host.
fn others(first: i32) -> Vec<i32> {
    let namespace = |pid: i32| std::fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
    let own = namespace(first);
    let pids = std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    pids.filter(|pid| *pid != first && namespace(*pid) == own).collect()
}

/// Runs `work`; meanwhile each process that is born among the strangers is given to `with`, again and again, until it is
/// its program, whatever it is called before that.
fn watching(first: i32, mut with: impl FnMut(i32) + Send, work: impl FnOnce()) {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let watcher = || {
            while !over.load(Ordering::Relaxed) {
                for pid in others(first) {
                    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
                    if !["sh", "true"].contains(&name.trim_end()) {
                        with(pid);
                    }
                }
            }
        };
        std::thread::Builder::new().spawn_scoped(scope, watcher).unwrap();
        work();
        over.store(true, Ordering::Relaxed);
    });
}

#[test]
fn nobody_among_the_strangers_comes_to_the_hosts_files_through_it() {
    let case = case!();
    let secret = case.file("secret", "of the host\n", 0o644);
    let script = format!(
        "while :; do cat /proc/[0-9]*/root{0} /proc/[0-9]*/cwd/../../../../../..{0} >>/found 2>/dev/null; done",
        secret.display()
    );
    let (a, pid) = strangers(&case, &script);
    for number in 0..30 {
        let b = case.script("true", |config| {
            join(config, pid);
            if number % 2 == 1 {
                config["hooks"] = json!({ "startContainer": [{ "path": "/bin/true" }] });
            }
        });
        case.run(&b).ok();
    }
    assert_eq!(read(a.rootfs("found")), "");
    case.delete(&a.id);
}

/// The same on a kernel that has to be in a pid namespace to mount its procfs: somebody is, for a moment.
#[test]
fn nor_through_who_opens_its_procfs() {
    let case = case!();
    need!(installed("strace"), "strace is not installed");
    let secret = case.file("secret", "of the host\n", 0o644);
    let script = format!(
        "while :; do cat /proc/[0-9]*/root{0} /proc/[0-9]*/root/../../..{0} >>/found 2>/dev/null; done",
        secret.display()
    );
    let (a, pid) = strangers(&case, &script);
    let b = case.script("echo $$; ps -o pid,args | grep '^ *1 '; cut -d' ' -f1 /proc/self/stat", |config| {
        join(config, pid);
    });
    for _ in 0..10 {
        let lines = case.call_through(&BEFORE_PIDNS, ["run", "-b", b.path(), &b.id]).finish().ok().lines();
        assert!(lines[0] != "1" && lines[1].contains("/bin/sh -c while") && lines[2] != "1", "{lines:?}");
    }
    assert_eq!(read(a.rootfs("found")), "");
    case.delete(&a.id);
}

#[test]
fn the_hosts_program_is_in_nobody_that_strangers_see() {
    let case = case!();
    let script =
        "while :; do for p in /proc/[0-9]*; do readlink $p/exe; cat $p/maps; done >>/found 2>/dev/null; done";
    let (a, pid) = strangers(&case, script);
    for _ in 0..20 {
        let b = case.script("true", |config| join(config, pid));
        case.created(&b);
        case.delete(&b.id);
    }
    let (name, found) = (runtime().file_name().unwrap().to_str().unwrap(), read(a.rootfs("found")));
    assert!(found.contains("/bin/"), "{found}");
    let bad = found.lines().find(|line| line.contains(&format!("/{name}")) && !line.contains("/memfd:"));
    assert_eq!(bad, None);
    case.delete(&a.id);
}

/// The pid namespace is joined last if it belongs to the container's user namespace, and else before that one: both ways.
fn either_way(case: &Case, pid: i32, hooks: &Value) -> [Bundle; 2] {
    let last = case.script("sleep 1000", |config| {
        join(config, pid);
        config["hooks"] = hooks.clone();
    });
    let first = case.script("sleep 1000", |config| {
        join(config, pid);
        config["hooks"] = hooks.clone();
        add_user_namespace(config, 100_000);
        config["mounts"].as_array_mut().unwrap().retain(|mount| mount["type"] != "proc");
    });
    first.chown(100_000);
    [last, first]
}

fn hook(script: &str) -> Value {
    json!([{ "path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/bin:/usr/bin"] }])
}

/// As long as the host's mounts are its root it would be one of those that may be traced.
#[test]
fn a_hook_that_is_to_run_before_the_pivot_is_not_among_the_strangers() {
    let case = case!();
    let (a, pid) = strangers(&case, "sleep 1000");
    let link = |who: &str, name: &str| {
        std::fs::read_link(format!("/proc/{who}/ns/{name}")).unwrap().display().to_string()
    };
    let seen = case.file("seen", "", 0o666);
    let script = format!(
        "exec >{}; for name in pid user mnt net uts ipc cgroup; do readlink /proc/self/ns/$name; done; id -u; pwd; \
         grep ^0: /proc/self/cgroup; ps -o tty= $$; ls /proc/self/fd | wc -w",
        seen.display()
    );
    for b in either_way(&case, pid, &json!({ "createContainer": hook(&script) })) {
        case.created(&b);
        let init = case.pid(&b.id).to_string();
        let mut expected = vec![link("self", "pid")];
        expected.extend(["user", "mnt", "net", "uts", "ipc", "cgroup"].map(|name| link(&init, name)));
        // No terminal, and the fourth descriptor is of what `ls` reads.
        expected.extend(["0", b.path(), "0::/", "?", "4"].map(str::to_owned));
        assert_eq!(read(&seen).lines().collect::<Vec<_>>(), expected);
        case.delete(&b.id);
    }
    case.delete(&a.id);
}

/// The process that it names is not yet the container's first one, and is where that will be.
#[test]
fn hooks_of_create_come_to_the_container_by_the_pid_that_they_read() {
    let case = case!();
    let (a, pid) = strangers(&case, "sleep 1000");
    // They begin in the bundle.
    let script = "exec >>seen; dir=$(pwd) pid=$(sed 's/.*\"pid\":\\([0-9]*\\).*/\\1/'); \
         for name in user mnt net uts ipc cgroup; do readlink /proc/$pid/ns/$name; done; \
         nsenter -t $pid -n readlink /proc/self/ns/net; grep ^0: /proc/$pid/cgroup; cd /proc/$pid/root; ls .$dir/seen";
    let hooks = json!({ "prestart": hook(script), "createRuntime": hook(script) });
    for b in either_way(&case, pid, &hooks) {
        case.created(&b);
        let init = case.pid(&b.id);
        let link =
            |name| std::fs::read_link(format!("/proc/{init}/ns/{name}")).unwrap().display().to_string();
        let mut expected: Vec<String> =
            ["user", "mnt", "net", "uts", "ipc", "cgroup", "net"].map(link).into();
        let cgroups = read(format!("/proc/{init}/cgroup"));
        expected.push(cgroups.lines().find(|line| line.starts_with("0:")).unwrap().to_owned());
        expected.push(format!(".{}/seen", b.path()));
        assert_eq!(
            read(b.dir.join("seen")).lines().collect::<Vec<_>>(),
            [&expected[..], &expected[..]].concat()
        );
        case.delete(&b.id);
    }
    case.delete(&a.id);
}

#[test]
fn a_hook_that_fails_before_the_pivot_is_named_and_leaves_nothing() {
    let case = case!();
    let (a, pid) = strangers(&case, "sleep 1000");
    let hooks = json!({ "createContainer": hook("echo some words >&2; exit 7") });
    for b in either_way(&case, pid, &hooks) {
        case.create(&b).fails(&["createContainer hook #0", "exited 7", "some words"]);
    }
    case.delete(&a.id);
}

/// What is seen of a process through `/proc`.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Seen {
    Root(u64, u64),
    Open(PathBuf),
    Mapped(String),
}

fn look(pid: i32, seen: &mut BTreeSet<Seen>) {
    let own = |name: &str| format!("/proc/{pid}/{name}");
    seen.extend(std::fs::metadata(own("root")).map(|root| Seen::Root(root.dev(), root.ino())));
    let fds = std::fs::read_dir(own("fd")).into_iter().flatten().filter_map(Result::ok);
    seen.extend(fds.filter_map(|fd| std::fs::read_link(fd.path()).ok()).map(Seen::Open));
    let maps = std::fs::read_to_string(own("maps")).unwrap_or_default();
    let files = maps.lines().filter_map(|line| line.split_ascii_whitespace().nth(5));
    seen.extend(files.filter(|name| name.starts_with('/')).map(|name| Seen::Mapped(name.to_owned())));
}

#[test]
fn it_has_nothing_of_the_host_but_its_link_and_its_gate() {
    let case = case!();
    need!(can_detach(), "this kernel lets no process leave its program's file");
    let (a, pid) = strangers(&case, "sleep 1000");
    let mut seen = BTreeSet::new();
    let watch = |pid| look(pid, &mut seen);
    let work = || {
        for _ in 0..40 {
            let b = case.script("true", |config| join(config, pid));
            case.created(&b);
            case.delete(&b.id);
        }
    };
    watching(pid, watch, work);
    let host = std::fs::metadata("/").unwrap();
    let given: Vec<PathBuf> =
        (0..3).filter_map(|fd| std::fs::read_link(format!("/proc/self/fd/{fd}")).ok()).collect();
    let is_allowed = |seen: &Seen| match seen {
        Seen::Root(dev, inode) => (*dev, *inode) != (host.dev(), host.ino()),
        Seen::Open(path) => {
            let name = path.to_string_lossy();
            name.starts_with("socket:")
                || given.contains(path)
                // Of who opens the procfs there.
                || name == "anon_inode:[fscontext]" && !kernel_is_at_least(6, 18)
                || path.starts_with(&case.dir) && is_output(path)
        }
        Seen::Mapped(name) => name.starts_with("/memfd:minidocker-init"),
    };
    assert!(seen.iter().any(|seen| matches!(seen, Seen::Root(..))), "nobody was seen");
    let others: Vec<&Seen> = seen.iter().filter(|seen| !is_allowed(seen)).collect();
    assert!(others.is_empty(), "{others:#?}");
    case.delete(&a.id);
}

/// Where the test's own commands write to.
fn is_output(path: &Path) -> bool {
    path.file_stem().is_some_and(|name| name == "out" || name == "err")
}

/// Copies of the descriptors of a process that are sockets.
fn sockets_of(pid: i32) -> Vec<OwnedFd> {
    let Ok(pidfd) = pidfd_open(Pid::from_raw(pid)) else { return Vec::new() };
    let fds = (3..40).filter_map(|number| pidfd_getfd(pidfd.as_fd(), number).ok());
    let is_socket = |fd: &OwnedFd| {
        std::fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd()))
            .unwrap()
            .to_string_lossy()
            .starts_with("socket:")
    };
    fds.filter(is_socket).collect()
}

fn signal(pid: i32, number: i32) {
    if let Ok(pidfd) = pidfd_open(Pid::from_raw(pid)) {
        pidfd_signal(pidfd.as_fd(), number).unwrap_or_default();
    }
}

#[test]
fn who_has_its_link_gets_nothing_of_the_host_by_it_and_makes_no_other_process_of_it() {
    let case = case!();
    need!(installed("strace"), "strace is not installed");
    let (a, pid) = strangers(&case, "sleep 1000");
    let (stolen, mut answered) = (AtomicUsize::new(0), Vec::new());
    let words = [&br#"{"OpenSource":0}"#[..], br#"{"Born":1}"#, br#""RunHostHooks""#, br#""Ready""#];
    let steal = |newborn| {
        signal(newborn, libc::SIGSTOP);
        for (link, word) in
            sockets_of(newborn).iter().zip(words.iter().cycle().skip(stolen.load(Ordering::Relaxed)))
        {
            if send(link.as_raw_fd(), word, MsgFlags::MSG_NOSIGNAL).is_ok() {
                stolen.fetch_add(1, Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(20));
                let mut answer = [0; 100];
                if let Ok(length @ 1..) = recv(link.as_raw_fd(), &mut answer, MsgFlags::MSG_DONTWAIT) {
                    answered.push((*word, answer[..length].to_vec()));
                }
            }
        }
        signal(newborn, libc::SIGCONT);
    };
    let mounted = case.subdir("mounted");
    // The host takes its time to write its record, for which the newborn waits: else a busy machine may see nobody.
    let slow =
        ["strace", "-qq", "-o", "/dev/null", "-e", "inject=rename,renameat,renameat2:delay_enter=100000"];
    let work = || {
        for _ in 0..20 {
            let b = case.script("true", |config| {
                join(config, pid);
                add_mount(config, "/mounted", "bind", &mounted, &["bind"]);
            });
            let done = case.call_through(&slow, ["create", "-b", b.path(), &b.id]).finish();
            match done.code() {
                0 => assert!(others(pid).contains(&case.pid(&b.id)), "{done}"),
                _ => {
                    let known =
                        ["from a process that has been born among others", "has ended", "does not go on"];
                    assert!(known.iter().any(|words| done.stderr().contains(words)), "{done}");
                }
            }
            case.delete(&b.id);
        }
    };
    watching(pid, steal, work);
    assert!(stolen.into_inner() > 0, "nothing was stolen");
    // The one answer that there is to be read is that to its birth.
    assert!(answered.iter().all(|(_, answer)| answer == b"null"), "{answered:?}");
    case.delete(&a.id);
}

#[test]
fn who_keeps_its_link_or_stops_it_keeps_create_for_some_seconds_at_most() {
    let case = case!();
    let (a, pid) = strangers(&case, "sleep 1000");
    let mut kept = Vec::new();
    for what in ["keep", "keep and kill", "stop", "keep its answer"] {
        let met = AtomicUsize::new(0);
        let mut hold = |newborn| {
            met.fetch_add(1, Ordering::Relaxed);
            match what {
                "stop" => signal(newborn, libc::SIGSTOP),
                "keep its answer" => {
                    signal(newborn, libc::SIGSTOP);
                    for link in sockets_of(newborn) {
                        recv(link.as_raw_fd(), &mut [0; 100], MsgFlags::MSG_DONTWAIT).unwrap_or_default();
                    }
                    signal(newborn, libc::SIGCONT);
                }
                _ => {
                    kept.extend(sockets_of(newborn));
                    if what == "keep and kill" {
                        signal(newborn, libc::SIGKILL);
                    }
                }
            }
        };
        let work = || {
            let bundle = |hooks| {
                case.script("true", |config| {
                    join(config, pid);
                    config["hooks"] = hooks;
                })
            };
            // Both at once, for each waits for seconds.
            let both = [json!({}), json!({ "startContainer": [{ "path": "/bin/true" }] })].map(bundle);
            let begun = both.each_ref().map(|b| case.call(["create", "-b", b.path(), &b.id]).spawn());
            for (b, create) in both.iter().zip(begun) {
                let done = create.wait();
                assert!(done.code() < 2 && done.took < Duration::from_secs(20), "{what}: {done}");
                case.delete(&b.id);
            }
        };
        // On a machine that is busy it may be over before the watcher looks.
        for _ in 0..10 {
            watching(pid, &mut hold, work);
            if met.load(Ordering::Relaxed) > 0 {
                break;
            }
        }
        assert!(met.load(Ordering::Relaxed) > 0, "{what}: nobody was seen");
    }
    case.delete(&a.id);
}
