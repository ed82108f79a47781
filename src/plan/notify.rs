//! sd_notify(3): where the program finds its socket. What is behind it is `container::notify`.

use std::ffi::CString;
use std::path::Path;

use super::Plan;
use super::mounts::{MountStep, Source};
use super::options::Propagation;
use crate::error::Result;
use crate::rootpath::InRootfs;
use crate::sys::mount::{MountAttr, attr};

/// Where the directory with the socket is mounted, as with runc.
const DIR: &str = "/run/notify";
/// What the program is told.
const VARIABLE: &str = "NOTIFY_SOCKET=/run/notify/notify.sock";

/// Adds mount and variable. A configuration that has such a variable has a socket of its caller's own: podman's.
pub(super) fn add(plan: &mut Plan) -> Result<()> {
    let Some(process) = &mut plan.process else { return Ok(()) };
    if process.env.iter().any(|variable| variable.to_bytes().starts_with(b"NOTIFY_SOCKET=")) {
        return Ok(());
    }
    process.env.push(CString::new(VARIABLE).unwrap_or_default());
    // Read-only, so that only the runtime makes files in it; connecting to a socket is no writing.
    let set = attr::RDONLY | attr::NOSUID | attr::NODEV | attr::NOEXEC;
    plan.rootfs.mounts.push(MountStep {
        index: plan.rootfs.mounts.len(),
        at: InRootfs::new(Path::new(DIR))?,
        source: Source::Notify,
        attr: MountAttr { set, ..MountAttr::default() },
        attr_below: MountAttr::default(),
        propagation: vec![Propagation::NONE],
        ids: None,
    });
    plan.notify = true;
    Ok(())
}
