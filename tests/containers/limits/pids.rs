//! config-linux.md, "PIDs".

use serde_json::json;

use super::limited::Limited;
use super::{Driver, both_drivers, limits_case};

fn a_fork_beyond_the_limit_is_refused(driver: Driver) {
    let case = limits_case!(driver, "pids");
    let four = "(for i in 1 2 3 4; do sleep 100 & done)";
    // It waits by itself: another process to wait with could not be had.
    let script = format!(
        "{four}; echo first $?; while [ ! -e /tmp/go ]; do :; done; {four}; echo second $?; exec sleep 100"
    );
    let c = Limited::started(&case, driver, &script, json!({ "pids": { "limit": 4 } }));
    c.prints("first 2");
    assert!(c.output.stderr().contains("can't fork: Resource temporarily unavailable"), "{}", c.output);
    assert!(c.number("pids.events", "max") > 0);
    c.update(&json!({ "pids": { "limit": 16 } }));
    c.go_on();
    c.prints("second 0");
    c.delete();
}

both_drivers! {
    a_fork_beyond_the_limit_is_refused
}
