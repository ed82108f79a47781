//! `linux.resources.pids`: config-linux.md, "PIDs", and "PID" in cgroup-v2.rst.

use super::{Write, limit, write};
use crate::spec::oci::LinuxPids;

/// 0 is a limit, negative is none.
pub(super) fn writes(pids: &LinuxPids) -> Vec<Write> {
    vec![write("pids.limit", "pids.max", limit(pids.limit()))]
}

#[cfg(test)]
mod tests {
    use super::super::tests::writes;

    #[test]
    fn zero_processes_is_a_limit_and_minus_one_is_none() {
        assert_eq!(writes(r#"{"pids":{"limit":0}}"#).unwrap(), [("pids.max".into(), "0".into())]);
        assert_eq!(writes(r#"{"pids":{"limit":-1}}"#).unwrap(), [("pids.max".into(), "max".into())]);
    }
}
