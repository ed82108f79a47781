//! Runs in: host. The root file system that a container is restored in, and what of the host is mounted there.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use crate::error::{Doing, Result};
use crate::init::{Own, Sources, cut_root};
use crate::launch::leave_rootfs;
use crate::plan::mounts::{MountStep, Source};
use crate::plan::{DeviceNodes, Plan};
use crate::proc::{self, path_of};
use crate::rootpath::{InRootfs, Rootfs};
use crate::sys::fs::{self, OFlag};
use crate::sys::mount::{self, Depth};

/// The root file system, where the host has it.
pub(super) struct HostRoot {
    dir: Rootfs,
    /// A detached copy of it, which follows the host if it is to.
    pub(super) mount: OwnedFd,
    /// What of the host `create` would take as well.
    pub(super) sources: Sources,
}

impl HostRoot {
    pub(super) fn open(plan: &Plan) -> Result<Self> {
        let sources = Sources::open(plan)?;
        let open = || -> Result<_> {
            // Which is now the rootfs.
            let dir = fs::open(".", OFlag::O_PATH | OFlag::O_DIRECTORY)?;
            let mount = copy(plan, dir.as_fd())?;
            leave_rootfs()?;
            Ok((Rootfs::new(dir), mount))
        };
        let (dir, mount) = open().doing(|| format!("rootfs {:?}", plan.rootfs.path))?;
        Ok(Self { dir, mount, sources })
    }

    /// Another detached copy of it.
    pub(super) fn copy(&self, plan: &Plan) -> Result<OwnedFd> {
        copy(plan, self.dir.dir()).doing(|| "rootfs")
    }

    /// CRIU makes no mount points, and the root file system may be a new one. What is below a file system that is
    /// itself restored is restored with it.
    pub(super) fn make_mount_points(&self, plan: &Plan) -> Result<()> {
        let steps = &plan.rootfs.mounts;
        for (number, step) in steps.iter().enumerate() {
            let covering =
                steps[..number].iter().rev().find_map(|other| Some((other, step.at.within(&other.at)?)));
            let made = match covering {
                None => make_point(&self.dir, &step.at, step),
                Some((MountStep { source: Source::Bind { from, .. }, .. }, at)) if at.name().is_some() => {
                    make_point(&Rootfs::new(fs::open(from, OFlag::O_PATH)?), &at, step)
                }
                Some(_) => Ok(()),
            };
            made.doing(|| step.to_string())?;
        }
        Ok(())
    }

    /// What CRIU finds of the host's, by the names that `checkpoint` has given it: where it was mounted.
    pub(super) fn external(&self, plan: &Plan, own: &Own) -> Result<Vec<String>> {
        let mut external = Vec::new();
        let host = proc::mounts()?;
        for step in &plan.rootfs.mounts {
            let (from, depth) = match &step.source {
                // CRIU does not follow a link that is the source itself.
                Source::Bind { from, depth, .. } => {
                    (proc::real_path(from).doing(|| step.to_string())?, *depth)
                }
                other => match own.shown_by(other) {
                    Some(path) => (path.to_owned(), Depth::Top),
                    None => continue,
                },
            };
            let below = host.iter().filter(|mount| depth == Depth::Recursive && mount.at != from);
            let below = below.filter_map(|mount| mount.at.strip_prefix(&from).ok());
            for at in self.names(&step.at) {
                external.push(format!("mnt[{at}]:{}", from.display()));
                external.extend(
                    below
                        .clone()
                        .map(|rest| format!("mnt[{at}/{}]:{}", rest.display(), from.join(rest).display())),
                );
            }
        }
        external.extend(plan.rootfs.masked.iter().map(|at| format!("mnt[{at}]:/dev/null")));
        if plan.rootfs.device_nodes == DeviceNodes::Bound {
            external.extend(plan.rootfs.devices.iter().map(|device| format!("mnt[{0}]:{0}", device.at)));
        }
        Ok(external)
    }

    /// As the configuration has it, and where links in the root file system lead: the kernel knows the latter.
    fn names(&self, at: &InRootfs) -> Vec<String> {
        let mut names = vec![at.to_string()];
        let found = self.dir.find(at).ok().flatten();
        if let (Some(Ok(real)), Ok(root)) = (found.map(|fd| path_of(fd.as_fd())), path_of(self.dir.dir())) {
            let below = real.strip_prefix(&root).ok();
            let name = below.map(|below| Path::new("/").join(below).display().to_string());
            names.extend(name.filter(|name| *name != names[0]));
        }
        names
    }
}

fn copy(plan: &Plan, dir: BorrowedFd<'_>) -> Result<OwnedFd> {
    let mount = mount::clone_fd(dir, Depth::Recursive)?;
    cut_root(plan, &mount)?;
    Ok(mount)
}

fn make_point(root: &Rootfs, at: &InRootfs, step: &MountStep) -> Result<()> {
    let is_dir = match &step.source {
        Source::Bind { from, .. } => {
            fs::file_type(&fs::stat(fs::open(from, OFlag::O_PATH)?)?) == libc::S_IFDIR
        }
        _ => true,
    };
    match is_dir {
        true => root.make_dir(at).map(drop)?,
        false => root.make_file(at).map(drop)?,
    }
    Ok(())
}
