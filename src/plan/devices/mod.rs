//! Devices: config-linux.md, "Devices" and "Default Devices", and who may use them.

mod program;
mod rules;
mod table;

use std::path::Path;

use super::mounts::{MountStep, Source};
use crate::error::{Doing, Result, invalid};
use crate::rootpath::InRootfs;
use crate::spec::oci::{Linux, LinuxDevice, LinuxDeviceType};
pub use program::{Rules, program};

/// A device node that the container has to have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// `linux.devices[i]`, or what the specification calls it.
    pub name: String,
    /// Where in the container.
    pub at: InRootfs,
    /// S_IFCHR, S_IFBLK or S_IFIFO.
    pub file_type: u32,
    /// 0 for a FIFO.
    pub major: u32,
    /// 0 for a FIFO.
    pub minor: u32,
    /// Permission bits.
    pub mode: u32,
    /// Owner in the container.
    pub uid: u32,
    /// Group in the container.
    pub gid: u32,
}

/// A symbolic link in /dev.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Where in the container.
    pub at: InRootfs,
    /// What it holds.
    pub target: &'static str,
}

/// config-linux.md, "Default Devices"; /dev/console comes with the terminal, /dev/ptmx is a link.
const DEFAULT: [(&str, u32, u32); 6] = [
    ("/dev/null", 1, 3),
    ("/dev/zero", 1, 5),
    ("/dev/full", 1, 7),
    ("/dev/random", 1, 8),
    ("/dev/urandom", 1, 9),
    ("/dev/tty", 5, 0),
];

/// runtime-linux.md, "Dev symbolic links", and the ptmx of the container's own devpts.
const LINKS: [(&str, &str); 5] = [
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
    ("/dev/ptmx", "pts/ptmx"),
];

/// What is made once the mounts are there. In a directory that is bound to `/dev`, which may be the host's own, nothing is:
/// whoever binds it says what there is, and crun and runc have it so, too.
pub fn plan(linux: &Linux, mounts: &[MountStep]) -> Result<(Vec<Device>, Vec<Link>)> {
    let covering = |at: &InRootfs| {
        let shows = |mount: &&MountStep| at.within(&mount.at).is_some();
        mounts.iter().rev().filter(|mount| !matches!(mount.source, Source::Remount(_))).find(shows)
    };
    let is_ours = |at: &InRootfs| {
        !covering(at).is_some_and(|m| m.at.is("/dev") && matches!(m.source, Source::Bind { .. }))
    };
    let mut devices = nodes(linux)?;
    let mut links = links(&devices)?;
    devices.retain(|device| is_ours(&device.at));
    links.retain(|link| is_ours(&link.at));
    Ok((devices, links))
}

/// The nodes: those of the configuration, and the default ones that it does not name itself.
fn nodes(linux: &Linux) -> Result<Vec<Device>> {
    let mut devices = Vec::new();
    for (index, device) in linux.devices().iter().flatten().enumerate() {
        let name = format!("linux.devices[{index}] {}", device.path().display());
        devices.push(node(&name, device).doing(|| name.clone())?);
    }
    for (path, major, minor) in DEFAULT {
        let at = InRootfs::new(Path::new(path))?;
        if devices.iter().all(|d| d.at != at) {
            let name = format!("default device {path}");
            let (uid, gid) = (0, 0);
            devices.push(Device { name, at, file_type: libc::S_IFCHR, major, minor, mode: 0o666, uid, gid });
        }
    }
    Ok(devices)
}

/// The links, less those whose place a device of the configuration takes.
fn links(devices: &[Device]) -> Result<Vec<Link>> {
    let links = LINKS.iter().map(|(path, target)| Ok(Link { at: InRootfs::new(Path::new(path))?, target }));
    let links: Vec<Link> = links.collect::<Result<_>>()?;
    Ok(links.into_iter().filter(|l| devices.iter().all(|d| d.at != l.at)).collect())
}

fn node(name: &str, device: &LinuxDevice) -> Result<Device> {
    let file_type = match device.typ() {
        LinuxDeviceType::C | LinuxDeviceType::U => libc::S_IFCHR,
        LinuxDeviceType::B => libc::S_IFBLK,
        LinuxDeviceType::P => libc::S_IFIFO,
        LinuxDeviceType::A => return Err(invalid("type a is for rules of resources.devices")),
    };
    let number = |what: &str, number: i64| {
        u32::try_from(number).ok().ok_or_else(|| invalid(format!("{what} {number} is not a device number")))
    };
    let (major, minor) = match file_type {
        libc::S_IFIFO => (0, 0),
        _ => (number("major", device.major())?, number("minor", device.minor())?),
    };
    Ok(Device {
        name: name.to_owned(),
        at: InRootfs::absolute(device.path())?,
        file_type,
        major,
        minor,
        mode: device.file_mode().unwrap_or(0o666) & 0o7777,
        uid: device.uid().unwrap_or(0),
        gid: device.gid().unwrap_or(0),
    })
}

#[cfg(test)]
mod tests {
    use super::{links, nodes};
    use crate::spec::oci::Linux;

    fn linux(json: &str) -> Linux {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn a_device_of_the_configuration_takes_the_place_of_a_default_one() {
        let linux =
            linux(r#"{"devices":[{"path":"/dev/null","type":"c","major":1,"minor":3,"fileMode":384}]}"#);
        let nodes = nodes(&linux).unwrap();
        assert_eq!(
            nodes.iter().filter(|d| d.at.is("/dev/null")).map(|d| d.mode).collect::<Vec<_>>(),
            [0o600]
        );
        assert_eq!(nodes.len(), 6);
        assert_eq!(links(&nodes).unwrap().len(), 5);
    }
}
