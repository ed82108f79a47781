//! The cgroup drivers: systemd's scopes, against a bus that does as it is told and against a real systemd where there
//! is one, and no cgroup at all.

mod bus;
mod names;
mod real;

use std::path::PathBuf;

use minidocker_oci::dbus::Value;
use serde_json::json;

use crate::support::bundle::Bundle;
use crate::support::bus::{Bus, Fault, processes, put, trim};
use crate::support::{Call, Case, case, eventually, is_there, nothing_is_left, read};

/// A container in a scope that has a name of its own among all tests.
fn scoped(case: &Case) -> (Bundle, String) {
    let b = case.script("sleep 100", |_| {});
    let mut config = b.config();
    config["linux"]["cgroupsPath"] = json!(format!("mdt.slice:mdt:{}", b.id));
    b.save(&config);
    let scope = format!("mdt-{}.scope", b.id);
    (b, scope)
}

fn create<'c>(case: &'c Case, b: &Bundle, bus: &str) -> Call<'c> {
    let line = ["--systemd-cgroup", "create", "-b", b.path(), &b.id];
    case.call(line).env("DBUS_SYSTEM_BUS_ADDRESS", bus)
}

#[test]
fn a_scope_is_made_before_init_is_born_in_it_and_given_back() {
    let case = case!();
    let bus = Bus::begin(&case, "bus", Fault::None);
    let (b, scope) = scoped(&case);
    let mut config = b.config();
    config["annotations"] = json!({ "org.systemd.property.TimeoutStopUSec": "uint64 10000000" });
    b.save(&config);
    create(&case, &b, bus.address()).finish().ok();
    let cgroup = case.cgroup().join(&scope);
    assert_eq!(processes(&cgroup.join("container")), [case.pid(&b.id)], "the placeholder has ended");
    for (at, file) in [("", "cgroup.subtree_control"), ("container", "cgroup.controllers")] {
        assert_eq!(read(cgroup.join(at).join(file)), read(cgroup.join("cgroup.controllers")), "{at}");
    }
    let Some(Value::Array(_, pids)) = bus.property("PIDs") else { panic!("no PIDs") };
    assert_eq!(pids.len(), 1);
    assert_ne!(pids, [Value::U32(case.pid(&b.id).unsigned_abs())], "init was not moved, but born there");
    for (name, value) in [
        ("Slice", Value::str("mdt.slice")),
        ("Delegate", Value::Bool(true)),
        ("DefaultDependencies", Value::Bool(false)),
        ("CollectMode", Value::str("inactive-or-failed")),
        ("TimeoutStopUSec", Value::U64(10_000_000)),
        ("Description", Value::str(format!("minidocker-oci container {}", b.id))),
    ] {
        assert_eq!(bus.property(name), Some(value), "{name}");
    }
    // Later verbs are told nothing of the driver.
    case.call(["start", &b.id]).finish().ok();
    case.call(["kill", &b.id, "KILL"]).finish().ok();
    case.until(&b.id, "stopped");
    case.call(["delete", &b.id]).env("DBUS_SYSTEM_BUS_ADDRESS", bus.address()).finish().ok();
    for verb in ["StopUnit", "ResetFailedUnit"] {
        let calls = bus.told(verb);
        assert_eq!(calls.len(), 1, "{verb}");
        assert_eq!(calls[0].body[0], Value::Str(scope.clone()));
    }
    nothing_is_left(&case, "by delete");
}

#[test]
fn a_scope_that_is_there_is_in_the_way_unless_nobody_is_in_it() {
    let case = case!();
    let exists = Fault::Refuses("StartTransientUnit", "org.freedesktop.systemd1.UnitExists");
    let bus = Bus::begin(&case, "bus", exists);
    let (b, scope) = scoped(&case);
    let sleeper = case.host(["sleep", "100"]).spawn();
    let cgroup = case.cgroup().join(&scope);
    crate::support::make_dir(&cgroup);
    put(&cgroup.join("cgroup.procs"), &sleeper.pid().to_string());
    let words = ["there is a unit of this name", &scope];
    create(&case, &b, bus.address()).finish().fails(&words);
    assert_eq!(bus.told("StopUnit"), []);
    drop(sleeper);
    eventually("it has ended", || processes(&cgroup).is_empty());
    // This one is stopped, and still there for all that.
    create(&case, &b, bus.address()).finish().fails(&words);
    assert_eq!(bus.told("StopUnit").len(), 1);
    assert!(!is_there(&cgroup));
    nothing_is_left(&case, "by a scope that was there");
}

/// systemd removes the scope of a container that has ended, and its name is free.
#[test]
fn a_container_that_has_ended_does_not_take_the_next_one_in_its_scope_with_it() {
    let case = case!();
    let bus = Bus::begin(&case, "bus", Fault::None);
    let (b, scope) = scoped(&case);
    create(&case, &b, bus.address()).finish().ok();
    case.call(["kill", &b.id, "KILL"]).finish().ok();
    case.until(&b.id, "stopped");
    let cgroup = case.cgroup().join(&scope);
    eventually("nobody is in it", || trim(&cgroup));
    let next = b.successor(&case);
    create(&case, &next, bus.address()).finish().ok();
    let delete =
        |id: &str| case.call(["delete", "-f", id]).env("DBUS_SYSTEM_BUS_ADDRESS", bus.address()).finish();
    delete(&b.id).ok();
    assert_eq!(bus.told("StopUnit"), []);
    assert_eq!(case.status(&next.id), "created");
    delete(&next.id).ok();
    nothing_is_left(&case, "by delete");
}

#[test]
fn a_scope_that_has_failed_is_in_nobodys_way() {
    let case = case!();
    let exists = Fault::Refuses("StartTransientUnit", "org.freedesktop.systemd1.UnitExists");
    let bus = Bus::begin(&case, "bus", exists);
    let (b, scope) = scoped(&case);
    // It has no cgroup any more.
    create(&case, &b, bus.address()).finish().fails(&["there is a unit of this name", &scope]);
    for verb in ["StopUnit", "ResetFailedUnit"] {
        assert_eq!(bus.told(verb).len(), 1, "{verb}");
    }
}

#[test]
fn a_scope_whose_create_was_killed_is_stopped_by_delete() {
    let case = case!();
    let (silent, bus) = (Bus::begin(&case, "silent", Fault::NoEnd), Bus::begin(&case, "bus", Fault::None));
    let (b, scope) = scoped(&case);
    let creating = create(&case, &b, silent.address()).spawn();
    eventually("the scope is there", || is_there(case.cgroup().join(&scope)));
    creating.signal(nix::libc::SIGKILL);
    creating.wait();
    case.call(["delete", "-f", &b.id]).env("DBUS_SYSTEM_BUS_ADDRESS", bus.address()).finish().ok();
    assert_eq!(bus.told("StopUnit").len(), 1);
    nothing_is_left(&case, "by a create that was killed");
}

#[test]
fn without_a_driver_the_container_stays_where_its_caller_is() {
    let case = case!();
    let b = case.script("sleep 100", |_| {});
    let create = || {
        case.call(["--systemd-cgroup", "--cgroup-manager=disabled", "create", "-b", b.path(), &b.id]).finish()
    };
    create().ok();
    let of = |pid: &str| {
        let text = read(format!("/proc/{pid}/cgroup"));
        text.lines().find_map(|line| line.strip_prefix("0::")).map(PathBuf::from)
    };
    assert_eq!(of(&case.pid(&b.id).to_string()), of("self"));
    assert!(!is_there(&b.cgroup));
    case.delete(&b.id);
    let mut config = b.config();
    config["linux"]["resources"] = json!({ "unified": { "cgroup.max.depth": "3" } });
    b.save(&config);
    create().fails(&["linux.resources.unified", "a limit needs a cgroup of the container's own"]);
}

#[test]
fn a_host_without_cgroup_v2_is_refused_clearly() {
    let case = case!();
    let b = case.script("true", |_| {});
    let without = "umount -R /sys/fs/cgroup; ! grep -q ' - cgroup2 ' /proc/self/mountinfo && exec \"$@\"";
    let through = ["unshare", "-m", "--propagation", "private", "sh", "-c", without, "sh"];
    case.call_through(&through, ["create", "-b", b.path(), &b.id])
        .finish()
        .fails(&["no cgroup2 file system is mounted", "systemd.unified_cgroup_hierarchy=1"]);
}

#[test]
fn a_create_in_a_scope_that_is_killed_at_any_time_can_be_deleted() {
    let case = case!();
    let bus = Bus::begin(&case, "bus", Fault::None);
    let (b, scope) = scoped(&case);
    let delete =
        || case.call(["delete", "-f", &b.id]).env("DBUS_SYSTEM_BUS_ADDRESS", bus.address()).finish().ok();
    // The first one takes far longer, for it prepares what the others find.
    let whole = (0..3).map(|_| {
        let took = create(&case, &b, bus.address()).finish().ok().took;
        delete();
        took
    });
    let whole = whole.min().unwrap();
    let mut struck = 0;
    for n in 0..60u32 {
        let mut creating = create(&case, &b, bus.address()).spawn();
        std::thread::sleep(whole * n / 50);
        struck += u32::from(!creating.ended());
        // Dropped, it is killed.
        drop(creating);
        let stops = bus.told("StopUnit").len();
        delete();
        // Whose placeholder was still ending when it was looked at, systemd removes by itself; and no other.
        if bus.told("StopUnit").len() == stops {
            eventually("the scope has gone", || trim(&case.cgroup().join(&scope)));
        }
        nothing_is_left(&case, &format!("by a create that was killed after {n}/50 of its time"));
    }
    println!("killed {struck} of 60 times");
    assert!(struck > 5, "{struck}");
}
