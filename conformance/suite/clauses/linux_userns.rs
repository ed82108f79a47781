//! config-linux.md: user namespace mappings.

use std::os::unix::fs::MetadataExt;

use serde_json::{Value, json};

use crate::clause::{Clause, Outcome, expect, fail, must, same, should};
use crate::command::text;
use crate::draft::Draft;
use crate::lab::Lab;

const MAPPINGS: &str = "config-linux.md#user-namespace-mappings";
const UIDS: &str = "uidMappings (array of objects, OPTIONAL) describes the user namespace uid mappings from the host to the container.";
const GIDS: &str = "gidMappings (array of objects, OPTIONAL) describes the user namespace gid mappings from the host to the container.";
const OWNERSHIP: &str =
    "The runtime SHOULD NOT modify the ownership of referenced filesystems to realize the mapping.";
const CREATE: &str = "runtime.md#create";
const ERROR: &str =
    "If the runtime cannot apply a property as specified in the configuration, it MUST generate an error";

pub(crate) const CLAUSES: &[Clause] = &[
    must("linux.userns.uid-mappings", (MAPPINGS, UIDS), |lab| {
        has_map(lab, json!([[0, 300_000, 65536]]), json!([[0, 400_000, 65536]]), "uid_map", "0 300000 65536")
    }),
    must("linux.userns.gid-mappings", (MAPPINGS, GIDS), |lab| {
        has_map(lab, json!([[0, 300_000, 65536]]), json!([[0, 400_000, 65536]]), "gid_map", "0 400000 65536")
    }),
    must("linux.userns.several", (MAPPINGS, UIDS), |lab| {
        let map = json!([[0, 300_000, 1], [1, 400_000, 10], [100, 500_000, 5]]);
        has_map(lab, map.clone(), map, "uid_map", "0 300000 1, 1 400000 10, 100 500000 5")
    }),
    must(
        "linux.userns.many",
        (MAPPINGS, "Note that the number of mapping entries MAY be limited by the kernel."),
        |lab| {
            // Up to 340 since Linux 4.15, and 5 before that.
            let map: Value = (0..100).map(|n| json!([n, 300_000 + 2 * n, 1])).collect();
            let wanted =
                (0..100).map(|n| format!("{n} {} 1", 300_000 + 2 * n)).collect::<Vec<_>>().join(", ");
            has_map(lab, map.clone(), map, "gid_map", &wanted)
        },
    ),
    must(
        "linux.userns.host-id",
        (
            MAPPINGS,
            "hostID (uint32, REQUIRED) - is the starting uid/gid on the host to be mapped to containerID.",
        ),
        |lab| {
            let container = lab
                .base()
                .user_namespace(300_000)
                .with("process/user", json!({ "uid": 7, "gid": 8 }))
                .then("wait")
                .start()?;
            container.seen()?;
            let status = text(format!("/proc/{}/status", container.pid));
            let ids = |name| {
                status
                    .lines()
                    .find_map(|line| line.strip_prefix(name))
                    .and_then(|ids| ids.split_whitespace().next().map(str::to_owned))
                    .unwrap_or_default()
            };
            let (uid, gid) = (ids("Uid:"), ids("Gid:"));
            container.remove()?;
            same("the uid on the host", uid.as_str(), "300007")?;
            same("the gid on the host", gid.as_str(), "300008")
        },
    ),
    must(
        "linux.userns.owners",
        (MAPPINGS, "containerID (uint32, REQUIRED) - is the starting uid/gid in the container."),
        |lab| {
            let draft = lab.base().user_namespace(300_000).put("/data/file", "x", 0o644);
            let file = draft.rootfs("/data/file");
            draft
                .tried(|| Ok(std::os::unix::fs::chown(file, Some(300_005), Some(300_006))?))
                .finds("/data/file", json!({ "uid": 5, "gid": 6 }))
        },
    ),
    must("linux.userns.unmapped-owners", (MAPPINGS, UIDS), |lab| {
        lab.base()
            .user_namespace(300_000)
            .put("/data/file", "x", 0o644)
            .finds("/data/file", json!({ "uid": 65534, "gid": 65534 }))
    }),
    must("linux.userns.supplementary-groups", (MAPPINGS, GIDS), |lab| {
        lab.base()
            .user_namespace(300_000)
            .with("process/user/additionalGids", json!([5, 6]))
            .sees("groups", json!([5, 6]))
    }),
    should("linux.userns.ownership.rootfs", (MAPPINGS, OWNERSHIP), |lab| {
        let draft = lab.base().user_namespace(300_000);
        let paths = ["/", "/etc", "/tmp", "/dev", "/proc"].map(|path| draft.rootfs(path));
        draft.runs()?;
        paths.iter().try_for_each(|path| {
            let found = std::fs::metadata(path)?;
            expect(
                found.uid() == 0 && found.gid() == 0,
                format!("{} belongs to {} and {}", path.display(), found.uid(), found.gid()),
            )
        })
    }),
    should("linux.userns.ownership.bind-source", (MAPPINGS, OWNERSHIP), |lab| {
        let file = lab.file("source/file", "x", 0o644)?;
        lab.base()
            .user_namespace(300_000)
            .mount("/data", "none", lab.dir.join("source"), &["bind"])
            .runs()?;
        same("the owner of a file in a bind mount", std::fs::metadata(file)?.uid(), 0)
    }),
    must(
        "linux.userns.mounts",
        ("config.md#mounts", "The runtime MUST mount entries in the listed order."),
        |lab| {
            let draft =
                lab.base().user_namespace(300_000).mount("/data", "tmpfs", "tmpfs", &["uid=3", "mode=750"]);
            draft
                .mount("/sys", "sysfs", "sysfs", &["ro"])
                .mount("/dev/mqueue", "mqueue", "mqueue", &[])
                .finds("/data", json!({ "uid": 3, "mode": 0o750 }))
        },
    ),
    must(
        "linux.userns.devices",
        (
            "config-linux.md#default-devices",
            "In addition to any devices configured with this setting, the runtime MUST also supply",
        ),
        |lab| {
            lab.base()
                .user_namespace(300_000)
                .ask("open", json!(["/dev/null", "w"]))
                .ask("open", json!(["/dev/urandom", "r"]))
                .inside(|seen| {
                    seen.is("open/w:~1dev~1null", Value::Null)?;
                    seen.is("open/r:~1dev~1urandom", Value::Null)
                })
        },
    ),
    must(
        "linux.userns.all-capabilities",
        (
            "config-linux.md#namespaces",
            "the container will be able to remap user and group IDs from the host to local users and groups within the container.",
        ),
        |lab| {
            // They belong to the new namespace: changing an owner works within it, and not beyond.
            let draft = lab.capabilities(&["CAP_CHOWN"]).user_namespace(300_000).mount(
                "/data",
                "tmpfs",
                "tmpfs",
                &["mode=777"],
            );
            let calls = [
                json!(["inside", libc::SYS_chown, ["/data", 5, 5]]),
                json!(["beyond", libc::SYS_chown, ["/etc", 5, 5]]),
            ];
            calls.into_iter().fold(draft, |draft, call| draft.ask("calls", call)).inside(|seen| {
                seen.is("calls/inside", Value::Null)?;
                seen.is("calls/beyond", "EPERM")
            })
        },
    ),
    must("linux.userns.overlap", (CREATE, ERROR), |lab| {
        let map = json!([[0, 300_000, 10], [5, 400_000, 10]]);
        mapped(lab.base(), map.clone(), map).refused("mapping|overlap|uid_map|gid_map")
    }),
    must("linux.userns.host-overlap", (CREATE, ERROR), |lab| {
        let map = json!([[0, 300_000, 10], [100, 300_005, 10]]);
        mapped(lab.base(), map.clone(), map).refused("mapping|overlap|uid_map|gid_map")
    }),
    must("linux.userns.size-zero", (CREATE, ERROR), |lab| {
        let map = json!([[0, 300_000, 0]]);
        mapped(lab.base(), map.clone(), map).refused("mapping|size|uid_map|gid_map")
    }),
    must("linux.userns.container-id.required", (MAPPINGS, "containerID (uint32, REQUIRED)"), |lab| {
        lacks(lab, "containerID")
    }),
    must("linux.userns.host-id.required", (MAPPINGS, "hostID (uint32, REQUIRED)"), |lab| {
        lacks(lab, "hostID")
    }),
    must("linux.userns.size.required", (MAPPINGS, "size (uint32, REQUIRED)"), |lab| lacks(lab, "size")),
];

/// With a new user namespace: ranges of ids of the container, of the host, and how many.
fn mapped(draft: Draft<'_>, uids: Value, gids: Value) -> Draft<'_> {
    let map = |ranges: Value| -> Value {
        let ranges = ranges.as_array().cloned().unwrap_or_default();
        ranges.iter().map(|r| json!({ "containerID": r[0], "hostID": r[1], "size": r[2] })).collect()
    };
    draft.namespace("user").with("linux/uidMappings", map(uids)).with("linux/gidMappings", map(gids))
}

/// What is in the map then, in the kernel's own form.
fn has_map(lab: &Lab<'_>, uids: Value, gids: Value, file: &str, wanted: &str) -> Outcome {
    let path = format!("/proc/self/{file}");
    let seen = mapped(lab.base(), uids, gids).ask("read", path.as_str()).report()?;
    let text = seen["read"][&path].as_str().unwrap_or("");
    let lines: Vec<String> =
        text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    match lines.join(", ") {
        map if map == wanted => Ok(()),
        map => fail(format!("{file} is {map}, not {wanted}")),
    }
}

/// A range without one of its numbers.
fn lacks(lab: &Lab<'_>, name: &str) -> Outcome {
    let draft = lab.base().user_namespace(300_000);
    draft
        .without(&format!("linux/uidMappings/0/{name}"))
        .without(&format!("linux/gidMappings/0/{name}"))
        .refused(&format!("{name}|mapping"))
}
