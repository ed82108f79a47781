//! config-linux.md: resources of cgroup2, each by the file that it is written to.

use std::fs;

use serde_json::{Value, json};

use crate::clause::{Clause, Need, Outcome, Stop, expect, must, same, should, skip};
use crate::command::text;
use crate::container::Container;
use crate::draft::Draft;
use crate::lab::Lab;

const MEMORY: &str = "config-linux.md#memory";
const CPU: &str = "config-linux.md#cpu";
const BLOCK: &str = "config-linux.md#block-io";
const HUGE: &str = "config-linux.md#huge-page-limits";
const PIDS: &str = "config-linux.md#pids";
const RDMA: &str = "config-linux.md#rdma";
const UNIFIED: &str = "config-linux.md#unified";
const IMPOSSIBLE: &str = "If the conversion is not possible the runtime MUST generate an error.";
const UNLIMITED: &str = "Values for memory specify the limit in bytes, or -1 for unlimited memory.";

const HAS_MEMORY: &[Need] = &[Need::Controller("memory")];
const HAS_CPU: &[Need] = &[Need::Controller("cpu")];
const HAS_CPUSET: &[Need] = &[Need::Controller("cpuset")];
const HAS_IO: &[Need] = &[Need::Controller("io")];
const HAS_HUGE: &[Need] =
    &[Need::Controller("hugetlb"), Need::File("/sys/kernel/mm/hugepages/hugepages-2048kB")];
const HAS_NOTHING: &[Need] = &[];
const HAS_PIDS: &[Need] = &[Need::Controller("pids")];

/// A property of the resources and what it makes of a file.
macro_rules! file {
    ($level:ident $id:literal $needs:ident $section:ident $sentence:literal $property:literal: $value:tt => $file:literal is $wanted:literal) => {
        $level(concat!("linux.cgroups.", $id), ($section, $sentence), |lab| {
            writes(lab, $property, json!($value), $file, $wanted)
        })
        .needs($needs)
    };
}

/// What cgroup2 has no file for.
macro_rules! impossible {
    ($id:literal $needs:ident $property:literal: $value:tt, $words:literal) => {
        must(concat!("linux.cgroups.", $id), (UNIFIED, IMPOSSIBLE), |lab| {
            lab.with(concat!("linux/resources/", $property), json!($value)).refused($words)
        })
        .needs($needs)
    };
}

/// A rate of a block device.
macro_rules! rate {
    ($id:literal $property:literal $key:literal) => {
        must(
            concat!("linux.cgroups.io.", $id),
            (
                BLOCK,
                concat!($property, " (array of objects, OPTIONAL) - an array of per-device rate limits."),
            ),
            |lab| throttles(lab, $property, $key),
        )
        .needs(HAS_IO)
    };
}

pub(crate) const CLAUSES: &[Clause] = &[
    file!(must "memory.limit" HAS_MEMORY MEMORY "limit (int64, OPTIONAL) - sets limit of memory usage"
        "memory": { "limit": 64 << 20 } => "memory.max" is "67108864"),
    file!(must "memory.reservation" HAS_MEMORY MEMORY "reservation (int64, OPTIONAL) - sets soft limit of memory usage"
        "memory": { "reservation": 32 << 20 } => "memory.low" is "33554432"),
    // The limit of cgroup2 is that of swap alone.
    file!(must "memory.swap" HAS_MEMORY MEMORY "swap (int64, OPTIONAL) - sets limit of memory+Swap usage"
        "memory": { "limit": 64 << 20, "swap": 96 << 20 } => "memory.swap.max" is "33554432"),
    file!(must "memory.swap.none" HAS_MEMORY MEMORY "swap (int64, OPTIONAL) - sets limit of memory+Swap usage"
        "memory": { "limit": 64 << 20, "swap": 64 << 20 } => "memory.swap.max" is "0"),
    file!(must "memory.swap.unlimited" HAS_MEMORY MEMORY "Values for memory specify the limit in bytes, or -1 for unlimited memory."
        "memory": { "limit": 64 << 20, "swap": -1 } => "memory.swap.max" is "max"),
    file!(must "memory.check-before-update" HAS_MEMORY MEMORY "checkBeforeUpdate (bool, OPTIONAL) - enables container memory usage check before setting a new limit."
        "memory": { "limit": 64 << 20, "checkBeforeUpdate": true } => "memory.max" is "67108864"),
    file!(must "cpu.quota" HAS_CPU CPU "quota (int64, OPTIONAL) - specifies the total amount of time … during one period"
        "cpu": { "quota": 50_000 } => "cpu.max" is "50000 100000"),
    file!(must "cpu.quota.none" HAS_CPU CPU "quota (int64, OPTIONAL) … If specified with any (valid) positive value"
        "cpu": { "quota": -1, "period": 50_000 } => "cpu.max" is "max 50000"),
    file!(must "cpu.period" HAS_CPU CPU "period (uint64, OPTIONAL) - specifies … how regularly a cgroup's access to CPU resources should be reallocated"
        "cpu": { "quota": 20_000, "period": 40_000 } => "cpu.max" is "20000 40000"),
    file!(must "cpu.burst" HAS_CPU CPU "burst (uint64, OPTIONAL) - specifies the maximum amount of accumulated time"
        "cpu": { "quota": 50_000, "burst": 20_000 } => "cpu.max.burst" is "20000"),
    file!(must "cpu.idle" HAS_CPU CPU "idle (int64, OPTIONAL) - cgroups are configured with minimum weight, 0: default behavior, 1: SCHED_IDLE."
        "cpu": { "idle": 1 } => "cpu.idle" is "1"),
    file!(must "cpu.cpus" HAS_CPUSET CPU "cpus (string, OPTIONAL) - list of CPUs the container will run on."
        "cpu": { "cpus": "0" } => "cpuset.cpus" is "0"),
    file!(must "cpu.mems" HAS_CPUSET CPU "mems (string, OPTIONAL) - list of memory nodes the container will run on."
        "cpu": { "mems": "0" } => "cpuset.mems" is "0"),
    file!(must "pids.limit" HAS_PIDS PIDS "limit (int64, OPTIONAL) - specifies the maximum number of tasks in the cgroup"
        "pids": { "limit": 100 } => "pids.max" is "100"),
    file!(should "pids.limit.zero" HAS_PIDS PIDS "0 is a valid limit value … from the kernel's perspective and SHOULD be treated as such by runtimes."
        "pids": { "limit": 0 } => "pids.max" is "0"),
    file!(must "huge-pages.limit" HAS_HUGE HUGE "limit (uint64, REQUIRED) - limit in bytes of hugepagesize HugeTLB reservations (if supported) or usage."
        "hugepageLimits": [{ "pageSize": "2MB", "limit": 4 << 20 }] => "hugetlb.2MB.rsvd.max" is "4194304"),
    rate!("read-bps" "throttleReadBpsDevice" "rbps"),
    rate!("write-bps" "throttleWriteBpsDevice" "wbps"),
    rate!("read-iops" "throttleReadIOPSDevice" "riops"),
    rate!("write-iops" "throttleWriteIOPSDevice" "wiops"),
    impossible!("memory.swappiness" HAS_MEMORY "memory/swappiness": 10, "swappiness"),
    impossible!("memory.kernel" HAS_MEMORY "memory/kernel": 67_108_864, "kernel"),
    impossible!("memory.kernel-tcp" HAS_MEMORY "memory/kernelTCP": 67_108_864, "kernel"),
    impossible!("memory.disable-oom-killer" HAS_MEMORY "memory/disableOOMKiller": true, "oom"),
    impossible!("cpu.realtime-runtime" HAS_CPU "cpu/realtimeRuntime": 950_000, "realtime"),
    impossible!("cpu.realtime-period" HAS_CPU "cpu/realtimePeriod": 1_000_000, "realtime"),
    impossible!("io.leaf-weight" HAS_IO "blockIO/leafWeight": 10, "leafWeight"),
    impossible!("network.class-id" HAS_NOTHING "network/classID": 1_048_577, "classID|network"),
    impossible!("network.priorities" HAS_NOTHING "network/priorities": [{ "name": "lo", "priority": 5 }], "priorities|network"),
    must("linux.cgroups.memory.limit.unlimited", (MEMORY, UNLIMITED), |lab| {
        is_unlimited(lab, "memory", "memory.max")
    })
    .needs(HAS_MEMORY),
    must(
        "linux.cgroups.memory.limit.enforced",
        (MEMORY, "tasks that attempt to consume more memory than they are allowed are immediately killed"),
        |lab| {
            // mmap(2) of 64 MiB, readable, writable, private, anonymous and populated at once.
            let call = json!(["mmap", libc::SYS_mmap, [0, 64 << 20, 3, 0x8022, -1, 0]]);
            let limits = json!({ "limit": 16 << 20, "swap": 16 << 20 });
            let container = lab.with("linux/resources/memory", limits).ask("calls", call).start()?;
            let code = container.end()?;
            container.delete()?;
            same("the exit code of a program that takes too much", code, 128 + libc::SIGKILL)
        },
    )
    .needs(HAS_MEMORY),
    must(
        "linux.cgroups.memory.swap.less-than-limit",
        (MEMORY, "swap (int64, OPTIONAL) - sets limit of memory+Swap usage"),
        |lab| {
            lab.with("linux/resources/memory", json!({ "limit": 64 << 20, "swap": 32 << 20 }))
                .refused("swap|memory")
        },
    )
    .needs(HAS_MEMORY),
    must(
        "linux.cgroups.cpu.shares",
        (CPU, "shares (uint64, OPTIONAL) - specifies a relative share of CPU time"),
        |lab| {
            let weight = |shares: u64| {
                let draft = lab.with("linux/resources/cpu/shares", shares);
                value(draft, "cpu.weight").map(|text| text.parse::<u32>().unwrap_or(0))
            };
            let (less, more) = (weight(256)?, weight(4096)?);
            expect(
                0 < less && less < more,
                format!("the weights of 256 and 4096 shares are {less} and {more}"),
            )
        },
    )
    .needs(HAS_CPU),
    must(
        "linux.cgroups.cpu.cpus.affinity",
        (CPU, "cpus (string, OPTIONAL) - list of CPUs the container will run on."),
        |lab| lab.with("linux/resources/cpu/cpus", "1").sees("affinity", "1"),
    )
    .needs(&[Need::Controller("cpuset"), Need::Processors(2)]),
    must(
        "linux.cgroups.cpu.cpus.invalid",
        (CPU, "This is a comma-separated list, with dashes to represent ranges."),
        |lab| lab.with("linux/resources/cpu/cpus", "0 and 1").refused("cpus|cpuset"),
    )
    .needs(HAS_CPUSET),
    must(
        "linux.cgroups.io.weight",
        (BLOCK, "weight (uint16, OPTIONAL) - specifies per-cgroup weight."),
        |lab| {
            let bundle = lab.with("linux/resources/blockIO/weight", 500).save()?;
            let done = bundle.try_create()?;
            // The controller is on, and its files tell what the kernel's scheduler has.
            let there = |name: &str| lab.cgroup().join(name).exists();
            if there("io.stat") && !there("io.weight") && !there("io.bfq.weight") {
                return skip("no I/O scheduler with weights");
            }
            let container = Container::of(bundle, &done.ok()?)?;
            let read = |name: &str| text(container.bundle.cgroup.join(name)).trim().to_owned();
            let (bfq, io) = (read("io.bfq.weight"), read("io.weight"));
            container.remove()?;
            expect(
                bfq.contains("500") || (!io.is_empty() && io != "default 100"),
                format!("io.weight is {io:?}, io.bfq.weight {bfq:?}"),
            )
        },
    )
    .needs(HAS_IO),
    must(
        "linux.cgroups.io.weight-device.nothing",
        (BLOCK, "You MUST specify at least one of weight or leafWeight in a given entry"),
        |lab| {
            lab.with("linux/resources/blockIO/weightDevice/-", json!({ "major": 7, "minor": 0 }))
                .refused("weight")
        },
    )
    .needs(HAS_IO),
    must(
        "linux.cgroups.huge-pages.size.unknown",
        (HUGE, "pageSize … must match the <hugepagesize> of the corresponding control file"),
        |lab| {
            lab.with("linux/resources/hugepageLimits", json!([{ "pageSize": "3MB", "limit": 4 << 20 }]))
                .refused("3MB|page")
        },
    )
    .needs(HAS_HUGE),
    must("linux.cgroups.pids.limit.none", (PIDS, "with -1 indicating no limit (max)."), |lab| {
        is_unlimited(lab, "pids", "pids.max")
    })
    .needs(HAS_PIDS),
    must(
        "linux.cgroups.rdma.nothing",
        (RDMA, "You MUST specify at least one of the hcaHandles or hcaObjects in a given entry"),
        |lab| lab.with("linux/resources/rdma", json!({ "mlx5_1": {} })).refused("rdma|mlx5_1"),
    ),
];

/// What a file of the container's cgroup has, without the end of its line.
pub(super) fn value(draft: Draft<'_>, file: &str) -> Result<String, Stop> {
    let container = draft.create()?;
    let read = text(container.bundle.cgroup.join(file));
    container.remove()?;
    Ok(read.trim().to_owned())
}

/// A file has this after a property of the resources.
pub(super) fn writes(lab: &Lab<'_>, property: &str, of: Value, file: &str, wanted: &str) -> Outcome {
    let read = value(lab.with(&format!("linux/resources/{property}"), of), file)?;
    same(file, read.as_str(), wanted)
}

/// A limit of -1 is none. A controller that has nothing to limit need not be on.
fn is_unlimited(lab: &Lab<'_>, property: &str, file: &str) -> Outcome {
    let read = value(lab.with(&format!("linux/resources/{property}/limit"), -1), file)?;
    expect(read == "max" || read.is_empty(), format!("{file} is {read}"))
}

/// A rate of the first block device that there is.
fn throttles(lab: &Lab<'_>, property: &str, key: &str) -> Outcome {
    let mut devices = fs::read_dir("/sys/block")?.filter_map(|entry| Some(entry.ok()?.path().join("dev")));
    let Some(number) = devices.find_map(|file| Some(text(file).trim().to_owned()).filter(|n| !n.is_empty()))
    else {
        return skip("no block device");
    };
    let numbers: Vec<u32> = number.split(':').filter_map(|part| part.parse().ok()).collect();
    let limit = json!([{ "major": numbers[0], "minor": numbers[1], "rate": 1_048_576 }]);
    let read = value(lab.with(&format!("linux/resources/blockIO/{property}"), limit), "io.max")?;
    expect(
        read.contains(&format!("{number} ")) && read.contains(&format!("{key}=1048576")),
        format!("io.max is {read:?}"),
    )
}
