//! sd_notify(3): NOTIFY_SOCKET in the environment of `create`, `start` and `run`.

use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::support::bundle::{add_mount, add_user_namespace};
use crate::support::{Bundle, Call, Case, PATIENCE, case, eventually, is_there, read, within};

/// The service manager.
struct Manager {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Manager {
    fn listen(case: &Case) -> Self {
        let path = case.path("manager");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { socket, path }
    }

    fn hears(&self) -> String {
        let mut message = [0; 4096];
        let length = self.socket.recv(&mut message).unwrap();
        String::from_utf8(message[..length].to_vec()).unwrap()
    }

    #[track_caller]
    fn hears_nothing(&self) {
        self.socket.set_nonblocking(true).unwrap();
        assert_eq!(self.socket.recv(&mut [0; 99]).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
        self.socket.set_nonblocking(false).unwrap();
    }
}

/// Says something from where the program would: at the socket that is mounted in the container.
fn say(pid: i32, words: &[&str]) -> std::io::Result<()> {
    let at = PathBuf::from(format!("/proc/{pid}/root/run/notify/notify.sock"));
    let socket = UnixDatagram::unbound()?;
    words.iter().try_for_each(|words| socket.send_to(words.as_bytes(), &at).map(drop))
}

fn call<'c>(case: &'c Case, line: &[&str], manager: &Path) -> Call<'c> {
    case.call(line).env("NOTIFY_SOCKET", manager)
}

fn sleeper(case: &Case) -> Bundle {
    case.script("echo $NOTIFY_SOCKET >/told; sleep 100", |_| {})
}

#[test]
fn start_returns_when_the_program_is_ready_and_the_manager_knows_its_pid() {
    let case = case!();
    let manager = Manager::listen(&case);
    let b = sleeper(&case);
    call(&case, &["create", "-b", b.path(), &b.id], &manager.path).finish().ok();
    let pid = case.pid(&b.id);
    // Nobody listens before the program runs.
    assert!(say(pid, &["READY=1"]).is_err());
    let mut start = call(&case, &["start", &b.id], &manager.path).spawn();
    eventually("it runs", || is_there(b.rootfs("told")) && read(b.rootfs("told")).ends_with('\n'));
    assert_eq!(read(b.rootfs("told")), "/run/notify/notify.sock\n");
    say(pid, &["STATUS=coming", "MAINPID=1", "", "READY=0", "FDSTORE=1"]).unwrap();
    assert!(!within(Duration::from_millis(300), || start.ended()));
    // Others can do something with it meanwhile.
    assert_eq!(case.status(&b.id), "running");
    say(pid, &["STATUS=there\nREADY=1\nEXTEND_TIMEOUT_USEC=9"]).unwrap();
    assert_eq!(manager.hears(), format!("MAINPID={pid}\nREADY=1\n"));
    // Until it has been read: who asks for the sender must find it.
    assert_eq!(manager.hears(), "BARRIER=1");
    start.wait().prints("");
    manager.hears_nothing();
    case.delete(&b.id);
}

#[test]
fn run_tells_the_manager_in_the_foreground_and_detached() {
    let case = case!();
    let manager = Manager::listen(&case);
    for flags in [&["run"][..], &["run", "-d"]] {
        let b = sleeper(&case);
        let mut run = call(&case, &[flags, &["-b", b.path(), &b.id]].concat(), &manager.path).spawn();
        eventually("it runs", || is_there(b.rootfs("told")));
        assert!(!run.ended());
        let pid = case.pid(&b.id);
        say(pid, &["READY=1"]).unwrap();
        assert_eq!(manager.hears(), format!("MAINPID={pid}\nREADY=1\n"));
        if flags.len() > 1 {
            assert_eq!(manager.hears(), "BARRIER=1");
            run.wait().ok();
        } else {
            // It stays, and does not need to say when it goes. Nobody is stuck at a socket that is not read any more.
            eventually("nobody listens any more", || say(pid, &["WATCHDOG=1"]).is_err());
            case.call(["kill", &b.id, "KILL"]).finish().ok();
            assert_eq!(run.wait().code(), 137);
            manager.hears_nothing();
            continue;
        }
        case.delete(&b.id);
    }
}

#[test]
fn a_program_that_ends_without_being_ready_ends_the_wait() {
    let case = case!();
    let manager = Manager::listen(&case);
    let b = case.script("exit 3", |_| {});
    call(&case, &["run", "-d", "-b", b.path(), &b.id], &manager.path).finish().ok();
    case.delete(&b.id);
    let done = call(&case, &["run", "-b", b.path(), &b.id], &manager.path).finish();
    assert_eq!(done.code(), 3, "{done}");
    call(&case, &["create", "-b", b.path(), &b.id], &manager.path).finish().ok();
    call(&case, &["start", &b.id], &manager.path).finish().ok();
    case.delete(&b.id);
    manager.hears_nothing();
}

#[test]
fn the_socket_of_a_manager_may_be_abstract() {
    use std::os::linux::net::SocketAddrExt;
    let case = case!();
    let address = std::os::unix::net::SocketAddr::from_abstract_name(&case.unique).unwrap();
    let socket = UnixDatagram::bind_addr(&address).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let manager = Manager { socket, path: format!("@{}", case.unique).into() };
    // The container has a network namespace of its own, in which that name is not there.
    let b = sleeper(&case);
    let run = call(&case, &["run", "-d", "-b", b.path(), &b.id], &manager.path).spawn();
    eventually("it runs", || is_there(b.rootfs("told")));
    let pid = case.pid(&b.id);
    say(pid, &["READY=1"]).unwrap();
    assert_eq!(manager.hears(), format!("MAINPID={pid}\nREADY=1\n"));
    assert_eq!(manager.hears(), "BARRIER=1");
    run.wait().ok();
    case.delete(&b.id);
}

#[test]
fn the_programs_socket_is_for_any_user_and_its_directory_read_only() {
    let case = case!();
    let manager = Manager::listen(&case);
    for remapped in [false, true] {
        let script = "stat -c '%a %F' /run/notify/notify.sock; echo x 2>/dev/null >/run/notify/x || echo EROFS; \
            rm -f /run/notify/notify.sock; grep ' /run/notify ' /proc/self/mountinfo | cut -d' ' -f6,7; test -w /run/notify/notify.sock && echo mine";
        let b = case.script(script, |config| {
            config["process"]["user"] = serde_json::json!({ "uid": 33, "gid": 33 });
            config["root"]["readonly"] = serde_json::json!(true);
            if remapped {
                add_user_namespace(config, 100_000);
            }
        });
        if remapped {
            b.chown(100_000);
        }
        let line = ["sh", "-c", "umask 077; exec \"$@\"", "sh"];
        let done = case
            .call_through(&line, ["run", "-b", b.path(), &b.id])
            .env("NOTIFY_SOCKET", &manager.path)
            .finish();
        let options = done.stdout().lines().nth(2).unwrap_or_default().to_owned();
        assert_eq!(done.stdout(), format!("777 socket\nEROFS\n{options}\nmine\n"), "{done}");
        assert!(
            ["ro", "nosuid", "nodev", "noexec"].iter().all(|o| options.split([',', ' ']).any(|x| x == *o)),
            "{done}"
        );
    }
}

#[test]
fn a_configuration_with_a_socket_of_its_own_keeps_it() {
    // podman's --sdnotify=container: conmon listens.
    let case = case!();
    let manager = Manager::listen(&case);
    let b = case.script("echo $NOTIFY_SOCKET; ls /run", |config| {
        config["process"]["env"].as_array_mut().unwrap().push("NOTIFY_SOCKET=/other".into());
    });
    call(&case, &["run", "-b", b.path(), &b.id], &manager.path).finish().prints("/other\n");
}

#[test]
fn without_notify_socket_there_is_none_and_start_does_not_wait_for_another_ones() {
    let case = case!();
    let manager = Manager::listen(&case);
    case.sh("echo ${NOTIFY_SOCKET-none}; ls /run", |_| {}).prints("none\n");
    // Made without: an engine's own variable at `start` changes nothing.
    let b = sleeper(&case);
    case.created(&b);
    call(&case, &["start", &b.id], &manager.path).finish().ok();
    case.delete(&b.id);
    // Made with, started without: nobody can wait.
    call(&case, &["create", "-b", b.path(), &b.id], &manager.path).finish().ok();
    case.call(["start", &b.id]).finish().ok();
    case.delete(&b.id);
}

#[test]
fn a_manager_that_can_not_be_reached_is_an_error_before_the_program_runs() {
    let case = case!();
    let b = sleeper(&case);
    let nobody = case.path("nobody");
    call(&case, &["create", "-b", b.path(), &b.id], &nobody).finish().ok();
    call(&case, &["start", &b.id], &nobody).finish().fails(&["NOTIFY_SOCKET", "nobody", "(ENOENT)"]);
    assert_eq!(case.status(&b.id), "created");
    case.delete(&b.id);
    call(&case, &["run", "-b", b.path(), &b.id], &nobody).finish().fails(&["NOTIFY_SOCKET", "(ENOENT)"]);
    for verb in ["create", "run"] {
        call(&case, &[verb, "-b", b.path(), &b.id], Path::new("vsock:2:1"))
            .finish()
            .fails(&["NOTIFY_SOCKET \"vsock:2:1\""]);
    }
    assert!(!is_there(b.rootfs("told")));
}

#[test]
fn the_socket_is_over_what_the_configuration_mounts() {
    let case = case!();
    let manager = Manager::listen(&case);
    let b = case.script("ls -A /run /run/notify", |config| add_mount(config, "/run", "tmpfs", "tmpfs", &[]));
    call(&case, &["run", "-b", b.path(), &b.id], &manager.path)
        .finish()
        .prints("/run:\nnotify\n\n/run/notify:\nnotify.sock\n");
}
