//! Device programs of cgroup v2: bpf(2), BPF_PROG_TYPE_CGROUP_DEVICE.

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use super::{Call, SysError, check, owned};

const PROG_LOAD: u32 = 5;
const PROG_ATTACH: u32 = 8;
const PROG_DETACH: u32 = 9;
const PROG_GET_FD_BY_ID: u32 = 13;
const OBJ_GET_INFO_BY_FD: u32 = 15;
const PROG_QUERY: u32 = 16;
const TYPE_CGROUP_DEVICE: u32 = 15;
const ATTACH_CGROUP_DEVICE: u32 = 6;
const ALLOW_MULTI: u32 = 2;
const REPLACE: u32 = 4;
/// By which the programs of this runtime are told from others on the same cgroup.
const NAME: [u8; 16] = *b"minidocker_dev\0\0";

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
    prog_name: [u8; 16],
}

#[repr(C)]
struct AttachAttr {
    target_fd: u32,
    attach_bpf_fd: u32,
    attach_type: u32,
    attach_flags: u32,
    replace_bpf_fd: u32,
}

#[repr(C)]
struct QueryAttr {
    target_fd: u32,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    prog_ids: u64,
    prog_cnt: u32,
    unused: u32,
}

#[repr(C)]
struct ByIdAttr {
    prog_id: u32,
    next_id: u32,
    open_flags: u32,
}

#[repr(C)]
struct InfoAttr {
    bpf_fd: u32,
    info_len: u32,
    info: u64,
}

/// The beginning of struct bpf_prog_info.
#[derive(Default)]
#[repr(C)]
struct ProgInfo {
    before: [u64; 8],
    name: [u8; 16],
}

/// BPF_PROG_LOAD of a device program; each u64 is one `struct bpf_insn`.
pub fn load_device_program(program: &[u64]) -> Result<OwnedFd, SysError> {
    let call = || format!("bpf(PROG_LOAD, CGROUP_DEVICE, {} instructions)", program.len());
    let attr = LoadAttr {
        prog_type: TYPE_CGROUP_DEVICE,
        insn_cnt: u32::try_from(program.len()).or(Err(super::Errno::E2BIG)).call(call)?,
        insns: program.as_ptr() as u64,
        license: c"Apache".as_ptr() as u64,
        prog_name: NAME,
        ..LoadAttr::default()
    };
    // SAFETY: `attr` points at `program` and a static string, which outlive the call; the kernel verifies both.
    let rc = unsafe { libc::syscall(libc::SYS_bpf, PROG_LOAD, &raw const attr, size_of::<LoadAttr>()) };
    check(rc).map(owned).call(call)
}

/// How a program comes to a cgroup.
#[derive(Clone, Copy, Debug)]
pub enum Attach<'a> {
    /// Beside programs that others may attach: a device must pass them all.
    Beside,
    /// In the place of this one, at once: since Linux 5.6.
    InPlaceOf(BorrowedFd<'a>),
}

/// BPF_PROG_ATTACH to a cgroup.
pub fn attach_device_program(
    cgroup: BorrowedFd<'_>,
    program: BorrowedFd<'_>,
    how: Attach<'_>,
) -> Result<(), SysError> {
    let (flags, replaced) = match how {
        Attach::Beside => (ALLOW_MULTI, 0),
        Attach::InPlaceOf(old) => (ALLOW_MULTI | REPLACE, old.as_raw_fd().unsigned_abs()),
    };
    on_cgroup(PROG_ATTACH, cgroup, program, (flags, replaced)).call(|| match how {
        Attach::Beside => "bpf(PROG_ATTACH, CGROUP_DEVICE)",
        Attach::InPlaceOf(_) => "bpf(PROG_ATTACH, CGROUP_DEVICE, BPF_F_REPLACE)",
    })
}

/// BPF_PROG_DETACH from a cgroup.
pub fn detach_device_program(cgroup: BorrowedFd<'_>, program: BorrowedFd<'_>) -> Result<(), SysError> {
    on_cgroup(PROG_DETACH, cgroup, program, (0, 0)).call(|| "bpf(PROG_DETACH, CGROUP_DEVICE)")
}

fn on_cgroup(
    command: u32,
    cgroup: BorrowedFd<'_>,
    program: BorrowedFd<'_>,
    (attach_flags, replace_bpf_fd): (u32, u32),
) -> nix::Result<()> {
    let attr = AttachAttr {
        target_fd: cgroup.as_raw_fd().unsigned_abs(),
        attach_bpf_fd: program.as_raw_fd().unsigned_abs(),
        attach_type: ATTACH_CGROUP_DEVICE,
        attach_flags,
        replace_bpf_fd,
    };
    // SAFETY: `attr` is the structure that both commands read, and it outlives the call.
    let rc = unsafe { libc::syscall(libc::SYS_bpf, command, &raw const attr, size_of::<AttachAttr>()) };
    check(rc).map(drop)
}

/// The device programs on a cgroup that this runtime has loaded, by their name.
pub fn own_device_programs(cgroup: BorrowedFd<'_>) -> Result<Vec<OwnedFd>, SysError> {
    let mut own = Vec::new();
    for id in device_programs(cgroup)? {
        match program_of(id) {
            // It has gone meanwhile.
            Err(error) if error.errno == super::Errno::ENOENT => {}
            program => {
                let program = program?;
                if name_of(&program)? == NAME {
                    own.push(program);
                }
            }
        }
    }
    Ok(own)
}

/// BPF_PROG_QUERY: the ids of the programs that are attached to the cgroup itself.
fn device_programs(cgroup: BorrowedFd<'_>) -> Result<Vec<u32>, SysError> {
    /// BPF_CGROUP_MAX_PROGS in the kernel.
    const MOST: usize = 64;
    let mut ids = vec![0u32; MOST];
    let mut attr = QueryAttr {
        target_fd: cgroup.as_raw_fd().unsigned_abs(),
        attach_type: ATTACH_CGROUP_DEVICE,
        query_flags: 0,
        attach_flags: 0,
        prog_ids: ids.as_mut_ptr() as u64,
        prog_cnt: 64,
        unused: 0,
    };
    // SAFETY: `attr` points at `ids`, which has room for as many as it says, and both outlive the call.
    let rc = unsafe { libc::syscall(libc::SYS_bpf, PROG_QUERY, &raw mut attr, size_of::<QueryAttr>()) };
    check(rc).call(|| "bpf(PROG_QUERY, CGROUP_DEVICE)")?;
    ids.truncate(usize::try_from(attr.prog_cnt).unwrap_or(MOST));
    Ok(ids)
}

/// BPF_PROG_GET_FD_BY_ID.
fn program_of(id: u32) -> Result<OwnedFd, SysError> {
    let attr = ByIdAttr { prog_id: id, next_id: 0, open_flags: 0 };
    // SAFETY: `attr` is the structure that the command reads, and it outlives the call.
    let rc =
        unsafe { libc::syscall(libc::SYS_bpf, PROG_GET_FD_BY_ID, &raw const attr, size_of::<ByIdAttr>()) };
    check(rc).map(owned).call(|| format!("bpf(PROG_GET_FD_BY_ID, {id})"))
}

/// BPF_OBJ_GET_INFO_BY_FD.
fn name_of(program: &OwnedFd) -> Result<[u8; 16], SysError> {
    let mut info = ProgInfo::default();
    let attr =
        InfoAttr { bpf_fd: program.as_raw_fd().unsigned_abs(), info_len: 80, info: &raw mut info as u64 };
    // SAFETY: `attr` points at `info`, which is as long as it says (the unit test holds that), and both outlive the
    // call; the lengths in `info` are 0, so that the kernel follows none of its pointers.
    let rc =
        unsafe { libc::syscall(libc::SYS_bpf, OBJ_GET_INFO_BY_FD, &raw const attr, size_of::<InfoAttr>()) };
    check(rc).map(|_| info.name).call(|| "bpf(OBJ_GET_INFO_BY_FD)")
}

#[cfg(test)]
mod tests {
    use super::{AttachAttr, ByIdAttr, InfoAttr, LoadAttr, ProgInfo, QueryAttr};

    /// The kernel's own layout: include/uapi/linux/bpf.h.
    #[test]
    fn the_structures_are_as_long_as_the_kernels() {
        let sizes = [
            size_of::<LoadAttr>(),
            size_of::<AttachAttr>(),
            size_of::<QueryAttr>(),
            size_of::<ByIdAttr>(),
            size_of::<InfoAttr>(),
            size_of::<ProgInfo>(),
        ];
        assert_eq!(sizes, [64, 20, 32, 12, 16, 80]);
    }
}
