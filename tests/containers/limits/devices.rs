//! config-linux.md, "Allowed Device list", through `update`. What the rules mean is in `tests/containers/devices.rs`.

use serde_json::{Value, json};

use super::limited::{GO_ON, Limited, bundle};
use super::{Driver, both_drivers, limits_case};

/// Rules with the kernel's log, allowed for writing or not.
fn rules(kmsg: bool) -> Value {
    json!({ "devices": [
        { "allow": false, "access": "rwm" },
        { "allow": kmsg, "type": "c", "major": 1, "minor": 11, "access": "w" },
    ] })
}

fn a_device_is_refused_and_after_an_update_it_is_not(driver: Driver) {
    let case = limits_case!(driver);
    let open = |n: u32| format!("( : >/dev/kmsg ) && echo {n} opens || echo {n} refused");
    let script = format!("{}; {GO_ON}; {}; {GO_ON}; {}; exec sleep 100", open(1), open(2), open(3));
    let b = bundle(&case, driver, &script, rules(false));
    let mut config = b.config();
    config["linux"]["devices"] =
        json!([{ "path": "/dev/kmsg", "type": "c", "major": 1, "minor": 11, "fileMode": 0o600 }]);
    b.save(&config);
    let c = Limited::of(&case, driver, b);
    c.start();
    c.prints("1 refused");
    assert!(c.output.stderr().contains("/dev/kmsg: Operation not permitted"), "{}", c.output);
    c.update(&rules(true));
    c.go_on();
    c.prints("2 opens");
    c.update(&rules(false));
    c.go_on();
    c.prints("3 refused");
    c.delete();
}

both_drivers! {
    a_device_is_refused_and_after_an_update_it_is_not
}
