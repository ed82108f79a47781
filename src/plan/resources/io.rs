//! `linux.resources.blockIO`: config-linux.md, "Block IO", and "IO Interface Files" in cgroup-v2.rst.

use std::collections::BTreeMap;

use super::{Absence, Write, write};
use crate::error::{Doing, Result, invalid, unsupported};
use crate::spec::oci::{LinuxBlockIo, LinuxThrottleDevice};

/// A device's number, in the order in which its lines are written.
type Device = (i64, i64);

/// The writes of these limits.
pub(super) fn writes(io: &LinuxBlockIo) -> Result<Vec<Write>> {
    let what = |name: &str| format!("linux.resources.blockIO.{name}");
    if io.leaf_weight().is_some_and(|weight| weight != 0) {
        return Err(only_v1()).doing(|| what("leafWeight"));
    }
    let mut writes = Vec::new();
    // Engines write 0 for what they don't weigh.
    if let Some(given) = io.weight().filter(|weight| *weight != 0) {
        writes.push(weight("blockIO.weight", None, Some(given)).doing(|| what("weight"))?);
    }
    for (index, device) in io.weight_device().iter().flatten().enumerate() {
        let what = || what(&format!("weightDevice[{index}]"));
        if device.leaf_weight().is_some_and(|weight| weight != 0) {
            return Err(only_v1()).doing(|| "leafWeight").doing(what);
        }
        let given = device.weight().ok_or_else(|| invalid("it has no weight")).doing(what)?;
        let number = number(device.major(), device.minor()).doing(what)?;
        let given = Some(given).filter(|weight| *weight != 0);
        writes.push(weight("blockIO.weightDevice", Some(number), given).doing(what)?);
    }
    writes.extend(throttle(io)?);
    Ok(writes)
}

fn only_v1() -> anyhow::Error {
    unsupported("cgroup v2 has nothing like it: its cgroups compete with their neighbours alone")
}

/// For one device or all that have none of their own; `None` takes a device's own away. BFQ's where the kernel
/// has it, else that of io.cost, which counts to 10000.
fn weight(property: &'static str, device: Option<Device>, weight: Option<u16>) -> Result<Write> {
    if let Some(weight) = weight.filter(|weight| !(10..=1000).contains(weight)) {
        return Err(invalid(format!("{weight} is not between 10 and 1000")));
    }
    let line = |value: Option<u64>| {
        let value = value.map_or_else(|| "default".to_owned(), |value| value.to_string());
        device.map_or(value.clone(), |(major, minor)| format!("{major}:{minor} {value}"))
    };
    let bfq = weight.map(u64::from);
    let cost = bfq.map(|weight| 1 + (weight - 10) * 9999 / 990);
    let instead = Absence::Instead { file: "io.weight", value: line(cost) };
    Ok(Write { absence: instead, ..write(property, "io.bfq.weight", line(bfq)) })
}

/// One line for each device; of several rates for the same thing the last one holds.
fn throttle(io: &LinuxBlockIo) -> Result<Vec<Write>> {
    let mut devices: BTreeMap<Device, BTreeMap<&str, u64>> = BTreeMap::new();
    for (name, key, list) in [
        ("throttleReadBpsDevice", "rbps", io.throttle_read_bps_device()),
        ("throttleWriteBpsDevice", "wbps", io.throttle_write_bps_device()),
        ("throttleReadIOPSDevice", "riops", io.throttle_read_iops_device()),
        ("throttleWriteIOPSDevice", "wiops", io.throttle_write_iops_device()),
    ] {
        for (index, device) in list.iter().flatten().enumerate() {
            let number = throttled(device).doing(|| format!("linux.resources.blockIO.{name}[{index}]"))?;
            devices.entry(number).or_default().insert(key, device.rate());
        }
    }
    let lines = devices.into_iter().map(|((major, minor), keys)| {
        // In v1 a rate of 0 took the limit away, and the kernel takes no 0 for one.
        let rate = |rate: u64| if rate == 0 { "max".to_owned() } else { rate.to_string() };
        let keys: Vec<String> =
            keys.into_iter().map(|(key, value)| format!("{key}={}", rate(value))).collect();
        write("blockIO.throttle", "io.max", format!("{major}:{minor} {}", keys.join(" ")))
    });
    Ok(lines.collect())
}

fn throttled(device: &LinuxThrottleDevice) -> Result<Device> {
    number(device.major(), device.minor())
}

fn number(major: i64, minor: i64) -> Result<Device> {
    match u32::try_from(major).is_ok() && u32::try_from(minor).is_ok() {
        true => Ok((major, minor)),
        false => Err(invalid(format!("{major}:{minor} is not a device number"))),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::writes as written;
    use super::super::{Absence, Write};
    use serde_json::json;

    fn io(json: serde_json::Value) -> Result<Vec<Write>, String> {
        super::writes(&serde_json::from_value(json).unwrap()).map_err(|e| format!("{e:#}"))
    }

    fn both(write: &Write) -> (String, String) {
        let Absence::Instead { file: "io.weight", value } = &write.absence else { panic!("{write:?}") };
        assert_eq!(write.file, "io.bfq.weight");
        (write.value.clone(), value.clone())
    }

    #[test]
    fn a_weight_is_bfqs_or_one_of_ten_thousand() {
        for (given, cost) in [(10, "1"), (100, "910"), (500, "4950"), (1000, "10000")] {
            let writes = io(json!({ "weight": given })).unwrap();
            assert_eq!(both(&writes[0]), (given.to_string(), cost.to_owned()));
            assert_eq!(writes[0].controller.as_deref(), Some("io"));
        }
        assert_eq!(io(json!({ "weight": 0, "leafWeight": 0 })).unwrap(), []);
        for bad in [1, 9, 1001] {
            let error = io(json!({ "weight": bad })).unwrap_err();
            assert_eq!(error, format!("linux.resources.blockIO.weight: {bad} is not between 10 and 1000"));
        }
    }

    #[test]
    fn a_device_can_have_a_weight_of_its_own() {
        let device = json!({ "major": 8, "minor": 16, "weight": 100 });
        let none = json!({ "major": 8, "minor": 0, "weight": 0 });
        let writes = io(json!({ "weightDevice": [device, none] })).unwrap();
        assert_eq!(both(&writes[0]), ("8:16 100".to_owned(), "8:16 910".to_owned()));
        assert_eq!(both(&writes[1]), ("8:0 default".to_owned(), "8:0 default".to_owned()));
        let error = io(json!({ "weightDevice": [{ "major": 8, "minor": 0 }] })).unwrap_err();
        assert_eq!(error, "linux.resources.blockIO.weightDevice[0]: it has no weight");
    }

    #[test]
    fn the_weight_of_leaves_is_v1s() {
        for leaf in [
            json!({ "leafWeight": 100 }),
            json!({ "weightDevice": [{ "major": 8, "minor": 0, "weight": 10, "leafWeight": 10 }] }),
        ] {
            assert!(io(leaf).unwrap_err().contains("leafWeight: cgroup v2 has nothing like it"));
        }
    }

    #[test]
    fn all_rates_of_a_device_are_one_line() {
        let rate = |minor: i64, rate: u64| json!([{ "major": 7, "minor": minor, "rate": rate }]);
        let writes = io(json!({
            "throttleReadBpsDevice": rate(1, 1000), "throttleWriteBpsDevice": rate(0, 2000),
            "throttleReadIOPSDevice": rate(1, 30), "throttleWriteIOPSDevice": rate(1, 0),
        }));
        let lines: Vec<String> =
            writes.unwrap().into_iter().map(|w| format!("{} {}", w.file, w.value)).collect();
        assert_eq!(lines, ["io.max 7:0 wbps=2000", "io.max 7:1 rbps=1000 riops=30 wiops=max"]);
        let error = written(r#"{"blockIO":{"throttleReadIOPSDevice":[{"major":-1,"minor":0,"rate":1}]}}"#);
        let place = "linux.resources.blockIO.throttleReadIOPSDevice[0]";
        assert_eq!(error.unwrap_err(), format!("{place}: -1:0 is not a device number"));
    }
}
