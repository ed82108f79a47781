//! Runs in: host; `open_in` in a process between host and nobody.
//!
//! `linux.netDevices`: config-linux.md, "Network Devices". Devices go into the container's network namespace once init
//! is in it, before sysctls and hooks, which may be about them; if the container comes to nothing, they come back.
//!
//! Both ways are this side's: moving a device back needs privilege over the host's namespace, which a socket
//! that init has opened in a user namespace does not have. So the socket in the container's namespace is opened by a
//! short-lived process with this one's privilege, and the host itself never leaves its namespaces. The socket keeps
//! the container's namespace alive: there is somewhere to come back from even when init is dead.
//!
//! Only a kill of this process is not provided for: init dies with it, the kernel returns a physical device to the
//! first network namespace, as it does at the end of every container, and a virtual one is gone.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::sched::{CloneFlags, setns};
use nix::unistd::Pid;

use super::birth::Unadopted;
use super::netlink::{Object, Socket};
use crate::container::handshake::{Link, Message};
use crate::error::{Doing, Kind, Result, best_effort, errno_of, failure, invalid};
use crate::plan::net_devices::NetDevice;
use crate::sys::fs::{self, OFlag};
use crate::sys::process::{Side, clone3, exit_now};
use crate::sys::{Call, Errno, net};

/// In ifinfomsg: the index, flags, and which of them are to change.
const INDEX: usize = 4;
const FLAGS: usize = 8;
const CHANGE: usize = 12;
const UP: u32 = libc::IFF_UP as u32;
/// In rtmsg: a gateway that is taken to be on the link, RTNH_F_ONLINK.
const ON_LINK: u32 = 4;

/// What has been moved. Dropped before it is kept, it is moved back.
#[derive(Debug)]
pub(super) struct NetDevices {
    host: Socket,
    host_namespace: OwnedFd,
    container: Socket,
    moved: Vec<Moved>,
}

/// A device in the container.
#[derive(Debug)]
struct Moved {
    before: Before,
    /// Its index in the container; `None` while it is on its way there.
    index: Option<u32>,
}

/// A device as it was on the host.
#[derive(Debug)]
struct Before {
    name: String,
    index: u32,
    /// The index of the bridge or bond that it is a port of.
    master: Option<u32>,
    up: bool,
    /// In the order in which they make the list that the kernel has now.
    addresses: Vec<Object>,
    /// Those that were added, not the kernel's own.
    routes: Vec<Object>,
}

impl Before {
    /// Its name between the two.
    fn interim(&self) -> String {
        format!("mdo{}", self.index)
    }
}

impl NetDevices {
    /// Moves all of them, or none.
    pub(super) fn give(devices: &[NetDevice], init: Pid) -> Result<Self> {
        let host_namespace = namespace("self")?;
        let host = Socket::new(net::route_socket()?);
        let container_namespace = namespace(&init.to_string())?;
        let container = Socket::new(open_in(&container_namespace)?);
        let what = |device: &NetDevice| format!("linux.netDevices {:?}", device.from);
        let mut here = Vec::new();
        for device in devices {
            here.push(look(&host, &container, device).doing(|| what(device))?);
        }
        let mut all = Self { host, host_namespace, container, moved: Vec::new() };
        for (device, before) in devices.iter().zip(here) {
            all.give_one(device, before, &container_namespace).doing(|| what(device))?;
        }
        Ok(all)
    }

    /// They are the container's, for good.
    pub(super) fn keep(mut self) {
        self.moved.clear();
    }

    fn give_one(&mut self, device: &NetDevice, before: Before, to: &OwnedFd) -> Result<()> {
        // First by a name that nobody else has, by which it is found again: the final one may be the kernel's choice,
        // and the index may be another device's there.
        let interim = before.interim();
        if link(&self.container, &interim)?.is_some() {
            return Err(failure(Kind::Exists, format!("{interim:?} is there already")));
        }
        let permanent: Vec<Object> = before.addresses.iter().filter(|a| is_lasting(a)).cloned().collect();
        let old_name = before.name.clone();
        let request = moving(before.index, to, &interim);
        // A request whose answer is lost may have been granted.
        self.moved.push(Moved { before, index: None });
        self.host.set(request)?;
        let index = index_of(&self.container, &interim)?;
        if let Some(moved) = self.moved.last_mut() {
            moved.index = Some(index);
        }
        self.container.set(by_index(index).with_name(libc::IFLA_IFNAME, &device.to))?;
        let name = name_of(&self.container, index)?;
        for address in &permanent {
            let address = for_device(address, index, &old_name, &name);
            self.container.add(address).doing(|| "addresses")?;
        }
        self.container.set(up(index))
    }

    fn take_back(&self, moved: &Moved) -> Result<()> {
        let before = &moved.before;
        let there = match moved.index {
            None => link(&self.container, &before.interim())?.map(|link| link.field(INDEX)),
            index => index,
        };
        // It never went.
        let Some(there) = there else { return Ok(()) };
        self.container.set(moving(there, &self.host_namespace, &before.name))?;
        let index = index_of(&self.host, &before.name)?;
        let again = |added: Result<()>| match added {
            // The kernel's own, such as an IPv6 address of the link.
            Err(error) if errno_of(&error) == Some(Errno::EEXIST) => Ok(()),
            added => added,
        };
        for address in &before.addresses {
            let address = for_device(address, index, &before.name, &before.name);
            best_effort("restore an address", again(self.host.add(address)));
        }
        if let Some(master) = before.master {
            let port = by_index(index).with(libc::IFLA_MASTER, master.to_ne_bytes());
            best_effort("restore its bridge", self.host.set(port));
        }
        if before.up {
            self.host.set(up(index))?;
        }
        for route in &before.routes {
            let mut route = route.clone();
            for attribute in route.attributes.iter_mut().filter(|a| a.0 == libc::RTA_OIF) {
                attribute.1 = index.to_ne_bytes().to_vec();
            }
            best_effort("restore a route", again(self.host.add(route)));
        }
        Ok(())
    }
}

impl Drop for NetDevices {
    fn drop(&mut self) {
        for moved in std::mem::take(&mut self.moved).iter().rev() {
            let back = self.take_back(moved).doing(|| format!("network device {:?}", moved.before.name));
            best_effort("move back", back);
        }
    }
}

/// The network namespace of a process, or of this one. namespaces(7): a link that only open(2) follows.
fn namespace(pid: &str) -> Result<OwnedFd> {
    Ok(fs::open(format!("/proc/{pid}/ns/net").as_str(), OFlag::O_RDONLY)?)
}

/// A socket of another network namespace.
fn open_in(namespace: &OwnedFd) -> Result<OwnedFd> {
    let (link, opener_link) = Link::pair()?;
    match clone3(0, None)? {
        Side::Init => {
            let opened = || -> Result<OwnedFd> {
                setns(namespace.as_fd(), CloneFlags::CLONE_NEWNET).call(|| "setns(CLONE_NEWNET)")?;
                Ok(net::route_socket()?)
            };
            match opened() {
                Ok(socket) => {
                    exit_now(i32::from(opener_link.send(&Message::Opened, Some(socket.as_fd())).is_err()))
                }
                Err(error) => {
                    opener_link.report(&error);
                    exit_now(1)
                }
            }
        }
        Side::Host(_, pidfd) => {
            drop(opener_link);
            let _opener = Unadopted::new(pidfd);
            match link.receive_with_fd::<Message>()? {
                Some((Message::Opened, Some(socket))) => Ok(socket),
                Some((Message::Failed(report), _)) => Err(report.into()),
                _ => Err(failure(Kind::System, "the process that opens a socket has ended without a word")),
            }
        }
    }
}

/// That it can be moved, and how it is.
fn look(host: &Socket, container: &Socket, device: &NetDevice) -> Result<Before> {
    let there = link(host, &device.from)?.ok_or_else(|| invalid("the host has no such device"))?;
    if !device.is_template() && link(container, &device.to)?.is_some() {
        let text = format!("name: the container's network namespace has a {:?} already", device.to);
        return Err(failure(Kind::Exists, text));
    }
    let index = there.field(INDEX);
    let mut addresses = host.dump(&Object::new(libc::RTM_GETADDR)).doing(|| "addresses")?;
    addresses.retain(|address| address.field(INDEX) == index);
    // The kernel lists the addresses of IPv4 by their age, those of IPv6 the other way round.
    let (mut addresses, newer): (Vec<_>, Vec<_>) = addresses.into_iter().partition(|a| !is_ipv6(a));
    addresses.extend(newer.into_iter().rev());
    let mut routes = host.dump(&Object::new(libc::RTM_GETROUTE)).doing(|| "routes")?;
    routes.retain(|route| is_added(route, index));
    for route in &mut routes {
        // What it says of its state is not to be set; what it needs to be there are routes without a gateway.
        route.set_field(8, route.field(8) & ON_LINK);
        route.attributes.retain(|a| a.0 != libc::RTA_CACHEINFO);
    }
    routes.sort_by_key(|route| route.get(libc::RTA_GATEWAY).is_some());
    // A name that is only one of its alternative names does not come back by itself.
    let name = there.name(libc::IFLA_IFNAME).unwrap_or_else(|| device.from.clone());
    let (master, up) = (there.number(libc::IFLA_MASTER), there.field(FLAGS) & UP != 0);
    Ok(Before { name, index, master, up, addresses, routes })
}

fn is_ipv6(object: &Object) -> bool {
    object.header.first().copied().map(i32::from) == Some(libc::AF_INET6)
}

/// In rtmsg: the table, who has added it, and its type.
fn is_added(route: &Object, index: u32) -> bool {
    let [.., table, protocol, _scope, kind] = route.header.get(..8).unwrap_or_default() else { return false };
    route.number(libc::RTA_OIF) == Some(index)
        && *table != libc::RT_TABLE_LOCAL
        && *protocol != libc::RTPROT_KERNEL
        && *kind == libc::RTN_UNICAST
        && route.field(8) & libc::RTM_F_CLONED == 0
}

/// Permanent, and valid everywhere: the container keeps it.
fn is_lasting(address: &Object) -> bool {
    // In ifaddrmsg: family, prefix, flags, scope.
    let scope = address.header.get(3).copied();
    flags_of(address) & libc::IFA_F_PERMANENT != 0 && scope == Some(libc::RT_SCOPE_UNIVERSE)
}

/// All 32 of them; the header has room for eight.
fn flags_of(address: &Object) -> u32 {
    address.number(libc::IFA_FLAGS).unwrap_or_else(|| address.header.get(2).copied().unwrap_or(0).into())
}

/// The same address for a device of another name and index.
fn for_device(address: &Object, index: u32, old: &str, new: &str) -> Object {
    // The others say how it is and not what it is to be.
    const SETTABLE: u32 = libc::IFA_F_NODAD
        | libc::IFA_F_HOMEADDRESS
        | libc::IFA_F_MANAGETEMPADDR
        | libc::IFA_F_NOPREFIXROUTE
        | libc::IFA_F_MCAUTOJOIN;
    let mut copy = address.clone();
    let flags = flags_of(address) & SETTABLE;
    copy.set_field(INDEX, index);
    copy.header[2] = 0;
    copy.attributes.retain(|a| ![libc::IFA_FLAGS, libc::IFA_LABEL].contains(&a.0));
    if let Some(label) = address.name(libc::IFA_LABEL) {
        copy = copy.with_name(libc::IFA_LABEL, &relabelled(&label, old, new));
    }
    copy.with(libc::IFA_FLAGS, flags.to_ne_bytes())
}

/// `eth0:web` of a device that is now `wan` is `wan:web`, cut as the kernel cuts it when it renames.
fn relabelled(label: &str, old: &str, new: &str) -> String {
    const LONGEST: usize = libc::IFNAMSIZ - 1;
    match label.strip_prefix(old) {
        Some("") => new.to_owned(),
        Some(rest) if rest.starts_with(':') => {
            let mut end = new.len().min(LONGEST.saturating_sub(rest.len()));
            while !new.is_char_boundary(end) {
                end -= 1;
            }
            format!("{}{rest}", &new[..end])
        }
        _ => label.to_owned(),
    }
}

fn link(socket: &Socket, name: &str) -> Result<Option<Object>> {
    socket.find(Object::new(libc::RTM_GETLINK).with_name(libc::IFLA_IFNAME, name))
}

fn index_of(socket: &Socket, name: &str) -> Result<u32> {
    let found = link(socket, name)?.ok_or_else(|| failure(Kind::System, format!("{name:?} has vanished")))?;
    Ok(found.field(INDEX))
}

fn name_of(socket: &Socket, index: u32) -> Result<String> {
    let mut object = Object::new(libc::RTM_GETLINK);
    object.set_field(INDEX, index);
    let found = socket.find(object)?.and_then(|link| link.name(libc::IFLA_IFNAME));
    found.ok_or_else(|| failure(Kind::System, "the device has vanished"))
}

fn by_index(index: u32) -> Object {
    let mut object = Object::new(libc::RTM_SETLINK);
    object.set_field(INDEX, index);
    object
}

fn moving(index: u32, to: &OwnedFd, name: &str) -> Object {
    let namespace = to.as_raw_fd().to_ne_bytes();
    by_index(index).with(libc::IFLA_NET_NS_FD, namespace).with_name(libc::IFLA_IFNAME, name)
}

fn up(index: u32) -> Object {
    let mut object = by_index(index);
    object.set_field(FLAGS, UP);
    object.set_field(CHANGE, UP);
    object
}

#[cfg(test)]
mod tests {
    use super::{Object, for_device, is_lasting, relabelled};

    #[test]
    fn a_label_follows_its_device() {
        assert_eq!(relabelled("eth0", "eth0", "wan"), "wan");
        assert_eq!(relabelled("eth0:web", "eth0", "wan"), "wan:web");
        assert_eq!(relabelled("eth01", "eth0", "wan"), "eth01");
        assert_eq!(relabelled("other", "eth0", "wan"), "other");
        assert_eq!(relabelled("eth0:web", "eth0", "a-long-name-123"), "a-long-name:web");
    }

    fn address(flags: u32, scope: u8) -> Object {
        let mut address = Object::new(libc::RTM_NEWADDR).with(libc::IFA_FLAGS, flags.to_ne_bytes());
        address.header = vec![2, 24, 0x80, scope, 9, 0, 0, 0];
        address.with(200, *b"novel")
    }

    #[test]
    fn an_address_keeps_all_but_its_device_and_its_state() {
        let flags = libc::IFA_F_PERMANENT | libc::IFA_F_NOPREFIXROUTE | libc::IFA_F_SECONDARY;
        let copy = for_device(&address(flags, 0), 7, "a", "b");
        assert_eq!(copy.header, [2, 24, 0, 0, 7, 0, 0, 0]);
        assert_eq!(copy.number(libc::IFA_FLAGS), Some(libc::IFA_F_NOPREFIXROUTE));
        // What this program does not know is kept as it is.
        assert_eq!(copy.get(200), Some(b"novel".as_slice()));
    }

    #[test]
    fn only_permanent_addresses_of_the_whole_world_last() {
        assert!(is_lasting(&address(libc::IFA_F_PERMANENT, libc::RT_SCOPE_UNIVERSE)));
        assert!(!is_lasting(&address(libc::IFA_F_PERMANENT, libc::RT_SCOPE_LINK)));
        assert!(!is_lasting(&address(0, libc::RT_SCOPE_UNIVERSE)));
    }
}
