//! `linux.resources.blockIO`: config-linux.md, "Block IO", and "IO Interface Files" in cgroup-v2.rst.

use super::Write;
use crate::error::{Result, unsupported};
use crate::spec::oci::LinuxBlockIo;

/// The writes of these limits.
pub(super) fn writes(io: &LinuxBlockIo) -> Result<Vec<Write>> {
    let asked_for = io.weight().is_some()
        || io.leaf_weight().is_some()
        || io.weight_device().as_ref().is_some_and(|d| !d.is_empty())
        || [
            io.throttle_read_bps_device(),
            io.throttle_write_bps_device(),
            io.throttle_read_iops_device(),
            io.throttle_write_iops_device(),
        ]
        .iter()
        .any(|d| d.as_ref().is_some_and(|d| !d.is_empty()));
    match asked_for {
        true => Err(unsupported("linux.resources.blockIO: controller io is not supported yet")),
        false => Ok(Vec::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::writes;

    #[test]
    fn what_is_not_supported_is_refused_by_name() {
        assert!(writes(r#"{"blockIO":{"weight":10}}"#).unwrap_err().contains("controller io"));
    }
}
