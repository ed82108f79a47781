//! config-linux.md, "Huge page limits".

use serde_json::{Value, json};

use super::limited::{GO_ON, Limited, bundle};
use super::{Driver, both_drivers, limits_case};
use crate::support::bundle::add_mount;
use crate::support::{need, read};

const POOL: &str = "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages";

/// More pages in the machine's pool, until it is dropped.
#[derive(Debug)]
struct Pages(u64);

impl Pages {
    fn more(count: u64) -> Option<Self> {
        let before = std::fs::read_to_string(POOL).ok()?.trim().parse().ok()?;
        let pages = Self(before);
        std::fs::write(POOL, (before + count).to_string()).ok()?;
        (read(POOL).trim().parse() == Ok(before + count)).then_some(pages)
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        std::fs::write(POOL, self.0.to_string()).unwrap();
    }
}

/// In MiB.
fn limit(size: u64) -> Value {
    json!({ "hugepageLimits": [{ "pageSize": "2MB", "limit": size << 20 }] })
}

fn pages_beyond_the_limit_are_refused(driver: Driver) {
    let case = limits_case!(driver, "hugetlb");
    let pages = Pages::more(8);
    need!(pages.is_some(), "the kernel has no 16 MB for huge pages");
    let take = "busybox fallocate -l 8M /huge/x; echo $?; rm -f /huge/x";
    let b = bundle(&case, driver, &format!("{take}; {GO_ON}; {take}; exec sleep 100"), limit(4));
    let mut config = b.config();
    add_mount(&mut config, "/huge", "hugetlbfs", "huge", &["pagesize=2M"]);
    b.save(&config);
    let c = Limited::of(&case, driver, b);
    c.start();
    c.prints("1");
    c.update(&limit(8));
    c.go_on();
    c.prints("0");
    c.delete();
}

both_drivers! {
    pages_beyond_the_limit_are_refused
}
