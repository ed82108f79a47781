//! Containers of an ordinary user: config-linux.md, "User namespace mappings"; user_namespaces(7), cgroups(7).

use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use serde_json::{Value, json};

use crate::support::bundle::{add_mount, set_namespace};
use crate::support::terminal::{ConsoleSocket, expect};
use crate::support::user::{SUBIDS, User, user};
use crate::support::{case, eventually, host_command, installed, is_there, make_dir, need, read};

/// Waits without a process of its own, until somebody ends it.
const PATIENT: &str = "trap 'exit 0' TERM; while :; do sleep 1; done";

fn set_maps(config: &mut Value, maps: &Value) {
    for map in ["uidMappings", "gidMappings"] {
        config["linux"][map] = maps.clone();
    }
}

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
fn what_is_no_limit_needs_no_cgroup() {
    let case = case!();
    let user = user!(case);
    let b = user.bundle("cat /proc/self/oom_score_adj", |config| {
        config["linux"]["resources"] =
            json!({ "pids": { "limit": -1 }, "devices": [{ "allow": false, "access": "rwm" }] });
        config["process"]["oomScoreAdj"] = json!(500);
    });
    user.run(&b).prints("500\n");
    // What has been left out is said where it is asked for.
    let done = user.call(&["--debug", "run", "-b", b.path(), &b.id]).finish().ok();
    assert!(done.stderr().contains("it stays in the cgroup of its caller"), "{done}");
}

#[test]
fn a_cgroup_is_used_where_it_is_delegated_and_removed_with_the_container() {
    let case = case!();
    let user = user!(case);
    let session = user.delegated_cgroup();
    let b = user.bundle(PATIENT, |config| set_namespace(config, "cgroup", None));
    user.call_in(Some(&session), &["create", "-b", b.path(), &b.id]).finish().ok();
    let cgroup = session.with_file_name(format!("minidocker-oci-{}", b.id));
    let pid = user.pid(&b.id);
    assert!(read(format!("/proc/{pid}/cgroup")).contains(&User::shown(&cgroup)), "{cgroup:?}");
    assert_eq!(read(cgroup.join("cgroup.procs")).trim(), pid.to_string());
    assert_eq!(std::fs::metadata(&cgroup).unwrap().uid(), user.uid());
    user.call(&["start", &b.id]).finish().ok();
    user.call(&["kill", "-a", &b.id, "9"]).finish().ok();
    eventually("it has stopped", || user.state(&b.id)["status"] == "stopped");
    user.call(&["delete", &b.id]).finish().ok();
    assert!(!is_there(&cgroup) && is_there(&session));
    // One that he names himself, in what is his.
    let named = session.with_file_name("named");
    let path = User::shown(&named).replacen("0::", "", 1);
    let b = user.bundle("grep ^0: /proc/self/cgroup", |config| {
        set_namespace(config, "cgroup", None);
        config["linux"]["cgroupsPath"] = json!(path);
    });
    user.call_in(Some(&session), &["run", "-b", b.path(), &b.id]).finish().prints(&format!("0::{path}\n"));
    std::fs::remove_dir(&session).unwrap();
    std::fs::remove_dir(session.parent().unwrap()).unwrap();
}

#[test]
fn the_callers_cgroup_is_shown_read_only() {
    // CVE-2023-25809: without a cgroup namespace a container saw its caller's cgroup, and could write to it.
    let case = case!();
    let user = user!(case);
    let b = user.bundle(
        "grep ' /sys/fs/cgroup ' /proc/mounts | grep -c ' ro,'; echo 1 >/sys/fs/cgroup/cgroup.procs",
        |config| {
            set_namespace(config, "cgroup", None);
            add_mount(config, "/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev"]);
            add_mount(config, "/sys/fs/cgroup", "cgroup", "cgroup", &["nosuid", "noexec", "nodev", "rw"]);
        },
    );
    let done = user.run(&b);
    assert!(done.code() != 0 && done.stdout() == "1\n" && done.stderr().contains("Read-only"), "{done}");
}

#[test]
fn without_permission_root_needs_rootless_true() {
    let case = case!();
    let b =
        case.script("true", |config| drop(config["linux"].as_object_mut().unwrap().remove("cgroupsPath")));
    let root = crate::support::cgroup_root().unwrap().display().to_string();
    let run = |flag: &str| {
        let script = format!("mount -o remount,bind,ro {root} && exec \"$@\"");
        let wrapper = ["unshare", "--mount", "--propagation", "private", "sh", "-c", &script, "sh"];
        case.call_through(&wrapper, [flag, "run", "-b", b.path(), &b.id]).finish()
    };
    for flag in ["--rootless=auto", "--rootless=false"] {
        run(flag).fails(&["cgroup", "read-only"]);
    }
    run("--rootless=true").ok();
}

#[test]
fn further_ids_are_mapped_through_newuidmap_and_newgidmap() {
    let case = case!();
    let user = user!(case).with_subids();
    need!(installed("newuidmap"), "newuidmap is not installed");
    let (first, count) = SUBIDS;
    let own_and_more = |own: u32| json!([{ "containerID": 0, "hostID": own, "size": 1 }, { "containerID": 1, "hostID": first, "size": count }]);
    let b = user.bundle("id; cat /proc/self/setgroups; echo x >/volume/made; cat /volume/there", |config| {
        config["linux"]["uidMappings"] = own_and_more(user.uid());
        config["linux"]["gidMappings"] = own_and_more(user.gid());
        config["process"]["user"] = json!({ "uid": 7, "gid": 8, "additionalGids": [9, 10] });
        add_mount(config, "/volume", "bind", "volume", &["rbind"]);
    });
    let volume = b.dir.join("volume");
    make_dir(&volume);
    host_command("chmod", &["777".as_ref(), volume.as_os_str()]);
    user.file(&volume.join("there"), "mine\n");
    // A home that only its owner can search.
    user.own(&b.dir);
    host_command("chmod", &["700".as_ref(), b.dir.as_os_str()]);
    user.run(&b).prints("uid=7 gid=8 groups=9,10\nallow\nmine\n");
    let made = std::fs::metadata(volume.join("made")).unwrap();
    assert_eq!((made.uid(), made.gid()), (first + 6, first + 7));
    // Nothing but further ids: who prepares the container is nobody's owner in that home.
    let all = json!([{ "containerID": 0, "hostID": first, "size": count }]);
    let mut config = b.config();
    set_maps(&mut config, &all);
    b.save(&config);
    user.run(&b).prints("uid=7 gid=8 groups=9,10\nallow\nmine\n");
    user.has_no_container();
}

#[test]
fn what_newuidmap_does_not_allow_names_the_line_that_is_missing() {
    let case = case!();
    need!(installed("newuidmap"), "newuidmap is not installed");
    let foreign = |user: &User<'_>| {
        user.bundle("true", |config| {
            set_maps(config, &json!([{ "containerID": 0, "hostID": 3_000_000, "size": 10 }]));
        })
    };
    let user = user!(case).with_subids();
    let b = foreign(&user);
    let line = format!("{}:3000000:10", user.uid());
    user.run(&b).fails(&["linux.uidMappings", "newuidmap", "/etc/subuid", &line]);
    // Groups alone.
    let mut config = b.config();
    config["linux"]["uidMappings"] = json!([{ "containerID": 0, "hostID": user.uid(), "size": 1 }]);
    b.save(&config);
    user.run(&b).fails(&["linux.gidMappings", "newgidmap", "/etc/subgid", &line]);
    // No such program; one of the caller's own PATH is not taken for it.
    let fake = case.subdir("fake");
    crate::support::write(&fake.join("newuidmap"), "#!/bin/sh\nexit 0\n", 0o755);
    let user = user.after("for d in /usr/bin /bin; do if [ -f $d/newuidmap ]; then mount --bind /dev/null $d/newuidmap; fi; done");
    let b = foreign(&user);
    let path = format!("{}:/usr/bin:/bin:/usr/sbin:/sbin", fake.display());
    user.call(&["run", "-b", b.path(), &b.id]).env("PATH", path).finish().fails(&[
        "linux.uidMappings",
        "newuidmap is missing",
        "uidmap",
    ]);
    user.has_no_container();
}

#[test]
fn the_namespaces_of_a_users_own_container_can_be_joined() {
    let case = case!();
    let user = user!(case);
    let holder = user.bundle(PATIENT, |_| {});
    let pid = user.started(&holder);
    let links = [
        ("user", "user"),
        ("pid", "pid"),
        ("ipc", "ipc"),
        ("uts", "uts"),
        ("network", "net"),
        ("cgroup", "cgroup"),
    ];
    let of = |pid: &str, link: &str| {
        std::fs::read_link(format!("/proc/{pid}/ns/{link}")).unwrap().display().to_string()
    };
    for also in [&[][..], &["pid"], &["network"], &["pid", "ipc", "uts", "network", "cgroup"]] {
        let joins = |kind: &str| kind == "user" || also.contains(&kind);
        let script = "cd /proc/self/ns; for l in user pid ipc uts net cgroup; do readlink $l; done; id -u; cat /proc/self/oom_score_adj; echo >/dev/null";
        let b = user.bundle(script, |config| {
            for (kind, link) in links.into_iter().filter(|(kind, _)| joins(kind)) {
                set_namespace(
                    config,
                    kind,
                    Some(json!({ "type": kind, "path": format!("/proc/{pid}/ns/{link}") })),
                );
            }
            config["hostname"] = json!("");
            config["process"]["oomScoreAdj"] = json!(300);
        });
        let lines = user.run(&b).ok().lines();
        for ((kind, link), seen) in links.into_iter().zip(&lines) {
            assert_eq!(*seen == of(&pid.to_string(), link), joins(kind), "{kind} of {also:?}");
        }
        assert_eq!(lines[6..], ["0", "300"]);
    }
    // Its mounts, too: its own root is all that is there, and no bundle.
    let b = user.bundle("true", |config| {
        for (kind, link) in [("user", "user"), ("mount", "mnt")] {
            set_namespace(
                config,
                kind,
                Some(json!({ "type": kind, "path": format!("/proc/{pid}/ns/{link}") })),
            );
        }
    });
    user.run(&b).fails(&["joined mount namespace", b.path()]);
    user.delete(&holder.id);
    user.has_no_container();
}

#[test]
fn a_namespace_of_somebody_else_can_not_be_joined() {
    let case = case!();
    let user = user!(case);
    let foreign =
        case.script("sleep 100", |config| crate::support::bundle::add_user_namespace(config, 100_000));
    case.started(&foreign);
    let (own, theirs) = (user.bundle(PATIENT, |_| {}), case.pid(&foreign.id));
    let mine = user.started(&own);
    // /proc/PID/ns of another user can't even be opened; a bind mount of one can, which is how engines keep them.
    let at = case.file("netns", "", 0o644);
    host_command("mount", &["--bind".as_ref(), format!("/proc/{theirs}/ns/net").as_ref(), at.as_os_str()]);
    let with = |path: &str| {
        user.bundle("true", |config| {
            let path_of_mine = format!("/proc/{mine}/ns/user");
            set_namespace(config, "user", Some(json!({ "type": "user", "path": path_of_mine })));
            set_namespace(config, "network", Some(json!({ "type": "network", "path": path })));
        })
    };
    let (by_path, by_file) = (with(&format!("/proc/{theirs}/ns/net")), with(at.to_str().unwrap()));
    let (first, second) = (user.run(&by_path), user.run(&by_file));
    host_command("umount", &[at.as_os_str()]);
    first.fails(&["linux.namespaces", "ns/net", "EACCES"]);
    second.fails(&["linux.namespaces", "netns", "no rights", "EPERM"]);
    user.delete(&own.id);
    case.delete(&foreign.id);
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
