//! Capability sets of this process as bit masks: capset(2), prctl(2). The names are `caps`' business.

use std::ffi::{c_int, c_ulong};

use super::process::prctl;
use super::{Call, SysError, check};

/// CAP_SYS_ADMIN as a mask.
pub const SYS_ADMIN: u64 = 1 << 21;

const VERSION_3: u32 = 0x2008_0522;

/// struct __user_cap_header_struct.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Header {
    version: u32,
    pid: c_int,
}

/// struct __user_cap_data_struct: 32 of the capabilities.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(super) struct Half {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// The arguments of capset(2); bit n is capability n.
pub(super) fn prepared(effective: u64, permitted: u64, inheritable: u64) -> (Header, [Half; 2]) {
    #[expect(clippy::cast_possible_truncation, reason = "the two halves of 64 bits")]
    let half = |shift: u32| Half {
        effective: (effective >> shift) as u32,
        permitted: (permitted >> shift) as u32,
        inheritable: (inheritable >> shift) as u32,
    };
    (Header { version: VERSION_3, pid: 0 }, [half(0), half(32)])
}

/// capset(2): the three sets at once; bit n is capability n.
pub fn set(effective: u64, permitted: u64, inheritable: u64) -> Result<(), SysError> {
    let (header, data) = prepared(effective, permitted, inheritable);
    // SAFETY: version 3 reads one header and two data structures, which is what these are.
    let rc = unsafe { libc::syscall(libc::SYS_capset, &raw const header, data.as_ptr()) };
    check(rc).map(drop).call(|| format!("capset({effective:#x}, {permitted:#x}, {inheritable:#x})"))
}

/// capget(2): the permitted set.
pub fn permitted() -> Result<u64, SysError> {
    let header = Header { version: VERSION_3, pid: 0 };
    let mut data = [Half { effective: 0, permitted: 0, inheritable: 0 }; 2];
    // SAFETY: version 3 writes two data structures, for which there is room.
    let rc = unsafe { libc::syscall(libc::SYS_capget, &raw const header, data.as_mut_ptr()) };
    check(rc).call(|| "capget()")?;
    Ok(u64::from(data[0].permitted) | u64::from(data[1].permitted) << 32)
}

/// PR_CAPBSET_DROP.
pub fn drop_bounding(capability: u8) -> Result<(), SysError> {
    prctl(libc::PR_CAPBSET_DROP, c_ulong::from(capability), 0)
        .map(drop)
        .call(|| format!("prctl(PR_CAPBSET_DROP, {capability})"))
}

/// PR_CAP_AMBIENT_CLEAR_ALL.
pub fn clear_ambient() -> Result<(), SysError> {
    prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL as c_ulong, 0)
        .map(drop)
        .call(|| "prctl(PR_CAP_AMBIENT_CLEAR_ALL)")
}

/// PR_CAP_AMBIENT_RAISE: the capability has to be permitted and inheritable.
pub fn raise_ambient(capability: u8) -> Result<(), SysError> {
    prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_RAISE as c_ulong, c_ulong::from(capability))
        .map(drop)
        .call(|| format!("prctl(PR_CAP_AMBIENT_RAISE, {capability})"))
}
