//! `linux.resources.memory`: config-linux.md, "Memory", and "Memory Interface Files" in cgroup-v2.rst.

use super::{Write, limit, write};
use crate::error::{Result, invalid, unsupported};
use crate::spec::oci::LinuxMemory;

/// The writes of these limits.
pub(super) fn writes(memory: &LinuxMemory) -> Result<Vec<Write>> {
    let mut writes = Vec::new();
    let only_v1 = [
        ("memory.kernel", memory.kernel().is_some_and(|v| v > 0)),
        ("memory.kernelTCP", memory.kernel_tcp().is_some_and(|v| v > 0)),
        ("memory.swappiness", memory.swappiness().is_some()),
        ("memory.disableOOMKiller", memory.disable_oom_killer() == Some(true)),
    ];
    if let Some((property, _)) = only_v1.iter().find(|(_, asked_for)| *asked_for) {
        return Err(unsupported(format!("linux.resources.{property}: cgroup v2 has nothing like it")));
    }
    // Engines write 0 for what they don't limit.
    let max = memory.limit().filter(|v| *v != 0);
    if let Some(max) = max {
        writes.push(write("memory.limit", "memory.max", limit(max)));
    }
    if let Some(reservation) = memory.reservation().filter(|v| *v != 0) {
        writes.push(write("memory.reservation", "memory.low", limit(reservation)));
    }
    if let Some(swap) = memory.swap().filter(|v| *v != 0) {
        writes.push(write("memory.swap", "memory.swap.max", swap_max(swap, max)?));
    }
    Ok(writes)
}

/// The specification counts memory and swap together, the kernel each for itself.
fn swap_max(swap: i64, max: Option<i64>) -> Result<String> {
    match (swap, max) {
        (swap, _) if swap < 0 => Ok("max".to_owned()),
        (swap, Some(max)) if max > 0 && swap >= max => Ok((swap - max).to_string()),
        (_, Some(max)) if max > 0 => {
            Err(invalid("linux.resources.memory.swap counts memory too and is less than memory.limit"))
        }
        _ => Err(invalid("linux.resources.memory.swap counts memory too and needs memory.limit")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::writes;

    #[test]
    fn swap_is_what_is_left_of_the_sum() {
        let written = writes(r#"{"memory":{"limit":100,"swap":150}}"#).unwrap();
        assert_eq!(written[1], ("memory.swap.max".into(), "50".into()));
        assert!(writes(r#"{"memory":{"limit":100,"swap":50}}"#).is_err());
    }

    #[test]
    fn what_only_v1_has_is_refused_by_name() {
        assert!(writes(r#"{"memory":{"swappiness":10}}"#).unwrap_err().contains("memory.swappiness"));
    }
}
