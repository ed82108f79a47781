//! runtime.md: scope, state, lifecycle, errors.

use serde_json::{Value, json};

use crate::clause::{Clause, Outcome, expect, must, same};
use crate::lab::Lab;

const SCOPE: &str = "runtime.md#scope-of-a-container";
const STATE: &str = "runtime.md#state";
const LIFECYCLE: &str = "runtime.md#lifecycle";
const ERRORS: &str = "runtime.md#errors";
const STATUS: &str = "status (string, REQUIRED) is the runtime state of the container.";

pub(crate) const CLAUSES: &[Clause] = &[
    must(
        "runtime.scope.all-operations",
        (
            SCOPE,
            "The entity using a runtime to create a container MUST be able to use the operations defined in this specification against that same container.",
        ),
        |lab| {
            let container = lab.base().then("wait").create()?;
            container.state()?;
            container.start()?;
            container.seen()?;
            container.kill("KILL")?;
            container.end()?;
            container.delete()
        },
    ),
    must(
        "runtime.state.oci-version",
        (
            STATE,
            "ociVersion (string, REQUIRED) is version of the Open Container Initiative Runtime Specification with which the state complies.",
        ),
        |lab| {
            state(lab, |state| {
                let version = state["ociVersion"].as_str().unwrap_or("");
                let core = version.split(['-', '+']).next().unwrap_or("");
                let numbers = core.split('.').filter(|number| number.parse::<u32>().is_ok()).count();
                expect(numbers == 3, format!("ociVersion is {version:?}"))
            })
        },
    ),
    must("runtime.state.id", (STATE, "id (string, REQUIRED) is the container's ID."), |lab| {
        let container = lab.base().create()?;
        same("the id", container.state()?["id"].as_str().unwrap_or(""), container.id())?;
        container.remove()
    }),
    must("runtime.state.status.created", (STATE, STATUS), |lab| {
        let container = lab.base().create()?;
        container.is("created")?;
        container.remove()
    }),
    must("runtime.state.status.running", (STATE, STATUS), |lab| {
        let container = lab.base().then("wait").start()?;
        container.seen()?;
        container.is("running")?;
        container.remove()
    }),
    must("runtime.state.status.stopped", (STATE, STATUS), |lab| {
        let container = lab.base().start()?;
        container.end()?;
        container.is("stopped")?;
        container.delete()
    }),
    must(
        "runtime.state.status.stopped-before-start",
        (STATE, "stopped: the container process has exited"),
        |lab| {
            let container = lab.base().create()?;
            container.kill("KILL")?;
            container.end()?;
            container.is("stopped")?;
            container.delete()
        },
    ),
    must(
        "runtime.state.pid.created",
        (
            STATE,
            "pid (int, REQUIRED when status is created or running on Linux …) is the ID of the container process.",
        ),
        |lab| {
            let container = lab.base().create()?;
            let pid = container.state()?["pid"].clone();
            expect(pid == container.pid, format!("pid is {pid}, the pid file has {}", container.pid))?;
            container.remove()
        },
    ),
    must(
        "runtime.state.pid.running",
        (
            STATE,
            "pid (int, REQUIRED when status is created or running on Linux …) is the ID of the container process.",
        ),
        |lab| {
            let container = lab.base().then("wait").start()?;
            container.seen()?;
            let pid = container.state()?["pid"].clone();
            let program = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            expect(program.starts_with("/probe"), format!("process {pid} is {program:?}, not the program"))?;
            container.remove()
        },
    ),
    must(
        "runtime.state.pid.hooks.runtime",
        (STATE, "For hooks executed in the runtime namespace, it is the pid as seen by the runtime."),
        |lab| hooks_know(lab, &["prestart", "createRuntime", "poststart"], Value::from),
    ),
    must(
        "runtime.state.pid.hooks.container",
        (STATE, "For hooks executed in the container namespace, it is the pid as seen by the container."),
        |lab| hooks_know(lab, &["createContainer", "startContainer"], |_| json!(1)),
    ),
    must(
        "runtime.state.bundle",
        (STATE, "bundle (string, REQUIRED) is the absolute path to the container's bundle directory."),
        |lab| {
            let container = lab.base().create()?;
            let bundle = container.state()?["bundle"].as_str().unwrap_or("").to_owned();
            same("the bundle", bundle, container.bundle.dir.display().to_string())?;
            container.remove()
        },
    ),
    must(
        "runtime.state.bundle.absolute",
        (STATE, "bundle (string, REQUIRED) is the absolute path to the container's bundle directory."),
        |lab| {
            let bundle = lab.base().save()?;
            let name = bundle.dir.file_name().unwrap_or_default().to_owned();
            let args = [std::ffi::OsStr::new("create"), "--bundle".as_ref(), &name, bundle.id.as_ref()];
            lab.run(args)?.ok()?;
            let state: Value = serde_json::from_str(&lab.run(["state", &bundle.id])?.ok()?.stdout())?;
            lab.run(["delete", "--force", &bundle.id])?.ok()?;
            same("the bundle", state["bundle"].as_str().unwrap_or(""), bundle.dir.display().to_string())
        },
    ),
    must(
        "runtime.state.annotations",
        (
            STATE,
            "annotations (map, OPTIONAL) contains the list of annotations associated with the container.",
        ),
        |lab| {
            let annotations = json!({ "com.example.key": "value", "com.example.empty": "" });
            let container = lab.with("annotations", annotations.clone()).create()?;
            crate::seen::includes("annotations", &container.state()?["annotations"], &annotations)?;
            container.remove()
        },
    ),
    must(
        "runtime.state.annotations.none",
        (STATE, "If no annotations were provided then this property MAY either be absent or an empty map."),
        |lab| {
            state(lab, |state| {
                let none = [Value::Null, json!({})].contains(&state["annotations"]);
                expect(none, format!("annotations are {}", state["annotations"]))
            })
        },
    ),
    must(
        "runtime.lifecycle.create.does-not-run",
        (LIFECYCLE, "the user-specified program (from process) MUST NOT be run at this time"),
        |lab| {
            let container = lab.base().create()?;
            std::thread::sleep(std::time::Duration::from_millis(50));
            expect(container.lines().is_empty(), "the program has run before start")?;
            container.remove()
        },
    ),
    must(
        "runtime.lifecycle.create.environment",
        (LIFECYCLE, "While the resources requested in the config.json MUST be created"),
        |lab| {
            let container = lab.base().mount("/data", "tmpfs", "tmpfs", &["size=64k"]).create()?;
            let mounts = std::fs::read_to_string(format!("/proc/{}/mountinfo", container.pid))?;
            expect(mounts.contains(" /data "), "the created container has no mount at /data")?;
            container.remove()
        },
    ),
    must(
        "runtime.lifecycle.create.config-is-read-once",
        (LIFECYCLE, "Any updates to config.json after this step MUST NOT affect the container."),
        |lab| {
            let container = lab.with("process/cwd", "/tmp").create()?;
            let other = lab.with("process/cwd", "/etc").save()?;
            std::fs::copy(other.dir.join("config.json"), container.bundle.dir.join("config.json"))?;
            container.start()?;
            container.end()?;
            container.seen()?.is("cwd", "/tmp")?;
            container.delete()
        },
    ),
    must(
        "runtime.lifecycle.config-may-go",
        (LIFECYCLE, "Any updates to config.json after this step MUST NOT affect the container."),
        |lab| {
            let container = lab.with("process/cwd", "/tmp").create()?;
            std::fs::remove_file(container.bundle.dir.join("config.json"))?;
            container.start()?;
            container.end()?;
            container.seen()?.is("cwd", "/tmp")?;
            container.delete()
        },
    ),
    must(
        "runtime.lifecycle.start.runs-the-program",
        (LIFECYCLE, "The runtime MUST run the user-specified program, as specified by process."),
        |lab| lab.base().sees("args/0", "/probe"),
    ),
    must(
        "runtime.lifecycle.exit.code",
        (
            LIFECYCLE,
            "The container process exits. This MAY happen due to erroring out, exiting, crashing or the runtime's kill operation being invoked.",
        ),
        |lab| {
            let container = lab.base().then(json!({ "exit": 3 })).start()?;
            same("the exit code", container.end()?, 3)?;
            container.is("stopped")?;
            container.delete()
        },
    ),
    must(
        "runtime.lifecycle.exit.crash",
        (
            LIFECYCLE,
            "The container process exits. This MAY happen due to erroring out, exiting, crashing or the runtime's kill operation being invoked.",
        ),
        |lab| {
            let container = lab.base().then("abort").start()?;
            container.end()?;
            container.is("stopped")?;
            container.delete()
        },
    ),
    must(
        "runtime.lifecycle.delete.undoes-create",
        (
            LIFECYCLE,
            "The container MUST be destroyed by undoing the steps performed during create phase (step 2).",
        ),
        |lab| {
            let container = lab.base().start()?;
            container.end()?;
            let cgroup = container.bundle.cgroup.clone();
            container.delete()?;
            expect(cgroup.symlink_metadata().is_err(), "the cgroup is left")?;
            lab.knows_nothing_of(container.id())
        },
    ),
    must(
        "runtime.errors.nothing-is-left",
        (
            ERRORS,
            "generating an error MUST leave the state of the environment as if the operation were never attempted",
        ),
        |lab| {
            lab.base().mount("/data/x", "tmpfs", "tmpfs", &["size=nonsense"]).refused("/data/x|nonsense|size")
        },
    ),
    must(
        "runtime.errors.id-is-free-again",
        (
            ERRORS,
            "generating an error MUST leave the state of the environment as if the operation were never attempted",
        ),
        |lab| {
            let id = format!("{}-again", lab.unique);
            lab.base()
                .id(&id)
                .mount("/data", "tmpfs", "tmpfs", &["size=nonsense"])
                .refused("/data|nonsense|size")?;
            lab.base().id(&id).runs()
        },
    ),
];

/// What `pid` hooks read, of a container that has that one in its file and is process 1 of its own namespace.
fn hooks_know(lab: &Lab<'_>, kinds: &[&str], wanted: fn(i32) -> Value) -> Outcome {
    let draft = kinds.iter().fold(lab.base(), |draft, kind| draft.hook(kind, kind));
    let container = draft.then("wait").start()?;
    container.seen()?.is("pid", 1)?;
    for kind in kinds {
        let pid = container.bundle.record(kind)?["stdin"]["pid"].clone();
        same(&format!("the pid for {kind}"), &pid, &wanted(container.pid))?;
    }
    container.remove()
}

/// A created container's state is looked at.
fn state(lab: &Lab<'_>, look: impl FnOnce(&Value) -> Outcome) -> Outcome {
    let container = lab.base().create()?;
    look(&container.state()?)?;
    container.remove()
}
