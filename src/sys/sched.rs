//! What a process competes with and by: sched_setattr(2), ioprio_set(2), sched_setaffinity(2),
//! set_mempolicy(2), personality(2).

use std::ffi::{c_int, c_ulong};

use nix::errno::Errno;
use nix::unistd::Pid;

use super::{Call, SysError, check};

/// What struct sched_attr says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SchedAttr {
    /// SCHED_*
    pub policy: u32,
    /// SCHED_FLAG_*
    pub flags: u64,
    /// -20 to 19
    pub nice: i32,
    /// 1 to 99 for the real-time policies, else 0.
    pub priority: u32,
    /// Runtime, deadline and period of SCHED_DEADLINE, in nanoseconds.
    pub times: [u64; 3],
}

/// struct sched_attr, SCHED_ATTR_SIZE_VER1: with two clamps of utilization.
#[repr(C)]
struct Attr {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    times: [u64; 3],
    clamps: [u32; 2],
}

/// sched_setattr(2); both clamps are 0. `name` is the policy's, for the error.
pub fn set_scheduler(pid: Pid, attr: SchedAttr, name: &str) -> Result<(), SysError> {
    let SchedAttr { policy, flags, nice, priority, times } = attr;
    #[expect(clippy::cast_possible_truncation, reason = "56 bytes")]
    let size = size_of::<Attr>() as u32;
    let attr = Attr { size, policy, flags, nice, priority, times, clamps: [0; 2] };
    // SAFETY: `attr` is a sched_attr of the size that it names, and outlives the call.
    let rc = unsafe { libc::syscall(libc::SYS_sched_setattr, pid.as_raw(), &raw const attr, 0) };
    check(rc).map(drop).call(|| format!("sched_setattr({name})"))
}

/// ioprio_set(2), IOPRIO_WHO_PROCESS; what the process starts inherits it.
pub fn set_io_priority(pid: Pid, class: u16, level: u16) -> Result<(), SysError> {
    const WHO_PROCESS: c_int = 1;
    let value = c_int::from(class) << 13 | c_int::from(level);
    // SAFETY: three integers, no pointer.
    let rc = unsafe { libc::syscall(libc::SYS_ioprio_set, WHO_PROCESS, pid.as_raw(), value) };
    check(rc).map(drop).call(|| format!("ioprio_set(class {class}, level {level})"))
}

/// sched_setaffinity(2); pid 0 is this process. Bit n of word m is processor 64 * m + n.
pub fn set_affinity(pid: Pid, mask: &[u64]) -> Result<(), SysError> {
    // SAFETY: `mask` has as many bytes as the kernel is told, and outlives the call.
    let rc =
        unsafe { libc::syscall(libc::SYS_sched_setaffinity, pid.as_raw(), size_of_val(mask), mask.as_ptr()) };
    check(rc).map(drop).call(|| format!("sched_setaffinity({mask:x?})"))
}

/// sched_getaffinity(2) of this process, in the same form.
pub fn affinity() -> Result<Vec<u64>, SysError> {
    /// As far as any kernel counts (CONFIG_NR_CPUS).
    const WORDS: usize = 128;
    let mut mask = vec![0u64; WORDS];
    let size = size_of_val(mask.as_slice());
    // SAFETY: the kernel writes at most `size` bytes to `mask`, which has them.
    let rc = unsafe { libc::syscall(libc::SYS_sched_getaffinity, 0, size, mask.as_mut_ptr()) };
    // The call answers how many bytes it has written.
    let written = check(rc).call(|| "sched_getaffinity()")?;
    mask.truncate(usize::try_from(written).unwrap_or(0) / size_of::<u64>());
    Ok(mask)
}

/// set_mempolicy(2) of this thread: the mode with its flags, and bit n of word m for node 64 * m + n.
pub fn set_memory_policy(mode: c_int, nodes: &[u64]) -> Result<(), SysError> {
    // The kernel takes one bit less than it is told.
    let bits = if nodes.is_empty() { 0 } else { nodes.len() * 64 + 1 };
    let mask = if nodes.is_empty() { std::ptr::null() } else { nodes.as_ptr() };
    // SAFETY: `mask` points to as many bits as the kernel reads, or is null with none of them.
    let rc = unsafe { libc::syscall(libc::SYS_set_mempolicy, mode, mask, bits) };
    check(rc).map(drop).call(|| format!("set_mempolicy({mode:#x})"))
}

/// linux/personality.h.
pub const PER_LINUX: c_int = 0;
/// linux/personality.h.
pub const PER_LINUX32: c_int = 8;

/// personality(2).
pub fn set_personality(persona: c_int) -> Result<(), SysError> {
    #[expect(clippy::cast_sign_loss, reason = "PER_* are small positive numbers")]
    // SAFETY: takes an integer.
    let rc = unsafe { libc::personality(persona as c_ulong) };
    Errno::result(rc).map(drop).call(|| format!("personality({persona:#x})"))
}
