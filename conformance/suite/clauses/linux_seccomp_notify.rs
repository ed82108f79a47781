//! config-linux.md: seccomp, SCMP_ACT_NOTIFY and the container process state.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::poll::{PollFd, PollFlags, poll};
use serde_json::{Value, json};

use super::linux_seccomp::{UMASK, on_umask};
use crate::clause::{Clause, Outcome, Stop, expect, must, same, should};
use crate::container::Container;
use crate::draft::Draft;
use crate::lab::Lab;
use crate::seen::includes;
use crate::socket::{Received, Receiver};

const SECCOMP: &str = "config-linux.md#seccomp";
const STATE: &str = "config-linux.md#the-container-process-state";
const PATH: &str = "listenerPath … specifies the path of UNIX domain socket over which the runtime will send the container process state";

pub(crate) const CLAUSES: &[Clause] = &[
    must(
        "linux.seccomp.notify.descriptor",
        (
            SECCOMP,
            "seccompFd (string, REQUIRED) is the seccomp file descriptor returned by the seccomp syscall.",
        ),
        |lab| {
            handed(lab, &|_, received| {
                let listener = received.only()?;
                let link = std::fs::read_link(format!("/proc/self/fd/{}", listener.as_raw_fd()))?;
                same("the descriptor", link.display().to_string().as_str(), "anon_inode:seccomp notify")
            })
        },
    ),
    must("linux.seccomp.notify.call-waits", (SECCOMP, PATH), |lab| {
        let (container, mut received) = listened(lab, notifies(lab))?;
        let listener = received.only()?;
        container.start()?;
        expect(asks(&listener)?, "no system call has come to the listener")?;
        // Nobody answers any more: seccomp_unotify(2).
        drop(listener);
        container.end()?;
        container.seen()?.is("calls/umask", "ENOSYS")?;
        container.delete()
    }),
    must(
        "linux.seccomp.notify.one-state",
        (SECCOMP, "The runtime MUST send exactly one container process state per connection."),
        |lab| {
            handed(lab, &|_, received| {
                let one: Result<Value, _> = serde_json::from_str(&received.text);
                expect(one.is_ok(), format!("what has come is no JSON document: {}", received.text))
            })
        },
    ),
    must(
        "linux.seccomp.notify.closed",
        (SECCOMP, "The connection MUST NOT be reused and it MUST be closed after sending a seccomp state."),
        |lab| handed(lab, &|_, received| expect(received.closed, "the connection is still open")),
    ),
    must(
        "linux.seccomp.notify.first-message",
        (
            STATE,
            "If more than one sendmsg(2) is used, the file descriptors MUST be sent only in the first call.",
        ),
        |lab| {
            handed(lab, &|_, received| {
                expect(
                    received.messages_with_descriptors == [0],
                    format!("descriptors came with {:?}", received.messages_with_descriptors),
                )
            })
        },
    ),
    must(
        "linux.seccomp.notify.state.version",
        (
            STATE,
            "ociVersion (string, REQUIRED) is version of the Open Container Initiative Runtime Specification with which the container process state complies.",
        ),
        |lab| {
            has(lab, &|_, state| {
                expect(
                    state["ociVersion"].as_str().is_some_and(|version| version.starts_with("1.")),
                    "no ociVersion",
                )
            })
        },
    ),
    must(
        "linux.seccomp.notify.state.fds",
        (
            STATE,
            "fds (array, OPTIONAL) is a string array containing the names of the file descriptors passed.",
        ),
        |lab| has(lab, &|_, state| includes("fds", &state["fds"], &json!(["seccompFd"]))),
    ),
    must(
        "linux.seccomp.notify.state.pid",
        (STATE, "pid (int, REQUIRED) is the container process ID, as seen by the runtime."),
        |lab| has(lab, &|container, state| includes("pid", &state["pid"], &json!(container.pid))),
    ),
    must(
        "linux.seccomp.notify.state.metadata",
        (SECCOMP, "listenerMetadata … will be sent as the metadata field in the container process state."),
        |lab| {
            let (container, received) =
                listened(lab, notifies(lab).with("linux/seccomp/listenerMetadata", "A=b, c"))?;
            let state: Value = serde_json::from_str(&received.text)?;
            includes("metadata", &state["metadata"], &json!("A=b, c"))?;
            container.remove()
        },
    ),
    must(
        "linux.seccomp.notify.state.no-metadata",
        (STATE, "metadata (string, OPTIONAL) opaque metadata."),
        |lab| {
            has(lab, &|_, state| {
                expect(
                    state["metadata"].as_str().unwrap_or("").is_empty(),
                    format!("metadata is {}", state["metadata"]),
                )
            })
        },
    ),
    must(
        "linux.seccomp.notify.state.state",
        (STATE, "state (state, REQUIRED) is the state of the container."),
        |lab| {
            has(lab, &|container, state| {
                let bundle = container.bundle.dir.display().to_string();
                includes(
                    "state",
                    &state["state"],
                    &json!({ "id": container.id(), "pid": container.pid, "bundle": bundle }),
                )
            })
        },
    ),
    must(
        "linux.seccomp.notify.state.status",
        (STATE, "state (state, REQUIRED) is the state of the container."),
        |lab| has(lab, &|_, state| includes("status", &state["state"]["status"], &json!("creating"))),
    ),
    must(
        "linux.seccomp.notify.nobody-listens",
        (SECCOMP, "If sending to this socket fails, the runtime MUST generate an error."),
        |lab| {
            notifies(lab)
                .with("linux/seccomp/listenerPath", "/nowhere/socket")
                .fails("/nowhere/socket|listener|socket")
        },
    ),
    must(
        "linux.seccomp.notify.path-ignored",
        (SECCOMP, "If the SCMP_ACT_NOTIFY action is not used this value is ignored."),
        |lab| {
            on_umask(lab, json!({ "action": "SCMP_ACT_ERRNO" }))
                .with("linux/seccomp/listenerPath", "/nowhere/socket")
                .calls("umask", UMASK, Some("EPERM"))
        },
    ),
    must(
        "linux.seccomp.notify.metadata-without-path",
        (SECCOMP, "listenerMetadata … MUST NOT be set if listenerPath is not set."),
        |lab| {
            on_umask(lab, json!({ "action": "SCMP_ACT_ERRNO" }))
                .with("linux/seccomp/listenerMetadata", "text")
                .fails("listenerMetadata|listenerPath|metadata")
        },
    ),
    should(
        "linux.seccomp.notify.wait-killable",
        (SECCOMP, "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"),
        |lab| {
            let draft =
                notifies(lab).with("linux/seccomp/flags", json!(["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]));
            let (container, received) = listened(lab, draft)?;
            expect(received.descriptors.len() == 1, "no listener has come")?;
            container.remove()
        },
    ),
];

/// umask(2) is for the agent to decide.
fn notifies<'l>(lab: &'l Lab<'l>) -> Draft<'l> {
    on_umask(lab, json!({ "action": "SCMP_ACT_NOTIFY" })).ask("calls", json!(["umask", UMASK.0, UMASK.1]))
}

/// A created container, and what the agent has got for it.
fn listened<'l>(lab: &'l Lab<'l>, draft: Draft<'l>) -> Result<(Container<'l>, Received), Stop> {
    let receiver = Receiver::listen(&lab.dir.join(format!("agent{}", lab.number())))?;
    let path = receiver.path.display().to_string();
    // Where the filter is loaded before the program is, it is so after create or after start.
    let container = draft.with("linux/seccomp/listenerPath", path).create()?;
    let received = receiver.receive()?;
    Ok((container, received))
}

fn handed(lab: &Lab<'_>, look: &dyn Fn(&Container<'_>, &mut Received) -> Outcome) -> Outcome {
    let (container, mut received) = listened(lab, notifies(lab))?;
    look(&container, &mut received)?;
    container.remove()
}

/// The container process state has to be like this.
fn has(lab: &Lab<'_>, look: &dyn Fn(&Container<'_>, &Value) -> Outcome) -> Outcome {
    handed(lab, &|container, received| look(container, &serde_json::from_str(&received.text)?))
}

/// Whether a system call waits for the agent.
fn asks(listener: &OwnedFd) -> Result<bool, Stop> {
    let mut ready = [PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
    Ok(poll(&mut ready, 5000u16)? == 1)
}
