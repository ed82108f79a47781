//! config-linux.md, "Memory", and cgroup-v2.rst, "Memory Interface Files".

use serde_json::{Value, json};

use super::limited::{GO_ON, Limited, bundle, run};
use super::{Driver, both_drivers, limits_case};
use crate::support::bundle::add_mount;
use crate::support::{Bundle, Case, need, read};

/// Memory and swap together, in MiB.
pub(super) fn limits(memory: u64, both: u64) -> Value {
    json!({ "memory": { "limit": memory << 20, "swap": both << 20 } })
}

/// With a tmpfs at /mem: what is written there is memory that only swap can take.
pub(super) fn with_mem(case: &Case, driver: Driver, script: &str, resources: Value) -> Bundle {
    let b = bundle(case, driver, script, resources);
    let mut config = b.config();
    add_mount(&mut config, "/mem", "tmpfs", "mem", &["size=64m"]);
    b.save(&config);
    b
}

fn a_program_that_takes_more_than_the_limit_is_killed(driver: Driver) {
    let case = limits_case!(driver, "memory");
    let takes = "exec dd if=/dev/zero of=/mem/x bs=1M count=32";
    let tight = with_mem(&case, driver, takes, limits(16, 16));
    assert_eq!(run(&case, driver, &tight).code(), 137);
    let wide = with_mem(&case, driver, takes, limits(48, 48));
    run(&case, driver, &wide).ok();
}

fn an_update_raises_and_lowers_the_limit(driver: Driver) {
    let case = limits_case!(driver, "memory");
    // What has been taken is given back before it is told: else the lower limit finds it in use.
    let take = "dd if=/dev/zero of=/mem/x bs=1M count=32; r=$?; rm /mem/x; echo $r";
    let script = format!("{GO_ON}; {take}; {GO_ON}; {take}; exec sleep 100");
    let c = Limited::of(&case, driver, with_mem(&case, driver, &script, limits(16, 16)));
    c.start();
    c.update(&limits(48, 48));
    c.go_on();
    c.prints("0");
    c.update(&limits(16, 16));
    c.go_on();
    c.prints("137");
    assert!(c.number("memory.events", "oom_kill") > 0);
    c.delete();
}

fn a_limit_below_what_is_in_use_is_refused_where_that_is_to_be_checked(driver: Driver) {
    let case = limits_case!(driver, "memory");
    let script = "dd if=/dev/zero of=/mem/x bs=1M count=32 && echo taken; exec sleep 100";
    let c = Limited::of(&case, driver, with_mem(&case, driver, script, limits(48, 48)));
    c.start();
    c.prints("taken");
    let mut lower = limits(16, 16);
    lower["memory"]["checkBeforeUpdate"] = json!(true);
    c.try_update(&lower).fails(&["memory", "16777216"]);
    assert_eq!(c.read("memory.max"), (48 << 20).to_string());
    assert_eq!(case.status(&c.bundle.id), "running");
    c.delete();
}

fn above_memory_high_a_program_is_slowed_and_not_killed(driver: Driver) {
    let case = limits_case!(driver, "memory");
    let high = json!({ "unified": { "memory.high": (8 << 20).to_string() } });
    let script = "dd if=/dev/zero of=/mem/x bs=256k count=34; echo $?; exec sleep 100";
    let c = Limited::of(&case, driver, with_mem(&case, driver, script, high));
    c.start();
    c.prints("0");
    assert!(c.events("high") > 0);
    assert_eq!(c.events("oom_kill"), 0);
    c.delete();
}

fn what_does_not_fit_goes_to_swap_as_far_as_swap_allows(driver: Driver) {
    let case = limits_case!(driver, "memory");
    need!(read("/proc/swaps").lines().count() > 1, "no swap here");
    let script = "dd if=/dev/zero of=/mem/x bs=1M count=32; echo $?; exec sleep 100";
    let c = Limited::of(&case, driver, with_mem(&case, driver, script, limits(16, 64)));
    c.start();
    c.prints("0");
    assert!(c.read("memory.swap.current").parse::<u64>().unwrap() > 8 << 20);
    c.delete();
    let c = Limited::of(&case, driver, with_mem(&case, driver, script, limits(16, 20)));
    c.start();
    c.prints("137");
    c.delete();
}

both_drivers! {
    a_program_that_takes_more_than_the_limit_is_killed
    an_update_raises_and_lowers_the_limit
    a_limit_below_what_is_in_use_is_refused_where_that_is_to_be_checked
    above_memory_high_a_program_is_slowed_and_not_killed
    what_does_not_fit_goes_to_swap_as_far_as_swap_allows
}
