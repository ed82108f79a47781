//! config.md: process.scheduler, ioPriority and execCPUAffinity.

use serde_json::{Value, json};

use crate::clause::{Clause, Need, Outcome, must, should};
use crate::lab::Lab;

const LINUX: &str = "config.md#linux-process";
const VALUES: &str = "config.md#valid-values";
const POLICY: &str = "policy (string, REQUIRED) represents the scheduling policy.";
const FLAGS: &str =
    "flags (array of strings, OPTIONAL) is an array of strings representing scheduling flags.";
const INVALID: &str = "Runtimes MUST generate an error when invalid or unsupported values are encountered.";
const CLASS: &str = "class (string, REQUIRED) specifies the I/O scheduling class. Possible values are IOPRIO_CLASS_RT, IOPRIO_CLASS_BE, and IOPRIO_CLASS_IDLE.";
const LEVEL: &str = "priority … should be an integer ranging from 0 (highest) to 7 (lowest).";
const AFFINITY: &str = "execCPUAffinity … is not applicable to the container's init process.";
/// A flag that the kernel knows only with CONFIG_UCLAMP_TASK.
const UCLAMP: &[Need] = &[Need::File("/proc/sys/kernel/sched_util_clamp_max")];

pub(crate) const CLAUSES: &[Clause] = &[
    must("config.process.scheduler.other", (LINUX, POLICY), |lab| {
        scheduled(lab, json!({ "policy": "SCHED_OTHER" }), json!({ "policy": 0 }))
    }),
    must("config.process.scheduler.batch", (LINUX, POLICY), |lab| {
        scheduled(lab, json!({ "policy": "SCHED_BATCH" }), json!({ "policy": 3 }))
    }),
    must("config.process.scheduler.idle", (LINUX, POLICY), |lab| {
        scheduled(lab, json!({ "policy": "SCHED_IDLE" }), json!({ "policy": 5 }))
    }),
    must(
        "config.process.scheduler.fifo",
        (
            LINUX,
            "priority … represents the static priority of the process, used by real-time policies like SCHED_FIFO and SCHED_RR.",
        ),
        |lab| {
            scheduled(
                lab,
                json!({ "policy": "SCHED_FIFO", "priority": 10 }),
                json!({ "policy": 1, "priority": 10 }),
            )
        },
    ),
    must(
        "config.process.scheduler.rr",
        (
            LINUX,
            "priority … represents the static priority of the process, used by real-time policies like SCHED_FIFO and SCHED_RR.",
        ),
        |lab| {
            scheduled(
                lab,
                json!({ "policy": "SCHED_RR", "priority": 7 }),
                json!({ "policy": 2, "priority": 7 }),
            )
        },
    ),
    must(
        "config.process.scheduler.deadline",
        (LINUX, "runtime, deadline, period … used by the deadline scheduler."),
        |lab| {
            let times = json!({ "runtime": 1_000_000, "deadline": 50_000_000, "period": 100_000_000 });
            let mut wanted = times.clone();
            wanted["policy"] = json!(6);
            let mut scheduler = times;
            scheduler["policy"] = json!("SCHED_DEADLINE");
            scheduled(lab, scheduler, wanted)
        },
    ),
    must(
        "config.process.scheduler.nice",
        (LINUX, "nice (int32, OPTIONAL) is the nice value for the process"),
        |lab| scheduled(lab, json!({ "policy": "SCHED_OTHER", "nice": 7 }), json!({ "nice": 7 })),
    ),
    must(
        "config.process.scheduler.nice.negative",
        (LINUX, "nice … A lower nice value corresponds to a higher priority."),
        |lab| {
            scheduled(lab, json!({ "policy": "SCHED_BATCH", "nice": -5 }), json!({ "policy": 3, "nice": -5 }))
        },
    ),
    must(
        "config.process.scheduler.nice.default",
        (LINUX, "If not set, the runtime must use the value 0."),
        |lab| {
            scheduled(
                lab,
                json!({ "policy": "SCHED_OTHER" }),
                json!({ "nice": 0, "priority": 0, "flags": 0 }),
            )
        },
    ),
    must("config.process.scheduler.unset", (LINUX, "scheduler (object, OPTIONAL)"), |lab| {
        lab.base().sees("scheduler", json!({ "policy": 0 }))
    }),
    must("config.process.scheduler.user", (LINUX, POLICY), |lab| {
        lab.with("process/scheduler", json!({ "policy": "SCHED_FIFO", "priority": 1 }))
            .with("process/user", json!({ "uid": 1000, "gid": 1000 }))
            .sees("scheduler", json!({ "policy": 1, "priority": 1 }))
    }),
    must("config.process.scheduler.flag.reset-on-fork", (LINUX, FLAGS), |lab| flag(lab, "RESET_ON_FORK", 1)),
    should("config.process.scheduler.flag.keep-policy", (LINUX, FLAGS), |lab| {
        // What is there already is kept: the usual policy.
        let scheduler = json!({ "policy": "SCHED_BATCH", "flags": ["SCHED_FLAG_KEEP_POLICY"] });
        scheduled(lab, scheduler, json!({ "policy": 0 }))
    }),
    should("config.process.scheduler.flag.keep-params", (LINUX, FLAGS), |lab| {
        let scheduler = json!({ "policy": "SCHED_OTHER", "nice": 5, "flags": ["SCHED_FLAG_KEEP_PARAMS"] });
        scheduled(lab, scheduler, json!({ "policy": 0, "nice": 0 }))
    }),
    should("config.process.scheduler.flag.reclaim", (LINUX, FLAGS), |lab| deadline_flag(lab, "RECLAIM", 2)),
    should("config.process.scheduler.flag.dl-overrun", (LINUX, FLAGS), |lab| {
        deadline_flag(lab, "DL_OVERRUN", 4)
    }),
    should("config.process.scheduler.flag.util-clamp-min", (LINUX, FLAGS), |lab| {
        flag(lab, "UTIL_CLAMP_MIN", 0)
    })
    .needs(UCLAMP),
    should("config.process.scheduler.flag.util-clamp-max", (LINUX, FLAGS), |lab| {
        flag(lab, "UTIL_CLAMP_MAX", 0)
    })
    .needs(UCLAMP),
    must("config.process.scheduler.policy.required", (LINUX, POLICY), |lab| {
        lab.with("process/scheduler", json!({ "nice": 3 })).fails("policy|scheduler")
    }),
    must("config.process.scheduler.policy.unknown", (VALUES, INVALID), |lab| {
        lab.with("process/scheduler", json!({ "policy": "SCHED_NOTHING" })).fails("SCHED_NOTHING|policy")
    }),
    must("config.process.scheduler.flag.unknown", (VALUES, INVALID), |lab| {
        lab.with("process/scheduler", json!({ "policy": "SCHED_OTHER", "flags": ["SCHED_FLAG_NOTHING"] }))
            .fails("SCHED_FLAG_NOTHING|flag")
    }),
    must("config.process.scheduler.priority.too-high", (VALUES, INVALID), |lab| {
        lab.with("process/scheduler", json!({ "policy": "SCHED_FIFO", "priority": 100 }))
            .fails("priority|scheduler")
    }),
    must("config.process.scheduler.priority.wrong-policy", (VALUES, INVALID), |lab| {
        lab.with("process/scheduler", json!({ "policy": "SCHED_OTHER", "priority": 5 }))
            .fails("priority|scheduler")
    }),
    must("config.process.scheduler.deadline.impossible", (VALUES, INVALID), |lab| {
        let times = json!({ "policy": "SCHED_DEADLINE", "runtime": 20_000_000, "deadline": 10_000_000, "period": 10_000_000 });
        lab.with("process/scheduler", times).fails("runtime|deadline|scheduler")
    }),
    must("config.process.io-priority.best-effort", (LINUX, CLASS), |lab| {
        io_priority(lab, "IOPRIO_CLASS_BE", 6, json!({ "class": 2, "priority": 6 }))
    }),
    must("config.process.io-priority.real-time", (LINUX, CLASS), |lab| {
        io_priority(lab, "IOPRIO_CLASS_RT", 2, json!({ "class": 1, "priority": 2 }))
    }),
    must("config.process.io-priority.idle", (LINUX, CLASS), |lab| {
        io_priority(lab, "IOPRIO_CLASS_IDLE", 0, json!({ "class": 3 }))
    }),
    must("config.process.io-priority.class.unknown", (VALUES, INVALID), |lab| {
        lab.with("process/ioPriority", json!({ "class": "IOPRIO_CLASS_NOTHING", "priority": 1 }))
            .fails("IOPRIO_CLASS_NOTHING|ioPriority")
    }),
    must("config.process.io-priority.class.required", (LINUX, CLASS), |lab| {
        lab.with("process/ioPriority", json!({ "priority": 1 })).fails("class|ioPriority")
    }),
    must("config.process.io-priority.too-high", (LINUX, LEVEL), |lab| {
        lab.with("process/ioPriority", json!({ "class": "IOPRIO_CLASS_BE", "priority": 8 }))
            .fails("priority|ioprio")
    }),
    must("config.process.io-priority.negative", (LINUX, LEVEL), |lab| {
        lab.with("process/ioPriority", json!({ "class": "IOPRIO_CLASS_BE", "priority": -1 }))
            .fails("priority|ioprio")
    }),
    must("config.process.exec-cpu-affinity.not-init", (LINUX, AFFINITY), |lab| {
        let own = crate::command::text("/proc/self/status");
        let own = own
            .lines()
            .find_map(|line| line.strip_prefix("Cpus_allowed_list:"))
            .unwrap_or("")
            .trim()
            .to_owned();
        lab.with("process/execCPUAffinity", json!({ "initial": "0", "final": "0" })).sees("affinity", own)
    })
    .needs(&[Need::Processors(2)]),
    must("config.process.exec-cpu-affinity.malformed", (VALUES, INVALID), |lab| {
        lab.with("process/execCPUAffinity", json!({ "initial": "0-x" })).fails("affinity|initial|0-x")
    }),
    must("config.process.exec-cpu-affinity.final.malformed", (VALUES, INVALID), |lab| {
        lab.with("process/execCPUAffinity", json!({ "final": "3-1" })).fails("affinity|final|3-1")
    }),
];

fn scheduled(lab: &Lab<'_>, scheduler: Value, wanted: Value) -> Outcome {
    lab.with("process/scheduler", scheduler).sees("scheduler", wanted)
}

/// A flag that the kernel tells of as this number, or doesn't.
fn flag(lab: &Lab<'_>, name: &str, number: u64) -> Outcome {
    let flags = json!([format!("SCHED_FLAG_{name}")]);
    scheduled(lab, json!({ "policy": "SCHED_OTHER", "flags": flags }), json!({ "flags": number }))
}

fn deadline_flag(lab: &Lab<'_>, name: &str, number: u64) -> Outcome {
    let scheduler = json!({
        "policy": "SCHED_DEADLINE", "runtime": 1_000_000, "deadline": 50_000_000, "period": 100_000_000,
        "flags": [format!("SCHED_FLAG_{name}")],
    });
    scheduled(lab, scheduler, json!({ "policy": 6, "flags": number }))
}

fn io_priority(lab: &Lab<'_>, class: &str, priority: u32, wanted: Value) -> Outcome {
    lab.with("process/ioPriority", json!({ "class": class, "priority": priority })).sees("ioPriority", wanted)
}
