//! config.json itself: its form, and its values whatever they are about.

use serde_json::json;

use super::{bad, refused};
use crate::support::bundle::{add_mount, set_namespace};
use crate::support::case;

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
