//! Device programs of cgroup v2: bpf(2), BPF_PROG_TYPE_CGROUP_DEVICE.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use super::{Call, SysError, check};

const PROG_LOAD: u32 = 5;
const PROG_ATTACH: u32 = 8;
const TYPE_CGROUP_DEVICE: u32 = 15;
const ATTACH_CGROUP_DEVICE: u32 = 6;
const ALLOW_MULTI: u32 = 2;

#[derive(Default)]
#[repr(C)]
struct LoadAttr {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
}

#[repr(C)]
struct AttachAttr {
    target_fd: u32,
    attach_bpf_fd: u32,
    attach_type: u32,
    attach_flags: u32,
}

/// BPF_PROG_LOAD of a device program; each u64 is one `struct bpf_insn`.
pub fn load_device_program(program: &[u64]) -> Result<OwnedFd, SysError> {
    let call = || format!("bpf(PROG_LOAD, CGROUP_DEVICE, {} instructions)", program.len());
    let attr = LoadAttr {
        prog_type: TYPE_CGROUP_DEVICE,
        insn_cnt: u32::try_from(program.len()).or(Err(super::Errno::E2BIG)).call(call)?,
        insns: program.as_ptr() as u64,
        license: c"Apache".as_ptr() as u64,
        ..LoadAttr::default()
    };
    // SAFETY: `attr` points at `program` and a static string, which outlive the call; the kernel verifies both.
    let rc = unsafe { libc::syscall(libc::SYS_bpf, PROG_LOAD, &raw const attr, size_of::<LoadAttr>()) };
    #[expect(clippy::cast_possible_truncation, reason = "the kernel returns an int")]
    // SAFETY: the kernel has just returned this descriptor to us.
    check(rc).map(|fd| unsafe { OwnedFd::from_raw_fd(fd as RawFd) }).call(call)
}

/// BPF_PROG_ATTACH to a cgroup, beside programs that others may attach (a device must pass them all).
pub fn attach_device_program(cgroup: BorrowedFd<'_>, program: BorrowedFd<'_>) -> Result<(), SysError> {
    let attr = AttachAttr {
        target_fd: cgroup.as_raw_fd().unsigned_abs(),
        attach_bpf_fd: program.as_raw_fd().unsigned_abs(),
        attach_type: ATTACH_CGROUP_DEVICE,
        attach_flags: ALLOW_MULTI,
    };
    // SAFETY: `attr` is the structure that PROG_ATTACH reads, and it outlives the call.
    let rc = unsafe { libc::syscall(libc::SYS_bpf, PROG_ATTACH, &raw const attr, size_of::<AttachAttr>()) };
    check(rc).map(drop).call(|| "bpf(PROG_ATTACH, CGROUP_DEVICE)")
}
