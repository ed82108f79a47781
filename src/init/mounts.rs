//! Runs in: init, before the pivot. Every mount is made detached, gets its attributes, and is attached to
//! a descriptor that the one resolver has opened: no path of the container is ever mounted on.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::copy_up;
use crate::error::{Doing, Result, invalid};
use crate::plan::Plan;
use crate::plan::mounts::{Fresh, MountStep, Source};
use crate::plan::options::Parameter;
use crate::rootpath::{InRootfs, Rootfs};
use crate::sys::SysError;
use crate::sys::fs::{self, OFlag};
use crate::sys::mount::{self, Depth, MountAttr, attr};

/// What has been mounted and is still needed.
#[derive(Debug)]
pub(super) struct Mounted {
    /// The container's own devpts.
    pub(super) devpts: Option<OwnedFd>,
    /// The proc and sysfs file systems that nothing covers, by where they are.
    pub(super) kernel: Vec<(InRootfs, Rootfs)>,
    /// To become read-only when all that is made in them is made.
    read_only: Vec<(String, OwnedFd)>,
}

/// Performs the plan's mounts in their order.
pub(super) fn perform(plan: &Plan, root: &Rootfs, binds: &mut [Option<OwnedFd>]) -> Result<Mounted> {
    let mut mounted = Mounted { devpts: None, kernel: Vec::new(), read_only: Vec::new() };
    for (step, bind) in plan.rootfs.mounts.iter().zip(binds) {
        mounted.add(step, root, bind.take()).doing(|| step.to_string())?;
    }
    Ok(mounted)
}

impl Mounted {
    fn add(&mut self, step: &MountStep, root: &Rootfs, bind: Option<OwnedFd>) -> Result<()> {
        if step.source != Source::Remount {
            self.kernel.retain(|(at, _)| at.within(&step.at).is_none());
        }
        match (&step.source, bind) {
            (Source::Fresh(fresh), _) => self.add_fresh(step, root, fresh),
            (Source::Bind { .. } | Source::OwnCgroup | Source::Notify, Some(tree)) => {
                attach_bind(step, root, &tree)
            }
            // In the configuration's order: /proc/self/mountinfo lists mounts by their age.
            (Source::Bind { from, depth }, None) => {
                attach_bind(step, root, &mount::clone_path(from, *depth)?)
            }
            (Source::OwnCgroup | Source::Notify, None) => Err(invalid("the host has not opened it")),
            (Source::Remount, _) => {
                let there = root.open(&step.at, OFlag::O_PATH)?;
                change(there.as_fd(), step).map_err(Into::into)
            }
        }
    }

    fn add_fresh(&mut self, step: &MountStep, root: &Rootfs, fresh: &Fresh) -> Result<()> {
        // A tmpfs is filled before it becomes read-only: its copy, devices, links, mount points.
        let later = fresh.fstype == "tmpfs" && step.attr.set & attr::RDONLY != 0;
        let attrs = if later { step.attr.set & !attr::RDONLY } else { step.attr.set };
        let parameters = fresh.parameters.iter().filter(|p| !(later && p.key == "ro"));
        let made = mount::fresh(&fresh.fstype, attrs, |fs| configure(fs, fresh.name.as_deref(), parameters))?;
        let rest = MountStep { attr: MountAttr::default(), ..step.clone() };
        change(made.as_fd(), &rest)?;
        let target = match fresh.fstype.as_str() {
            // What is written there later must not go elsewhere: CVE-2019-19921, CVE-2023-27561.
            "proc" | "sysfs" => root.make_plain_dir(&step.at)?,
            _ => root.make_dir(&step.at)?,
        };
        if fresh.copy_up {
            copy_up::tree(&target, &made).doing(|| "tmpcopyup")?;
        }
        mount::attach(made.as_fd(), target.as_fd())?;
        if fresh.fstype == "devpts" && step.at.is("/dev/pts") {
            self.devpts = Some(made);
        } else if matches!(fresh.fstype.as_str(), "proc" | "sysfs") {
            self.kernel.push((step.at.clone(), Rootfs::new(made)));
        } else if later {
            self.read_only.push((step.to_string(), made));
        }
        Ok(())
    }

    /// Makes read-only what was kept writable until now.
    pub(super) fn finish(&self) -> Result<()> {
        let read_only = MountAttr { set: attr::RDONLY, ..MountAttr::default() };
        self.read_only.iter().try_for_each(|(name, mount)| {
            mount::set_attr(mount.as_fd(), Depth::Top, &read_only).doing(|| name.clone())
        })
    }
}

fn configure<'p>(
    fs: BorrowedFd<'_>,
    name: Option<&str>,
    parameters: impl Iterator<Item = &'p Parameter>,
) -> Result<(), SysError> {
    if let Some(name) = name {
        mount::fsconfig_string(fs, "source", name.as_bytes())?;
    }
    for parameter in parameters {
        match &parameter.value {
            Some(value) => mount::fsconfig_string(fs, &parameter.key, value.as_bytes())?,
            None => mount::fsconfig_flag(fs, &parameter.key)?,
        }
    }
    Ok(())
}

fn attach_bind(step: &MountStep, root: &Rootfs, tree: &OwnedFd) -> Result<()> {
    // Before it is attached: there is no moment in which it could be written to if it is read-only.
    change(tree.as_fd(), step)?;
    let target = match fs::file_type(&fs::stat(tree)?) {
        libc::S_IFDIR => root.make_dir(&step.at)?,
        _ => root.make_file(&step.at)?,
    };
    mount::attach(tree.as_fd(), target.as_fd()).map_err(Into::into)
}

/// The attributes and the propagation of a mount.
fn change(mount: BorrowedFd<'_>, step: &MountStep) -> Result<(), SysError> {
    let none = MountAttr::default();
    if step.attr_below != none {
        mount::set_attr(mount, Depth::Recursive, &step.attr_below)?;
    }
    if step.attr != none {
        mount::set_attr(mount, Depth::Top, &step.attr)?;
    }
    for propagation in &step.propagation {
        let depth = if propagation.recursive { Depth::Recursive } else { Depth::Top };
        mount::set_attr(mount, depth, &MountAttr { propagation: propagation.mode, ..none })?;
    }
    Ok(())
}
