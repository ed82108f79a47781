//! config-linux.md: the allowed device list.

use serde_json::{Value, json};

use crate::clause::{Clause, Outcome, expect, must};
use crate::lab::Lab;

const RULES: &str = "config-linux.md#allowed-device-list";
const ORDER: &str = "The runtime MUST apply entries in the listed order.";
const ALLOW: &str = "allow (boolean, REQUIRED) - whether the entry is allowed or denied.";
const TYPE: &str = "type (string, OPTIONAL) - type of device: a (all), c (char), or b (block). Unset values mean \"all\", mapping to a.";
const NUMBERS: &str =
    "major, minor (int64, OPTIONAL) … Unset values mean \"all\", mapping to * in the filesystem API.";
const ACCESS: &str = "access (string, OPTIONAL) - cgroup permissions for device. A composition of r (read), w (write), and m (mknod).";
const VALUES: &str = "config.md#valid-values";
const INVALID: &str = "Runtimes MUST generate an error when invalid or unsupported values are encountered.";

/// Two devices that no driver has: opening one that is allowed is ENXIO, otherwise EPERM.
const CHAR: (u32, u32) = (511, 7);
const BLOCK: (u32, u32) = (511, 9);

pub(crate) const CLAUSES: &[Clause] = &[
    must("linux.device-rules.deny-all", (RULES, ALLOW), |lab| {
        decides(lab, json!([deny_all()]), "rw", "EPERM", "EPERM")
    }),
    must("linux.device-rules.allow-all", (RULES, ALLOW), |lab| {
        decides(lab, json!([{ "allow": true, "access": "rwm" }]), "rw", "ENXIO", "ENXIO")
    }),
    must("linux.device-rules.allow-one", (RULES, NUMBERS), |lab| {
        decides(lab, json!([deny_all(), allow("c", CHAR, "rw")]), "rw", "ENXIO", "EPERM")
    }),
    must("linux.device-rules.deny-one", (RULES, NUMBERS), |lab| {
        decides(
            lab,
            json!([{ "allow": true, "access": "rwm" }, { "allow": false, "type": "c", "major": CHAR.0, "minor": CHAR.1, "access": "rwm" }]),
            "rw",
            "EPERM",
            "ENXIO",
        )
    }),
    must("linux.device-rules.order.later-deny", (RULES, ORDER), |lab| {
        decides(
            lab,
            json!([deny_all(), allow("c", CHAR, "rw"), { "allow": false, "type": "c", "major": CHAR.0, "minor": CHAR.1, "access": "rwm" }]),
            "r",
            "EPERM",
            "EPERM",
        )
    }),
    must("linux.device-rules.order.later-deny-all", (RULES, ORDER), |lab| {
        decides(
            lab,
            json!([allow("c", CHAR, "rw"), allow("b", BLOCK, "rw"), deny_all()]),
            "r",
            "EPERM",
            "EPERM",
        )
    }),
    must("linux.device-rules.order.later-allow", (RULES, ORDER), |lab| {
        decides(
            lab,
            json!([{ "allow": false, "type": "c", "major": CHAR.0, "minor": CHAR.1, "access": "rwm" }, { "allow": true, "access": "rwm" }]),
            "r",
            "ENXIO",
            "ENXIO",
        )
    }),
    must("linux.device-rules.type.c", (RULES, TYPE), |lab| {
        decides(
            lab,
            json!([deny_all(), { "allow": true, "type": "c", "access": "rwm" }]),
            "r",
            "ENXIO",
            "EPERM",
        )
    }),
    must("linux.device-rules.type.b", (RULES, TYPE), |lab| {
        decides(
            lab,
            json!([deny_all(), { "allow": true, "type": "b", "access": "rwm" }]),
            "r",
            "EPERM",
            "ENXIO",
        )
    }),
    must("linux.device-rules.type.a", (RULES, TYPE), |lab| {
        decides(
            lab,
            json!([deny_all(), { "allow": true, "type": "a", "access": "rwm" }]),
            "r",
            "ENXIO",
            "ENXIO",
        )
    }),
    must("linux.device-rules.type.unknown", (VALUES, INVALID), |lab| {
        lab.with("linux/resources/devices/-", json!({ "allow": true, "type": "x", "access": "r" }))
            .refused("type|device")
    }),
    must("linux.device-rules.any-minor", (RULES, NUMBERS), |lab| {
        decides(
            lab,
            json!([deny_all(), { "allow": true, "type": "c", "major": CHAR.0, "access": "rw" }]),
            "rw",
            "ENXIO",
            "EPERM",
        )
    }),
    must("linux.device-rules.other-minor", (RULES, NUMBERS), |lab| {
        decides(lab, json!([deny_all(), allow("c", (CHAR.0, CHAR.1 + 1), "rw")]), "rw", "EPERM", "EPERM")
    }),
    must("linux.device-rules.access.r", (RULES, ACCESS), |lab| {
        decides(lab, json!([deny_all(), allow("c", CHAR, "r")]), "r", "ENXIO", "EPERM")?;
        decides(lab, json!([deny_all(), allow("c", CHAR, "r")]), "w", "EPERM", "EPERM")
    }),
    must("linux.device-rules.access.w", (RULES, ACCESS), |lab| {
        decides(lab, json!([deny_all(), allow("c", CHAR, "w")]), "w", "ENXIO", "EPERM")?;
        decides(lab, json!([deny_all(), allow("c", CHAR, "w")]), "rw", "EPERM", "EPERM")
    }),
    must("linux.device-rules.access.m", (RULES, ACCESS), |lab| {
        // Without the rule all runtimes allow it, too: the default list of runc has it for all devices.
        makes(lab, json!([deny_all(), allow("c", CHAR, "m")]))
    }),
    must("linux.device-rules.access.unknown", (VALUES, INVALID), |lab| {
        lab.with("linux/resources/devices/-", json!({ "allow": true, "type": "c", "access": "rx" }))
            .refused("access|device")
    }),
    must("linux.device-rules.allow.required", (RULES, ALLOW), |lab| {
        lab.with("linux/resources/devices/-", json!({ "type": "c", "access": "rw" })).refused("allow|device")
    }),
    must(
        "linux.device-rules.default-devices",
        (
            "config-linux.md#default-devices",
            "In addition to any devices configured with this setting, the runtime MUST also supply",
        ),
        |lab| {
            let draft = lab.with("linux/resources/devices", json!([deny_all()]));
            let paths = ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/ptmx"];
            let seen =
                paths.iter().fold(draft, |draft, path| draft.ask("open", json!([path, "rw"]))).report()?;
            let refused = paths.iter().find(|path| !seen["open"][&format!("rw:{path}")].is_null());
            expect(refused.is_none(), format!("{refused:?} cannot be opened"))
        },
    ),
];

fn deny_all() -> Value {
    json!({ "allow": false, "access": "rwm" })
}

fn allow(kind: &str, (major, minor): (u32, u32), access: &str) -> Value {
    json!({ "allow": true, "type": kind, "major": major, "minor": minor, "access": access })
}

/// What opening the character device and the block device ends with.
fn decides(lab: &Lab<'_>, rules: Value, how: &str, char_errno: &str, block_errno: &str) -> Outcome {
    let device = |kind: &str, (major, minor): (u32, u32)| {
        let path = format!("/dev/{kind}");
        json!({ "type": kind, "path": path, "major": major, "minor": minor })
    };
    let draft = lab
        .with("linux/devices", json!([device("c", CHAR), device("b", BLOCK)]))
        .with("linux/resources/devices", rules);
    let seen = draft.ask("open", json!(["/dev/c", how])).ask("open", json!(["/dev/b", how])).report()?;
    seen.is("open", json!({ format!("{how}:/dev/c"): char_errno, format!("{how}:/dev/b"): block_errno }))
}

/// mknod(2) of the character device is allowed.
fn makes(lab: &Lab<'_>, rules: Value) -> Outcome {
    let draft = lab.capabilities(&["CAP_MKNOD"]).with("linux/resources/devices", rules);
    let number = nix::sys::stat::makedev(u64::from(CHAR.0), u64::from(CHAR.1));
    let call = json!(["mknod", libc::SYS_mknod, ["/tmp/new", 0o020_666, number]]);
    draft.ask("calls", call).sees("calls/mknod", Value::Null)
}
