//! `process.apparmorProfile` and `process.selinuxLabel` under a kernel that has these: config.md, "Linux Process".

use serde_json::{Value, json};

use crate::support::{Bundle, Case, Done, case, host_command, installed, is_there, need, read};

/// `system_u:system_r:init_t:s0` is in each policy that there is.
const LABEL: &str = "system_u:system_r:init_t:s0";

fn has_apparmor() -> bool {
    is_there("/sys/kernel/security/apparmor") && installed("apparmor_parser")
}

/// Enabled, and a policy is loaded.
pub(crate) fn has_selinux() -> bool {
    is_there("/sys/fs/selinux/enforce")
        && read("/proc/self/attr/current").trim_end_matches('\0').split(':').count() >= 4
}

/// A profile of this test's own, unloaded when it ends.
struct Profile(std::path::PathBuf);

impl Profile {
    /// Everything but writing `/etc/forbidden`.
    fn load(case: &Case) -> (Self, String) {
        let name = format!("minidocker-test-{}", case.unique);
        let rules = "file, capability, signal, mount, network, deny /etc/forbidden w,";
        let profile = format!("profile {name} flags=(attach_disconnected) {{ {rules} }}\n");
        let path = case.file("profile", profile, 0o644);
        host_command("apparmor_parser", &["-a".as_ref(), "-K".as_ref(), path.as_os_str()]);
        (Self(path), name)
    }
}

impl Drop for Profile {
    fn drop(&mut self) {
        host_command("apparmor_parser", &["-R".as_ref(), self.0.as_os_str()]);
    }
}

/// What a process of `exec` shows of its own label.
fn label_of_exec(case: &Case, b: &Bundle, flags: &[&str]) -> Done {
    case.call([&["exec"], flags, &[b.id.as_str(), "/bin/cat", "/proc/self/attr/current"]].concat()).finish()
}

fn labelled(case: &Case, property: &str, label: &str, change: impl FnOnce(&mut Value)) -> Bundle {
    let script = "cat /proc/self/attr/current; touch /etc/forbidden; touch /etc/allowed && echo made";
    case.script(script, |config| {
        config["process"][property] = json!(label);
        change(config);
    })
}

#[test]
fn the_program_is_confined_by_its_apparmor_profile() {
    let case = case!();
    need!(has_apparmor(), "no AppArmor, or no apparmor_parser");
    let (_profile, name) = Profile::load(&case);
    for no_new_privileges in [false, true] {
        for userns in [false, true] {
            let b = labelled(&case, "apparmorProfile", &name, |config| {
                config["process"]["noNewPrivileges"] = json!(no_new_privileges);
                if userns {
                    crate::support::bundle::add_user_namespace(config, 100_000);
                }
            });
            if userns {
                b.chown(100_000);
            }
            let done = case.run(&b).ok();
            assert_eq!(done.stdout(), format!("{name} (enforce)\nmade\n"), "{done}");
            assert!(done.stderr().contains("/etc/forbidden: Permission denied"), "{done}");
        }
    }
}

#[test]
fn what_exec_starts_has_the_containers_profile_or_the_one_that_is_given() {
    let case = case!();
    need!(has_apparmor(), "no AppArmor, or no apparmor_parser");
    let (_profile, name) = Profile::load(&case);
    for no_new_privileges in [false, true] {
        let b = case.script("sleep 1000", |config| {
            config["process"]["apparmorProfile"] = json!(name);
            config["process"]["noNewPrivileges"] = json!(no_new_privileges);
        });
        case.started(&b);
        let current = |flags: &[&str]| label_of_exec(&case, &b, flags);
        current(&[]).prints(&format!("{name} (enforce)\n"));
        current(&["--apparmor", "unconfined"]).prints("unconfined\n");
        let done = current(&["--apparmor", "minidocker-test-no-such-profile"]);
        assert!(done.code() == 255 && done.stderr().contains("is the profile loaded?"), "{done}");
        case.delete(&b.id);
    }
}

#[test]
fn what_exec_starts_has_the_containers_selinux_label_or_the_one_that_is_given() {
    let case = case!();
    need!(has_selinux(), "no SELinux, or no policy");
    for no_new_privileges in [false, true] {
        let b = case.script("sleep 1000", |config| {
            config["process"]["selinuxLabel"] = json!(LABEL);
            config["process"]["noNewPrivileges"] = json!(no_new_privileges);
        });
        case.started(&b);
        let current = |flags: &[&str]| label_of_exec(&case, &b, flags);
        let other = LABEL.replace("init_t", "kernel_t");
        assert_eq!(current(&[]).ok().stdout(), format!("{LABEL}\0"));
        assert_eq!(current(&["--process-label", &other]).ok().stdout(), format!("{other}\0"));
        let done = current(&["--process-label", "nonsense"]);
        assert!(done.code() == 255 && done.stderr().contains("selinuxLabel"), "{done}");
        case.delete(&b.id);
    }
}

#[test]
fn without_a_profile_the_program_has_the_callers() {
    let case = case!();
    need!(has_apparmor(), "no AppArmor, or no apparmor_parser");
    for profile in [None, Some(""), Some("unconfined")] {
        let script = "cat /proc/self/attr/current";
        let done = case.sh(script, |config| {
            if let Some(profile) = profile {
                config["process"]["apparmorProfile"] = json!(profile);
            }
        });
        done.prints("unconfined\n");
    }
}

#[test]
fn an_apparmor_profile_that_is_not_loaded_is_an_error_before_the_program_runs() {
    let case = case!();
    need!(has_apparmor(), "no AppArmor, or no apparmor_parser");
    let b = labelled(&case, "apparmorProfile", "minidocker-test-no-such-profile", |_| {});
    let words = [
        "process: apparmorProfile: \"minidocker-test-no-such-profile\"",
        "(ENOENT)",
        "is the profile loaded?",
    ];
    case.create(&b).fails(&words);
    assert!(!is_there(&b.cgroup) && !is_there(case.state.join(&b.id)));
}

#[test]
fn the_program_and_its_keyring_have_the_selinux_label() {
    let case = case!();
    need!(has_selinux(), "no SELinux, or no policy");
    for no_new_privileges in [false, true] {
        let script = "cat /proc/self/attr/current /proc/self/attr/exec /proc/self/attr/keycreate; echo -; \
                      cat /proc/keys";
        let b = case.script(script, |config| {
            config["process"]["selinuxLabel"] = json!(LABEL);
            config["process"]["noNewPrivileges"] = json!(no_new_privileges);
        });
        let seen = case.run(&b).ok().stdout();
        let (labels, keys) = seen.split_once("-\n").unwrap();
        // The kernel ends it with a NUL. There is none for what is made and run next.
        assert_eq!(labels, format!("{LABEL}\0"), "{seen:?}");
        assert_eq!(keys.matches(&format!("_ses.{}:", b.id)).count(), 1, "{seen:?}");
    }
}

#[test]
fn a_selinux_label_that_the_policy_does_not_know_is_an_error_before_the_program_runs() {
    let case = case!();
    need!(has_selinux(), "no SELinux, or no policy");
    let b = labelled(&case, "selinuxLabel", "nonsense", |_| {});
    case.create(&b).fails(&["process.selinuxLabel", "nonsense", "(EINVAL)"]);
    assert!(!is_there(&b.cgroup) && !is_there(case.state.join(&b.id)));
}
