//! runtime.md: the operations state, create, start, kill and delete.

use crate::clause::{Clause, Outcome, expect, must};
use crate::lab::Lab;

const QUERY: &str = "runtime.md#query-state";
const CREATE: &str = "runtime.md#create";
const START: &str = "runtime.md#start";
const KILL: &str = "runtime.md#kill";
const DELETE: &str = "runtime.md#delete";

const NO_ID: &str = "This operation MUST generate an error if it is not provided the container ID.";
const NOT_UNIQUE: &str = "If the ID provided is not unique …, or is not valid in any other way, the implementation MUST generate an error and a new container MUST NOT be created.";
const NOT_CREATED: &str = "Attempting to start a container that is not created MUST have no effect on the container and MUST generate an error.";
const NOT_ALIVE: &str = "Attempting to send a signal to a container that is neither created nor running MUST have no effect on the container and MUST generate an error.";
const NOT_STOPPED: &str = "Attempting to delete a container that is not stopped MUST have no effect on the container and MUST generate an error.";

pub(crate) const CLAUSES: &[Clause] = &[
    must(
        "runtime.state-operation.no-id",
        (QUERY, "This operation MUST generate an error if it is not provided the ID of a container."),
        |lab| lab.run(["state"])?.fails().map(drop),
    ),
    must(
        "runtime.state-operation.unknown",
        (QUERY, "Attempting to query a container that does not exist MUST generate an error."),
        |lab| lab.run(["state", "nobody"])?.fails().map(drop),
    ),
    must(
        "runtime.state-operation.after-delete",
        (QUERY, "Attempting to query a container that does not exist MUST generate an error."),
        |lab| {
            let container = lab.base().create()?;
            container.remove()?;
            lab.knows_nothing_of(container.id())
        },
    ),
    must(
        "runtime.state-operation.returns-state",
        (QUERY, "This operation MUST return the state of a container as specified in the State section."),
        |lab| {
            let container = lab.base().create()?;
            let state = container.state()?;
            let missing =
                ["ociVersion", "id", "status", "pid", "bundle"].iter().find(|name| state[*name].is_null());
            expect(missing.is_none(), format!("state has no {missing:?}"))?;
            container.remove()
        },
    ),
    must(
        "runtime.create.no-id",
        (
            CREATE,
            "This operation MUST generate an error if it is not provided a path to the bundle and the container ID",
        ),
        |lab| {
            let bundle = lab.base().save()?;
            let dir = bundle.dir.display().to_string();
            lab.run(["create", "--bundle", &dir])?.fails().map(drop)
        },
    ),
    must(
        "runtime.create.no-bundle",
        (
            CREATE,
            "This operation MUST generate an error if it is not provided a path to the bundle and the container ID",
        ),
        |lab| lab.run(["create", "--bundle", "/nowhere", &lab.unique])?.fails().map(drop),
    ),
    must("runtime.create.id.not-unique", (CREATE, NOT_UNIQUE), |lab| {
        let container = lab.base().create()?;
        let second = lab.base().id(container.id()).save()?;
        second.try_create()?.fails()?;
        container.is("created")?;
        container.start()?;
        container.end()?;
        container.delete()
    }),
    must("runtime.create.id.slash", (CREATE, NOT_UNIQUE), |lab| {
        lab.base().id("../escaped").refused("id|escaped")?;
        expect(!lab.dir.join("escaped").is_dir(), "it has left the state root")
    }),
    must("runtime.create.id.empty", (CREATE, NOT_UNIQUE), |lab| lab.base().id("").refused("id")),
    must("runtime.create.creates", (CREATE, "This operation MUST create a new container."), |lab| {
        let container = lab.base().create()?;
        container.is("created")?;
        expect(container.is_alive(), "there is no process")?;
        container.remove()
    }),
    must(
        "runtime.create.args-wait",
        (CREATE, "process.args MUST NOT be applied until triggered by the start operation."),
        |lab| {
            let container = lab.base().create()?;
            let line = std::fs::read_to_string(format!("/proc/{}/cmdline", container.pid))?;
            expect(!line.starts_with("/probe\0"), "the program is there before start")?;
            container.remove()
        },
    ),
    must("runtime.create.two-containers", (CREATE, "This operation MUST create a new container."), |lab| {
        let (first, second) = (lab.base().create()?, lab.base().create()?);
        first.remove()?;
        second.is("created")?;
        second.remove()
    }),
    must("runtime.start.no-id", (START, NO_ID), |lab| lab.run(["start"])?.fails().map(drop)),
    must("runtime.start.unknown", (START, NOT_CREATED), |lab| {
        lab.run(["start", "nobody"])?.fails().map(drop)
    }),
    must("runtime.start.running", (START, NOT_CREATED), |lab| {
        let container = lab.base().then("wait").start()?;
        container.seen()?;
        container.try_start()?.fails()?;
        container.is("running")?;
        expect(container.lines().len() == 1, "the program has run twice")?;
        container.remove()
    }),
    must("runtime.start.stopped", (START, NOT_CREATED), |lab| {
        let container = lab.base().start()?;
        container.end()?;
        container.try_start()?.fails()?;
        container.is("stopped")?;
        container.delete()
    }),
    must(
        "runtime.start.runs",
        (START, "This operation MUST run the user-specified program as specified by process."),
        |lab| {
            let container = lab.base().create()?;
            expect(container.lines().is_empty(), "the program has run before start")?;
            container.start()?;
            container.seen()?;
            container.end()?;
            container.delete()
        },
    ),
    must(
        "runtime.start.no-process",
        (START, "This operation MUST generate an error if process was not set."),
        |lab| {
            let container = lab.without("process").create()?;
            container.try_start()?.fails()?;
            container.remove()
        },
    ),
    must("runtime.kill.no-id", (KILL, NO_ID), |lab| lab.run(["kill"])?.fails().map(drop)),
    must("runtime.kill.unknown", (KILL, NOT_ALIVE), |lab| {
        lab.run(["kill", "nobody", "KILL"])?.fails().map(drop)
    }),
    must("runtime.kill.stopped", (KILL, NOT_ALIVE), |lab| {
        let container = lab.base().start()?;
        container.end()?;
        container.try_kill("KILL")?.fails()?;
        container.is("stopped")?;
        container.delete()
    }),
    must(
        "runtime.kill.created",
        (KILL, "This operation MUST send the specified signal to the container process."),
        |lab| {
            let container = lab.base().create()?;
            container.kill("KILL")?;
            expect(container.end()? == 137, "the process has not ended by SIGKILL")?;
            container.delete()
        },
    ),
    must(
        "runtime.kill.running",
        (KILL, "This operation MUST send the specified signal to the container process."),
        |lab| {
            let container = lab.base().then("wait").start()?;
            container.seen()?;
            container.kill("KILL")?;
            expect(container.end()? == 137, "the process has not ended by SIGKILL")?;
            container.is("stopped")?;
            container.delete()
        },
    ),
    must(
        "runtime.kill.name",
        (KILL, "This operation MUST send the specified signal to the container process."),
        |lab| sends(lab, "USR1", 10),
    ),
    must(
        "runtime.kill.full-name",
        (KILL, "This operation MUST send the specified signal to the container process."),
        |lab| sends(lab, "SIGUSR2", 12),
    ),
    must(
        "runtime.kill.number",
        (KILL, "This operation MUST send the specified signal to the container process."),
        |lab| sends(lab, "1", 1),
    ),
    must(
        "runtime.kill.real-time",
        (KILL, "This operation MUST send the specified signal to the container process."),
        |lab| sends(lab, "40", 40),
    ),
    must(
        "runtime.kill.not-a-signal",
        (
            "config.md#valid-values",
            "Runtimes MUST generate an error when invalid or unsupported values are encountered.",
        ),
        |lab| {
            let container = lab.base().then("wait").start()?;
            container.seen()?;
            container.try_kill("NOTASIGNAL")?.fails()?;
            container.is("running")?;
            container.remove()
        },
    ),
    must("runtime.delete.no-id", (DELETE, NO_ID), |lab| lab.run(["delete"])?.fails().map(drop)),
    must("runtime.delete.unknown", (DELETE, NOT_STOPPED), |lab| {
        lab.run(["delete", "nobody"])?.fails().map(drop)
    }),
    must("runtime.delete.created", (DELETE, NOT_STOPPED), |lab| {
        let container = lab.base().create()?;
        container.try_delete()?.fails()?;
        container.is("created")?;
        container.start()?;
        container.end()?;
        container.delete()
    })
    .differs("containerd's shim calls delete without --force on created containers: they are killed first"),
    must("runtime.delete.running", (DELETE, NOT_STOPPED), |lab| {
        let container = lab.base().then("wait").start()?;
        container.seen()?;
        container.try_delete()?.fails()?;
        container.is("running")?;
        container.remove()
    }),
    must(
        "runtime.delete.resources",
        (DELETE, "Deleting a container MUST delete the resources that were created during the create step."),
        |lab| lab.base().mount("/data", "tmpfs", "tmpfs", &[]).runs(),
    ),
    must(
        "runtime.delete.not-others",
        (
            DELETE,
            "resources associated with the container, but not created by this container, MUST NOT be deleted",
        ),
        |lab| {
            let source = lab.subdir("source")?;
            lab.file("source/kept", "here", 0o644)?;
            let draft = lab.base().mount("/data", "none", &source, &["bind"]);
            let mark = draft.rootfs("/etc/mark");
            draft.put("/etc/mark", "here", 0o644).runs()?;
            expect(source.join("kept").is_file() && mark.is_file(), "delete has taken what it had not made")
        },
    ),
    must(
        "runtime.delete.id-is-free",
        (DELETE, "Once a container is deleted its ID MAY be used by a subsequent container."),
        |lab| {
            let id = format!("{}-again", lab.unique);
            lab.base().id(&id).runs()?;
            lab.base().id(&id).runs()
        },
    ),
];

/// The program gets the signal of this number.
fn sends(lab: &Lab<'_>, signal: &str, number: i32) -> Outcome {
    let container = lab.base().then("wait").start()?;
    container.seen()?;
    container.kill(signal)?;
    container.gets_signal(number)?;
    container.remove()
}
