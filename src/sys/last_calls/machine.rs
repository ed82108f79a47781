//! The loop: the machine code that works a list of calls off, and the form in which it reads them.

use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;

use crate::sys::{Call as _, SysError, exe, retry_eintr};

/// Whether this machine has the loop.
pub const fn has_loop() -> bool {
    cfg!(target_arch = "x86_64")
}

/// One call as the loop reads it; the assembly below knows the offsets.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(super) struct Step {
    pub(super) number: u64,
    pub(super) args: [u64; 6],
    /// Where the result is stored, or 0.
    pub(super) result: u64,
    /// A result below this is a failure.
    pub(super) least: i64,
    /// The steps to go on with after a failure; 0 to ignore it.
    pub(super) on_failure: u64,
    /// The steps to go on with after a result of 0; 0 for the next one.
    pub(super) on_zero: u64,
}

#[cfg(target_arch = "x86_64")]
std::arch::global_asm!(
    ".pushsection .rodata.last_calls, \"a\"",
    "minidocker_last_calls_begin:",
    "mov r12, rdi",
    "2:",
    "mov rax, [r12]",
    "cmp rax, -1",
    "je 5f",
    "mov rdi, [r12 + 8]",
    "mov rsi, [r12 + 16]",
    "mov rdx, [r12 + 24]",
    "mov r10, [r12 + 32]",
    "mov r8, [r12 + 40]",
    "mov r9, [r12 + 48]",
    "syscall",
    // EINTR: the same call again.
    "cmp rax, -4",
    "je 2b",
    "mov rcx, [r12 + 56]",
    "test rcx, rcx",
    "jz 3f",
    "mov [rcx], rax",
    "3:",
    "cmp rax, [r12 + 64]",
    "jge 4f",
    "mov rcx, [r12 + 72]",
    "test rcx, rcx",
    "jz 4f",
    "mov r12, rcx",
    "jmp 2b",
    "4:",
    "test rax, rax",
    "jnz 6f",
    "mov rcx, [r12 + 80]",
    "test rcx, rcx",
    "jz 6f",
    "mov r12, rcx",
    "jmp 2b",
    "6:",
    "add r12, 88",
    "jmp 2b",
    "5:",
    "ud2",
    "minidocker_last_calls_end:",
    ".popsection",
);

#[cfg(target_arch = "x86_64")]
unsafe extern "C" {
    static minidocker_last_calls_begin: u8;
    static minidocker_last_calls_end: u8;
}

/// The loop's machine code; it can stand at any address. Empty where there is none.
#[cfg(target_arch = "x86_64")]
fn code() -> &'static [u8] {
    let begin = &raw const minidocker_last_calls_begin;
    let length = (&raw const minidocker_last_calls_end) as usize - begin as usize;
    // SAFETY: the assembler places both labels around the code, in read-only data of this program.
    unsafe { std::slice::from_raw_parts(begin, length) }
}

#[cfg(not(target_arch = "x86_64"))]
fn code() -> &'static [u8] {
    &[]
}

/// The executable file of a process that has left its own: a memfd, sealed, open for reading only, in which
/// nothing stands but the loop. It is no program that could be executed.
pub fn stub() -> Result<OwnedFd, SysError> {
    exe::sealed_memfd(|stub| retry_eintr(|| nix::unistd::write(stub, code())).map(drop))
}

/// Maps the loop from the memfd in which it stands.
pub(super) fn map_code(stub: &OwnedFd) -> Result<*mut libc::c_void, SysError> {
    let access = libc::PROT_READ | libc::PROT_EXEC;
    // SAFETY: a new mapping at an address of the kernel's choice.
    let at = unsafe {
        libc::mmap(std::ptr::null_mut(), exe::PAGE, access, libc::MAP_PRIVATE, stub.as_raw_fd(), 0)
    };
    if at == libc::MAP_FAILED { Err(Errno::last()).call(|| "mmap(the last calls' loop)") } else { Ok(at) }
}
