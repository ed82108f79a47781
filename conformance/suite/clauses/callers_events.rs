//! What callers read of `events`: go-runc decodes each line, and with it containerd's tools and cAdvisor.

use std::ffi::OsString;

use serde_json::Value;

use super::callers_exec::in_container;
use crate::clause::{Clause, Need, Outcome, Stop, callers, expect, same};
use crate::container::Container;
use crate::lab::Lab;

const EVENTS: &str = "callers: events";

pub(crate) const CLAUSES: &[Clause] = &[
    callers("callers.events.stats", (EVENTS, "events --stats prints one line of JSON with type, id and data (go-runc)."), |lab| {
        in_container(lab, &|container| stats(container).map(drop))
    })
    .needs(&[Need::Verb("events")]),
    callers("callers.events.cpu", (EVENTS, "data.cpu.usage.total is the time of all processors in nanoseconds (go-runc)."), |lab| {
        in_container(lab, &|container| {
            let stat = || crate::command::text(container.bundle.cgroup.join("cpu.stat"));
            let used = |stat: String| {
                let line = stat.lines().find_map(|line| line.strip_prefix("usage_usec "));
                line.and_then(|usec| usec.parse::<u64>().ok()).unwrap_or(0) * 1000
            };
            let before = used(stat());
            let told = stats(container)?["cpu"]["usage"]["total"].as_u64().unwrap_or(0);
            let after = used(stat());
            expect((before..=after).contains(&told), format!("{told} is not from {before} to {after}"))
        })
    })
    .needs(&[Need::Verb("events")]),
    callers("callers.events.memory", (EVENTS, "data.memory has limit and usage in bytes, and memory.stat in raw (go-runc)."), |lab| {
        let container = lab.with("linux/resources/memory/limit", 64 << 20).then("wait").start()?;
        container.seen()?;
        let data = stats(&container);
        container.remove()?;
        let memory = &data?["memory"];
        same("the limit", &memory["usage"]["limit"], &Value::from(64 << 20))?;
        expect(memory["usage"]["usage"].as_u64().is_some_and(|usage| usage > 0), format!("no usage in {memory}"))?;
        expect(memory["raw"]["anon"].as_u64().is_some(), format!("no anon in {}", memory["raw"]))
    })
    .needs(&[Need::Verb("events"), Need::Controller("memory")]),
    callers("callers.events.pids", (EVENTS, "data.pids has current and limit (go-runc)."), |lab| {
        let container = lab.with("linux/resources/pids/limit", 70).then("wait").start()?;
        container.seen()?;
        let data = stats(&container);
        container.remove()?;
        let pids = &data?["pids"];
        same("the limit", &pids["limit"], &Value::from(70))?;
        same("the number", &pids["current"], &Value::from(1))
    })
    .needs(&[Need::Verb("events"), Need::Controller("pids")]),
    callers("callers.events.interval", (EVENTS, "events prints a line each interval, a Go duration, and ends with the container (go-runc)."), |lab| {
        let container = lab.base().then("wait").start()?;
        container.seen()?;
        let lines = until_killed(lab, &container, "100ms")?;
        container.end()?;
        container.delete()?;
        expect(lines.len() > 1, format!("it has printed {} lines", lines.len()))?;
        lines.iter().try_for_each(|line| same("the type", &line["type"], &Value::from("stats")))
    })
    .needs(&[Need::Verb("events")]),
    callers("callers.events.paused", (EVENTS, "events --stats works while the container is paused."), |lab| {
        in_container(lab, &|container| {
            lab.run(["pause", container.id()])?.ok()?;
            let told = stats(container);
            lab.run(["resume", container.id()])?.ok()?;
            told.map(drop)
        })
    })
    .needs(&[Need::Verb("events"), Need::Verb("pause")]),
    callers("callers.events.stopped", (EVENTS, "events of a stopped container fails with \"is not running\", of a missing one with \"does not exist\"."), |lab| {
        let container = lab.base().start()?;
        container.end()?;
        lab.run(["events", "--stats", container.id()])?.fails_with("is not running")?;
        container.delete()?;
        lab.run(["events", "--stats", container.id()])?.fails_with("does not exist")
    })
    .needs(&[Need::Verb("events")]),
    callers("callers.events.bad-interval", (EVENTS, "An interval of 0 or less, or that is no duration, is refused."), |lab| {
        in_container(lab, &|container| {
            for interval in ["0s", "-1s", "often"] {
                lab.run(["events", &format!("--interval={interval}"), container.id()])?.fails()?;
            }
            Ok(())
        })
    })
    .needs(&[Need::Verb("events")]),
];

/// The data of the one line that `events --stats` prints.
fn stats(container: &Container<'_>) -> Result<Value, Stop> {
    let text = container.lab().run(["events", "--stats", container.id()])?.ok()?.stdout();
    let line: Value = serde_json::from_str(&text)?;
    same("the number of lines", text.lines().count(), 1)?;
    same("the type", &line["type"], &Value::from("stats"))?;
    same("the id", &line["id"], &Value::from(container.id()))?;
    let is_complete =
        ["cpu", "memory", "pids", "blkio", "hugetlb"].iter().all(|part| line["data"][part].is_object());
    let outcome: Outcome = expect(is_complete, format!("a part is missing in {line}"));
    outcome.map(|()| line["data"].clone())
}

/// The lines that come until the container is killed, some intervals later.
fn until_killed(lab: &Lab<'_>, container: &Container<'_>, interval: &str) -> Result<Vec<Value>, Stop> {
    let script = r#""$@" & sleep 1; kill -KILL "$PID"; wait $!"#;
    let mut line: Vec<OsString> = ["sh", "-c", script, "sh"].map(OsString::from).to_vec();
    line.extend(lab.line(["events", "--interval", interval, container.id()]));
    let text = lab.command(&line).env("PID", container.pid.to_string()).finish()?.ok()?.stdout();
    Ok(text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?)
}
