//! Files of the host outside of any container: whatever a test does, they stay as they are.

use std::path::{Path, PathBuf};

use super::{Case, host_command};

/// The names that runtimes make in a container's /dev, and some others.
const FILES: [&str; 8] = ["null", "zero", "full", "tty", "ptmx", "console", "resolv.conf", "passwd"];
const DIRS: [&str; 4] = ["pts", "shm", "mqueue", "x"];

/// A directory of precious files.
#[derive(Debug)]
pub(crate) struct Canary {
    pub(crate) dir: PathBuf,
    before: String,
}

impl Canary {
    pub(crate) fn new(case: &Case) -> Self {
        let dir = case.subdir("canary");
        for name in FILES {
            case.file(&format!("canary/{name}"), "precious\n", 0o640);
        }
        for name in DIRS {
            case.subdir(&format!("canary/{name}"));
        }
        let before = snapshot(&dir);
        Self { dir, before }
    }

    #[track_caller]
    pub(crate) fn is_untouched(&self) {
        assert_eq!(snapshot(&self.dir), self.before);
    }
}

/// Name, type, mode, owner, size, time and content of everything in a directory.
fn snapshot(dir: &Path) -> String {
    let list =
        host_command("find", &[dir.as_os_str(), "-printf".as_ref(), "%p %y %m %U:%G %s %T@ %l\n".as_ref()]);
    let mut lines: Vec<&str> = list.lines().collect();
    lines.sort_unstable();
    let contents: String =
        FILES.iter().map(|name| std::fs::read_to_string(dir.join(name)).unwrap_or_default()).collect();
    format!("{}\n{contents}", lines.join("\n"))
}
