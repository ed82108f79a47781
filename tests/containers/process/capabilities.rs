//! Capabilities and no_new_privs: config.md, "Linux Process".

use std::collections::BTreeMap;

use serde_json::json;

use super::status;
use crate::support::bundle::{add_user_namespace, set_capabilities};
use crate::support::{case, need};

/// capabilities(7), by number.
const KILL: u64 = 1 << 5;
const SETUID: u64 = 1 << 7;
const NET_BIND: u64 = 1 << 10;

fn sets(status: &BTreeMap<String, String>) -> [u64; 5] {
    ["CapBnd", "CapEff", "CapPrm", "CapInh", "CapAmb"]
        .map(|name| u64::from_str_radix(&status[name], 16).unwrap())
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
