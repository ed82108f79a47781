//! config.md: process, what is run and where.

use serde_json::json;

use crate::clause::{Clause, expect, must};

const PROCESS: &str = "config.md#process";

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
];
