//! What every case begins with: a configuration and a root file system.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::{Value, json};

use crate::clause::Outcome;
use crate::lab::{self, Lab};

/// A small usual container: six new namespaces, no capabilities.
pub(crate) fn config() -> Value {
    json!({
        "ociVersion": "1.0.2",
        "process": {
            "user": { "uid": 0, "gid": 0 },
            "args": null,
            "env": ["PATH=/bin"],
            "cwd": "/",
        },
        "root": { "path": "rootfs" },
        "hostname": "box",
        "mounts": [
            { "destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid", "noexec", "nodev"] },
            { "destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755", "size=1m"] },
            { "destination": "/dev/pts", "type": "devpts", "source": "devpts",
              "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"] },
            { "destination": "/dev/shm", "type": "tmpfs", "source": "shm", "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=1m"] },
        ],
        "linux": {
            "namespaces": [
                { "type": "pid" }, { "type": "mount" }, { "type": "ipc" },
                { "type": "uts" }, { "type": "network" }, { "type": "cgroup" },
            ],
        },
    })
}

/// The probe and some directories. The probe's file is the same in all of them.
pub(crate) fn make_rootfs(lab: &Lab, dir: &Path) -> Outcome {
    let root = dir.join("rootfs");
    for name in ["bin", "data", "dev", "etc", "proc", "sys"] {
        lab::make_dir(&root.join(name), 0o755)?;
    }
    // Any user of a container may write here.
    for name in ["hooks", "tmp"] {
        lab::make_dir(&root.join(name), 0o1777)?;
    }
    fs::set_permissions(&root, fs::Permissions::from_mode(0o755))?;
    fs::hard_link(&lab.probe, root.join("probe"))?;
    Ok(std::os::unix::fs::symlink("/probe", root.join("bin/probe"))?)
}
