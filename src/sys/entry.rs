//! Where a program begins: [`crate::entry`].

use std::env::{ArgsOs, args_os};
use std::ffi::c_int;
use std::os::fd::IntoRawFd;

use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;

use super::fs;
use super::process::{BrokenPipe, on_broken_pipe};

/// Defines the program's `main`, in the place of the one that std has. That one looks for the guard page of its stack in
/// /proc/self/maps, and makes a second stack, on which it would say that the first has overflowed: a twelfth of what
/// `list` takes. What else it does, [`begin`] does.
///
/// Takes a function from arguments, the program's name first, to the exit code. What it prints it has to flush.
#[macro_export]
macro_rules! entry {
    ($main:path) => {
        #[expect(unsafe_code, reason = "nothing else of the program has this name, and it is as C has it")]
        #[unsafe(no_mangle)]
        extern "C" fn main(
            _count: std::ffi::c_int,
            _arguments: *const *const std::ffi::c_char,
        ) -> std::ffi::c_int {
            $crate::sys::entry::begin(|arguments| $main(arguments))
        }
    };
}

/// What is opened by a process without standard input, output or error would get their numbers, and be read or written
/// by who means these. So they are /dev/null then; where they can't be, this does not begin.
pub fn begin(main: impl FnOnce(ArgsOs) -> u8) -> c_int {
    for fd in 0..3 {
        if !fs::is_open(fd) {
            // The lowest number that is free is this one; it stays so, through execve, too.
            let opened = open("/dev/null", OFlag::O_RDWR, Mode::empty()).map(IntoRawFd::into_raw_fd);
            if opened.ok().and_then(|opened| u32::try_from(opened).ok()) != Some(fd) {
                std::process::abort();
            }
        }
    }
    on_broken_pipe(BrokenPipe::IsAnError);
    main(args_os()).into()
}
