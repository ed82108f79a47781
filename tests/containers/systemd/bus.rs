//! A bus that refuses, falls silent, or is not there.

use std::time::{Duration, Instant};

use super::{create, scoped};
use crate::support::bus::{Bus, Fault, processes, trim};
use crate::support::{case, eventually, installed, is_there, need, nothing_is_left};

#[test]
fn a_bus_that_falls_silent_is_given_up_in_ten_seconds() {
    let case = case!();
    let faults = [
        ("authentication: timed out", Fault::SilentAtOnce),
        ("Hello(): timed out", Fault::SilentAt("Hello")),
        ("AddMatch(): timed out", Fault::SilentAt("AddMatch")),
        ("StartTransientUnit(): timed out", Fault::SilentAt("StartTransientUnit")),
        ("job /org/freedesktop/systemd1/job/7: timed out", Fault::NoEnd),
    ];
    let began = Instant::now();
    let mut calls = Vec::new();
    for (index, (words, fault)) in faults.into_iter().enumerate() {
        let bus = Bus::begin(&case, &format!("bus{index}"), fault);
        let (b, _) = scoped(&case);
        calls.push((words, create(&case, &b, bus.address()).spawn()));
    }
    for (words, call) in calls {
        call.wait().fails(&["scope mdt-", words, "is the bus or systemd stopped"]);
    }
    let took = began.elapsed();
    // Not twice as long; a machine that software plays needs some seconds for the rest.
    assert!(took > Duration::from_secs(9) && took < Duration::from_secs(19), "{took:?}");
    // A scope that was made has nobody in it, and a real systemd ends it.
    for dir in std::fs::read_dir(case.cgroup()).unwrap().map(|entry| entry.unwrap().path()) {
        if dir.is_dir() {
            eventually("the placeholder has ended", || processes(&dir).is_empty());
            std::fs::remove_dir(&dir).unwrap();
        }
    }
    nothing_is_left(&case, "by buses that fell silent");
}

#[test]
fn what_systemd_refuses_is_told_and_leaves_nothing() {
    let case = case!();
    for (index, (fault, words)) in [
        (
            Fault::Refuses("StartTransientUnit", "org.freedesktop.DBus.Error.AccessDenied"),
            "No, thanks (org.freedesktop.DBus.Error.AccessDenied)",
        ),
        (Fault::Refuses("Hello", "org.freedesktop.DBus.Error.LimitsExceeded"), "LimitsExceeded"),
        (Fault::HangsUpAt("StartTransientUnit"), "has closed the connection"),
        (Fault::Ends("failed"), "the result of its job is \"failed\""),
    ]
    .into_iter()
    .enumerate()
    {
        let bus = Bus::begin(&case, &format!("bus{index}"), fault);
        let (b, scope) = scoped(&case);
        create(&case, &b, bus.address()).finish().fails(&[words, &scope]);
        // Another's unit of that name is not stopped.
        assert_eq!(bus.told("StopUnit"), [], "{fault:?}");
        trim(&case.cgroup().join(&scope));
        nothing_is_left(&case, words);
    }
}

/// Every user can send a signal to every client of the system's bus.
#[test]
fn nobody_but_systemd_says_how_its_job_has_ended() {
    let case = case!();
    let bus = Bus::begin(&case, "bus", Fault::Forged("failed"));
    let (b, _) = scoped(&case);
    create(&case, &b, bus.address()).finish().ok();
    case.call(["delete", "-f", &b.id]).env("DBUS_SYSTEM_BUS_ADDRESS", bus.address()).finish().ok();
    nothing_is_left(&case, "by delete");
}

/// A pid that systemd takes for a stranger's would have the stranger in the scope, and killed with it.
#[test]
fn a_bus_in_another_pid_namespace_is_not_asked_for_a_scope() {
    let case = case!();
    let bus = Bus::begin(&case, "bus", Fault::OtherPids);
    let (b, _) = scoped(&case);
    create(&case, &b, bus.address()).finish().fails(&["in another pid namespace than the bus"]);
    for verb in ["StartTransientUnit", "StopUnit"] {
        assert_eq!(bus.told(verb), [], "{verb}");
    }
    nothing_is_left(&case, "by a bus in another pid namespace");
}

#[test]
fn a_bus_that_is_stopped_is_given_up_in_ten_seconds() {
    let case = case!();
    need!(installed("dbus-daemon"), "dbus-daemon is not installed");
    let address = format!("unix:path={}", case.path("bus").display());
    let daemon = ["dbus-daemon", "--session", "--nofork", "--nopidfile", &format!("--address={address}")];
    let daemon = case.host(daemon).spawn();
    eventually("the bus is there", || is_there(case.path("bus")));
    let (b, _) = scoped(&case);
    // It works, and has no systemd on it.
    create(&case, &b, &address).finish().fails(&["StartTransientUnit()", "org.freedesktop.systemd1"]);
    daemon.signal(nix::libc::SIGSTOP);
    let began = Instant::now();
    create(&case, &b, &address).finish().fails(&["timed out", "is the bus or systemd stopped"]);
    assert!(began.elapsed() < Duration::from_secs(12), "{:?}", began.elapsed());
    drop(daemon);
    nothing_is_left(&case, "by a bus that was stopped");
}

#[test]
fn without_a_bus_the_error_says_what_to_do() {
    let case = case!();
    need!(!is_there("/run/systemd/system"), "systemd runs this machine");
    let (b, _) = scoped(&case);
    let address = format!("unix:path={}", case.path("none").display());
    create(&case, &b, &address).finish().fails(&[
        "ENOENT",
        "systemd does not run this machine",
        "cgroupfs driver",
    ]);
    create(&case, &b, "tcp:host=x").finish().fails(&["is no D-Bus address of a unix socket"]);
}

/// A bus is not what a container that is over waits for.
#[test]
fn a_container_is_deleted_without_a_bus_too() {
    let case = case!();
    let bus = Bus::begin(&case, "bus", Fault::None);
    let (b, _) = scoped(&case);
    create(&case, &b, bus.address()).finish().ok();
    let none = format!("unix:path={}", case.path("none").display());
    let done =
        case.call(["--debug", "delete", "-f", &b.id]).env("DBUS_SYSTEM_BUS_ADDRESS", none).finish().ok();
    assert!(done.stderr().contains("stop the unit: scope mdt-"), "{}", done.stderr());
    nothing_is_left(&case, "by delete");
}
