//! config-linux.md: files of cgroup2 by their names.

use std::fs;

use serde_json::json;

use crate::clause::{Clause, Need, must, same};
use crate::clauses::linux_resources::{value, writes};
use crate::command::text;

const UNIFIED: &str = "config-linux.md#unified";
const KEYS: &str = "Each key in the map refers to a file in the cgroup unified hierarchy.";
const UNKNOWN: &str = "Configuration unknown to the runtime MUST still be written to the relevant file.";
const ABSENT: &str = "The runtime MUST generate an error when the configuration refers to a cgroup controller that is not present or that cannot be enabled.";
const ENABLED: &str =
    "The OCI runtime MUST ensure that the needed cgroup controllers are enabled for the cgroup.";
const HAS_MEMORY: &[Need] = &[Need::Controller("memory")];
const HAS_PIDS: &[Need] = &[Need::Controller("pids")];

pub(crate) const CLAUSES: &[Clause] = &[
    must("linux.cgroups.unified.core-file", (UNIFIED, KEYS), |lab| {
        let draft = lab.with("linux/resources/unified", json!({ "cgroup.max.depth": "3" }));
        same("cgroup.max.depth", value(draft, "cgroup.max.depth")?.as_str(), "3")
    }),
    must("linux.cgroups.unified.known", (UNIFIED, KEYS), |lab| {
        writes(lab, "unified", json!({ "memory.high": "67108864" }), "memory.high", "67108864")
    })
    .needs(HAS_MEMORY),
    must("linux.cgroups.unified.unknown", (UNIFIED, UNKNOWN), |lab| {
        writes(lab, "unified", json!({ "memory.oom.group": "1" }), "memory.oom.group", "1")
    })
    .needs(HAS_MEMORY),
    must("linux.cgroups.unified.enables-controllers", (UNIFIED, ENABLED), |lab| {
        let path = format!("/{}/above/below", lab.unique);
        let draft =
            lab.with("linux/cgroupsPath", path).with("linux/resources/unified", json!({ "pids.max": "55" }));
        let container = draft.create()?;
        let read = text(lab.cgroup().join("above/below/pids.max"));
        container.remove()?;
        drop(fs::remove_dir(lab.cgroup().join("above")));
        same("pids.max", read.trim(), "55")
    })
    .needs(HAS_PIDS),
    must("linux.cgroups.unified.no-controller", (UNIFIED, ABSENT), |lab| {
        lab.with("linux/resources/unified", json!({ "nosuch.max": "1" })).refused("nosuch")
    }),
    must("linux.cgroups.unified.no-file", (UNIFIED, KEYS), |lab| {
        lab.with("linux/resources/unified", json!({ "cgroup.nosuch": "1" })).refused("nosuch")
    }),
    must("linux.cgroups.unified.not-elsewhere", (UNIFIED, KEYS), |lab| {
        // A key names a file of the container's cgroup, and no path.
        let other = lab.cgroup().join("other");
        fs::create_dir(&other)?;
        let refused = lab
            .with("linux/resources/unified", json!({ "../other/cgroup.max.depth": "3" }))
            .refused("unified|other");
        let read = text(other.join("cgroup.max.depth"));
        fs::remove_dir(&other)?;
        refused?;
        same("the depth of another cgroup", read.trim(), "max")
    }),
    must("linux.cgroups.unified.invalid-value", (UNIFIED, KEYS), |lab| {
        lab.with("linux/resources/unified", json!({ "cgroup.max.depth": "deep" })).refused("cgroup.max.depth")
    }),
];
