//! Options that are CRIU's own, and what comes of them.

use std::path::Path;
use std::time::Duration;

use serde_json::json;

use super::{
    COUNTING, checkpoint, checkpoint_line, counting, criu_version, goes_on, images, lacking, number, restore,
    restore_line,
};
use crate::support::bundle::{add_mount, set_namespace};
use crate::support::bus::{Bus, Fault};
use crate::support::terminal::Pty;
use crate::support::{Bundle, Case, case, eventually, is_there, need, nothing_is_left, read};

#[test]
fn what_has_not_changed_since_a_pre_dump_is_not_written_again() {
    let case = criu_case!();
    let b = counting(&case, |_| {});
    let before = case.path("before");
    let done = case.call(checkpoint_line(&before, &["--pre-dump"], &b.id)).finish();
    if done.code() != 0 {
        case.delete(&b.id);
    }
    need!(!done.stderr().contains("racking memory is not available"), "this kernel does not track memory");
    done.prints("");
    assert!(goes_on(&b));
    checkpoint(&case, &b.id, &["--parent-path", "../before"]).prints("");
    assert_eq!(std::fs::read_link(images(&case).join("parent")).unwrap(), Path::new("../before"));
    case.call(["delete", &b.id]).finish().ok();
    restore(&case, &b, &b.id, &["-d"]).ok();
    assert!(goes_on(&b));
    case.delete(&b.id);
}

#[test]
fn flags_that_mean_nothing_together_are_refused() {
    let case = case!();
    let b = case.script("exec sleep 1000", |_| {});
    case.started(&b);
    checkpoint(&case, &b.id, &["--lazy-pages"]).fails(&["--lazy-pages needs --page-server"]);
    checkpoint(&case, &b.id, &["--page-server", "nowhere"]).fails(&["--page-server", "not ADDRESS:PORT"]);
    checkpoint(&case, &b.id, &["--status-fd", "77"]).fails(&["descriptor 77 is not open", "--status-fd"]);
    checkpoint(&case, &b.id, &["--manage-cgroups-mode", "often"]).fails(&["--manage-cgroups-mode"]);
    checkpoint(&case, &b.id, &["--empty-ns", "pid"]).fails(&["--empty-ns"]);
    restore(&case, &b, "other", &["--lsm-profile", "smack:x"]).fails(&["--lsm-profile"]);
    restore(&case, &b, "other", &["--preserve-fds", "1"]).fails(&["--preserve-fds"]);
    case.delete(&b.id);
}

#[test]
fn a_parent_has_to_be_where_it_is_said_to_be() {
    let case = criu_case!();
    let b = case.script("exec sleep 1000", |_| {});
    case.started(&b);
    checkpoint(&case, &b.id, &["--parent-path", "/tmp"]).fails(&["--parent-path", "not relative"]);
    checkpoint(&case, &b.id, &["--parent-path", "../none"]).fails(&["--parent-path", "ENOENT"]);
    assert_eq!(case.status(&b.id), "running");
    case.delete(&b.id);
}

#[test]
fn options_of_a_file_that_an_annotation_names_go_before_all_others() {
    let case = criu_case!();
    let config = case.file("criu.conf", "log-file other.log\n", 0o644);
    let b = counting(&case, |spec| spec["annotations"] = json!({ "org.criu.config": config }));
    checkpoint(&case, &b.id, &[]).prints("");
    assert!(is_there(case.path("work/other.log")) && !is_there(case.path("work/dump.log")));
    case.delete(&b.id);
}

/// A port of the loopback network that nobody has now.
fn port() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port().to_string()
}

#[test]
fn memory_is_sent_to_a_page_server() {
    let case = criu_case!();
    let b = counting(&case, |_| {});
    let (images, port) = (case.subdir("images"), port());
    let dir = images.to_str().unwrap();
    let server =
        case.host(["criu", "page-server", "-D", dir, "--address", "127.0.0.1", "--port", &port]).spawn();
    let address = format!("127.0.0.1:{port}");
    eventually("it listens", || listens(&port));
    checkpoint(&case, &b.id, &["--page-server", &address]).prints("");
    server.wait().ok();
    // By the server: CRIU would have begun with 1.
    assert!(!is_there(images.join("pages-1.img")));
    case.call(["delete", &b.id]).finish().ok();
    restore(&case, &b, &b.id, &["-d"]).ok();
    assert!(goes_on(&b));
    case.delete(&b.id);
}

/// Asked without a connection, which would be the only one that is served.
fn listens(port: &str) -> bool {
    let number: u16 = port.parse().unwrap();
    let local = format!("0100007F:{number:04X} 00000000:0000 0A");
    read("/proc/net/tcp").contains(&local)
}

#[test]
fn memory_follows_a_container_that_runs_elsewhere_already() {
    let case = criu_case!();
    let b = counting(&case, |_| {});
    let (port, work) = (port(), case.subdir("work"));
    let address = format!("127.0.0.1:{port}");
    let (reader, writer) = nix::unistd::pipe().unwrap();
    let images = images(&case);
    let logs = work.to_str().unwrap();
    let flags = ["--lazy-pages", "--page-server", &address, "--status-fd", "7", "--work-path", logs];
    let line = checkpoint_line(&images, &flags, &b.id);
    let null = std::process::Stdio::null();
    let first =
        case.call_through(&["sh", "-c", "exec \"$@\" 7>&1 >&2", "sh"], line).output(writer, null).spawn();
    let mut byte = [1];
    assert_eq!((nix::unistd::read(&reader, &mut byte).unwrap(), byte), (1, [0]));
    let at = number(&b);
    let line = ["criu", "lazy-pages", "--page-server", "--address", "127.0.0.1", "--port", &port];
    let daemon = case
        .host([&line[..], &["-D", images.to_str().unwrap(), "-W", logs, "-o", "lazy.log"]].concat())
        .spawn();
    eventually("it serves", || is_there(work.join("lazy-pages.socket")));
    let other = b.as_id(&case, &format!("{}-elsewhere", b.id));
    let restored = restore(&case, &other, &other.id, &["-d", "--lazy-pages"]);
    let first = first.wait();
    drop(daemon.wait());
    if first.code() != 0 && read(work.join("dump.log")).contains("page-pipe: splice: -1: Bad file descriptor")
    {
        // The container goes on where it was.
        assert!(goes_on(&b));
        assert_eq!(restored.code(), 1, "{restored}");
        case.delete(&b.id);
        need!(false, "this CRIU can't send pages when it is asked for them");
    }
    restored.ok();
    assert_eq!(first.code(), 0, "{first}");
    eventually("it counts on", || number(&b) > at);
    case.until(&b.id, "stopped");
    case.delete(&b.id);
    case.delete(&other.id);
}

/// Two programs that talk through the container's loopback network.
pub(super) const TALKING: &str = "mkfifo /f /c /w; nc -l -p 5000 <>/w >/got & exec 9<>/f 8<>/c; \
    until nc 127.0.0.1 5000 </c; do usleep 20000; done & \
    n=0; while :; do n=$((n+1)); echo $n >&8; read -t 0.02 x <&9; done";

/// How far they have come.
pub(super) fn got(b: &Bundle) -> u64 {
    let text = std::fs::read_to_string(b.rootfs("got")).unwrap_or_default();
    text.lines().last().and_then(|line| line.parse().ok()).unwrap_or(0)
}

#[test]
fn connections_are_restored_if_that_is_asked_for() {
    let case = criu_case!();
    let b = case.script(TALKING, |_| {});
    case.started(&b);
    eventually("they talk", || got(&b) > 3);
    checkpoint(&case, &b.id, &[]).fails(&["onnected TCP socket", "tcp-established"]);
    let at = got(&b);
    eventually("they go on to talk", || got(&b) > at);
    move_connected(&case, &b, "iptables");
    checkpoint(&case, &b.id, &["--tcp-close"]).prints("");
    case.call(["delete", &b.id]).finish().ok();
    restore(&case, &b, &b.id, &["-d", "--tcp-close"]).ok();
    case.delete(&b.id);
}

#[test]
fn connections_are_kept_still_by_nftables_if_that_is_asked_for() {
    let case = criu_case!();
    need!(
        criu_version() >= (4, 1),
        "CRIU before 4.1 does not find its nftables again in a network namespace"
    );
    let b = case.script(TALKING, |_| {});
    case.started(&b);
    eventually("they talk", || got(&b) > 3);
    move_connected(&case, &b, "nftables");
    case.delete(&b.id);
}

#[test]
fn connections_may_be_left_as_they_are_meanwhile() {
    let case = criu_case!();
    need!(criu_version() >= (3, 19), "CRIU before 3.19 knows no --network-lock skip");
    let b = case.script(TALKING, |_| {});
    case.started(&b);
    eventually("they talk", || got(&b) > 3);
    move_connected(&case, &b, "skip");
    case.delete(&b.id);
}

fn move_connected(case: &Case, b: &Bundle, lock: &str) {
    let flags = ["--tcp-established", "--network-lock", lock];
    checkpoint(case, &b.id, &flags).prints("");
    case.call(["delete", &b.id]).finish().ok();
    let at = got(b);
    restore(case, b, &b.id, &[&flags[..], &["-d"]].concat()).ok();
    eventually(&format!("they talk again after {lock}"), || got(b) > at + 3);
}

#[test]
fn a_lock_is_held_again_if_that_is_asked_for() {
    let case = criu_case!();
    need!(is_there("/usr/bin/flock"), "flock(1) is not installed");
    let b = counting(&case, |config| {
        config["process"]["args"][2] = json!(format!("exec 7>/lock; /usr/bin/flock 7; {COUNTING}"));
        for dir in ["/usr", "/lib64"] {
            add_mount(config, dir, "bind", dir, &["bind", "ro"]);
        }
        add_mount(config, "/lib", "bind", "/usr/lib", &["bind", "ro"]);
    });
    let free = || case.host(["flock", "-n", b.rootfs("lock").to_str().unwrap(), "true"]).finish().code() == 0;
    assert!(!free());
    checkpoint(&case, &b.id, &[]).fails(&["ile lock"]);
    assert!(goes_on(&b) && !free());
    checkpoint(&case, &b.id, &["--file-locks"]).prints("");
    assert!(free());
    case.call(["delete", &b.id]).finish().ok();
    restore(&case, &b, &b.id, &["-d", "--file-locks"]).ok();
    assert!(goes_on(&b) && !free());
    case.delete(&b.id);
}

#[test]
fn a_network_namespace_is_empty_if_that_is_asked_for() {
    let case = criu_case!();
    let b = counting(&case, |_| {});
    let lo = |id: &str| case.call(["exec", id, "ifconfig", "lo"]).finish().ok().stdout();
    assert!(lo(&b.id).contains("UP LOOPBACK"));
    checkpoint(&case, &b.id, &["--empty-ns", "network"]).prints("");
    case.call(["delete", &b.id]).finish().ok();
    restore(&case, &b, &b.id, &["-d", "--empty-ns", "network"]).ok();
    assert!(goes_on(&b));
    assert!(!lo(&b.id).contains("UP LOOPBACK"));
    case.delete(&b.id);
}

#[test]
fn in_each_mode_of_cgroups_it_is_in_the_containers_own() {
    let case = criu_case!();
    for mode in ["soft", "full", "strict", "ignore", "none", "props"] {
        let b = counting(&case, |_| {});
        checkpoint(&case, &b.id, &["--manage-cgroups-mode", mode]).prints("");
        case.call(["delete", &b.id]).finish().ok();
        let other = b.as_id(&case, &format!("{}-{mode}", b.id));
        restore(&case, &other, &other.id, &["-d", "--manage-cgroups-mode", mode]).ok();
        assert!(goes_on(&b), "{mode}");
        let pid = case.pid(&other.id).to_string();
        assert!(read(other.cgroup.join("cgroup.procs")).lines().any(|line| line == pid), "{mode}");
        assert!(!is_there(&b.cgroup), "{mode}");
        case.delete(&other.id);
        std::fs::rename(images(&case), case.path(mode)).unwrap();
    }
}

#[test]
fn a_socket_that_leads_outside_is_connected_again_if_that_is_asked_for() {
    let case = criu_case!();
    let dir = case.subdir("sockets");
    let path = dir.join("log");
    let receiver = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
    receiver.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let sender = std::os::unix::net::UnixDatagram::unbound().unwrap();
    sender.connect(&path).unwrap();
    let b = case.script(
        "n=0; mkfifo /f; exec 9<>/f; while :; do n=$((n+1)); echo $n; echo $n >/n; read -t 0.02 x <&9; done",
        |config| {
            add_mount(config, dir.to_str().unwrap(), "bind", &dir, &["bind"]);
            // CRIU looks for sockets in the container's network namespace.
            set_namespace(config, "network", None);
        },
    );
    let null = std::process::Stdio::null();
    case.call(["create", "-b", b.path(), &b.id])
        .output(std::os::fd::OwnedFd::from(sender), null)
        .finish()
        .ok();
    case.call(["start", &b.id]).finish().ok();
    let received = || {
        let mut buffer = [0; 64];
        let length = receiver.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..length]).trim().parse::<u64>().unwrap()
    };
    eventually("it speaks", || received() > 3);
    checkpoint(&case, &b.id, &[]).fails(&["nix"]);
    eventually("it goes on", || received() > 3);
    checkpoint(&case, &b.id, &["--ext-unix-sk"]).prints("");
    case.call(["delete", &b.id]).finish().ok();
    receiver.set_nonblocking(true).unwrap();
    while receiver.recv(&mut [0; 64]).is_ok() {}
    receiver.set_nonblocking(false).unwrap();
    restore(&case, &b, &b.id, &["-d", "--ext-unix-sk"]).ok();
    assert!(received() > 3);
    case.delete(&b.id);
}

#[test]
fn a_terminal_is_the_callers_in_the_foreground() {
    let case = criu_case!();
    let b = case.script("while read line; do echo \"[$line]\"; done", |config| {
        config["process"]["terminal"] = json!(true);
    });
    let run = |verb: &[&str], pty: &Pty| {
        let line = [verb, &["-b", b.path(), &b.id]].concat();
        case.call(line).stdin(pty.slave()).output(pty.slave(), pty.slave()).spawn()
    };
    let (first, second) = (Pty::open(), Pty::open());
    let running = run(&["run", "--keep"], &first);
    first.type_in("one\n");
    first.expect("[one]");
    checkpoint(&case, &b.id, &[]).prints("");
    drop(running.wait());
    case.call(["delete", &b.id]).finish().ok();
    let images = images(&case);
    let running = run(&["restore", "--image-path", images.to_str().unwrap()], &second);
    second.type_in("two\n");
    second.expect("[two]");
    case.call(["kill", &b.id, "KILL"]).finish().ok();
    assert_eq!(running.wait().code(), 137);
}

#[test]
fn a_job_of_a_shell_has_the_terminal_of_who_restores_it() {
    let case = criu_case!();
    let b = case.script("while read line; do echo \"[$line]\"; done", |_| {});
    let on = |pty: &Pty, line: &[&str]| {
        case.call(line).stdin(pty.slave()).output(pty.slave(), pty.slave()).spawn()
    };
    let (first, second) = (Pty::open(), Pty::open());
    let running = on(&first, &["run", "--keep", "-b", b.path(), &b.id]);
    first.type_in("one\n");
    first.expect("[one]");
    checkpoint(&case, &b.id, &["--shell-job"]).prints("");
    drop(running.wait());
    case.call(["delete", &b.id]).finish().ok();
    let images = images(&case);
    let running = on(&second, &restore_line(&images, &b, &["--shell-job"], &b.id));
    second.type_in("two\n");
    second.expect("[two]");
    case.call(["kill", &b.id, "KILL"]).finish().ok();
    assert_eq!(running.wait().code(), 137);
}

/// By images of the one scope; the other one, and the cgroup in it, is made as any other.
#[test]
fn a_container_in_a_scope_goes_on_in_another_one() {
    let case = criu_case!();
    let bus = Bus::begin(&case, "bus", Fault::None);
    let call = |line: &[&str]| {
        case.call([&["--systemd-cgroup"], line].concat())
            .env("DBUS_SYSTEM_BUS_ADDRESS", bus.address())
            .finish()
    };
    let b = case.script(COUNTING, |_| {});
    let images = images(&case);
    let images = images.to_str().unwrap();
    let scoped = |b: &Bundle| {
        let mut config = b.config();
        config["linux"]["cgroupsPath"] = json!(format!("mdt.slice:mdt:{}", b.id));
        b.save(&config);
        case.cgroup().join(format!("mdt-{}.scope/container/cgroup.procs", b.id))
    };
    let procs = scoped(&b);
    call(&["create", "-b", b.path(), &b.id]).ok();
    case.call(["start", &b.id]).finish().ok();
    eventually("it counts", || number(&b) > 2);
    assert_eq!(read(&procs), format!("{}\n", case.pid(&b.id)));
    checkpoint(&case, &b.id, &[]).prints("");
    let at = number(&b);
    call(&["delete", &b.id]).ok();
    let other = b.as_id(&case, &format!("{}-restored", b.id));
    let procs = scoped(&other);
    call(&["restore", "-d", "--image-path", images, "-b", other.path(), &other.id]).ok();
    eventually("it counts on", || number(&b) > at);
    assert_eq!(read(&procs), format!("{}\n", case.pid(&other.id)));
    call(&["delete", "-f", &other.id]).ok();
    nothing_is_left(&case, "by delete");
}
