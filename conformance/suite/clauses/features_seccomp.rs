//! features-linux.md: what is said of seccomp and memoryPolicy, and whether that is recognized.

use serde_json::{Value, json};

use super::features::{document, names};
use super::linux_seccomp::{UMASK, on_umask};
use crate::clause::{Clause, Outcome, expect, must};
use crate::draft::Draft;
use crate::lab::Lab;

const SECCOMP: &str = "features-linux.md#seccomp";
const POLICY: &str = "features-linux.md#memorypolicy";
const ACTIONS: &str =
    "The runtime MUST recognize the elements in this array in the syscalls[].action property";
const OPERATORS: &str =
    "The runtime MUST recognize the elements in this array in the syscalls[].args[].op property";
const ARCHS: &str = "The runtime MUST recognize the elements in this array in the architectures property";
const KNOWN: &str = "knownFlags (array of strings, OPTIONAL) The recognized names of the seccomp flags.";
const SUPPORTED: &str =
    "The runtime MUST recognize and support the elements in this array in the flags property";

pub(crate) const CLAUSES: &[Clause] = &[
    must(
        "features.linux.seccomp.enabled",
        (SECCOMP, "enabled (bool, OPTIONAL) represents whether the runtime supports seccomp."),
        |lab| {
            let value = document(lab)?.pointer("/linux/seccomp/enabled").cloned().unwrap_or(Value::Null);
            expect(value.is_null() || value.is_boolean(), format!("it is {value}"))?;
            if value != true {
                return Ok(());
            }
            on_umask(lab, json!({ "action": "SCMP_ACT_ERRNO" })).calls("umask", UMASK, Some("EPERM"))
        },
    ),
    must("features.linux.seccomp.actions", (SECCOMP, ACTIONS), |lab| {
        // The agent of SCMP_ACT_NOTIFY has clauses of its own.
        each(lab, "/linux/seccomp/actions", &["SCMP_ACT_NOTIFY"], &|action| {
            on_umask(lab, json!({ "action": action }))
        })
    }),
    must("features.linux.seccomp.operators", (SECCOMP, OPERATORS), |lab| {
        each(lab, "/linux/seccomp/operators", &[], &|operator| {
            let args = json!([{ "index": 0, "op": operator, "value": 1, "valueTwo": 1 }]);
            on_umask(lab, json!({ "action": "SCMP_ACT_ERRNO", "args": args }))
        })
    }),
    must("features.linux.seccomp.archs", (SECCOMP, ARCHS), |lab| {
        let names = names(lab, "/linux/seccomp/archs")?;
        let bad = names.iter().find(|name| !name.starts_with("SCMP_ARCH_"));
        expect(bad.is_none(), format!("{bad:?} is no architecture"))?;
        let little = [
            "SCMP_ARCH_X86",
            "SCMP_ARCH_X86_64",
            "SCMP_ARCH_X32",
            "SCMP_ARCH_ARM",
            "SCMP_ARCH_AARCH64",
            "SCMP_ARCH_RISCV64",
        ];
        let these: Vec<&str> = little.into_iter().filter(|name| names.iter().any(|n| n == name)).collect();
        on_umask(lab, json!({ "action": "SCMP_ACT_ERRNO" }))
            .with("linux/seccomp/architectures", json!(these))
            .runs()
    }),
    must("features.linux.seccomp.flags.known", (SECCOMP, KNOWN), |lab| {
        let names = names(lab, "/linux/seccomp/knownFlags")?;
        let bad = names.iter().find(|name| !name.starts_with("SECCOMP_FILTER_FLAG_"));
        expect(bad.is_none(), format!("{bad:?} is no flag"))
    }),
    must(
        "features.linux.seccomp.flags.subset",
        (SECCOMP, "This list may be a subset of knownFlags"),
        |lab| {
            let known = names(lab, "/linux/seccomp/knownFlags")?;
            let supported = names(lab, "/linux/seccomp/supportedFlags")?;
            let bad = supported.iter().find(|flag| !known.contains(flag));
            expect(bad.is_none(), format!("{bad:?} is supported and not known"))
        },
    ),
    must("features.linux.seccomp.flags.supported", (SECCOMP, SUPPORTED), |lab| {
        // The kernel takes this flag with a listener only.
        each(lab, "/linux/seccomp/supportedFlags", &["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"], &|flag| {
            on_umask(lab, json!({ "action": "SCMP_ACT_ERRNO" })).with("linux/seccomp/flags", json!([flag]))
        })
    }),
    must(
        "features.linux.memory-policy.modes",
        (
            POLICY,
            "The runtime MUST recognize the elements in this array as the mode of linux.memoryPolicy objects in config.json.",
        ),
        |lab| {
            // Linux has it since 6.9; whether it is recognized the kernel decides.
            let is_known = std::path::Path::new("/sys/kernel/mm/mempolicy/weighted_interleave").exists();
            let but: &[&str] = if is_known { &[] } else { &["MPOL_WEIGHTED_INTERLEAVE"] };
            each(lab, "/linux/memoryPolicy/modes", but, &|mode| {
                let nodes =
                    if ["MPOL_DEFAULT", "MPOL_LOCAL"].contains(&mode) { Value::Null } else { json!("0") };
                let draft = lab.with("linux/memoryPolicy", json!({ "mode": mode }));
                if nodes.is_null() { draft } else { draft.with("linux/memoryPolicy/nodes", nodes) }
            })
        },
    ),
    must(
        "features.linux.memory-policy.flags",
        (
            POLICY,
            "The runtime MUST recognize the elements in this in the flags property of the linux.memoryPolicy object in config.json",
        ),
        |lab| {
            each(lab, "/linux/memoryPolicy/flags", &[], &|flag| {
                lab.with("linux/memoryPolicy", json!({ "mode": "MPOL_BIND", "nodes": "0", "flags": [flag] }))
            })
        },
    ),
];

/// Each name of an array but for these, in a container of its own, which has to run.
fn each<'l>(lab: &'l Lab<'l>, path: &str, but: &[&str], draft: &dyn Fn(&str) -> Draft<'l>) -> Outcome {
    names(lab, path)?
        .iter()
        .filter(|name| !but.contains(&name.as_str()))
        .try_for_each(|name| draft(name).runs())
}
