//! config-linux.md, "CPU". How much of a processor a program gets depends on who else wants it, so that only bounds are
//! asserted that hold on a busy machine, too.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::limited::{GO_ON, Limited};
use super::{Driver, both_drivers, limits_case};
use crate::support::{Case, need, within};

/// Takes all the time that it gets.
const HOG: &str = "while :; do :; done";

fn sleep(milliseconds: u64) {
    std::thread::sleep(Duration::from_millis(milliseconds));
}

fn used(c: &Limited<'_>) -> u64 {
    c.number("cpu.stat", "usage_usec")
}

fn a_quota_is_kept_and_time_beyond_it_is_counted_as_throttled(driver: Driver) {
    let case = limits_case!(driver, "cpu");
    let c = Limited::started(&case, driver, HOG, json!({ "cpu": { "quota": 10_000, "period": 100_000 } }));
    sleep(300);
    let (before, began) = ([used(&c), c.number("cpu.stat", "throttled_usec")], Instant::now());
    sleep(1000);
    let after = [used(&c), c.number("cpu.stat", "throttled_usec")];
    // A tenth, and as much again for what a busy machine counts late.
    let most = began.elapsed() / 5;
    assert!(Duration::from_micros(after[0] - before[0]) < most, "{before:?} {after:?}");
    assert!(after[1] > before[1], "{before:?} {after:?}");
    c.update(&json!({ "cpu": { "quota": -1 } }));
    assert!(c.read("cpu.max").starts_with("max "), "{}", c.read("cpu.max"));
    sleep(300);
    let before = c.number("cpu.stat", "nr_throttled");
    sleep(500);
    assert_eq!(c.number("cpu.stat", "nr_throttled"), before);
    c.delete();
}

/// Two hogs that want the same processor.
fn hogs(case: &Case, driver: Driver, [first, second]: [Value; 2]) -> [Limited<'_>; 2] {
    let all = nix::unistd::Pid::from_raw(0);
    let before = nix::sched::sched_getaffinity(all).unwrap();
    let mut one = nix::sched::CpuSet::new();
    let any = (0..nix::sched::CpuSet::count()).find(|cpu| before.is_set(*cpu).unwrap());
    one.set(any.unwrap()).unwrap();
    // This thread's own: what it starts has the same.
    nix::sched::sched_setaffinity(all, &one).unwrap();
    let hogs = [first, second].map(|cpu| Limited::started(case, driver, HOG, json!({ "cpu": cpu })));
    nix::sched::sched_setaffinity(all, &before).unwrap();
    hogs
}

/// Whether within some time the first has got `times` as much as the second.
fn gets_more([first, second]: [&Limited<'_>; 2], times: u64) -> bool {
    let before = [used(first), used(second)];
    within(Duration::from_secs(10), || {
        sleep(300);
        let [first, second] = [used(first) - before[0], used(second) - before[1]];
        first > 500_000 && first > times * second
    })
}

fn who_has_more_shares_gets_more_time(driver: Driver) {
    let case = limits_case!(driver, "cpu");
    let (much, little) = (json!({ "shares": 8192 }), json!({ "shares": 256 }));
    let [a, b] = hogs(&case, driver, [much.clone(), little.clone()]);
    assert!(gets_more([&a, &b], 3), "{} {}", used(&a), used(&b));
    a.update(&json!({ "cpu": little }));
    b.update(&json!({ "cpu": much }));
    assert!(gets_more([&b, &a], 3), "{} {}", used(&a), used(&b));
    [a, b].into_iter().for_each(Limited::delete);
}

fn who_is_idle_gets_what_others_leave(driver: Driver) {
    let case = limits_case!(driver, "cpu");
    let [a, b] = hogs(&case, driver, [json!({ "shares": 1024 }), json!({ "shares": 1024 })]);
    // Not from the start: what is idle takes long to come up beside a hog.
    b.update(&json!({ "cpu": { "idle": 1 } }));
    assert!(gets_more([&a, &b], 5), "{} {}", used(&a), used(&b));
    [a, b].into_iter().for_each(Limited::delete);
}

fn a_program_runs_on_the_processors_of_its_set(driver: Driver) {
    let case = limits_case!(driver, "cpuset");
    need!(std::thread::available_parallelism().unwrap().get() > 1, "only one processor");
    let show = "grep Cpus_allowed_list /proc/self/status";
    let script = format!("{show}; {GO_ON}; {show}; exec sleep 100");
    let c = Limited::started(&case, driver, &script, json!({ "cpu": { "cpus": "1" } }));
    c.prints("Cpus_allowed_list:\t1");
    c.update(&json!({ "cpu": { "cpus": "0" } }));
    c.go_on();
    c.prints("Cpus_allowed_list:\t0");
    c.delete();
}

both_drivers! {
    a_quota_is_kept_and_time_beyond_it_is_counted_as_throttled
    who_has_more_shares_gets_more_time
    who_is_idle_gets_what_others_leave
    a_program_runs_on_the_processors_of_its_set
}
