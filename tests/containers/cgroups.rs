//! config-linux.md, "Control groups": what a container's cgroup is given.

use serde_json::json;

use crate::support::{case, cgroup_root, is_there, need, read};

#[test]
fn files_that_every_cgroup_has_can_be_written() {
    let case = case!();
    let b = case.script("true", |config| {
        config["linux"]["resources"] =
            json!({ "unified": { "cgroup.max.depth": "3", "cgroup.max.descendants": "7" } });
    });
    case.created(&b);
    assert_eq!(read(b.cgroup.join("cgroup.max.depth")).trim(), "3");
    assert_eq!(read(b.cgroup.join("cgroup.max.descendants")).trim(), "7");
    case.delete(&b.id);
}

#[test]
fn huge_pages_are_limited_in_use_and_in_reservations() {
    let case = case!();
    let controllers = read(cgroup_root().unwrap().join("cgroup.controllers"));
    let limit = |size: &str| {
        let limits = json!({ "hugepageLimits": [{ "pageSize": size, "limit": 4 << 20 }] });
        case.script("sleep 100", |config| config["linux"]["resources"] = limits)
    };
    if !controllers.split_whitespace().any(|c| c == "hugetlb") {
        case.create(&limit("2MB")).fails(&["linux.resources.hugepageLimits: controller hugetlb"]);
        return;
    }
    // No kernel has pages of this size.
    case.create(&limit("3MB"))
        .fails(&["linux.resources.hugepageLimits", "this kernel has no hugetlb.3MB.max"]);
    need!(is_there("/sys/kernel/mm/hugepages/hugepages-2048kB"), "the kernel has no pages of 2 MB");
    let b = limit("2MB");
    case.created(&b);
    for file in ["hugetlb.2MB.max", "hugetlb.2MB.rsvd.max"] {
        assert_eq!(read(b.cgroup.join(file)), "4194304\n");
    }
    case.delete(&b.id);
}
