//! config.md: process, its user, limits and capabilities.

use serde_json::{Value, json};

use crate::clause::{Clause, Need, Outcome, expect, fail, must, should};
use crate::lab::Lab;

const PROCESS: &str = "config.md#process";
const POSIX: &str = "config.md#posix-process";
const LINUX: &str = "config.md#linux-process";
const USER: &str = "config.md#posix-platform-user";

const RAISES_LIMITS: &[Need] = &[Need::Capability("CAP_SYS_RESOURCE")];
const UNKNOWN_CAPABILITY: &str = "Any value which cannot be mapped to a relevant kernel interface … MUST be logged as a warning. Runtimes SHOULD NOT fail";

pub(crate) const CLAUSES: &[Clause] = &[
    must(
        "config.process.optional",
        (PROCESS, "process (object, OPTIONAL) … is REQUIRED when start is called."),
        |lab| {
            let container = lab.without("process").create()?;
            container.is("created")?;
            container.try_start()?.fails()?;
            container.remove()
        },
    ),
    must(
        "config.process.cwd.applied",
        (PROCESS, "cwd is the working directory that will be set for the executable."),
        |lab| lab.with("process/cwd", "/tmp").sees("cwd", "/tmp"),
    ),
    must("config.process.cwd.required", (PROCESS, "cwd (string, REQUIRED)"), |lab| {
        lab.without("process/cwd").fails("cwd")
    }),
    must("config.process.cwd.absolute", (PROCESS, "This value MUST be an absolute path."), |lab| {
        lab.with("process/cwd", "tmp").fails("cwd")
    }),
    must(
        "config.process.env.applied",
        (
            PROCESS,
            "env (array of strings, OPTIONAL) with the same semantics as IEEE Std 1003.1-2008's environ.",
        ),
        |lab| {
            lab.with("process/env", json!(["A=1", "B=two words", "EMPTY=", "C=x=y"]))
                .inside(|seen| seen.is("env", json!({ "A": "1", "B": "two words", "EMPTY": "", "C": "x=y" })))
        },
    ),
    must(
        "config.process.env.nothing-else",
        (
            PROCESS,
            "env (array of strings, OPTIONAL) with the same semantics as IEEE Std 1003.1-2008's environ.",
        ),
        |lab| {
            lab.with("process/env", json!(["A=1"])).inside(|seen| {
                let names: Vec<&String> =
                    seen["env"].as_object().map_or(Vec::new(), |env| env.keys().collect());
                // HOME is set by all runtimes where it isn't configured.
                let own = names.iter().find(|name| !["A", "HOME"].contains(&name.as_str()));
                expect(own.is_none(), format!("the environment has {own:?}, too"))
            })
        },
    ),
    must(
        "config.process.args.applied",
        (PROCESS, "args … with similar semantics to execvp's argv."),
        |lab| {
            lab.with("process/args", json!(["/probe", "{}", "", "two words"]))
                .sees("args", json!(["/probe", "{}", "", "two words"]))
        },
    ),
    must("config.process.args.required", (PROCESS, "at least one entry is REQUIRED (non-Windows)"), |lab| {
        lab.without("process/args").fails("args")
    }),
    must("config.process.args.one", (PROCESS, "at least one entry is REQUIRED (non-Windows)"), |lab| {
        lab.with("process/args", json!([])).fails("args")
    }),
    must(
        "config.process.args.path-search",
        (PROCESS, "that entry is used with the same semantics as execvp's file"),
        |lab| {
            lab.with("process/args", json!(["probe"]))
                .with("process/env", json!(["PATH=/nowhere:/bin"]))
                .sees("args", json!(["probe"]))
        },
    ),
    must(
        "config.process.args.no-search-with-slash",
        (PROCESS, "that entry is used with the same semantics as execvp's file"),
        |lab| lab.with("process/cwd", "/bin").with("process/args", json!(["./probe"])).runs(),
    ),
    must(
        "config.process.args.relative-to-cwd",
        (PROCESS, "that entry is used with the same semantics as execvp's file"),
        |lab| lab.with("process/cwd", "/bin").with("process/args", json!(["../probe"])).runs(),
    ),
    must(
        "config.process.args.missing-program",
        (
            "runtime.md#create",
            "If the runtime cannot apply a property as specified in the configuration, it MUST generate an error",
        ),
        |lab| lab.with("process/args", json!(["/nowhere"])).fails("/nowhere"),
    ),
    must(
        "config.process.terminal.default",
        (
            PROCESS,
            "terminal (bool, OPTIONAL) specifies whether a terminal is attached to the process, defaults to false.",
        ),
        |lab| lab.base().sees("terminal/is", json!([false, false, false])),
    ),
    must(
        "config.process.console-size.ignored",
        (PROCESS, "Runtimes MUST ignore consoleSize if terminal is false or unset."),
        |lab| {
            lab.with("process/consoleSize", json!({ "height": 25, "width": 80 }))
                .sees("terminal", json!({ "is": [false, false, false], "rows": null }))
        },
    ),
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
        "config.process.rlimits.lowered",
        (
            POSIX,
            "rlim.rlim_cur MUST match the configured value. rlim.rlim_max MUST match the configured value.",
        ),
        |lab| {
            let limit = json!({ "type": "RLIMIT_NOFILE", "soft": 100, "hard": 200 });
            lab.with("process/rlimits", json!([limit])).sees("rlimits/RLIMIT_NOFILE", json!([100, 200]))
        },
    ),
    must(
        "config.process.rlimits.soft-above-own",
        (POSIX, "rlim.rlim_cur MUST match the configured value."),
        |lab| {
            let limit = json!({ "type": "RLIMIT_CORE", "soft": 0, "hard": 0 });
            lab.with("process/rlimits", json!([limit])).sees("rlimits/RLIMIT_CORE", json!([0, 0]))
        },
    ),
    must(
        "config.process.rlimits.each-type",
        (POSIX, "For each entry in rlimits, a getrlimit(3) on type MUST succeed."),
        all_limits,
    ),
    must("config.process.rlimits.raised", (POSIX, "rlim.rlim_max MUST match the configured value."), |lab| {
        let limit = json!({ "type": "RLIMIT_MSGQUEUE", "soft": 10_000_000, "hard": 20_000_000 });
        lab.with("process/rlimits", json!([limit]))
            .sees("rlimits/RLIMIT_MSGQUEUE", json!([10_000_000, 20_000_000]))
    })
    .needs(RAISES_LIMITS),
    must(
        "config.process.rlimits.unlimited",
        (POSIX, "rlim.rlim_cur MUST match the configured value."),
        |lab| {
            let limit = json!({ "type": "RLIMIT_FSIZE", "soft": u64::MAX, "hard": u64::MAX });
            lab.with("process/rlimits", json!([limit]))
                .sees("rlimits/RLIMIT_FSIZE", json!([u64::MAX, u64::MAX]))
        },
    ),
    must(
        "config.process.rlimits.unset",
        (POSIX, "rlimits (array of objects, OPTIONAL) allows setting resource limits for the process."),
        |lab| {
            let limit = json!({ "type": "RLIMIT_NOFILE", "soft": 100, "hard": 200 });
            let own = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_STACK)?;
            lab.with("process/rlimits", json!([limit])).sees("rlimits/RLIMIT_STACK", json!([own.0, own.1]))
        },
    ),
    must(
        "config.process.rlimits.unknown-type",
        (
            POSIX,
            "The runtime MUST generate an error for any values which cannot be mapped to a relevant kernel interface.",
        ),
        |lab| {
            lab.with("process/rlimits", json!([{ "type": "RLIMIT_NOTHING", "soft": 1, "hard": 1 }]))
                .refused("RLIMIT_NOTHING")
        },
    ),
    must(
        "config.process.rlimits.soft-above-hard",
        (
            "config.md#valid-values",
            "Runtimes MUST generate an error when invalid or unsupported values are encountered.",
        ),
        |lab| {
            lab.with("process/rlimits", json!([{ "type": "RLIMIT_NOFILE", "soft": 300, "hard": 200 }]))
                .fails("RLIMIT_NOFILE|rlimit")
        },
    ),
    must(
        "config.process.rlimits.duplicate",
        (POSIX, "If rlimits contains duplicated entries with same type, the runtime MUST generate an error."),
        |lab| {
            let limit = json!({ "type": "RLIMIT_NOFILE", "soft": 100, "hard": 200 });
            lab.with("process/rlimits", json!([limit, limit])).refused("RLIMIT_NOFILE|rlimit")
        },
    ),
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
];

fn has_groups(seen: &Value, wanted: &[u64]) -> Outcome {
    let has = |id: &u64| seen.as_array().is_some_and(|groups| groups.contains(&json!(id)));
    match wanted.iter().find(|id| !has(id)) {
        Some(missing) => fail(format!("group {missing} is not among {seen}")),
        None => Ok(()),
    }
}

/// Some capabilities in the sets that one needs are found in it, and no others.
fn keeps(lab: &Lab<'_>, set: &str, with: &[&str]) -> Outcome {
    let names = json!(["CAP_CHOWN", "CAP_KILL"]);
    let draft = with
        .iter()
        .fold(lab.base(), |draft, set| draft.with(&format!("process/capabilities/{set}"), names.clone()));
    draft.sees(&format!("capabilities/{set}"), names)
}

/// Each type of getrlimit(2), a bit below what this process may have.
fn all_limits(lab: &Lab<'_>) -> Outcome {
    use nix::sys::resource::{Resource, getrlimit};
    let types = [
        (Resource::RLIMIT_AS, 1 << 40),
        (Resource::RLIMIT_CORE, 4096),
        (Resource::RLIMIT_CPU, 1000),
        (Resource::RLIMIT_DATA, 1 << 40),
        (Resource::RLIMIT_FSIZE, 1 << 30),
        (Resource::RLIMIT_LOCKS, 100),
        (Resource::RLIMIT_MEMLOCK, 65_536),
        (Resource::RLIMIT_MSGQUEUE, 4096),
        (Resource::RLIMIT_NICE, 0),
        (Resource::RLIMIT_NOFILE, 512),
        (Resource::RLIMIT_NPROC, 1000),
        (Resource::RLIMIT_RSS, 1 << 30),
        (Resource::RLIMIT_RTPRIO, 0),
        (Resource::RLIMIT_RTTIME, 1_000_000),
        (Resource::RLIMIT_SIGPENDING, 100),
        (Resource::RLIMIT_STACK, 8 << 20),
    ];
    let mut draft = lab.base();
    let mut wanted = json!({});
    for (resource, most) in types {
        let value = most.min(getrlimit(resource)?.1);
        draft = draft.with(
            "process/rlimits/-",
            json!({ "type": format!("{resource:?}"), "soft": value, "hard": value }),
        );
        wanted[format!("{resource:?}")] = json!([value, value]);
    }
    draft.sees("rlimits", wanted)
}
