//! `linux.cgroupsPath`: config-linux.md, "Cgroups Path".

use std::path::{Component, Path, PathBuf};

use crate::error::{Doing, Result, invalid, unsupported};
use crate::spec::oci::Linux;

/// Whose choice a cgroup's path is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chosen {
    /// The configuration's: an absolute `cgroupsPath`.
    ByConfiguration,
    /// This runtime's own; an ordinary user's cgroups are where he has been delegated some.
    ByRuntime,
}

/// Where the cgroup is, relative to the root of the cgroup2 tree, and whose choice that is.
pub(super) fn plan(linux: &Linux, id: &str) -> Result<(PathBuf, Chosen)> {
    let given = linux.cgroups_path().as_deref();
    let chosen = match given {
        Some(path) if path.is_absolute() => Chosen::ByConfiguration,
        _ => Chosen::ByRuntime,
    };
    Ok((path(given, id).doing(|| "linux.cgroupsPath")?, chosen))
}

/// Absolute paths start at the root of the tree; relative ones and the default are in `minidocker-oci`.
fn path(given: Option<&Path>, id: &str) -> Result<PathBuf> {
    const HOME: &str = "minidocker-oci";
    let given = match given.filter(|path| !path.as_os_str().is_empty()) {
        None => return Ok(Path::new(HOME).join(id)),
        Some(path) if path.is_absolute() => path.to_owned(),
        Some(path) if path.to_string_lossy().split(':').count() == 3 => {
            return Err(unsupported(format!("{path:?} is for the systemd driver, which is not there yet")));
        }
        Some(path) => Path::new("/").join(HOME).join(path),
    };
    let mut clean = PathBuf::new();
    for component in given.components() {
        match component {
            Component::Normal(name) => clean.push(name),
            Component::RootDir | Component::CurDir => {}
            Component::ParentDir | Component::Prefix(_) => {
                return Err(invalid(format!("{given:?} has a \"..\"")));
            }
        }
    }
    match clean.as_os_str().is_empty() {
        true => Err(invalid(format!("{given:?} is the root of the tree, which is everybody's"))),
        false if given.to_string_lossy().contains('\0') => Err(invalid(format!("{given:?} has a NUL byte"))),
        false => Ok(clean),
    }
}

#[cfg(test)]
mod tests {
    use super::path;
    use std::path::Path;

    #[test]
    fn paths_stay_in_the_tree() {
        assert_eq!(path(None, "c").unwrap(), Path::new("minidocker-oci/c"));
        assert_eq!(path(Some(Path::new("/a//b/.")), "c").unwrap(), Path::new("a/b"));
        assert_eq!(path(Some(Path::new("a/b")), "c").unwrap(), Path::new("minidocker-oci/a/b"));
        for bad in ["/", "/a/../../b", "../x", "x:y:z"] {
            assert!(path(Some(Path::new(bad)), "c").is_err(), "{bad}");
        }
    }
}
