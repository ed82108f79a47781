//! `linux.cgroupsPath`: config-linux.md, "Cgroups Path". What it means is up to the driver.

use std::path::{Component, Path, PathBuf};

use crate::error::{Doing, Result, invalid};
use crate::spec::oci::Linux;

/// Whose choice a cgroup's path is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chosen {
    /// The configuration's: an absolute `cgroupsPath`, or the systemd driver's form of it.
    ByConfiguration,
    /// This runtime's own; an ordinary user's cgroups are where he has been delegated some.
    ByRuntime,
}

/// What containers are in that say nothing else: a part of the tree that is this program's own, and removed when nothing
/// is in it; and the beginning of a scope's name.
pub const HOME: &str = "minidocker-oci";

/// The cgroupfs driver: where the cgroup is, relative to the root of the cgroup2 tree, and whose choice that is.
pub(super) fn path(linux: &Linux, id: &str) -> Result<(PathBuf, Chosen)> {
    let given = linux.cgroups_path().as_deref();
    let chosen = match given {
        Some(path) if path.is_absolute() => Chosen::ByConfiguration,
        _ => Chosen::ByRuntime,
    };
    Ok((path_of(given, id).doing(|| "linux.cgroupsPath")?, chosen))
}

/// Absolute paths start at the root of the tree; relative ones and the default are in `minidocker-oci`.
fn path_of(given: Option<&Path>, id: &str) -> Result<PathBuf> {
    let given = match given.filter(|path| !path.as_os_str().is_empty()) {
        None => return Ok(Path::new(HOME).join(id)),
        Some(path) if path.is_absolute() => path.to_owned(),
        Some(path) if path.to_string_lossy().split(':').count() == 3 => {
            let text = format!(
                "{path:?} is in the form slice:prefix:name of the systemd driver; give --systemd-cgroup, or a path such as /a/b"
            );
            return Err(invalid(text));
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

/// The systemd driver: the slice, if one is named, and the name of the scope in it.
pub(super) fn scope(linux: &Linux, id: &str) -> Result<(Option<String>, String)> {
    scope_of(linux.cgroups_path().as_deref(), id).doing(|| "linux.cgroupsPath")
}

/// `slice:prefix:name`: the scope is `prefix-name.scope`.
fn scope_of(given: Option<&Path>, id: &str) -> Result<(Option<String>, String)> {
    let Some(given) = given.filter(|path| !path.as_os_str().is_empty()) else {
        return unit_name(format!("{HOME}-{}.scope", escaped(id))).map(|name| (None, name));
    };
    let text = given.to_str().unwrap_or_default();
    let parts: Vec<&str> = text.split(':').collect();
    let [slice, prefix, name] = parts.as_slice() else {
        return Err(invalid(format!(
            "{given:?} is not in the form slice:prefix:name, which the systemd driver expects"
        )));
    };
    let slice = match *slice {
        "" => None,
        slice => Some(slice_name(slice)?),
    };
    Ok((slice, unit_name(format!("{prefix}-{name}.scope"))?))
}

/// systemd.unit(5): what a name of a unit that is no template can have.
fn unit_name(name: String) -> Result<String> {
    const LONGEST: usize = 255;
    let plain = |b: u8| b.is_ascii_alphanumeric() || b":-_.\\".contains(&b);
    match name.len() <= LONGEST && name.bytes().all(plain) {
        true => Ok(name),
        false => Err(invalid(format!(
            "{name:?} is not the name of a unit: letters, digits and :-_.\\ up to {LONGEST} bytes"
        ))),
    }
}

/// systemd.slice(5): a dash is for a slice in a slice, and a lone one is the root.
fn slice_name(slice: &str) -> Result<String> {
    let parts =
        slice.strip_suffix(".slice").filter(|stem| *stem == "-" || stem.split('-').all(|p| !p.is_empty()));
    match parts {
        Some(_) => unit_name(slice.to_owned()),
        None => {
            Err(invalid(format!("{slice:?} is not the name of a slice, such as a.slice or a-b.slice in it")))
        }
    }
}

/// The cgroup in a scope that is the container's: so crun calls it, and CRI-O looks for that name.
///
/// podman and CRI-O hear from conmon that memory has run out, and conmon watches the memory.events of the cgroup that init
/// is in, until it has seen an event there that is no kill. The kernel counts in vain before it kills: at the limit that is
/// reached. That is the scope's, for what the kernel needs for a cgroup is memory of the one above it; so the first event
/// here is the kill. systemd removes both as soon as nobody is left.
const SUBGROUP: &str = "container";

/// `None` if the scope's own is the container's.
pub(super) fn subgroup(given: Option<&str>) -> Result<Option<String>> {
    match given {
        None => Ok(Some(SUBGROUP.to_owned())),
        Some("") => Ok(None),
        Some(name) => subgroup_name(name).map(Some),
    }
}

/// One component that can't be taken for a file of a cgroup, now or in a kernel to come: cgroup-v2.rst, "Naming".
fn subgroup_name(name: &str) -> Result<String> {
    const LONGEST: usize = 255;
    /// No file of a controller ends so, and of systemd's units none either.
    const NO_FILES: [&str; 6] = ["job", "service", "slice", "unit", "workload", "scope"];
    let is_controllers =
        |stem: &str| !stem.starts_with('_') && stem.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    let is_file = name.split_once('.').is_some_and(|(stem, _)| is_controllers(stem))
        && !NO_FILES.iter().any(|end| name.ends_with(end));
    let plain = !name.starts_with('.') && !name.contains(|c: char| c == '/' || c.is_control());
    match plain && !is_file && name.len() <= LONGEST {
        true => Ok(name.to_owned()),
        false => Err(invalid(format!(
            "{name:?} is not the name of a cgroup: one component of up to {LONGEST} bytes that does not begin with a \
             dot, nor is as the files of a cgroup are (memory.x)"
        ))),
    }
}

/// An id has one character that a unit's name can't have: systemd.unit(5), "String Escaping for Inclusion in Unit
/// Names".
fn escaped(id: &str) -> String {
    id.replace('+', r"\x2b")
}

#[cfg(test)]
mod tests {
    use super::{path_of, scope_of, subgroup};
    use std::path::Path;

    #[test]
    fn paths_stay_in_the_tree() {
        assert_eq!(path_of(None, "c").unwrap(), Path::new("minidocker-oci/c"));
        assert_eq!(path_of(Some(Path::new("/a//b/.")), "c").unwrap(), Path::new("a/b"));
        assert_eq!(path_of(Some(Path::new("a/b")), "c").unwrap(), Path::new("minidocker-oci/a/b"));
        for bad in ["/", "/a/../../b", "../x", "x:y:z"] {
            assert!(path_of(Some(Path::new(bad)), "c").is_err(), "{bad}");
        }
    }

    fn scope(text: &str) -> Result<(Option<String>, String), String> {
        scope_of(Some(Path::new(text)), "c").map_err(|error| error.to_string())
    }

    /// As crun 1.28 and runc 1.3.6 read them.
    #[test]
    fn a_scope_is_in_a_slice() {
        let named = |slice: &str, name: &str| Ok((Some(slice.to_owned()), name.to_owned()));
        assert_eq!(scope("machine.slice:lib:abc"), named("machine.slice", "lib-abc.scope"));
        assert_eq!(scope("a-b-c.slice:li-b:x.y"), named("a-b-c.slice", "li-b-x.y.scope"));
        assert_eq!(scope("-.slice::abc"), named("-.slice", "-abc.scope"));
        assert_eq!(scope(":lib:x.slice"), Ok((None, "lib-x.slice.scope".to_owned())));
        assert_eq!(scope_of(None, "a+b").unwrap(), (None, r"minidocker-oci-a\x2bb.scope".to_owned()));
        assert_eq!(scope(""), Ok((None, "minidocker-oci-c.scope".to_owned())));
    }

    #[test]
    fn the_form_that_is_not_the_drivers_is_told() {
        for bad in ["/abs/path", "rel/path", "a:b", "a:b:c:d"] {
            let error = scope(bad).unwrap_err();
            assert!(error.contains("slice:prefix:name, which the systemd driver expects"), "{error}");
        }
        let error = path_of(Some(Path::new("a.slice:b:c")), "c").unwrap_err().to_string();
        assert!(error.contains("give --systemd-cgroup, or a path"), "{error}");
    }

    #[test]
    fn the_cgroup_in_a_scope_has_a_name_that_no_file_of_a_cgroup_has() {
        let named = |name: Option<&str>| subgroup(name).map_err(|error| error.to_string());
        assert_eq!(named(None), Ok(Some("container".into())));
        assert_eq!(named(Some("")), Ok(None));
        for good in
            ["x", "a-b", "a b", "app.slice", "x.scope", "A.b", "_memory.max", "é", "a-b.c", &"x".repeat(255)]
        {
            assert_eq!(named(Some(good)), Ok(Some(good.into())));
        }
        for bad in ["cgroup.procs", "memory.max", "hugetlb.2MB.max", "novel_one.x", "irq.pressure", "memory."]
        {
            assert!(named(Some(bad)).unwrap_err().contains("not the name of a cgroup"), "{bad}");
        }
        for bad in [".", "..", "...", ".x", "/", "a/b", "/a", "a/", "a\0", "a\nb", "\u{7f}", &"x".repeat(256)]
        {
            assert!(named(Some(bad)).unwrap_err().contains("not the name of a cgroup"), "{bad:?}");
        }
    }

    #[test]
    fn what_systemd_would_not_take_is_refused_before() {
        for slice in
            ["foo", "a--b.slice", "-a.slice", "a-.slice", ".slice", "a/b.slice", "a b.slice", "..slice"]
        {
            let error = scope(&format!("{slice}:lib:x"));
            assert!(slice == "..slice" || error.is_err(), "{slice}: {error:?}");
        }
        for name in ["a b", "a@b", "a/b", "é", "../x", &"x".repeat(250)] {
            let error = scope(&format!("foo.slice:lib:{name}")).unwrap_err();
            assert!(error.contains("is not the name of a unit"), "{error}");
        }
    }
}
