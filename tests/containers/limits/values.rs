//! The whole table of `conformance/resources.rs`: every property is in its file after `create` and after `update`.

use serde_json::Value;

use super::limited::{Limited, bundle, create};
use super::{Driver, both_drivers, limits_case};
use crate::limits::io::Disk;
use crate::support::{Case, cgroup_root, is_there, need};

#[expect(dead_code, reason = "the suite uses the rest")]
#[path = "../../../conformance/resources.rs"]
mod cases;
use cases::{RESOURCES, Resource, Wanted};

/// The properties of a controller whose files this kernel has.
fn of(controller: &str) -> impl Iterator<Item = &'static Resource> {
    let resources: Vec<_> = RESOURCES.iter().filter(|r| r.controller() == Some(controller)).collect();
    assert!(!resources.is_empty(), "none of {controller}");
    resources.into_iter()
}

fn json_of(text: &str, disk: Option<&Disk>) -> Value {
    let text = Resource::of(text, disk.map_or((0, 0), |disk| disk.number));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// Creates, reads, updates, reads.
fn holds(case: &Case, driver: Driver, resource: &Resource, disk: Option<&Disk>) {
    let Wanted::File(file, [created, updated]) = resource.wanted else { panic!("{resource:?} has no file") };
    let c = Limited::created(case, driver, "sleep 100", json_of(resource.create, disk));
    let numbers = disk.map_or(String::new(), |disk| format!("{}:{}", disk.number.0, disk.number.1));
    let wanted = |value: &str| value.replace("N:N", &numbers);
    assert_eq!(c.read(file), wanted(created), "{} after create", resource.property);
    c.update(&json_of(resource.update, disk));
    assert_eq!(c.read(file), wanted(updated), "{} after update", resource.property);
    c.delete();
}

fn memory_is_as_configured(driver: Driver) {
    let case = limits_case!(driver, "memory");
    of("memory").for_each(|resource| holds(&case, driver, resource, None));
}

fn cpu_is_as_configured(driver: Driver) {
    let case = limits_case!(driver, "cpu");
    of("cpu").for_each(|resource| holds(&case, driver, resource, None));
}

fn cpuset_is_as_configured(driver: Driver) {
    let case = limits_case!(driver, "cpuset");
    need!(std::thread::available_parallelism().unwrap().get() > 1, "only one processor");
    of("cpuset").for_each(|resource| holds(&case, driver, resource, None));
}

fn pids_is_as_configured(driver: Driver) {
    let case = limits_case!(driver, "pids");
    of("pids").for_each(|resource| holds(&case, driver, resource, None));
}

fn rates_of_devices_are_as_configured(driver: Driver) {
    let case = limits_case!(driver, "io");
    let disk = Disk::make(&case);
    need!(disk.is_some(), "no loop devices");
    let rates = of("io").filter(|resource| resource.file() == "io.max");
    rates.for_each(|resource| holds(&case, driver, resource, disk.as_ref()));
}

fn weights_of_bfq_are_as_configured(driver: Driver) {
    weights(driver, "io.bfq.weight");
}

fn weights_of_the_io_controller_are_as_configured(driver: Driver) {
    weights(driver, "io.weight");
}

fn weights(driver: Driver, file: &str) {
    let case = limits_case!(driver, "io");
    let disk = Disk::make(&case);
    need!(disk.is_some(), "no loop devices");
    // As the runtime will do.
    std::fs::write(cgroup_root().unwrap().join("cgroup.subtree_control"), "+io").unwrap();
    need!(is_there(case.cgroup().join(file)), "this kernel has no {file}");
    let other = file != "io.bfq.weight" && is_there(case.cgroup().join("io.bfq.weight"));
    need!(!other, "bfq comes first, and is there");
    of("io").filter(|r| r.file() == file).for_each(|r| holds(&case, driver, r, disk.as_ref()));
}

fn huge_pages_are_as_configured(driver: Driver) {
    let case = limits_case!(driver, "hugetlb");
    need!(is_there("/sys/kernel/mm/hugepages/hugepages-2048kB"), "the kernel has no pages of 2 MB");
    of("hugetlb").for_each(|resource| holds(&case, driver, resource, None));
}

fn rdma_is_as_configured(driver: Driver) {
    let case = limits_case!(driver, "rdma");
    need!(is_there("/sys/class/infiniband/rxe0"), "no RDMA device rxe0");
    of("rdma").for_each(|resource| holds(&case, driver, resource, None));
}

fn what_every_cgroup_has_is_as_configured(driver: Driver) {
    let case = limits_case!(driver);
    let all = RESOURCES.iter().filter(|r| r.file().starts_with("cgroup."));
    assert!(all.map(|resource| holds(&case, driver, resource, None)).count() > 0);
}

fn what_cgroup_v2_can_not_do_is_refused_by_name_and_leaves_nothing(driver: Driver) {
    let case = limits_case!(driver);
    for resource in RESOURCES {
        let b = bundle(&case, driver, "true", json_of(resource.create, None));
        match resource.wanted {
            Wanted::Refused(word) => {
                create(&case, driver, &b).fails(&[&format!("linux.resources.{word}")]);
                assert_eq!(case.leaks(), Vec::<String>::new(), "{}", resource.property);
            }
            Wanted::Nothing => {
                create(&case, driver, &b).ok();
                case.delete(&b.id);
            }
            Wanted::File(..) | Wanted::Device(..) => {}
        }
    }
}

both_drivers! {
    memory_is_as_configured
    cpu_is_as_configured
    cpuset_is_as_configured
    pids_is_as_configured
    rates_of_devices_are_as_configured
    weights_of_bfq_are_as_configured
    weights_of_the_io_controller_are_as_configured
    huge_pages_are_as_configured
    rdma_is_as_configured
    what_every_cgroup_has_is_as_configured
    what_cgroup_v2_can_not_do_is_refused_by_name_and_leaves_nothing
}
