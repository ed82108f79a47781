//! config-linux.md: rootfs mount propagation.

use nix::mount::MsFlags;

use crate::clause::{Clause, Outcome, expect, must, same};
use crate::host::HostMount;
use crate::lab::Lab;

const PROPAGATION: &str = "config-linux.md#rootfs-mount-propagation";
const SHARED: &str = "shared: the rootfs mount belongs to a new peer group.";
const SLAVE: &str =
    "slave: the rootfs mount receives propagation events from the host … but not the other way around.";
const PRIVATE: &str = "private: the rootfs mount doesn't receive mount propagation events from the host";
const UNBINDABLE: &str = "unbindable: the rootfs mount is a private mount that cannot be bind-mounted.";

pub(crate) const CLAUSES: &[Clause] = &[
    must("linux.propagation.shared", (PROPAGATION, SHARED), |lab| is(lab, "shared")),
    must("linux.propagation.slave", (PROPAGATION, SLAVE), |lab| is(lab, "slave")),
    must("linux.propagation.private", (PROPAGATION, PRIVATE), |lab| is(lab, "private")),
    must("linux.propagation.unbindable", (PROPAGATION, UNBINDABLE), |lab| is(lab, "unbindable")),
    must(
        "linux.propagation.shared.new-group",
        (PROPAGATION, "Note this does not mean that it's shared with the host."),
        |lab| events(lab, "shared", false),
    ),
    must("linux.propagation.slave.events", (PROPAGATION, SLAVE), |lab| events(lab, "slave", true)),
    must("linux.propagation.private.no-events", (PROPAGATION, PRIVATE), |lab| events(lab, "private", false)),
    must("linux.propagation.slave.not-to-the-host", (PROPAGATION, SLAVE), |lab| {
        not_to_the_host(lab, "slave")
    }),
    must(
        "linux.propagation.shared.not-to-the-host",
        (PROPAGATION, "Note this does not mean that it's shared with the host."),
        |lab| not_to_the_host(lab, "shared"),
    ),
    must(
        "linux.propagation.unknown",
        (PROPAGATION, "Its value is either shared, slave, private or unbindable."),
        |lab| lab.with("linux/rootfsPropagation", "sometimes").refused("propagation|sometimes"),
    ),
];

/// The rootfs is a shared mount of the host before.
fn is(lab: &Lab<'_>, word: &str) -> Outcome {
    let draft = lab.with("linux/rootfsPropagation", word);
    let root = HostMount::bind(draft.rootfs("/"), draft.rootfs("/"))?;
    root.propagates(MsFlags::MS_SHARED)?;
    let seen = draft.report();
    drop(root);
    let found = seen?.propagation("/")?;
    // A new peer group may get events from another one.
    same("the propagation of /", if found == "shared and slave" { "shared" } else { &found }, word)
}

/// Whether the container sees what the host mounts in a shared directory of the rootfs later.
fn events(lab: &Lab<'_>, word: &str, wanted: bool) -> Outcome {
    let bundle = lab.with("linux/rootfsPropagation", word).then("wait").save()?;
    let root = HostMount::bind(bundle.rootfs("/"), bundle.rootfs("/"))?;
    root.propagates(MsFlags::MS_SHARED)?;
    let container = bundle.create()?;
    let late = HostMount::tmpfs(container.bundle.rootfs("/data"))?;
    let mounts = crate::command::text(format!("/proc/{}/mountinfo", container.pid));
    container.remove()?;
    drop((late, root));
    let arrived = mounts.lines().any(|line| line.split(' ').nth(4) == Some("/data"));
    expect(arrived == wanted, format!("what the host mounts later is there: {arrived}"))
}

/// What the container mounts is not seen by the host.
fn not_to_the_host(lab: &Lab<'_>, word: &str) -> Outcome {
    let draft = lab.with("linux/rootfsPropagation", word).capabilities(&["CAP_SYS_ADMIN"]).then("wait");
    let call = serde_json::json!(["mount", libc::SYS_mount, ["tmpfs", "/data", "tmpfs", 0, 0]]);
    let bundle = draft.ask("calls", call).save()?;
    let root = HostMount::bind(bundle.rootfs("/"), bundle.rootfs("/"))?;
    root.propagates(MsFlags::MS_SHARED)?;
    let container = bundle.create()?;
    container.start()?;
    let mounted = container.seen()?.is("calls/mount", serde_json::Value::Null);
    let at = container.bundle.rootfs("/data").display().to_string();
    let arrived = crate::command::text("/proc/self/mountinfo").contains(&at);
    container.remove()?;
    drop(root);
    mounted?;
    expect(!arrived, "the host sees what the container has mounted")
}
