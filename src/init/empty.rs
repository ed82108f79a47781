//! Runs in: init, or the helper that makes the container. A file system with nothing in it.

use std::os::fd::OwnedFd;

use crate::error::Result;
use crate::sys::mount::{self, attr};

/// Its root, of a mount that is attached nowhere yet.
pub(super) fn directory() -> Result<OwnedFd> {
    let attrs = attr::RDONLY | attr::NOSUID | attr::NODEV | attr::NOEXEC;
    mount::fresh("tmpfs", attrs, |_| Ok(())).map_err(Into::into)
}
