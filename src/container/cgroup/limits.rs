//! Applying limits to a cgroup.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::AsFd;
use std::path::Path;

use super::{Cgroup, Tree, owner};
use crate::error::{Doing, Result, unsupported};
use crate::plan::resources::owner::Owner;
use crate::plan::resources::{Absence, CgroupPlan, Write, memory};
use crate::sys::fs::{self, Lookup, OFlag};
use crate::sys::{Call, Errno, SysError, bpf};

/// Those that are needed, each with a property that needs it.
type Controllers<'a> = BTreeMap<&'a str, &'static str>;

/// The controllers that the kernel lets a cgroup with processes hand down.
const OF_THREADS: [&str; 3] = ["cpu", "cpuset", "pids"];

/// Writes the limits, attaches the device program, gives it its owner: of a cgroup that init is not in yet, and that has
/// the controllers that the limits need.
pub(super) fn apply(cgroup: &Cgroup, plan: &CgroupPlan) -> Result<()> {
    if plan.checked_limit.is_some() {
        // One that was there before may still have pages of files.
        let used = cgroup.read("memory.current")?.trim_end().parse().unwrap_or(0);
        memory::check_usage(plan.checked_limit, used)?;
    }
    for limit in plan.writes.iter().filter(|write| !write.is_late()) {
        write(cgroup, limit)?;
    }
    if let Some(program) = &plan.devices {
        let program = bpf::load_device_program(program).doing(|| "linux.resources.devices")?;
        bpf::attach_device_program(cgroup.dir(), program.as_fd(), bpf::Attach::Beside)
            .doing(|| "linux.resources.devices")?;
    }
    match plan.owner {
        Some(Owner::Host(uid)) => owner::give(cgroup, uid).doing(|| "its owner"),
        Some(Owner::Joined(_)) | None => Ok(()),
    }
}

/// Enables the controllers that these limits need.
pub(super) fn enable_for(tree: &Tree, path: &Path, writes: &[Write]) -> Result<()> {
    let wanted = controllers(writes.iter().filter(|write| !write.is_no_limit()));
    let needed = controllers(writes.iter().filter(|write| !write.may_be_absent()));
    match enable(tree, path, &wanted) {
        // It may be one of those that change nothing: without them all is as they would have it.
        Err(_) if needed.len() < wanted.len() => enable(tree, path, &needed),
        enabled => enabled,
    }
}

fn controllers<'w>(writes: impl Iterator<Item = &'w Write>) -> Controllers<'w> {
    writes.filter_map(|write| Some((write.controller.as_deref()?, write.property))).collect()
}

/// Which of the two is written to, if there is another one.
pub(super) fn write(cgroup: &Cgroup, limit: &Write) -> Result<()> {
    let what = || {
        let controller = limit.controller.iter().map(|name| format!(": controller {name}"));
        format!("linux.resources.{}{}", limit.property, controller.collect::<String>())
    };
    let missing = |error: SysError, file: &str| {
        Err(unsupported(format!("{error}; this kernel has no {file}"))).doing(what)
    };
    match (cgroup.write(&limit.file, &limit.value), &limit.absence) {
        (Err(error), absence) if error.errno == Errno::ENOENT => match absence {
            Absence::Fine => Ok(()),
            Absence::Error => missing(error, &limit.file),
            Absence::Instead { file, value } => match cgroup.write(file, value) {
                Err(error) if error.errno == Errno::ENOENT => {
                    missing(error, &format!("{file}, nor {}", limit.file))
                }
                written => written.doing(what),
            },
        },
        (written, _) => written.doing(what),
    }
}

/// A cgroup has the controllers that all above it hand down in cgroup.subtree_control.
fn enable(tree: &Tree, path: &Path, wanted: &Controllers<'_>) -> Result<()> {
    if wanted.is_empty() {
        return Ok(());
    }
    let parent = path.parent().unwrap_or(Path::new(""));
    if missing(tree, parent, "cgroup.subtree_control", wanted)?.is_empty() {
        return Ok(());
    }
    let absent = missing(tree, Path::new(""), "cgroup.controllers", wanted)?;
    if let Some((controller, property)) = absent.first() {
        return Err(unsupported(format!(
            "linux.resources.{property}: controller {controller} is not in the cgroup2 tree at {:?}; \
             leave the limit out, or {}",
            tree.mounted_at,
            why_absent(controller)
        )));
    }
    let mut from_root: Vec<&Path> = parent.ancestors().collect();
    from_root.reverse();
    for ancestor in from_root {
        let missing = missing(tree, ancestor, "cgroup.subtree_control", wanted)?;
        let controllers: Vec<&str> = missing.into_iter().map(|(controller, _)| controller).collect();
        if let Some(controller) = controllers.iter().find(|controller| OF_THREADS.contains(controller)) {
            refuse_occupied(tree, ancestor, controller)?;
        }
        // At once, for each write has the kernel go over all that is below; if that fails, one by one tells which it is.
        if !controllers.is_empty() && hand_down(tree, ancestor, &controllers).is_err() {
            controllers.iter().try_for_each(|controller| hand_down(tree, ancestor, &[controller]))?;
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

/// Why the tree lacks a controller, as a remedy: cgroups(7), "/proc/cgroups".
fn why_absent(controller: &str) -> String {
    let v1 = if controller == "io" { "blkio" } else { controller };
    let table = std::fs::read_to_string("/proc/cgroups").unwrap_or_default();
    let row =
        table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).find(|row| row[..1] == [v1]);
    match row.as_deref() {
        Some([_, _, _, "0"]) => {
            format!("start the kernel without cgroup_disable={v1}")
        }
        Some([_, hierarchy, ..]) if *hierarchy != "0" => {
            format!("give it to cgroup v2 (kernel parameter cgroup_no_v1={v1})")
        }
        _ => format!(
            "use a kernel that has it; in a cgroup namespace, somebody above has to hand it down \
             (echo +{controller} >cgroup.subtree_control)"
        ),
    }
}

/// A cgroup with processes hands these down all the same, and what is below takes no process from then on:
/// cgroup-v2.rst, "Threads". The root may have both.
fn refuse_occupied(tree: &Tree, dir: &Path, controller: &str) -> Result<()> {
    let path = dir.join("cgroup.procs");
    let what = || {
        format!("enabling controller {controller} in {:?}", tree.shown(&dir.join("cgroup.subtree_control")))
    };
    if dir.as_os_str().is_empty() {
        return Ok(());
    }
    let file = fs::openat2(&tree.root, &path, OFlag::O_RDONLY, 0, Lookup::Strict)
        .call(|| "openat2(\"cgroup.procs\")")
        .doing(what)?;
    match fs::read_all(file, 16 << 20).doing(what)?.is_empty() {
        true => Ok(()),
        false => Err(unsupported("that cgroup has processes of its own: move them to one below")).doing(what),
    }
}

fn hand_down(tree: &Tree, dir: &Path, controllers: &[&str]) -> Result<()> {
    let path = dir.join("cgroup.subtree_control");
    let controller = controllers.join(" +");
    let what = || format!("enabling controller {controller} in {:?}", tree.shown(&path));
    let file = fs::openat2(&tree.root, &path, OFlag::O_WRONLY, 0, Lookup::Strict).call(|| "openat2()");
    let written = file.and_then(|file| fs::write_all(file, format!("+{controller}").as_bytes()));
    let above = || tree.shown(&dir.parent().unwrap_or(Path::new("")).join("cgroup.subtree_control"));
    let remedy = match &written {
        Err(error) if error.errno == Errno::EBUSY => {
            "that cgroup has processes of its own: move them to one below".to_owned()
        }
        Err(error) if error.errno == Errno::ENOENT => {
            format!("the cgroup above does not hand it down: echo +{controller} >{}", above().display())
        }
        Err(error) if matches!(error.errno, Errno::EACCES | Errno::EPERM) => format!(
            "this part of the tree is not delegated to this user: let systemd do it (Delegate={controller} in a \
             drop-in of user@.service), or root: echo +{controller} >{}",
            tree.shown(&path).display()
        ),
        _ => return written.doing(what),
    };
    written.map_err(|error| unsupported(format!("{error}; {remedy}"))).doing(what)
}
