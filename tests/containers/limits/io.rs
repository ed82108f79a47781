//! config-linux.md, "Block IO", on a loop device of the test's own.

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::limited::{GO_ON, Limited, bundle};
use super::{Driver, both_drivers, limits_case};
use crate::support::{Case, need};

/// A loop device, until it is dropped.
#[derive(Debug)]
pub(super) struct Disk {
    path: PathBuf,
    /// Major and minor.
    pub(super) number: (u64, u64),
}

impl Disk {
    /// `None` where the kernel has no loop devices or losetup(8) is missing.
    pub(super) fn make(case: &Case) -> Option<Self> {
        let file = case.file("disk", vec![0; 16 << 20], 0o600);
        let output = Command::new("losetup").args(["--find", "--show"]).arg(&file).output().ok()?;
        let path = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
        let device = std::fs::metadata(&path).ok()?.rdev();
        let number = (nix::sys::stat::major(device), nix::sys::stat::minor(device));
        let scheduler = std::path::Path::new("/sys/block").join(path.file_name()?).join("queue/scheduler");
        // Where it is there it is the one that has weights.
        drop(std::fs::write(scheduler, "bfq"));
        Some(Self { path, number })
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        drop(Command::new("losetup").arg("--detach").arg(&self.path).status());
    }
}

/// How long the container takes for what its script does next.
fn takes(c: &Limited<'_>, line: &str) -> Duration {
    let began = Instant::now();
    c.go_on();
    c.prints(line);
    began.elapsed()
}

/// Slowed for more than a second by the first rate, and not by the second.
fn is_slowed(case: &Case, driver: Driver, disk: &Disk, (property, rates, io): (&str, [u64; 2], &str)) {
    let (major, minor) = disk.number;
    let limit = |rate: u64| -> Value {
        json!({ "blockIO": { property: [{ "major": major, "minor": minor, "rate": rate }] } })
    };
    let script = format!("{GO_ON}; dd {io} && echo one; {GO_ON}; dd {io} && echo two; exec sleep 100");
    let b = bundle(case, driver, &script, limit(rates[0]));
    let mut config = b.config();
    config["linux"]["resources"]["devices"] = json!([{ "allow": true, "access": "rwm" }]);
    config["linux"]["devices"] =
        json!([{ "path": "/dev/disk", "type": "b", "major": major, "minor": minor, "fileMode": 0o600 }]);
    b.save(&config);
    let c = Limited::of(case, driver, b);
    c.start();
    let slow = takes(&c, "one");
    c.update(&limit(rates[1]));
    let quick = takes(&c, "two");
    assert!(slow > Duration::from_millis(1200) && quick < slow / 2, "{property}: {slow:?}, then {quick:?}");
    c.delete();
}

fn what_is_read_and_written_is_slowed_to_its_rate(driver: Driver) {
    let case = limits_case!(driver, "io");
    let disk = Disk::make(&case);
    need!(disk.is_some(), "no loop devices");
    let disk = disk.unwrap();
    let (bytes, operations) = ([1 << 20, 1 << 30], [10, 1_000_000]);
    for slowed in [
        ("throttleReadBpsDevice", bytes, "if=/dev/disk of=/dev/null bs=64k count=32 iflag=direct"),
        ("throttleWriteBpsDevice", bytes, "if=/dev/zero of=/dev/disk bs=64k count=32 oflag=direct"),
        ("throttleReadIOPSDevice", operations, "if=/dev/disk of=/dev/null bs=4k count=20 iflag=direct"),
        ("throttleWriteIOPSDevice", operations, "if=/dev/zero of=/dev/disk bs=4k count=20 oflag=direct"),
    ] {
        is_slowed(&case, driver, &disk, slowed);
    }
}

both_drivers! {
    what_is_read_and_written_is_slowed_to_its_rate
}
