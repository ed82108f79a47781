//! config.md: process, what only Linux has.

use serde_json::Value;

use crate::clause::{Clause, Need, Outcome, Stop, callers, expect, must, skip};
use crate::command::text;
use crate::container::Container;
use crate::lab::Lab;

const LINUX: &str = "config.md#linux-process";
const VALUES: &str = "config.md#valid-values";
const INVALID: &str = "Runtimes MUST generate an error when invalid or unsupported values are encountered.";
const KEYRING: &str = "callers: keyring";
const RAISES_LIMITS: &[Need] = &[Need::Capability("CAP_SYS_RESOURCE")];

pub(crate) const CLAUSES: &[Clause] = &[
    must(
        "config.process.oom-score-adj.set",
        (LINUX, "If oomScoreAdj is set, the runtime MUST set oom_score_adj to the given value."),
        |lab| lab.with("process/oomScoreAdj", 300).sees("oomScoreAdj", 300),
    ),
    must(
        "config.process.oom-score-adj.lowered",
        (LINUX, "If oomScoreAdj is set, the runtime MUST set oom_score_adj to the given value."),
        |lab| lab.with("process/oomScoreAdj", -500).sees("oomScoreAdj", -500),
    )
    .needs(RAISES_LIMITS),
    must(
        "config.process.oom-score-adj.unset",
        (LINUX, "If oomScoreAdj is not set, the runtime MUST NOT change the value of oom_score_adj."),
        |lab| {
            let own: i32 = std::fs::read_to_string("/proc/self/oom_score_adj")?.trim().parse()?;
            lab.base().sees("oomScoreAdj", own)
        },
    ),
    must(
        "config.process.oom-score-adj.invalid",
        (
            "config.md#valid-values",
            "Runtimes MUST generate an error when invalid or unsupported values are encountered.",
        ),
        |lab| lab.with("process/oomScoreAdj", 1001).fails("oom"),
    ),
    must(
        "config.process.oom-score-adj.zero",
        (LINUX, "If oomScoreAdj is set, the runtime MUST set oom_score_adj to the given value."),
        |lab| {
            let own: i32 = text("/proc/self/oom_score_adj").trim().parse()?;
            if own > 0 {
                return skip("this process may not lower its oom_score_adj");
            }
            lab.with("process/oomScoreAdj", 0).sees("oomScoreAdj", 0)
        },
    ),
    must("config.process.apparmor.missing", (VALUES, INVALID), |lab| {
        lacks("apparmor")?;
        lab.with("process/apparmorProfile", "conformance").fails("apparmor")
    }),
    must("config.process.apparmor.unknown-profile", (VALUES, INVALID), |lab| {
        lab.with("process/apparmorProfile", "conformance-no-such-profile").fails("apparmor|profile")
    })
    .needs(&[Need::File("/sys/kernel/security/apparmor")]),
    must("config.process.selinux.missing", (VALUES, INVALID), |lab| {
        lacks("selinux")?;
        lab.with("process/selinuxLabel", "system_u:system_r:container_t:s0").fails("selinux|label")
    }),
    must("linux.mount-label.missing", (VALUES, INVALID), |lab| {
        lacks("selinux")?;
        let draft = lab.with("linux/mountLabel", "system_u:object_r:container_file_t:s0");
        draft.mount("/data", "tmpfs", "tmpfs", &[]).fails("selinux|label")
    }),
    callers(
        "callers.keyring.own",
        (KEYRING, "The program has a session keyring of its own (runc, crun)."),
        |lab| {
            let own = own_keyring(lab)?;
            lab.base().inside(|seen| expect(seen["keyring"] != own, "it is the caller's"))
        },
    ),
    callers(
        "callers.keyring.differs",
        (KEYRING, "No two containers share a session keyring (runc, crun)."),
        |lab| {
            let (first, second) = (lab.base().report()?, lab.base().report()?);
            expect(first["keyring"] != second["keyring"], "two containers have the same one")
        },
    ),
    callers(
        "callers.keyring.no-new-keyring",
        (KEYRING, "create --no-new-keyring leaves the caller's session keyring (conmon, containerd)."),
        |lab| {
            let own = own_keyring(lab)?;
            let bundle = lab.base().save()?;
            let done = bundle.create_with(&[], &["--no-new-keyring".as_ref()]).finish()?.ok()?;
            let container = Container::of(bundle, &done)?;
            container.start()?;
            container.end()?;
            container.seen()?.is("keyring", own)?;
            container.delete()
        },
    ),
];

/// The case is about what happens where a security module is missing.
fn lacks(module: &str) -> Outcome {
    match text("/sys/kernel/security/lsm").split(',').any(|name| name.trim() == module) {
        true => skip(format!("{module} is here")),
        false => Ok(()),
    }
}

/// The session keyring that a program here has. Without one the kernel tells of the user's.
fn own_keyring(lab: &Lab<'_>) -> Result<Value, Stop> {
    let done = lab.command(&[lab.probe.clone().into()]).finish()?.ok()?;
    let seen: Value = serde_json::from_str(&done.stdout())?;
    Ok(seen["keyring"].clone())
}
