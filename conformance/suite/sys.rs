//! The one thing here that the compiler can't check.

use std::os::fd::{FromRawFd, OwnedFd, RawFd};

/// A descriptor that recvmsg(2) has just given to this process.
#[expect(unsafe_code, reason = "nix tells received descriptors by their numbers")]
pub(crate) fn own(received: RawFd) -> OwnedFd {
    // SAFETY: the kernel has made this number for the message that has been received, and nobody else was
    // told of it.
    unsafe { OwnedFd::from_raw_fd(received) }
}
