//! `update`: what it changes, what it leaves, and what it refuses. Values are read back from the kernel's files.

use std::fs::File;
use std::path::Path;

use nix::fcntl::{Flock, FlockArg};
use serde_json::{Value, json};

use crate::support::{Bundle, Case, Done, case, is_there, need_controllers, read};

fn sleeping(case: &Case, resources: Value) -> Bundle {
    case.script("sleep 100", |config| config["linux"]["resources"] = resources)
}

fn started(case: &Case, resources: Value) -> Bundle {
    let bundle = sleeping(case, resources);
    case.started(&bundle);
    bundle
}

/// With flags.
fn update(case: &Case, id: &str, flags: &str) -> Done {
    let words = ["update"].into_iter().chain(flags.split_whitespace()).chain([id]);
    case.call(words).finish()
}

/// With a document on standard input, as containerd does.
fn update_json(case: &Case, id: &str, resources: &str) -> Done {
    let path = case.path("resources.json");
    write(&path, resources);
    case.call(["update", "--resources=-", id]).stdin(File::open(&path).unwrap()).finish()
}

#[expect(clippy::disallowed_methods, reason = "a test's own file")]
fn write(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
}

fn file(bundle: &Bundle, name: &str) -> String {
    read(bundle.cgroup.join(name)).trim_end().to_owned()
}

#[test]
fn what_is_not_asked_for_stays() {
    let case = case!();
    need_controllers!("memory", "cpu", "pids");
    let limits = json!({
        "memory": { "limit": 64 << 20, "reservation": 8 << 20, "swap": 96 << 20 },
        "cpu": { "quota": 30_000, "period": 60_000, "shares": 512 },
        "pids": { "limit": 50 },
    });
    let b = started(&case, limits);
    let names =
        ["memory.max", "memory.low", "memory.swap.max", "cpu.max", "cpu.weight", "cpu.max.burst", "pids.max"];
    let all = || names.map(|name| file(&b, name));
    let mut expected = ["67108864", "8388608", "33554432", "30000 60000", "59", "0", "50"].map(str::to_owned);
    assert_eq!(all(), expected);
    for (flags, at, value) in [
        ("--cpu-quota 20000", 3, "20000 60000"),
        ("--cpu-period 40000", 3, "20000 40000"),
        ("--cpu-quota=-1", 3, "max 40000"),
        ("--cpu-quota 20000 --cpu-period 100000", 3, "20000 100000"),
        ("--cpu-burst 5000", 5, "5000"),
        ("--cpu-share 1024", 4, "100"),
        ("--pids-limit -1", 6, "max"),
        ("--pids-limit 60", 6, "60"),
        ("--memory 128M", 0, "134217728"),
        ("--memory-reservation 16777216", 1, "16777216"),
        // Of both together: the limit there is stays.
        ("--memory-swap 192M", 2, "67108864"),
        ("--memory-swap -1", 2, "max"),
        ("--memory 0 --cpu-quota 0 --cpu-share 0 --blkio-weight 0 --pids-limit 0", 0, "134217728"),
        ("", 0, "134217728"),
    ] {
        update(&case, &b.id, flags).ok();
        expected[at] = value.to_owned();
        assert_eq!(all(), expected, "{flags}");
    }
    case.delete(&b.id);
}

#[test]
fn no_limit_of_memory_is_none_of_swap_either() {
    let case = case!();
    need_controllers!("memory");
    let b = started(&case, json!({ "memory": { "limit": 64 << 20, "swap": 96 << 20 } }));
    update(&case, &b.id, "--memory -1").ok();
    assert_eq!((file(&b, "memory.max"), file(&b, "memory.swap.max")), ("max".into(), "max".into()));
    update(&case, &b.id, "--memory-swap 100M").fails(&["linux.resources.memory.swap", "needs memory.limit"]);
    case.delete(&b.id);
}

#[test]
fn a_quota_and_its_burst_can_both_be_raised_and_lowered() {
    let case = case!();
    need_controllers!("cpu");
    let b = started(&case, json!({ "cpu": { "quota": 50_000, "burst": 50_000 } }));
    for (quota, burst) in [(20_000, 10_000), (80_000, 80_000), (30_000, 30_000)] {
        update(&case, &b.id, &format!("--cpu-quota {quota} --cpu-burst {burst}")).ok();
        assert_eq!(file(&b, "cpu.max"), format!("{quota} 100000"));
        assert_eq!(file(&b, "cpu.max.burst"), burst.to_string());
    }
    update(&case, &b.id, "--cpu-quota 20000").fails(&["cpu.quota: 20000", "burst there is, 30000"]);
    update(&case, &b.id, "--cpu-burst 30001").fails(&["cpu.burst: 30001", "the quota, 30000"]);
    update(&case, &b.id, "--cpu-idle 1").ok();
    update(&case, &b.id, "--cpu-share 512").fails(&["set idle to 0"]);
    update(&case, &b.id, "--cpu-share 512 --cpu-idle 0").ok();
    assert_eq!((file(&b, "cpu.idle"), file(&b, "cpu.weight")), ("0".into(), "59".into()));
    case.delete(&b.id);
}

#[test]
fn if_one_can_not_be_set_none_is() {
    let case = case!();
    need_controllers!("memory", "cpu", "pids");
    let limits = json!({ "memory": { "limit": 64 << 20 }, "pids": { "limit": 50 }, "cpu": { "shares": 99 } });
    let b = started(&case, limits);
    let all = || ["memory.max", "memory.swap.max", "cpu.max", "cpu.weight", "pids.max"].map(|n| file(&b, n));
    let before = all();
    // Found wrong before anything is written, and by the kernel after all the others have been.
    let wrong = update(&case, &b.id, "--memory 32M --cpu-quota 500 --pids-limit 7");
    wrong.fails(&["linux.resources.cpu.quota: 500"]);
    let late =
        update(&case, &b.id, "--memory 96M --cpu-quota 50000 --cpu-share 512 --pids-limit 99999999999999");
    late.fails(&["linux.resources.pids.limit", "pids.max: write", "EINVAL"]);
    assert_eq!(all(), before);
    let unknown = update_json(&case, &b.id, r#"{"unified":{"cpu.weight":"7","pids.novel":"1"}}"#);
    unknown.fails(&["linux.resources.unified", "pids.novel"]);
    assert_eq!(all(), before);
    case.delete(&b.id);
}

#[test]
fn a_controller_that_create_did_not_need_is_enabled() {
    let case = case!();
    need_controllers!("memory", "pids");
    let b = started(&case, json!({}));
    assert!(!is_there(b.cgroup.join("memory.max")));
    update_json(&case, &b.id, r#"{"memory":{"limit":67108864},"unified":{"memory.high":"33554432"}}"#).ok();
    assert_eq!((file(&b, "memory.max"), file(&b, "memory.high")), ("67108864".into(), "33554432".into()));
    update_json(&case, &b.id, r#"{"pids":{}}"#).ok();
    assert!(!is_there(b.cgroup.join("pids.max")));
    update_json(&case, &b.id, r#"{"pids":{"limit":0}}"#).ok();
    assert_eq!(file(&b, "pids.max"), "0");
    case.delete(&b.id);
}

#[test]
fn a_limit_below_what_is_used_is_refused_where_that_is_asked_for() {
    let case = case!();
    need_controllers!("memory");
    let b = started(&case, json!({ "memory": { "limit": 64 << 20 } }));
    let checked = r#"{"memory":{"limit":8192,"checkBeforeUpdate":true}}"#;
    update_json(&case, &b.id, checked)
        .fails(&["linux.resources.memory.limit: 8192 bytes are less than", "in use"]);
    assert_eq!(file(&b, "memory.max"), "67108864");
    assert_eq!(case.status(&b.id), "running");
    case.delete(&b.id);
}

#[test]
fn a_created_and_a_frozen_container_can_be_updated_and_a_stopped_one_can_not() {
    let case = case!();
    let depth = r#"{"unified":{"cgroup.max.depth":"3"}}"#;
    let b = sleeping(&case, json!({}));
    case.created(&b);
    update_json(&case, &b.id, depth).ok();
    assert_eq!(file(&b, "cgroup.max.depth"), "3");
    case.call(["start", &b.id]).finish().ok();
    write(&b.cgroup.join("cgroup.freeze"), "1");
    update_json(&case, &b.id, &depth.replace('3', "4")).ok();
    assert_eq!(file(&b, "cgroup.max.depth"), "4");
    write(&b.cgroup.join("cgroup.freeze"), "0");
    case.call(["kill", &b.id, "KILL"]).finish().ok();
    case.until(&b.id, "stopped");
    update_json(&case, &b.id, depth).fails(&["container not running"]);
    case.delete(&b.id);
    update_json(&case, &b.id, depth).fails(&["container does not exist"]);
}

/// As a `start` whose hook hangs.
#[test]
fn another_command_that_does_not_end_is_not_waited_for_for_ever() {
    let case = case!();
    let b = sleeping(&case, json!({}));
    case.created(&b);
    let at_work = Flock::lock(File::open(case.state.join(&b.id)).unwrap(), FlockArg::LockExclusive).unwrap();
    let update = case.call_through(&["timeout", "20"], ["update", "--pids-limit", "5", &b.id]).finish();
    update.fails(&["another command is at work on it"]);
    drop(at_work);
    case.delete(&b.id);
}

#[test]
fn what_is_written_is_put_back_in_any_file() {
    let case = case!();
    let b = started(&case, json!({ "unified": { "cgroup.max.depth": "3" } }));
    let bad = r#"{"unified":{"cgroup.max.depth":"9","cgroup.max.descendants":"many"}}"#;
    update_json(&case, &b.id, bad).fails(&["linux.resources.unified", "cgroup.max.descendants: write"]);
    assert_eq!(file(&b, "cgroup.max.depth"), "3");
    case.delete(&b.id);
}

#[test]
fn bad_input_changes_nothing() {
    let case = case!();
    let b = started(&case, json!({}));
    for (json, words) in [
        ("", "not valid JSON"),
        ("[]", "it is not an object"),
        (r#"{"network":{"classID":1}}"#, "cgroup v2 has no network controllers"),
        (r#"{"memory":{"kernel":1000000}}"#, "linux.resources.memory.kernel: cgroup v2 has nothing like it"),
        (r#"{"unified":{"../x":"1"}}"#, "is not the name of a cgroup's file"),
        (r#"{"unified":{"cgroup.freeze":"1"}}"#, "the runtime's own business"),
        (r#"{"devices":[{"allow":false,"access":"x"}]}"#, "linux.resources.devices[0]"),
    ] {
        update_json(&case, &b.id, json).fails(&[words]);
    }
    for (flags, words) in [
        ("--pids-limit abc", "--pids-limit"),
        ("--memory 1x", "is not a number of bytes"),
        ("--cpu-rt-runtime 1000", "linux.resources.cpu.realtimeRuntime"),
        ("--blkio-weight 5", "linux.resources.blockIO.weight: 5 is not between 10 and 1000"),
        ("--l3-cache-schema L3:0=f", "linux.intelRdt: the container has been created without it"),
        ("--mem-bw-schema 50", "does not begin with \"MB:\""),
        ("-r /x --memory 1", "cannot be used with"),
        ("-r /no/such", "/no/such"),
    ] {
        update(&case, &b.id, flags).fails(&[words]);
    }
    case.delete(&b.id);
}

#[test]
fn rules_of_devices_are_replaced() {
    let case = case!();
    let script = "while sleep 0.02; do (exec 3>/dev/mine) 2>/dev/null && echo open || echo denied; done";
    let b = case.script(script, |config| {
        let mine = json!({ "path": "/dev/mine", "type": "c", "major": 1, "minor": 11, "fileMode": 0o666 });
        config["linux"]["devices"] = json!([mine]);
        config["linux"]["resources"] = json!({ "devices": [{ "allow": false, "access": "rwm" }] });
    });
    let run = case.started(&b);
    let until = |word: &str| {
        let lines = run.stdout().lines().count();
        crate::support::eventually(word, || run.stdout().lines().skip(lines + 1).any(|line| line == word));
    };
    until("denied");
    let deny = r#"{"allow":false,"access":"rwm"}"#;
    let kmsg = r#"{"allow":true,"type":"c","major":1,"minor":11,"access":"rw"}"#;
    for (rules, word) in [
        (format!("{deny},{kmsg}"), "open"),
        (format!("{kmsg},{deny}"), "denied"),
        (r#"{"allow":true,"access":"rwm"}"#.to_owned(), "open"),
        (deny.to_owned(), "denied"),
    ] {
        update_json(&case, &b.id, &format!(r#"{{"devices":[{rules}]}}"#)).ok();
        until(word);
    }
    case.delete(&b.id);
}

#[test]
fn the_engines_command_lines_are_understood() {
    let case = case!();
    let b = started(&case, json!({}));
    let path = case.path("resources.json");
    // What docker update sends with nothing but a restart policy to change, and so with nothing for the kernel.
    write(&path, r#"{"memory":{},"cpu":{},"blockIO":{"weight":0}}"#);
    let log = case.path("log.json");
    let podman = format!("--resources={}", path.display());
    case.call(["update", &podman, &b.id]).finish().ok();
    let shim = ["--log", log.to_str().unwrap(), "--log-format", "json", "update", "--resources=-", &b.id];
    case.call(shim).stdin(File::open(&path).unwrap()).finish().ok();
    let crio = ["update", "--resources", "-", &b.id];
    case.call(crio).stdin(File::open(&path).unwrap()).finish().ok();
    assert_eq!(read(&log), "");
    case.delete(&b.id);
}
