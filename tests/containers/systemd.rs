//! The cgroup drivers: systemd's scopes, against a bus that does as it is told and against a real systemd where there
//! is one, and no cgroup at all.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use minidocker_oci::dbus::Value;
use serde_json::json;

use crate::support::bundle::Bundle;
use crate::support::bus::{Bus, Fault, processes, put, trim};
use crate::support::user::user;
use crate::support::{
    Call, Case, case, cgroup_root, eventually, host_command, installed, is_there, need, need_controllers,
    nothing_is_left, read,
};

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

#[test]
fn a_form_of_cgroups_path_that_is_the_other_drivers_is_refused() {
    let case = case!();
    let (b, _) = scoped(&case);
    case.create(&b).fails(&[
        "linux.cgroupsPath",
        "slice:prefix:name of the systemd driver",
        "--systemd-cgroup",
    ]);
    let b = case.script("true", |_| {});
    create(&case, &b, "unix:path=/none")
        .finish()
        .fails(&["linux.cgroupsPath", "slice:prefix:name, which the systemd driver expects"]);
}

#[test]
fn a_wrong_annotation_is_told_by_its_name_before_anybody_is_asked() {
    let case = case!();
    let (b, _) = scoped(&case);
    let mut config = b.config();
    config["annotations"] = json!({ "org.systemd.property.KillSignal": "TERM" });
    b.save(&config);
    let name = "annotations.org.systemd.property.KillSignal";
    create(&case, &b, "unix:path=/none").finish().fails(&[name]);
    // The other drivers have no use for it.
    case.call(["--cgroup-manager", "disabled", "create", "-b", b.path(), &b.id]).finish().ok();
    case.delete(&b.id);
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
fn an_update_of_what_is_no_property_is_not_told_to_systemd() {
    let case = case!();
    let bus = Bus::begin(&case, "bus", Fault::None);
    let (b, scope) = scoped(&case);
    create(&case, &b, bus.address()).finish().ok();
    let update = |resources: &str| {
        let file = format!("--resources={}", case.file("resources", resources, 0o644).display());
        case.call(["update", &file, &b.id]).env("DBUS_SYSTEM_BUS_ADDRESS", bus.address()).finish()
    };
    // Nothing of it is a property of a unit.
    update(r#"{"unified":{"cgroup.max.depth":"3"}}"#).ok();
    assert_eq!(bus.told("SetUnitProperties"), []);
    // Nor is it systemd's cgroup whose business that is.
    let depth = |at: &str| read(case.cgroup().join(&scope).join(at).join("cgroup.max.depth"));
    assert_eq!([depth("container"), depth("")], ["3\n", "max\n"]);
    case.call(["delete", "-f", &b.id]).env("DBUS_SYSTEM_BUS_ADDRESS", bus.address()).finish().ok();
}

#[test]
fn the_cgroup_in_a_scope_has_the_name_that_is_asked_for_or_there_is_none() {
    let case = case!();
    for (index, name) in ["payload", "app-1.slice", ""].into_iter().enumerate() {
        let bus = Bus::begin(&case, &format!("bus{index}"), Fault::None);
        let (b, scope) = scoped(&case);
        let mut config = b.config();
        config["annotations"] = json!({ "run.oci.systemd.subgroup": name });
        b.save(&config);
        create(&case, &b, bus.address()).finish().ok();
        case.call(["start", &b.id]).finish().ok();
        let cgroup = case.cgroup().join(&scope).join(name);
        let pid = case.pid(&b.id);
        assert!(processes(&cgroup).contains(&pid), "{name:?}");
        // All verbs find it there.
        let own = case.call(["exec", &b.id, "/bin/cat", "/proc/self/cgroup"]).finish().ok().stdout();
        assert!(own.ends_with("0::/\n"), "{name:?}: {own}");
        let ps = case.call(["ps", "--format", "json", &b.id]).finish().ok().stdout();
        assert!(ps.contains(&pid.to_string()), "{ps}");
        case.call(["pause", &b.id]).finish().ok();
        assert_eq!(read(cgroup.join("cgroup.freeze")).trim(), "1");
        case.call(["resume", &b.id]).finish().ok();
        case.call(["kill", "--all", &b.id, "KILL"]).finish().ok();
        case.until(&b.id, "stopped");
        case.call(["delete", &b.id]).env("DBUS_SYSTEM_BUS_ADDRESS", bus.address()).finish().ok();
        nothing_is_left(&case, "by delete");
    }
}

#[test]
fn a_name_that_is_not_that_of_a_cgroup_is_refused_before_a_scope_is_asked_for() {
    let case = case!();
    let (b, _) = scoped(&case);
    let long = "x".repeat(256);
    for name in
        ["..", ".", "a/b", "/a", "../x", ".x", "a\nb", "a\0b", "cgroup.procs", "memory.max", "novel.x", &long]
    {
        let mut config = b.config();
        config["annotations"] = json!({ "run.oci.systemd.subgroup": name });
        b.save(&config);
        let words = ["annotations.run.oci.systemd.subgroup", "is not the name of a cgroup"];
        create(&case, &b, "unix:path=/none").finish().fails(&words);
    }
}

/// systemd could not remove what is below a scope that has ended, and somebody has gone there.
#[test]
fn a_cgroup_that_is_in_the_scope_already_is_taken_if_nobody_is_in_it() {
    let case = case!();
    let bus = Bus::begin(&case, "bus", Fault::None);
    let (b, scope) = scoped(&case);
    let container = case.cgroup().join(&scope).join("container");
    crate::support::make_dir(container.parent().unwrap());
    crate::support::make_dir(&container);
    let sleeper = case.host(["sleep", "100"]).spawn();
    put(&container.join("cgroup.procs"), &sleeper.pid().to_string());
    create(&case, &b, bus.address()).finish().fails(&[&scope, "container's cgroup is not empty"]);
    drop(sleeper);
    eventually("he has ended", || processes(&container).is_empty());
    create(&case, &b, bus.address()).finish().ok();
    assert_eq!(processes(&container), [case.pid(&b.id)]);
    case.call(["delete", "-f", &b.id]).env("DBUS_SYSTEM_BUS_ADDRESS", bus.address()).finish().ok();
    nothing_is_left(&case, "by delete");
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

/// A scope of the systemd that runs this machine, and its cgroup.
struct Real {
    scope: String,
    cgroup: PathBuf,
}

impl Real {
    fn of_limited(case: &Case) -> (Bundle, Self) {
        let (b, scope) = scoped(case);
        let mut config = b.config();
        config["linux"]["resources"] = json!({
            "memory": { "limit": 100 << 20, "reservation": 50 << 20, "swap": 150 << 20 },
            "cpu": { "shares": 512, "quota": 50_000, "period": 100_000 },
            "pids": { "limit": 33 },
        });
        b.save(&config);
        case.call(["--systemd-cgroup", "create", "-b", b.path(), &b.id]).finish().ok();
        let mut real = Self { scope, cgroup: PathBuf::new() };
        let path = real.show("ControlGroup");
        real.cgroup = cgroup_root().unwrap().join(path.trim_start_matches('/'));
        (b, real)
    }

    fn show(&self, property: &str) -> String {
        let line = ["show", "--value", "-p", property, &self.scope];
        host_command("systemctl", &line.map(AsRef::as_ref)).trim().to_owned()
    }

    fn file(&self, name: &str) -> String {
        read(self.cgroup.join(name)).trim().to_owned()
    }

    /// The same of the container's own.
    fn own_file(&self, name: &str) -> String {
        self.file(&format!("container/{name}"))
    }

    /// Properties as systemctl shows them, and the files that they are for: the scope's, and the container's own where
    /// that has the same.
    #[track_caller]
    fn has(&self, limits: &[[&str; 4]]) {
        for [property, shown, file, content] in limits {
            assert_eq!(
                (self.show(property).as_str(), self.file(file).as_str()),
                (*shown, *content),
                "{file}"
            );
        }
    }

    #[track_caller]
    fn container_has(&self, limits: &[[&str; 4]]) {
        for [_, _, file, content] in limits {
            assert_eq!(self.own_file(file), *content, "{file}");
        }
    }
}

fn reload() {
    host_command("systemctl", &["daemon-reload".as_ref()]);
}

#[test]
fn limits_of_a_scope_outlive_a_reload_of_systemd() {
    let case = case!();
    need!(is_there("/run/systemd/system"), "systemd does not run this machine");
    need_controllers!("memory", "cpu", "pids");
    let (b, real) = Real::of_limited(&case);
    let limits = [
        ["MemoryMax", "104857600", "memory.max", "104857600"],
        ["MemoryLow", "52428800", "memory.low", "52428800"],
        ["MemorySwapMax", "52428800", "memory.swap.max", "52428800"],
        ["CPUWeight", "59", "cpu.weight", "59"],
        ["CPUQuotaPerSecUSec", "500ms", "cpu.max", "50000 100000"],
        ["TasksMax", "33", "pids.max", "33"],
    ];
    real.has(&limits);
    reload();
    real.has(&limits);
    real.container_has(&limits);
    assert_eq!(real.show("Slice"), "mdt.slice");
    assert_eq!(processes(&real.cgroup.join("container")), [case.pid(&b.id)]);
    case.delete(&b.id);
    assert_eq!(real.show("LoadState"), "not-found");
    assert!(!is_there(&real.cgroup));
}

#[test]
fn an_update_outlives_a_reload_of_systemd() {
    let case = case!();
    need!(is_there("/run/systemd/system"), "systemd does not run this machine");
    need_controllers!("memory", "cpu", "pids");
    let (b, real) = Real::of_limited(&case);
    let update = |args: &[&str]| case.call([&["update"], args, &[b.id.as_str()]].concat()).finish();
    update(&["--memory", "125829120", "--memory-swap", "-1", "--pids-limit", "44"]).ok();
    update(&["--cpu-quota", "33333"]).ok();
    // Not in whole percents, which is all that systemd counts in.
    assert_eq!([real.file("cpu.max"), real.own_file("cpu.max")], ["33333 100000"; 2]);
    reload();
    // What is the runtime's own stays exact.
    assert_eq!(real.own_file("cpu.max"), "33333 100000");
    let limits = [
        ["CPUQuotaPerSecUSec", "340ms", "cpu.max", "34000 100000"],
        ["MemoryMax", "125829120", "memory.max", "125829120"],
        ["MemorySwapMax", "infinity", "memory.swap.max", "max"],
        ["TasksMax", "44", "pids.max", "44"],
        ["CPUWeight", "59", "cpu.weight", "59"],
    ];
    real.has(&limits);
    real.container_has(&limits[1..]);
    // The first one is fine, the second one is not: neither is done, be it the scope's or the container's that is not.
    for file in ["pids.zzz", "cgroup.zzz"] {
        let bad = format!(r#"{{"pids":{{"limit":55}},"unified":{{"{file}":"1"}}}}"#);
        let bad = case.file("bad", bad, 0o644);
        update(&["--resources", bad.to_str().unwrap()]).fails(&[file]);
        real.has(&limits);
        real.container_has(&limits[1..]);
    }
    case.delete(&b.id);
}

#[test]
fn an_ordinary_users_scope_is_made_by_his_own_systemd_and_has_its_limits() {
    let case = case!();
    let mut user = user!(case);
    let session = user.logged_in();
    need!(session.is_some(), "there is no user here with a systemd of his own");
    let b = user.bundle("sleep 100", |config| {
        config["linux"]["resources"] = json!({ "memory": { "limit": 64 << 20 }, "pids": { "limit": 33 } });
    });
    let mut config = b.config();
    config["linux"]["cgroupsPath"] = json!(format!(":mdt:{}", b.id));
    b.save(&config);
    user.call(&["--systemd-cgroup", "create", "-b", b.path(), &b.id]).finish().ok();
    user.call(&["start", &b.id]).finish().ok();
    let cgroup = read(format!("/proc/{}/cgroup", user.pid(&b.id)));
    let scope = format!("mdt-{}.scope", b.id);
    let end = format!("{scope}/container");
    assert!(cgroup.contains("/user@54321.service/") && cgroup.trim().ends_with(&end), "{cgroup}");
    let dir = cgroup_root().unwrap().join(cgroup.trim().strip_prefix("0::/").unwrap());
    let limit = |file: &str| {
        let [own, scopes] = [&dir, dir.parent().unwrap()].map(|dir| read(dir.join(file)).trim().to_owned());
        assert_eq!(own, scopes, "{file}");
        own
    };
    assert_eq!([limit("memory.max"), limit("pids.max")], ["67108864", "33"]);
    let own = user.call(&["exec", &b.id, "/bin/cat", "/proc/self/cgroup"]).finish().ok().stdout();
    assert_eq!(own, "0::/\n");
    user.call(&["update", "--memory", "125829120", &b.id]).finish().ok();
    user.host(None, &["systemctl", "--user", "daemon-reload"]).finish().ok();
    assert_eq!([limit("memory.max"), limit("pids.max")], ["125829120", "33"]);
    user.delete(&b.id);
    assert!(!is_there(&dir));
    user.has_no_container();
}
