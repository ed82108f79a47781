//! config-linux.md: memoryPolicy and personality.

use serde_json::{Value, json};

use crate::clause::{Clause, Need, Outcome, must};
use crate::lab::Lab;

const POLICY: &str = "config-linux.md#memory-policy";
const PERSONALITY: &str = "config-linux.md#personality";
const VALUES: &str = "config.md#valid-values";
const INVALID: &str = "Runtimes MUST generate an error when invalid or unsupported values are encountered.";
const MODE: &str = "mode (string, REQUIRED) - A valid list of constants is shown below.";
const NODES: &str = "nodes … This is a comma-separated list, with dashes to represent ranges.";
const NO_NODES: &str = "Some modes require that there are no nodes, e.g. MPOL_DEFAULT and MPOL_LOCAL.";
const A_NODE: &str = "Others that there is at least one node, e.g. MPOL_BIND and MPOL_INTERLEAVE.";
const FLAGS: &str = "flags (array of strings, OPTIONAL) - list of flags to use with set_mempolicy(2).";
const DOMAIN: &str = "domain (string, REQUIRED) - the execution domain.";
const NUMA: &[Need] = &[Need::File("/sys/devices/system/node/node0")];
const STATIC_NODES: u64 = 1 << 15;
const RELATIVE_NODES: u64 = 1 << 14;
const NUMA_BALANCING: u64 = 1 << 13;
/// PER_LINUX32 of personality(2).
const LINUX32: u64 = 8;

pub(crate) const CLAUSES: &[Clause] = &[
    must("linux.memory-policy.default", (POLICY, MODE), |lab| {
        applied(lab, json!({ "mode": "MPOL_DEFAULT" }), json!({ "mode": 0, "nodes": [] }))
    })
    .needs(NUMA),
    must(
        "linux.memory-policy.unset",
        (POLICY, "memoryPolicy (object, OPTIONAL) sets the NUMA memory policy for the container."),
        |lab| lab.base().sees("memoryPolicy", json!({ "mode": 0, "nodes": [] })),
    )
    .needs(NUMA),
    must("linux.memory-policy.preferred", (POLICY, MODE), |lab| {
        applied(lab, json!({ "mode": "MPOL_PREFERRED", "nodes": "0" }), json!({ "mode": 1, "nodes": [0] }))
    })
    .needs(NUMA),
    must("linux.memory-policy.bind", (POLICY, MODE), |lab| {
        applied(lab, json!({ "mode": "MPOL_BIND", "nodes": "0" }), json!({ "mode": 2, "nodes": [0] }))
    })
    .needs(NUMA),
    must("linux.memory-policy.interleave", (POLICY, MODE), |lab| {
        applied(lab, json!({ "mode": "MPOL_INTERLEAVE", "nodes": "0" }), json!({ "mode": 3, "nodes": [0] }))
    })
    .needs(NUMA),
    must("linux.memory-policy.local", (POLICY, MODE), |lab| {
        applied(lab, json!({ "mode": "MPOL_LOCAL" }), json!({ "mode": 4, "nodes": [] }))
    })
    .needs(NUMA),
    must("linux.memory-policy.preferred-many", (POLICY, MODE), |lab| {
        applied(
            lab,
            json!({ "mode": "MPOL_PREFERRED_MANY", "nodes": "0" }),
            json!({ "mode": 5, "nodes": [0] }),
        )
    })
    .needs(NUMA),
    must("linux.memory-policy.weighted-interleave", (POLICY, MODE), |lab| {
        applied(
            lab,
            json!({ "mode": "MPOL_WEIGHTED_INTERLEAVE", "nodes": "0" }),
            json!({ "mode": 6, "nodes": [0] }),
        )
    })
    .needs(&[Need::File("/sys/kernel/mm/mempolicy/weighted_interleave")]),
    must("linux.memory-policy.nodes.range", (POLICY, NODES), |lab| {
        applied(lab, json!({ "mode": "MPOL_BIND", "nodes": "0-0,0" }), json!({ "mode": 2, "nodes": [0] }))
    })
    .needs(NUMA),
    must("linux.memory-policy.flag.static-nodes", (POLICY, FLAGS), |lab| {
        flag(lab, "STATIC_NODES", STATIC_NODES)
    })
    .needs(NUMA),
    must("linux.memory-policy.flag.relative-nodes", (POLICY, FLAGS), |lab| {
        flag(lab, "RELATIVE_NODES", RELATIVE_NODES)
    })
    .needs(NUMA),
    must("linux.memory-policy.flag.numa-balancing", (POLICY, FLAGS), |lab| {
        flag(lab, "NUMA_BALANCING", NUMA_BALANCING)
    })
    .needs(NUMA),
    must("linux.memory-policy.mode.required", (POLICY, MODE), |lab| fails(lab, json!({ "nodes": "0" }))),
    must("linux.memory-policy.mode.unknown", (VALUES, INVALID), |lab| {
        fails(lab, json!({ "mode": "MPOL_NOTHING", "nodes": "0" }))
    }),
    must("linux.memory-policy.flag.unknown", (VALUES, INVALID), |lab| {
        fails(lab, json!({ "mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_NOTHING"] }))
    }),
    must("linux.memory-policy.flag.contradiction", (VALUES, INVALID), |lab| {
        fails(
            lab,
            json!({ "mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES", "MPOL_F_RELATIVE_NODES"] }),
        )
    }),
    must("linux.memory-policy.default.no-nodes", (POLICY, NO_NODES), |lab| {
        fails(lab, json!({ "mode": "MPOL_DEFAULT", "nodes": "0" }))
    }),
    must("linux.memory-policy.local.no-nodes", (POLICY, NO_NODES), |lab| {
        fails(lab, json!({ "mode": "MPOL_LOCAL", "nodes": "0" }))
    }),
    must("linux.memory-policy.bind.a-node", (POLICY, A_NODE), |lab| {
        fails(lab, json!({ "mode": "MPOL_BIND" }))
    }),
    must("linux.memory-policy.interleave.a-node", (POLICY, A_NODE), |lab| {
        fails(lab, json!({ "mode": "MPOL_INTERLEAVE", "nodes": "" }))
    }),
    must("linux.memory-policy.nodes.malformed", (POLICY, NODES), |lab| {
        fails(lab, json!({ "mode": "MPOL_BIND", "nodes": "0-x" }))
    }),
    must("linux.memory-policy.nodes.missing", (VALUES, INVALID), |lab| {
        // More than any kernel is built for.
        fails(lab, json!({ "mode": "MPOL_BIND", "nodes": "1023" }))
    }),
    must("linux.personality.linux", (PERSONALITY, DOMAIN), |lab| {
        lab.with("linux/personality", json!({ "domain": "LINUX" })).sees("personality", 0)
    }),
    must("linux.personality.linux32", (PERSONALITY, DOMAIN), |lab| {
        lab.with("linux/personality", json!({ "domain": "LINUX32" })).sees("personality", LINUX32)
    }),
    must(
        "linux.personality.linux32.uname",
        (PERSONALITY, "LINUX32 will set the uname system call to show a 32 bit CPU type, such as i686."),
        |lab| {
            let machine = match std::env::consts::ARCH {
                "x86_64" => "i686",
                "aarch64" => "armv8l",
                _ => return crate::clause::skip("no 32 bit type of this processor is known here"),
            };
            lab.with("linux/personality", json!({ "domain": "LINUX32" })).sees("machine", machine)
        },
    ),
    must(
        "linux.personality.unset",
        (PERSONALITY, "personality (object, OPTIONAL) sets the Linux execution personality."),
        |lab| lab.base().sees("machine", std::env::consts::ARCH),
    ),
    must("linux.personality.domain.unknown", (VALUES, INVALID), |lab| {
        lab.with("linux/personality", json!({ "domain": "HURD" })).fails("HURD|personality|domain")
    }),
    must("linux.personality.domain.required", (PERSONALITY, DOMAIN), |lab| {
        lab.with("linux/personality", json!({})).fails("domain|personality")
    }),
    must(
        "linux.personality.flags",
        (
            PERSONALITY,
            "flags (array of strings, OPTIONAL) - the additional flags to apply. Currently no flag values are supported.",
        ),
        |lab| {
            lab.with("linux/personality", json!({ "domain": "LINUX", "flags": ["ADDR_NO_RANDOMIZE"] }))
                .fails("flags|personality")
        },
    ),
    must(
        "linux.personality.flags.none",
        (PERSONALITY, "flags (array of strings, OPTIONAL) - the additional flags to apply."),
        |lab| lab.with("linux/personality", json!({ "domain": "LINUX", "flags": [] })).sees("personality", 0),
    ),
];

fn applied(lab: &Lab<'_>, policy: Value, wanted: Value) -> Outcome {
    lab.with("linux/memoryPolicy", policy).sees("memoryPolicy", wanted)
}

fn flag(lab: &Lab<'_>, name: &str, number: u64) -> Outcome {
    let policy = json!({ "mode": "MPOL_BIND", "nodes": "0", "flags": [format!("MPOL_F_{name}")] });
    applied(lab, policy, json!({ "mode": 2, "flags": number }))
}

fn fails(lab: &Lab<'_>, policy: Value) -> Outcome {
    lab.with("linux/memoryPolicy", policy).fails("memory policy|memoryPolicy|mempolicy|MPOL|nodes")
}
