//! What keeps a container in: masked and read-only paths, sysctls, and the runtime's protection of itself.
//! Attacks are named by their CVE where they have one.

mod images;
mod paths;
mod program;
mod sysctls;

use serde_json::json;

use crate::support::{case, need, read};

#[test]
fn a_class_of_service_needs_resctrl() {
    let case = case!();
    need!(!read("/proc/self/mountinfo").contains(" - resctrl "), "resctrl is mounted");
    for rdt in [json!({}), json!({ "closID": "/" }), json!({ "closID": "gold", "schemata": ["L3:0=f"] })] {
        let b = case.script("true", |config| config["linux"]["intelRdt"] = rdt);
        case.create(&b).fails(&["linux.intelRdt: no resctrl file system is mounted", "mount -t resctrl"]);
    }
    let b = case.script("true", |config| config["linux"]["intelRdt"] = json!({ "closID": "a/b" }));
    case.create(&b).fails(&["linux.intelRdt: closID"]);
}
