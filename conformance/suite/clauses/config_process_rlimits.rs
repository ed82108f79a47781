//! config.md: process.rlimits.

use serde_json::json;

use crate::clause::{Clause, Need, Outcome, must};
use crate::lab::Lab;

const POSIX: &str = "config.md#posix-process";
const RAISES_LIMITS: &[Need] = &[Need::Capability("CAP_SYS_RESOURCE")];

pub(crate) const CLAUSES: &[Clause] = &[
    must(
        "config.process.rlimits.lowered",
        (
            POSIX,
            "rlim.rlim_cur MUST match the configured value. rlim.rlim_max MUST match the configured value.",
        ),
        |lab| {
            let limit = json!({ "type": "RLIMIT_NOFILE", "soft": 100, "hard": 200 });
            lab.with("process/rlimits", json!([limit])).sees("rlimits/RLIMIT_NOFILE", json!([100, 200]))
        },
    ),
    must(
        "config.process.rlimits.soft-above-own",
        (POSIX, "rlim.rlim_cur MUST match the configured value."),
        |lab| {
            let limit = json!({ "type": "RLIMIT_CORE", "soft": 0, "hard": 0 });
            lab.with("process/rlimits", json!([limit])).sees("rlimits/RLIMIT_CORE", json!([0, 0]))
        },
    ),
    must(
        "config.process.rlimits.each-type",
        (POSIX, "For each entry in rlimits, a getrlimit(3) on type MUST succeed."),
        all_limits,
    ),
    must("config.process.rlimits.raised", (POSIX, "rlim.rlim_max MUST match the configured value."), |lab| {
        let limit = json!({ "type": "RLIMIT_MSGQUEUE", "soft": 10_000_000, "hard": 20_000_000 });
        lab.with("process/rlimits", json!([limit]))
            .sees("rlimits/RLIMIT_MSGQUEUE", json!([10_000_000, 20_000_000]))
    })
    .needs(RAISES_LIMITS),
    must(
        "config.process.rlimits.unlimited",
        (POSIX, "rlim.rlim_cur MUST match the configured value."),
        |lab| {
            let limit = json!({ "type": "RLIMIT_FSIZE", "soft": u64::MAX, "hard": u64::MAX });
            lab.with("process/rlimits", json!([limit]))
                .sees("rlimits/RLIMIT_FSIZE", json!([u64::MAX, u64::MAX]))
        },
    ),
    must(
        "config.process.rlimits.unset",
        (POSIX, "rlimits (array of objects, OPTIONAL) allows setting resource limits for the process."),
        |lab| {
            let limit = json!({ "type": "RLIMIT_NOFILE", "soft": 100, "hard": 200 });
            let own = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_STACK)?;
            lab.with("process/rlimits", json!([limit])).sees("rlimits/RLIMIT_STACK", json!([own.0, own.1]))
        },
    ),
    must(
        "config.process.rlimits.unknown-type",
        (
            POSIX,
            "The runtime MUST generate an error for any values which cannot be mapped to a relevant kernel interface.",
        ),
        |lab| {
            lab.with("process/rlimits", json!([{ "type": "RLIMIT_NOTHING", "soft": 1, "hard": 1 }]))
                .refused("RLIMIT_NOTHING")
        },
    ),
    must(
        "config.process.rlimits.soft-above-hard",
        (
            "config.md#valid-values",
            "Runtimes MUST generate an error when invalid or unsupported values are encountered.",
        ),
        |lab| {
            lab.with("process/rlimits", json!([{ "type": "RLIMIT_NOFILE", "soft": 300, "hard": 200 }]))
                .fails("RLIMIT_NOFILE|rlimit")
        },
    ),
    must(
        "config.process.rlimits.duplicate",
        (POSIX, "If rlimits contains duplicated entries with same type, the runtime MUST generate an error."),
        |lab| {
            let limit = json!({ "type": "RLIMIT_NOFILE", "soft": 100, "hard": 200 });
            lab.with("process/rlimits", json!([limit, limit])).refused("RLIMIT_NOFILE|rlimit")
        },
    ),
];

/// Each type of getrlimit(2), a bit below what this process may have.
fn all_limits(lab: &Lab<'_>) -> Outcome {
    use nix::sys::resource::{Resource, getrlimit};
    let types = [
        (Resource::RLIMIT_AS, 1 << 40),
        (Resource::RLIMIT_CORE, 4096),
        (Resource::RLIMIT_CPU, 1000),
        (Resource::RLIMIT_DATA, 1 << 40),
        (Resource::RLIMIT_FSIZE, 1 << 30),
        (Resource::RLIMIT_LOCKS, 100),
        (Resource::RLIMIT_MEMLOCK, 65_536),
        (Resource::RLIMIT_MSGQUEUE, 4096),
        (Resource::RLIMIT_NICE, 0),
        (Resource::RLIMIT_NOFILE, 512),
        (Resource::RLIMIT_NPROC, 1000),
        (Resource::RLIMIT_RSS, 1 << 30),
        (Resource::RLIMIT_RTPRIO, 0),
        (Resource::RLIMIT_RTTIME, 1_000_000),
        (Resource::RLIMIT_SIGPENDING, 100),
        (Resource::RLIMIT_STACK, 8 << 20),
    ];
    let mut draft = lab.base();
    let mut wanted = json!({});
    for (resource, most) in types {
        let value = most.min(getrlimit(resource)?.1);
        draft = draft.with(
            "process/rlimits/-",
            json!({ "type": format!("{resource:?}"), "soft": value, "hard": value }),
        );
        wanted[format!("{resource:?}")] = json!([value, value]);
    }
    draft.sees("rlimits", wanted)
}
