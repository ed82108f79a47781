//! What callers hand over and get back besides the configuration: pidfd sockets, annotations.

use std::os::fd::AsRawFd;

use serde_json::json;

use crate::support::terminal::{ConsoleSocket, Received};
use crate::support::{Bundle, Case, case, is_there, read};

/// proc_pid_fdinfo(5): whose pidfd it is.
fn pid_of(received: &Received) -> i32 {
    assert_eq!((received.fds.len(), received.messages), (1, 1));
    let info = read(format!("/proc/self/fdinfo/{}", received.fds[0].as_raw_fd()));
    let pid = info.lines().find_map(|line| line.strip_prefix("Pid:")).unwrap_or_else(|| panic!("{info}"));
    pid.trim().parse().unwrap()
}

fn receives_the_pidfd(case: &Case, b: &Bundle, line: &[&str], socket: &ConsoleSocket) {
    let call = case.call(line).spawn();
    let received = socket.receive();
    call.wait().ok();
    assert!(!received.payload.is_empty() && received.payload.len() < 4096);
    assert_eq!(pid_of(&received), case.pid(&b.id));
    assert_eq!(received.rest(), Some(Vec::new()));
    case.delete(&b.id);
}

#[test]
fn the_pidfd_socket_gets_one_message_with_the_pidfd_of_the_process() {
    let case = case!();
    let b = case.script("sleep 100", |_| {});
    let socket = ConsoleSocket::listen(&case.path("pidfd"));
    for verb in [&["create"][..], &["run", "-d"]] {
        // Relative to where the caller is.
        let line = [verb, &["-b", b.path(), "--pidfd-socket", "pidfd", &b.id]].concat();
        receives_the_pidfd(&case, &b, &line, &socket);
    }
}

#[test]
fn a_socket_is_reached_whose_path_is_longer_than_a_sockets() {
    let case = case!();
    let b = case.script("sleep 100", |_| {});
    let near = case.path("pidfd");
    let socket = ConsoleSocket::listen(&near);
    let far = case.subdir(&format!("{0}/{0}", "d".repeat(60))).join("pidfd");
    std::fs::rename(&near, &far).unwrap();
    let line = ["create", "-b", b.path(), "--pidfd-socket", far.to_str().unwrap(), &b.id];
    receives_the_pidfd(&case, &b, &line, &socket);
}

#[test]
fn an_annotation_names_a_pidfd_socket_too() {
    let case = case!();
    let socket = ConsoleSocket::listen(&case.path("pidfd"));
    let annotated = |path: &str| {
        case.script("sleep 100", |config| {
            config["annotations"] = json!({ "run.oci.pidfd_receiver": path });
        })
    };
    let b = annotated(socket.path.to_str().unwrap());
    receives_the_pidfd(&case, &b, &["create", "-b", b.path(), &b.id], &socket);
    // The command line goes before it.
    let b = annotated("/no/such/socket");
    let line = ["create", "-b", b.path(), "--pidfd-socket", socket.path.to_str().unwrap(), &b.id];
    receives_the_pidfd(&case, &b, &line, &socket);
    case.create(&b).fails(&["run.oci.pidfd_receiver", "/no/such/socket", "(ENOENT)"]);
}

#[test]
fn a_pidfd_socket_that_nobody_serves_is_an_error_before_anything_exists() {
    let case = case!();
    let ran = case.path("ran");
    let b = case.script("sleep 100", |config| {
        let script = format!("echo ran >{}", ran.display());
        config["hooks"]["createRuntime"] = json!([{ "path": "/bin/sh", "args": ["sh", "-c", script] }]);
    });
    let plain = case.file("plain", "", 0o644);
    for (path, word) in [("no/such", "(ENOENT)"), (plain.to_str().unwrap(), "(ECONNREFUSED)")] {
        for verb in ["create", "run"] {
            case.call([verb, "-b", b.path(), "--pidfd-socket", path, &b.id]).finish().fails(&[
                "pidfd socket",
                path,
                word,
            ]);
        }
    }
    assert!(!is_there(ran));
}

#[test]
fn a_pidfd_socket_whose_owner_leaves_without_a_word_fails_create_and_leaves_nothing() {
    let case = case!();
    let b = case.script("sleep 100", |config| {
        config["hooks"]["createRuntime"] = json!([{ "path": "/bin/sleep", "args": ["sleep", "1"] }]);
    });
    let socket = ConsoleSocket::listen(&case.path("pidfd"));
    let create = case.call(["create", "-b", b.path(), "--pidfd-socket", "pidfd", &b.id]).spawn();
    // Accepted and closed while the hook runs.
    drop(socket.accept());
    create.wait().fails(&["pidfd socket", "(EPIPE)"]);
    case.call(["state", &b.id]).finish().fails(&["does not exist"]);
}

#[test]
fn a_pidfd_socket_that_nobody_accepts_from_is_given_up() {
    let case = case!();
    let b = case.script("sleep 100", |_| {});
    let socket = ConsoleSocket::listen(&case.path("pidfd"));
    // More than wait in its queue.
    let waiting: Vec<_> = (0..2).map(|_| std::os::unix::net::UnixStream::connect(&socket.path)).collect();
    let done = case.call(["create", "-b", b.path(), "--pidfd-socket", "pidfd", &b.id]).finish();
    drop(waiting);
    done.fails(&["pidfd socket", "(EAGAIN)"]);
}

#[test]
fn hooks_write_where_annotations_say() {
    let case = case!();
    let (out, err) = (case.path("out"), case.path("err"));
    let b = case.script("true", |config| {
        config["annotations"] = json!({ "run.oci.hooks.stdout": out, "run.oci.hooks.stderr": err });
        for kind in
            ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"]
        {
            let script = format!("echo {kind}; echo no {kind} >&2");
            config["hooks"][kind] = json!([{ "path": "/bin/sh", "args": ["sh", "-c", script] }]);
        }
    });
    case.run(&b).prints("");
    // The file is appended to, and standard error is not quoted where it goes to one.
    let mut config = b.config();
    config["hooks"]["createRuntime"][0]["args"][2] = json!("echo failing >&2; exit 1");
    b.save(&config);
    let done = case.create(&b).fails(&["error running createRuntime hook #0:", "exited 1"]);
    assert!(!done.stderr().contains("failing"), "{done}");
    let kinds = "prestart createRuntime createContainer startContainer poststart poststop";
    let lines = |path: &std::path::Path| read(path).replace("no ", "").lines().collect::<Vec<_>>().join(" ");
    assert_eq!(lines(&out), format!("{kinds} prestart poststop"));
    assert_eq!(lines(&err), format!("{kinds} prestart failing poststop"));
}

#[test]
fn a_file_for_hooks_that_can_not_be_opened_is_an_error_before_anything_exists() {
    let case = case!();
    let b = case.script("true", |config| {
        config["annotations"] = json!({ "run.oci.hooks.stderr": "/no/such/dir/file" });
        config["hooks"]["poststop"] = json!([{ "path": "/bin/true" }]);
    });
    case.create(&b).fails(&["standard error of hooks", "/no/such/dir/file", "(ENOENT)"]);
}

#[test]
fn annotations_that_are_unknown_are_ignored_and_those_that_would_be_missed_are_refused() {
    let case = case!();
    for key in ["com.example.key", "run.oci.novel", "org.systemd.property.TimeoutStopUSec", "org.criu.config"]
    {
        case.sh("true", |config| config["annotations"] = json!({ key: "uint64 10000000" })).ok();
    }
    for key in ["run.oci.handler", "run.oci.seccomp_bpf_data"] {
        let b = case.script("true", |config| config["annotations"] = json!({ key: "krun" }));
        case.create(&b).fails(&[&format!("annotations.{key} is not supported")]);
    }
    let b = case.script("true", |config| config["annotations"] = json!({ "": "x" }));
    case.create(&b).fails(&["annotations: a key is empty"]);
}
