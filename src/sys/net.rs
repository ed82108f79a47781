//! What init and host need of networking: the loopback device of a new namespace up, a socket to rtnetlink(7), the
//! address of a socket in a directory, messages with a descriptor.

use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, UnixAddr, recvmsg,
    sendmsg, socket, socketpair,
};

use super::{Call, SysError, retry_eintr};

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

/// A NETLINK_ROUTE socket of this process's network namespace: rtnetlink(7). Errors come with a sentence
/// (NETLINK_EXT_ACK) and without the request (NETLINK_CAP_ACK), both since Linux 4.12.
pub fn route_socket() -> Result<OwnedFd, SysError> {
    let socket = socket(
        AddressFamily::Netlink,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        nix::sys::socket::SockProtocol::NetlinkRoute,
    )
    .call(|| "socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE)")?;
    for option in [libc::NETLINK_EXT_ACK, libc::NETLINK_CAP_ACK] {
        let yes: libc::c_int = 1;
        #[expect(clippy::cast_possible_truncation, reason = "the size of an int")]
        let size = size_of_val(&yes) as libc::socklen_t;
        // SAFETY: the pointer and the size describe `yes`, which outlives the call.
        let rc = unsafe {
            libc::setsockopt(socket.as_raw_fd(), libc::SOL_NETLINK, option, (&raw const yes).cast(), size)
        };
        Errno::result(rc).call(|| format!("setsockopt(SOL_NETLINK, {option})"))?;
    }
    Ok(socket)
}

/// unix(7): the address of the socket's file `name` in a directory, by the directory's descriptor: the length of a
/// socket's path is limited. An empty name is of the file itself that `at` is.
pub fn socket_at(at: BorrowedFd<'_>, name: &str) -> Result<UnixAddr, SysError> {
    let own = format!("/proc/self/fd/{}", at.as_raw_fd());
    let path = if name.is_empty() { own } else { format!("{own}/{name}") };
    UnixAddr::new(path.as_str()).call(|| format!("sockaddr_un({path:?})"))
}

/// socketpair(2), SOCK_SEQPACKET: whole messages, in order, and the end of the other side is seen.
pub fn seqpacket_pair() -> Result<(OwnedFd, OwnedFd), SysError> {
    socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)
        .call(|| "socketpair(AF_UNIX, SOCK_SEQPACKET)")
}

/// sendmsg(2) of bytes, with a descriptor if there is one. A peer that has gone is EPIPE, no signal. Answers how many
/// were taken: all of them but by a stream.
pub fn send(socket: BorrowedFd<'_>, bytes: &[u8], fd: Option<BorrowedFd<'_>>) -> Result<usize, SysError> {
    let fds: Vec<RawFd> = fd.iter().map(AsRawFd::as_raw_fd).collect();
    let rights = [ControlMessage::ScmRights(&fds)];
    let control: &[ControlMessage<'_>] = if fds.is_empty() { &[] } else { &rights };
    retry_eintr(|| {
        sendmsg::<()>(socket.as_raw_fd(), &[IoSlice::new(bytes)], control, MsgFlags::MSG_NOSIGNAL, None)
    })
    .call(|| format!("sendmsg({} bytes, {} descriptors)", bytes.len(), fds.len()))
}

/// recvmsg(2) of one message and the descriptor that came with it; of no bytes when the peer has gone, and EMSGSIZE if
/// there are more than `most`. Its length is asked for first: a buffer for the longest would be more pages than all
/// else that a message takes.
pub fn receive(socket: BorrowedFd<'_>, most: usize) -> Result<(Vec<u8>, Option<OwnedFd>), SysError> {
    let look = MsgFlags::MSG_PEEK | MsgFlags::MSG_TRUNC;
    let length = retry(|| Ok(recvmsg::<()>(socket.as_raw_fd(), &mut [], None, look)?.bytes))?;
    if length == 0 {
        return Ok((Vec::new(), None));
    }
    if length > most {
        return Err(Errno::EMSGSIZE).call(|| format!("recvmsg(): {length} bytes"));
    }
    let mut bytes = vec![0; length];
    let mut control = nix::cmsg_space!([RawFd; 1]);
    let (received, fd) = retry(|| {
        let mut parts = [IoSliceMut::new(&mut bytes)];
        let message =
            recvmsg::<()>(socket.as_raw_fd(), &mut parts, Some(&mut control), MsgFlags::MSG_CMSG_CLOEXEC)?;
        let mut fd = None;
        for control in message.cmsgs()? {
            if let ControlMessageOwned::ScmRights(fds) = control {
                // There may be more than were asked for: each is this process's now, and the others are closed.
                let mut fds = fds.into_iter().map(super::fs::own);
                fd = fds.next();
                fds.for_each(drop);
            }
        }
        Ok((message.bytes, fd))
    })?;
    bytes.truncate(received);
    Ok((bytes, fd))
}

/// If the other side has ended with words of ours unread, that is said once, and before its own last words.
fn retry<T>(mut receive: impl FnMut() -> nix::Result<T>) -> Result<T, SysError> {
    loop {
        match receive() {
            Err(Errno::ECONNRESET | Errno::EINTR) => {}
            received => return received.call(|| "recvmsg()"),
        }
    }
}
