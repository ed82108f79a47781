//! The process: config.md, "Process", "User", "Linux Process", "POSIX process"; runtime-linux.md, "File
//! descriptors".

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;

use serde_json::{Value, json};

use crate::support::bundle::{add_user_namespace, set_capabilities, set_namespace};
use crate::support::{Case, case, eventually, host_command, installed, link, need, read, remove};

/// capabilities(7), by number.
const KILL: u64 = 1 << 5;
const SETUID: u64 = 1 << 7;
const NET_BIND: u64 = 1 << 10;

/// What /proc/self/status of a container's process says.
fn status(case: &Case, change: impl FnOnce(&mut Value)) -> BTreeMap<String, String> {
    let done = case.run(&case.bundle(|config| {
        config["process"]["args"] = json!(["/bin/cat", "/proc/self/status"]);
        change(config);
    }));
    let pair = |line: String| line.split_once(":\t").map(|(k, v)| (k.to_owned(), v.trim().to_owned()));
    done.ok().lines().into_iter().filter_map(pair).collect()
}

fn sets(status: &BTreeMap<String, String>) -> [u64; 5] {
    ["CapBnd", "CapEff", "CapPrm", "CapInh", "CapAmb"]
        .map(|name| u64::from_str_radix(&status[name], 16).unwrap())
}

#[test]
fn the_environment_is_the_configurations_and_nothing_of_the_callers() {
    let case = case!();
    let b = case.bundle(|config| {
        config["process"]["args"] = json!(["/bin/env"]);
        config["process"]["env"] =
            json!(["PATH=/bin", "A=1", "EMPTY=", "B=x=y z", "HOME=/tmp", "A=2", "ODD"]);
    });
    let done = case
        .call(["run", "-b", b.path(), &b.id])
        .env("SECRET", "of the caller")
        .env("HOME", "/root")
        .finish()
        .ok();
    let lines = done.lines();
    for line in ["PATH=/bin", "EMPTY=", "B=x=y z", "HOME=/tmp"] {
        assert!(lines.contains(&line.to_owned()), "{line}: {done}");
    }
    let known = ["PATH=", "A=", "EMPTY=", "B=", "HOME=", "ODD"];
    assert!(lines.iter().all(|line| known.iter().any(|k| line.starts_with(k))), "{done}");
}

#[test]
fn the_environment_arrives_in_its_order_repeated_and_odd_as_it_is() {
    let case = case!();
    let env = ["PATH=/bin", "A=1", "HOME=", "A=2", "ODD", "=x", ""];
    let b = case.bundle(|config| {
        config["process"]["args"] = json!(["/bin/cat", "/proc/self/environ"]);
        config["process"]["env"] = json!(env);
    });
    let expected: String = env.iter().map(|one| format!("{one}\0")).collect();
    case.run(&b).prints(&expected);
}

#[test]
fn home_is_the_users_own_where_the_configuration_has_none() {
    let case = case!();
    for (uid, home) in [(0, "/root"), (33, "/var/web"), (4242, "/")] {
        case.sh("echo $HOME", |config| config["process"]["user"] = json!({ "uid": uid, "gid": 0 }))
            .prints(&format!("{home}\n"));
    }
}

#[test]
fn a_hostile_user_database_is_only_data() {
    let case = case!();
    let show = |prepare: &dyn Fn(&std::path::Path)| {
        let b = case.script("echo $HOME", |_| {});
        std::fs::rename(b.rootfs("etc/passwd"), b.rootfs("etc/passwd.old")).unwrap();
        prepare(&b.rootfs("etc/passwd"));
        case.run(&b).ok().stdout()
    };
    let canary = case.file("passwd", "root:x:0:0::/of-the-host:/bin/sh\n", 0o644);
    assert_eq!(show(&|path| link(&canary, path)), "/\n");
    assert_eq!(show(&|path| nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRWXU).unwrap()), "/\n");
    assert_eq!(show(&|path| link("passwd", path)), "/\n");
    assert_eq!(show(&|path| crate::support::write(path, "root:x:0:0::relative:\n", 0o644)), "/\n");
    assert_eq!(show(&|path| crate::support::write(path, vec![b'x'; 11 << 20], 0o644)), "/\n");
    assert_eq!(
        show(&|path| crate::support::write(path, b"\xff\xfe\nroot:x:0:0::/root:/bin/sh\n", 0o644)),
        "/root\n"
    );
}

#[test]
fn the_program_begins_in_its_directory() {
    let case = case!();
    for cwd in ["/", "/tmp", "/bin/../etc/"] {
        let expected = if cwd == "/bin/../etc/" { "/etc" } else { cwd };
        case.sh("/bin/pwd", |config| config["process"]["cwd"] = json!(cwd)).prints(&format!("{expected}\n"));
    }
    let b = case.script("/bin/pwd", |config| config["process"]["cwd"] = json!("/link"));
    link("/tmp", &b.rootfs("link"));
    case.run(&b).prints("/tmp\n");
}

#[test]
fn a_directory_that_is_missing_is_made() {
    let case = case!();
    for readonly in [false, true] {
        case.sh("/bin/pwd; stat -c '%a %u' .", |config| {
            config["process"]["cwd"] = json!("/new/one/of/it");
            config["process"]["user"] = json!({ "uid": 33, "gid": 33 });
            config["root"]["readonly"] = json!(readonly);
        })
        .prints("/new/one/of/it\n755 0\n");
    }
    // Never outside: what is there is a link that leads up and out, to nothing.
    let b = case.script("/bin/pwd", |config| config["process"]["cwd"] = json!("/link/x"));
    link("../../../../made-outside", &b.rootfs("link"));
    case.run(&b).prints("/made-outside/x\n");
    assert!(crate::support::is_there(b.rootfs("made-outside/x")));
}

#[test]
fn the_directory_is_entered_as_the_containers_user() {
    let case = case!();
    let b = case.script("/bin/pwd", |config| {
        config["process"]["cwd"] = json!("/private");
        config["process"]["user"] = json!({ "uid": 33, "gid": 33 });
    });
    b.put("private/.keep", "", 0o644);
    host_command("chmod", &["700".as_ref(), b.rootfs("private").as_os_str()]);
    host_command("chown", &["33".as_ref(), b.rootfs("private").as_os_str()]);
    case.run(&b).prints("/private\n");
}

#[test]
fn user_and_groups_are_exactly_the_configurations() {
    let case = case!();
    for (user, ids, groups) in [
        (json!({ "uid": 0, "gid": 0 }), "0 0", ""),
        (json!({ "uid": 33, "gid": 34 }), "33 34", ""),
        (json!({ "uid": 1000, "gid": 100, "additionalGids": [] }), "1000 100", ""),
        (json!({ "uid": 1000, "gid": 100, "additionalGids": [5, 6, 100_000] }), "1000 100", "5 6 100000"),
    ] {
        let status = status(&case, |config| config["process"]["user"] = user);
        let (uid, gid) = ids.split_once(' ').unwrap();
        assert_eq!(status["Uid"], [uid; 4].join("\t"));
        assert_eq!(status["Gid"], [gid; 4].join("\t"));
        assert_eq!(status["Groups"], groups);
    }
}

#[test]
fn the_callers_groups_are_not_the_containers() {
    let case = case!();
    need!(crate::support::installed("setpriv"), "setpriv is not installed");
    let b = case.script("grep Groups /proc/self/status", |_| {});
    let with_groups = ["setpriv", "--groups", "0,10,999"];
    case.call_through(&with_groups, ["run", "-b", b.path(), &b.id]).finish().prints("Groups:\t \n");
}

#[test]
fn groups_may_be_repeated_and_as_many_as_the_kernel_takes() {
    let case = case!();
    let user = |groups: Vec<u32>| json!({ "uid": 1000, "gid": 100, "additionalGids": groups });
    let twice = status(&case, |config| config["process"]["user"] = user(vec![6, 5, 5]));
    assert_eq!(twice["Groups"], "5 5 6");
    let all = status(&case, |config| config["process"]["user"] = user((1..=65_536).collect()));
    assert_eq!(all["Groups"].split(' ').count(), 65_536);
    let b = case.script("true", |config| config["process"]["user"] = user((1..=65_537).collect()));
    case.create(&b).fails(&["process: user.additionalGids: 65537 groups, the kernel takes 65536"]);
}

#[test]
fn the_callers_groups_are_kept_where_the_annotation_says_so() {
    let case = case!();
    need!(crate::support::installed("setpriv"), "setpriv is not installed");
    let b = case.script("grep Groups /proc/self/status", |config| {
        config["annotations"] = json!({ "run.oci.keep_original_groups": "1" });
        config["process"]["user"] = json!({ "uid": 33, "gid": 33, "additionalGids": [77] });
    });
    let with_groups = ["setpriv", "--groups", "10,999"];
    case.call_through(&with_groups, ["run", "-b", b.path(), &b.id]).finish().prints("Groups:\t10 999 \n");
}

#[test]
fn an_id_that_the_user_namespace_does_not_map_is_refused_by_name() {
    let case = case!();
    for (user, words) in [
        (json!({ "uid": 70_000, "gid": 0 }), ["process: user.uid: 70000", "linux.uidMappings"]),
        (json!({ "uid": 0, "gid": 70_000 }), ["process: user.gid: 70000", "linux.gidMappings"]),
        (
            json!({ "uid": 0, "gid": 0, "additionalGids": [1, 70_000] }),
            ["process: user.additionalGids[1]: 70000", "linux.gidMappings"],
        ),
    ] {
        let b = case.script("true", |config| {
            add_user_namespace(config, 100_000);
            config["process"]["user"] = user;
        });
        case.create(&b).fails(&words);
    }
}

#[test]
fn the_umask_is_the_configurations_or_the_callers() {
    let case = case!();
    case.sh("umask; touch /f; stat -c %a /f", |config| config["process"]["user"]["umask"] = json!(0o027))
        .prints("0027\n640\n");
    // config.md: unset, it is not changed. (crun and runc make it 0022 whatever the caller has.)
    let b = case.script("umask", |_| {});
    for umask in ["0022", "0077", "0000"] {
        let line = format!("umask {umask}; exec \"$@\"");
        case.call_through(&["sh", "-c", &line, "sh"], ["run", "-b", b.path(), &b.id])
            .finish()
            .prints(&format!("{umask}\n"));
    }
}

#[test]
fn the_callers_umask_does_not_change_what_is_made() {
    let case = case!();
    let script = "stat -c '%a %n' /dev/null /dev/tty /made /dev/shm; umask";
    let b = case.script(script, |config| {
        crate::support::bundle::add_mount(config, "/made", "tmpfs", "tmpfs", &["mode=755"])
    });
    let line = ["sh", "-c", "umask 077; exec \"$@\"", "sh"];
    case.call_through(&line, ["run", "-b", b.path(), &b.id])
        .finish()
        .prints("666 /dev/null\n666 /dev/tty\n755 /made\n1777 /dev/shm\n0077\n");
}

#[test]
fn limits_are_exactly_the_configurations() {
    let case = case!();
    // As many as a process without CAP_SYS_RESOURCE can set: below what it has.
    let limit = |kind: &str, soft: u64, hard: u64| json!({ "type": kind, "soft": soft, "hard": hard });
    let done = case.sh("cat /proc/self/limits", |config| {
        config["process"]["rlimits"] = json!([
            limit("RLIMIT_NOFILE", 100, 200),
            limit("RLIMIT_CORE", 0, 4096),
            limit("RLIMIT_STACK", 1_048_576, 2_097_152),
            limit("RLIMIT_FSIZE", 1_000_000, 2_000_000),
            limit("RLIMIT_CPU", 100, 200),
            limit("RLIMIT_AS", 1 << 40, 1 << 41),
        ]);
    });
    let text = done.ok().stdout();
    let has = |name: &str, soft: &str, hard: &str| {
        let line = text.lines().find(|line| line.starts_with(name)).unwrap();
        let words: Vec<&str> = line[26..].split_whitespace().collect();
        assert_eq!(words[..2], [soft, hard], "{line}");
    };
    has("Max open files", "100", "200");
    has("Max core file size", "0", "4096");
    has("Max stack size", "1048576", "2097152");
    has("Max file size", "1000000", "2000000");
    has("Max cpu time", "100", "200");
    has("Max address space", "1099511627776", "2199023255552");
}

#[test]
fn every_limit_that_the_kernel_has_can_be_set() {
    let case = case!();
    // As proc_pid_limits(5) names them; the values are this machine's own, or less.
    let kinds = [
        ("Max cpu time", "CPU"),
        ("Max file size", "FSIZE"),
        ("Max data size", "DATA"),
        ("Max stack size", "STACK"),
        ("Max core file size", "CORE"),
        ("Max resident set", "RSS"),
        ("Max processes", "NPROC"),
        ("Max open files", "NOFILE"),
        ("Max locked memory", "MEMLOCK"),
        ("Max address space", "AS"),
        ("Max file locks", "LOCKS"),
        ("Max pending signals", "SIGPENDING"),
        ("Max msgqueue size", "MSGQUEUE"),
        ("Max nice priority", "NICE"),
        ("Max realtime priority", "RTPRIO"),
        ("Max realtime timeout", "RTTIME"),
    ];
    let own = read("/proc/self/limits");
    let hard = |name: &str, text: &str| {
        let line = text.lines().find(|line| line.starts_with(name)).unwrap();
        let words: Vec<String> = line[26..].split_whitespace().map(str::to_owned).collect();
        (words[0].clone(), words[1].clone())
    };
    let limits: Vec<(&str, &str, u64, u64)> = kinds
        .iter()
        .map(|(name, kind)| match hard(name, &own).1.parse::<u64>() {
            Ok(most) => (*name, *kind, most.saturating_sub(1), most),
            Err(_) => (*name, *kind, (1 << 40) - 4096, 1 << 40),
        })
        .collect();
    let done = case.sh("cat /proc/self/limits", |config| {
        let one = |(_, kind, soft, hard): &(&str, &str, u64, u64)| {
            json!({ "type": format!("RLIMIT_{kind}"), "soft": soft, "hard": hard })
        };
        config["process"]["rlimits"] = limits.iter().map(one).collect();
    });
    let text = done.ok().stdout();
    for (name, kind, soft, most) in limits {
        assert_eq!(hard(name, &text), (soft.to_string(), most.to_string()), "{kind}");
    }
}

#[test]
fn limits_hold_in_a_user_namespace_and_for_another_user() {
    let case = case!();
    let b = case.script("ulimit -n; ulimit -Hn", |config| {
        add_user_namespace(config, 100_000);
        config["process"]["user"] = json!({ "uid": 33, "gid": 33 });
        config["process"]["rlimits"] = json!([{ "type": "RLIMIT_NOFILE", "soft": 50, "hard": 60 }]);
    });
    b.chown(100_000);
    case.run(&b).prints("50\n60\n");
}

#[test]
fn a_limit_that_can_not_be_set_is_an_error_that_names_it() {
    let case = case!();
    let b = case.script("true", |config| {
        config["process"]["rlimits"] = json!([{ "type": "RLIMIT_NOFILE", "soft": 1, "hard": 1u64 << 60 }]);
    });
    case.create(&b).fails(&["process.rlimits", "RLIMIT_NOFILE", "(EPERM)"]);
}

#[test]
fn without_capabilities_all_five_sets_are_empty() {
    let case = case!();
    for capabilities in [None, Some(json!({})), Some(json!({ "bounding": [], "effective": [] }))] {
        for uid in [0, 1000] {
            let status = status(&case, |config| {
                config["process"]["user"]["uid"] = json!(uid);
                if let Some(capabilities) = &capabilities {
                    config["process"]["capabilities"] = capabilities.clone();
                }
            });
            assert_eq!(sets(&status), [0; 5], "{capabilities:?} {uid}");
        }
    }
}

#[test]
fn root_has_exactly_the_sets_of_the_configuration() {
    let case = case!();
    for new_privileges in [true, false] {
        let status = status(&case, |config| {
            config["process"]["noNewPrivileges"] = json!(!new_privileges);
            config["process"]["capabilities"] = json!({
                "bounding": ["CAP_KILL", "CAP_SETUID", "CAP_NET_BIND_SERVICE"],
                "permitted": ["CAP_KILL", "CAP_NET_BIND_SERVICE"],
                "effective": ["CAP_KILL"],
                "inheritable": ["CAP_NET_BIND_SERVICE"],
            });
        });
        // execve by uid 0: permitted is all of bounding and inheritable, and effective is permitted
        // (capabilities(7)); with no_new_privs no more than before.
        let [bounding, effective, permitted, inheritable, ambient] = sets(&status);
        assert_eq!((bounding, inheritable, ambient), (KILL | SETUID | NET_BIND, NET_BIND, 0));
        let expected = if new_privileges { KILL | SETUID | NET_BIND } else { KILL | NET_BIND };
        assert_eq!((effective, permitted), (expected, expected), "new privileges: {new_privileges}");
    }
}

#[test]
fn the_inheritable_set_is_empty_unless_it_is_asked_for() {
    // CVE-2022-29162, CVE-2022-24769.
    let case = case!();
    let status = status(&case, |config| set_capabilities(config, &["CAP_KILL", "CAP_CHOWN"]));
    let [bounding, effective, permitted, inheritable, ambient] = sets(&status);
    assert_eq!((bounding, effective, permitted, inheritable, ambient), (KILL | 1, KILL | 1, KILL | 1, 0, 0));
}

#[test]
fn another_user_has_the_ambient_set_and_nothing_else() {
    let case = case!();
    let all = ["CAP_KILL", "CAP_NET_BIND_SERVICE"];
    let without = status(&case, |config| {
        config["process"]["user"] = json!({ "uid": 1000, "gid": 1000 });
        set_capabilities(config, &all);
        config["process"]["capabilities"]["inheritable"] = json!(all);
    });
    assert_eq!(sets(&without), [KILL | NET_BIND, 0, 0, KILL | NET_BIND, 0]);
    let with = status(&case, |config| {
        config["process"]["user"] = json!({ "uid": 1000, "gid": 1000 });
        set_capabilities(config, &all);
        config["process"]["capabilities"]["inheritable"] = json!(all);
        config["process"]["capabilities"]["ambient"] = json!(["CAP_NET_BIND_SERVICE"]);
    });
    assert_eq!(sets(&with), [KILL | NET_BIND, NET_BIND, NET_BIND, KILL | NET_BIND, NET_BIND]);
}

#[test]
fn capabilities_that_can_not_be_granted_are_left_out_with_a_warning() {
    // config.md: what can't be granted is a warning and no error (since 1.1).
    let case = case!();
    for (set, names, expected) in [
        ("ambient", json!(["CAP_KILL"]), [KILL, KILL, KILL, 0, 0]),
        ("effective", json!(["CAP_KILL", "CAP_SETUID"]), [KILL, KILL, KILL, 0, 0]),
        ("inheritable", json!(["CAP_SETUID"]), [KILL, KILL, KILL, 0, 0]),
    ] {
        let b = case.bundle(|config| {
            config["process"]["args"] = json!(["/bin/cat", "/proc/self/status"]);
            set_capabilities(config, &["CAP_KILL"]);
            config["process"]["capabilities"][set] = names;
        });
        let done = case.call(["--debug", "run", "-b", b.path(), &b.id]).finish().ok();
        assert!(
            done.stderr().contains("ignoring unknown or unavailable capabilities: [\"CAP_"),
            "{set}: {done}"
        );
        let lines = done.lines();
        let value = |name: &str| {
            let line = lines.iter().find(|line| line.starts_with(name)).unwrap();
            u64::from_str_radix(line.split_whitespace().last().unwrap(), 16).unwrap()
        };
        assert_eq!(["CapBnd", "CapEff", "CapPrm", "CapInh", "CapAmb"].map(value), expected, "{set}");
    }
}

#[test]
fn capabilities_in_a_user_namespace_are_the_configurations() {
    let case = case!();
    let b = case.script("grep Cap /proc/self/status", |config| {
        add_user_namespace(config, 100_000);
        set_capabilities(config, &["CAP_KILL", "CAP_SYS_ADMIN"]);
    });
    b.chown(100_000);
    let text = case.run(&b).ok().stdout();
    let expected = format!("{:016x}", KILL | 1 << 21);
    for set in ["CapPrm", "CapEff", "CapBnd"] {
        assert!(text.contains(&format!("{set}:\t{expected}")), "{text}");
    }
    assert!(
        text.contains("CapInh:\t0000000000000000") && text.contains("CapAmb:\t0000000000000000"),
        "{text}"
    );
}

#[test]
fn a_capability_that_the_runtime_has_not_is_left_out() {
    let case = case!();
    need!(crate::support::installed("setpriv"), "setpriv is not installed");
    let b = case.script("grep CapBnd /proc/self/status", |config| {
        set_capabilities(config, &["CAP_KILL", "CAP_NET_RAW"])
    });
    let less = ["setpriv", "--bounding-set", "-net_raw", "--inh-caps", "-all"];
    case.call_through(&less, ["run", "-b", b.path(), &b.id])
        .finish()
        .prints(&format!("CapBnd:\t{KILL:016x}\n"));
}

#[test]
fn no_new_privileges_is_set_when_asked_for() {
    let case = case!();
    for (value, expected) in [(json!(true), "1"), (json!(false), "0"), (json!(null), "0")] {
        let status = status(&case, |config| config["process"]["noNewPrivileges"] = value);
        assert_eq!(status["NoNewPrivs"], expected);
    }
}

#[test]
fn the_oom_score_is_the_configurations_or_the_callers() {
    let case = case!();
    for (score, userns) in [(500, false), (1000, true)] {
        let b = case.script("cat /proc/self/oom_score_adj", |config| {
            config["process"]["oomScoreAdj"] = json!(score);
            if userns {
                add_user_namespace(config, 100_000);
            }
        });
        case.run(&b).prints(&format!("{score}\n"));
    }
    let b = case.script("cat /proc/self/oom_score_adj", |_| {});
    let line = ["sh", "-c", "echo 77 >/proc/self/oom_score_adj; exec \"$@\"", "sh"];
    case.call_through(&line, ["run", "-b", b.path(), &b.id]).finish().prints("77\n");
}

#[test]
fn a_lower_oom_score_without_the_privilege_for_it_is_an_error() {
    let case = case!();
    need!(crate::support::installed("setpriv"), "setpriv is not installed");
    let b = case.script("true", |config| config["process"]["oomScoreAdj"] = json!(-500));
    let less = ["setpriv", "--bounding-set", "-sys_resource", "--inh-caps", "-all"];
    case.call_through(&less, ["create", "-b", b.path(), &b.id]).finish().fails(&[
        "process.oomScoreAdj: -500",
        "(EACCES)",
        "CAP_SYS_RESOURCE",
    ]);
}

/// Leaves descriptors 3 to 60 open, as a careless caller does: directories of the host, files, pipes.
const LEAK: &str = "for n in $(seq 3 60); do case $((n % 3)) in 0) eval \"exec $n</\";; 1) eval \"exec $n</etc/passwd\";; \
    2) eval \"exec $n<>/dev/null\";; esac; done; exec \"$@\"";

#[test]
fn only_three_descriptors_are_open_whatever_the_caller_leaks() {
    let case = case!();
    let list = |config: &mut Value| config["process"]["args"] = json!(["/bin/ls", "/proc/self/fd"]);
    let b = case.bundle(list);
    let leak = ["bash", "-c", LEAK, "bash"];
    // The fourth is the directory that ls reads.
    case.call_through(&leak, ["run", "-b", b.path(), &b.id]).finish().prints("0\n1\n2\n3\n");
    let create = case.call_through(&leak, ["create", "-b", b.path(), &b.id]).finish().ok();
    case.call_through(&leak, ["start", &b.id]).finish().ok();
    case.until(&b.id, "stopped");
    assert_eq!(create.stdout(), "0\n1\n2\n3\n");
    case.delete(&b.id);
    // Nor through a hook's or a joined namespace's detour.
    let b = case.bundle(|config| {
        list(config);
        config["hooks"] = json!({ "startContainer": [{ "path": "/bin/true" }] });
        set_namespace(config, "pid", Some(json!({ "type": "pid", "path": "/proc/self/ns/pid" })));
    });
    case.call_through(&leak, ["run", "-b", b.path(), &b.id]).finish().prints("0\n1\n2\n3\n");
}

#[test]
fn while_created_init_has_no_descriptor_of_the_callers() {
    let case = case!();
    let b = case.script("true", |_| {});
    case.call_through(&["bash", "-c", LEAK, "bash"], ["create", "-b", b.path(), &b.id]).finish().ok();
    let dir = format!("/proc/{}/fd", case.pid(&b.id));
    let targets: Vec<String> = std::fs::read_dir(dir)
        .unwrap()
        .map(|fd| std::fs::read_link(fd.unwrap().path()).unwrap().display().to_string())
        .collect();
    case.delete(&b.id);
    // It may wait for long, and what it holds open nobody can unmount.
    assert!(!targets.contains(&"/etc/passwd".to_owned()), "{targets:?}");
}

#[test]
fn descriptors_are_preserved_when_asked_for_and_no_more() {
    let case = case!();
    let b = case.script("ls /proc/self/fd | tr '\\n' ' '; cat <&3; cat <&4", |_| {});
    let (three, four) = (case.file("three", "third\n", 0o644), case.file("four", "fourth\n", 0o644));
    let line = format!("exec 3<{} 4<{} 5</ 6</; exec \"$@\"", three.display(), four.display());
    let done = case
        .call_through(&["bash", "-c", &line, "bash"], ["run", "--preserve-fds", "2", "-b", b.path(), &b.id])
        .finish();
    done.prints("0 1 2 3 4 5 third\nfourth\n");
}

#[test]
fn listen_fds_reach_the_program_with_its_own_pid() {
    let case = case!();
    let b = case.script("echo $LISTEN_FDS $LISTEN_PID; ls /proc/self/fd | tr '\\n' ' '; cat <&3", |_| {});
    let three = case.file("three", "third\n", 0o644);
    let line = format!("exec 3<{} 4</ 5</; export LISTEN_FDS=1 LISTEN_PID=$$; exec \"$@\"", three.display());
    let wrapper = ["bash", "-c", line.as_str(), "bash"];
    case.call_through(&wrapper, ["run", "-b", b.path(), &b.id]).finish().prints("1 1\n0 1 2 3 4 third\n");
    // Those of --preserve-fds come after them.
    case.call_through(&wrapper, ["run", "--preserve-fds=1", "-b", b.path(), &b.id])
        .finish()
        .prints("1 1\n0 1 2 3 4 5 third\n");
    // Somebody else's are not ours.
    let b = case.script("echo ${LISTEN_FDS-none}; ls /proc/self/fd | tr '\\n' ' '", |_| {});
    let line = "exec 3</; export LISTEN_FDS=1 LISTEN_PID=1; exec \"$@\"";
    case.call_through(&["bash", "-c", line, "bash"], ["run", "-b", b.path(), &b.id])
        .finish()
        .prints("none\n0 1 2 3 ");
}

#[test]
fn signals_are_reset_whatever_the_caller_ignores_or_blocks() {
    let case = case!();
    // No shell in between: busybox's own ignores some.
    let b = case.bundle(|config| {
        config["process"]["args"] = json!(["/bin/grep", "-E", "^Sig(Blk|Ign)", "/proc/self/status"])
    });
    let ignoring = ["sh", "-c", "trap '' HUP INT QUIT PIPE TERM USR1 CHLD; exec \"$@\"", "sh"];
    let clean = "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n";
    case.call_through(&ignoring, ["run", "-b", b.path(), &b.id]).finish().prints(clean);
    let create = case.call_through(&ignoring, ["create", "-b", b.path(), &b.id]).finish().ok();
    case.call(["start", &b.id]).finish().ok();
    case.until(&b.id, "stopped");
    assert_eq!(create.stdout(), clean);
    case.delete(&b.id);
    // All of them, but for those that can't be.
    let blocking = ["env", "--block-signal", "--ignore-signal"];
    case.call_through(&blocking, ["run", "-b", b.path(), &b.id]).finish().prints(clean);
}

#[test]
fn the_process_leads_a_session_of_its_own() {
    let case = case!();
    let b = case.script("sleep 100", |config| set_namespace(config, "pid", None));
    case.started(&b);
    let pid = case.pid(&b.id);
    let stat = read(format!("/proc/{pid}/stat"));
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    // ppid, pgrp, session, tty_nr
    assert_eq!(fields[2..5], [pid.to_string().as_str(), pid.to_string().as_str(), "0"]);
    case.delete(&b.id);
}

#[test]
fn the_session_keyring_is_the_containers_own_unless_refused() {
    let case = case!();
    need!(std::path::Path::new("/proc/keys").is_file(), "the kernel has no keyrings");
    for (flags, own) in [(&[][..], true), (&["--no-new-keyring"], false)] {
        let b = case.script("cat /proc/keys", |_| {});
        let line: Vec<&str> = ["run"].iter().chain(flags).copied().chain(["-b", b.path(), &b.id]).collect();
        let done = case.call(line).finish().ok();
        let keyring = done.lines().into_iter().find(|line| line.contains(&format!("_ses.{}", b.id)));
        // proc_keys(5): all for who has it; view, read, search and link for its user, as runc has it.
        assert_eq!(keyring.map(|line| line.contains(" 3f1b0000 ")), own.then_some(true), "{done}");
    }
}

#[test]
fn the_death_of_create_does_not_end_the_container() {
    // PDEATHSIG is for a container that is half made; a created one outlives its caller.
    let case = case!();
    let b = case.script("sleep 100", |_| {});
    let line = ["sh", "-c", "\"$@\" & wait", "sh"];
    case.call_through(&line, ["create", "-b", b.path(), &b.id]).finish().ok();
    assert_eq!(case.status(&b.id), "created");
    case.call_through(&line, ["start", &b.id]).finish().ok();
    assert_eq!(case.status(&b.id), "running");
    case.delete(&b.id);
}

#[test]
fn the_program_gets_no_death_signal() {
    let case = case!();
    // The program asks the kernel: a shell can't, and so its stat shows whether a signal came.
    let b = case.script("sleep 100", |_| {});
    case.call_through(&["sh", "-c", "\"$@\"; exit 0", "sh"], ["run", "-d", "-b", b.path(), &b.id])
        .finish()
        .ok();
    assert!(
        !crate::support::within(std::time::Duration::from_millis(100), || case.status(&b.id) != "running")
    );
    case.delete(&b.id);
}

#[test]
fn args_0_may_differ_from_nothing_and_arguments_arrive_as_they_are() {
    let case = case!();
    let odd = ["a b", "", "ä", "\"q\"", "-n", "$(x)"];
    let b = case.bundle(|config| {
        let args: Vec<&str> = ["/bin/printf", "<%s>"].into_iter().chain(odd).collect();
        config["process"]["args"] = json!(args);
    });
    case.run(&b).prints("<a b><><ä><\"q\"><-n><$(x)>");
}

#[test]
fn the_program_is_searched_in_the_path_of_the_configuration() {
    let case = case!();
    for path in ["/nowhere:/opt/x:/bin", "/opt/x", ":/opt/x"] {
        let b = case.bundle(|config| {
            config["process"]["args"] = json!(["mine"]);
            config["process"]["env"] = json!([format!("PATH={path}")]);
        });
        b.put("opt/x/mine", "#!/bin/sh\necho found\n", 0o755);
        case.run(&b).prints("found\n");
    }
    // Without a PATH, as execvp(3) does.
    let b = case.bundle(|config| {
        config["process"]["args"] = json!(["true"]);
        config["process"]["env"] = json!([]);
    });
    case.run(&b).ok();
    // A relative name with a slash starts at cwd.
    let b = case.bundle(|config| {
        config["process"]["args"] = json!(["x/mine"]);
        config["process"]["cwd"] = json!("/opt");
    });
    b.put("opt/x/mine", "#!/bin/sh\necho found\n", 0o755);
    case.run(&b).prints("found\n");
}

#[test]
fn standard_descriptors_of_the_host_keep_their_owner() {
    // runc#3674: redirecting to /dev/null changed the owner of the host's.
    let case = case!();
    let before = std::fs::metadata("/dev/null").unwrap();
    let b = case.script("exit 0", |config| config["process"]["user"] = json!({ "uid": 1000, "gid": 1000 }));
    case.call_through(
        &["sh", "-c", "exec \"$@\" </dev/null >/dev/null 2>&1", "sh"],
        ["run", "-b", b.path(), &b.id],
    )
    .finish()
    .ok();
    let after = std::fs::metadata("/dev/null").unwrap();
    assert_eq!((before.uid(), before.gid(), before.mode()), (after.uid(), after.gid(), after.mode()));
}

#[test]
fn closed_standard_descriptors_are_no_way_in() {
    // T-D4: what is opened next must not become one of the three.
    let case = case!();
    let b = case.script("exit 0", |_| {});
    for closed in 1..8 {
        let close = |n: u8, redirect: &str| {
            if closed & 1 << n != 0 { redirect.to_owned() } else { String::new() }
        };
        let line = format!("exec \"$@\" {} {} {}", close(0, "<&-"), close(1, ">&-"), close(2, "2>&-"));
        let wrapper = ["sh", "-c", line.as_str(), "sh"];
        case.call_through(&wrapper, ["create", "-b", b.path(), &b.id]).finish().ok();
        let dir = format!("/proc/{}/fd", case.pid(&b.id));
        for n in 0..3u8 {
            let target =
                std::fs::read_link(format!("{dir}/{n}")).map(|p| p.display().to_string()).unwrap_or_default();
            let harmless = closed & 1 << n == 0 || target.is_empty() || target == "/dev/null";
            assert!(harmless, "descriptor {n} of {closed:03b} is {target}");
        }
        case.delete(&b.id);
    }
}

#[test]
fn a_process_that_ends_at_once_is_no_error() {
    let case = case!();
    let b = case.script("exit 0", |_| {});
    for _ in 0..20 {
        case.run(&b).prints("");
        case.started(&b);
        case.until(&b.id, "stopped");
        case.call(["delete", &b.id]).finish().ok();
    }
}

#[test]
fn a_directory_that_leads_out_of_the_container_is_refused() {
    // CVE-2024-21626, T-D1: through a descriptor that the caller has left open.
    let case = case!();
    let leak = ["bash", "-c", LEAK, "bash"];
    for cwd in (3..=20).map(|n| format!("/proc/self/fd/{n}")).chain(
        [
            "/proc/self/fd/3/..",
            "/proc/self/fd/3/../../..",
            "/proc/thread-self/fd/3",
            "/proc/1/fd/6",
            "/proc/self/root/..",
        ]
        .map(String::from),
    ) {
        let b = case
            .script("/bin/pwd; cat ./etc/hostname ../../../../etc/hostname 2>/dev/null; true", |config| {
                config["process"]["cwd"] = json!(cwd)
            });
        let done = case.call_through(&leak, ["run", "-b", b.path(), &b.id]).finish();
        if done.code() == 0 {
            // The container's own root, whatever the detour: it has no /etc/hostname.
            assert!(done.lines().len() == 1 && done.stdout().starts_with('/'), "{cwd}: {done}");
        } else {
            done.fails(&["process: cwd"]);
        }
    }
}

#[test]
fn a_program_through_a_leaked_descriptor_is_refused() {
    // T-D3.
    let case = case!();
    let leak = ["bash", "-c", LEAK, "bash"];
    for n in 3..20 {
        let b =
            case.bundle(|config| config["process"]["args"] = json!([format!("/proc/self/fd/{n}/bin/true")]));
        case.call_through(&leak, ["run", "-b", b.path(), &b.id])
            .finish()
            .fails(&[&format!("/proc/self/fd/{n}/bin/true")]);
    }
}

#[test]
fn a_container_that_is_killed_at_once_leaves_nothing() {
    let case = case!();
    let b = case.script("sleep 100", |_| {});
    for _ in 0..5 {
        case.call(["run", "-d", "-b", b.path(), &b.id]).finish().ok();
        case.call(["kill", &b.id, "KILL"]).finish().ok();
        eventually("it can be deleted", || case.call(["delete", &b.id]).finish().code() == 0);
    }
}

#[test]
fn a_user_database_that_is_a_device_is_not_even_opened() {
    // Opening alone may do something: rewind a tape, start a watchdog.
    let case = case!();
    need!(installed("strace"), "strace is not installed");
    let b = case.script("echo $HOME", |_| {});
    let passwd = b.rootfs("etc/passwd");
    remove(&passwd);
    let (kind, mode) = (nix::sys::stat::SFlag::S_IFCHR, nix::sys::stat::Mode::S_IRUSR);
    nix::sys::stat::mknod(&passwd, kind, mode, nix::sys::stat::makedev(1, 5)).unwrap();
    let log = case.path("trace");
    let line = ["strace", "-f", "-qq", "-e", "trace=openat2", "-o", log.to_str().unwrap()];
    case.call_through(&line, ["run", "-b", b.path(), &b.id]).finish().prints("/\n");
    let text = read(&log);
    let opened: Vec<&str> = text.lines().filter(|line| line.contains("etc/passwd")).collect();
    assert!(!opened.is_empty() && opened.iter().all(|line| line.contains("O_PATH")), "{opened:?}");
}
