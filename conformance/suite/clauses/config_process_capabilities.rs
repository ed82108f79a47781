//! config.md: process.capabilities and noNewPrivileges.

use serde_json::json;

use crate::clause::{Clause, Outcome, expect, must, should};
use crate::lab::Lab;

const LINUX: &str = "config.md#linux-process";
const UNKNOWN_CAPABILITY: &str = "Any value which cannot be mapped to a relevant kernel interface … MUST be logged as a warning. Runtimes SHOULD NOT fail";

pub(crate) const CLAUSES: &[Clause] = &[
    must(
        "config.process.capabilities.bounding",
        (LINUX, "bounding … is an array of bounding capabilities that are kept for the process."),
        |lab| keeps(lab, "bounding", &["bounding"]),
    ),
    must(
        "config.process.capabilities.permitted",
        (LINUX, "permitted … is an array of permitted capabilities that are kept for the process."),
        |lab| keeps(lab, "permitted", &["bounding", "permitted"]),
    ),
    must(
        "config.process.capabilities.effective",
        (LINUX, "effective … is an array of effective capabilities that are kept for the process."),
        |lab| keeps(lab, "effective", &["bounding", "permitted", "effective"]),
    ),
    must(
        "config.process.capabilities.inheritable",
        (LINUX, "inheritable … is an array of inheritable capabilities that are kept for the process."),
        |lab| keeps(lab, "inheritable", &["bounding", "permitted", "inheritable"]),
    ),
    must(
        "config.process.capabilities.ambient",
        (LINUX, "ambient … is an array of ambient capabilities that are kept for the process."),
        |lab| keeps(lab, "ambient", &["bounding", "permitted", "effective", "inheritable", "ambient"]),
    ),
    must(
        "config.process.capabilities.ambient.user",
        (LINUX, "ambient … is an array of ambient capabilities that are kept for the process."),
        |lab| {
            let set = json!(["CAP_KILL"]);
            let sets = ["bounding", "permitted", "effective", "inheritable", "ambient"];
            let draft = sets
                .iter()
                .fold(lab.with("process/user", json!({ "uid": 1000, "gid": 1000 })), |draft, name| {
                    draft.with(&format!("process/capabilities/{name}"), set.clone())
                });
            draft.sees("capabilities", json!({ "effective": set, "permitted": set, "ambient": set }))
        },
    ),
    must(
        "config.process.capabilities.empty",
        (
            LINUX,
            "capabilities is an object containing arrays that specifies the sets of capabilities for the process.",
        ),
        |lab| {
            let none = json!([]);
            lab.with("process/capabilities", json!({ "bounding": [] }))
                .sees("capabilities", json!({ "bounding": none, "permitted": none, "effective": none, "inheritable": none, "ambient": none }))
        },
    ),
    must(
        "config.process.capabilities.unset-sets-are-empty",
        (
            LINUX,
            "capabilities is an object containing arrays that specifies the sets of capabilities for the process.",
        ),
        |lab| {
            lab.capabilities(&["CAP_CHOWN"]).sees("capabilities", json!({ "inheritable": [], "ambient": [] }))
        },
    ),
    should("config.process.capabilities.unknown", (LINUX, UNKNOWN_CAPABILITY), |lab| {
        let set = json!(["CAP_CHOWN", "CAP_NOT_A_CAPABILITY"]);
        lab.with("process/capabilities", json!({ "bounding": set, "permitted": set, "effective": set }))
            .sees("capabilities/permitted", json!(["CAP_CHOWN"]))
    }),
    must(
        "config.process.capabilities.unknown.warning",
        (
            LINUX,
            "Any value which cannot be mapped to a relevant kernel interface, or cannot be granted otherwise MUST be logged as a warning by the runtime.",
        ),
        |lab| {
            let set = json!(["CAP_NOT_A_CAPABILITY"]);
            let bundle = lab.with("process/capabilities", json!({ "bounding": set })).save()?;
            // Whether a warning is shown is the runtime's to decide: it is asked for.
            let done = bundle.create_call(&["--debug"]).finish()?;
            let said = done.stderr();
            if done.code() == 0 {
                crate::container::Container::of(bundle, &done)?.remove()?;
            }
            expect(said.contains("CAP_NOT_A_CAPABILITY"), "create says nothing of the capability")
        },
    ),
    must(
        "config.process.no-new-privileges.true",
        (LINUX, "setting noNewPrivileges to true prevents the process from gaining additional privileges."),
        |lab| lab.with("process/noNewPrivileges", true).sees("noNewPrivs", 1),
    ),
    must("config.process.no-new-privileges.false", (LINUX, "noNewPrivileges (bool, OPTIONAL)"), |lab| {
        lab.with("process/noNewPrivileges", false).sees("noNewPrivs", 0)
    }),
];

/// Some capabilities in the sets that one needs are found in it, and no others.
fn keeps(lab: &Lab<'_>, set: &str, with: &[&str]) -> Outcome {
    let names = json!(["CAP_CHOWN", "CAP_KILL"]);
    let draft = with
        .iter()
        .fold(lab.base(), |draft, set| draft.with(&format!("process/capabilities/{set}"), names.clone()));
    draft.sees(&format!("capabilities/{set}"), names)
}
