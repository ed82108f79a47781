//! config-linux.md: offsets of a time namespace.

use serde_json::{Value, json};

use crate::clause::{Clause, Outcome, expect, must};
use crate::draft::Draft;
use crate::lab::Lab;
use crate::seen::Seen;

const OFFSETS: &str = "config-linux.md#offset-for-time-namespace";
const SETS: &str = "timeOffsets (object, OPTIONAL) sets the offset for Time Namespace.";
const SECS: &str = "secs (int64, OPTIONAL) - is the offset of clock (in seconds) in the container.";
const NANOSECS: &str =
    "nanosecs (uint32, OPTIONAL) - is the offset of clock (in nanoseconds) in the container.";
const CREATE: &str = "runtime.md#create";
const ERROR: &str =
    "If the runtime cannot apply a property as specified in the configuration, it MUST generate an error";

pub(crate) const CLAUSES: &[Clause] = &[
    must("linux.time.monotonic", (OFFSETS, SECS), |lab| {
        shifts(lab, json!({ "monotonic": { "secs": 86_400 } }), 86_400.0, 0.0)
    }),
    must("linux.time.boottime", (OFFSETS, SECS), |lab| {
        shifts(lab, json!({ "boottime": { "secs": 86_400 } }), 0.0, 86_400.0)
    }),
    must("linux.time.both", (OFFSETS, "The name of the clock is the entry key."), |lab| {
        shifts(
            lab,
            json!({ "monotonic": { "secs": 100_000 }, "boottime": { "secs": 200_000 } }),
            100_000.0,
            200_000.0,
        )
    }),
    must("linux.time.negative", (OFFSETS, SECS), |lab| {
        has_offset(lab, json!({ "boottime": { "secs": -10 } }), ["boottime", "-10", "0"])
    }),
    must("linux.time.nanosecs", (OFFSETS, NANOSECS), |lab| {
        let offsets = json!({ "monotonic": { "secs": 5, "nanosecs": 500_000_000 } });
        has_offset(lab, offsets, ["monotonic", "5", "500000000"])
    }),
    must("linux.time.nanosecs.alone", (OFFSETS, NANOSECS), |lab| {
        has_offset(lab, json!({ "monotonic": { "nanosecs": 7 } }), ["monotonic", "0", "7"])
    }),
    must("linux.time.none", (OFFSETS, SETS), |lab| shifts(lab, json!({}), 0.0, 0.0)),
    must("linux.time.no-time-namespace", (CREATE, ERROR), |lab| {
        lab.with("linux/timeOffsets", json!({ "monotonic": { "secs": 5 } })).refused("time")
    }),
    must("linux.time.unknown-clock", (CREATE, ERROR), |lab| {
        lab.base()
            .namespace("time")
            .with("linux/timeOffsets", json!({ "sundial": { "secs": 5 } }))
            .refused("sundial|time|clock")
    }),
    must("linux.time.before-boot", (CREATE, ERROR), |lab| {
        // No clock can be negative (time_namespaces(7)).
        lab.base()
            .namespace("time")
            .with("linux/timeOffsets", json!({ "boottime": { "secs": -4_000_000_000i64 } }))
            .refused("time|boottime")
    }),
    must("linux.time.nanosecs.too-many", (CREATE, ERROR), |lab| {
        lab.base()
            .namespace("time")
            .with("linux/timeOffsets", json!({ "boottime": { "nanosecs": 2_000_000_000u32 } }))
            .refused("time|nanosecs")
    }),
    must("linux.time.with-user-namespace", (OFFSETS, SETS), |lab| {
        let draft = lab
            .base()
            .user_namespace(300_000)
            .namespace("time")
            .with("linux/timeOffsets", json!({ "monotonic": { "secs": 86_400 } }));
        differ(lab, draft, 86_400.0, 0.0)
    }),
];

/// The kernel tells this offset (time_namespaces(7)).
fn has_offset(lab: &Lab<'_>, offsets: Value, wanted: [&str; 3]) -> Outcome {
    let file = "/proc/self/timens_offsets";
    let draft = lab.base().namespace("time").with("linux/timeOffsets", offsets);
    let seen = draft.ask("read", file).report()?;
    let text = seen["read"][file].as_str().unwrap_or("");
    let is = text.lines().any(|line| line.split_whitespace().eq(wanted));
    expect(is, format!("the offsets are {text:?}"))
}

/// The container's clocks are ahead of the host's by so many seconds.
fn shifts(lab: &Lab<'_>, offsets: Value, monotonic: f64, boottime: f64) -> Outcome {
    differ(lab, lab.base().namespace("time").with("linux/timeOffsets", offsets), monotonic, boottime)
}

/// Of two containers that run one after the other, the first has the host's clocks.
fn differ(lab: &Lab<'_>, shifted: Draft<'_>, monotonic: f64, boottime: f64) -> Outcome {
    let (host, seen) = (lab.base().report()?, shifted.report()?);
    [("monotonic", monotonic), ("boottime", boottime)].into_iter().try_for_each(|(name, wanted)| {
        let of = |seen: &Seen| seen["clocks"][name].as_f64().unwrap_or(0.0);
        let ahead = of(&seen) - of(&host) - wanted;
        // A case takes less than a minute.
        expect((0.0..60.0).contains(&ahead), format!("the {name} clock is {ahead:.1} s off"))
    })
}
