//! What is told when memory runs out: by `events`, by `state`, and when a container comes to nothing; and that the numbers
//! are the kernel's. cgroup-v2.rst, "Memory Interface Files".

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};

use super::limited::{GO_ON, Limited, bundle, create, run};
use super::memory::{limits, with_mem};
use super::{Driver, both_drivers, limits_case};
use crate::support::{Case, eventually, nothing_is_left, read};

const MIB: u64 = 1 << 20;
/// More than 16 MiB.
const TAKE: &str = "dd if=/dev/zero of=/mem/x bs=1M count=32";

/// Ten times in five seconds the kernel reports in full whom it kills (mm/oom_kill.c, `oom_rs`), and of a scope that has
/// gone with its last process nothing else tells. So who needs a report comes after these, and nobody who kills often
/// runs meanwhile.
fn killing(driver: Driver, needs_report: bool) -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    let guard = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    if needs_report && driver == Driver::Systemd {
        std::thread::sleep(Duration::from_millis(5100));
    }
    guard
}

fn stats(case: &Case, id: &str) -> Value {
    let line = case.call(["events", "--stats", id]).finish().ok().stdout();
    serde_json::from_str::<Value>(&line).unwrap()["data"].clone()
}

fn the_numbers_are_the_kernels(driver: Driver) {
    let case = limits_case!(driver, "memory", "pids", "cpu");
    let mut resources = limits(48, 64);
    resources["pids"] = json!({ "limit": 30 });
    resources["cpu"] = json!({ "quota": 50_000, "period": 100_000 });
    let script = "dd if=/dev/zero of=/mem/x bs=1M count=8; rm /mem/x; echo done; exec sleep 100";
    let c = Limited::of(&case, driver, with_mem(&case, driver, script, resources));
    c.start();
    c.prints("done");
    // Nothing moves any more.
    case.call(["pause", &c.bundle.id]).finish().ok();
    // But what the kernel gives back or counts late.
    let mut data = Value::Null;
    let number = |key: &str, file: &str| c.number(file, key);
    eventually("what is told is what is in the files", || {
        data = stats(&case, &c.bundle.id);
        let file = |name: &str| json!(c.read(name).parse::<u64>().unwrap());
        let (memory, usage) = (&data["memory"], &data["cpu"]["usage"]);
        memory["usage"]["usage"] == file("memory.current")
            && memory["usage"]["max"] == file("memory.peak")
            && ["file", "anon", "pgfault", "slab"]
                .iter()
                .all(|key| memory["raw"][*key] == number(key, "memory.stat"))
            && usage["total"] == number("usage_usec", "cpu.stat") * 1000
            && usage["user"] == number("user_usec", "cpu.stat") * 1000
            && data["cpu"]["throttling"]["periods"] == number("nr_periods", "cpu.stat")
    });
    let memory = &data["memory"];
    assert_eq!(memory["usage"]["limit"], 48 * MIB);
    assert!(memory["usage"]["max"].as_u64().unwrap() > 8 * MIB);
    assert_eq!(
        (&memory["swap"]["limit"], &memory["swapOnly"]["limit"]),
        (&json!(64 * MIB), &json!(16 * MIB))
    );
    assert_eq!(memory["cache"], memory["raw"]["file"]);
    assert_eq!(memory["events"]["oom_kill"], 0);
    let peak: u64 = c.read("pids.peak").parse().unwrap();
    assert_eq!(data["pids"], json!({ "current": 1, "limit": 30, "peak": peak, "failcnt": 0 }));
    c.delete();
}

fn no_limit_is_the_largest_number_and_none_of_pids_is_0(driver: Driver) {
    let case = limits_case!(driver, "memory", "pids");
    let resources =
        json!({ "memory": { "limit": -1 }, "pids": { "limit": -1 }, "unified": { "memory.low": "4096" } });
    let c = Limited::created(&case, driver, "exec sleep 100", resources);
    let data = stats(&case, &c.bundle.id);
    assert_eq!(data["memory"]["usage"]["limit"], u64::MAX);
    assert_eq!(data["memory"]["swap"]["limit"], u64::MAX);
    assert_eq!(data["pids"]["limit"], 0);
    c.delete();
}

fn kills_are_told_when_they_happen_and_the_container_goes_on(driver: Driver) {
    let case = limits_case!(driver, "memory");
    let round = format!("{GO_ON}; {TAKE}; rm /mem/x; echo round");
    let script = format!("{round}; {round}; exec sleep 100");
    let c = Limited::of(&case, driver, with_mem(&case, driver, &script, limits(16, 16)));
    c.start();
    let watching = case.call(["events", "--interval", "1h", &c.bundle.id]).spawn();
    let line = |kills: u64| format!("{}\n", json!({ "type": "oom", "id": c.bundle.id, "kills": kills }));
    let told = |text: &str| serde_json::from_str::<Value>(text.lines().last().unwrap_or("0")).unwrap();
    for kills in [1, 2] {
        // It has begun to watch by the second round at the latest.
        c.go_on();
        eventually("it has been killed", || c.number("memory.events", "oom_kill") == kills);
        if kills == 2 {
            eventually("it is told", || told(&watching.stdout()) == told(&line(kills)));
        } else {
            c.prints("round");
            eventually("it watches", || {
                std::fs::read_link(format!("/proc/{}/fd/1", watching.pid())).is_ok()
                    && has_open(watching.pid(), "memory.events")
            });
        }
    }
    let memory = &stats(&case, &c.bundle.id)["memory"];
    assert_eq!(memory["events"]["oom_kill"], 2);
    assert!(memory["usage"]["failcnt"].as_u64().unwrap() > 0, "{memory}");
    // Those are its children: it has not died of it.
    assert_eq!(case.state_of(&c.bundle.id).get("oom"), None);
    case.call(["kill", &c.bundle.id, "KILL"]).finish().ok();
    watching.wait().ok();
    case.until(&c.bundle.id, "stopped");
    assert_eq!(case.state_of(&c.bundle.id).get("oom"), None);
    c.delete();
}

/// Whether a process has a file of this name open.
fn has_open(pid: i32, name: &str) -> bool {
    let fds = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    fds.filter_map(|fd| std::fs::read_link(fd.path()).ok()).any(|path| path.ends_with(name))
}

fn a_container_that_has_died_of_memory_says_so_with_limit_and_peak(driver: Driver) {
    let case = limits_case!(driver, "memory");
    let _killing = killing(driver, true);
    let c = Limited::of(&case, driver, with_mem(&case, driver, &format!("exec {TAKE}"), limits(16, 16)));
    assert_eq!(case.state_of(&c.bundle.id).get("oom"), None);
    c.start();
    case.until(&c.bundle.id, "stopped");
    let state = case.state_of(&c.bundle.id);
    assert_eq!((&state["oom"]["kills"], &state["oom"]["limit"]), (&json!(1), &json!(16 * MIB)), "{state}");
    assert!((15 * MIB..=16 * MIB).contains(&state["oom"]["peak"].as_u64().unwrap()), "{state}");
    if driver == Driver::Cgroupfs {
        let list = case.call(["list", "--format", "json"]).finish().ok().stdout();
        assert_eq!(serde_json::from_str::<Value>(&list).unwrap()[0]["oom"], state["oom"]);
    }
    c.delete();
}

/// Also where it is not its own, but one above it.
#[test]
fn the_limit_that_was_reached_is_named() {
    let case = limits_case!(Driver::Cgroupfs, "memory");
    let b = with_mem(&case, Driver::Cgroupfs, &format!("exec {TAKE}"), limits(48, 48));
    let mut config = b.config();
    config["linux"]["cgroupsPath"] = json!(format!("/{}/above/{}", case.unique, b.id));
    b.save(&config);
    create(&case, Driver::Cgroupfs, &b).ok();
    let above = case.cgroup().join("above/memory.max");
    std::fs::write(&above, (16 * MIB).to_string()).unwrap();
    std::fs::write(above.with_file_name("memory.swap.max"), "0").unwrap();
    case.call(["start", &b.id]).finish().ok();
    case.until(&b.id, "stopped");
    assert_eq!(case.state_of(&b.id)["oom"]["limit"], 16 * MIB);
    case.delete(&b.id);
}

fn a_run_that_dies_of_memory_says_so_in_a_line(driver: Driver) {
    let case = limits_case!(driver, "memory");
    let _killing = killing(driver, true);
    let b = with_mem(&case, driver, &format!("exec {TAKE} 2>/dev/null"), limits(16, 16));
    let done = run(&case, driver, &b);
    assert_eq!(done.code(), 137, "{done}");
    let done = done.says(&[&format!("container {}: out of memory: killed 1 process", b.id)]);
    done.says(&["memory.max\" is 16777216 (16 MiB), peak "]);
    let by_signal = run(&case, driver, &with_mem(&case, driver, "exit 137", limits(16, 16)));
    assert_eq!((by_signal.code(), by_signal.stderr().as_str()), (137, ""));
}

fn a_limit_too_low_for_init_is_named_with_its_value(driver: Driver) {
    let case = limits_case!(driver, "memory");
    let _killing = killing(driver, false);
    // With some of them init gets half of its way. Not so in User-mode Linux: where that has no memory for a copy of a page
    // that read(2) writes to, it writes to the page itself, and the runtime, which has it in common with init until then,
    // goes on with what init has read. A C program that does nothing but that shows the same each time; other kernels
    // (6.1 in qemu) never do.
    let is_uml = read("/proc/cpuinfo").contains("User Mode Linux");
    let half = [32768, 49152, 65536, 98304, 131_072].into_iter().filter(|_| !is_uml);
    for limit in [4096_u64, 8192, 16384, 262_144, 1 << 20, 4 << 20].into_iter().chain(half) {
        for call in [create, run] {
            let resources = json!({ "memory": { "limit": limit, "swap": limit } });
            let b = bundle(&case, driver, "true", resources);
            let done = call(&case, driver, &b);
            if done.code() == 0 {
                // What is enough depends on the machine.
                assert!(limit > 8192, "{done}");
                case.delete(&b.id);
            } else if done.code() == 1 {
                done.fails(&[
                    "out of memory",
                    "memory.max",
                    &limit.to_string(),
                    "not enough for a container's init",
                ]);
            } else {
                // It was enough for init and not for the program.
                assert_eq!(done.code(), 137, "{done}");
            }
            nothing_is_left(&case, "by one that does not fit");
        }
    }
}

both_drivers! {
    a_container_that_has_died_of_memory_says_so_with_limit_and_peak
    the_numbers_are_the_kernels
    no_limit_is_the_largest_number_and_none_of_pids_is_0
    kills_are_told_when_they_happen_and_the_container_goes_on
    a_run_that_dies_of_memory_says_so_in_a_line
    a_limit_too_low_for_init_is_named_with_its_value
}
