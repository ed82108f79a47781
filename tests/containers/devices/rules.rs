//! Which devices may be opened: "Allowed Device list".

use serde_json::{Value, json};

use super::set_devices;
use crate::support::bundle::{set_capabilities, set_namespace};
use crate::support::case;

fn set_rules(config: &mut Value, rules: Value) {
    config["linux"]["resources"]["devices"] = rules;
}

#[test]
fn what_is_made_and_what_may_be_opened_are_two_things() {
    let case = case!();
    let none = json!({ "allow": false, "access": "rwm" });
    let kmsg = json!([{ "path": "/dev/mine", "type": "c", "major": 1, "minor": 11, "fileMode": 0o666 }]);
    // Made and not allowed.
    let done = case.sh("exec 3</dev/mine", |config| {
        set_capabilities(config, &["CAP_SYSLOG"]);
        set_devices(config, kmsg);
        set_rules(config, json!([none]));
    });
    assert!(done.stderr().contains("Operation not permitted"), "{done}");
    // Allowed and not made: the container may do it.
    let rule = json!({ "allow": true, "type": "c", "major": 1, "minor": 11, "access": "r" });
    case.sh(
        "ls /dev/mine 2>/dev/null || mknod /dev/mine c 1 11 && exec 3</dev/mine && echo open",
        |config| {
            set_capabilities(config, &["CAP_SYSLOG", "CAP_MKNOD"]);
            set_rules(config, json!([none, rule]));
        },
    )
    .prints("open\n");
}

#[test]
fn a_device_that_is_denied_can_not_be_opened() {
    let case = case!();
    // Capabilities and permissions allow it; the cgroup's program does not.
    let all = |config: &mut Value| {
        set_capabilities(config, &["CAP_MKNOD", "CAP_DAC_OVERRIDE"]);
        set_namespace(config, "cgroup", None);
    };
    let script = "mknod /dev/kmsg2 c 1 11 && head -c 0 /dev/kmsg2; echo $?; head -c 1 /dev/mem2 2>&1; head -c1 /dev/zero | wc -c";
    let done = case.sh(script, |config| {
        all(config);
        set_devices(config, json!([{ "path": "/dev/mem2", "type": "c", "major": 1, "minor": 1 }]));
        set_rules(config, json!([{ "allow": false, "access": "rwm" }]));
    });
    let done = done.ok();
    assert!(done.stdout().contains("/dev/mem2: Operation not permitted"), "{done}");
    // mknod is allowed, opening it is not; the default ones work.
    assert!(done.stderr().contains("/dev/kmsg2: Operation not permitted"), "{done}");
    assert!(done.stdout().starts_with("1\n") && done.stdout().ends_with("1\n"), "{done}");
}

#[test]
fn rules_hold_in_their_order_and_by_access() {
    let case = case!();
    let script =
        "for how in '<' '>' '<>'; do eval \"(exec 3$how/dev/mine) 2>/dev/null\" && echo \"$how\"; done; true";
    let with = |rules: Value| {
        case.sh(script, |config| {
            // The kernel's log asks for it when it is read; who opens it at all is the program's to say.
            set_capabilities(config, &["CAP_SYSLOG"]);
            set_devices(
                config,
                json!([{ "path": "/dev/mine", "type": "c", "major": 1, "minor": 11, "fileMode": 0o666 }]),
            );
            set_rules(config, rules);
        })
        .ok()
        .lines()
        .join(" ")
    };
    let none = json!({ "allow": false, "access": "rwm" });
    let allow =
        |access: &str| json!({ "allow": true, "type": "c", "major": 1, "minor": 11, "access": access });
    let deny =
        |access: &str| json!({ "allow": false, "type": "c", "major": 1, "minor": 11, "access": access });
    assert_eq!(with(json!([none])), "");
    assert_eq!(with(json!([none, allow("rwm")])), "< > <>");
    assert_eq!(with(json!([none, allow("r")])), "<");
    assert_eq!(with(json!([none, allow("w")])), ">");
    assert_eq!(with(json!([none, allow("r"), allow("w")])), "< > <>");
    assert_eq!(with(json!([none, allow("rwm"), deny("w")])), "<");
    assert_eq!(with(json!([allow("rwm"), none])), "");
    // Without minor, without type.
    assert_eq!(with(json!([none, { "allow": true, "type": "c", "major": 1, "access": "rwm" }])), "< > <>");
    assert_eq!(with(json!([none, { "allow": true, "type": "c", "major": 2, "access": "rwm" }])), "");
    assert_eq!(
        with(json!([none, { "allow": true, "type": "b", "major": 1, "minor": 11, "access": "rwm" }])),
        ""
    );
    assert_eq!(with(json!([none, { "allow": true, "type": "a", "access": "rwm" }])), "< > <>");
    assert_eq!(with(json!([deny("rw")])), "");
    assert_eq!(with(json!([])), "< > <>");
}

/// The kernel goes through all ways through a program before it takes it.
#[test]
fn two_thousand_rules_are_a_program_that_the_kernel_takes() {
    let case = case!();
    let b = case.script("( : >/dev/kmsg ) 2>/dev/null && echo opens; ( : >/dev/zero ) && echo zero", |config| {
        config["linux"]["devices"] = json!([{ "path": "/dev/kmsg", "type": "c", "major": 1, "minor": 11 }]);
        let mut rules = vec![json!({ "allow": false, "access": "rwm" })];
        // In any order, overlapping, with accesses of all kinds.
        rules.extend((0..2000).map(|n| {
            let access = ["r", "w", "rw", "rwm"][n % 4];
            match n % 3 {
                0 => json!({ "allow": true, "type": "b", "major": 8 + n * 7 % 11, "minor": n, "access": access }),
                1 => json!({ "allow": n % 2 == 0, "type": "c", "major": 200 + n * 13 % 300, "access": access }),
                _ => json!({ "allow": true, "type": "c", "major": 13, "minor": n, "access": access }),
            }
        }));
        rules.push(json!({ "allow": true, "type": "c", "major": 1, "minor": 11, "access": "w" }));
        config["linux"]["resources"] = json!({ "devices": rules });
    });
    case.run(&b).prints("opens\nzero\n");
}
