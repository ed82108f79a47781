//! Containers of an ordinary user: config-linux.md, "User namespace mappings"; user_namespaces(7), cgroups(7).

mod cgroup;
mod ids;
mod joined;

use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use serde_json::{Value, json};

use crate::support::bundle::{add_mount, set_namespace};
use crate::support::terminal::{ConsoleSocket, expect};
use crate::support::user::user;
use crate::support::{case, eventually, host_command, is_there, make_dir, read};

/// Waits without a process of its own, until somebody ends it.
const PATIENT: &str = "trap 'exit 0' TERM; while :; do sleep 1; done";

#[test]
fn what_spec_rootless_writes_runs() {
    let case = case!();
    let user = user!(case);
    let b = user.bundle("", |_| {});
    host_command("rm", &[b.dir.join("config.json").as_os_str()]);
    user.call(&["spec", "--rootless", "-b", b.path()]).finish().ok();
    let mut config = b.config();
    config["process"]["terminal"] = json!(false);
    config["process"]["args"] = json!([
        "sh",
        "-c",
        "id -u; tr -s ' ' </proc/self/uid_map; cat /proc/self/setgroups; echo x >/dev/null && \
         head -c 1 /dev/zero | od -An -c; test -d /sys/class && ! touch /made 2>/dev/null && cat /proc/self/cgroup | \
         grep ^0:; stat -Lc '%u:%g' /proc/self /dev/pts/ptmx; hostname"
    ]);
    b.save(&config);
    let map = format!(" 0 {} 1\n", user.uid());
    user.run(&b).prints(&format!("0\n{map}deny\n  \\0\n0::/\n0:0\n0:0\nrunc\n"));
    user.has_no_container();
}

#[test]
fn a_container_of_a_user_goes_through_its_whole_life() {
    let case = case!();
    let user = user!(case);
    let b = user.bundle(PATIENT, |_| {});
    user.call(&["create", "-b", b.path(), &b.id]).finish().ok();
    let state = user.state(&b.id);
    assert_eq!((&state["status"], &state["owner"]), (&json!("created"), &json!(user.uid().to_string())));
    let pid = user.pid(&b.id);
    assert_eq!(std::fs::metadata(format!("/proc/{pid}")).unwrap().uid(), user.uid());
    user.call(&["start", &b.id]).finish().ok();
    assert_eq!(user.state(&b.id)["status"], "running");
    assert!(user.call(&["list"]).finish().ok().stdout().contains(&b.id));
    user.call(&["kill", &b.id, "TERM"]).finish().ok();
    eventually("it has stopped", || user.state(&b.id)["status"] == "stopped");
    user.call(&["delete", &b.id]).finish().ok();
    user.has_no_container();
    // Root's own containers are elsewhere.
    assert!(!is_there(&case.state) && is_there(user.runtime_dir.join("minidocker-oci")));
}

#[test]
fn kill_all_and_delete_reach_only_the_containers_own_processes() {
    // It is in its caller's cgroup, with everybody else: what ends it is the end of its pid namespace.
    let case = case!();
    let user = user!(case);
    let (a, b) = (user.bundle(PATIENT, |_| {}), user.bundle("sleep 100 & sleep 200", |_| {}));
    let other = user.started(&a);
    let bystander = user.host(None, &["sleep", "100"]).spawn();
    user.started(&b);
    user.call(&["kill", "--all", &b.id, "KILL"]).finish().ok();
    eventually("it has stopped", || user.state(&b.id)["status"] == "stopped");
    user.call(&["delete", &b.id]).finish().ok();
    assert!(is_there(format!("/proc/{other}")) && is_there(format!("/proc/{}", bystander.pid())));
    user.delete(&a.id);
    eventually("it has ended", || read(format!("/proc/{other}/cmdline")).is_empty());
    drop(bystander);
}

#[test]
fn the_state_root_of_a_user_is_in_his_runtime_directory_and_sticky() {
    let case = case!();
    let user = user!(case);
    user.has_no_container();
    let root = std::fs::metadata(user.runtime_dir.join("minidocker-oci")).unwrap();
    assert_eq!((root.uid(), root.permissions().mode() & 0o7777), (user.uid(), 0o1700));
    user.call(&["list"]).env("XDG_RUNTIME_DIR", "").finish().fails(&["XDG_RUNTIME_DIR", "--root"]);
    user.call(&["list"]).env("XDG_RUNTIME_DIR", "relative").finish().fails(&["XDG_RUNTIME_DIR", "--root"]);
    let elsewhere = user.runtime_dir.join("elsewhere");
    user.call(&["--root", elsewhere.to_str().unwrap(), "list", "-q"])
        .env("XDG_RUNTIME_DIR", "")
        .finish()
        .prints("");
}

#[test]
fn what_only_root_can_do_is_refused_with_the_remedy() {
    let case = case!();
    let user = user!(case);
    let refused = |change: &dyn Fn(&mut Value), words: &[&str]| {
        let b = user.bundle("true", |config| change(config));
        user.run(&b).fails(words);
    };
    refused(
        &|config| {
            set_namespace(config, "user", None);
            config["linux"].as_object_mut().unwrap().retain(|key, _| !key.ends_with("Mappings"));
        },
        &["linux.namespaces", "user namespace", "spec --rootless"],
    );
    refused(&|config| set_namespace(config, "mount", None), &["linux.namespaces", "mount namespace"]);
    refused(
        &|config| {
            set_namespace(config, "network", Some(json!({ "type": "network", "path": "/proc/self/ns/net" })))
        },
        &["linux.namespaces", "only root can join"],
    );
    refused(
        &|config| config["process"]["user"]["additionalGids"] = json!([0]),
        &["user.additionalGids", "setgroups is denied"],
    );
    refused(
        &|config| add_mount(config, "/dev/pts", "devpts", "devpts", &["newinstance", "gid=5"]),
        &["/dev/pts", "gid=5", "linux.gidMappings"],
    );
    refused(
        &|config| config["process"]["oomScoreAdj"] = json!(-1000),
        &["process.oomScoreAdj", "CAP_SYS_RESOURCE"],
    );
    refused(
        &|config| config["linux"]["cgroupsPath"] = json!("/made-up/by/user"),
        &["cgroup", "made-up/by/user", "not delegated"],
    );
    refused(
        &|config| config["linux"]["resources"] = json!({ "pids": { "limit": 7 } }),
        &["linux.resources.pids.limit", "pids.max", "delegated"],
    );
    let b = user.bundle("true", |_| {});
    user.call(&["--rootless=false", "run", "-b", b.path(), &b.id])
        .finish()
        .fails(&["--rootless=false", "delegated"]);
    user.has_no_container();
}

#[test]
fn a_waiting_init_of_a_user_does_not_lead_to_the_runtimes_file() {
    let case = case!();
    let user = user!(case);
    let hook = json!({ "startContainer": [{ "path": "/bin/true" }] });
    let holder = user.bundle(PATIENT, |_| {});
    let holding = user.started(&holder);
    for (departs, change) in [
        ("late", &(|_: &mut Value| {}) as &dyn Fn(&mut Value)),
        ("early", &|config: &mut Value| config["hooks"] = hook.clone()),
        ("before it joins", &|config: &mut Value| {
            for kind in ["user", "pid"] {
                set_namespace(
                    config,
                    kind,
                    Some(json!({ "type": kind, "path": format!("/proc/{holding}/ns/{kind}") })),
                );
            }
        }),
    ] {
        let b = user.bundle("true", change);
        user.call(&["create", "-b", b.path(), &b.id]).finish().ok();
        let pid = user.pid(&b.id);
        let exe = std::fs::read_link(format!("/proc/{pid}/exe")).unwrap().display().to_string();
        assert!(exe.starts_with("/memfd:"), "{departs}: {exe}");
        let maps = read(format!("/proc/{pid}/maps"));
        assert!(!maps.contains(case.path("runtime").to_str().unwrap()), "{departs}: {maps}");
        user.call(&["start", &b.id]).finish().ok();
        // A pid namespace ends when all in it are reaped; this one's caller is here.
        nix::sys::wait::waitpid(nix::unistd::Pid::from_raw(pid), None).unwrap();
        user.delete(&b.id);
    }
    user.delete(&holder.id);
}

#[test]
fn a_user_executes_a_process_in_his_container() {
    let case = case!();
    let user = user!(case);
    for no_new_privileges in [true, false] {
        let b = user.bundle(PATIENT, |config| {
            config["process"]["noNewPrivileges"] = json!(no_new_privileges);
            config["linux"]["seccomp"] = json!({
                "defaultAction": "SCMP_ACT_ALLOW",
                "syscalls": [{ "names": ["mkdir", "mkdirat", "clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28 }],
            });
        });
        let about =
            "id -u; grep -E '^(Seccomp|NoNewPrivs):' /proc/self/status; mkdir /x 2>&1; ls /proc/self/fd";
        let expected = format!(
            "0\nNoNewPrivs:\t{}\nSeccomp:\t2\nmkdir: can't create directory '/x': No space left on device\n0\n1\n2\n3\n",
            u8::from(no_new_privileges)
        );
        user.call(&["create", "-b", b.path(), &b.id]).finish().ok();
        for status in ["created", "running"] {
            assert_eq!(user.state(&b.id)["status"], status);
            user.call(&["exec", &b.id, "/bin/sh", "-c", about]).finish().prints(&expected);
            if status == "created" {
                user.call(&["start", &b.id]).finish().ok();
            }
        }
        let shown = user.call(&["exec", "-t", &b.id, "/bin/sh", "-c", "tty; exit 5"]).finish();
        assert_eq!((shown.code(), shown.stdout().as_str()), (5, "/dev/pts/0\r\n"), "{shown}");
        let done = user.call(&["exec", "-u", "7", &b.id, "/bin/true"]).finish();
        assert!(done.code() == 255 && done.stderr().contains("user.uid: 7"), "{done}");
        user.delete(&b.id);
        user.has_no_container();
    }
}

#[test]
fn a_filter_is_loaded_with_and_without_no_new_privileges() {
    let case = case!();
    let user = user!(case);
    for no_new_privileges in [true, false] {
        let b = user.bundle("grep -E '^(Seccomp|NoNewPrivs):' /proc/self/status; mkdir /x", |config| {
            config["process"]["noNewPrivileges"] = json!(no_new_privileges);
            config["linux"]["seccomp"] = json!({
                "defaultAction": "SCMP_ACT_ALLOW",
                "syscalls": [{ "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28 }],
            });
        });
        let done = user.run(&b);
        let expected = format!("NoNewPrivs:\t{}\nSeccomp:\t2\n", u8::from(no_new_privileges));
        assert_eq!((done.code(), done.stdout()), (1, expected), "{done}");
        assert!(done.stderr().contains("No space left"), "{done}");
    }
}

#[test]
fn hooks_of_a_user_see_the_pid_as_it_is_where_they_run() {
    let case = case!();
    let user = user!(case);
    let seen = user.runtime_dir.join("seen");
    let b = user.bundle(PATIENT, |config| {
        let hook = |name: &str| {
            let script =
                format!("echo {name} $(id -u) $(sed 's/.*\"pid\":\\([0-9]*\\).*/\\1/') >>{}", seen.display());
            json!([{ "path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/usr/bin:/bin"] }])
        };
        let all = ["prestart", "createRuntime", "createContainer", "poststart"];
        config["hooks"] =
            all.iter().map(|name| ((*name).to_owned(), hook(name))).collect::<serde_json::Map<_, _>>().into();
    });
    let pid = user.started(&b);
    let uid = user.uid();
    assert_eq!(
        read(&seen),
        format!(
            "prestart {uid} {pid}\ncreateRuntime {uid} {pid}\ncreateContainer 0 1\npoststart {uid} {pid}\n"
        )
    );
    user.delete(&b.id);
}

#[test]
fn a_create_of_a_user_that_fails_leaves_nothing() {
    let case = case!();
    let user = user!(case);
    let session = user.delegated_cgroup();
    for change in [
        &(|config: &mut Value| config["process"]["args"] = json!(["/missing"])) as &dyn Fn(&mut Value),
        &|config| add_mount(config, "/x", "made-up", "x", &[]),
        &|config| config["hooks"] = json!({ "createContainer": [{ "path": "/bin/false" }] }),
    ] {
        let b = user.bundle("true", change);
        for cgroup in [None, Some(session.as_path())] {
            let done = user.call_in(cgroup, &["create", "-b", b.path(), &b.id]).finish();
            assert_eq!(done.code(), 1, "{done}");
            user.has_no_container();
        }
    }
    assert_eq!(
        std::fs::read_dir(session.parent().unwrap())
            .unwrap()
            .filter(|e| e.as_ref().unwrap().path().is_dir())
            .count(),
        1
    );
    std::fs::remove_dir(&session).unwrap();
    std::fs::remove_dir(session.parent().unwrap()).unwrap();
}

#[test]
fn a_bind_source_that_a_user_may_not_see_is_an_error_before_anything_exists() {
    let case = case!();
    let user = user!(case);
    let secret = case.subdir("secret");
    make_dir(&secret.join("inside"));
    host_command("chmod", &["700".as_ref(), secret.as_os_str()]);
    for source in [secret.join("inside"), Path::new("/missing").to_owned()] {
        let b = user.bundle("true", |config| add_mount(config, "/volume", "bind", &source, &["bind"]));
        user.run(&b).fails(&["mounts[", "/volume", source.to_str().unwrap()]);
    }
    user.has_no_container();
}

#[test]
fn a_terminal_comes_through_the_console_socket_of_a_user() {
    let case = case!();
    let user = user!(case);
    let b = user.bundle("read line; echo got $line on $(tty); stat -c '%u:%g' /dev/console", |config| {
        config["process"]["terminal"] = json!(true);
    });
    let socket = ConsoleSocket::listen(&user.runtime_dir.join("console"));
    user.own(&socket.path);
    let path = socket.path.to_str().unwrap();
    let create = user.call(&["create", "-b", b.path(), "--console-socket", path, &b.id]).spawn();
    let master = socket.receive().fds.remove(0);
    create.wait().ok();
    user.call(&["start", &b.id]).finish().ok();
    nix::unistd::write(&master, b"hello\n").unwrap();
    expect(master.as_fd(), "got hello on /dev/pts/0\r\n0:0\r\n");
    drop(master);
    user.delete(&b.id);
}
