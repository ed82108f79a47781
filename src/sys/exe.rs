//! Making a process independent of the file that it was started from.
//!
//! A process in a container's namespaces must not lead back to the runtime's file on the host:
//! `/proc/PID/exe` could be opened for writing (CVE-2019-5736) and its mapped pages are the host's page
//! cache. So init, before anything else, replaces every mapping of that file by anonymous memory with the
//! same content and makes an empty, sealed memfd its executable file: prctl(2), PR_SET_MM_MAP, which
//! needs CONFIG_CHECKPOINT_RESTORE. It costs one copy of this program and no execve, and init keeps
//! what the host has prepared for it in memory.

use std::ffi::{CString, c_int, c_ulong, c_void};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::OnceLock;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, SealFlag, fcntl};
use nix::sys::stat::Mode;

use super::{Call, SysError};

/// The unit of mappings.
pub(super) const PAGE: usize = 4096;

/// prctl(2), struct prctl_mm_map.
#[repr(C)]
struct MmMap {
    start_code: u64,
    end_code: u64,
    start_data: u64,
    end_data: u64,
    start_brk: u64,
    brk: u64,
    start_stack: u64,
    arg_start: u64,
    arg_end: u64,
    env_start: u64,
    env_end: u64,
    auxv: *mut u64,
    auxv_size: u32,
    exe_fd: u32,
}

/// What `ps` shows of a process that has left its file.
const COMMAND_LINE: &[u8] = b"minidocker-oci init\0";

unsafe extern "C" {
    /// The program's own ELF header in memory; defined by the linker.
    static __ehdr_start: libc::Elf64_Ehdr;
}

/// Whether this kernel lets a process change its executable file (CONFIG_CHECKPOINT_RESTORE).
pub fn can_detach() -> bool {
    static CAN: OnceLock<bool> = OnceLock::new();
    *CAN.get_or_init(|| {
        let mut size: u32 = 0;
        let option = libc::PR_SET_MM_MAP_SIZE as c_ulong;
        // SAFETY: PR_SET_MM_MAP_SIZE writes one u32, for which there is room.
        let rc = unsafe { libc::prctl(libc::PR_SET_MM, option, &raw mut size, 0 as c_ulong, 0 as c_ulong) };
        rc == 0 && size as usize == size_of::<MmMap>()
    })
}

/// Whether this process already runs from a file that nobody can change.
pub fn is_sealed() -> bool {
    nix::fcntl::open("/proc/self/exe", OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())
        .and_then(|exe| fcntl(exe, FcntlArg::F_GET_SEALS))
        .is_ok_and(|seals| SealFlag::from_bits_truncate(seals).contains(SealFlag::F_SEAL_WRITE))
}

/// Starts this program anew, with the same arguments and environment, from a sealed copy of its file.
/// For kernels on which it can't detach. Returns on failure only.
pub fn restart_sealed() -> Result<std::convert::Infallible, SysError> {
    let exe = sealed_memfd(|copy| {
        let file = nix::fcntl::open("/proc/self/exe", OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())?;
        while nix::sys::sendfile::sendfile(copy, file.as_fd(), None, 1 << 24)? > 0 {}
        Ok(())
    })?;
    use std::os::unix::ffi::OsStringExt;
    let strings = |s: Vec<u8>| CString::new(s).or(Err(Errno::EINVAL));
    let again = || {
        let args: Vec<CString> =
            std::env::args_os().map(|a| strings(a.into_vec())).collect::<Result<_, _>>()?;
        let env = std::env::vars_os().map(|(k, v)| strings([k.into_vec(), v.into_vec()].join(&b'=')));
        let env: Vec<CString> = env.collect::<Result<_, _>>()?;
        nix::unistd::execveat(exe, c"", &args, &env, nix::fcntl::AtFlags::AT_EMPTY_PATH)
    };
    again().call(|| "execveat(a sealed copy of this program)")
}

/// An executable file in memory that nobody can change any more, open for reading only.
pub(super) fn sealed_memfd(
    fill: impl FnOnce(BorrowedFd<'_>) -> nix::Result<()>,
) -> Result<OwnedFd, SysError> {
    use nix::sys::memfd::{MFdFlags, memfd_create};
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    let executable = MFdFlags::from_bits_retain(libc::MFD_EXEC);
    let make = || {
        // MFD_EXEC is since Linux 6.3, where its absence is warned about.
        let writable = memfd_create(c"minidocker-init", flags | executable)
            .or_else(|_| memfd_create(c"minidocker-init", flags))?;
        fill(writable.as_fd())?;
        fcntl(&writable, FcntlArg::F_ADD_SEALS(SealFlag::all()))?;
        // A file that somebody holds open for writing can't be executed.
        let again = format!("/proc/self/fd/{}", writable.as_raw_fd());
        nix::fcntl::open(again.as_str(), OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())
    };
    make().call(|| "memfd_create(a sealed executable)")
}

/// A range of whole pages that the kernel has mapped from this program's file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Range {
    start: usize,
    end: usize,
    protection: c_int,
}

/// Moves this process off its file: no mapping of it is left and `/proc/self/exe` is `stub`.
pub fn detach(stub: BorrowedFd<'_>) -> Result<(), SysError> {
    let ranges = file_ranges();
    let (Some(first), Some(last)) = (ranges.first(), ranges.last()) else {
        return Err(Errno::ENOEXEC).call(|| "reading this program's own ELF header");
    };
    let (base, length) = (first.start, last.end - first.start);
    let access = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_POPULATE;
    // SAFETY: a new anonymous mapping at an address of the kernel's choice.
    let copy = unsafe { libc::mmap(std::ptr::null_mut(), length, access, flags, -1, 0) };
    if copy == libc::MAP_FAILED {
        return Err(Errno::last()).call(|| format!("mmap({length} bytes)"));
    }
    for range in &ranges {
        replace(*range, copy.wrapping_byte_add(range.start - base))
            .call(|| format!("mremap(over {range:x?})"))?;
    }
    let [option, what, map, size, ..] = become_stub(stub, base as u64);
    // SAFETY: the arguments are those of PR_SET_MM_MAP, and the map that they point to lives on.
    let rc = unsafe { libc::syscall(libc::SYS_prctl, option, what, map, size, 0) };
    super::check(rc).map(drop).call(|| "prctl(PR_SET_MM, PR_SET_MM_MAP)")
}

/// The arguments of the system calls by which a process leaves its file without a copy of it.
#[derive(Debug)]
pub(super) struct Leaving {
    /// munmap(2) of the program: once, and once more for each hole in it.
    pub(super) unmap: Vec<[u64; 6]>,
    /// prctl(2), PR_SET_MM_MAP, after that.
    pub(super) prctl: [u64; 6],
}

/// Prepares to leave for `stub`, which is mapped at `code`.
pub(super) fn leave(stub: BorrowedFd<'_>, code: *mut c_void) -> Leaving {
    let unmap = |(start, end): (usize, usize)| [start as u64, (end - start) as u64, 0, 0, 0, 0];
    let unmap = without_holes(&file_ranges()).into_iter().map(unmap).collect();
    Leaving { unmap, prctl: become_stub(stub, code as u64) }
}

/// Starts and ends of the memory that these ranges cover, in ascending order as they are.
///
/// The linker may have left pages free between two segments, and then the kernel is as free to place another
/// mapping there: the loop of [`super::last_calls`], which must not unmap itself.
fn without_holes(ranges: &[Range]) -> Vec<(usize, usize)> {
    let mut covered: Vec<(usize, usize)> = Vec::new();
    for range in ranges {
        match covered.last_mut() {
            Some((_, end)) if range.start <= *end => *end = range.end.max(*end),
            _ => covered.push((range.start, range.end)),
        }
    }
    covered
}

/// The arguments of prctl(2), PR_SET_MM_MAP. `code` is any address of the program. What they point to is
/// never freed: the kernel reads it when this program may be gone.
fn become_stub(stub: BorrowedFd<'_>, code: u64) -> [u64; 6] {
    // SAFETY: sbrk(0) reports the end of the heap and changes nothing.
    let heap = unsafe { libc::sbrk(0) } as u64;
    let command_line = COMMAND_LINE.to_vec().leak().as_ptr() as u64;
    let here = 0u8;
    // The kernel uses these for /proc only, but for the heap's end: it shall not shrink below where it is.
    let map: &'static MmMap = Box::leak(Box::new(MmMap {
        start_code: code,
        end_code: code + PAGE as u64,
        start_data: code,
        end_data: code + PAGE as u64,
        start_brk: heap,
        brk: heap,
        start_stack: (&raw const here) as u64,
        arg_start: command_line,
        arg_end: command_line + COMMAND_LINE.len() as u64,
        env_start: command_line,
        env_end: command_line,
        auxv: std::ptr::null_mut(),
        auxv_size: 0,
        exe_fd: stub.as_raw_fd().unsigned_abs(),
    }));
    let set_mm = u64::from(libc::PR_SET_MM.unsigned_abs());
    let map_all = u64::from(libc::PR_SET_MM_MAP.unsigned_abs());
    [set_mm, map_all, std::ptr::from_ref(map) as u64, size_of::<MmMap>() as u64, 0, 0]
}

/// Puts `copy`, filled with the range's content, in the place of `range`.
fn replace(range: Range, copy: *mut c_void) -> nix::Result<()> {
    let length = range.end - range.start;
    let original = range.start as *mut c_void;
    // SAFETY: the range is mapped and readable, `copy` has room for it, and they do not overlap.
    unsafe { std::ptr::copy_nonoverlapping(original.cast::<u8>(), copy.cast::<u8>(), length) };
    // SAFETY: changes the access to pages that nothing refers to yet.
    Errno::result(unsafe { libc::mprotect(copy, length, range.protection) })?;
    let flags = libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED;
    // SAFETY: the same bytes with the same access are at the same addresses afterwards: this process has
    // one thread, and between the copy and this call it writes to its stack only.
    let at = unsafe { libc::mremap(copy, length, length, flags, original) };
    if at == libc::MAP_FAILED { Err(Errno::last()) } else { Ok(()) }
}

/// The file-backed ranges of the program's segments: elf(5), PT_LOAD, and PT_GNU_RELRO, which the
/// start-up code has made read-only.
fn file_ranges() -> Vec<Range> {
    let header = &raw const __ehdr_start;
    // SAFETY: the linker places the header at this symbol, the kernel maps it with the first segment, and
    // nothing changes it.
    let header_ref = unsafe { &*header };
    let (offset, count) = (header_ref.e_phoff, header_ref.e_phnum);
    #[expect(clippy::cast_possible_truncation, reason = "an offset in this program's memory")]
    let table = header.wrapping_byte_add(offset as usize).cast::<libc::Elf64_Phdr>();
    // SAFETY: the program headers lie in the first segment, behind the header that counts them.
    let segments = unsafe { std::slice::from_raw_parts(table, count.into()) };
    // One of zeros only has no page of the file.
    let load = |s: &&libc::Elf64_Phdr| s.p_type == libc::PT_LOAD && s.p_filesz > 0;
    let bias = segments
        .iter()
        .find(|s| load(s) && s.p_offset == 0)
        .map_or(0, |s| (header as u64).wrapping_sub(s.p_vaddr));
    let relro = segments.iter().find(|s| s.p_type == libc::PT_GNU_RELRO).map(|s| {
        let (from, to) = (bias.wrapping_add(s.p_vaddr), bias.wrapping_add(s.p_vaddr + s.p_memsz));
        (page_down(from), page_down(to))
    });
    segments.iter().filter(load).flat_map(|s| pages_of(s, bias, relro)).collect()
}

#[expect(clippy::cast_possible_truncation, reason = "an address fits into usize")]
fn page_down(address: u64) -> usize {
    address as usize & !(PAGE - 1)
}

/// One segment's file-backed pages, cut where the read-only part ends.
fn pages_of(segment: &libc::Elf64_Phdr, bias: u64, relro: Option<(usize, usize)>) -> Vec<Range> {
    let start = page_down(bias.wrapping_add(segment.p_vaddr));
    let end = page_down(bias.wrapping_add(segment.p_vaddr + segment.p_filesz) + PAGE as u64 - 1);
    let bit = |flag, protection| {
        if segment.p_flags & flag != 0 { protection } else { 0 }
    };
    let protection = bit(libc::PF_R, libc::PROT_READ)
        | bit(libc::PF_W, libc::PROT_WRITE)
        | bit(libc::PF_X, libc::PROT_EXEC);
    let whole = Range { start, end, protection };
    // It may go on behind the file's pages, in those of zeros.
    let relro = relro.map(|(from, to)| (from, to.min(end)));
    let Some((from, to)) = relro.filter(|(from, to)| *from >= start && from < to) else {
        return vec![whole];
    };
    let parts = [
        Range { start, end: from, ..whole },
        Range { start: from, end: to, protection: libc::PROT_READ },
        Range { start: to, end, ..whole },
    ];
    parts.into_iter().filter(|r| r.start < r.end).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(start: usize, end: usize) -> Range {
        Range { start, end, protection: libc::PROT_READ }
    }

    #[test]
    fn what_is_in_a_hole_of_the_program_is_not_unmapped_with_it() {
        assert_eq!(without_holes(&[]), []);
        let touching = [range(0x1000, 0x3000), range(0x3000, 0x4000), range(0x4000, 0x9000)];
        assert_eq!(without_holes(&touching), [(0x1000, 0x9000)]);
        let apart = [range(0x1000, 0x3000), range(0x4000, 0x5000), range(0x5000, 0x6000)];
        assert_eq!(without_holes(&apart), [(0x1000, 0x3000), (0x4000, 0x6000)]);
        let overlapping = [range(0x1000, 0x4000), range(0x3000, 0x4000), range(0x3000, 0x5000)];
        assert_eq!(without_holes(&overlapping), [(0x1000, 0x5000)]);
    }

    #[test]
    fn what_the_start_up_code_has_made_readonly_stays_so() {
        let data = libc::Elf64_Phdr {
            p_type: libc::PT_LOAD,
            p_flags: libc::PF_R | libc::PF_W,
            p_offset: 0xb00,
            p_vaddr: 0x1b00,
            p_paddr: 0x1b00,
            p_filesz: 0x2400,
            p_memsz: 0x4500,
            p_align: 0x1000,
        };
        let access = |relro| -> Vec<_> {
            let writable = |r: &Range| r.protection & libc::PROT_WRITE != 0;
            pages_of(&data, 0x10000, relro).iter().map(|r| (r.start, r.end, writable(r))).collect()
        };
        assert_eq!(access(None), [(0x11000, 0x14000, true)]);
        assert_eq!(access(Some((0x11000, 0x13000))), [(0x11000, 0x13000, false), (0x13000, 0x14000, true)]);
        // The last two pages are zeros, which the kernel maps from no file.
        assert_eq!(access(Some((0x11000, 0x16000))), [(0x11000, 0x14000, false)]);
        assert_eq!(access(Some((0x14000, 0x16000))), [(0x11000, 0x14000, true)]);
    }
}
