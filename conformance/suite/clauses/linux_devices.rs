//! config-linux.md: devices.

use serde_json::{Value, json};

use crate::clause::{Clause, Outcome, expect, must};
use crate::draft::Draft;
use crate::lab::Lab;

const DEFAULT: &str = "config-linux.md#default-devices";
const ALSO: &str = "In addition to any devices configured with this setting, the runtime MUST also supply";
const DEVICES: &str = "config-linux.md#devices";
const AVAILABLE: &str =
    "devices (array of objects, OPTIONAL) lists devices that MUST be available in the container.";
const TYPE: &str = "type (string, REQUIRED) - type of device: c, b, u or p.";
const PATH: &str = "path (string, REQUIRED) - full path to device inside container.";
const EXISTS: &str = "If a file already exists at path that does not match the requested device, the runtime MUST generate an error.";
const ANYWHERE: &str = "The path MAY be anywhere in the container filesystem, notably outside of /dev.";
const NUMBERS: &str = "major, minor (int64, REQUIRED unless type is p)";
const VALUES: &str = "config.md#valid-values";
const INVALID: &str = "Runtimes MUST generate an error when invalid or unsupported values are encountered.";

pub(crate) const CLAUSES: &[Clause] = &[
    must("linux.devices.default.null", (DEFAULT, ALSO), |lab| is_default(lab, "/dev/null", 3)),
    must("linux.devices.default.zero", (DEFAULT, ALSO), |lab| is_default(lab, "/dev/zero", 5)),
    must("linux.devices.default.full", (DEFAULT, ALSO), |lab| is_default(lab, "/dev/full", 7)),
    must("linux.devices.default.random", (DEFAULT, ALSO), |lab| is_default(lab, "/dev/random", 8)),
    must("linux.devices.default.urandom", (DEFAULT, ALSO), |lab| is_default(lab, "/dev/urandom", 9)),
    must("linux.devices.default.tty", (DEFAULT, ALSO), |lab| {
        lab.base().finds("/dev/tty", json!({ "kind": "c", "major": 5, "minor": 0, "mode": 0o666 }))
    }),
    must("linux.devices.default.without-dev-mount", (DEFAULT, ALSO), |lab| {
        let draft = lab.base().edit(|config| {
            if let Some(mounts) = config["mounts"].as_array_mut() {
                mounts.retain(|mount| mount["destination"] == "/proc");
            }
        });
        draft.finds("/dev/null", json!({ "kind": "c", "major": 1, "minor": 3 }))
    }),
    must("linux.devices.type.c", (DEVICES, TYPE), |lab| makes(lab, "c", "c")),
    must("linux.devices.type.u", (DEVICES, TYPE), |lab| makes(lab, "u", "c")),
    must("linux.devices.type.b", (DEVICES, TYPE), |lab| makes(lab, "b", "b")),
    must("linux.devices.type.p", (DEVICES, NUMBERS), |lab| {
        lab.with("linux/devices/-", json!({ "type": "p", "path": "/dev/pipe" }))
            .finds("/dev/pipe", json!({ "kind": "p" }))
    }),
    must("linux.devices.type.required", (DEVICES, TYPE), |lab| {
        lab.with("linux/devices/-", json!({ "path": "/dev/x", "major": 1, "minor": 3 }))
            .refused("type|devices")
    }),
    must("linux.devices.type.unknown", (VALUES, INVALID), |lab| {
        lab.with("linux/devices/-", json!({ "type": "x", "path": "/dev/x", "major": 1, "minor": 3 }))
            .refused("type|device")
    }),
    must("linux.devices.path.required", (DEVICES, PATH), |lab| {
        lab.with("linux/devices/-", json!({ "type": "c", "major": 1, "minor": 3 })).refused("path|device")
    }),
    must("linux.devices.available", (DEVICES, AVAILABLE), |lab| {
        device(lab, "/dev/nothing", json!({})).opens("rw", "/dev/nothing", None)
    }),
    must("linux.devices.several", (DEVICES, AVAILABLE), |lab| {
        let draft = device(lab, "/dev/one", json!({}))
            .with("linux/devices/-", json!({ "type": "c", "path": "/dev/two", "major": 1, "minor": 5 }));
        draft.ask("stat", "/dev/one").finds("/dev/two", json!({ "kind": "c", "major": 1, "minor": 5 }))
    }),
    must("linux.devices.path.anywhere", (DEVICES, ANYWHERE), |lab| {
        device(lab, "/data/nothing", json!({}))
            .finds("/data/nothing", json!({ "kind": "c", "major": 1, "minor": 3 }))
    }),
    must("linux.devices.path.directories-are-made", (DEVICES, ANYWHERE), |lab| {
        device(lab, "/new/deep/nothing", json!({}))
            .finds("/new/deep/nothing", json!({ "kind": "c", "major": 1, "minor": 3 }))
    }),
    must("linux.devices.path.below-dev", (DEVICES, PATH), |lab| {
        device(lab, "/dev/bus/usb/001", json!({}))
            .finds("/dev/bus/usb/001", json!({ "kind": "c", "major": 1, "minor": 3 }))
    }),
    must("linux.devices.path.link-stays-inside", (DEVICES, PATH), |lab| {
        let outside = lab.subdir("outside")?;
        let draft = device(lab, "/out/nothing", json!({})).link("/out", &outside.display().to_string());
        // Refused or made inside: both are right.
        let bundle = draft.save()?;
        let done = bundle.try_create()?;
        if done.code() == 0 {
            crate::container::Container::of(bundle, &done)?.remove()?;
        }
        expect(std::fs::read_dir(outside)?.next().is_none(), "the device was made outside")
    }),
    must(
        "linux.devices.file-mode",
        (DEVICES, "fileMode (uint32, OPTIONAL) - file mode for the device."),
        |lab| {
            device(lab, "/dev/nothing", json!({ "fileMode": 0o640 }))
                .finds("/dev/nothing", json!({ "mode": 0o640 }))
        },
    ),
    must(
        "linux.devices.file-mode.whatever-umask",
        (DEVICES, "fileMode (uint32, OPTIONAL) - file mode for the device."),
        |lab| {
            device(lab, "/dev/nothing", json!({ "fileMode": 0o777 }))
                .with("process/user/umask", 0o077)
                .finds("/dev/nothing", json!({ "mode": 0o777 }))
        },
    ),
    must(
        "linux.devices.uid",
        (DEVICES, "uid (uint32, OPTIONAL) - id of device owner in the container namespace."),
        |lab| {
            device(lab, "/dev/nothing", json!({ "uid": 1000 })).finds("/dev/nothing", json!({ "uid": 1000 }))
        },
    ),
    must(
        "linux.devices.gid",
        (DEVICES, "gid (uint32, OPTIONAL) - id of device group in the container namespace."),
        |lab| {
            device(lab, "/dev/nothing", json!({ "gid": 1001 })).finds("/dev/nothing", json!({ "gid": 1001 }))
        },
    ),
    must("linux.devices.all-properties", (DEVICES, AVAILABLE), |lab| {
        let more = json!({ "uid": 5, "gid": 6, "fileMode": 0o600 });
        device(lab, "/data/nothing", more).finds(
            "/data/nothing",
            json!({ "kind": "c", "major": 1, "minor": 3, "mode": 0o600, "uid": 5, "gid": 6 }),
        )
    }),
    must("linux.devices.exists.other-file", (DEVICES, EXISTS), |lab| {
        device(lab, "/data/nothing", json!({}))
            .put("/data/nothing", "a file", 0o644)
            .refused("/data/nothing|exist")
    }),
    must("linux.devices.exists.other-device", (DEVICES, EXISTS), |lab| {
        let draft = device(lab, "/data/nothing", json!({}));
        let there = draft.rootfs("/data/nothing");
        draft.tried(|| make_node(&there, 1, 5)).refused("/data/nothing|exist")
    }),
    must("linux.devices.exists.directory", (DEVICES, EXISTS), |lab| {
        device(lab, "/data", json!({})).refused("/data|exist")
    }),
    must("linux.devices.exists.the-same", (DEVICES, EXISTS), |lab| {
        let draft = device(lab, "/data/nothing", json!({}));
        let there = draft.rootfs("/data/nothing");
        draft
            .tried(|| make_node(&there, 1, 3))
            .finds("/data/nothing", json!({ "kind": "c", "major": 1, "minor": 3 }))
    }),
    must("linux.devices.exists.a-default", (DEVICES, AVAILABLE), |lab| {
        device(lab, "/dev/null", json!({ "fileMode": 0o666 }))
            .finds("/dev/null", json!({ "kind": "c", "major": 1, "minor": 3 }))
    }),
];

/// With a device like /dev/null at a path, and more of its properties.
fn device<'l>(lab: &'l Lab<'_>, path: &str, more: Value) -> Draft<'l> {
    let mut device = json!({ "type": "c", "path": path, "major": 1, "minor": 3 });
    if let (Value::Object(device), Value::Object(more)) = (&mut device, more) {
        device.extend(more);
    }
    lab.with("linux/devices/-", device)
}

fn makes(lab: &Lab<'_>, kind: &str, seen: &str) -> Outcome {
    let device = json!({ "type": kind, "path": "/dev/new", "major": 7, "minor": 250 });
    lab.with("linux/devices/-", device).finds("/dev/new", json!({ "kind": seen, "major": 7, "minor": 250 }))
}

fn is_default(lab: &Lab<'_>, path: &str, minor: u32) -> Outcome {
    let draft = lab.base().ask("open", json!([path, "r"])).ask("stat", path);
    draft.inside(|seen| {
        let at = path.replace('/', "~1");
        seen.is(&format!("stat/{at}"), json!({ "kind": "c", "major": 1, "minor": minor, "mode": 0o666 }))?;
        seen.is(&format!("open/r:{at}"), Value::Null)
    })
}

fn make_node(path: &std::path::Path, major: u64, minor: u64) -> Outcome {
    use nix::sys::stat::{Mode, SFlag, makedev, mknod};
    Ok(mknod(path, SFlag::S_IFCHR, Mode::from_bits_truncate(0o666), makedev(major, minor))?)
}
