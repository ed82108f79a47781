//! config.md: POSIX-platform hooks.

use serde_json::json;

use crate::bundle::Bundle;
use crate::clause::{Clause, Outcome, Stop, expect, must, same};
use crate::draft::Draft;

use crate::lab::Lab;
use crate::seen::Seen;

const HOOKS: &str = "config.md#posix-platform-hooks";
const LIFECYCLE: &str = "runtime.md#lifecycle";
const IN_RUNTIME: &str = "hooks MUST be executed in the runtime namespace.";
const IN_CONTAINER: &str = "hooks MUST be executed in the container namespace.";
const STATE: &str = "The state of the container MUST be passed to hooks over stdin";
const STOPS: &str = "If any … hook fails, the runtime MUST generate an error, stop the container, and continue the lifecycle at step 12.";

const AMONG_STRANGERS: &str = "Before the pivot a hook has the host's mounts as its root. In a pid namespace that is joined \
    others are already, and with CAP_SYS_PTRACE they would come to the host's files through it: it runs in the host's pid \
    namespace, in all others of the container.";

const CREATE_KINDS: [&str; 3] = ["prestart", "createRuntime", "createContainer"];
const ALL_KINDS: [&str; 6] =
    ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];

pub(crate) const CLAUSES: &[Clause] = &[
    must("config.hooks.prestart.namespace", (HOOKS, IN_RUNTIME), |lab| {
        runs_in(lab, "prestart", Side::Runtime)
    }),
    must("config.hooks.create-runtime.namespace", (HOOKS, IN_RUNTIME), |lab| {
        runs_in(lab, "createRuntime", Side::Runtime)
    }),
    must("config.hooks.create-container.namespace", (HOOKS, IN_CONTAINER), |lab| {
        runs_in(lab, "createContainer", Side::Container)
    }),
    must("config.hooks.start-container.namespace", (HOOKS, IN_CONTAINER), |lab| {
        runs_in(lab, "startContainer", Side::Container)
    }),
    must("config.hooks.poststart.namespace", (HOOKS, IN_RUNTIME), |lab| {
        runs_in(lab, "poststart", Side::Runtime)
    }),
    must("config.hooks.poststop.namespace", (HOOKS, IN_RUNTIME), |lab| {
        runs_in(lab, "poststop", Side::Runtime)
    }),
    must("config.hooks.create-container.namespaces", (HOOKS, IN_CONTAINER), |lab| {
        shares_all(lab.base(), "createContainer")
    }),
    must("config.hooks.start-container.namespaces", (HOOKS, IN_CONTAINER), |lab| {
        shares_all(lab.base(), "startContainer")
    }),
    must("config.hooks.create-container.namespaces.joined-pid", (HOOKS, IN_CONTAINER), |lab| {
        let first = lab.base().then("wait").start()?;
        first.seen()?;
        let pid = format!("/proc/{}/ns/pid", first.pid);
        shares_all(lab.base().join("pid", pid), "createContainer")?;
        first.remove()
    })
    .differs(AMONG_STRANGERS),
    must(
        "config.hooks.create-container.before-pivot",
        (
            HOOKS,
            "createContainer hooks MUST be called … before the pivot_root or any equivalent operation has been executed.",
        ),
        |lab| {
            let bundle =
                lab.base().put("/mark-of-the-rootfs", "", 0o644).hook("createContainer", "hook").save()?;
            lifecycle(&bundle)?;
            let root = bundle.record("hook")?["root"].to_string();
            expect(
                !root.contains("mark-of-the-rootfs"),
                format!("the hook's root is the container's: {root}"),
            )
        },
    ),
    must(
        "config.hooks.start-container.path",
        (HOOKS, "The value of path MUST resolve in the container namespace."),
        |lab| {
            let bundle =
                lab.base().put("/mark-of-the-rootfs", "", 0o644).hook("startContainer", "hook").save()?;
            lifecycle(&bundle)?;
            let root = bundle.record("hook")?["root"].to_string();
            expect(root.contains("mark-of-the-rootfs"), format!("the hook's root is {root}"))
        },
    ),
    must("config.hooks.order", (HOOKS, "Hooks MUST be called in the listed order."), |lab| {
        let bundle = ["a", "b", "c"]
            .iter()
            .fold(lab.base(), |draft, name| draft.hook("createRuntime", name))
            .save()?;
        lifecycle(&bundle)?;
        in_order(&bundle, &["a", "b", "c"])
    }),
    must(
        "config.hooks.order.kinds",
        (
            LIFECYCLE,
            "prestart, createRuntime, createContainer, startContainer, poststart, poststop in the order of the lifecycle",
        ),
        |lab| in_order(&all(lab, &ALL_KINDS)?, &ALL_KINDS),
    ),
    must(
        "config.hooks.create.when",
        (HOOKS, "hooks MUST be called as part of the create operation"),
        |lab| {
            let container =
                CREATE_KINDS.iter().fold(lab.base(), |draft, kind| draft.hook(kind, kind)).create()?;
            CREATE_KINDS.iter().try_for_each(|kind| container.bundle.record(kind).map(drop))?;
            container.remove()
        },
    ),
    must(
        "config.hooks.start-container.when",
        (
            HOOKS,
            "The startContainer hooks MUST be called before the user-specified process is executed as part of the start operation.",
        ),
        |lab| {
            let container = lab.base().hook("startContainer", "hook").create()?;
            expect(container.bundle.maybe_record("hook").is_none(), "it has run before start")?;
            container.start()?;
            container.end()?;
            let (hook, program) = (container.bundle.record("hook")?, container.seen()?);
            expect(at(&hook) < at(&program), "it has run after the program")?;
            container.delete()
        },
    ),
    must(
        "config.hooks.poststart.when",
        (
            HOOKS,
            "The poststart hooks MUST be called after the user-specified process is executed but before the start operation returns.",
        ),
        |lab| {
            let container = lab.base().hook("poststart", "hook").then("wait").create()?;
            expect(container.bundle.maybe_record("hook").is_none(), "it has run before start")?;
            container.start()?;
            container.bundle.record("hook")?;
            container.remove()
        },
    ),
    must(
        "config.hooks.poststop.when",
        (
            HOOKS,
            "The poststop hooks MUST be called after the container is deleted but before the delete operation returns.",
        ),
        |lab| {
            let container = lab.base().hook("poststop", "hook").start()?;
            container.end()?;
            expect(container.bundle.maybe_record("hook").is_none(), "it has run before delete")?;
            container.delete()?;
            container.bundle.record("hook").map(drop)
        },
    ),
    must("config.hooks.state.all", (HOOKS, STATE), |lab| {
        let bundle = all(lab, &ALL_KINDS)?;
        ALL_KINDS.iter().try_for_each(|kind| {
            let state = &bundle.record(kind)?["stdin"];
            same(&format!("the id for {kind}"), state["id"].as_str().unwrap_or("none"), bundle.id.as_str())?;
            let dir = bundle.dir.display().to_string();
            same(&format!("the bundle for {kind}"), state["bundle"].as_str().unwrap_or("none"), dir.as_str())
        })
    }),
    must(
        "config.hooks.args.applied",
        (HOOKS, "args (array of strings, OPTIONAL) with the same semantics as execv's argv."),
        |lab| {
            let record = all(lab, &["createRuntime"])?.record("createRuntime")?;
            record.is("args/0", "probe")?;
            record.is("args/1", "hook")
        },
    ),
    must(
        "config.hooks.env.applied",
        (HOOKS, "env (array of strings, OPTIONAL) with the same semantics as environ."),
        |lab| {
            let draft = lab
                .base()
                .hook("createRuntime", "hook")
                .with("hooks/createRuntime/0/env", json!(["A=1", "B=x=y"]));
            let bundle = draft.save()?;
            lifecycle(&bundle)?;
            let record = bundle.record("hook")?;
            same("the environment", &record["env"], &json!({ "A": "1", "B": "x=y" }))
        },
    ),
    must(
        "config.hooks.path.absolute",
        (HOOKS, "This specification extends the IEEE standard in that path MUST be absolute."),
        |lab| lab.with("hooks/createRuntime/-", json!({ "path": "probe" })).refused("hooks|path"),
    ),
    must("config.hooks.timeout.positive", (HOOKS, "If set, timeout MUST be greater than zero."), |lab| {
        lab.base().hook("createRuntime", "hook").with("hooks/createRuntime/0/timeout", 0).refused("timeout")
    }),
    must(
        "config.hooks.timeout.aborts",
        (HOOKS, "timeout (int, OPTIONAL) is the number of seconds before aborting the hook."),
        |lab| {
            let draft = lab.base().hook_that("createRuntime", "hook", "sleep");
            draft.with("hooks/createRuntime/0/timeout", 1).refused("hook|time")
        },
    ),
    must("config.hooks.prestart.failure", (LIFECYCLE, STOPS), |lab| fails_create(lab, "prestart")),
    must("config.hooks.create-runtime.failure", (LIFECYCLE, STOPS), |lab| fails_create(lab, "createRuntime")),
    must("config.hooks.create-container.failure", (LIFECYCLE, STOPS), |lab| {
        fails_create(lab, "createContainer")
    }),
    must("config.hooks.start-container.failure", (LIFECYCLE, STOPS), |lab| {
        fails_start(lab, "startContainer")
    }),
    must("config.hooks.poststart.failure", (LIFECYCLE, STOPS), |lab| fails_start(lab, "poststart")),
    must(
        "config.hooks.poststop.failure",
        (
            LIFECYCLE,
            "If any poststop hook fails, the runtime MUST log a warning, but the remaining hooks and lifecycle continue as if the hook had succeeded.",
        ),
        |lab| {
            let draft = lab.base().hook_that("poststop", "first", "fail").hook("poststop", "second");
            let bundle = draft.save()?;
            lifecycle(&bundle)?;
            bundle.record("second")?;
            lab.knows_nothing_of(&bundle.id)
        },
    ),
];

/// Whose namespaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Runtime,
    Container,
}

/// A whole life of a container, which has to go well.
fn lifecycle(bundle: &Bundle<'_>) -> Outcome {
    let container = bundle.clone().create()?;
    container.start()?;
    container.end()?;
    container.delete()
}

/// A whole life with a recorder of each kind, named after it.
fn all<'l>(lab: &'l Lab<'l>, kinds: &[&str]) -> Result<Bundle<'l>, Stop> {
    let bundle = kinds.iter().fold(lab.base(), |draft, kind| draft.hook(kind, kind)).save()?;
    lifecycle(&bundle)?;
    Ok(bundle)
}

/// When a record or a report was made, on a clock of the whole machine.
fn at(seen: &Seen) -> f64 {
    seen["clocks"]["monotonic"].as_f64().unwrap_or(0.0)
}

fn in_order(bundle: &Bundle<'_>, names: &[&str]) -> Outcome {
    let mut last = 0.0;
    for name in names {
        let now = at(&bundle.record(name)?);
        expect(now > last, format!("{name} has run too early"))?;
        last = now;
    }
    Ok(())
}

/// The hook's mount namespace tells where it runs: pid and time namespaces take in children only.
fn runs_in(lab: &Lab<'_>, kind: &str, side: Side) -> Outcome {
    let bundle = all(lab, &[kind])?;
    let own = std::fs::read_link("/proc/self/ns/mnt")?.display().to_string();
    let seen = bundle.record(kind)?["namespaces"]["mnt"].as_str().unwrap_or("none").to_owned();
    let wanted = if seen == own { Side::Runtime } else { Side::Container };
    expect(wanted == side, format!("{kind} has run in the {wanted:?} mount namespace").to_lowercase())
}

/// It runs where the program does, in each type of namespace.
fn shares_all(draft: Draft<'_>, kind: &str) -> Outcome {
    let container = draft.hook(kind, kind).start()?;
    container.end()?;
    let (hook, program) = (container.bundle.record(kind)?, container.seen()?);
    container.delete()?;
    let (hook, program) = (hook["namespaces"].clone(), program["namespaces"].clone());
    expect(hook == program, format!("{kind} has run in {hook}, the program in {program}"))
}

/// `create` fails, hooks after the failed one don't run, and those for the end do.
fn fails_create(lab: &Lab<'_>, kind: &str) -> Outcome {
    let bundle =
        lab.base().hook_that(kind, "first", "fail").hook(kind, "second").hook("poststop", "stop").save()?;
    lab.note_refusal(&bundle.try_create()?.fails()?, "hook");
    bundle.record("first")?;
    expect(bundle.maybe_record("second").is_none(), "the next hook has run")?;
    lab.knows_nothing_of(&bundle.id)?;
    bundle.record("stop").map(drop)
}

/// `start` fails, and the container is destroyed.
fn fails_start(lab: &Lab<'_>, kind: &str) -> Outcome {
    let container =
        lab.base().hook_that(kind, "first", "fail").hook("poststop", "stop").then("wait").create()?;
    lab.note_refusal(&container.try_start()?.fails()?, "hook");
    container.bundle.record("first")?;
    container.end()?;
    if lab.run(["state", container.id()])?.code() == 0 {
        container.is("stopped")?;
        container.delete()?;
        return expect(false, "the container is stopped, but not destroyed: delete was still needed");
    }
    container.bundle.record("stop").map(drop)
}
