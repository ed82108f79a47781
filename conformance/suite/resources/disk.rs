//! A block device for limits of I/O: a loop device on a file of our own.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A loop device, until it is dropped.
#[derive(Debug)]
pub(super) struct Disk {
    path: PathBuf,
    /// Major and minor.
    pub(super) number: (u64, u64),
}

impl Disk {
    /// `None` where the kernel has no loop devices or losetup(8) is missing.
    pub(super) fn make(dir: &Path) -> Option<Self> {
        let file = dir.join("disk");
        fs::File::create(&file).and_then(|file| file.set_len(16 << 20)).ok()?;
        let output = Command::new("losetup").args(["--find", "--show"]).arg(&file).output().ok()?;
        let path = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
        let found = fs::metadata(&path).ok().filter(|found| found.file_type().is_block_device())?;
        let number = (nix::sys::stat::major(found.rdev()), nix::sys::stat::minor(found.rdev()));
        if let Some(name) = path.file_name() {
            // Where it is there it is the one that has weights.
            drop(fs::write(Path::new("/sys/block").join(name).join("queue/scheduler"), "bfq"));
        }
        Some(Self { path, number })
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        drop(Command::new("losetup").arg("--detach").arg(&self.path).status());
    }
}
