//! What may be wrong with a place or a limit, and with the tree between two verbs. Each time the error says what, and
//! nothing is left.

use std::fs;
use std::path::Path;
use std::process::{Child, Command};

use serde_json::{Value, json};

use super::limited::{Limited, bundle, create};
use super::{Driver, both_drivers, limits_case};
use crate::support::{Bundle, Case, case, eventually, need, no_controller, nothing_is_left, read};

/// It is refused with these words, and is as if it had never been.
#[track_caller]
fn refused(case: &Case, driver: Driver, bundle: &Bundle, words: &[&str]) {
    create(case, driver, bundle).fails(words);
    nothing_is_left(case, "by what is refused");
}

fn at(case: &Case, path: &str, resources: Value) -> Bundle {
    case.script("exec sleep 100", |config| {
        config["linux"]["cgroupsPath"] = json!(path);
        config["linux"]["resources"] = resources;
    })
}

/// A controller whose limits are for whole containers, and a limit of it.
fn any_limit() -> Option<(&'static str, Value)> {
    [("memory", json!({ "memory.high": "67108864" })), ("hugetlb", json!({ "hugetlb.2MB.max": "0" }))]
        .into_iter()
        .find(|(controller, _)| no_controller(controller).is_none())
        .map(|(controller, limit)| (controller, json!({ "unified": limit })))
}

/// A process that stays in a cgroup until it is dropped.
#[derive(Debug)]
struct Occupant(Child);

impl Occupant {
    fn of(cgroup: &Path) -> Self {
        let child = Command::new("sleep").arg("1000").spawn().unwrap();
        fs::write(cgroup.join("cgroup.procs"), child.id().to_string()).unwrap();
        Self(child)
    }
}

impl Drop for Occupant {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[test]
fn a_path_that_leads_out_of_the_tree_or_to_all_of_it_is_refused() {
    let case = case!();
    let inside = format!("/{}/a/../../../../etc", case.unique);
    for path in [inside.as_str(), "..", "../..", "/..", "/", "//", "./..", "a/../b", "/.", "."] {
        // A relative one is in the runtime's own part.
        if path != "." {
            refused(&case, Driver::Cgroupfs, &at(&case, path, json!({})), &["linux.cgroupsPath"]);
        }
    }
}

fn a_key_that_is_no_plain_name_or_the_runtimes_own_is_refused(driver: Driver) {
    let case = limits_case!(driver);
    for key in [
        "../cgroup.max.depth",
        "/etc/passwd",
        "a/memory.max",
        "..",
        ".",
        "",
        "memory",
        "memory.max/../x",
        "memory..max",
        "cgroup.procs",
        "cgroup.threads",
        "cgroup.type",
        "cgroup.subtree_control",
        "cgroup.freeze",
        "cgroup.kill",
    ] {
        let b = bundle(&case, driver, "true", json!({ "unified": { key: "1" } }));
        refused(&case, driver, &b, &["linux.resources.unified", key]);
    }
}

fn a_controller_that_is_missing_is_named_with_what_helps(driver: Driver) {
    let case = limits_case!(driver);
    let b = bundle(&case, driver, "true", json!({ "unified": { "nosuch.max": "1" } }));
    refused(
        &case,
        driver,
        &b,
        &["linux.resources.unified", "controller nosuch", "/sys/fs/cgroup", "leave the limit out"],
    );
}

/// containerd and docker ask for the default share in every configuration.
fn what_a_cgroup_has_anyway_needs_no_controller(driver: Driver) {
    let case = limits_case!(driver);
    need!(no_controller("cpu").is_some(), "the cgroup2 tree has the controller cpu");
    for cpu in [json!({ "shares": 1024 }), json!({ "period": 100_000, "quota": -1, "burst": 0, "idle": 0 })] {
        let c = Limited::created(&case, driver, "exec sleep 100", json!({ "cpu": cpu }));
        c.update(&json!({ "cpu": cpu }));
        c.try_update(&json!({ "cpu": { "shares": 2048 } }))
            .fails(&["linux.resources.cpu.shares", "controller cpu"]);
        c.delete();
    }
    for limit in
        [json!({ "cpu": { "shares": 512, "idle": 0 } }), json!({ "unified": { "cpu.weight": "100" } })]
    {
        refused(&case, driver, &bundle(&case, driver, "true", limit), &["linux.resources", "controller cpu"]);
    }
}

#[test]
fn a_controller_that_is_not_handed_down_is_named_with_where_and_what_helps() {
    let case = case!();
    let limit = any_limit();
    need!(limit.is_some(), "neither memory nor hugetlb in cgroup2 here");
    let (controller, limit) = limit.unwrap();
    let above = case.cgroup().join("busy");
    fs::create_dir(&above).unwrap();
    let occupant = Occupant::of(&above);
    let b = at(&case, &format!("/{}/busy/c", case.unique), limit);
    let place = format!("{}/busy/cgroup.subtree_control", case.unique);
    create(&case, Driver::Cgroupfs, &b).fails(&[
        &format!("controller {controller}"),
        &place,
        "EBUSY",
        "processes of its own",
    ]);
    drop(occupant);
    eventually("it is empty", || fs::remove_dir(&above).is_ok());
    nothing_is_left(&case, "by what is refused");
}

/// The kernel hands controllers of threads down all the same, and then lets no process into what is below.
#[test]
fn a_controller_of_threads_is_not_handed_down_by_a_cgroup_with_processes() {
    let case = case!();
    need!(no_controller("pids").is_none(), "no controller pids in cgroup2 here");
    let above = case.cgroup().join("busy");
    fs::create_dir(&above).unwrap();
    let occupant = Occupant::of(&above);
    let b = at(&case, &format!("/{}/busy/c", case.unique), json!({ "pids": { "limit": 100 } }));
    let place = format!("{}/busy", case.unique);
    create(&case, Driver::Cgroupfs, &b).fails(&["controller pids", &place, "processes of its own"]);
    assert_eq!(read(above.join("cgroup.type")), "domain\n");
    assert_eq!(read(above.join("cgroup.subtree_control")).trim(), "");
    drop(occupant);
    eventually("it is empty", || fs::remove_dir(&above).is_ok());
    nothing_is_left(&case, "by what is refused");
}

#[test]
fn a_tree_that_is_full_is_said_to_be() {
    let case = case!();
    for file in ["cgroup.max.descendants", "cgroup.max.depth"] {
        let limit = case.cgroup().join(file);
        fs::write(&limit, "0").unwrap();
        let b = at(&case, &format!("/{}/c", case.unique), json!({}));
        refused(&case, Driver::Cgroupfs, &b, &["EAGAIN", limit.to_str().unwrap(), "is 0, and"]);
        fs::write(&limit, "max").unwrap();
    }
}

#[test]
fn a_cgroup_that_is_somebody_elses_is_refused() {
    let case = case!();
    let taken = case.cgroup().join("taken");
    fs::create_dir(&taken).unwrap();
    let occupant = Occupant::of(&taken);
    let b = at(&case, &format!("/{}/taken", case.unique), json!({}));
    create(&case, Driver::Cgroupfs, &b).fails(&["container's cgroup is not empty"]);
    assert_eq!(read(taken.join("cgroup.procs")).lines().count(), 1);
    drop(occupant);
    eventually("it is empty", || fs::remove_dir(&taken).is_ok());
    nothing_is_left(&case, "by what is refused");
}

fn a_memory_limit_that_no_process_fits_into_is_said_to_be_none(driver: Driver) {
    let case = limits_case!(driver, "memory");
    let b = bundle(&case, driver, "true", json!({ "memory": { "limit": 1, "swap": 1 } }));
    refused(&case, driver, &b, &["linux.resources.memory.limit", "less than a page"]);
}

#[test]
fn a_cgroup_that_is_gone_between_two_verbs_hinders_none() {
    let case = case!();
    let c = Limited::created(&case, Driver::Cgroupfs, "exec sleep 100", json!({}));
    let id = c.bundle.id.clone();
    fs::write(c.cgroup.join("cgroup.kill"), "1").unwrap();
    eventually("it is removed", || fs::remove_dir(&c.cgroup).is_ok());
    case.until(&id, "stopped");
    case.call(["kill", &id, "KILL"]).finish().fails(&["not running"]);
    case.call(["list"]).finish().ok();
    case.call(["delete", &id]).finish().ok();
}

#[test]
fn a_cgroup_in_which_others_make_cgroups_is_removed_with_them() {
    let case = case!();
    let c = Limited::started(&case, Driver::Cgroupfs, "exec sleep 100", json!({}));
    for name in ["a", "a/b", "z"] {
        fs::create_dir(c.cgroup.join(name)).unwrap();
    }
    let occupant = Occupant::of(&c.cgroup.join("a/b"));
    c.delete();
    // It has been killed with the rest.
    let mut occupant = occupant;
    assert!(!occupant.0.wait().unwrap().success());
    std::mem::forget(occupant);
}

/// So many containers with limits at once, made by several callers at a time.
#[test]
fn three_hundred_containers_are_made_and_removed_side_by_side() {
    const EACH: usize = 75;
    let case = case!();
    let limits = any_limit().map_or(json!({}), |(_, limit)| limit);
    let b = at(&case, &format!("/{}/c", case.unique), limits);
    let ids: Vec<Vec<String>> =
        (0..4).map(|n| (0..EACH).map(|i| format!("{}-{n}-{i}", case.unique)).collect()).collect();
    let bundles: Vec<Vec<Bundle>> =
        ids.iter().map(|ids| ids.iter().map(|id| b.as_id(&case, id)).collect()).collect();
    let side_by_side = |each: &(dyn Fn(&Bundle) + Sync)| {
        std::thread::scope(|threads| {
            for part in &bundles {
                threads.spawn(move || part.iter().for_each(each));
            }
        });
    };
    side_by_side(&|bundle| drop(case.created(bundle)));
    let listed = case.call(["list", "-q"]).finish().ok();
    assert_eq!(listed.lines().len(), 4 * EACH);
    side_by_side(&|bundle| assert_eq!(read(bundle.cgroup.join("cgroup.procs")).lines().count(), 1));
    side_by_side(&|bundle| case.delete(&bundle.id));
    nothing_is_left(&case, "by three hundred");
}

both_drivers! {
    a_key_that_is_no_plain_name_or_the_runtimes_own_is_refused
    a_controller_that_is_missing_is_named_with_what_helps
    what_a_cgroup_has_anyway_needs_no_controller
    a_memory_limit_that_no_process_fits_into_is_said_to_be_none
}
