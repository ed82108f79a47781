//! `process.apparmorProfile` and `selinuxLabel`: config.md, "Linux Process"; proc_pid_attr(5).

use std::ffi::CString;

use super::HostFacts;
use crate::error::{Result, invalid, unsupported};
use crate::spec::oci::Process;

/// What the security modules are to call the program.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels {
    /// A profile that is loaded.
    pub apparmor: Option<CString>,
    /// A context: `user:role:type:level`.
    pub selinux: Option<CString>,
}

impl Labels {
    /// Whether there is nothing to set.
    pub fn is_none(&self) -> bool {
        self.apparmor.is_none() && self.selinux.is_none()
    }
}

/// Plans both. To run without the confinement that was asked for would be worse than not to run.
pub fn plan(process: &Process, facts: HostFacts) -> Result<Labels> {
    let apparmor = text("apparmorProfile", process.apparmor_profile().as_deref())?;
    let selinux = text("selinuxLabel", process.selinux_label().as_deref())?;
    // Where nothing confines there is nothing that this would lift.
    let apparmor = apparmor.filter(|profile| facts.apparmor || profile.as_bytes() != b"unconfined");
    // podman takes the attribute's path between backticks, at the end of the text, for this kind of error.
    match (&apparmor, &selinux) {
        (Some(profile), _) if !facts.apparmor => Err(unsupported(format!(
            "apparmorProfile: {profile:?} can't be set, for AppArmor is not enabled in this kernel: run the container \
             without a profile, or boot with lsm=apparmor: `/proc/self/attr/apparmor/exec`"
        ))),
        (_, Some(label)) if !facts.selinux => Err(unsupported(format!(
            "selinuxLabel: {label:?} can't be set, for SELinux is not enabled in this kernel: run the container \
             without a label (podman: --security-opt label=disable), or boot with lsm=selinux: `/proc/self/attr/exec`"
        ))),
        _ => Ok(Labels { apparmor, selinux }),
    }
}

fn text(name: &str, text: Option<&str>) -> Result<Option<CString>> {
    let one = |text| CString::new(text).ok().ok_or_else(|| invalid(format!("{name} has a NUL byte")));
    text.filter(|text| !text.is_empty()).map(one).transpose()
}

#[cfg(test)]
mod tests {
    use super::{HostFacts, Labels, plan};

    fn planned(json: &str, apparmor: bool, selinux: bool) -> Result<Labels, String> {
        let process = serde_json::from_str(&format!(r#"{{"user":{{}},"cwd":"/",{json}}}"#)).unwrap();
        plan(&process, HostFacts { apparmor, selinux, ..HostFacts::default() }).map_err(|e| format!("{e:#}"))
    }

    #[test]
    fn a_label_is_taken_where_the_kernel_has_its_module() {
        let both = planned(r#""apparmorProfile":"p","selinuxLabel":"u:r:t:s0""#, true, true).unwrap();
        assert_eq!((both.apparmor, both.selinux), (Some(c"p".into()), Some(c"u:r:t:s0".into())));
        let empty = planned(r#""apparmorProfile":"","selinuxLabel":"""#, false, false).unwrap();
        assert!(empty.is_none());
    }

    #[test]
    fn without_the_module_it_is_refused_with_the_words_that_podman_looks_for() {
        for (json, apparmor, selinux, name, path) in [
            (
                r#""apparmorProfile":"p""#,
                false,
                true,
                "apparmorProfile: \"p\"",
                "`/proc/self/attr/apparmor/exec`",
            ),
            (r#""selinuxLabel":"l""#, true, false, "selinuxLabel: \"l\"", "`/proc/self/attr/exec`"),
        ] {
            let error = planned(json, apparmor, selinux).unwrap_err();
            assert!(
                error.starts_with(name) && error.ends_with(path) && error.contains("boot with"),
                "{error}"
            );
        }
    }

    #[test]
    fn to_be_unconfined_needs_no_apparmor() {
        assert_eq!(planned(r#""apparmorProfile":"unconfined""#, false, false), Ok(Labels::default()));
        let lifted = planned(r#""apparmorProfile":"unconfined""#, true, false).unwrap();
        assert_eq!(lifted.apparmor, Some(c"unconfined".into()));
    }
}
