//! Mounts and the root: config.md, "Mounts" and "Root", config-linux.md, "Rootfs Mount Propagation".

mod binds;
mod destinations;
mod errors;
mod fresh;
mod idmap;
mod label;
mod links;
mod options;
mod overlay;
mod propagation;
mod root;
mod shared;
mod users;

use std::path::PathBuf;

use crate::support::{Case, host_command, write};

const SHOW: &str = "cat /proc/self/mountinfo";

/// A directory of the host with a file, a directory and, mounted in it, a tmpfs with a file of its own.
struct Volume {
    dir: PathBuf,
}

impl Volume {
    fn new(case: &Case, propagation: &str) -> Self {
        let dir = case.subdir("volume");
        case.subdir("volume/sub");
        case.file("volume/file", "in volume\n", 0o644);
        host_command("mount", &["--bind".as_ref(), dir.as_ref(), dir.as_ref()]);
        // Not a peer of what it is a bind of, where that is shared.
        for propagation in ["private", propagation] {
            host_command("mount", &[format!("--make-{propagation}").as_ref(), dir.as_os_str()]);
        }
        host_command(
            "mount",
            &["-t".as_ref(), "tmpfs".as_ref(), "tmpfs".as_ref(), dir.join("sub").as_os_str()],
        );
        write(&dir.join("sub/file"), "below\n", 0o644);
        Self { dir }
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        // A test that has failed may have left in it what can't be reached.
        let how = if std::thread::panicking() { "-l" } else { "-R" };
        host_command("umount", &[how.as_ref(), self.dir.as_os_str()]);
    }
}
