//! `linux.resources.cpu`: config-linux.md, "CPU", and "CPU Interface Files" and "Cpuset Interface Files" in
//! cgroup-v2.rst.

use super::{Write, limit, write};
use crate::error::{Result, unsupported};
use crate::spec::oci::LinuxCpu;

/// The writes of these limits.
pub(super) fn writes(cpu: &LinuxCpu) -> Result<Vec<Write>> {
    let mut writes = Vec::new();
    if cpu.realtime_runtime().is_some_and(|v| v != 0) || cpu.realtime_period().is_some_and(|v| v != 0) {
        return Err(unsupported("linux.resources.cpu.realtimeRuntime: cgroup v2 has nothing like it"));
    }
    if let Some(shares) = cpu.shares().filter(|v| *v != 0) {
        writes.push(write("cpu.shares", "cpu.weight", weight(shares).to_string()));
    }
    let (quota, period) = (cpu.quota().filter(|v| *v != 0), cpu.period().filter(|v| *v != 0));
    if quota.is_some() || period.is_some() {
        let value = format!("{} {}", limit(quota.unwrap_or(-1)), period.unwrap_or(100_000));
        writes.push(write("cpu.quota", "cpu.max", value));
    }
    if let Some(burst) = cpu.burst() {
        writes.push(write("cpu.burst", "cpu.max.burst", burst.to_string()));
    }
    if let Some(idle) = cpu.idle() {
        writes.push(write("cpu.idle", "cpu.idle", idle.to_string()));
    }
    for (property, file, list) in
        [("cpu.cpus", "cpuset.cpus", cpu.cpus()), ("cpu.mems", "cpuset.mems", cpu.mems())]
    {
        if let Some(list) = list.as_deref().filter(|l| !l.is_empty()) {
            writes.push(write(property, file, list));
        }
    }
    Ok(writes)
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
    use super::weight;

    #[test]
    fn the_default_share_is_the_default_weight() {
        assert_eq!([2, 1024, 262_144].map(weight), [1, 100, 10_000]);
    }
}
