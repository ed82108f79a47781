//! What configuration and annotations call a scope, its properties and the cgroup in it.

use serde_json::json;

use super::{create, scoped};
use crate::support::bus::{Bus, Fault, processes, put};
use crate::support::{case, eventually, nothing_is_left, read};

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
