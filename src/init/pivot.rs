//! Runs in: init; before and after the pivot. From here host paths do not exist.

use super::rootfs::Assembled;
use crate::error::Result;
use crate::plan::{Plan, RootSwitch};
use crate::sys::Call;
use crate::sys::mount::{self, Depth, MountAttr};

/// Makes the assembled tree `/`, and the current directory.
pub(super) fn into(plan: &Plan, assembled: &Assembled) -> Result<()> {
    let root = assembled.root.dir();
    nix::unistd::fchdir(root).call(|| "fchdir(rootfs)")?;
    match plan.rootfs.switch {
        RootSwitch::Pivot => {
            mount::pivot_root_to_cwd()?;
            // The old root lies over the new one now. All of it is private, so that nothing of this
            // travels back and unmounts the host's file systems: mount_namespaces(7).
            mount::detach_cwd()?;
        }
        RootSwitch::Move => {
            mount::attach_over_root(root)?;
            nix::unistd::chroot(".").call(|| r#"chroot(".")"#)?;
        }
        RootSwitch::Chroot => nix::unistd::chroot(".").call(|| r#"chroot(".")"#)?,
    }
    nix::unistd::chdir("/").call(|| r#"chdir("/")"#)?;
    finish_propagation(plan, assembled)
}

/// What a root could not be while it was pivoted to: pivot_root(2) refuses a shared one.
fn finish_propagation(plan: &Plan, assembled: &Assembled) -> Result<()> {
    let mode = plan.rootfs.propagation.mode;
    if mode != libc::MS_SHARED && mode != libc::MS_UNBINDABLE {
        return Ok(());
    }
    let attr = MountAttr { propagation: mode, ..MountAttr::default() };
    mount::set_attr(assembled.root.dir(), Depth::Top, &attr).map_err(Into::into)
}
