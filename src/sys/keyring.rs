//! The session keyring: keyrings(7), keyctl(2).

use std::ffi::{CStr, c_int, c_long};

use super::{Call, SysError, check};

/// The number of a key, keyrings(7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeySerial(c_long);

/// keyctl(2), KEYCTL_JOIN_SESSION_KEYRING: a new session keyring of this name, or one of this name that this
/// process may search.
pub fn join_session_keyring(name: &CStr) -> Result<KeySerial, SysError> {
    const JOIN_SESSION_KEYRING: c_int = 1;
    // SAFETY: `name` is NUL-terminated and outlives the call.
    let rc = unsafe { libc::syscall(libc::SYS_keyctl, JOIN_SESSION_KEYRING, name.as_ptr()) };
    check(rc).map(KeySerial).call(|| format!("keyctl(JOIN_SESSION_KEYRING, {name:?})"))
}

/// keyctl(2), KEYCTL_SETPERM: `permissions` are KEY_POS_*, KEY_USR_*, ... of linux/key.h.
pub fn set_key_permissions(key: KeySerial, permissions: u32) -> Result<(), SysError> {
    const SETPERM: c_int = 5;
    // SAFETY: three integers, no pointer.
    let rc = unsafe { libc::syscall(libc::SYS_keyctl, SETPERM, key.0, permissions) };
    check(rc).map(drop).call(|| format!("keyctl(SETPERM, {permissions:#x})"))
}
