//! System calls that have no safe wrapper here. All go through one function.

use std::sync::atomic::{AtomicBool, Ordering};

use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal};

/// Any system call with its number and six words, as errno or result.
#[expect(unsafe_code, reason = "the probe tries calls which nobody has wrapped, to see how they end")]
pub(crate) fn call(number: i64, words: [u64; 6]) -> Result<i64, i32> {
    let [a, b, c, d, e, f] = words;
    // SAFETY: pointers among the words are to live buffers of the caller, which the kernel fills up to the
    // length given to it; all other words are numbers. A probe that is wrong about it harms only itself.
    let result = unsafe { libc::syscall(number, a, b, c, d, e, f) };
    if result < 0 { Err(Errno::last_raw()) } else { Ok(result) }
}

/// The address of a buffer for a word of [`call`].
pub(crate) fn address<T>(buffer: &mut [T]) -> u64 {
    buffer.as_mut_ptr().expose_provenance() as u64
}

/// All signals stay pending until [`next_signal`] takes them.
pub(crate) fn block_signals() {
    SigSet::all().thread_block().unwrap_or_default();
}

static TERM: AtomicBool = AtomicBool::new(false);

/// Waits for a signal; tells its number, real-time signals included.
pub(crate) fn next_signal() -> Result<i64, i32> {
    let mut set = [u64::MAX];
    let number = loop {
        match call(libc::SYS_rt_sigtimedwait, [address(&mut set), 0, 0, 8, 0, 0]) {
            // Frozen and thawed, for one.
            Err(libc::EINTR) => {}
            other => break other?,
        }
    };
    TERM.store(number == Signal::SIGTERM as i64, Ordering::Relaxed);
    Ok(number)
}

/// Whether the last one asked to end.
pub(crate) fn last_was_term() -> bool {
    TERM.load(Ordering::Relaxed)
}
