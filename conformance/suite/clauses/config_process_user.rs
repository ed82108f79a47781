//! config.md: process.user.

use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use crate::clause::{Clause, Outcome, expect, fail, must};

const USER: &str = "config.md#posix-platform-user";

pub(crate) const CLAUSES: &[Clause] = &[
    must(
        "config.process.user.uid",
        (USER, "uid (int, REQUIRED) specifies the user ID in the container namespace."),
        |lab| lab.with("process/user/uid", 1000).sees("uid", json!([1000, 1000, 1000])),
    ),
    must(
        "config.process.user.gid",
        (USER, "gid (int, REQUIRED) specifies the group ID in the container namespace."),
        |lab| lab.with("process/user/gid", 1001).sees("gid", json!([1001, 1001, 1001])),
    ),
    must(
        "config.process.user.container-namespace",
        (USER, "uid … specifies the user ID in the container namespace."),
        |lab| {
            lab.with("process/user", json!({ "uid": 7, "gid": 8 })).user_namespace(300_000).inside(|seen| {
                seen.is("uid", json!([7, 7, 7]))?;
                seen.is("gid", json!([8, 8, 8]))
            })
        },
    ),
    must(
        "config.process.user.unmapped",
        (
            "runtime.md#create",
            "If the runtime cannot apply a property as specified in the configuration, it MUST generate an error",
        ),
        |lab| lab.with("process/user/uid", 70_000).user_namespace(300_000).fails("70000|uid|user"),
    ),
    must(
        "config.process.user.additional-gids",
        (
            USER,
            "additionalGids … specifies additional group IDs in the container namespace to be added to the process.",
        ),
        |lab| {
            lab.with("process/user/additionalGids", json!([5, 6]))
                .inside(|seen| has_groups(seen.at("groups"), &[5, 6]))
        },
    ),
    must(
        "config.process.user.no-groups-of-the-caller",
        (USER, "additionalGids … specifies additional group IDs"),
        |lab| {
            lab.base().inside(|seen| {
                let others = seen["groups"].as_array().is_some_and(|groups| groups.iter().any(|id| *id != 0));
                expect(!others, format!("the groups are {}", seen["groups"]))
            })
        },
    ),
    must(
        "config.process.user.umask",
        (USER, "umask (int, OPTIONAL) specifies the umask of the user."),
        |lab| lab.with("process/user/umask", 0o027).sees("umask", 0o027),
    ),
    must(
        "config.process.user.umask.zero",
        (USER, "umask (int, OPTIONAL) specifies the umask of the user."),
        |lab| lab.with("process/user/umask", 0).sees("umask", 0),
    ),
    must(
        "config.process.user.umask.inherited",
        (USER, "If unspecified, the umask should not be changed from the calling process' umask."),
        |lab| {
            let own = lab.own_umask()?;
            lab.base().sees("umask", own)
        },
    ),
    must(
        "config.process.user.additional-gids.user-namespace",
        (
            USER,
            "additionalGids … specifies additional group IDs in the container namespace to be added to the process.",
        ),
        |lab| {
            lab.with("process/user/additionalGids", json!([5, 60]))
                .user_namespace(300_000)
                .inside(|seen| has_groups(seen.at("groups"), &[5, 60]))
        },
    ),
    must(
        "config.process.user.additional-gids.only-those",
        (
            USER,
            "additionalGids … specifies additional group IDs in the container namespace to be added to the process.",
        ),
        |lab| {
            lab.with("process/user", json!({ "uid": 1000, "gid": 1001, "additionalGids": [5, 6] })).inside(
                |seen| {
                    let others = seen["groups"]
                        .as_array()
                        .is_some_and(|all| all.iter().any(|id| ![5, 6, 1001].map(Value::from).contains(id)));
                    expect(!others, format!("the groups are {}", seen["groups"]))
                },
            )
        },
    ),
    must(
        "config.process.user.additional-gids.many",
        (
            USER,
            "additionalGids … specifies additional group IDs in the container namespace to be added to the process.",
        ),
        |lab| {
            let many: Vec<u64> = (2000..2100).collect();
            lab.with("process/user/additionalGids", json!(many))
                .inside(|seen| has_groups(seen.at("groups"), &many))
        },
    ),
    must(
        "config.process.user.additional-gids.unmapped",
        (
            "runtime.md#create",
            "If the runtime cannot apply a property as specified in the configuration, it MUST generate an error",
        ),
        |lab| {
            lab.with("process/user/additionalGids", json!([70_000]))
                .user_namespace(300_000)
                .fails("70000|gid|group")
        },
    ),
    must(
        "config.process.user.gid.unmapped",
        (
            "runtime.md#create",
            "If the runtime cannot apply a property as specified in the configuration, it MUST generate an error",
        ),
        |lab| lab.with("process/user/gid", 70_000).user_namespace(300_000).fails("70000|gid|group"),
    ),
    must(
        "config.process.user.umask.new-file",
        (USER, "umask (int, OPTIONAL) specifies the umask of the user."),
        |lab| {
            let draft = lab.with("process/user/umask", 0o077).ask("write", json!(["/tmp/new", "text"]));
            let file = draft.rootfs("/tmp/new");
            draft.runs()?;
            let mode = std::fs::metadata(file)?.permissions().mode() & 0o777;
            expect(mode == 0o600, format!("the new file has the mode {mode:o}"))
        },
    ),
];

fn has_groups(seen: &Value, wanted: &[u64]) -> Outcome {
    let has = |id: &u64| seen.as_array().is_some_and(|groups| groups.contains(&json!(id)));
    match wanted.iter().find(|id| !has(id)) {
        Some(missing) => fail(format!("group {missing} is not among {seen}")),
        None => Ok(()),
    }
}
