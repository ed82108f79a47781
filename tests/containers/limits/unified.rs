//! config-linux.md, "Unified".

use serde_json::json;

use super::limited::{Limited, bundle, create};
use super::{Driver, both_drivers, limits_case};
use crate::support::read;

fn controllers_are_enabled_as_the_keys_need_them(driver: Driver) {
    let case = limits_case!(driver, "pids", "memory");
    let b = bundle(&case, driver, "exec sleep 100", json!({ "unified": { "pids.max": "55" } }));
    if driver == Driver::Cgroupfs {
        // Nobody has enabled anything here before.
        let mut config = b.config();
        config["linux"]["cgroupsPath"] = json!(format!("/{}/above/{}", case.unique, b.id));
        b.save(&config);
    }
    let c = Limited::of(&case, driver, b);
    assert_eq!(c.read("pids.max"), "55");
    c.update(&json!({ "unified": { "memory.high": (32 << 20).to_string() } }));
    assert_eq!([c.read("pids.max"), c.read("memory.high")], ["55".to_owned(), (32 << 20).to_string()]);
    c.delete();
    if driver == Driver::Cgroupfs {
        let enabled = read(case.cgroup().join("cgroup.subtree_control"));
        assert!(enabled.contains("pids") && enabled.contains("memory"), "{enabled}");
    }
}

fn a_key_that_the_kernel_has_not_is_refused_by_its_name(driver: Driver) {
    let case = limits_case!(driver, "memory");
    for (key, word) in [
        ("memory.nosuch", "memory.nosuch"),
        ("nosuch.max", "controller nosuch"),
        ("cgroup.nosuch", "cgroup.nosuch"),
    ] {
        let b = bundle(&case, driver, "true", json!({ "unified": { key: "1" } }));
        create(&case, driver, &b).fails(&["linux.resources.unified", word]);
    }
    let b = bundle(&case, driver, "true", json!({ "unified": { "memory.high": "much" } }));
    create(&case, driver, &b).fails(&["linux.resources.unified", "memory.high", "EINVAL"]);
    let c = Limited::created(&case, driver, "true", json!({ "unified": { "memory.high": "67108864" } }));
    c.try_update(&json!({ "unified": { "memory.high": "much" } })).fails(&["memory.high", "EINVAL"]);
    c.try_update(&json!({ "unified": { "memory.nosuch": "1" } })).fails(&["memory.nosuch"]);
    assert_eq!(c.read("memory.high"), "67108864");
    c.delete();
}

both_drivers! {
    controllers_are_enabled_as_the_keys_need_them
    a_key_that_the_kernel_has_not_is_refused_by_its_name
}
