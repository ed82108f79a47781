//! config-linux.md: control groups and their resources, intelRdt.

use serde_json::json;

use crate::clause::{Clause, Need, expect, must, same, skip};
use crate::command::text;

const PATH: &str = "config-linux.md#cgroups-path";
const MEMORY: &str = "config-linux.md#memory";
const CPU: &str = "config-linux.md#cpu";
const RDT: &str = "config-linux.md#intelrdt";

pub(crate) const CLAUSES: &[Clause] = &[
    must(
        "linux.cgroups.path.absolute",
        (
            PATH,
            "In the case of an absolute path, the runtime MUST take the path to be relative to the cgroups mount point.",
        ),
        |lab| {
            let container = lab.base().create()?;
            let there = text(container.bundle.cgroup.join("cgroup.procs"));
            expect(
                there.lines().any(|pid| pid == container.pid.to_string()),
                "the process is not in the cgroup",
            )?;
            container.remove()
        },
    ),
    must(
        "linux.cgroups.memory.limit",
        (MEMORY, "limit (int64, OPTIONAL) - sets limit of memory usage"),
        |lab| {
            let container = lab.with("linux/resources/memory/limit", 64 << 20).create()?;
            same("memory.max", text(container.bundle.cgroup.join("memory.max")).trim(), "67108864")?;
            container.remove()
        },
    )
    .needs(&[Need::Controller("memory")]),
    must(
        "linux.cgroups.cpu.cpus",
        (CPU, "cpus (string, OPTIONAL) - list of CPUs the container will run on."),
        |lab| lab.with("linux/resources/cpu/cpus", "1").sees("affinity", "1"),
    )
    .needs(&[Need::Controller("cpuset"), Need::Processors(2)]),
    must(
        "linux.rdt.no-resctrl",
        (RDT, "If no mounted resctrl pseudo-filesystem is available …, the runtime MUST generate an error."),
        |lab| {
            if text("/proc/self/mountinfo").contains(" - resctrl ") {
                return skip("a resctrl file system is mounted");
            }
            lab.with("linux/intelRdt", json!({ "closID": "a" })).refused("intelRdt|resctrl|rdt")
        },
    ),
    must(
        "linux.rdt.tasks",
        (RDT, "the runtime MUST write the container process ID to the tasks file in a proper sub-directory"),
        |lab| {
            let container = lab.with("linux/intelRdt", json!({})).create()?;
            let tasks = text(std::path::Path::new("/sys/fs/resctrl").join(container.id()).join("tasks"));
            expect(tasks.lines().any(|pid| pid == container.pid.to_string()), "the process is not in tasks")?;
            container.remove()
        },
    )
    .needs(&[Need::File("/sys/fs/resctrl/tasks")]),
];
