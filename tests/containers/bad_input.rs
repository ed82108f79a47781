//! Bad input: one clear line that names the object, and errno where a call failed; exit code 1; nothing left
//! behind, which the leak check sees to.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use serde_json::{Value, json};

use crate::support::bundle::{Bundle, add_mount, set_capabilities, set_namespace};
use crate::support::{Case, case, is_there, link, write};

/// Both ways into the runtime refuse the bundle with these words, leave nothing, and say so before the
/// program runs.
#[track_caller]
fn refused(case: &Case, bundle: &Bundle, words: &[&str]) {
    for verb in ["create", "run"] {
        case.call([verb, "-b", bundle.path(), &bundle.id]).finish().fails(words);
        assert_eq!(case.leaks(), [""; 0], "after {verb}");
        assert!(!is_there(bundle.rootfs("ran")), "the program ran");
    }
}

/// The base configuration with one thing wrong.
#[track_caller]
fn bad(case: &Case, words: &[&str], change: impl FnOnce(&mut Value)) {
    refused(case, &case.script("echo >/ran", change), words);
}

#[test]
fn a_missing_bundle_or_config_json_is_named() {
    let case = case!();
    let b = case.script("true", |_| {});
    for verb in ["create", "run"] {
        case.call([verb, "-b", "/no/such/bundle", &b.id])
            .finish()
            .fails(&["/no/such/bundle", "No such file or directory (ENOENT)"]);
    }
    std::fs::rename(b.dir.join("config.json"), b.dir.join("other.json")).unwrap();
    refused(&case, &b, &["config.json", "No such file or directory (ENOENT)"]);
    case.call(["run", "-b", b.path(), "-f", "nowhere.json", &b.id])
        .finish()
        .fails(&["nowhere.json", "(ENOENT)"]);
}

#[test]
fn a_config_json_that_is_no_file_is_refused_at_once() {
    let case = case!();
    let b = case.script("true", |_| {});
    let path = b.dir.join("config.json");
    std::fs::rename(&path, b.dir.join("good.json")).unwrap();
    crate::support::make_dir(&path);
    refused(&case, &b, &["config.json"]);
    std::fs::remove_dir(&path).unwrap();
    // Nobody writes to it: a runtime that waits for its content hangs.
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    refused(&case, &b, &["config.json", "not a regular file"]);
}

#[test]
fn a_malformed_config_json_is_told_with_line_and_column() {
    let case = case!();
    let b = case.script("true", |_| {});
    let good = b.config().to_string();
    for (text, word) in [
        (String::new(), "EOF"),
        ("{".into(), "line 1"),
        (good[..good.len() / 2].into(), "EOF"),
        (format!("{good} trailing"), "trailing"),
        ("[]".into(), "config.json"),
        ("null".into(), "config.json"),
        ("\u{feff}{}".into(), "line 1 column 1"),
    ] {
        b.save_text(&text);
        refused(&case, &b, &["config.json", word]);
    }
    // Not UTF-8.
    b.save_text(b"{\"ociVersion\":\"1.0.0\",\"hostname\":\"\xff\xfe\"}");
    refused(&case, &b, &["config.json"]);
}

#[test]
fn a_property_named_twice_is_refused() {
    // bundle.md: no duplicate names; two parsers could disagree on which one holds.
    let case = case!();
    let b = case.script("echo >/ran", |_| {});
    let config = b.config().to_string();
    b.save_text(config.replacen('{', r#"{"hostname":"first","#, 1));
    refused(&case, &b, &["hostname"]);
}

#[test]
fn a_version_that_is_none_or_not_ours_is_refused() {
    let case = case!();
    for version in ["", "1", "1.0", "one.two.three", "2.0.0", "0.9.0"] {
        bad(&case, &["ociVersion", version], |config| config["ociVersion"] = json!(version));
    }
    bad(&case, &["ociVersion"], |config| drop(config.as_object_mut().unwrap().remove("ociVersion")));
    for version in ["1.0.0", "1.0.2-dev", "1.2.1", "1.3.0+dev"] {
        case.sh("true", |config| config["ociVersion"] = json!(version)).ok();
    }
}

#[test]
fn unknown_values_are_named_with_their_property() {
    let case = case!();
    bad(&case, &["/linux/namespaces/0/type", "oddity"], |c| {
        c["linux"]["namespaces"][0]["type"] = json!("oddity")
    });
    bad(&case, &["/process/rlimits/0/type", "RLIMIT_X"], |c| {
        c["process"]["rlimits"] = json!([{ "type": "RLIMIT_X", "soft": 1, "hard": 1 }]);
    });
    bad(&case, &["/linux/seccomp/defaultAction", "SCMP_ACT_MAYBE"], |c| {
        c["linux"]["seccomp"] = json!({ "defaultAction": "SCMP_ACT_MAYBE" });
    });
    bad(&case, &["/linux/devices/0/type", "z"], |c| {
        c["linux"]["devices"] = json!([{ "path": "/dev/x", "type": "z", "major": 1, "minor": 3 }]);
    });
    bad(&case, &["linux.rootfsPropagation", "sideways"], |c| {
        c["linux"]["rootfsPropagation"] = json!("sideways")
    });
}

#[test]
fn values_of_a_wrong_type_are_named_with_their_property() {
    let case = case!();
    bad(&case, &["/process/user/uid"], |c| c["process"]["user"]["uid"] = json!("root"));
    bad(&case, &["/process/user/uid"], |c| c["process"]["user"]["uid"] = json!(4_294_967_296u64));
    bad(&case, &["/process/user/gid"], |c| c["process"]["user"]["gid"] = json!(-1));
    bad(&case, &["/process/args"], |c| c["process"]["args"] = json!("sh"));
    bad(&case, &["/process/terminal"], |c| c["process"]["terminal"] = json!("yes"));
    bad(&case, &["/mounts/0"], |c| c["mounts"][0] = json!("x"));
    bad(&case, &["/linux/sysctl"], |c| c["linux"]["sysctl"] = json!({ "net.ipv4.ip_forward": 1 }));
}

#[test]
fn a_relative_cwd_is_refused() {
    let case = case!();
    for cwd in ["tmp", "./tmp", ""] {
        bad(&case, &["process: cwd"], |c| c["process"]["cwd"] = json!(cwd));
    }
    bad(&case, &["process", "cwd"], |c| drop(c["process"].as_object_mut().unwrap().remove("cwd")));
}

#[test]
fn empty_args_are_refused() {
    let case = case!();
    bad(&case, &["process: args"], |c| c["process"]["args"] = json!([]));
    bad(&case, &["process: args"], |c| c["process"]["args"] = json!([""]));
    bad(&case, &["process: args"], |c| drop(c["process"].as_object_mut().unwrap().remove("args")));
}

#[test]
fn a_nul_byte_is_refused_wherever_it_is() {
    let case = case!();
    bad(&case, &["args[1]", "NUL"], |c| c["process"]["args"] = json!(["/bin/sh", "a\0b"]));
    bad(&case, &["env[1]", "NUL"], |c| c["process"]["env"] = json!(["PATH=/bin", "A=a\0b"]));
    bad(&case, &["cwd", "NUL"], |c| c["process"]["cwd"] = json!("/a\0b"));
    bad(&case, &["hostname", "NUL"], |c| c["hostname"] = json!("a\0b"));
    bad(&case, &["mounts[4]", "NUL"], |c| add_mount(c, "/a\0b", "tmpfs", "tmpfs", &[]));
    bad(&case, &["mounts[4]", "NUL"], |c| add_mount(c, "/x", "tmpfs", "tmpfs", &["mode=7\0"]));
    bad(&case, &["linux.maskedPaths[0]", "NUL"], |c| c["linux"]["maskedPaths"] = json!(["/a\0b"]));
    bad(&case, &["linux.cgroupsPath", "NUL"], |c| c["linux"]["cgroupsPath"] = json!("/a\0b"));
    bad(&case, &["createRuntime[0]", "NUL"], |c| {
        c["hooks"] = json!({ "createRuntime": [{ "path": "/bin/true", "args": ["a\0b"] }] })
    });
}

#[test]
fn a_rootfs_that_is_missing_or_a_file_is_named_with_errno() {
    let case = case!();
    bad(&case, &["rootfs", "/nowhere", "No such file or directory (ENOENT)"], |c| {
        c["root"]["path"] = json!("nowhere")
    });
    bad(&case, &["rootfs", "config.json", "Not a directory (ENOTDIR)"], |c| {
        c["root"]["path"] = json!("config.json")
    });
    bad(&case, &["root"], |c| drop(c.as_object_mut().unwrap().remove("root")));
    bad(&case, &["root.path"], |c| c["root"]["path"] = json!(""));
}

#[test]
fn an_unknown_capability_is_a_warning() {
    // config.md since 1.1: ignored, and said so to who asks.
    let case = case!();
    let b = case.script("grep CapBnd /proc/self/status", |config| {
        set_capabilities(config, &["CAP_KILL", "CAP_TIME_TRAVEL"]);
    });
    case.run(&b).prints("CapBnd:\t0000000000000020\n");
    let done = case.call(["--debug", "run", "-b", b.path(), &b.id]).finish().ok();
    assert!(
        done.stderr().contains("ignoring unknown or unavailable capabilities")
            && done.stderr().contains("CAP_TIME_TRAVEL"),
        "{done}"
    );
}

#[test]
fn a_namespace_type_named_twice_is_refused() {
    let case = case!();
    bad(&case, &["linux.namespaces[6] pid"], |c| {
        c["linux"]["namespaces"]
            .as_array_mut()
            .unwrap()
            .push(json!({ "type": "pid", "path": "/proc/self/ns/pid" }));
    });
}

#[test]
fn a_namespace_path_that_is_not_one_of_its_type_is_named() {
    let case = case!();
    let join = |path: &str| Some(json!({ "type": "network", "path": path }));
    bad(&case, &["linux.namespaces[5]", "/proc/self/ns/uts", "another type"], |c| {
        set_namespace(c, "network", join("/proc/self/ns/uts"))
    });
    bad(&case, &["linux.namespaces[5]", "/no/such/ns", "(ENOENT)"], |c| {
        set_namespace(c, "network", join("/no/such/ns"))
    });
    bad(&case, &["linux.namespaces[5]", "/etc/passwd", "not a namespace"], |c| {
        set_namespace(c, "network", join("/etc/passwd"))
    });
    bad(&case, &["linux.namespaces[5]", "/etc"], |c| set_namespace(c, "network", join("/etc")));
    bad(&case, &["linux.namespaces[5]", "not absolute"], |c| set_namespace(c, "network", join("ns/net")));
    let fifo = case.path("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    bad(&case, &["linux.namespaces[5]", "fifo"], |c| {
        set_namespace(c, "network", join(fifo.to_str().unwrap()))
    });
}

#[test]
fn hooks_with_a_relative_path_or_without_time_are_refused() {
    let case = case!();
    for kind in ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"] {
        bad(&case, &[kind, "[1]", "bin/true", "not absolute"], |c| {
            c["hooks"] = json!({ kind: [{ "path": "/bin/true" }, { "path": "bin/true" }] });
        });
        for timeout in [0, -1] {
            bad(&case, &[kind, "[0]", "/bin/true", "timeout"], |c| {
                c["hooks"] = json!({ kind: [{ "path": "/bin/true", "timeout": timeout }] });
            });
        }
    }
}

#[test]
fn a_bad_mount_is_named_with_its_index_and_destination() {
    let case = case!();
    bad(&case, &["mounts[4] /x", "oddity"], |c| add_mount(c, "/x", "tmpfs", "tmpfs", &["oddity"]));
    bad(&case, &["mounts[4] /x", "size"], |c| add_mount(c, "/x", "tmpfs", "tmpfs", &["size=much"]));
    bad(&case, &["mounts[4] /x", "nosuchfs"], |c| add_mount(c, "/x", "nosuchfs", "none", &[]));
    bad(&case, &["mounts[4] /x", "/no/such/source", "(ENOENT)"], |c| {
        add_mount(c, "/x", "bind", "/no/such/source", &["bind"])
    });
    bad(&case, &["mounts[4] /x", "source"], |c| add_mount(c, "/x", "bind", "", &["bind"]));
    bad(&case, &["mounts[4] /x", "type"], |c| add_mount(c, "/x", "", "/etc", &[]));
    bad(&case, &["mounts[4] /"], |c| add_mount(c, "/", "tmpfs", "tmpfs", &[]));
    bad(&case, &["mounts[4] /etc/passwd", "(ENOTDIR)"], |c| {
        add_mount(c, "/etc/passwd", "tmpfs", "tmpfs", &[])
    });
    bad(&case, &["mounts[4] /etc/passwd/x", "(ENOTDIR)"], |c| {
        add_mount(c, "/etc/passwd/x", "tmpfs", "tmpfs", &[])
    });
}

#[test]
fn a_mount_that_would_redirect_proc_is_refused() {
    let case = case!();
    for at in ["/proc/self/attr", "/proc/sys/kernel", "/proc/net/dev", "/proc", "/x/../proc/1"] {
        let dir = case.subdir("volume");
        bad(&case, &["mounts[4]", "/proc"], |c| add_mount(c, at, "bind", dir, &["bind"]));
    }
}

#[test]
fn a_file_where_a_directory_has_to_be_is_named() {
    let case = case!();
    let b = case.script("true", |_| {});
    std::fs::remove_dir(b.rootfs("proc")).unwrap();
    b.put("proc", "a file", 0o644);
    refused(&case, &b, &["mounts[0] /proc", "ordinary directory"]);
}

#[test]
fn a_proc_or_sys_that_is_a_link_is_refused() {
    // CVE-2019-19921, CVE-2023-27561, CVE-2025-54867: the image would choose where it lies.
    let case = case!();
    let canary = case.subdir("canary");
    for at in ["proc", "sys"] {
        for target in [canary.as_path(), std::path::Path::new("tmp"), std::path::Path::new("missing")] {
            let b = case.script("true", |c| add_mount(c, "/sys", "sysfs", "sysfs", &["ro"]));
            std::fs::remove_dir(b.rootfs(at)).unwrap();
            link(target, &b.rootfs(at));
            refused(&case, &b, &[&format!("/{at}"), "ordinary directory"]);
        }
    }
    assert_eq!(std::fs::read_dir(&canary).unwrap().count(), 0);
}

#[test]
fn ids_that_the_user_namespace_does_not_map_are_named() {
    let case = case!();
    let in_userns = |user: Value| {
        move |c: &mut Value| {
            crate::support::bundle::add_user_namespace(c, 100_000);
            c["process"]["user"] = user;
        }
    };
    let b = case.script("true", in_userns(json!({ "uid": 70_000, "gid": 0 })));
    b.chown(100_000);
    refused(&case, &b, &["user.uid", "70000"]);
    let b = case.script("true", in_userns(json!({ "uid": 0, "gid": 70_000 })));
    b.chown(100_000);
    refused(&case, &b, &["user.gid", "70000"]);
    let b = case.script("true", in_userns(json!({ "uid": 0, "gid": 0, "additionalGids": [70_000] })));
    b.chown(100_000);
    refused(&case, &b, &["additionalGids"]);
}

#[test]
fn bad_id_maps_are_named() {
    let case = case!();
    let map = |entries: Value| {
        move |c: &mut Value| {
            set_namespace(c, "user", Some(json!({ "type": "user" })));
            c["linux"]["uidMappings"] = entries;
            c["linux"]["gidMappings"] = json!([{ "containerID": 0, "hostID": 0, "size": 1 }]);
        }
    };
    bad(
        &case,
        &["linux.uidMappings[0]", "size 0"],
        map(json!([{ "containerID": 0, "hostID": 5, "size": 0 }])),
    );
    let overlap =
        json!([{ "containerID": 0, "hostID": 5, "size": 9 }, { "containerID": 8, "hostID": 50, "size": 2 }]);
    bad(&case, &["linux.uidMappings", "overlap"], map(overlap));
    bad(
        &case,
        &["linux.uidMappings[0]"],
        map(json!([{ "containerID": 4_294_967_295u32, "hostID": 0, "size": 2 }])),
    );
    bad(&case, &["user namespace", "uidMappings"], |c| {
        set_namespace(c, "user", Some(json!({ "type": "user" })))
    });
    bad(&case, &["uidMappings", "user namespace"], |c| {
        c["linux"]["uidMappings"] = json!([{ "containerID": 0, "hostID": 0, "size": 1 }]);
    });
}

#[test]
fn what_would_change_the_host_is_refused() {
    let case = case!();
    bad(&case, &["hostname", "uts"], |c| set_namespace(c, "uts", None));
    bad(&case, &["domainname", "uts"], |c| {
        set_namespace(c, "uts", None);
        c["hostname"] = json!("");
        c["domainname"] = json!("d");
    });
    bad(&case, &["linux.sysctl", "net.ipv4.ip_forward"], |c| {
        set_namespace(c, "network", None);
        c["linux"]["sysctl"] = json!({ "net.ipv4.ip_forward": "1" });
    });
    bad(&case, &["mount namespace"], |c| {
        set_namespace(c, "mount", None);
        c["linux"]["maskedPaths"] = json!(["/proc/kcore"]);
    });
}

#[test]
fn what_is_required_is_not_filled_in() {
    // A mapping without its host's id would be one to root, a rule that says nothing one that denies.
    let case = case!();
    let mapping = json!({ "containerID": 0, "hostID": 100_000, "size": 10 });
    for missing in ["containerID", "hostID", "size"] {
        bad(&case, &["/linux/gidMappings/0: missing field", missing], |c| {
            set_namespace(c, "user", Some(json!({ "type": "user" })));
            c["linux"]["uidMappings"] = json!([mapping]);
            c["linux"]["gidMappings"] = json!([mapping]);
            c["linux"]["gidMappings"][0].as_object_mut().unwrap().remove(missing);
        });
    }
    bad(&case, &["/linux/resources/devices/1: missing field `allow`"], |c| {
        c["linux"]["resources"] =
            json!({ "devices": [{ "allow": false }, { "type": "c", "access": "rwm" }] });
    });
    bad(&case, &["/process/ioPriority: missing field `class`"], |c| {
        c["process"]["ioPriority"] = json!({ "priority": 1 });
    });
}

#[test]
fn a_cgroups_path_that_leads_elsewhere_is_refused() {
    // GHSA-5g49-rx9x-qfc6 and T-G1.
    let case = case!();
    for path in ["/", "../x", "/../..", "/a/../../b", "a/.."] {
        bad(&case, &["linux.cgroupsPath"], |c| c["linux"]["cgroupsPath"] = json!(path));
    }
    let long = format!("/{}/{}", case.unique, "x".repeat(5000));
    bad(&case, &["cgroup", "(ENAMETOOLONG)"], |c| c["linux"]["cgroupsPath"] = json!(long));
    bad(&case, &["linux.resources", "cgroup.procs"], |c| {
        c["linux"]["resources"] = json!({ "unified": { "cgroup.procs": "1" } });
    });
    bad(&case, &["linux.resources.unified: cgroup.freeze is the runtime's own business"], |c| {
        c["linux"]["resources"] = json!({ "unified": { "cgroup.freeze": "1" } });
    });
    bad(&case, &["linux.resources.unified: openat2(\"cgroup.novel\")", "ENOENT"], |c| {
        c["linux"]["resources"] = json!({ "unified": { "cgroup.novel": "1" } });
    });
    bad(&case, &["linux.resources", "unified"], |c| {
        c["linux"]["resources"] = json!({ "unified": { "../memory.max": "1" } });
    });
}

#[test]
fn bad_numbers_of_a_process_are_named() {
    let case = case!();
    let limit = |soft: u64, hard: u64| json!({ "type": "RLIMIT_CORE", "soft": soft, "hard": hard });
    bad(&case, &["process", "rlimits[1]", "RLIMIT_CORE"], |c| {
        c["process"]["rlimits"] = json!([limit(0, 0), limit(0, 0)])
    });
    bad(&case, &["process", "rlimits[0]", "RLIMIT_CORE"], |c| c["process"]["rlimits"] = json!([limit(2, 1)]));
    for score in [-1001, 1001] {
        bad(&case, &["process", "oomScoreAdj"], |c| c["process"]["oomScoreAdj"] = json!(score));
    }
    bad(&case, &["user.uid", "4294967295"], |c| c["process"]["user"]["uid"] = json!(u32::MAX));
    bad(&case, &["consoleSize"], |c| {
        c["process"]["terminal"] = json!(true);
        c["process"]["consoleSize"] = json!({ "height": 70_000, "width": 80 });
    });
}

#[test]
fn a_property_that_is_not_supported_is_refused_by_name() {
    // Ignoring it would be worse.
    let case = case!();
    bad(&case, &["blockIO"], |c| c["linux"]["resources"] = json!({ "blockIO": { "weight": 10 } }));
    bad(&case, &["memory.swappiness"], |c| {
        c["linux"]["resources"] = json!({ "memory": { "swappiness": 10 } })
    });
    bad(&case, &["linux.seccomp"], |c| {
        c["linux"]["seccomp"] = json!({ "defaultAction": "SCMP_ACT_ALLOW", "listenerMetadata": "x" });
    });
    bad(&case, &["linux.seccomp", "SCMP_ACT_ALLOW"], |c| {
        c["linux"]["seccomp"] = json!({
            "defaultAction": "SCMP_ACT_ERRNO",
            "syscalls": [{ "names": ["read"], "action": "SCMP_ACT_ALLOW", "errnoRet": 5 }],
        });
    });
}

#[test]
fn unknown_properties_are_ignored() {
    let case = case!();
    case.sh("echo fine", |c| {
        c["novelty"] = json!({ "a": [1, 2, 3] });
        c["process"]["novelty"] = json!(true);
        c["linux"]["novelty"] = json!("x");
        c["annotations"] = json!({ "com.example.unknown": "value", "run.oci.novel": "x" });
    })
    .prints("fine\n");
}

#[test]
fn a_configuration_of_20_mb_is_refused() {
    let case = case!();
    let b = case.script("echo >/ran", |_| {});
    let config = b.config().to_string();
    b.save_text(format!("{}{}", config, " ".repeat(20 << 20)));
    for verb in ["create", "run"] {
        case.call([verb, "-b", b.path(), &b.id]).finish().fails(&["config.json", "(EFBIG)"]);
    }
    // As one large value it is refused just so, and below the limit it is only large.
    b.save_text(config.replacen('{', &format!(r#"{{"x":"{}","#, "y".repeat(20 << 20)), 1));
    refused(&case, &b, &["config.json", "(EFBIG)"]);
    b.save_text(config.replacen('{', &format!(r#"{{"x":"{}","#, "y".repeat(10 << 20)), 1));
    case.run(&b).ok();
}

#[test]
fn a_configuration_nested_10000_deep_is_an_error_and_no_crash() {
    let case = case!();
    let b = case.script("echo >/ran", |_| {});
    let config = b.config().to_string();
    for (open, close) in [("[", "]"), (r#"{"a":"#, "}")] {
        let deep = format!("{}1{}", open.repeat(10_000), close.repeat(10_000));
        b.save_text(config.replacen('{', &format!(r#"{{"annotations":{deep},"#), 1));
        refused(&case, &b, &["config.json"]);
        b.save_text(config.replacen('{', &format!(r#"{{"novelty":{deep},"#), 1));
        refused(&case, &b, &["config.json", "nested"]);
    }
}

#[test]
fn paths_that_are_not_utf_8_work_or_are_named() {
    let case = case!();
    let b = case.script("echo fine", |_| {});
    let odd = case.dir.join(OsStr::from_bytes(b"odd-\xff\xfe dir\n"));
    std::fs::rename(&b.dir, &odd).unwrap();
    // The state has to be JSON, and this bundle has no name in it: said, or done.
    let run = case.call([OsStr::new("run"), OsStr::new("-b"), odd.as_os_str(), b.id.as_ref()]).finish();
    match run.code() {
        0 => assert_eq!(run.stdout(), "fine\n"),
        _ => drop(run.fails(&["odd-"])),
    }
    let b = case.script("echo fine", |_| {});
    case.call([OsStr::new("run"), OsStr::new("-b"), b.path().as_ref(), OsStr::from_bytes(b"id\xff")])
        .finish()
        .fails(&["UTF-8"]);
    let nowhere = OsStr::from_bytes(b"/nowhere\xff");
    case.call([OsStr::new("run"), OsStr::new("-b"), nowhere, b.id.as_ref()]).finish().fails(&["/nowhere"]);
}

#[test]
fn bundles_with_spaces_and_newlines_in_their_path_work() {
    let case = case!();
    let b = case.script("echo fine", |_| {});
    for name in ["with space", "with\nnewline", "mit Umläuten", "a:b,c=d", "it's \"quoted\" \\ 040"] {
        let dir = case.path(name);
        std::fs::rename(&b.dir, &dir).unwrap();
        case.call(["run".as_ref(), "-b".as_ref(), dir.as_os_str(), b.id.as_ref()]).finish().prints("fine\n");
        std::fs::rename(&dir, &b.dir).unwrap();
    }
}

#[test]
fn a_program_that_is_not_found_is_known_at_create_every_time() {
    let case = case!();
    // podman makes 127 of these words. Often, for what init says must not be lost to its end.
    let absolute = case.bundle(|c| c["process"]["args"] = json!(["/no/such/program"]));
    let searched = case.bundle(|c| c["process"]["args"] = json!(["nosuchprogram"]));
    for _ in 0..20 {
        refused(&case, &absolute, &["\"/no/such/program\"", "no such file or directory"]);
        refused(&case, &searched, &["exec: \"nosuchprogram\": executable file not found in $PATH"]);
    }
}

#[test]
fn a_program_that_is_not_executable_is_known_at_create() {
    let case = case!();
    let program = |name: &str| case.bundle(|c| c["process"]["args"] = json!([name]));
    let b = program("/etc/plain");
    b.put("etc/plain", "#!/bin/sh\n", 0o644);
    refused(&case, &b, &["\"/etc/plain\"", "permission denied"]);
    refused(&case, &program("/etc"), &["exec: \"/etc\": is a directory: permission denied"]);
    refused(&case, &program("/etc/passwd/x"), &["\"/etc/passwd/x\"", "not a directory"]);
    let b = program("only");
    b.put("bin/only", "#!/bin/sh\n", 0o644);
    refused(&case, &b, &["\"only\"", "permission denied"]);
    let b = program("/loop");
    link("loop", &b.rootfs("loop"));
    refused(&case, &b, &["\"/loop\"", "symbolic links"]);
    let b = program("/fifo");
    nix::unistd::mkfifo(&b.rootfs("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    refused(&case, &b, &["\"/fifo\""]);
}

#[test]
fn whether_a_program_may_be_executed_is_asked_as_the_containers_user() {
    let case = case!();
    let b = case.bundle(|c| {
        c["process"]["args"] = json!(["/bin/mine"]);
        c["process"]["user"] = json!({ "uid": 33, "gid": 33 });
    });
    b.put("bin/mine", "#!/bin/sh\necho hi\n", 0o700);
    refused(&case, &b, &["\"/bin/mine\"", "permission denied"]);
}

#[test]
fn the_missing_interpreter_of_a_script_is_named() {
    let case = case!();
    let b = case.bundle(|c| c["process"]["args"] = json!(["/script"]));
    b.put("script", "#!/no/such/interpreter -x\n", 0o755);
    case.run(&b).fails(&["exec /script: no such file or directory", "/no/such/interpreter"]);
    case.call(["create", "-b", b.path(), &b.id])
        .finish()
        .fails(&["exec /script: no such file or directory", "/no/such/interpreter"]);
    b.put("script", "#!/bin/sh\r\n", 0o755);
    case.run(&b).fails(&["exec /script", "CR LF"]);
    b.put("script", "", 0o755);
    case.run(&b).fails(&["exec /script", "empty"]);
    // With a hook before it, the program is executed in another way.
    let mut config = b.config();
    config["hooks"]["startContainer"] = json!([{ "path": "/bin/true" }]);
    b.save(&config);
    case.run(&b).fails(&["exec /script", "empty"]);
    b.put("script", "\x7fELF\x02\x01\x01 nonsense", 0o755);
    case.run(&b).fails(&["exec /script"]);
}

#[test]
fn a_cwd_that_can_not_be_made_or_is_a_file_is_named_with_errno() {
    let case = case!();
    bad(&case, &["process: cwd", "/proc/no/such/dir", "No such file or directory (ENOENT)"], |c| {
        c["process"]["cwd"] = json!("/proc/no/such/dir")
    });
    bad(&case, &["process: cwd", "/etc/passwd/x", "Not a directory (ENOTDIR)"], |c| {
        c["process"]["cwd"] = json!("/etc/passwd/x")
    });
    bad(&case, &["process: cwd", "/etc/passwd", "Not a directory (ENOTDIR)"], |c| {
        c["process"]["cwd"] = json!("/etc/passwd")
    });
    let b = case.script("echo >/ran", |c| {
        c["process"]["cwd"] = json!("/root");
        c["process"]["user"] = json!({ "uid": 33, "gid": 33 });
    });
    std::fs::set_permissions(b.rootfs("root"), std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    refused(&case, &b, &["process: cwd", "/root", "Permission denied (EACCES)"]);
}

#[test]
fn long_names_are_refused_by_name() {
    let case = case!();
    bad(&case, &["hostname"], |c| c["hostname"] = json!("h".repeat(65)));
    case.sh("hostname", |c| c["hostname"] = json!("h".repeat(64))).prints(&format!("{}\n", "h".repeat(64)));
    bad(&case, &["process: cwd", "(ENAMETOOLONG)"], |c| {
        c["process"]["cwd"] = json!(format!("/{}", "x".repeat(300)))
    });
    bad(&case, &["mounts[4]", "(ENAMETOOLONG)"], |c| {
        add_mount(c, &format!("/{}", "x".repeat(300)), "tmpfs", "tmpfs", &[])
    });
}

#[test]
fn a_console_socket_and_a_terminal_need_each_other() {
    let case = case!();
    let with = case.script("true", |c| c["process"]["terminal"] = json!(true));
    let without = case.script("true", |_| {});
    case.create(&with).fails(&["--console-socket"]);
    case.call(["run", "-d", "-b", with.path(), &with.id]).finish().fails(&["--console-socket"]);
    let create = |b: &Bundle, socket: &str| {
        case.call(["create", "-b", b.path(), "--console-socket", socket, &b.id]).finish()
    };
    create(&without, "/s").fails(&["--console-socket", "process.terminal"]);
    create(&with, "/no/such/socket").fails(&["console socket", "/no/such/socket", "(ENOENT)"]);
    let file = case.file("plain", "", 0o600);
    create(&with, file.to_str().unwrap()).fails(&["console socket", "(ECONNREFUSED)"]);
    create(&with, &format!("/{}", "x".repeat(300))).fails(&["console socket", "(ENAMETOOLONG)"]);
}

#[test]
fn preserved_descriptors_have_to_be_open() {
    let case = case!();
    let b = case.script("true", |_| {});
    case.call(["run", "-b", b.path(), "--preserve-fds", "3", &b.id]).finish().fails(&["--preserve-fds"]);
    let done = case.call(["run", "-b", b.path(), "--preserve-fds", "many", &b.id]).finish();
    assert_eq!(done.code(), 1, "{done}");
    case.call(["run", "-b", b.path(), "--preserve-fds", "4000000000", &b.id])
        .finish()
        .fails(&["--preserve-fds"]);
    let listen = ["sh", "-c", "LISTEN_FDS=2 LISTEN_PID=$$ exec \"$@\"", "sh"];
    case.call_through(&listen, ["run", "-b", b.path(), &b.id]).finish().fails(&["LISTEN_FDS"]);
}

#[test]
fn a_state_root_that_can_not_be_used_is_named() {
    let case = case!();
    let b = case.script("true", |_| {});
    let file = case.file("plain", "", 0o600);
    let file = file.to_str().unwrap();
    for verb in [vec!["run", "-b", b.path(), &b.id], vec!["list"], vec!["state", "x"]] {
        let line: Vec<&str> = ["--root", file].into_iter().chain(verb).collect();
        case.call(line).finish().fails(&[file, "(ENOTDIR)"]);
    }
}

#[test]
fn a_damaged_record_is_named_and_delete_force_still_says_why() {
    let case = case!();
    let b = case.script("sleep 100", |_| {});
    case.created(&b);
    let record = case.state.join(&b.id).join("record.json");
    let good = std::fs::read(&record).unwrap();
    write(&record, &good[..good.len() / 2], 0o600);
    case.call(["state", &b.id]).finish().fails(&[&b.id]);
    case.call(["start", &b.id]).finish().fails(&[&b.id]);
    let dir = format!("{:?}", case.state.join(&b.id));
    for line in [&["delete", &b.id][..], &["delete", "--force", &b.id]] {
        case.call(line).finish().fails(&["end its processes", "and then its directory", &dir]);
    }
    // One that can't be read is no reason to hide the others.
    case.call(["list", "-q"]).finish().prints("");
    write(&record, good, 0o600);
    case.delete(&b.id);
}

#[test]
fn a_log_that_can_not_be_opened_is_named() {
    let case = case!();
    case.call(["--log", "/no/such/dir/log", "list"]).finish().fails(&["/no/such/dir/log", "o such file"]);
}
