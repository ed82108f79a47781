//! config-linux.md: intelRdt. Most of it can be tried only where a resctrl file system is mounted.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::clause::{Clause, Need, Outcome, expect, must, skip};
use crate::command::text;
use crate::container::Container;
use crate::lab::Lab;

const RDT: &str = "config-linux.md#intelrdt";
const NO_RESCTRL: &str =
    "If no mounted resctrl pseudo-filesystem is available …, the runtime MUST generate an error.";
const PREFIX: &str = "memBwSchema … MUST start with MB: and MUST NOT contain newlines.";
const ROOT: &str = "/sys/fs/resctrl";
const RESCTRL: &[Need] = &[Need::File("/sys/fs/resctrl/tasks")];
const MONITORING: &[Need] = &[Need::File("/sys/fs/resctrl/mon_groups")];

pub(crate) const CLAUSES: &[Clause] = &[
    must("linux.rdt.no-resctrl.empty", (RDT, NO_RESCTRL), |lab| refused_without(lab, json!({}))),
    must("linux.rdt.no-resctrl.clos-root", (RDT, NO_RESCTRL), |lab| refused_without(lab, json!({ "closID": "/" }))),
    must("linux.rdt.no-resctrl.schemata", (RDT, NO_RESCTRL), |lab| {
        refused_without(lab, json!({ "schemata": ["MB:0=20"] }))
    }),
    must("linux.rdt.no-resctrl.monitoring", (RDT, NO_RESCTRL), |lab| {
        refused_without(lab, json!({ "enableMonitoring": true }))
    }),
    must("linux.rdt.mem-bw.prefix", (RDT, PREFIX), |lab| {
        lab.with("linux/intelRdt", json!({ "memBwSchema": "0=20" })).refused("memBwSchema|MB|resctrl|rdt")
    }),
    must("linux.rdt.mem-bw.newline", (RDT, PREFIX), |lab| {
        lab.with("linux/intelRdt", json!({ "memBwSchema": "MB:0=20\nMB:1=20" })).refused("memBwSchema|line|resctrl|rdt")
    }),
    must("linux.rdt.schemata.newline", (RDT, "schemata … The value MUST NOT contain newlines."), |lab| {
        lab.with("linux/intelRdt", json!({ "schemata": ["MB:0=20\nMB:1=20"] })).refused("schemata|line|resctrl|rdt")
    }),
    must("linux.rdt.unset", (RDT, "If intelRdt is not set, the runtime MUST NOT manipulate any resctrl pseudo-filesystems."), |lab| {
        let container = lab.base().create()?;
        expect(!in_tasks(&container, Path::new(ROOT).join(container.id())), "there is a group of its own")?;
        expect(in_tasks(&container, ROOT), "its process has left the root group")?;
        container.remove()
    })
    .needs(RESCTRL),
    must("linux.rdt.clos.root", (RDT, "value / means that the container MUST be assigned to the default CLOS"), |lab| {
        let container = lab.with("linux/intelRdt", json!({ "closID": "/" })).create()?;
        expect(in_tasks(&container, ROOT), "its process is not in the root group")?;
        container.remove()
    })
    .needs(RESCTRL),
    must("linux.rdt.clos.missing", (RDT, "If closID is set, and none of l3CacheSchema, memBwSchema or schemata are set … generate an error if directory does not exist."), |lab| {
        lab.with("linux/intelRdt", json!({ "closID": lab.unique })).refused("closID|resctrl|exist")
    })
    .needs(RESCTRL),
    must("linux.rdt.clos.existing", (RDT, "If such pre-configured directory closID exists, runtime MUST assign container to this closID"), |lab| {
        with_group(lab, |group| {
            let container = lab.with("linux/intelRdt", json!({ "closID": lab.unique })).create()?;
            expect(in_tasks(&container, group), "its process is not in the group")?;
            container.remove()?;
            expect(group.is_dir(), "delete has removed a group that was there before")
        })
    })
    .needs(RESCTRL),
    must("linux.rdt.group.removed", (RDT, "If closID is not set and the runtime has created the sub-directory, the runtime MUST remove the sub-directory when the container is deleted."), |lab| {
        let container = lab.with("linux/intelRdt", json!({})).create()?;
        let group = Path::new(ROOT).join(container.id());
        expect(group.is_dir(), "there is no group of the container's name")?;
        container.remove()?;
        expect(is_gone(&group), "the group is left")
    })
    .needs(RESCTRL),
    must("linux.rdt.monitoring", (RDT, "If enableMonitoring is set, the runtime MUST create a dedicated MON group for the container. … The runtime MUST delete the MON group after the container is deleted."), |lab| {
        let container = lab.with("linux/intelRdt", json!({ "closID": "/", "enableMonitoring": true })).create()?;
        let group = Path::new(ROOT).join("mon_groups").join(container.id());
        expect(in_tasks(&container, &group), "its process is not in the monitoring group")?;
        container.remove()?;
        expect(is_gone(&group), "the monitoring group is left")
    })
    .needs(MONITORING),
];

fn is_gone(group: &Path) -> bool {
    group.symlink_metadata().is_err()
}

fn refused_without(lab: &Lab<'_>, rdt: Value) -> Outcome {
    if text("/proc/self/mountinfo").contains(" - resctrl ") {
        return skip("a resctrl file system is mounted");
    }
    lab.with("linux/intelRdt", rdt).refused("intelRdt|resctrl|rdt")
}

fn in_tasks(container: &Container<'_>, group: impl AsRef<Path>) -> bool {
    text(group.as_ref().join("tasks")).lines().any(|pid| pid == container.pid.to_string())
}

/// With a group of the case's own, which goes away at the end.
fn with_group(lab: &Lab<'_>, case: impl FnOnce(&Path) -> Outcome) -> Outcome {
    let group = Path::new(ROOT).join(&lab.unique);
    fs::create_dir(&group)?;
    let outcome = case(&group);
    fs::remove_dir(&group)?;
    outcome
}
