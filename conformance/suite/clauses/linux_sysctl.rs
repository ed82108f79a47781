//! config-linux.md: sysctl.

use serde_json::json;

use crate::clause::{Clause, Outcome, expect, must, same};
use crate::command::text;
use crate::lab::Lab;

const SYSCTL: &str = "config-linux.md#sysctl";
const MODIFIED: &str =
    "sysctl (object, OPTIONAL) allows kernel parameters to be modified at runtime for the container.";
const CREATE: &str = "runtime.md#create";
const ERROR: &str =
    "If the runtime cannot apply a property as specified in the configuration, it MUST generate an error";

pub(crate) const CLAUSES: &[Clause] = &[
    must("linux.sysctl.network", (SYSCTL, MODIFIED), |lab| sets(lab, &[("net.ipv4.ip_forward", "1")])),
    must("linux.sysctl.network.somaxconn", (SYSCTL, MODIFIED), |lab| {
        sets(lab, &[("net.core.somaxconn", "256")])
    }),
    must("linux.sysctl.network.range", (SYSCTL, MODIFIED), |lab| {
        sets(lab, &[("net.ipv4.ip_local_port_range", "20000\t30000")])
    }),
    must("linux.sysctl.network.interface", (SYSCTL, MODIFIED), |lab| {
        sets(lab, &[("net.ipv4.conf.lo.forwarding", "1")])
    }),
    must("linux.sysctl.ipc", (SYSCTL, MODIFIED), |lab| sets(lab, &[("kernel.msgmax", "4096")])),
    must("linux.sysctl.ipc.mqueue", (SYSCTL, MODIFIED), |lab| sets(lab, &[("fs.mqueue.msg_max", "33")])),
    must("linux.sysctl.several", (SYSCTL, MODIFIED), |lab| {
        sets(lab, &[("net.ipv4.ip_forward", "1"), ("net.core.somaxconn", "256"), ("kernel.shmmni", "77")])
    }),
    must("linux.sysctl.slashes", (SYSCTL, "For more information, see the sysctl(8) man page."), |lab| {
        // The separator is the first one of the name: a/b.c is the file a/b.c (sysctl(8)).
        lab.with("linux/sysctl", json!({ "net/ipv4/ip_forward": "1" }))
            .reads("/proc/sys/net/ipv4/ip_forward", "1")
    }),
    must("linux.sysctl.not-the-hosts", (SYSCTL, MODIFIED), |lab| {
        let (file, value) = ("/proc/sys/net/core/somaxconn", "257");
        let before = text(file);
        lab.with("linux/sysctl", json!({ "net.core.somaxconn": value })).reads(file, value)?;
        same("the host's own value", text(file), before)
    }),
    must("linux.sysctl.proc-sys-readonly", (SYSCTL, MODIFIED), |lab| {
        let draft = lab
            .with("linux/readonlyPaths", json!(["/proc/sys"]))
            .with("linux/sysctl", json!({ "net.ipv4.ip_forward": "1" }));
        draft.reads("/proc/sys/net/ipv4/ip_forward", "1")
    }),
    must("linux.sysctl.root-readonly", (SYSCTL, MODIFIED), |lab| {
        lab.with("root/readonly", true)
            .with("linux/sysctl", json!({ "kernel.msgmax": "4097" }))
            .reads("/proc/sys/kernel/msgmax", "4097")
    }),
    must("linux.sysctl.user-namespace", (SYSCTL, MODIFIED), |lab| {
        let draft =
            lab.base().user_namespace(300_000).with("linux/sysctl", json!({ "net.ipv4.ip_forward": "1" }));
        draft.reads("/proc/sys/net/ipv4/ip_forward", "1")
    }),
    must("linux.sysctl.joined-namespace", (SYSCTL, MODIFIED), |lab| {
        let first = lab.base().then("wait").start()?;
        let draft = lab.base().join("network", format!("/proc/{}/ns/net", first.pid));
        let outcome = draft
            .with("linux/sysctl", json!({ "net.ipv4.ip_forward": "1" }))
            .reads("/proc/sys/net/ipv4/ip_forward", "1");
        first.remove()?;
        outcome
    }),
    must("linux.sysctl.missing", (CREATE, ERROR), |lab| {
        lab.with("linux/sysctl", json!({ "net.ipv4.no_such_parameter": "1" })).refused("no_such_parameter")
    }),
    must("linux.sysctl.invalid-value", (CREATE, ERROR), |lab| {
        lab.with("linux/sysctl", json!({ "net.ipv4.ip_forward": "perhaps" })).refused("ip_forward")
    }),
    must("linux.sysctl.stays-in-proc-sys", (CREATE, ERROR), |lab| {
        lab.with("linux/sysctl", json!({ "net/../../../tmp/new": "1" })).refused("sysctl|tmp/new")
    }),
    must(
        "linux.sysctl.not-a-string",
        (
            "config.md#valid-values",
            "Runtimes MUST generate an error when invalid or unsupported values are encountered.",
        ),
        |lab| lab.with("linux/sysctl", json!({ "net.ipv4.ip_forward": ["1"] })).refused("sysctl|ip_forward"),
    ),
    must("linux.sysctl.of-the-whole-machine", (SYSCTL, "kernel parameters … for the container"), |lab| {
        // One without a namespace: refused, or the machine's value stays as it is.
        let file = "/proc/sys/vm/page-cluster";
        let before = text(file);
        let bundle = lab.with("linux/sysctl", json!({ "vm.page-cluster": before.trim() })).save()?;
        let done = bundle.try_create()?;
        if done.code() == 0 {
            crate::container::Container::of(bundle, &done)?.remove()?;
            return expect(false, "create sets a parameter of the whole machine");
        }
        lab.note_refusal(&done, "page-cluster");
        same("the machine's value", text(file), before)
    }),
];

/// The container has these values.
fn sets(lab: &Lab<'_>, values: &[(&str, &str)]) -> Outcome {
    let file = |name: &str| format!("/proc/sys/{}", name.replace('.', "/"));
    let draft = values.iter().fold(lab.base(), |draft, (name, value)| {
        draft.edit(|config| config["linux"]["sysctl"][*name] = json!(value)).ask("read", file(name))
    });
    let seen = draft.report()?;
    values.iter().try_for_each(|(name, value)| {
        let read = seen["read"][&file(name)].as_str().unwrap_or("(an error)");
        same(name, read, *value)
    })
}
