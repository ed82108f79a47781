//! SCMP_ACT_NOTIFY: an agent that listens at `listenerPath` answers for the container's calls.

use std::io::Read;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};

use libseccomp::{ScmpNotifReq, ScmpNotifResp, ScmpNotifRespFlags};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
use serde_json::{Value, json};

use super::profile;
use crate::support::bundle::{Bundle, add_user_namespace, set_namespace};
use crate::support::{Case, PATIENCE, case, nothing_is_left};

/// The errno that the agent answers to mkdir(2): EDQUOT.
const ERRNO: i32 = -122;

/// An agent for one container: what it was told, and the numbers of the calls that it was asked about.
struct Agent {
    path: PathBuf,
    told: Receiver<(Value, bool)>,
    asked: Receiver<i32>,
}

impl Agent {
    /// Answers mkdir with an errno, getppid with a value, and lets the rest go on.
    fn listen(path: &Path) -> Self {
        let listener = UnixListener::bind(path).unwrap();
        let (tell, told) = channel();
        let (ask, asked) = channel();
        let serve = move || {
            for connection in listener.incoming() {
                let (state, fd, closed) = receive(connection.unwrap());
                let Some(fd) = fd else { continue };
                if tell.send((state, closed)).is_err() {
                    return;
                }
                // Before Linux 6.11 a zombie still has its filter, so that this may never end.
                let ask = ask.clone();
                std::thread::Builder::new().spawn(move || answer(&fd, &ask)).unwrap();
            }
        };
        // Detached: it waits for connections until the test program ends.
        std::thread::Builder::new().spawn(serve).unwrap();
        Self { path: path.to_owned(), told, asked }
    }

    fn told(&self) -> (Value, bool) {
        self.told.recv_timeout(PATIENCE).unwrap()
    }

    fn asked(&self) -> Vec<i32> {
        self.asked.try_iter().collect()
    }
}

/// Until the last process that has the filter is gone.
fn answer(fd: &OwnedFd, ask: &Sender<i32>) {
    while let Ok(request) = ScmpNotifReq::receive(fd.as_raw_fd()) {
        let number = i32::from(request.data.syscall);
        let flags = ScmpNotifRespFlags::empty();
        let response = match i64::from(number) {
            libc::SYS_mkdir | libc::SYS_mkdirat => ScmpNotifResp::new_error(request.id, ERRNO, flags),
            libc::SYS_getppid => ScmpNotifResp::new_val(request.id, 4711, flags),
            _ => ScmpNotifResp::new_continue(request.id, ScmpNotifRespFlags::CONTINUE),
        };
        // Before the answer: when the program has ended, all that it asked has come.
        ask.send(number).unwrap_or_default();
        // Who asked may have been killed meanwhile.
        drop(response.respond(fd.as_raw_fd()));
    }
}

/// The message, its one descriptor, and whether nothing came after it.
fn receive(mut connection: UnixStream) -> (Value, Option<OwnedFd>, bool) {
    let mut buffer = vec![0; 1 << 16];
    let mut control = nix::cmsg_space!([i32; 4]);
    let (length, fds) = {
        let mut parts = [std::io::IoSliceMut::new(&mut buffer)];
        let flags = MsgFlags::MSG_CMSG_CLOEXEC;
        let message = recvmsg::<()>(connection.as_raw_fd(), &mut parts, Some(&mut control), flags).unwrap();
        let rights = message.cmsgs().unwrap().find_map(|control| match control {
            ControlMessageOwned::ScmRights(fds) => Some(fds),
            _ => None,
        });
        (message.bytes, rights.unwrap_or_default())
    };
    let mut text = buffer[..length].to_vec();
    connection.read_to_end(&mut text).unwrap();
    assert!(fds.len() < 2, "{fds:?}");
    let fd = fds.first().map(|raw| minidocker_oci::sys::fs::own(*raw));
    (serde_json::from_slice(&text).unwrap_or_default(), fd, true)
}

/// Leaves these calls to the agent.
fn leave(config: &mut Value, names: &[&str], agent: &Path) {
    profile(config, "SCMP_ACT_ALLOW", json!([{ "names": names, "action": "SCMP_ACT_NOTIFY" }]));
    config["linux"]["seccomp"]["listenerPath"] = json!(agent);
}

fn socket(case: &Case) -> PathBuf {
    case.path("agent")
}

#[test]
fn an_agent_answers_for_the_container() {
    let case = case!();
    let agent = Agent::listen(&socket(&case));
    for (n, new_privileges) in [false, true].into_iter().enumerate() {
        let b = case.script("mkdir /x; sh -c 'echo $PPID'", |config| {
            leave(config, &["mkdir", "mkdirat", "getppid"], &agent.path);
            config["linux"]["seccomp"]["listenerMetadata"] = json!("what it is for");
            config["linux"]["seccomp"]["flags"] =
                json!(["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", "SECCOMP_FILTER_FLAG_TSYNC"]);
            config["process"]["noNewPrivileges"] = json!(!new_privileges);
            config["annotations"] = json!({ "a": "b" });
        });
        let created = case.created(&b);
        // config-linux.md, "The Container Process State": told by `create`, for nobody has started it.
        let (told, alone) = agent.told();
        assert!(alone);
        let pid = case.pid(&b.id);
        assert_eq!(
            told,
            json!({
                "ociVersion": "1.3.0", "fds": ["seccompFd"], "pid": pid, "metadata": "what it is for",
                "state": {
                    "ociVersion": "1.3.0", "id": b.id, "status": "creating", "pid": pid, "bundle": b.dir,
                    "annotations": { "a": "b" },
                },
            }),
            "{n}"
        );
        case.call(["start", &b.id]).finish().ok();
        case.until(&b.id, "stopped");
        assert!(created.stderr().contains("Disk quota exceeded"), "{created}");
        assert_eq!(created.stdout(), "4711\n");
        case.delete(&b.id);
    }
}

#[test]
fn whatever_call_is_left_to_the_agent_it_is_there_before() {
    let case = case!();
    let agent = Agent::listen(&socket(&case));
    // What init itself does between the filter and its program, and what another runtime would have used.
    let calls: &[(&[&str], &[i64])] = &[
        (&["read"], &[libc::SYS_read]),
        (&["write", "sendmsg", "close", "connect"], &[libc::SYS_write]),
        (&["shutdown", "accept4", "dup3", "execve"], &[libc::SYS_accept4, libc::SYS_execve]),
    ];
    for (names, seen) in calls {
        let b = case.script("echo done", |config| leave(config, names, &agent.path));
        let created = case.created(&b);
        case.call(["start", &b.id]).finish().ok();
        case.until(&b.id, "stopped");
        assert_eq!(created.stdout(), "done\n");
        case.delete(&b.id);
        agent.told();
        let asked = agent.asked();
        assert!(seen.iter().all(|n| asked.contains(&i32::try_from(*n).unwrap())), "{names:?}: {asked:?}");
    }
    let b = case.script("echo done", |config| {
        profile(config, "SCMP_ACT_NOTIFY", json!([]));
        config["linux"]["seccomp"]["listenerPath"] = json!(agent.path);
    });
    case.run(&b).prints("done\n");
}

#[test]
fn an_agent_serves_every_kind_of_container() {
    let case = case!();
    let agent = Agent::listen(&socket(&case));
    let answered = |b: &Bundle| {
        let done = case.run(b);
        assert!(done.stderr().contains("Disk quota exceeded"), "{done}");
        agent.told()
    };
    let with = |change: &dyn Fn(&mut Value)| {
        case.script("mkdir /tmp/x", |config| {
            leave(config, &["mkdir", "mkdirat"], &agent.path);
            change(config);
        })
    };
    answered(&with(&|_| {}));
    // It leaves the host's file early, with hooks to run or other processes to see it.
    answered(&with(&|config| set_namespace(config, "pid", None)));
    answered(&with(&|config| {
        config["hooks"] = json!({ "startContainer": [{ "path": "/bin/true" }] });
    }));
    answered(&with(&|config| config["process"]["user"] = json!({ "uid": 1000, "gid": 1000 })));
    answered(&with(&|config| {
        config["process"]["rlimits"] = json!([{ "type": "RLIMIT_NOFILE", "soft": 5, "hard": 5 }]);
    }));
    let b = with(&|config| add_user_namespace(config, 100_000));
    b.chown(100_000);
    answered(&b);
}

#[test]
fn an_agent_answers_for_what_exec_starts() {
    let case = case!();
    let agent = Agent::listen(&socket(&case));
    let file = case.path("pid");
    let exec = |b: &Bundle, script: &str| {
        let line = ["exec", "--pid-file", file.to_str().unwrap(), &b.id, "/bin/sh", "-c", script];
        case.call(line).finish()
    };
    for no_new_privileges in [false, true] {
        let b = case.script("sleep 1000", |config| {
            leave(config, &["mkdir", "mkdirat", "getppid"], &agent.path);
            config["linux"]["seccomp"]["listenerMetadata"] = json!("what it is for");
            config["process"]["noNewPrivileges"] = json!(no_new_privileges);
        });
        case.started(&b);
        agent.told();
        let done = exec(&b, "mkdir /x; sh -c 'echo $PPID'");
        assert!(done.stderr().contains("Disk quota exceeded") && done.stdout() == "4711\n", "{done}");
        let (told, alone) = agent.told();
        let pid: i32 = crate::support::read(&file).parse().unwrap();
        assert!(alone);
        assert_eq!((&told["pid"], &told["metadata"]), (&json!(pid), &json!("what it is for")));
        // The state is the container's, with its own process.
        assert_eq!(told["state"]["pid"], json!(case.pid(&b.id)));
        assert_eq!((&told["state"]["id"], &told["state"]["status"]), (&json!(b.id), &json!("running")));
        assert_eq!(exec(&b, "ls -l /proc/self/fd | grep -c seccomp").stdout(), "0\n");
        agent.told();
        case.delete(&b.id);
    }
    // Whatever call is left to it, it is there before.
    for names in
        [&["read", "write", "sendmsg", "close"][..], &["setsid", "execve", "umask", "prlimit64", "capset"]]
    {
        let b = case.script("sleep 1000", |config| leave(config, names, &agent.path));
        case.started(&b);
        agent.told();
        exec(&b, "echo done").prints("done\n");
        agent.told();
        case.delete(&b.id);
    }
}

#[test]
fn an_agent_that_has_gone_is_an_error_of_exec_and_leaves_no_process() {
    let case = case!();
    let agent = Agent::listen(&socket(&case));
    let b = case.script("sleep 1000", |config| leave(config, &["mkdir"], &agent.path));
    case.started(&b);
    agent.told();
    crate::support::remove(&agent.path);
    let done = case.call(["exec", &b.id, "/bin/true"]).finish();
    assert_eq!(done.code(), 255, "{done}");
    done.says(&["linux.seccomp.listenerPath", "No such file"]);
    assert_eq!(crate::support::read(b.cgroup.join("cgroup.procs")).lines().count(), 1);
    case.delete(&b.id);
}

#[test]
fn the_listener_is_closed_in_the_container() {
    let case = case!();
    let agent = Agent::listen(&socket(&case));
    let b =
        case.script("ls -l /proc/self/fd | grep -c seccomp", |config| leave(config, &["mkdir"], &agent.path));
    assert_eq!(case.run(&b).stdout(), "0\n");
}

#[test]
fn an_agent_that_has_gone_is_an_error_of_start_and_no_wait() {
    let case = case!();
    let listener = UnixListener::bind(socket(&case)).unwrap();
    let serve = move || listener.incoming().for_each(|connection| drop(receive(connection.unwrap())));
    std::thread::Builder::new().spawn(serve).unwrap();
    for hooks in [json!({}), json!({ "startContainer": [{ "path": "/bin/true" }] })] {
        let b = case.script("true", |config| {
            config["hooks"] = hooks.clone();
            leave(config, &["execve"], &socket(&case));
        });
        case.create(&b).ok();
        case.call(["start", &b.id]).finish().fails(&["unction not implemented"]);
        case.delete(&b.id);
    }
}

#[test]
fn a_path_longer_than_a_sockets_and_a_relative_one_are_reached() {
    let case = case!();
    let dir = case.subdir(&format!("{0}/{0}/{0}", "d".repeat(60)));
    let near = case.path("near");
    let agent = Agent::listen(&near);
    let far = dir.join("agent-with-a-long-name".repeat(4));
    std::fs::rename(&near, &far).unwrap();
    let b = case.script("mkdir /x", |config| leave(config, &["mkdir"], &far));
    assert!(case.run(&b).stderr().contains("Disk quota exceeded"));
    agent.told();
    let agent = Agent::listen(&b.dir.join("agent"));
    let mut config = b.config();
    config["linux"]["seccomp"]["listenerPath"] = json!("agent");
    b.save(&config);
    assert!(case.run(&b).stderr().contains("Disk quota exceeded"));
    agent.told();
}

#[test]
fn a_large_message_arrives_whole() {
    let case = case!();
    let agent = Agent::listen(&socket(&case));
    let metadata = "m".repeat(1 << 20);
    let b = case.script("true", |config| {
        leave(config, &["mkdir"], &agent.path);
        config["linux"]["seccomp"]["listenerMetadata"] = json!(metadata);
    });
    case.run(&b).ok();
    assert_eq!(agent.told().0["metadata"], json!(metadata));
}

#[test]
fn an_agent_that_is_not_there_is_an_error_of_create_and_leaves_nothing() {
    let case = case!();
    for path in ["absent", "a-file", "deaf"] {
        let path = case.path(path);
        let words = match path.file_name().unwrap().to_str().unwrap() {
            "absent" => "No such file",
            "a-file" => {
                crate::support::write(&path, "", 0o600);
                "ECONNREFUSED"
            }
            _ => {
                drop(UnixListener::bind(&path).unwrap());
                "ECONNREFUSED"
            }
        };
        for verb in ["create", "run"] {
            let b = case.script("true", |config| leave(config, &["mkdir"], &path));
            let done = case.call([verb, "-b", b.path(), &b.id]).finish();
            done.fails(&["linux.seccomp.listenerPath", path.to_str().unwrap(), words]);
            nothing_is_left(&case, "by a container without its agent");
        }
    }
}

#[test]
fn an_agent_is_needed_for_notify_and_only_for_it() {
    let case = case!();
    let b = case.script("mkdir /x", |config| {
        leave(config, &["mkdir"], Path::new("/a"));
        config["linux"]["seccomp"].as_object_mut().unwrap().remove("listenerPath");
    });
    case.create(&b).fails(&["linux.seccomp", "SCMP_ACT_NOTIFY needs listenerPath"]);
    let b = case.script("true", |config| {
        profile(config, "SCMP_ACT_ALLOW", json!([]));
        config["linux"]["seccomp"]["listenerMetadata"] = json!("m");
    });
    case.create(&b).fails(&["linux.seccomp", "listenerMetadata without listenerPath"]);
    // Nobody is asked where nothing is left to anybody.
    case.sh("echo ran", |config| {
        super::no_mkdir(config);
        config["linux"]["seccomp"]["listenerPath"] = json!("/nonexistent");
        config["linux"]["seccomp"]["listenerMetadata"] = json!("m");
    })
    .prints("ran\n");
}
