//! config-linux.md: netDevices. The runtime runs in a network namespace of the case's own, where `ip` makes
//! what is to be moved: a veth pair, as both ends are there in any kernel with containers.

use std::ffi::OsString;

use serde_json::{Value, json};

use crate::bundle::Bundle;
use crate::clause::{Clause, Need, Outcome, Stop, expect, must};
use crate::command::Done;
use crate::container::Container;
use crate::draft::Draft;
use crate::lab::Lab;
use crate::seen::Seen;

const DEVICES: &str = "config-linux.md#network-devices";
const AVAILABLE: &str =
    "netDevices (object, OPTIONAL) - A set of network devices that MUST be made available in the container.";
const EXISTS: &str = "If a network device with the specified name already exists in the container namespace, the runtime MUST generate an error";
const PRESERVE: &str = "The runtime MUST preserve existing network interface attributes, including all permanent IP addresses … of any family with global scope";
const POSSIBLE: &str =
    "The runtime MUST check if moving the network interface to the container namespace is possible.";
const INVALID: &str = "Runtimes MUST generate an error when invalid or unsupported values are encountered.";
const IP: &[Need] = &[Need::Program("ip"), Need::Program("unshare")];
const PAIR: &str = "ip link add test0 type veth peer name peer0";

pub(crate) const CLAUSES: &[Clause] = &[
    must("linux.net-devices.moved", (DEVICES, AVAILABLE), |lab| {
        let seen = moved(lab, PAIR, json!({ "test0": {} }))?;
        has(&seen, "test0")
    })
    .needs(IP),
    must("linux.net-devices.several", (DEVICES, AVAILABLE), |lab| {
        let seen = moved(lab, PAIR, json!({ "test0": {}, "peer0": {} }))?;
        has(&seen, "test0")?;
        has(&seen, "peer0")
    })
    .needs(IP),
    must("linux.net-devices.renamed", (DEVICES, "name (string, OPTIONAL) - the name of the network device inside the container namespace."), |lab| {
        let seen = moved(lab, PAIR, json!({ "test0": { "name": "inside0" } }))?;
        has(&seen, "inside0")?;
        expect(!names(&seen).contains(&"test0".to_owned()), "it has its old name, too")
    })
    .needs(IP),
    must("linux.net-devices.template", (DEVICES, "unless the user has provided a template by appending %d to the new name. In that case … the kernel will generate a unique name"), |lab| {
        let seen = moved(lab, PAIR, json!({ "test0": { "name": "eth%d" }, "peer0": { "name": "eth%d" } }))?;
        has(&seen, "eth0")?;
        has(&seen, "eth1")
    })
    .needs(IP),
    must("linux.net-devices.up", (DEVICES, "The runtime MUST set the network device state to \"up\" after moving it to the network namespace"), |lab| {
        let seen = moved(lab, PAIR, json!({ "test0": {} }))?;
        let flags = seen["read"]["/sys/class/net/test0/flags"].as_str().unwrap_or("").to_owned();
        let number = u32::from_str_radix(flags.trim_start_matches("0x"), 16).unwrap_or(0);
        expect(number & 1 == 1, format!("its flags are {flags:?}"))
    })
    .needs(IP),
    must("linux.net-devices.mtu", (DEVICES, PRESERVE), |lab| {
        let seen = moved(lab, &format!("{PAIR}; ip link set test0 mtu 1234"), json!({ "test0": {} }))?;
        seen.is("read/~1sys~1class~1net~1test0~1mtu", "1234")
    })
    .needs(IP),
    must("linux.net-devices.hardware-address", (DEVICES, PRESERVE), |lab| {
        let seen = moved(lab, &format!("{PAIR}; ip link set test0 address 02:00:00:00:12:34"), json!({ "test0": {} }))?;
        seen.is("read/~1sys~1class~1net~1test0~1address", "02:00:00:00:12:34")
    })
    .needs(IP),
    must("linux.net-devices.address.ipv4", (DEVICES, PRESERVE), |lab| {
        let seen = moved(lab, &format!("{PAIR}; ip addr add 192.0.2.7/24 dev test0"), json!({ "test0": {} }))?;
        holds(&seen, "/proc/net/fib_trie", "192.0.2.7")
    })
    .needs(IP),
    must("linux.net-devices.address.ipv6", (DEVICES, PRESERVE), |lab| {
        let seen = moved(lab, &format!("{PAIR}; ip -6 addr add 2001:db8::7/64 dev test0 nodad"), json!({ "test0": {} }))?;
        holds(&seen, "/proc/net/if_inet6", "20010db8000000000000000000000007")
    })
    .needs(&[Need::Program("ip"), Need::Program("unshare"), Need::File("/proc/net/if_inet6")]),
    must("linux.net-devices.address.renamed", (DEVICES, PRESERVE), |lab| {
        let script = format!("{PAIR}; ip link set test0 up; ip addr add 192.0.2.7/24 dev test0; ip addr add 198.51.100.7/24 dev test0");
        let seen = moved(lab, &script, json!({ "test0": { "name": "inside0" } }))?;
        holds(&seen, "/proc/net/fib_trie", "192.0.2.7")?;
        holds(&seen, "/proc/net/fib_trie", "198.51.100.7")
    })
    .needs(IP),
    must("linux.net-devices.exists", (DEVICES, EXISTS), |lab| {
        refused(lab, &format!("{PAIR}; ip link add other0 type veth peer name other1"), json!({ "test0": { "name": "same0" }, "other0": { "name": "same0" } }))
    })
    .needs(IP),
    must("linux.net-devices.exists.loopback", (DEVICES, EXISTS), |lab| {
        refused(lab, PAIR, json!({ "test0": { "name": "lo" } }))
    })
    .needs(IP),
    must("linux.net-devices.missing", (DEVICES, POSSIBLE), |lab| refused(lab, PAIR, json!({ "nothing0": {} }))).needs(IP),
    must("linux.net-devices.not-to-be-moved", (DEVICES, POSSIBLE), |lab| refused(lab, PAIR, json!({ "lo": { "name": "lo9" } }))).needs(IP),
    must("linux.net-devices.name.too-long", ("config.md#valid-values", INVALID), |lab| {
        refused(lab, PAIR, json!({ "test0": { "name": "a-name-that-is-too-long" } }))
    })
    .needs(IP),
    must("linux.net-devices.name.slash", ("config.md#valid-values", INVALID), |lab| {
        refused(lab, PAIR, json!({ "test0": { "name": "a/b" } }))
    })
    .needs(IP),
    must("linux.net-devices.no-namespace", (DEVICES, POSSIBLE), |lab| {
        let bundle = lab.with("linux/netDevices", json!({ "test0": {} })).share("network").save()?;
        lab.note_refusal(&create_in(&bundle, PAIR)?.fails()?, "netDevices|network|test0");
        lab.knows_nothing_of(&bundle.id)
    })
    .needs(IP),
    must("linux.net-devices.not-moved-back", (DEVICES, "The runtime MUST NOT attempt to move the interface out of the namespace before deletion."), |lab| {
        // The namespace that it came from is kept by a process of the case's own.
        let script = format!("{PAIR}; sleep 30 & echo $! >{}", lab.dir.join("keeper").display());
        let bundle = draft(lab, json!({ "test0": {} })).then("wait").save()?;
        let done = create_in(&bundle, &script)?.ok()?;
        let container = Container::of(bundle, &done)?;
        let keeper: i32 = crate::command::text(lab.dir.join("keeper")).trim().parse()?;
        container.start()?;
        let seen = container.seen()?;
        container.remove()?;
        let left = crate::command::text(format!("/proc/{keeper}/net/dev"));
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(keeper), nix::sys::signal::Signal::SIGKILL)?;
        nix::sys::wait::waitpid(nix::unistd::Pid::from_raw(keeper), None)?;
        has(&seen, "test0")?;
        expect(!left.contains("test0:"), "it is back where it came from")
    })
    .needs(IP),
];

fn draft<'l>(lab: &'l Lab<'l>, devices: Value) -> Draft<'l> {
    let mut draft = lab
        .with("linux/netDevices", devices)
        .mount("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", "ro"])
        .ask("list", "/sys/class/net");
    for file in ["flags", "mtu", "address"] {
        draft = draft.ask("read", format!("/sys/class/net/test0/{file}"));
    }
    draft.ask("read", "/proc/net/fib_trie").ask("read", "/proc/net/if_inet6")
}

/// `create` in a new network namespace in which a script has run.
fn create_in(bundle: &Bundle<'_>, script: &str) -> Result<Done, Stop> {
    let lab = bundle.lab;
    let script = lab.file("script", format!("set -eu; {script}; exec \"$@\""), 0o644)?;
    let mut line: Vec<OsString> = ["unshare", "--net", "sh"].map(OsString::from).into();
    line.push(script.into());
    line.extend([lab.runtime.program.clone().into(), "--root".into(), lab.state.clone().into()]);
    line.extend(["create".into(), "--bundle".into(), bundle.dir.clone().into(), "--pid-file".into()]);
    line.extend([bundle.pid_file().into(), OsString::from(&bundle.id)]);
    lab.command(&line).finish()
}

/// What the program sees of the devices that were moved.
fn moved(lab: &Lab<'_>, script: &str, devices: Value) -> Result<Seen, Stop> {
    // Both ends: the namespace that they come from ends with create, and what is in it takes its peer along.
    let both = |config: &mut Value| {
        let devices = &mut config["linux"]["netDevices"];
        if devices["peer0"].is_null() {
            devices["peer0"] = json!({});
        }
    };
    let bundle = draft(lab, devices).edit(both).save()?;
    let done = create_in(&bundle, script)?.ok()?;
    let container = Container::of(bundle, &done)?;
    container.start()?;
    container.end()?;
    let seen = container.seen();
    container.delete()?;
    seen
}

fn refused(lab: &Lab<'_>, script: &str, devices: Value) -> Outcome {
    let bundle = draft(lab, devices).save()?;
    lab.note_refusal(&create_in(&bundle, script)?.fails()?, "netDevices|device|test0|link");
    lab.knows_nothing_of(&bundle.id)
}

fn names(seen: &Seen) -> Vec<String> {
    let list = seen["list"]["/sys/class/net"].as_array().cloned().unwrap_or_default();
    list.iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

fn has(seen: &Seen, name: &str) -> Outcome {
    let names = names(seen);
    expect(names.iter().any(|there| there == name), format!("the devices are {names:?}"))
}

fn holds(seen: &Seen, file: &str, words: &str) -> Outcome {
    expect(
        seen["read"][file].as_str().is_some_and(|text| text.contains(words)),
        format!("{file} has no {words}"),
    )
}
