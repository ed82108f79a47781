//! Runs in: init, while `/proc` is the host's: a session of its own, and a keyring for it.

use std::ffi::{CStr, CString};

use crate::error::{Doing, Kind, Result, failure};
use crate::plan::Plan;
use crate::proc::Proc;
use crate::sys::keyring::{self, KeySerial};
use crate::sys::{Call, Errno, SysError};

/// keyrings(7), linux/key.h: all for who has it in its session, and what the kernel gives the owner of a new
/// one (view, read, link), with search: without it nobody could join the keyring by its name, as `exec` has to.
const PERMISSIONS: u32 = 0x3f1b_0000;

/// The caller's terminal is not the container's, nor are its keys.
pub(super) fn begin(plan: &Plan) -> Result<()> {
    match nix::unistd::setsid() {
        // A process that leads a group already: only possible where there is nothing to leave.
        Err(Errno::EPERM) => {}
        done => drop(done.call(|| "setsid()")?),
    }
    let Some(name) = &plan.keyring else { return Ok(()) };
    let Ok(name) = CString::new(name.as_str()) else {
        return Ok(());
    };
    let label = plan.process.as_ref().and_then(|process| process.labels.selinux.as_deref());
    unless_there_are_none(join(&name, label)?)
}

/// The container's keyring, which [`begin`] has made.
pub(super) fn join_keyring(name: &str) -> Result<()> {
    let Ok(name) = CString::new(name) else { return Ok(()) };
    unless_there_are_none(keyring::join_session_keyring(&name).map(drop))
}

fn unless_there_are_none(joined: Result<(), SysError>) -> Result<()> {
    match joined {
        Ok(()) => Ok(()),
        // A kernel without keyrings, or a filter around the runtime: there are no keys to keep apart.
        Err(error) if matches!(error.errno, Errno::ENOSYS | Errno::EPERM) => {
            crate::log::warn(format_args!("no session keyring: {error}"));
            Ok(())
        }
        Err(error) => Err(explain(error)),
    }
}

/// SELinux takes the keyring's own label from an attribute of who makes it.
fn join(name: &CStr, label: Option<&CStr>) -> Result<Result<(), SysError>> {
    let Some(label) = label else { return Ok(make(name)) };
    const ATTRIBUTE: &str = "self/attr/keycreate";
    let proc = Proc::open()?;
    proc.write(ATTRIBUTE, label.to_bytes()).doing(|| "process.selinuxLabel: `/proc/self/attr/keycreate`")?;
    let made = make(name);
    // Keys of the container are its own affair.
    proc.write(ATTRIBUTE, b"\n").doing(|| "process.selinuxLabel")?;
    Ok(made)
}

fn make(name: &CStr) -> Result<(), SysError> {
    let key: KeySerial = keyring::join_session_keyring(name)?;
    keyring::set_key_permissions(key, PERMISSIONS)
}

fn explain(error: SysError) -> anyhow::Error {
    match error.errno {
        Errno::EDQUOT => failure(
            Kind::System,
            format!(
                "session keyring: {error}; this user has as many keys as it may: raise \
                 /proc/sys/kernel/keys/maxkeys (root: root_maxkeys) or do without: --no-new-keyring"
            ),
        ),
        _ => anyhow::Error::from(error).context("session keyring"),
    }
}

#[cfg(test)]
mod tests {
    use super::explain;
    use crate::error::errno_of;
    use crate::sys::{Errno, SysError};

    #[test]
    fn a_user_with_too_many_keys_is_told_what_to_do() {
        let error = |errno| explain(SysError { call: "keyctl()".to_owned(), errno });
        let text = format!("{:#}", error(Errno::EDQUOT));
        assert!(text.starts_with("session keyring: keyctl(): ") && text.contains("(EDQUOT)"), "{text}");
        assert!(text.contains("maxkeys") && text.contains("--no-new-keyring"), "{text}");
        assert_eq!(errno_of(&error(Errno::EACCES)), Some(Errno::EACCES));
    }
}
