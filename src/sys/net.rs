//! The one thing a new network namespace needs before there is networking: its loopback device up.

use std::os::fd::AsRawFd;

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

use super::{Call, SysError};

/// Sets IFF_UP on `lo` of this process's network namespace: netdevice(7), SIOCSIFFLAGS.
pub fn loopback_up() -> Result<(), SysError> {
    let control = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)
        .call(|| "socket(AF_INET, SOCK_DGRAM)")?;
    let mut name = [0; libc::IFNAMSIZ];
    name[..2].copy_from_slice(&[b'l' as libc::c_char, b'o' as libc::c_char]);
    #[expect(clippy::cast_possible_truncation, reason = "the flags of ifreq are a short")]
    let up = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    let request = libc::ifreq { ifr_name: name, ifr_ifru: libc::__c_anonymous_ifr_ifru { ifru_flags: up } };
    // SAFETY: SIOCSIFFLAGS reads one ifreq, which outlives the call.
    let rc = unsafe { libc::ioctl(control.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) };
    Errno::result(rc).map(drop).call(|| r#"ioctl(SIOCSIFFLAGS, "lo", IFF_UP)"#)
}
