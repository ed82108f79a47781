//! What the runtime prints for others to parse: `spec` and `features`.

use serde_json::{Value, json};

use crate::support::{Case, case, installed, is_there, runtime};

fn features(case: &Case) -> Value {
    let done = case.host([runtime().as_os_str(), "features".as_ref()]).finish().ok();
    // CRI-O reads both streams as one document.
    assert_eq!(done.stderr(), "");
    serde_json::from_str(&done.stdout()).unwrap()
}

fn strings(value: &Value) -> Vec<String> {
    value
        .as_array()
        .unwrap_or_else(|| panic!("{value} is no list"))
        .iter()
        .map(|v| v.as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn features_has_the_form_of_the_specification() {
    let case = case!();
    let features = features(&case);
    assert_eq!(features["ociVersionMin"], "1.0.0");
    assert_eq!(features["ociVersionMax"], "1.3.0");
    let mut hooks = strings(&features["hooks"]);
    hooks.sort();
    assert_eq!(
        hooks,
        ["createContainer", "createRuntime", "poststart", "poststop", "prestart", "startContainer"]
    );
    let linux = &features["linux"];
    let namespaces = strings(&linux["namespaces"]);
    for name in ["cgroup", "ipc", "mount", "network", "pid", "user", "uts"] {
        assert!(namespaces.contains(&name.to_owned()), "{namespaces:?}");
    }
    assert!(strings(&linux["capabilities"]).iter().all(|name| name.starts_with("CAP_")));
    assert_eq!((&linux["cgroup"]["v2"], &linux["cgroup"]["v1"]), (&json!(true), &json!(false)));
    assert_eq!(linux["seccomp"]["enabled"], true);
    for (list, prefix) in [
        ("actions", "SCMP_ACT_"),
        ("operators", "SCMP_CMP_"),
        ("archs", "SCMP_ARCH_"),
        ("knownFlags", "SECCOMP_FILTER_FLAG_"),
        ("supportedFlags", "SECCOMP_FILTER_FLAG_"),
    ] {
        let values = strings(&linux["seccomp"][list]);
        assert!(!values.is_empty() && values.iter().all(|v| v.starts_with(prefix)), "{list}: {values:?}");
    }
    for (list, prefix) in [("modes", "MPOL_"), ("flags", "MPOL_F_")] {
        let values = strings(&linux["memoryPolicy"][list]);
        assert!(values.iter().all(|value| value.starts_with(prefix)), "{list}: {values:?}");
    }
    for (section, name) in [
        ("cgroup", "systemd"),
        ("cgroup", "systemdUser"),
        ("cgroup", "rdma"),
        ("intelRdt", "schemata"),
        ("intelRdt", "monitoring"),
    ] {
        assert!(linux[section][name].is_boolean(), "{section}.{name}: {}", linux[section]);
    }
    // What an engine must not let through from an image.
    let dangerous = strings(&features["potentiallyUnsafeConfigAnnotations"]);
    for key in ["run.oci.pidfd_receiver", "run.oci.hooks.stdout", "run.oci.hooks.stderr"] {
        assert!(dangerous.contains(&key.to_owned()), "{key} is not in {dangerous:?}");
    }
    assert!(features["annotations"].as_object().unwrap().values().all(Value::is_string));
    // Each name once.
    for list in
        ["/hooks", "/mountOptions", "/linux/namespaces", "/linux/capabilities", "/linux/seccomp/archs"]
    {
        let mut names = strings(features.pointer(list).unwrap());
        let all = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), all, "{list}");
    }
    for section in ["apparmor", "selinux", "intelRdt", "netDevices"] {
        assert!(linux[section]["enabled"].is_boolean(), "{section}: {}", linux[section]);
    }
    assert!(linux["mountExtensions"]["idmap"]["enabled"].is_boolean());
}

#[test]
fn features_names_no_mount_option_that_does_not_work() {
    let case = case!();
    let features = features(&case);
    let options = strings(&features["mountOptions"]);
    for option in ["bind", "rbind", "ro", "rro", "nosuid", "rprivate", "rslave", "nosymfollow"] {
        assert!(options.contains(&option.to_owned()), "{option} is missing");
    }
    let dir = case.subdir("volume");
    let mut failed = Vec::new();
    for option in &options {
        let b = case.script("true", |config| {
            let bind = if option == "bind" || option == "rbind" {
                vec![option.as_str()]
            } else {
                vec!["rbind", option]
            };
            // What belongs to a file system as a whole is for one that is made.
            let fresh =
                ["dirsync", "iversion", "lazytime", "silent", "sync", "tmpcopyup"].contains(&option.as_str());
            match (option.as_str(), fresh) {
                ("remount", _) => {
                    crate::support::bundle::add_mount(config, "/dev/shm", "tmpfs", "tmpfs", &["remount"])
                }
                (_, true) => crate::support::bundle::add_mount(config, "/x", "tmpfs", "tmpfs", &[option]),
                ("idmap" | "ridmap", _) => {
                    crate::support::bundle::add_mount(config, "/x", "bind", &dir, &bind);
                    let map = json!([{ "containerID": 0, "hostID": 1000, "size": 10 }]);
                    let mount = config["mounts"].as_array_mut().unwrap().last_mut().unwrap();
                    (mount["uidMappings"], mount["gidMappings"]) = (map.clone(), map);
                }
                _ => crate::support::bundle::add_mount(config, "/x", "bind", &dir, &bind),
            }
        });
        let done = case.run(&b);
        if done.code() != 0 {
            failed.push(format!("{option}: {}", done.stderr().trim()));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

fn types_of_namespaces(config: &Value) -> Vec<&str> {
    config["linux"]["namespaces"].as_array().unwrap().iter().map(|n| n["type"].as_str().unwrap()).collect()
}

#[test]
fn spec_writes_a_configuration_that_runs() {
    let case = case!();
    let dir = case.subdir("new");
    case.call(["spec"]).cwd(&dir).finish().prints("");
    let text = crate::support::read(dir.join("config.json"));
    let mut config: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(config["process"]["args"], json!(["sh"]));
    assert_eq!(config["process"]["terminal"], true);
    assert_eq!(config["process"]["cwd"], "/");
    assert_eq!(config["process"]["noNewPrivileges"], true);
    assert_eq!(config["root"], json!({ "path": "rootfs", "readonly": true }));
    assert_eq!(config["hostname"], "runc");
    let namespaces = types_of_namespaces(&config);
    assert_eq!(namespaces, ["pid", "network", "ipc", "uts", "mount", "cgroup"]);
    // Filled with a root file system it is a container.
    let b = case.script("true", |_| {});
    config["process"]["terminal"] = json!(false);
    config["process"]["args"] = json!(["hostname"]);
    config["process"]["rlimits"] = json!([]);
    config["linux"]["cgroupsPath"] = b.config()["linux"]["cgroupsPath"].clone();
    b.save(&config);
    case.run(&b).prints("runc\n");
}

#[test]
fn spec_does_not_overwrite_a_configuration() {
    let case = case!();
    let dir = case.subdir("new");
    case.call(["spec", "--bundle", dir.to_str().unwrap()]).finish().ok();
    let before = crate::support::read(dir.join("config.json"));
    case.call(["spec", "-b", dir.to_str().unwrap()]).finish().fails(&["config.json", "exist"]);
    assert_eq!(crate::support::read(dir.join("config.json")), before);
    case.call(["spec", "-b", "/no/such/dir"]).finish().fails(&["/no/such/dir", "(ENOENT)"]);
}

#[test]
fn spec_for_an_ordinary_user_maps_its_ids() {
    let case = case!();
    let dir = case.subdir("new");
    case.call(["spec", "--rootless", "-b", dir.to_str().unwrap()]).finish().ok();
    let config: Value = serde_json::from_str(&crate::support::read(dir.join("config.json"))).unwrap();
    let namespaces = types_of_namespaces(&config);
    assert!(namespaces.contains(&"user") && !namespaces.contains(&"network"), "{namespaces:?}");
    for map in ["uidMappings", "gidMappings"] {
        assert_eq!(config["linux"][map], json!([{ "containerID": 0, "hostID": 0, "size": 1 }]));
    }
    assert!(config["linux"].get("resources").is_none_or(Value::is_null));
}

#[test]
fn spec_writes_what_runc_writes() {
    let case = case!();
    if !installed("runc") {
        return crate::support::skip("runc is not installed");
    }
    for flags in [&[][..], &["--rootless"]] {
        let (ours, theirs) =
            (case.subdir(&format!("ours{}", flags.len())), case.subdir(&format!("theirs{}", flags.len())));
        case.call(["spec"].iter().chain(flags)).cwd(&ours).finish().ok();
        case.host(["runc", "spec"].iter().chain(flags)).cwd(&theirs).finish().ok();
        assert!(is_there(ours.join("config.json")));
        let read = |dir: &std::path::Path| {
            serde_json::from_str::<Value>(&crate::support::read(dir.join("config.json"))).unwrap()
        };
        let (mut ours, mut theirs) = (read(&ours), read(&theirs));
        // Its version is the one of the specification that it was built with; before 1.2 it gave
        // inheritable capabilities, too (CVE-2022-29162), and ambient ones.
        for config in [&mut ours, &mut theirs] {
            config["ociVersion"] = json!("");
            let sets = config["process"]["capabilities"].as_object_mut().unwrap();
            sets.remove("inheritable");
            sets.remove("ambient");
            // It names a cgroup namespace where the host has cgroup v2 only.
            config["linux"]["namespaces"].as_array_mut().unwrap().retain(|ns| ns["type"] != "cgroup");
        }
        for (key, value) in theirs.as_object().unwrap() {
            assert_eq!(&ours[key], value, "{key} {flags:?}");
        }
        assert_eq!(ours.as_object().unwrap().len(), theirs.as_object().unwrap().len());
    }
}
