//! Runs in: init, before the pivot.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::additions::Additions;
use super::{Inherited, devices, mounts, owns_mounts};
use crate::error::{Doing, Result, best_effort};
use crate::plan::Plan;
use crate::plan::mounts::{MountStep, Opener, Source};
use crate::plan::options::Propagation;
use crate::rootpath::{InRootfs, Rootfs};
use crate::spec::oci::LinuxNamespaceType;
use crate::sys::SysError;
use crate::sys::mount::{self, Depth, MountAttr};

/// The container's tree, attached at the rootfs's path: hooks look for it there.
#[derive(Debug)]
pub(super) struct Assembled {
    /// Its root.
    pub(super) root: Rootfs,
    /// The container's own devpts, if it has one.
    pub(super) devpts: Option<OwnedFd>,
    /// Its proc and sysfs file systems, by where they are.
    kernel: Vec<(InRootfs, Rootfs)>,
    additions: Additions,
}

impl Assembled {
    /// What is at a path; `None` where there is nothing. In proc and sysfs it is looked up from these
    /// themselves: who renames directories of the rootfs meanwhile can't make it seem not to be there.
    pub(super) fn find(&self, at: &InRootfs) -> Result<Option<OwnedFd>, SysError> {
        let own = self.kernel.iter().rev().find_map(|(mounted, fs)| Some((fs, at.within(mounted)?)));
        match own {
            Some((fs, rest)) => fs.find(&rest),
            None => self.root.find(at),
        }
    }

    /// Attaches a mount that only the container is to see.
    pub(super) fn attach(&self, mount: BorrowedFd<'_>, target: BorrowedFd<'_>) -> Result<()> {
        self.additions.attach(mount, &self.root, target)
    }
}

/// Attaches the root and mounts everything in it.
pub(super) fn assemble(given: &mut Inherited<'_>) -> Result<Assembled> {
    let plan = given.plan;
    if owns_mounts(plan) {
        // Before the first mount: this copy of the host's tree must not tell the host anything.
        mount::set_attr_everywhere(&cut(plan))?;
    }
    let tree = given.sources.files()?.rootfs.try_clone()?;
    cut_root(plan, &tree).doing(|| format!("rootfs {:?}", plan.rootfs.path))?;
    let additions = std::mem::take(&mut given.sources.additions);
    // The current directory is the rootfs: the host's side saw to it, and so no path is looked up here,
    // which this user namespace may not be allowed to.
    match plan.namespaces.joins(LinuxNamespaceType::Mount) {
        true => additions.attach_root(tree.as_fd()),
        false => mount::attach_on_cwd(tree.as_fd()).map_err(Into::into),
    }
    .doing(|| format!("rootfs {:?}", plan.rootfs.path))?;
    let root = Rootfs::new(tree);
    let files = given.sources.files()?;
    let found = (std::mem::take(&mut files.found), files.is_suspect);
    let mounted = mounts::perform(given, (&root, &additions), found)?;
    devices::make(&plan.rootfs, &root, &given.sources.files()?.devices, &additions)?;
    if let Some(process) = &plan.process {
        make_working_directory(&root, &process.cwd);
    }
    mounted.finish()?;
    Ok(Assembled { root, devpts: mounted.devpts, kernel: mounted.kernel, additions })
}

/// As crun and runc do, and orchestrators rely on. Where it can't be made, entering it tells why.
fn make_working_directory(root: &Rootfs, cwd: &InRootfs) {
    if cwd.name().is_some() && matches!(root.find(cwd), Ok(None)) {
        best_effort("make the working directory", root.make_dir(cwd));
    }
}

/// A bind that is to follow the host has to be copied from what still does.
fn cut(plan: &Plan) -> MountAttr {
    let follows = |step: &MountStep| {
        matches!(step.source, Source::Bind { by: Opener::Init, .. })
            && step.propagation != [Propagation::NONE]
    };
    let mode = if plan.rootfs.mounts.iter().any(follows) { libc::MS_SLAVE } else { libc::MS_PRIVATE };
    MountAttr { propagation: mode, ..MountAttr::default() }
}

/// What the copy of the rootfs still shares with the host ends here, unless it is to follow the host.
/// A shared root comes later, for pivot_root(2) takes none: see `pivot`.
pub fn cut_root(plan: &Plan, tree: &OwnedFd) -> Result<()> {
    let wanted = plan.rootfs.propagation;
    let mode = if wanted.mode == libc::MS_SLAVE { libc::MS_SLAVE } else { libc::MS_PRIVATE };
    let attr = MountAttr { propagation: mode, ..MountAttr::default() };
    mount::set_attr(tree.as_fd(), Depth::Recursive, &attr).map_err(Into::into)
}
