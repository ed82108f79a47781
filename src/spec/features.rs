//! The features document: features.md and features-linux.md. It says what this program can do, whatever
//! the machine it runs on can, and so is the same everywhere.

use serde_json::{Value, json};

use super::OCI_VERSION;
use super::oci::{
    Arch, LinuxSeccompAction, LinuxSeccompFilterFlag, LinuxSeccompOperator, MemoryPolicyFlagType,
    MemoryPolicyModeType,
};

/// What the planning layer takes: each list is kept beside the code that takes it.
#[derive(Clone, Debug)]
pub struct Taken<'a> {
    /// `mounts[].options`, without the file systems' own.
    pub mount_options: &'a [&'a str],
    /// `linux.seccomp`.
    pub seccomp: TakenBySeccomp<'a>,
    /// `linux.memoryPolicy.mode`
    pub memory_modes: &'a [MemoryPolicyModeType],
    /// `linux.memoryPolicy.flags`
    pub memory_flags: &'a [MemoryPolicyFlagType],
    /// Annotations that change what a container may do.
    pub unsafe_annotations: &'a [&'a str],
}

/// The words of `linux.seccomp`.
#[derive(Clone, Debug)]
pub struct TakenBySeccomp<'a> {
    /// `syscalls[].action`
    pub actions: &'a [LinuxSeccompAction],
    /// `syscalls[].args[].op`
    pub operators: &'a [LinuxSeccompOperator],
    /// `architectures`
    pub archs: &'a [Arch],
    /// `flags` that are understood.
    pub known_flags: &'a [LinuxSeccompFilterFlag],
    /// `flags` that work.
    pub supported_flags: &'a [LinuxSeccompFilterFlag],
}

/// The oldest version of the specification whose configurations are understood.
const OCI_VERSION_MIN: &str = "1.0.0";

/// The document. What is false here is refused by the planning layer.
pub fn document(taken: &Taken<'_>) -> Value {
    json!({
        "ociVersionMin": OCI_VERSION_MIN,
        "ociVersionMax": OCI_VERSION,
        "hooks": ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"],
        "mountOptions": taken.mount_options,
        "linux": {
            "namespaces": ["cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts"],
            "capabilities": capabilities(),
            "cgroup": { "v1": false, "v2": true, "systemd": true, "systemdUser": true, "rdma": true },
            "seccomp": {
                "enabled": true,
                "actions": taken.seccomp.actions,
                "operators": taken.seccomp.operators,
                "archs": taken.seccomp.archs,
                "knownFlags": taken.seccomp.known_flags,
                "supportedFlags": taken.seccomp.supported_flags,
            },
            "apparmor": { "enabled": true },
            "selinux": { "enabled": true },
            "intelRdt": { "enabled": true, "schemata": true, "monitoring": true },
            "memoryPolicy": { "modes": taken.memory_modes, "flags": taken.memory_flags },
            "mountExtensions": { "idmap": { "enabled": true } },
            "netDevices": { "enabled": true },
        },
        "annotations": annotations(option_env!("MINIDOCKER_OCI_COMMIT")),
        "potentiallyUnsafeConfigAnnotations": taken.unsafe_annotations,
    })
}

/// All that the kernel's headers name, by number.
fn capabilities() -> Vec<String> {
    let mut all: Vec<caps::Capability> = caps::all().into_iter().collect();
    all.sort_unstable_by_key(caps::Capability::index);
    all.iter().map(ToString::to_string).collect()
}

/// Which build this is; the commit only where the build was told.
fn annotations(commit: Option<&str>) -> Value {
    let mut annotations = json!({ "minidocker-oci.version": env!("CARGO_PKG_VERSION") });
    if let Some(commit) = commit.filter(|commit| !commit.is_empty()) {
        annotations["minidocker-oci.commit"] = commit.into();
    }
    annotations
}

#[cfg(test)]
mod tests {
    use super::{OCI_VERSION, OCI_VERSION_MIN, annotations, capabilities};

    #[test]
    fn both_ends_of_the_range_of_versions_are_accepted() {
        for version in [OCI_VERSION_MIN, OCI_VERSION] {
            assert!(
                crate::spec::parse(format!(r#"{{"ociVersion":"{version}"}}"#).as_bytes()).is_ok(),
                "{version}"
            );
        }
    }

    #[test]
    fn capabilities_are_in_the_kernels_order() {
        let names = capabilities();
        assert_eq!((names[0].as_str(), names[21].as_str()), ("CAP_CHOWN", "CAP_SYS_ADMIN"));
    }

    #[test]
    fn a_commit_is_named_only_if_there_is_one() {
        assert_eq!(annotations(Some("abc"))["minidocker-oci.commit"], "abc");
        assert!(
            [None, Some("")].into_iter().all(|none| annotations(none).get("minidocker-oci.commit").is_none())
        );
    }
}
