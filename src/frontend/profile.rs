//! What every container gets: docker's capabilities and mounts, and what of /proc and /sys it does not get
//! to see. The seccomp profile is in `seccomp_profile`.

use nix::fcntl::AtFlags;
use serde_json::{Value, json};

use crate::error::Result;
use crate::sys::fs::{self, OFlag};
use crate::sys::{Call, Errno};

/// Docker's fourteen.
pub(super) const CAPABILITIES: [&str; 14] = [
    "CAP_AUDIT_WRITE",
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_MKNOD",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_RAW",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_CHROOT",
];

/// All new; of networks only loopback. No user namespace: root in the container is root, within its bounds.
pub(super) const NAMESPACES: [&str; 6] = ["pid", "network", "ipc", "uts", "mount", "cgroup"];

/// What tells about the machine or its other users, and is readable for root without any capability. Docker's
/// list, and the files that show memory pages and the kernel's own addresses and messages.
pub(super) const MASKED: [&str; 17] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/kmsg",
    "/proc/kpagecgroup",
    "/proc/kpagecount",
    "/proc/kpageflags",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/vmallocinfo",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];

/// What root could write to and change the machine.
pub(super) const READONLY: [&str; 5] =
    ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// config.json's `mounts`.
pub(super) fn mounts() -> Value {
    let closed = ["nosuid", "noexec", "nodev"];
    let mount = |at: &str, kind: &str, options: &[&str]| json!({ "destination": at, "type": kind, "source": kind, "options": options });
    json!([
        mount("/proc", "proc", &closed),
        mount("/dev", "tmpfs", &["nosuid", "noexec", "strictatime", "mode=755", "size=65536k"]),
        mount(
            "/dev/pts",
            "devpts",
            &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]
        ),
        mount("/dev/shm", "tmpfs", &[&closed[..], &["mode=1777", "size=65536k"]].concat()),
        mount("/dev/mqueue", "mqueue", &closed),
        mount("/sys", "sysfs", &[&closed[..], &["ro"]].concat()),
        mount("/sys/fs/cgroup", "cgroup", &[&closed[..], &["relatime", "ro"]].concat()),
    ])
}

/// The thermal counters of each processor of this machine: how busy it is, for anybody who can read them.
/// Docker masks them, too. Most virtual machines have none.
pub(super) fn thermal_counters() -> Result<Vec<String>> {
    const CPUS: &str = "/sys/devices/system/cpu";
    let dir = match fs::open(CPUS, OFlag::O_RDONLY | OFlag::O_DIRECTORY) {
        Err(error) if error.errno == Errno::ENOENT => return Ok(Vec::new()),
        opened => opened?,
    };
    let mut listing = nix::dir::Dir::from_fd(dir.try_clone()?).call(|| "fdopendir()")?;
    let mut found = Vec::new();
    for entry in listing.iter() {
        let entry = entry.call(|| format!("readdir({CPUS:?})"))?;
        let Some(cpu) = entry.file_name().to_str().ok().filter(|name| is_cpu(name)) else {
            continue;
        };
        let counters = format!("{cpu}/thermal_throttle");
        if nix::sys::stat::fstatat(&dir, counters.as_str(), AtFlags::empty()).is_ok() {
            found.push(format!("{CPUS}/{counters}"));
        }
    }
    Ok(found)
}

fn is_cpu(name: &str) -> bool {
    name.strip_prefix("cpu").is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::is_cpu;

    #[test]
    fn a_processor_has_a_number() {
        assert!(is_cpu("cpu0") && is_cpu("cpu127"));
        assert!(!is_cpu("cpu") && !is_cpu("cpufreq") && !is_cpu("cpu0a") && !is_cpu("possible"));
    }
}
