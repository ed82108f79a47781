//! Applying limits to a cgroup that has no process yet.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::{Cgroup, Tree, owner};
use crate::error::{Doing, Result, unsupported};
use crate::plan::resources::owner::Owner;
use crate::plan::resources::{Absence, CgroupPlan, Write};
use crate::sys::fs::{self, Lookup, OFlag};
use crate::sys::{Call, Errno, bpf};

/// Those that are needed, each with a property that needs it.
type Controllers<'a> = BTreeMap<&'a str, &'static str>;

/// Enables the controllers that the limits need, writes the limits, attaches the device program, gives it its owner.
pub(super) fn apply(tree: &Tree, cgroup: &Cgroup, plan: &CgroupPlan) -> Result<()> {
    let limited = plan.writes.iter().filter(|write| !write.is_no_limit());
    let controllers: Controllers<'_> =
        limited.filter_map(|write| Some((write.controller.as_deref()?, write.property))).collect();
    if !controllers.is_empty() {
        enable(tree, &plan.path, &controllers)?;
    }
    for limit in plan.writes.iter().filter(|write| !write.is_late()) {
        write(cgroup, limit)?;
    }
    if let Some(program) = &plan.devices {
        let program = bpf::load_device_program(program).doing(|| "linux.resources.devices")?;
        bpf::attach_device_program(cgroup.dir(), std::os::fd::AsFd::as_fd(&program))
            .doing(|| "linux.resources.devices")?;
    }
    match plan.owner {
        Some(Owner::Host(uid)) => owner::give(cgroup, uid).doing(|| "its owner"),
        Some(Owner::Joined(_)) | None => Ok(()),
    }
}

/// Writes the limits that are for after the clone.
pub(super) fn apply_late(cgroup: &Cgroup, plan: &CgroupPlan) -> Result<()> {
    plan.writes.iter().filter(|write| write.is_late()).try_for_each(|limit| write(cgroup, limit))
}

fn write(cgroup: &Cgroup, limit: &Write) -> Result<()> {
    let what = || {
        let controller = limit.controller.iter().map(|name| format!(": controller {name}"));
        format!("linux.resources.{}{}", limit.property, controller.collect::<String>())
    };
    match cgroup.write(&limit.file, &limit.value) {
        // Where there is no controller there is no limit, either.
        Err(error) if error.errno == Errno::ENOENT && limit.is_no_limit() => Ok(()),
        Err(error) if error.errno == Errno::ENOENT && limit.absence == Absence::Fine => Ok(()),
        Err(error) if error.errno == Errno::ENOENT => {
            Err(unsupported(format!("{error}; this kernel has no {}", limit.file))).doing(what)
        }
        written => written.doing(what),
    }
}

/// A cgroup has the controllers that all above it hand down in cgroup.subtree_control.
fn enable(tree: &Tree, path: &Path, wanted: &Controllers<'_>) -> Result<()> {
    let parent = path.parent().unwrap_or(Path::new(""));
    if missing(tree, parent, "cgroup.subtree_control", wanted)?.is_empty() {
        return Ok(());
    }
    let absent = missing(tree, Path::new(""), "cgroup.controllers", wanted)?;
    if let Some((controller, property)) = absent.first() {
        return Err(unsupported(format!(
            "linux.resources.{property}: controller {controller} is not in the cgroup2 tree at {:?}; \
             leave the limit out, or give it to cgroup v2 (kernel parameter cgroup_no_v1={controller})",
            tree.mounted_at
        )));
    }
    let mut from_root: Vec<&Path> = parent.ancestors().collect();
    from_root.reverse();
    for ancestor in from_root {
        for (controller, _) in missing(tree, ancestor, "cgroup.subtree_control", wanted)? {
            hand_down(tree, ancestor, controller)?;
        }
    }
    Ok(())
}

fn missing<'a>(
    tree: &Tree,
    dir: &Path,
    file: &str,
    wanted: &Controllers<'a>,
) -> Result<Vec<(&'a str, &'static str)>> {
    let path = dir.join(file);
    let what = || format!("{:?}", tree.shown(&path));
    let opened = fs::openat2(&tree.root, &path, OFlag::O_RDONLY, 0, Lookup::Strict)
        .call(|| "openat2()")
        .doing(what)?;
    let text = fs::read_all(opened, 4096).doing(what)?;
    let text = String::from_utf8_lossy(&text).into_owned();
    let has: BTreeSet<&str> = text.split_whitespace().collect();
    Ok(wanted.iter().map(|(c, property)| (*c, *property)).filter(|(c, _)| !has.contains(c)).collect())
}

fn hand_down(tree: &Tree, dir: &Path, controller: &str) -> Result<()> {
    let path = dir.join("cgroup.subtree_control");
    let what = || format!("enabling controller {controller} in {:?}", tree.shown(&path));
    let file = fs::openat2(&tree.root, &path, OFlag::O_WRONLY, 0, Lookup::Strict)
        .call(|| "openat2()")
        .doing(what)?;
    match fs::write_all(file, format!("+{controller}").as_bytes()) {
        Err(error) if error.errno == Errno::EBUSY => {
            Err(unsupported(format!("{error}; that cgroup has processes of its own: move them to one below")))
                .doing(what)
        }
        Err(error) if error.errno == Errno::ENOENT => {
            Err(unsupported(format!("{error}; the cgroup above does not hand it down"))).doing(what)
        }
        written => written.doing(what),
    }
}
