//! Runs in: host. What the plan depends on besides the configuration. What it does not ask for is not looked up.

use std::path::Path;

use crate::error::Result;
use crate::plan::HostFacts;
use crate::proc::Proc;
use crate::spec::oci::Spec;
use crate::sys::fs::{self, OFlag};

/// What is so on this machine, as far as this configuration is concerned.
pub fn of(spec: &Spec) -> Result<HostFacts> {
    let process = spec.process().as_ref();
    let given = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
    Ok(HostFacts {
        euid: nix::unistd::geteuid().as_raw(),
        apparmor: process.is_some_and(|p| given(p.apparmor_profile())) && apparmor(Path::new("/sys")),
        selinux: process.is_some_and(|p| given(p.selinux_label())) && selinux(&Proc::open()?.filesystems()?),
    })
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
