//! Network devices: config-linux.md, "Network Devices".
//!
//! The host of these tests is a network namespace of the test's own, in which the runtime runs: the machine's links are
//! never touched.

use serde_json::{Value, json};

use crate::support::bundle::{add_user_namespace, set_namespace};
use crate::support::{Bundle, Case, Done, Running, case, eventually, host_command, installed, need, read};

/// A network namespace that lives as long as this.
struct Net {
    holder: Running,
}

impl Net {
    fn new(case: &Case) -> Self {
        let holder = case.host(["unshare", "-n", "sleep", "1000"]).spawn();
        let comm = format!("/proc/{}/comm", holder.pid());
        eventually("the namespace is there", || read(&comm) == "sleep\n");
        Self { holder }
    }

    fn path(&self) -> String {
        format!("/proc/{}/ns/net", self.holder.pid())
    }

    /// `ip`, in this namespace.
    fn ip(&self, line: &str) -> String {
        ip(self.holder.pid(), line)
    }

    /// The runtime, in this namespace.
    fn call(&self, case: &Case, args: &[&str]) -> Done {
        let net = format!("--net={}", self.path());
        case.call_through(&["nsenter", &net], args).finish()
    }

    fn create(&self, case: &Case, b: &Bundle) -> Done {
        self.call(case, &["create", "-b", b.path(), &b.id])
    }

    /// Everything about a link that its owner could miss.
    fn all_of(&self, name: &str) -> [String; 3] {
        let link = self.ip(&format!("-o link show {name}"));
        // Neither the state that follows from it nor its index is the owner's.
        let link: Vec<_> = link.split_whitespace().skip(1).filter(|word| *word != "UNKNOWN").collect();
        [
            link.join(" "),
            addresses(self.holder.pid(), name).join("\n"),
            self.ip(&format!("route show dev {name}")),
        ]
    }
}

fn ip(pid: i32, line: &str) -> String {
    let net = format!("--net=/proc/{pid}/ns/net");
    let mut words = vec![net.as_str(), "ip"];
    words.extend(line.split_whitespace());
    host_command("nsenter", &words.iter().map(AsRef::as_ref).collect::<Vec<_>>())
}

/// The addresses of a link, each with all that was said when it was added.
fn addresses(pid: i32, name: &str) -> Vec<String> {
    let links: Value = serde_json::from_str(&ip(pid, &format!("-j addr show dev {name}"))).unwrap();
    let addresses = links[0]["addr_info"].as_array().unwrap().iter();
    let own = addresses.filter(|address| address["protocol"] != "kernel_ll");
    own.map(|address| {
        let mut address = address.clone();
        for state in ["tentative", "valid_life_time", "preferred_life_time"] {
            address.as_object_mut().unwrap().remove(state);
        }
        address.to_string()
    })
    .collect()
}

/// One end of a cable, with a bit of everything.
fn make_device(net: &Net, name: &str) {
    net.ip(&format!("link add {name} address 02:00:00:00:00:42 mtu 1400 type veth peer name {name}.p"));
    for address in [
        "192.0.2.1/24 broadcast 192.0.2.255 label NAME:web",
        "192.0.2.2/24 label NAME",
        "192.0.2.77 peer 198.51.100.1/32",
        "203.0.113.1/25 noprefixroute",
        "2001:db8::1/64",
        "2001:db8:1::1 peer 2001:db8:1::2/128 nodad",
        // Not permanent, and not everywhere.
        "192.0.2.3/24 valid_lft 1000 preferred_lft 500",
        "169.254.7.7/16 scope link",
        "2001:db8:2::1/64 valid_lft 1000 preferred_lft 500",
    ] {
        net.ip(&format!("addr add {} dev {name}", address.replace("NAME", name)));
    }
}

fn add_routes(net: &Net, name: &str) {
    net.ip("link set lo up");
    net.ip(&format!("link set {name} up"));
    net.ip(&format!("link set {name}.p up"));
    net.ip(&format!("route add 198.51.100.64/26 via 192.0.2.254 dev {name} metric 7"));
    net.ip(&format!("route add default via 192.0.2.254 dev {name}"));
    net.ip(&format!("-6 route add 2001:db8:9::/48 via 2001:db8::ff dev {name}"));
}

fn set_devices(config: &mut Value, devices: Value) {
    config["linux"]["netDevices"] = devices;
}

/// Of a configuration.
type Change = fn(&mut Value);

/// What the container keeps of the device.
const KEPT: [&str; 6] = [
    r#""local":"192.0.2.1","prefixlen":24"#,
    r#""local":"192.0.2.2","prefixlen":24"#,
    r#""address":"198.51.100.1""#,
    r#""local":"203.0.113.1""#,
    r#""local":"2001:db8::1""#,
    r#""address":"2001:db8:1::2""#,
];

#[test]
fn a_device_becomes_the_containers_with_its_lasting_addresses_and_up() {
    let case = case!();
    need!(installed("ip"), "ip is not installed");
    for user_namespace in [false, true] {
        let net = Net::new(&case);
        make_device(&net, "d0");
        let before = addresses(net.holder.pid(), "d0");
        let b = case.script("sleep 100", |config| {
            set_devices(config, json!({ "d0": { "name": "wan" } }));
            config["linux"]["sysctl"] = json!({ "net.ipv4.conf.wan.forwarding": "1" });
            if user_namespace {
                add_user_namespace(config, 100_000);
            }
        });
        if user_namespace {
            b.chown(100_000);
        }
        net.create(&case, &b).ok();
        let pid = case.pid(&b.id);
        assert!(!net.ip("link").contains(" d0@"), "it is still on the host");
        let link = ip(pid, "link show wan");
        assert!(link.contains(",UP") && link.contains("mtu 1400"), "{link}");
        assert!(link.contains("02:00:00:00:00:42"), "{link}");
        let after = addresses(pid, "wan");
        // The same objects, but for the labels and what does not last.
        let lasting = |a: &&String| !a.contains("dynamic") && !a.contains(r#""scope":"link""#);
        let expected: Vec<String> = before
            .iter()
            .filter(lasting)
            .map(|a| a.replace("\"d0:", "\"wan:").replace("\"d0\"", "\"wan\""))
            .collect();
        assert_eq!(after.len(), KEPT.len(), "{after:#?}");
        assert_eq!(after, expected);
        for address in KEPT {
            assert!(after.iter().any(|a| a.contains(address)), "no {address}: {after:#?}");
        }
        // A sysctl can be about it.
        let net_of = format!("--net=/proc/{pid}/ns/net");
        let value = host_command(
            "nsenter",
            &[net_of.as_ref(), "cat".as_ref(), "/proc/sys/net/ipv4/conf/wan/forwarding".as_ref()],
        );
        assert_eq!(value, "1\n");
        case.delete(&b.id);
        // Nobody moves it back: a virtual device ends with its namespace.
        assert!(!net.ip("link").contains(" d0@"));
    }
}

#[test]
fn a_template_takes_the_first_free_number() {
    let case = case!();
    need!(installed("ip"), "ip is not installed");
    let (net, other) = (Net::new(&case), Net::new(&case));
    other.ip("link add eth1 type veth peer name eth1.p");
    for name in ["pa", "pb", "pc"] {
        net.ip(&format!("link add {name} type veth peer name {name}.p"));
    }
    let b = case.script("sleep 100", |config| {
        set_devices(config, json!({ "pa": { "name": "eth%d" }, "pb": { "name": "eth%d" }, "pc": {} }));
        set_namespace(config, "network", Some(json!({ "type": "network", "path": other.path() })));
    });
    net.create(&case, &b).ok();
    for name in ["eth0", "eth1", "eth2", "pc"] {
        assert!(other.ip("link").contains(&format!(" {name}@")), "no {name}: {}", other.ip("link"));
    }
    case.delete(&b.id);
    // They stay where they are: the namespace is not the container's.
    assert!(other.ip("link").contains(" eth2@") && !net.ip("link").contains(" pa@"));
}

#[test]
fn a_failed_create_gives_everything_back() {
    let case = case!();
    need!(installed("ip"), "ip is not installed");
    let net = Net::new(&case);
    for name in ["d-up", "d-down"] {
        make_device(&net, name);
        if name == "d-up" {
            add_routes(&net, name);
        }
    }
    net.ip("link add br0 type bridge");
    // Addresses of the link itself come when the kernel has checked them.
    eventually("no address is tentative", || !net.ip("addr show d-up").contains("tentative"));
    let before = ["d-up", "d-down"].map(|name| net.all_of(name));
    assert!(before[0][2].contains("default via") && before[0][1].contains("dynamic"), "{before:#?}");
    let both = json!({ "d-up": { "name": "wan%d" }, "d-down": { "name": "lan" } });
    let no_program = |config: &mut Value| config["process"]["args"] = json!(["/no/such"]);
    let hook = |config: &mut Value| config["hooks"]["createRuntime"] = json!([{ "path": "/bin/false" }]);
    // The kernel does not let a bridge go; it is the last by name.
    let bridge = |config: &mut Value| config["linux"]["netDevices"]["v"] = json!({});
    net.ip("link set br0 name v");
    let users = |config: &mut Value| {
        add_user_namespace(config, 100_000);
        config["process"]["args"] = json!(["/no/such"]);
    };
    let changes: [(Change, &str); 4] = [
        (no_program, "/no/such"),
        (hook, "createRuntime"),
        (bridge, "linux.netDevices \"v\""),
        (users, "/no/such"),
    ];
    for (change, word) in changes {
        let b = case.bundle(|config| {
            set_devices(config, both.clone());
            change(config);
        });
        b.chown(if word == "/no/such" { 100_000 } else { 0 });
        net.create(&case, &b).fails(&[word]);
        let now = |name| net.all_of(name);
        eventually("all of it is back", || ["d-up", "d-down"].map(now) == before);
    }
    // Without a gate it is the same.
    let b = case.bundle(|config| {
        set_devices(config, both.clone());
        no_program(config);
    });
    net.call(&case, &["run", "-b", b.path(), &b.id]).fails(&["/no/such"]);
    eventually("all of it is back", || ["d-up", "d-down"].map(|name| net.all_of(name)) == before);
}

#[test]
fn a_port_of_a_bridge_is_one_again() {
    let case = case!();
    need!(installed("ip"), "ip is not installed");
    let net = Net::new(&case);
    make_device(&net, "port");
    net.ip("link add br0 type bridge");
    net.ip("link set port master br0");
    let b = case.bundle(|config| {
        set_devices(config, json!({ "port": {} }));
        config["process"]["args"] = json!(["/no/such"]);
    });
    net.create(&case, &b).fails(&["/no/such"]);
    assert!(net.ip("-o link show port").contains("master br0"));
}

#[test]
fn a_device_comes_back_whatever_fails_on_its_way() {
    let case = case!();
    need!(installed("ip"), "ip is not installed");
    need!(installed("strace"), "strace is not installed");
    let net = Net::new(&case);
    make_device(&net, "way");
    let before = net.all_of("way");
    let b = case.bundle(|config| set_devices(config, json!({ "way": { "name": "lan" } })));
    let nsenter = format!("--net={}", net.path());
    let mut failed = 0;
    for call in ["sendto", "recvfrom"] {
        for k in 1..40 {
            let log = case.path("trace");
            let (trace, inject) = (format!("trace={call}"), format!("inject={call}:error=ENOBUFS:when={k}"));
            // The host's side alone.
            let strace = ["strace", "-D", "-qq", "-e", &trace, "-e", &inject, "-o", log.to_str().unwrap()];
            let line: Vec<&str> = ["nsenter", &nsenter].into_iter().chain(strace).collect();
            let create = case.call_through(&line, ["create", "-b", b.path(), &b.id]).finish();
            if create.code() == 0 {
                assert!(!read(&log).contains("INJECTED"), "{inject}: {create}");
                case.delete(&b.id);
                // What a container is given ends with it.
                eventually("the device is gone", || !net.ip("-o link show").contains("way.p"));
                make_device(&net, "way");
                break;
            }
            failed += 1;
            eventually(&inject, || net.all_of("way") == before);
        }
    }
    assert!(failed > 10, "only {failed} calls failed");
}

#[test]
fn a_device_that_can_not_be_moved_is_an_error_and_changes_nothing() {
    let case = case!();
    need!(installed("ip"), "ip is not installed");
    let (net, other) = (Net::new(&case), Net::new(&case));
    other.ip("link add eth0 type veth peer name eth0.p");
    net.ip("link add d0 type veth peer name d0.p");
    let before = net.ip("-o link");
    let create = |devices: Value, namespace: Option<Value>| {
        let b = case.script("true", |config| {
            set_devices(config, devices);
            set_namespace(config, "network", namespace);
        });
        net.create(&case, &b)
    };
    let joined = |path: String| Some(json!({ "type": "network", "path": path }));
    let new = || Some(json!({ "type": "network" }));
    create(json!({ "d0": {}, "none": {} }), new()).fails(&["linux.netDevices \"none\"", "no such device"]);
    create(json!({ "d0": { "name": "eth0" } }), joined(other.path()))
        .fails(&["linux.netDevices \"d0\"", "\"eth0\" already"]);
    create(json!({ "d0": { "name": "a/b" } }), new()).fails(&["linux.netDevices \"d0\": name"]);
    create(json!({ "d0": {} }), None).fails(&["linux.netDevices", "needs a network namespace"]);
    create(json!({ "d0": {} }), joined("/proc/self/ns/net".to_owned())).fails(&["the runtime's own"]);
    create(json!({ "d0": {} }), joined(net.path())).fails(&["the runtime's own"]);
    assert_eq!(net.ip("-o link"), before);
}
