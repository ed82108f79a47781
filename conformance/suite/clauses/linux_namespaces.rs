//! config-linux.md: namespaces.

use serde_json::Value;

use crate::clause::{Clause, Outcome, expect, must};
use crate::lab::Lab;

const NAMESPACES: &str = "config-linux.md#namespaces";
const NEW: &str = "If path is not specified, the runtime MUST create a new container namespace of type type.";
const JOINED: &str =
    "The runtime MUST place the container process in the namespace associated with that path.";
const INHERITED: &str = "If a namespace type is not specified in the namespaces array, the container MUST inherit the runtime namespace of that type.";

pub(crate) const CLAUSES: &[Clause] = &[
    must("linux.namespaces.new.network", (NAMESPACES, NEW), |lab| is_new(lab, "network", "net")),
    must("linux.namespaces.inherited.uts", (NAMESPACES, INHERITED), |lab| {
        let seen = lab.without("hostname").share("uts").report()?;
        expect(seen["namespaces"]["uts"] == host("uts")?, "it is not the runtime's")
    }),
    must("linux.namespaces.joined.ipc", (NAMESPACES, JOINED), |lab| {
        let first = lab.base().then("wait").start()?;
        let theirs = first.seen()?["namespaces"]["ipc"].clone();
        let seen = lab.base().join("ipc", format!("/proc/{}/ns/ipc", first.pid)).report()?;
        first.remove()?;
        expect(seen["namespaces"]["ipc"] == theirs, "it is not the one at the path")
    }),
    must(
        "linux.namespaces.path.absolute",
        (NAMESPACES, "This value MUST be an absolute path in the runtime mount namespace."),
        |lab| lab.base().join("ipc", "proc/self/ns/ipc").refused("path|namespace"),
    ),
];

/// The runtime's own namespace, by its name in /proc/PID/ns.
fn host(name: &str) -> Result<Value, std::io::Error> {
    Ok(Value::String(std::fs::read_link(format!("/proc/self/ns/{name}"))?.display().to_string()))
}

fn is_new(lab: &Lab<'_>, kind: &str, name: &str) -> Outcome {
    let seen = lab.base().namespace(kind).report()?;
    expect(seen["namespaces"][name] != host(name)?, format!("the {kind} namespace is the runtime's"))
}
