//! A finished BPF program for seccomp(2).

use super::{Call, SysError};

/// One instruction as the kernel reads it: struct sock_filter, 8 bytes.
pub const INSTRUCTION: usize = size_of::<libc::sock_filter>();

/// A finished program as seccomp(2) takes it: the instructions, and the header that points to them.
pub(super) fn prepared(program: &[u8]) -> Result<(Vec<libc::sock_filter>, libc::sock_fprog), SysError> {
    let mut filter: Vec<libc::sock_filter> = program
        .chunks_exact(INSTRUCTION)
        .map(|i| libc::sock_filter {
            code: u16::from_ne_bytes([i[0], i[1]]),
            jt: i[2],
            jf: i[3],
            k: u32::from_ne_bytes([i[4], i[5], i[6], i[7]]),
        })
        .collect();
    let len =
        u16::try_from(filter.len()).ok().ok_or(super::Errno::E2BIG).call(|| "seccomp(SET_MODE_FILTER)")?;
    let header = libc::sock_fprog { len, filter: filter.as_mut_ptr() };
    Ok((filter, header))
}
