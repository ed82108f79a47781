//! `annotations`: those that change what is done here. They are runc's and crun's, not the specification's, which
//! only says that unknown ones are ignored: config.md, "Annotations".

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::mounts::label;
use super::resources::systemd::{ANNOTATION as PROPERTY, SUBGROUP};
use super::user::KEEP_GROUPS;
use crate::error::{Result, invalid, unsupported};
use crate::spec::oci::Spec;

/// What the annotations ask for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// Who gets the pidfd of the container's process, as by `--pidfd-socket`. Absolute.
    pub pidfd_receiver: Option<PathBuf>,
    /// What hooks have as standard output: appended to, and made if it is not there. Absolute.
    pub hook_stdout: Option<PathBuf>,
    /// The same for their standard error, which is then not quoted in errors.
    pub hook_stderr: Option<PathBuf>,
}

/// What is done about an annotation that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meaning {
    /// It does what it says.
    Honoured,
    /// It is recorded, for a part of this program that is not there yet.
    Kept,
    /// Who sets it relies on something that this program does not do: an error.
    Refused,
}

/// `Asked`'s.
const PIDFD_RECEIVER: &str = "run.oci.pidfd_receiver";
const HOOKS_STDOUT: &str = "run.oci.hooks.stdout";
const HOOKS_STDERR: &str = "run.oci.hooks.stderr";
/// For `checkpoint` and `restore`: a file of options for CRIU.
pub const CRIU_CONFIG: &str = "org.criu.config";

/// All that are known. A key that ends in a dot is for all that begin so. What is not here is ignored.
const KNOWN: [(&str, Meaning); 15] = [
    (CRIU_CONFIG, Meaning::Honoured),
    // For the systemd driver: one more cgroup, below that which the next one names.
    ("run.oci.delegate-cgroup", Meaning::Kept),
    // Planned by modules of their own.
    (SUBGROUP, Meaning::Honoured),
    (PROPERTY, Meaning::Honoured),
    (KEEP_GROUPS, Meaning::Honoured),
    (label::KIND, Meaning::Honoured),
    (PIDFD_RECEIVER, Meaning::Honoured),
    (HOOKS_STDOUT, Meaning::Honoured),
    (HOOKS_STDERR, Meaning::Honoured),
    // A virtual machine, or WebAssembly: without it the program would run less isolated, or not at all.
    ("run.oci.handler", Meaning::Refused),
    // Instead of linux.seccomp, or stricter: without them the program would have another filter.
    ("run.oci.seccomp.receiver", Meaning::Refused),
    ("run.oci.seccomp.plugins", Meaning::Refused),
    ("run.oci.seccomp_bpf_data", Meaning::Refused),
    ("run.oci.seccomp_fail_unknown_syscall", Meaning::Refused),
    // cgroup v1.
    ("run.oci.systemd.force_cgroup_v1", Meaning::Refused),
];

/// Keys that change what is done, for `features`: who takes annotations from others, from an image say, should
/// not let them through (features.md, "Unsafe annotations in `config.json`").
pub fn unsafe_keys() -> Vec<&'static str> {
    KNOWN.iter().filter(|(_, meaning)| *meaning == Meaning::Honoured).map(|(key, _)| *key).collect()
}

/// What is done about a key; `None` if it is nobody's here.
fn meaning(key: &str) -> Option<Meaning> {
    let is = |known: &str| if known.ends_with('.') { key.starts_with(known) } else { key == known };
    KNOWN.iter().find(|(known, _)| is(known)).map(|(_, meaning)| *meaning)
}

/// Plans the annotations.
pub fn plan(spec: &Spec) -> Result<Asked> {
    let Some(annotations) = spec.annotations() else {
        return Ok(Asked::default());
    };
    if annotations.contains_key("") {
        return Err(invalid("annotations: a key is empty"));
    }
    let refused = annotations.keys().filter(|key| meaning(key) == Some(Meaning::Refused)).min();
    if let Some(key) = refused {
        return Err(unsupported(format!("annotations.{key} is not supported")));
    }
    Ok(Asked {
        pidfd_receiver: path(annotations, PIDFD_RECEIVER)?,
        hook_stdout: path(annotations, HOOKS_STDOUT)?,
        hook_stderr: path(annotations, HOOKS_STDERR)?,
    })
}

fn path(annotations: &HashMap<String, String>, key: &str) -> Result<Option<PathBuf>> {
    match annotations.get(key).map(Path::new) {
        Some(path) if !path.is_absolute() || path.to_string_lossy().contains('\0') => {
            Err(invalid(format!("annotations.{key}: {path:?} is not an absolute path")))
        }
        path => Ok(path.map(Path::to_owned)),
    }
}

#[cfg(test)]
mod tests {
    use super::{Asked, KNOWN, Meaning, meaning, plan, unsafe_keys};
    use serde_json::json;

    fn planned(key: &str, value: &str) -> Result<Asked, String> {
        let config = json!({ "ociVersion": "1.3.0", "annotations": { key: value } });
        plan(&serde_json::from_value(config).unwrap()).map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn what_is_unknown_or_only_kept_asks_for_nothing() {
        for key in ["com.example.key", "run.oci.novel", "run.oci.delegate-cgroup"] {
            assert_eq!(planned(key, "x"), Ok(Asked::default()), "{key}");
        }
    }

    #[test]
    fn a_key_that_ends_in_a_dot_is_for_all_that_begin_so_and_no_other() {
        assert_eq!(meaning("org.systemd.property.KillSignal"), Some(Meaning::Honoured));
        for key in ["org.systemd.property", "run.oci.handlers", "run.oci.", "xrun.oci.handler"] {
            assert_eq!(meaning(key), None, "{key}");
        }
    }

    #[test]
    fn what_would_be_missed_is_refused_by_name() {
        for (key, _) in KNOWN.iter().filter(|(_, meaning)| *meaning == Meaning::Refused) {
            assert_eq!(planned(key, "x"), Err(format!("annotations.{key} is not supported")));
            assert!(!unsafe_keys().contains(key));
        }
        assert!(planned("", "x").is_err());
    }

    #[test]
    fn every_path_is_absolute_and_reaches_its_place() {
        for key in ["run.oci.pidfd_receiver", "run.oci.hooks.stdout", "run.oci.hooks.stderr"] {
            let Asked { pidfd_receiver, hook_stdout, hook_stderr } = planned(key, "/x").unwrap();
            let given: Vec<_> = [pidfd_receiver, hook_stdout, hook_stderr].into_iter().flatten().collect();
            assert_eq!(given, [std::path::Path::new("/x")]);
            for bad in ["", "x", "./x", "/x\0"] {
                assert!(planned(key, bad).unwrap_err().contains(key), "{bad:?}");
            }
        }
    }
}
