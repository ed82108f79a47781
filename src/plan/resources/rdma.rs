//! `linux.resources.rdma`: config-linux.md, "RDMA", and "RDMA Interface Files" in cgroup-v2.rst.

use std::collections::HashMap;

use super::Write;
use crate::error::{Result, unsupported};
use crate::spec::oci::LinuxRdma;

/// The writes of these limits.
pub(super) fn writes(devices: &HashMap<String, LinuxRdma>) -> Result<Vec<Write>> {
    match devices.is_empty() {
        true => Ok(Vec::new()),
        false => Err(unsupported("linux.resources.rdma: controller rdma is not supported yet")),
    }
}
