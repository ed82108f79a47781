//! The systemd driver's part: a scope, and limits as properties of it. What a property can say it has to say: systemd
//! writes the files of its units again whenever it likes (at a daemon-reload, for one), and knows nothing of what
//! others have written. org.freedesktop.systemd1(5), systemd.resource-control(5).

use std::collections::HashMap;

use super::{Absence, Write, place};
use crate::dbus::{self, Value};
use crate::error::{Doing, Result, invalid};
use crate::spec::oci::Spec;

/// A property of a unit.
pub type Property = (String, Value);

/// The container's scope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    /// The unit's name.
    pub name: String,
    /// The slice that it is in; `None` for the one in which its manager has services.
    pub slice: Option<String>,
    /// The cgroup in it that is the container's; `None` if the scope's own is.
    pub subgroup: Option<String>,
    /// All but its slice and its processes.
    pub properties: Vec<Property>,
    /// Which of them annotations have set: their types are whatever somebody has written.
    pub annotated: Vec<String>,
}

/// Begins an annotation that is a property.
pub const ANNOTATION: &str = "org.systemd.property.";
/// The annotation that names the cgroup in the scope: crun(1).
pub const SUBGROUP: &str = "run.oci.systemd.subgroup";

/// Plans the scope of a container with these limits.
pub(super) fn plan(
    spec: &Spec,
    (slice, name): (Option<String>, String),
    id: &str,
    writes: &[Write],
) -> Result<Scope> {
    let yes = |name: &str| (name.to_owned(), Value::Bool(true));
    let mut properties = vec![
        ("Description".to_owned(), Value::str(format!("minidocker-oci container {id}"))),
        // What is below it is the container's.
        yes("Delegate"),
        // Else it would be stopped at shutdown before the services that run containers.
        ("DefaultDependencies".to_owned(), Value::Bool(false)),
        // A scope that failed would stay, and be in the way of the next of its name.
        ("CollectMode".to_owned(), Value::str("inactive-or-failed")),
        yes("MemoryAccounting"),
        yes("IOAccounting"),
        yes("TasksAccounting"),
    ];
    let early = writes.iter().filter(|write| !write.is_late());
    properties.extend(self::properties(early.map(limit_of)));
    let annotations = spec.annotations().as_ref();
    let subgroup = annotations.and_then(|all| Some(all.get(SUBGROUP)?.as_str()));
    let subgroup = place::subgroup(subgroup).doing(|| format!("annotations.{SUBGROUP}"))?;
    let annotated = annotated(annotations)?;
    let names: Vec<String> = annotated.iter().map(|(name, _)| name.clone()).collect();
    properties.retain(|(name, _)| !names.contains(name));
    properties.extend(annotated);
    Ok(Scope { name, slice, subgroup, properties, annotated: names })
}

/// A file of a cgroup, and what is written to it.
pub type Limit<'a> = (&'a str, &'a str);

/// Of the two files that a weight of I/O may be in, systemd counts as io.weight does.
pub fn limit_of(write: &Write) -> Limit<'_> {
    match &write.absence {
        Absence::Instead { file: file @ "io.weight", value } => (file, value),
        _ => (&write.file, &write.value),
    }
}

/// Limits as properties. What has none systemd leaves alone, and what is in no form that a property has the kernel
/// will refuse.
pub fn properties<'a>(limits: impl IntoIterator<Item = Limit<'a>>) -> Vec<Property> {
    let mut properties: Vec<Property> = Vec::new();
    for (name, value) in limits.into_iter().flat_map(property) {
        properties.retain(|(other, _)| other != name);
        properties.push((name.to_owned(), value));
    }
    properties
}

fn property((file, value): Limit<'_>) -> Vec<(&'static str, Value)> {
    let one = |name, value: Option<Value>| value.map(|value| (name, value)).into_iter().collect();
    let text = value.trim();
    match file {
        "memory.max" => one("MemoryMax", limit(text)),
        "memory.high" => one("MemoryHigh", limit(text)),
        "memory.low" => one("MemoryLow", limit(text)),
        "memory.min" => one("MemoryMin", limit(text)),
        "memory.swap.max" => one("MemorySwapMax", limit(text)),
        "memory.zswap.max" => one("MemoryZSwapMax", limit(text)),
        // Of none systemd knows nothing. One is as good: there is one already.
        "pids.max" if text == "0" => one("TasksMax", Some(Value::U64(1))),
        "pids.max" => one("TasksMax", limit(text)),
        "cpu.weight" => one("CPUWeight", text.parse().ok().map(Value::U64)),
        // "idle" in a unit's file.
        "cpu.idle" if text == "1" => one("CPUWeight", Some(Value::U64(0))),
        "cpu.max" => bandwidth(text).unwrap_or_default(),
        "cpuset.cpus" => one("AllowedCPUs", bits(text)),
        "cpuset.mems" => one("AllowedMemoryNodes", bits(text)),
        "io.weight" => {
            one("IOWeight", text.strip_prefix("default").unwrap_or(text).trim().parse().ok().map(Value::U64))
        }
        // io.max it writes for devices only that it has been told of.
        _ => Vec::new(),
    }
}

fn limit(text: &str) -> Option<Value> {
    let number = if text == "max" { Some(u64::MAX) } else { text.parse().ok() };
    number.map(Value::U64)
}

/// `QUOTA PERIOD`, in microseconds. systemd counts in whole percents; less than was asked for would be too little.
fn bandwidth(text: &str) -> Option<Vec<(&'static str, Value)>> {
    const SECOND: u128 = 1_000_000;
    const PERCENT: u128 = SECOND / 100;
    let (quota, period) = text.split_once(' ').unwrap_or((text, "100000"));
    let period: u64 = period.trim().parse().ok().filter(|period| *period > 0)?;
    let per_second = match quota {
        "max" => u64::MAX,
        quota => {
            let quota: u64 = quota.parse().ok()?;
            let exact = u128::from(quota) * SECOND / u128::from(period);
            u64::try_from(exact.next_multiple_of(PERCENT)).ok()?
        }
    };
    Some(vec![("CPUQuotaPerSecUSec", Value::U64(per_second)), ("CPUQuotaPeriodUSec", Value::U64(period))])
}

/// A list such as `0-2,5` as a set of bits, the lowest first.
fn bits(list: &str) -> Option<Value> {
    /// More than any kernel's.
    const MOST: usize = 1 << 14;
    let mut bytes = Vec::new();
    for range in list.split(',').map(str::trim).filter(|range| !range.is_empty()) {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        if first > last || last >= MOST {
            return None;
        }
        bytes.resize(bytes.len().max(last / 8 + 1), 0u8);
        (first..=last).for_each(|bit| bytes[bit / 8] |= 1 << (bit % 8));
    }
    Some(Value::Array("y".to_owned(), bytes.into_iter().map(Value::Byte).collect()))
}

/// Properties that annotations set, by their names: `org.systemd.property.NAME` is the text of a D-Bus value.
fn annotated(annotations: Option<&HashMap<String, String>>) -> Result<Vec<Property>> {
    let mut found: Vec<(&str, &str)> = annotations
        .into_iter()
        .flatten()
        .filter_map(|(key, text)| Some((key.strip_prefix(ANNOTATION)?, text.as_str())))
        .collect();
    found.sort_unstable();
    let read = |(name, text): (&str, &str)| {
        checked_name(name).and_then(|()| one(name, text)).doing(|| format!("annotations.{ANNOTATION}{name}"))
    };
    found.into_iter().map(read).collect()
}

fn checked_name(name: &str) -> Result<()> {
    /// Who is in the scope, and whose what is below it is.
    const RUNTIMES: [&str; 4] = ["PIDs", "PIDFDs", "Delegate", "DelegateSubgroup"];
    match name {
        name if RUNTIMES.contains(&name) => Err(invalid(format!("{name} is the runtime's own business"))),
        name if !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphabetic()) => Ok(()),
        _ => Err(invalid(format!("{name:?} is not the name of a property"))),
    }
}

fn one(name: &str, text: &str) -> Result<Property> {
    let value = dbus::parse(text)?;
    match name.strip_suffix("Sec").filter(|stem| stem.ends_with(|c: char| c.is_ascii_lowercase())) {
        // As in a unit's file; over the bus it is microseconds.
        Some(stem) => Ok((format!("{stem}USec"), microseconds(&value)?)),
        None => Ok((name.to_owned(), value)),
    }
}

fn microseconds(seconds: &Value) -> Result<Value> {
    const SECOND: u64 = 1_000_000;
    let whole = |n: i64| u64::try_from(n).ok();
    let count = match seconds {
        Value::Byte(n) => Some(u64::from(*n)),
        Value::U16(n) => Some(u64::from(*n)),
        Value::U32(n) => Some(u64::from(*n)),
        Value::U64(n) => Some(*n),
        Value::I16(n) => whole(i64::from(*n)),
        Value::I32(n) => whole(i64::from(*n)),
        Value::I64(n) => whole(*n),
        Value::Double(bits) => return fraction(f64::from_bits(*bits)),
        _ => None,
    };
    let microseconds = count.and_then(|count| count.checked_mul(SECOND));
    microseconds.map(Value::U64).ok_or_else(|| invalid(format!("{seconds} is not a number of seconds")))
}

fn fraction(seconds: f64) -> Result<Value> {
    // Far from where it could not be counted any more.
    if !(0.0..1e12).contains(&seconds) {
        return Err(invalid(format!("{seconds} is not a number of seconds")));
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and 1e18")]
    let microseconds = (seconds * 1e6) as u64;
    Ok(Value::U64(microseconds))
}

#[cfg(test)]
mod tests {
    use super::{Absence, Property, Write, annotated, limit_of, plan, properties};
    use crate::dbus::Value;
    use crate::plan::resources::write;
    use serde_json::json;

    fn of(file: &str, value: &str) -> Vec<Property> {
        properties([(file, value)])
    }

    fn numbers(pairs: &[(&str, u64)]) -> Vec<Property> {
        pairs.iter().map(|(name, n)| ((*name).to_owned(), Value::U64(*n))).collect()
    }

    #[test]
    fn a_limit_is_a_property_where_systemd_has_one() {
        for (file, value, expected) in [
            ("memory.max", "4096", [("MemoryMax", 4096)].as_slice()),
            ("memory.max", "max", &[("MemoryMax", u64::MAX)]),
            ("memory.low", "1", &[("MemoryLow", 1)]),
            ("memory.swap.max", "0", &[("MemorySwapMax", 0)]),
            ("memory.high", "7", &[("MemoryHigh", 7)]),
            ("pids.max", "33", &[("TasksMax", 33)]),
            ("pids.max", "0", &[("TasksMax", 1)]),
            ("pids.max", "max", &[("TasksMax", u64::MAX)]),
            ("cpu.weight", "59", &[("CPUWeight", 59)]),
            ("cpu.idle", "1", &[("CPUWeight", 0)]),
            ("cpu.idle", "0", &[]),
            ("cpu.max", "33333 100000", &[("CPUQuotaPerSecUSec", 340_000), ("CPUQuotaPeriodUSec", 100_000)]),
            ("cpu.max", "50000 50000", &[("CPUQuotaPerSecUSec", 1_000_000), ("CPUQuotaPeriodUSec", 50_000)]),
            ("cpu.max", "max 20000", &[("CPUQuotaPerSecUSec", u64::MAX), ("CPUQuotaPeriodUSec", 20_000)]),
            ("io.weight", "default 200", &[("IOWeight", 200)]),
            ("io.weight", "200", &[("IOWeight", 200)]),
            ("io.weight", "8:0 200", &[]),
            ("cpu.max.burst", "5", &[]),
            ("hugetlb.2MB.max", "0", &[]),
            ("memory.max", "many", &[]),
            ("cpu.max", "5 0", &[]),
        ] {
            assert_eq!(of(file, value), numbers(expected), "{file} {value}");
        }
    }

    #[test]
    fn a_weight_of_io_is_what_it_is_where_there_is_no_bfq() {
        let instead = Absence::Instead { file: "io.weight", value: "default 4950".into() };
        let weight = Write { absence: instead, ..write("x", "io.bfq.weight", "500") };
        assert_eq!(properties([limit_of(&weight)]), numbers(&[("IOWeight", 4950)]));
    }

    #[test]
    fn a_list_of_cpus_is_a_set_of_bits() {
        let set = |bytes: &[u8]| {
            vec![(
                "AllowedCPUs".to_owned(),
                Value::Array("y".into(), bytes.iter().map(|b| Value::Byte(*b)).collect()),
            )]
        };
        assert_eq!(of("cpuset.cpus", "0"), set(&[1]));
        assert_eq!(of("cpuset.cpus", "0-2,9, 16"), set(&[7, 2, 1]));
        for bad in ["x", "2-1", "0-99999999999", "1-"] {
            assert_eq!(of("cpuset.cpus", bad), [], "{bad}");
        }
    }

    fn annotation(name: &str, text: &str) -> Result<Property, String> {
        let all = [(format!("org.systemd.property.{name}"), text.to_owned()), ("other".into(), "x".into())];
        let read = annotated(Some(&all.into_iter().collect())).map_err(|error| format!("{error:#}"))?;
        assert_eq!(read.len(), 1);
        Ok(read[0].clone())
    }

    /// podman sets the first two on every container.
    #[test]
    fn an_annotation_is_a_property() {
        let u64 = |name: &str, n| Ok((name.to_owned(), Value::U64(n)));
        assert_eq!(annotation("KillSignal", "15"), Ok(("KillSignal".into(), Value::I32(15))));
        assert_eq!(annotation("TimeoutStopUSec", "uint64 10000000"), u64("TimeoutStopUSec", 10_000_000));
        assert_eq!(
            annotation("CollectMode", "'inactive'"),
            Ok(("CollectMode".into(), Value::str("inactive")))
        );
        assert_eq!(annotation("TimeoutStopSec", "5"), u64("TimeoutStopUSec", 5_000_000));
        assert_eq!(annotation("TimeoutStopSec", "3.5"), u64("TimeoutStopUSec", 3_500_000));
        assert_eq!(annotation("RuntimeMaxSec", "uint64 1"), u64("RuntimeMaxUSec", 1_000_000));
    }

    #[test]
    fn a_wrong_one_is_told_by_its_name() {
        for (name, text) in [
            ("KillSignal", ""),
            ("CollectMode", "inactive"),
            ("TimeoutStopSec", "5s"),
            ("TimeoutStopSec", "-5"),
            ("TimeoutStopSec", "true"),
            ("TimeoutStopSec", "uint64 18446744073709551615"),
            ("TimeoutStopSec", "1e300"),
            ("kill signal", "15"),
            ("", "15"),
            ("PIDs", "[uint32 1]"),
            ("Delegate", "false"),
        ] {
            let error = annotation(name, text).unwrap_err();
            assert!(error.starts_with(&format!("annotations.org.systemd.property.{name}: ")), "{error}");
        }
    }

    #[test]
    fn an_annotation_goes_before_what_the_limits_say_and_a_late_limit_waits() {
        let config =
            json!({ "ociVersion": "1.3.0", "annotations": { "org.systemd.property.MemoryMax": "uint64 5" } });
        let spec = serde_json::from_value(config).unwrap();
        let writes =
            [write("x", "memory.max", "9"), write("x", "pids.max", "1"), write("x", "cpu.weight", "3")];
        let scope = plan(&spec, (None, "c.scope".into()), "c", &writes).unwrap();
        let value = |name: &str| -> Vec<_> {
            scope
                .properties
                .iter()
                .filter(|(other, _)| other == name)
                .map(|(_, value)| value.clone())
                .collect()
        };
        assert_eq!(value("MemoryMax"), [Value::U64(5)]);
        assert_eq!(value("CPUWeight"), [Value::U64(3)]);
        assert_eq!(value("TasksMax"), []);
        assert_eq!(value("Delegate"), [Value::Bool(true)]);
    }
}
