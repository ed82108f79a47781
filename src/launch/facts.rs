//! Runs in: host. What the plan depends on besides the configuration. What it does not ask for is not looked up.

use std::os::fd::AsFd;
use std::path::Path;

use crate::error::Result;
use crate::plan::{HostFacts, namespaces};
use crate::proc::Proc;
use crate::spec::oci::{LinuxNamespaceType, Process, Spec};
use crate::sys::fs::{self, OFlag};
use crate::sys::{SysError, namespace};

/// What is so on this machine, as far as this configuration is concerned.
pub fn of(spec: &Spec) -> Result<HostFacts> {
    let own = HostFacts { runtimes_own: runtimes_own(spec), ..of_process(spec.process().as_ref())? };
    let mounts = spec.linux().as_ref().is_some_and(|linux| given(linux.mount_label()));
    Ok(HostFacts { selinux: own.selinux || mounts && has_selinux()?, ..own })
}

/// The same as far as one process is concerned.
pub fn of_process(process: Option<&Process>) -> Result<HostFacts> {
    Ok(HostFacts {
        euid: nix::unistd::geteuid().as_raw(),
        is_namespaced: !crate::proc::in_machines_user_namespace(),
        runtimes_own: 0,
        apparmor: process.is_some_and(|p| given(p.apparmor_profile())) && apparmor(Path::new("/sys")),
        selinux: process.is_some_and(|p| given(p.selinux_label())) && has_selinux()?,
    })
}

fn given(text: &Option<String>) -> bool {
    text.as_ref().is_some_and(|text| !text.is_empty())
}

fn has_selinux() -> Result<bool> {
    Ok(selinux(&Proc::open()?.filesystems()?))
}

/// CLONE_NEW* bits of what is joined and is the runtime's own. Namespaces are compared only where something in them is
/// changed.
fn runtimes_own(spec: &Spec) -> u64 {
    let linux = spec.linux().as_ref().filter(|linux| {
        linux.sysctl().as_ref().is_some_and(|s| !s.is_empty())
            || linux.net_devices().as_ref().is_some_and(|d| !d.is_empty())
    });
    let joined = linux.into_iter().flat_map(|linux| linux.namespaces().iter().flatten());
    let own = joined.filter(|ns| ns.path().as_ref().is_some_and(|path| is_runtimes_own(ns.typ(), path)));
    // Of one type given twice, which the plan refuses, this is still one bit.
    own.fold(0, |bits, ns| bits | namespaces::bit(ns.typ()))
}

/// One that can't be opened is for whoever joins it to complain about.
fn is_runtimes_own(kind: LinuxNamespaceType, path: &Path) -> bool {
    // A type displays as its file's name.
    let own = Path::new("/proc/self/ns").join(kind.to_string());
    let compare = || -> Result<bool, SysError> {
        let (there, own) = (fs::open(path, OFlag::O_PATH)?, fs::open(&own, OFlag::O_PATH)?);
        namespace::is_same(there.as_fd(), own.as_fd())
    };
    compare().unwrap_or(false)
}

/// The module's own parameter: `Y`. Without the module there is none.
fn apparmor(sysfs: &Path) -> bool {
    let enabled = fs::open(&sysfs.join("module/apparmor/parameters/enabled"), OFlag::O_RDONLY);
    enabled.and_then(|file| fs::read_all(file, 64)).is_ok_and(|text| text.starts_with(b"Y"))
}

/// selinuxfs is known to a kernel that was booted with SELinux enabled.
fn selinux(filesystems: &str) -> bool {
    filesystems.lines().any(|line| line.split_ascii_whitespace().next_back() == Some("selinuxfs"))
}

#[cfg(test)]
mod tests {
    use super::{apparmor, selinux};

    #[test]
    fn apparmor_is_what_its_parameter_says() {
        let sysfs = std::env::temp_dir().join(format!("facts-{}", std::process::id()));
        let dir = sysfs.join("module/apparmor/parameters");
        assert!(!apparmor(&sysfs));
        for (text, enabled) in [("Y", true), ("N", false), ("", false)] {
            let script = format!("mkdir -p {0} && echo '{text}' >{0}/enabled", dir.display());
            assert!(std::process::Command::new("sh").arg("-c").arg(script).status().unwrap().success());
            assert_eq!(apparmor(&sysfs), enabled, "{text:?}");
        }
        drop(std::process::Command::new("rm").arg("-rf").arg(&sysfs).status());
    }

    #[test]
    fn selinux_is_there_with_its_file_system() {
        assert!(selinux("nodev\tsysfs\nnodev\tselinuxfs\n\text4\n"));
        assert!(!selinux("nodev\tsysfs\nnodev\tselinuxfs2\n\text4\n"));
    }
}
