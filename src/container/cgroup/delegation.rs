//! Where an ordinary user may make cgroups: cgroups(7), "Cgroup delegation".

use std::path::{Path, PathBuf};

use nix::fcntl::AtFlags;
use nix::unistd::{AccessFlags, faccessat};

use super::Tree;
use crate::error::Result;
use crate::proc::Proc;

impl Tree {
    /// The cgroup in which a user's containers can be: the one above his own, which has no processes of its own and
    /// can hand controllers down, or else his own. `None` where neither is delegated to him.
    pub fn delegated(&self, proc: &Proc) -> Result<Option<PathBuf>> {
        let own = proc.cgroup()?;
        let candidates = own.parent().into_iter().chain([own.as_path()]);
        Ok(candidates.map(Path::to_owned).find(|path| self.is_delegated(path)))
    }

    /// Who moves a process needs to write to `cgroup.procs` of the cgroup above both places.
    fn is_delegated(&self, path: &Path) -> bool {
        let may = |path: &Path, access| faccessat(&self.root, path, access, AtFlags::AT_EACCESS).is_ok();
        // The root of the tree is a delegated one in a cgroup namespace.
        let path = &Path::new(".").join(path);
        may(path, AccessFlags::W_OK | AccessFlags::X_OK) && may(&path.join("cgroup.procs"), AccessFlags::W_OK)
    }
}
