//! config-linux.md, "Control groups": what a container's cgroup is given.

use serde_json::json;

use crate::support::{case, read};

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
