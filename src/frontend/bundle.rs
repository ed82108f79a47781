//! The configuration of a container: config.md. What differs from one to the next is in [`Settings`], the rest
//! in `profile`.

use serde_json::{Value, json};

use super::user::Identity;
use super::{profile, seccomp_profile, stage};
use crate::spec::OCI_VERSION;
use crate::sys::tty::Size;

/// A container, as it was asked for.
#[derive(Debug)]
pub(super) struct Settings {
    /// The program and its arguments.
    pub(super) args: Vec<String>,
    /// `KEY=value`.
    pub(super) env: Vec<String>,
    /// Absolute.
    pub(super) cwd: String,
    /// Who it runs as.
    pub(super) user: Identity,
    /// Whether it has one, and how large it is, if that is known.
    pub(super) terminal: Option<Option<Size>>,
    /// In its own namespace.
    pub(super) hostname: String,
    /// Of the root file system.
    pub(super) root: Writing,
    /// Besides those of the profile.
    pub(super) masked: Vec<String>,
}

/// Whether the container can change its root file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Writing {
    Allowed,
    /// `--read-only`
    Denied,
}

/// config.json.
pub(super) fn config(settings: &Settings) -> Value {
    let masked: Vec<&str> =
        profile::MASKED.into_iter().chain(settings.masked.iter().map(String::as_str)).collect();
    let namespaces = profile::NAMESPACES.map(|kind| json!({ "type": kind }));
    json!({
        "ociVersion": OCI_VERSION,
        "process": process(settings),
        "root": { "path": stage::ROOTFS, "readonly": settings.root == Writing::Denied },
        "hostname": settings.hostname,
        "mounts": profile::mounts(),
        "linux": {
            "namespaces": namespaces,
            // The runtime allows the default devices after this.
            "resources": { "devices": [{ "allow": false, "access": "rwm" }] },
            "maskedPaths": masked,
            "readonlyPaths": profile::READONLY,
            "seccomp": seccomp_profile::profile(),
        },
    })
}

fn process(settings: &Settings) -> Value {
    const UMASK: u32 = 0o022;
    let Identity { uid, gid, groups } = &settings.user;
    let bounding = profile::CAPABILITIES;
    // Only root has them from the start; for others they bound what a program could gain.
    let capabilities = match uid {
        0 => json!({ "bounding": bounding, "effective": bounding, "permitted": bounding }),
        _ => json!({ "bounding": bounding }),
    };
    let mut process = json!({
        "terminal": settings.terminal.is_some(),
        "user": { "uid": uid, "gid": gid, "umask": UMASK, "additionalGids": groups },
        "args": settings.args,
        "env": settings.env,
        "cwd": settings.cwd,
        "capabilities": capabilities,
        "noNewPrivileges": true,
    });
    if let Some(size) = settings.terminal.flatten() {
        process["consoleSize"] = json!({ "height": size.rows, "width": size.columns });
    }
    process
}

#[cfg(test)]
mod tests {
    use super::{Identity, Settings, Writing, config};
    use crate::plan::{self, HostFacts, Wishes};
    use crate::spec::{self, Bundle};
    use crate::sys::tty::Size;

    fn settings() -> Settings {
        Settings {
            args: vec!["sh".into(), "-c".into(), "id".into()],
            env: vec!["PATH=/bin".into(), "HOSTNAME=box".into()],
            cwd: "/work".into(),
            user: Identity { uid: 33, gid: 34, groups: vec![34, 5] },
            terminal: Some(Some(Size { rows: 24, columns: 80 })),
            hostname: "box".into(),
            root: Writing::Denied,
            masked: vec!["/sys/devices/system/cpu/cpu0/thermal_throttle".into()],
        }
    }

    #[test]
    fn the_configuration_is_the_one_on_record() {
        let mut config = config(&settings());
        // It has tests of its own.
        config["linux"]["seccomp"].take();
        let record: serde_json::Value = serde_json::from_str(include_str!("config.golden.json")).unwrap();
        assert_eq!(config, record, "{}", serde_json::to_string_pretty(&config).unwrap());
    }

    #[test]
    fn the_runtime_takes_the_configuration_and_leaves_nothing_of_it_out() {
        let spec = spec::parse(config(&settings()).to_string().as_bytes()).unwrap();
        let bundle = Bundle { dir: "/bundle".into(), spec };
        let plan = plan::compile(&bundle, "box", HostFacts::default(), Wishes::default()).unwrap();
        let process = plan.process.unwrap();
        assert_eq!(process.capabilities.bounding.count_ones(), 14);
        assert_eq!(process.capabilities.effective, 0);
        assert!(process.no_new_privileges && plan.rootfs.readonly && plan.seccomp.is_some());
        assert!(plan.cgroup.devices.is_some());
        assert_eq!((plan.rootfs.masked.len(), plan.rootfs.readonly_paths.len()), (18, 5));
    }

    #[test]
    fn root_has_its_capabilities_from_the_start() {
        let user = Identity { uid: 0, gid: 0, groups: vec![0] };
        let config = config(&Settings { user, terminal: None, ..settings() });
        let sets = &config["process"]["capabilities"];
        assert_eq!(sets["effective"], sets["bounding"]);
        assert!(sets.get("ambient").is_none() && sets.get("inheritable").is_none());
        assert_eq!(config["process"]["terminal"], false);
    }
}
