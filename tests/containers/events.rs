//! `events`: what a container uses, for as long as somebody reads it. What memory does is in `limits::out_of_memory`.

use std::io::{BufRead, BufReader};

use serde_json::{Value, json};

use crate::support::{
    Bundle, Case, Done, Running, UNIGNORED, case, eventually, need, need_controllers, write,
};

/// A container that uses the processor for as long as it lives.
fn busy(case: &Case) -> Bundle {
    let b = case.script("while :; do :; done", |_| {});
    case.created(&b);
    b
}

fn stats(case: &Case, id: &str) -> Value {
    let done = case.call(["events", "--stats", id]).finish().ok();
    let lines = done.lines();
    assert_eq!(lines.len(), 1, "{done}");
    let line: Value = serde_json::from_str(&lines[0]).unwrap();
    assert_eq!((&line["type"], &line["id"]), (&json!("stats"), &json!(id)));
    line["data"].clone()
}

fn watch(case: &Case, id: &str, interval: &str) -> Running {
    case.call_through(&UNIGNORED, ["events", "--interval", interval, id]).spawn()
}

#[test]
fn what_is_used_is_told_of_a_created_a_running_and_a_paused_container() {
    let case = case!();
    let b = busy(&case);
    let sections = ["blkio", "cpu", "cpuset", "hugetlb", "intel_rdt", "memory", "network_interfaces", "pids"];
    let created = stats(&case, &b.id);
    for section in sections {
        assert!(created.get(section).is_some(), "{section}: {created}");
    }
    case.call(["start", &b.id]).finish().ok();
    let used = |data: &Value| data["cpu"]["usage"]["total"].as_u64().unwrap();
    eventually("it uses the processor", || used(&stats(&case, &b.id)) > used(&created) + 10_000_000);
    case.call(["pause", &b.id]).finish().ok();
    let [first, second] = [(); 2].map(|()| used(&stats(&case, &b.id)));
    assert_eq!(first, second);
    case.call(["resume", &b.id]).finish().ok();
    case.delete(&b.id);
}

#[test]
fn a_controller_that_is_missing_has_an_empty_section() {
    let case = case!();
    let controllers = crate::support::read(case.cgroup().join("cgroup.controllers"));
    need!(!controllers.contains("memory"), "controller memory is in cgroup2 here");
    let b = busy(&case);
    let data = stats(&case, &b.id);
    let none = json!({ "limit": 0, "usage": 0, "failcnt": 0 });
    assert_eq!(data["memory"]["usage"], none, "{data}");
    assert_eq!((&data["memory"]["raw"], data["memory"].get("events")), (&json!({}), None));
    case.delete(&b.id);
}

#[test]
fn a_line_comes_with_each_interval_until_the_container_stops() {
    let case = case!();
    let b = busy(&case);
    let mut watching = watch(&case, &b.id, "20ms");
    eventually("there are lines", || watching.stdout().lines().count() > 3);
    case.call(["start", &b.id]).finish().ok();
    let before = watching.stdout().lines().count();
    eventually("there are more", || watching.stdout().lines().count() > before + 3);
    assert!(!watching.ended());
    case.call(["kill", &b.id, "KILL"]).finish().ok();
    let done = watching.wait().ok();
    for line in done.lines() {
        assert_eq!(serde_json::from_str::<Value>(&line).unwrap()["type"], "stats", "{line}");
    }
    assert_eq!(done.stderr(), "");
    case.delete(&b.id);
}

#[test]
fn nothing_is_printed_before_the_first_interval_is_over() {
    let case = case!();
    let b = busy(&case);
    let watching = watch(&case, &b.id, "1h");
    case.call(["start", &b.id]).finish().ok();
    case.call(["kill", &b.id, "KILL"]).finish().ok();
    watching.wait().prints("");
    case.delete(&b.id);
}

#[test]
fn a_signal_ends_it_well() {
    let case = case!();
    let b = busy(&case);
    for signal in [libc::SIGTERM, libc::SIGINT] {
        let watching = watch(&case, &b.id, "10ms");
        eventually("it watches", || !watching.stdout().is_empty());
        watching.signal(signal);
        let done = watching.wait().ok();
        assert!(done.stdout().ends_with('\n'), "{done}");
    }
    case.delete(&b.id);
}

#[test]
fn it_ends_well_when_nobody_reads_any_more() {
    let case = case!();
    let b = busy(&case);
    let into = |interval: &str| {
        let (reader, writer) = std::io::pipe().unwrap();
        let call = case.call(["events", "--interval", interval, &b.id]);
        (reader, call.output(writer.try_clone().unwrap(), writer).spawn())
    };
    // While it writes, and while it would not for a long time.
    let (reader, watching) = into("1ms");
    let mut line = String::new();
    let mut reader = BufReader::new(reader);
    reader.read_line(&mut line).unwrap();
    assert!(line.starts_with("{\"type\":\"stats\""), "{line}");
    drop(reader);
    watching.wait().ok();
    let (reader, watching) = into("1h");
    drop(reader);
    watching.wait().ok();
    case.delete(&b.id);
}

#[test]
fn it_waits_while_the_cgroup_has_vanished() {
    let case = case!();
    need_controllers!("memory");
    let b = busy(&case);
    let watching = watch(&case, &b.id, "1h");
    std::thread::sleep(std::time::Duration::from_millis(200));
    write(&case.cgroup().join("cgroup.procs"), case.pid(&b.id).to_string(), 0o644);
    std::fs::remove_dir(&b.cgroup).unwrap();
    std::thread::sleep(std::time::Duration::from_secs(1));
    let stat = crate::support::read(format!("/proc/{}/stat", watching.pid()));
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: u32 = fields[11..13].iter().map(|ticks| ticks.parse::<u32>().unwrap()).sum();
    assert!(ticks < 20, "{ticks} of 100 in a second");
    case.call(["kill", &b.id, "KILL"]).finish().ok();
    watching.wait().prints("");
    case.delete(&b.id);
}

#[test]
fn of_a_container_that_has_stopped_or_is_missing_it_fails() {
    let case = case!();
    let b = busy(&case);
    case.call(["kill", &b.id, "KILL"]).finish().ok();
    case.until(&b.id, "stopped");
    let words = format!("container with id {} is not running", b.id);
    for options in [&["--stats"][..], &[], &["--interval", "1h"]] {
        let of =
            |id: &str| -> Done { case.call(["events"].iter().chain(options).copied().chain([id])).finish() };
        of(&b.id).fails(&[&words]);
        of("nobody").fails(&["container does not exist"]);
    }
    case.delete(&b.id);
}

#[test]
fn an_interval_that_is_none_is_refused_before_anything() {
    let case = case!();
    for (interval, words) in
        [("0s", "greater than 0"), ("-1s", "greater than 0"), ("5", "not a duration"), ("", "interval")]
    {
        case.call(["events", "--interval", interval, "nobody"]).finish().fails(&[words]);
    }
    let equals = case.call(["events", "--interval=0", "nobody"]).finish();
    equals.fails(&["duration interval must be greater than 0"]);
}

#[test]
fn a_container_in_its_callers_cgroup_has_no_numbers_of_its_own() {
    let case = case!();
    let b = case.script("sleep 100", |_| {});
    case.call(["--cgroup-manager", "disabled", "create", "-b", b.path(), &b.id]).finish().ok();
    case.call(["events", "--stats", &b.id]).finish().fails(&["no cgroup of its own"]);
    case.delete(&b.id);
}
