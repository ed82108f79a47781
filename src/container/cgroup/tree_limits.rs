//! Why a cgroup can't be made: cgroup-v2.rst, "cgroup.max.descendants", "cgroup.max.depth".

use std::os::fd::AsFd;
use std::path::Path;

use super::Tree;
use crate::sys::fs::{self, Lookup, OFlag};
use crate::sys::{Errno, SysError};

impl Tree {
    /// With what the errno of mkdir(2) means here.
    pub(super) fn explain_mkdir(&self, path: &Path, error: SysError) -> anyhow::Error {
        let hint = match error.errno {
            Errno::EAGAIN => self.limit_reached(path),
            Errno::ENOSPC => "the kernel has no cgroup ids left".to_owned(),
            Errno::EROFS => "the cgroup2 tree is mounted read-only".to_owned(),
            Errno::EACCES | Errno::EPERM => "this part of the tree is not delegated to this user".to_owned(),
            _ => return error.into(),
        };
        SysError { call: format!("{}; {hint}", error.call), ..error }.into()
    }

    /// The nearest limit above that has no place for one more, with its value and the count.
    fn limit_reached(&self, path: &Path) -> String {
        for (depth, above) in path.ancestors().enumerate().skip(1) {
            let below = self.text(above, "cgroup.stat").and_then(|stat| count_below(&stat));
            if let (Some(limit), Some(below)) = (self.number(above, "cgroup.max.descendants"), below) {
                if below >= limit {
                    return format!(
                        "{:?} is {limit}, and {below} cgroups are below it: raise it, or remove some",
                        self.shown(&above.join("cgroup.max.descendants"))
                    );
                }
            }
            if let Some(limit) = self.number(above, "cgroup.max.depth").filter(|limit| depth > *limit) {
                return format!(
                    "{:?} is {limit}, and this one would be {depth} below it: raise it, or choose another linux.cgroupsPath",
                    self.shown(&above.join("cgroup.max.depth"))
                );
            }
        }
        "a cgroup.max.descendants or cgroup.max.depth above it is reached".to_owned()
    }

    /// `None` for `max`, and where there is no such file: the root has none.
    fn number(&self, dir: &Path, file: &str) -> Option<usize> {
        self.text(dir, file)?.trim().parse().ok()
    }

    fn text(&self, dir: &Path, file: &str) -> Option<String> {
        text_below(&self.root, &dir.join(file))
    }
}

/// What a file of a cgroup says; `None` if it is not there, as most are not in the root.
pub(super) fn text_below(dir: impl AsFd, file: &Path) -> Option<String> {
    let opened = fs::openat2(dir, file, OFlag::O_RDONLY, 0, Lookup::Strict).ok()?;
    let bytes = fs::read_all(opened, 64 << 10).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// cgroup-v2.rst, "cgroup.stat".
fn count_below(stat: &str) -> Option<usize> {
    stat.lines().find_map(|line| line.strip_prefix("nr_descendants "))?.parse().ok()
}

#[cfg(test)]
mod tests {
    #[test]
    fn cgroups_that_are_dying_do_not_count() {
        let stat = "nr_descendants 3\nnr_subsys_cpuset 1\nnr_dying_descendants 17\n";
        assert_eq!(super::count_below(stat), Some(3));
        assert_eq!(super::count_below("nr_dying_descendants 17\n"), None);
    }
}
