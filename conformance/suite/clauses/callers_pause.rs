//! What callers do besides the specification's operations: ps, pause, resume and kill --all.

use serde_json::{Value, json};

use super::callers_exec::in_container;
use crate::clause::{Clause, Need, callers, expect, same};
use crate::command::text;

const OTHERS: &str = "callers: ps, pause, resume, kill --all";

pub(crate) const CLAUSES: &[Clause] = &[
    callers("callers.ps.json", (OTHERS, "ps --format json: an array of the pids (containerd)."), |lab| {
        in_container(lab, &|container| {
            let pids: Value = serde_json::from_str(&lab.run(["ps", "--format", "json", container.id()])?.ok()?.stdout())?;
            same("the list", &pids, &json!([container.pid]))
        })
    })
    .needs(&[Need::Verb("ps")]),
    callers("callers.pause.status", (OTHERS, "pause freezes a container; its status is paused (podman, containerd)."), |lab| {
        in_container(lab, &|container| {
            lab.run(["pause", container.id()])?.ok()?;
            container.is("paused")?;
            let frozen = text(container.bundle.cgroup.join("cgroup.events")).contains("frozen 1");
            lab.run(["resume", container.id()])?.ok()?;
            container.is("running")?;
            expect(frozen, "its cgroup is not frozen")
        })
    })
    .needs(&[Need::Verb("pause")]),
    callers("callers.ps.json.all", (OTHERS, "ps --format json: all processes, those of cgroups below too."), |lab| {
        in_container(lab, &|container| {
            let below = container.bundle.cgroup.join("below");
            crate::lab::make_dir(&below, 0o755)?;
            let mut other = std::process::Command::new("sleep").arg("1000").spawn()?;
            let moved = std::fs::write(below.join("cgroup.procs"), other.id().to_string());
            let listed = moved.map_err(Into::into).and_then(|()| lab.run(["ps", "--format", "json", container.id()]));
            other.kill()?;
            other.wait()?;
            std::fs::remove_dir(&below)?;
            let listed: Value = serde_json::from_str(&listed?.ok()?.stdout())?;
            let mut pids: Vec<i64> = listed.as_array().into_iter().flatten().filter_map(Value::as_i64).collect();
            pids.sort_unstable();
            let mut expected = vec![i64::from(container.pid), i64::from(other.id())];
            expected.sort_unstable();
            same("the list", json!(pids), json!(expected))
        })
    })
    .needs(&[Need::Verb("ps")]),
    callers("callers.ps.json.stopped", (OTHERS, "ps --format json of a stopped container ends well, with no pid."), |lab| {
        let container = lab.base().start()?;
        container.end()?;
        let listed: Value = serde_json::from_str(&lab.run(["ps", "--format", "json", container.id()])?.ok()?.stdout())?;
        expect(listed.as_array().is_none_or(Vec::is_empty), format!("the list is {listed}"))?;
        container.delete()
    })
    .needs(&[Need::Verb("ps")]),
    callers("callers.ps.paused", (OTHERS, "ps --format json works while the container is paused (containerd)."), |lab| {
        in_container(lab, &|container| {
            lab.run(["pause", container.id()])?.ok()?;
            let pids: Value = serde_json::from_str(&lab.run(["ps", "--format", "json", container.id()])?.ok()?.stdout())?;
            lab.run(["resume", container.id()])?.ok()?;
            same("the list", &pids, &json!([container.pid]))
        })
    })
    .needs(&[Need::Verb("ps"), Need::Verb("pause")]),
    callers("callers.pause.signal", (OTHERS, "A signal to a paused container arrives when it is resumed; SIGKILL at once (podman, containerd)."), |lab| {
        let container = lab.base().then("wait").start()?;
        container.seen()?;
        lab.run(["pause", container.id()])?.ok()?;
        container.kill("TERM")?;
        std::thread::sleep(std::time::Duration::from_millis(100));
        container.is("paused")?;
        lab.run(["resume", container.id()])?.ok()?;
        container.gets_signal(15)?;
        container.end()?;
        container.delete()?;
        let container = lab.base().then("wait").start()?;
        container.seen()?;
        lab.run(["pause", container.id()])?.ok()?;
        container.kill("KILL")?;
        same("the exit code", container.end()?, 137)?;
        container.delete()
    })
    .needs(&[Need::Verb("pause")]),
    callers("callers.pause.delete", (OTHERS, "delete without --force refuses a paused container and leaves it alone."), |lab| {
        in_container(lab, &|container| {
            lab.run(["pause", container.id()])?.ok()?;
            let deleted = lab.run(["delete", container.id()])?;
            container.is("paused")?;
            lab.run(["resume", container.id()])?.ok()?;
            deleted.fails().map(drop)
        })
    })
    .needs(&[Need::Verb("pause")]),
    callers("callers.pause.stopped", (OTHERS, "pause and resume of a stopped container fail."), |lab| {
        let container = lab.base().start()?;
        container.end()?;
        for verb in ["pause", "resume"] {
            lab.run([verb, container.id()])?.fails()?;
        }
        container.is("stopped")?;
        container.delete()
    })
    .needs(&[Need::Verb("pause")]),
    callers("callers.pause.missing", (OTHERS, "pause, resume and ps of a missing container fail with \"does not exist\" (containerd)."), |lab| {
        for verb in ["pause", "resume", "ps"] {
            lab.run([verb, "nobody"])?.fails_with("does not exist")?;
        }
        Ok(())
    })
    .needs(&[Need::Verb("pause"), Need::Verb("ps")]),
    callers("callers.kill.all.stopped", (OTHERS, "kill --all of a stopped container ends well (containerd, podman)."), |lab| {
        let container = lab.base().start()?;
        container.end()?;
        for signal in ["9", "15"] {
            lab.run(["kill", "--all", container.id(), signal])?.ok()?;
        }
        container.delete()
    }),
    callers("callers.pause.kill", (OTHERS, "delete --force removes a paused container."), |lab| {
        let container = lab.base().then("wait").start()?;
        container.seen()?;
        lab.run(["pause", container.id()])?.ok()?;
        lab.run(["delete", "--force", container.id()])?.ok()?;
        lab.knows_nothing_of(container.id())
    })
    .needs(&[Need::Verb("pause")]),
];
