//! `linux.netDevices`: config-linux.md, "Network Devices". Which devices of the host become the container's.

use std::collections::{BTreeMap, BTreeSet};

use super::HostFacts;
use super::namespaces::Namespaces;
use crate::error::{Doing, Result, invalid};
use crate::spec::oci::{Linux, LinuxNamespaceType};

/// A device that is moved into the container's network namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetDevice {
    /// Its name on the host.
    pub from: String,
    /// Its name in the container, or a template: the kernel puts the first free number in the place of `%d`.
    pub to: String,
}

/// What stands for a number in a template.
const NUMBER: &str = "%d";

impl NetDevice {
    /// Whether the kernel chooses the name.
    pub fn is_template(&self) -> bool {
        self.to.contains(NUMBER)
    }
}

/// Plans `linux.netDevices`, by the names on the host.
pub fn plan(linux: &Linux, namespaces: &Namespaces, facts: HostFacts) -> Result<Vec<NetDevice>> {
    let sorted: BTreeMap<_, _> = linux.net_devices().iter().flatten().collect();
    if sorted.is_empty() {
        return Ok(Vec::new());
    }
    let what = || "linux.netDevices";
    namespaces.own(LinuxNamespaceType::Network, facts).doing(what)?;
    if facts.euid != 0 {
        return Err(invalid("only root can move network devices")).doing(what);
    }
    let mut taken = BTreeSet::new();
    let mut devices = Vec::new();
    for (from, device) in sorted {
        // Engines write an absent name as an empty one.
        let to = device.name().as_ref().filter(|name| !name.is_empty()).unwrap_or(from);
        let device = NetDevice { from: from.clone(), to: to.clone() };
        check(&device).doing(|| format!("linux.netDevices {from:?}"))?;
        if !device.is_template() && !taken.insert(to) {
            return Err(invalid(format!(
                "linux.netDevices {from:?}: name {to:?} is another device's already"
            )));
        }
        devices.push(device);
    }
    Ok(devices)
}

fn check(device: &NetDevice) -> Result<()> {
    check_name(&device.from)?;
    check_name(&device.to).doing(|| "name")?;
    if [&device.from, &device.to].iter().any(|name| *name == "lo") {
        return Err(invalid("every network namespace has a \"lo\" of its own"));
    }
    // Else a % is no part of a name that the kernel gives.
    let percents = device.to.matches('%').count();
    match percents == 0 || (percents == 1 && device.is_template()) {
        true => Ok(()),
        false => Err(invalid(format!("name {:?}: a template has one {NUMBER} and no other %", device.to))),
    }
}

/// What the kernel takes as a device's name: dev_valid_name(), netdevice(7).
fn check_name(name: &str) -> Result<()> {
    const LONGEST: usize = libc::IFNAMSIZ - 1;
    let bad = |b: u8| b == 0 || b == b'/' || b == b':' || b.is_ascii_whitespace() || b == 0x0b;
    match name.is_empty() || name.len() > LONGEST || name == "." || name == ".." || name.bytes().any(bad) {
        true => Err(invalid(format!(
            "{name:?} is not a network device's name: 1 to {LONGEST} bytes without \"/\", \":\" and white space"
        ))),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::{HostFacts, Namespaces, NetDevice, plan};
    use crate::plan::namespaces::bit;
    use crate::spec::oci::LinuxNamespaceType::Network;
    use serde_json::{Value, json};

    fn planned(devices: &Value, namespace: &Value, facts: HostFacts) -> Result<Vec<NetDevice>, String> {
        let linux = json!({ "netDevices": devices, "namespaces": [namespace] });
        let linux = serde_json::from_value(linux).unwrap();
        plan(&linux, &Namespaces::plan(&linux).unwrap(), facts).map_err(|e| format!("{e:#}"))
    }

    fn new(devices: &Value) -> Result<Vec<NetDevice>, String> {
        planned(devices, &json!({ "type": "network" }), HostFacts::default())
    }

    #[test]
    fn a_device_keeps_its_name_unless_another_is_given() {
        let devices = new(&json!({ "eth1": {}, "eth0": { "name": "wan" }, "eth2": { "name": "" } })).unwrap();
        let names: Vec<_> = devices.iter().map(|d| (d.from.as_str(), d.to.as_str())).collect();
        assert_eq!(names, [("eth0", "wan"), ("eth1", "eth1"), ("eth2", "eth2")]);
    }

    #[test]
    fn a_name_that_the_kernel_would_not_take_is_refused_on_either_side() {
        let long = "x".repeat(16);
        for bad in [".", "..", "a/b", "a:1", "a b", "a\tb", "a\nb", "a\u{b}b", "a\0b", long.as_str(), "lo"] {
            let error = new(&json!({ "eth0": { "name": bad } })).unwrap_err();
            assert!(error.starts_with("linux.netDevices \"eth0\": "), "{error}");
            let error = new(&json!({ bad: { "name": "eth0" } })).unwrap_err();
            assert!(error.starts_with("linux.netDevices "), "{error}");
        }
        assert!(new(&json!({ "": {} })).is_err());
        assert!(new(&json!({ "x".repeat(15): {} })).is_ok());
    }

    #[test]
    fn a_template_has_one_number() {
        for good in ["eth%d", "%d", "a%db"] {
            assert!(new(&json!({ "eth0": { "name": good } })).unwrap()[0].is_template(), "{good}");
        }
        for bad in ["eth%", "eth%s", "%d%d", "%%d", "eth%u"] {
            assert!(new(&json!({ "eth0": { "name": bad } })).unwrap_err().contains("template"), "{bad}");
        }
    }

    #[test]
    fn two_devices_of_one_name_are_refused_and_two_of_one_template_are_not() {
        let error = new(&json!({ "eth0": { "name": "x" }, "eth1": { "name": "x" } })).unwrap_err();
        assert!(error.contains(r#""eth1": name "x""#), "{error}");
        assert!(new(&json!({ "x": {}, "eth0": { "name": "x" } })).is_err());
        assert!(new(&json!({ "eth0": { "name": "x%d" }, "eth1": { "name": "x%d" } })).is_ok());
    }

    #[test]
    fn the_network_namespace_has_to_be_the_containers_own() {
        let device = json!({ "eth0": {} });
        let joined = json!({ "type": "network", "path": "/run/netns/x" });
        let host = HostFacts { runtimes_own: bit(Network), ..HostFacts::default() };
        assert!(planned(&device, &joined, HostFacts::default()).is_ok());
        assert!(planned(&device, &joined, host).unwrap_err().contains("the runtime's own"));
        let error = planned(&device, &json!({ "type": "pid" }), HostFacts::default()).unwrap_err();
        assert!(error.contains("needs a network namespace"), "{error}");
        assert!(planned(&json!({}), &json!({ "type": "pid" }), HostFacts::default()).unwrap().is_empty());
    }

    #[test]
    fn only_root_can_move_devices() {
        let user = HostFacts { euid: 1000, ..HostFacts::default() };
        let error = planned(&json!({ "eth0": {} }), &json!({ "type": "network" }), user).unwrap_err();
        assert_eq!(error, "linux.netDevices: only root can move network devices");
    }
}
