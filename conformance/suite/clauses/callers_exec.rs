//! What callers do besides the specification's operations: exec and run.

use std::ffi::OsStr;

use serde_json::{Value, json};

use crate::clause::{Clause, Need, Outcome, Stop, callers, expect, same};
use crate::command::{Done, text};
use crate::container::Container;
use crate::lab::Lab;
use crate::seen::Seen;

const EXEC: &str = "callers: exec";
const RUN: &str = "callers: run";

pub(crate) const CLAUSES: &[Clause] = &[
    callers("callers.exec.process", (EXEC, "exec --process FILE runs another program in a running container (podman, containerd)."), |lab| {
        in_container(lab, &|container| {
            let seen = executed(container, json!({}))?;
            let own = container.seen()?;
            same("the pid namespace", &seen["namespaces"]["pid"], &own["namespaces"]["pid"])?;
            same("the mount namespace", &seen["namespaces"]["mnt"], &own["namespaces"]["mnt"])
        })
    })
    .needs(&[Need::Verb("exec")]),
    callers("callers.exec.user", (EXEC, "The process of FILE has user, environment and working directory of its own."), |lab| {
        in_container(lab, &|container| {
            let process = json!({ "user": { "uid": 7, "gid": 8 }, "cwd": "/tmp", "env": ["PATH=/bin", "A=1"] });
            let seen = executed(container, process)?;
            seen.is("uid", json!([7, 7, 7]))?;
            seen.is("gid", json!([8, 8, 8]))?;
            seen.is("cwd", "/tmp")?;
            seen.is("env", json!({ "A": "1" }))
        })
    })
    .needs(&[Need::Verb("exec")]),
    callers("callers.exec.capabilities", (EXEC, "The process of FILE has capabilities of its own, and none that it does not name."), |lab| {
        in_container(lab, &|container| {
            let set = json!(["CAP_KILL"]);
            let seen = executed(container, json!({ "capabilities": { "bounding": set, "permitted": set, "effective": set } }))?;
            seen.is("capabilities/permitted", set)
        })
    })
    .needs(&[Need::Verb("exec")]),
    callers("callers.exec.cgroup", (EXEC, "It is in the container's cgroup."), |lab| {
        in_container(lab, &|container| {
            let seen = executed(container, json!({}))?;
            let own = container.seen()?;
            same("its cgroup", &seen["cgroup"], &own["cgroup"])
        })
    })
    .needs(&[Need::Verb("exec")]),
    callers("callers.exec.exit-code", (EXEC, "exec in the foreground ends with the program's exit code (CRI-O, docker's build)."), |lab| {
        in_container(lab, &|container| {
            let process = json!({ "args": ["/probe", "{\"then\":{\"exit\":7}}"] });
            same("the exit code", exec(container, process, &[])?.code(), 7)
        })
    })
    .needs(&[Need::Verb("exec")]),
    callers("callers.exec.signal", (EXEC, "exec in the foreground ends with 128 and the signal."), |lab| {
        in_container(lab, &|container| {
            let process = json!({ "args": ["/probe", "{\"then\":\"abort\"}"] });
            same("the exit code", exec(container, process, &[])?.code(), 134)
        })
    })
    .needs(&[Need::Verb("exec")]),
    callers("callers.exec.detach", (EXEC, "exec --detach --pid-file FILE ends once the program runs; FILE has its pid without a newline."), |lab| {
        in_container(lab, &|container| {
            let file = lab.dir.join("exec-pid");
            let process = json!({ "args": ["/probe", "{\"then\":\"wait\"}"] });
            exec(container, process, &["--detach".as_ref(), "--pid-file".as_ref(), file.as_os_str()])?.ok()?;
            let pid: i32 = text(&file).parse()?;
            expect(text(format!("/proc/{pid}/cmdline")).starts_with("/probe"), format!("process {pid} is not the program"))
        })
    })
    .needs(&[Need::Verb("exec")]),
    callers("callers.exec.command-line", (EXEC, "exec ID COMMAND... with the configuration's process for the rest (CRI-O, conmon-rs)."), |lab| {
        in_container(lab, &|container| {
            let done = lab.run(["exec", container.id(), "/probe", "{}", "--detach"])?.ok()?;
            report(&done)?.is("args/2", "--detach")
        })
    })
    .needs(&[Need::Verb("exec")]),
    callers("callers.exec.missing-program", (EXEC, "exec of a missing program fails with \"no such file or directory\" or \"executable file\" (docker, podman)."), |lab| {
        in_container(lab, &|container| {
            exec(container, json!({ "args": ["/nowhere"] }), &[])?.fails_with("no such file or directory|executable file")
        })
    })
    .needs(&[Need::Verb("exec")]),
    callers("callers.exec.stopped", (EXEC, "exec in a stopped container fails."), |lab| {
        let container = lab.base().start()?;
        container.end()?;
        exec(&container, json!({}), &[])?.fails()?;
        container.delete()
    })
    .needs(&[Need::Verb("exec")]),
    callers("callers.exec.cpu-affinity", (EXEC, "execCPUAffinity.final is a list of CPUs the process will be run on after the transition to container's cgroup."), |lab| {
        in_container(lab, &|container| {
            executed(container, json!({ "execCPUAffinity": { "initial": "0", "final": "0" } }))?.is("affinity", "0")
        })
    })
    .needs(&[Need::Verb("exec"), Need::Processors(2)]),
    callers("callers.run.exit-code", (RUN, "run in the foreground ends with the program's exit code and leaves nothing (buildkit)."), |lab| {
        let bundle = lab.base().then(json!({ "exit": 5 })).save()?;
        let done = lab.run(["run", "--bundle", &bundle.dir.display().to_string(), &bundle.id])?;
        same("the exit code", done.code(), 5)?;
        report(&done)?.is("args/0", "/probe")?;
        lab.knows_nothing_of(&bundle.id)
    }),
    callers("callers.run.signal", (RUN, "run in the foreground ends with 128 and the signal."), |lab| {
        let bundle = lab.base().share("pid").then("abort").save()?;
        let done = lab.run(["run", "--bundle", &bundle.dir.display().to_string(), &bundle.id])?;
        same("the exit code", done.code(), 134)
    }),
    callers("callers.run.detach", (RUN, "run --detach leaves a running container."), |lab| {
        let bundle = lab.base().then("wait").save()?;
        let (dir, pid) = (bundle.dir.display().to_string(), bundle.pid_file().display().to_string());
        let done = lab.run(["run", "--detach", "--bundle", &dir, "--pid-file", &pid, &bundle.id])?.ok()?;
        let container = Container::of(bundle, &done)?;
        container.seen()?;
        container.is("running")?;
        container.remove()
    }),
];

/// A running container, gone afterwards.
pub(super) fn in_container(lab: &Lab<'_>, case: &dyn Fn(&Container<'_>) -> Outcome) -> Outcome {
    let container = lab.base().then("wait").start()?;
    container.seen()?;
    case(&container)?;
    container.remove()
}

/// `exec --process` with the probe unless another program is asked for.
fn exec(container: &Container<'_>, changes: Value, flags: &[&OsStr]) -> Result<Done, Stop> {
    let mut process =
        json!({ "user": { "uid": 0, "gid": 0 }, "cwd": "/", "env": ["PATH=/bin"], "args": ["/probe"] });
    for (name, value) in changes.as_object().into_iter().flatten() {
        process[name] = value.clone();
    }
    let lab = container.lab();
    let file = lab.file(&format!("process{}", lab.number()), process.to_string(), 0o644)?;
    let mut line: Vec<&OsStr> = vec!["exec".as_ref()];
    line.extend_from_slice(flags);
    line.extend(["--process".as_ref(), file.as_os_str(), container.id().as_ref()]);
    lab.run(line)
}

/// What such a program has seen.
fn executed(container: &Container<'_>, changes: Value) -> Result<Seen, Stop> {
    report(&exec(container, changes, &[])?.ok()?)
}

fn report(done: &Done) -> Result<Seen, Stop> {
    let text = done.stdout();
    Ok(Seen(serde_json::from_str(text.lines().next().unwrap_or(""))?))
}
