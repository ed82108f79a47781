//! `linux.resources.cpu`: config-linux.md, "CPU", and "CPU Interface Files" and "Cpuset Interface Files" in
//! cgroup-v2.rst.

use super::{Now, Write, limit, write};
use crate::error::{Result, invalid, unsupported};
use crate::spec::oci::LinuxCpu;

/// The writes of these limits.
pub(super) fn writes(cpu: &LinuxCpu, now: &Now) -> Result<Vec<Write>> {
    let realtime = [
        ("realtimeRuntime", cpu.realtime_runtime().is_some_and(|v| v != 0)),
        ("realtimePeriod", cpu.realtime_period().is_some_and(|v| v != 0)),
    ];
    if let Some((property, _)) = realtime.iter().find(|(_, asked_for)| *asked_for) {
        return Err(unsupported(format!("linux.resources.cpu.{property}: cgroup v2 has nothing like it")));
    }
    let mut writes = bandwidth(cpu, now)?;
    writes.extend(share(cpu, now)?);
    for (property, file, list) in
        [("cpu.cpus", "cpuset.cpus", cpu.cpus()), ("cpu.mems", "cpuset.mems", cpu.mems())]
    {
        if let Some(list) = list.as_deref().filter(|l| !l.is_empty()) {
            writes.push(write(property, file, list));
        }
    }
    Ok(writes)
}

/// So much of each period, in µs; what is not given stays as it is now.
fn bandwidth(cpu: &LinuxCpu, now: &Now) -> Result<Vec<Write>> {
    /// tg_set_bandwidth() in the kernel: 1 ms is the least of both, 1 s the most of a period.
    const LEAST: u64 = 1_000;
    const LONGEST: u64 = 1_000_000;
    let mut writes = Vec::new();
    // Engines write 0 for what they don't limit.
    let quota = cpu.quota().filter(|v| *v != 0);
    let period = cpu.period().filter(|v| *v != 0);
    let bad = |what: &str, why: String| Err(invalid(format!("linux.resources.cpu.{what}: {why}")));
    if let Some(period) = period.filter(|v| !(LEAST..=LONGEST).contains(v)) {
        return bad("period", format!("{period} µs is not between {LEAST} and {LONGEST}"));
    }
    // No limit if it is negative.
    let new_quota = quota.map_or_else(|| now.quota(), |quota| u64::try_from(quota).ok());
    if let Some(quota) = new_quota.filter(|new| quota.is_some() && *new < LEAST) {
        return bad("quota", format!("{quota} µs is less than {LEAST}, the least that the kernel takes"));
    }
    let burst = cpu.burst().unwrap_or_else(|| now.burst());
    if let Some(quota) = new_quota.filter(|quota| burst > *quota) {
        return match cpu.burst() {
            Some(_) => bad("burst", format!("{burst} µs is more than the quota, {quota}")),
            None => {
                bad("quota", format!("{quota} µs is less than the burst there is, {burst}: give burst, too"))
            }
        };
    }
    if quota.is_some() || period.is_some() {
        let quota = new_quota.map_or_else(|| limit(-1), |quota| quota.to_string());
        let value = format!("{quota} {}", period.unwrap_or_else(|| now.period()));
        let property = if cpu.quota().is_some_and(|v| v != 0) { "cpu.quota" } else { "cpu.period" };
        writes.push(write(property, "cpu.max", value));
    }
    if let Some(burst) = cpu.burst() {
        writes.push(write("cpu.burst", "cpu.max.burst", burst.to_string()));
    }
    Ok(writes)
}

/// How much in comparison with others. The kernel takes no weight for a cgroup that is idle.
fn share(cpu: &LinuxCpu, now: &Now) -> Result<Vec<Write>> {
    let mut writes = Vec::new();
    if let Some(idle) = cpu.idle() {
        if !(0..=1).contains(&idle) {
            return Err(invalid(format!("linux.resources.cpu.idle: {idle} is neither 0 nor 1")));
        }
        writes.push(write("cpu.idle", "cpu.idle", idle.to_string()));
    }
    let Some(shares) = cpu.shares().filter(|v| *v != 0) else { return Ok(writes) };
    match cpu.idle() {
        None if now.is_idle() => Err(invalid(
            "linux.resources.cpu.shares: the container is idle (cpu.idle is 1) and has no share: set idle to 0, too",
        )),
        // It says that there is no share.
        Some(1) => Ok(writes),
        _ => {
            writes.push(write("cpu.shares", "cpu.weight", weight(shares).to_string()));
            Ok(writes)
        }
    }
}

/// Shares (2..262144) to weight (1..10000) so that the default of one, 1024, is the default of the
/// other, 100: 10^((l² + 125 l) / 612 - 7 / 34), l the binary logarithm of the shares.
fn weight(shares: u64) -> u64 {
    if shares <= 2 {
        return 1;
    }
    if shares >= 262_144 {
        return 10_000;
    }
    #[expect(clippy::cast_precision_loss, reason = "fewer than 2^19 shares")]
    let l = (shares as f64).log2();
    let exponent = (l * l + 125.0 * l) / 612.0 - 7.0 / 34.0;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 1 and 10000")]
    let weight = 10f64.powf(exponent).ceil() as u64;
    weight
}

#[cfg(test)]
mod tests {
    use super::super::tests::{changes, writes};
    use super::weight;

    fn cpu(json: &str) -> Result<Vec<String>, String> {
        lines(writes(&format!(r#"{{"cpu":{json}}}"#)))
    }

    fn changed(json: &str, now: &str) -> Result<Vec<String>, String> {
        lines(changes(&format!(r#"{{"cpu":{json}}}"#), now))
    }

    fn lines(writes: Result<Vec<(String, String)>, String>) -> Result<Vec<String>, String> {
        Ok(writes?.into_iter().map(|(file, value)| format!("{file} {value}")).collect())
    }

    #[test]
    fn the_default_share_is_the_default_weight() {
        assert_eq!([0, 1, 2, 512, 1024, 262_144, 300_000].map(weight), [1, 1, 1, 59, 100, 10_000, 10_000]);
    }

    #[test]
    fn quota_and_period_go_together_and_each_alone() {
        assert_eq!(cpu(r#"{"quota":50000,"period":20000}"#).unwrap(), ["cpu.max 50000 20000"]);
        assert_eq!(cpu(r#"{"quota":50000}"#).unwrap(), ["cpu.max 50000 100000"]);
        assert_eq!(cpu(r#"{"period":20000}"#).unwrap(), ["cpu.max max 20000"]);
        assert_eq!(cpu(r#"{"quota":-1}"#).unwrap(), ["cpu.max max 100000"]);
        assert_eq!(cpu(r#"{"quota":0,"period":0,"shares":0}"#).unwrap(), [""; 0]);
    }

    #[test]
    fn an_update_of_one_keeps_the_other() {
        let now = "cpu.max=30000 60000";
        assert_eq!(changed(r#"{"quota":50000}"#, now).unwrap(), ["cpu.max 50000 60000"]);
        assert_eq!(changed(r#"{"period":50000}"#, now).unwrap(), ["cpu.max 30000 50000"]);
        assert_eq!(changed(r#"{"quota":-1}"#, now).unwrap(), ["cpu.max max 60000"]);
    }

    #[test]
    fn a_burst_is_at_most_the_quota() {
        assert_eq!(cpu(r#"{"burst":70}"#).unwrap(), ["cpu.max.burst 70"]);
        let error = cpu(r#"{"quota":50000,"burst":50001}"#).unwrap_err();
        assert_eq!(error, "linux.resources.cpu.burst: 50001 µs is more than the quota, 50000");
        let now = "cpu.max=50000 100000,cpu.max.burst=40000";
        assert!(changed(r#"{"burst":50001}"#, now).is_err());
        let error = changed(r#"{"quota":30000}"#, now).unwrap_err();
        assert!(error.ends_with("less than the burst there is, 40000: give burst, too"), "{error}");
    }

    #[test]
    fn the_kernel_is_never_shown_a_burst_above_the_quota() {
        let now = "cpu.max=50000 100000,cpu.max.burst=40000";
        let lower = changed(r#"{"quota":30000,"burst":20000}"#, now).unwrap();
        assert_eq!(lower, ["cpu.max.burst 20000", "cpu.max 30000 100000"]);
        let raise = changed(r#"{"quota":90000,"burst":60000}"#, now).unwrap();
        assert_eq!(raise, ["cpu.max 90000 100000", "cpu.max.burst 60000"]);
    }

    #[test]
    fn what_the_kernel_takes_of_no_one_is_refused_before() {
        for bad in [r#"{"quota":999}"#, r#"{"period":999}"#, r#"{"period":1000001}"#, r#"{"idle":2}"#] {
            assert!(cpu(bad).unwrap_err().starts_with("linux.resources.cpu."), "{bad}");
        }
    }

    #[test]
    fn who_is_idle_has_no_share() {
        assert_eq!(cpu(r#"{"idle":1,"shares":512}"#).unwrap(), ["cpu.idle 1"]);
        assert_eq!(
            changed(r#"{"idle":0,"shares":512}"#, "cpu.idle=1").unwrap(),
            ["cpu.idle 0", "cpu.weight 59"]
        );
        assert!(changed(r#"{"shares":512}"#, "cpu.idle=1").unwrap_err().contains("set idle to 0, too"));
        let by_name = r#"{"unified":{"cpu.idle":"1","cpu.weight":"7"}}"#;
        assert_eq!(lines(writes(by_name)).unwrap(), ["cpu.weight 7", "cpu.idle 1"]);
    }

    #[test]
    fn processors_and_nodes_are_lists_and_an_empty_one_is_none() {
        assert_eq!(cpu(r#"{"cpus":"0-1","mems":"0"}"#).unwrap(), ["cpuset.cpus 0-1", "cpuset.mems 0"]);
        assert_eq!(cpu(r#"{"cpus":"","mems":""}"#).unwrap(), [""; 0]);
    }

    #[test]
    fn real_time_is_refused_by_name() {
        for property in ["realtimeRuntime", "realtimePeriod"] {
            let error = cpu(&format!(r#"{{"{property}":1}}"#)).unwrap_err();
            assert_eq!(error, format!("linux.resources.cpu.{property}: cgroup v2 has nothing like it"));
        }
    }
}
