//! `linux.mountLabel`: config-linux.md, "Mount Label".

use std::collections::HashMap;

use crate::error::{Result, invalid, unsupported};
use crate::plan::HostFacts;
use crate::plan::options::Parameter;

/// The annotation for what the label says about a file system: mount(8), "context=". podman writes it.
pub const KIND: &str = "run.oci.mount_context_type";

/// The SELinux context of the container's own file systems.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label(Parameter);

impl Label {
    /// Reads the label, and the annotation for its kind. A kernel without SELinux would not know what to do with it.
    pub fn plan(
        label: Option<&str>,
        annotations: Option<&HashMap<String, String>>,
        facts: HostFacts,
    ) -> Result<Option<Self>> {
        let Some(label) = label.filter(|label| !label.is_empty()) else {
            return Ok(None);
        };
        if label.contains('\0') {
            return Err(invalid(format!("linux.mountLabel: {label:?} has a NUL byte")));
        }
        let kind = annotations.and_then(|all| all.get(KIND)).map_or("context", String::as_str);
        match kind {
            "context" | "fscontext" | "defcontext" | "rootcontext" if !facts.selinux => Err(unsupported(
                "linux.mountLabel: SELinux is not enabled in this kernel: leave the label out, or boot with lsm=selinux",
            )),
            "context" | "fscontext" | "defcontext" | "rootcontext" => {
                Ok(Some(Self(Parameter::string(kind, label))))
            }
            _ => Err(invalid(format!(
                "annotations.{KIND}: {kind:?} is none of context, fscontext, defcontext, rootcontext"
            ))),
        }
    }

    /// The parameter for a new file system; `None` where it has a context already, and where the superblock
    /// is not the container's own: it is there and has its labels from the policy.
    pub(super) fn parameter(&self, fstype: &str, parameters: &[Parameter]) -> Option<Parameter> {
        let shared = ["proc", "sysfs", "cgroup", "cgroup2", "mqueue"].contains(&fstype);
        (!shared && !parameters.iter().any(Parameter::is_context)).then(|| self.0.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::{HashMap, HostFacts, KIND, Label, Parameter};

    fn plan(label: &str, kind: Option<&str>) -> Result<Option<Label>, String> {
        let annotations: HashMap<_, _> =
            kind.map(|kind| (KIND.to_owned(), kind.to_owned())).into_iter().collect();
        let facts = HostFacts { selinux: true, ..HostFacts::default() };
        Label::plan(Some(label), Some(&annotations), facts).map_err(|e| format!("{e:#}"))
    }

    #[test]
    fn a_label_needs_a_kernel_with_selinux() {
        let error = Label::plan(Some("u:r:t:s0"), None, HostFacts::default()).unwrap_err().to_string();
        assert!(error.contains("linux.mountLabel: SELinux is not enabled"), "{error}");
        assert_eq!(Label::plan(Some(""), None, HostFacts::default()).unwrap(), None);
    }

    #[test]
    fn the_annotation_decides_what_the_label_is() {
        let label = plan("u:r:t:s0:c1,c2", None).unwrap().unwrap();
        assert_eq!(label.0, Parameter::string("context", "u:r:t:s0:c1,c2"));
        let label = plan("u:r:t:s0", Some("rootcontext")).unwrap().unwrap();
        assert_eq!(label.0, Parameter::string("rootcontext", "u:r:t:s0"));
        assert!(plan("u:r:t:s0", Some("subcontext")).unwrap_err().contains("run.oci.mount_context_type"));
        assert_eq!(plan("", Some("subcontext")), Ok(None));
    }

    #[test]
    fn only_new_superblocks_without_a_context_take_it() {
        let label = plan("l", None).unwrap().unwrap();
        assert!(label.parameter("tmpfs", &[]).is_some() && label.parameter("devpts", &[]).is_some());
        assert!(label.parameter("tmpfs", &[Parameter::string("fscontext", "x")]).is_none());
        for shared in ["proc", "sysfs", "cgroup2", "mqueue"] {
            assert!(label.parameter(shared, &[]).is_none(), "{shared}");
        }
    }
}
