//! Terminals: the ioctls of ptys that nix has no function for.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;

use super::{Call, SysError};

/// Height and width of a terminal, in characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size {
    /// Lines.
    pub rows: u16,
    /// Characters a line.
    pub columns: u16,
}

/// TIOCSPTLCK: a new pty's peer is locked until this is said.
pub fn unlock(master: BorrowedFd<'_>) -> Result<(), SysError> {
    let locked: libc::c_int = 0;
    // SAFETY: TIOCSPTLCK reads one int, which outlives the call.
    let rc = unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCSPTLCK, &raw const locked) };
    Errno::result(rc).map(drop).call(|| "ioctl(TIOCSPTLCK)")
}

/// TIOCGPTPEER: the other end of a pty, by its master and not by a path that somebody could have changed.
pub fn peer(master: BorrowedFd<'_>) -> Result<OwnedFd, SysError> {
    let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
    // SAFETY: TIOCGPTPEER takes an integer.
    let rc: RawFd = unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCGPTPEER, flags) };
    // SAFETY: the kernel has just returned this descriptor to us.
    Errno::result(rc).map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }).call(|| "ioctl(TIOCGPTPEER)")
}

/// TIOCGPTN: the number N of `/dev/pts/N`.
pub fn number(master: BorrowedFd<'_>) -> Result<u32, SysError> {
    let mut n: libc::c_uint = 0;
    // SAFETY: TIOCGPTN writes one unsigned int, for which there is room.
    let rc = unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCGPTN, &raw mut n) };
    Errno::result(rc).map(|_| n).call(|| "ioctl(TIOCGPTN)")
}

/// TIOCSCTTY: makes the terminal the controlling one of this session.
pub fn make_controlling(terminal: BorrowedFd<'_>) -> Result<(), SysError> {
    // SAFETY: TIOCSCTTY takes an integer; 0 means not to steal it from another session.
    let rc = unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSCTTY, 0) };
    Errno::result(rc).map(drop).call(|| "ioctl(TIOCSCTTY)")
}

/// TIOCGWINSZ.
pub fn size(terminal: BorrowedFd<'_>) -> Result<Size, SysError> {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: TIOCGWINSZ writes one winsize, for which there is room.
    let rc = unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCGWINSZ, &raw mut size) };
    Errno::result(rc).map(|_| Size { rows: size.ws_row, columns: size.ws_col }).call(|| "ioctl(TIOCGWINSZ)")
}

/// TIOCSWINSZ.
pub fn set_size(terminal: BorrowedFd<'_>, to: Size) -> Result<(), SysError> {
    let size = libc::winsize { ws_row: to.rows, ws_col: to.columns, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: TIOCSWINSZ reads one winsize, which outlives the call.
    let rc = unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) };
    Errno::result(rc).map(drop).call(|| format!("ioctl(TIOCSWINSZ, {to:?})"))
}
