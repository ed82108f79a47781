//! config-linux.md: masked and readonly paths.

use serde_json::{Value, json};

use crate::clause::{Clause, Outcome, callers, expect, must};
use crate::draft::Draft;
use crate::lab::Lab;
use crate::seen::Seen;

const MASKED: &str = "config-linux.md#masked-paths";
const MASK: &str = "maskedPaths (array of strings, OPTIONAL) will mask over the provided paths inside the container so that they cannot be read.";
const READONLY: &str = "config-linux.md#readonly-paths";
const LOCK: &str = "readonlyPaths (array of strings, OPTIONAL) will set the provided paths as readonly inside the container.";
const ABSOLUTE: &str = "The values MUST be absolute paths in the container namespace.";
const MISSING: &str = "Lists of engines name paths that not every kernel or image has: they are passed over.";

pub(crate) const CLAUSES: &[Clause] = &[
    must("linux.masked-paths.file", (MASKED, MASK), |lab| {
        masked(lab, &["/data/secret"]).inside(|seen| cannot_read(seen, "/data/secret"))
    }),
    must("linux.masked-paths.directory", (MASKED, MASK), |lab| {
        masked(lab, &["/data"]).inside(|seen| is_empty(seen, "/data"))
    }),
    must("linux.masked-paths.several", (MASKED, MASK), |lab| {
        masked(lab, &["/data/secret", "/etc", "/data/dir"]).inside(|seen| {
            cannot_read(seen, "/data/secret")?;
            is_empty(seen, "/etc")?;
            is_empty(seen, "/data/dir")
        })
    }),
    must("linux.masked-paths.nested", (MASKED, MASK), |lab| {
        masked(lab, &["/data/dir", "/data"]).inside(|seen| is_empty(seen, "/data"))
    }),
    must("linux.masked-paths.not-the-others", (MASKED, MASK), |lab| {
        masked(lab, &["/data/secret"]).inside(|seen| seen.is("read/~1data~1dir~1file", "secret"))
    }),
    must("linux.masked-paths.proc", (MASKED, MASK), |lab| {
        let draft = lab.with(
            "linux/maskedPaths",
            json!(["/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list"]),
        );
        draft.ask("read", "/proc/keys").inside(|seen| cannot_read(seen, "/proc/keys"))
    }),
    must("linux.masked-paths.proc-directory", (MASKED, MASK), |lab| {
        lab.with("linux/maskedPaths", json!(["/proc/irq"]))
            .ask("list", "/proc/irq")
            .inside(|seen| is_empty(seen, "/proc/irq"))
    }),
    must("linux.masked-paths.device", (MASKED, MASK), |lab| {
        lab.with("linux/maskedPaths", json!(["/dev/zero"])).finds("/dev/zero", json!({ "minor": 3 })).or_else(
            |_| lab.with("linux/maskedPaths", json!(["/dev/zero"])).opens("r", "/dev/zero", Some("EACCES")),
        )
    }),
    must("linux.masked-paths.mount", (MASKED, MASK), |lab| {
        lab.file("source/file", "secret", 0o644)?;
        let draft = lab.base().mount("/data", "none", lab.dir.join("source"), &["bind"]);
        draft
            .with("linux/maskedPaths", json!(["/data"]))
            .ask("list", "/data")
            .inside(|seen| is_empty(seen, "/data"))
    }),
    must("linux.masked-paths.for-root-with-all-rights", (MASKED, MASK), |lab| {
        masked(lab, &["/data/secret", "/data/dir"])
            .capabilities(&["CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH"])
            .inside(|seen| {
                cannot_read(seen, "/data/secret")?;
                is_empty(seen, "/data/dir")
            })
    }),
    must("linux.masked-paths.user-namespace", (MASKED, MASK), |lab| {
        masked(lab, &["/data/secret", "/data/dir"]).user_namespace(300_000).inside(|seen| {
            cannot_read(seen, "/data/secret")?;
            is_empty(seen, "/data/dir")
        })
    }),
    must("linux.masked-paths.absolute", (MASKED, ABSOLUTE), |lab| {
        masked(lab, &["data/secret"]).refused("maskedPaths|absolute|data/secret")
    }),
    callers("callers.paths.masked-missing", (MASKED, MISSING), |lab| {
        masked(lab, &["/nowhere", "/proc/no-such-file", "/data/dir/no/such"]).runs()
    }),
    must("linux.readonly-paths.file", (READONLY, LOCK), |lab| {
        locked(lab, &["/data/secret"]).opens("w", "/data/secret", Some("EROFS"))
    }),
    must("linux.readonly-paths.file.readable", (READONLY, LOCK), |lab| {
        locked(lab, &["/data/secret"]).reads("/data/secret", "secret")
    }),
    must("linux.readonly-paths.directory", (READONLY, LOCK), |lab| {
        locked(lab, &["/data"]).opens("x", "/data/new", Some("EROFS"))
    }),
    must("linux.readonly-paths.directory.below", (READONLY, LOCK), |lab| {
        locked(lab, &["/data"]).opens("w", "/data/dir/file", Some("EROFS"))
    }),
    must("linux.readonly-paths.several", (READONLY, LOCK), |lab| {
        let draft = locked(lab, &["/data/dir", "/etc"]);
        draft
            .ask("open", json!(["/data/dir/new", "x"]))
            .ask("open", json!(["/etc/new", "x"]))
            .ask("open", json!(["/data/new", "x"]))
            .inside(|seen| {
                seen.is(
                    "open",
                    json!({ "x:/data/dir/new": "EROFS", "x:/etc/new": "EROFS", "x:/data/new": null }),
                )
            })
    }),
    must("linux.readonly-paths.nested", (READONLY, LOCK), |lab| {
        locked(lab, &["/data", "/data/dir"]).opens("x", "/data/dir/new", Some("EROFS"))
    }),
    must("linux.readonly-paths.mount", (READONLY, LOCK), |lab| {
        lab.base().mount("/data", "tmpfs", "tmpfs", &[]).with("linux/readonlyPaths", json!(["/data"])).opens(
            "x",
            "/data/new",
            Some("EROFS"),
        )
    }),
    must("linux.readonly-paths.keeps-flags", (READONLY, LOCK), |lab| {
        let draft = lab.base().mount("/data", "tmpfs", "tmpfs", &["nosuid", "nodev", "noexec"]);
        draft
            .with("linux/readonlyPaths", json!(["/data"]))
            .inside(|seen| seen.mounted("/data", "ro nosuid nodev noexec"))
    }),
    must("linux.readonly-paths.proc", (READONLY, LOCK), |lab| {
        lab.with("linux/readonlyPaths", json!(["/proc/sys"])).opens(
            "w",
            "/proc/sys/kernel/hostname",
            Some("EROFS"),
        )
    }),
    must("linux.readonly-paths.user-namespace", (READONLY, LOCK), |lab| {
        let draft = locked(lab, &["/tmp", "/proc/sys"]).user_namespace(300_000);
        draft.opens("x", "/tmp/new", Some("EROFS"))
    }),
    must("linux.readonly-paths.absolute", (READONLY, ABSOLUTE), |lab| {
        locked(lab, &["data/secret"]).refused("readonlyPaths|absolute|data/secret")
    }),
    must("linux.readonly-paths.and-masked", (READONLY, LOCK), |lab| {
        let draft = locked(lab, &["/data"]).with("linux/maskedPaths", json!(["/data/secret"]));
        draft.ask("read", "/data/secret").ask("open", json!(["/data/new", "x"])).inside(|seen| {
            cannot_read(seen, "/data/secret")?;
            seen.is("open/x:~1data~1new", "EROFS")
        })
    }),
    callers("callers.paths.readonly-missing", (READONLY, MISSING), |lab| {
        locked(lab, &["/nowhere", "/proc/no-such-file"]).runs()
    }),
];

/// With files to hide at /data/secret, /data/dir/file and /etc/mark, and a look at them.
fn with_files<'l>(lab: &'l Lab<'_>) -> Draft<'l> {
    let draft = ["/data/secret", "/data/dir/file", "/etc/mark"]
        .iter()
        .fold(lab.base(), |draft, path| draft.put(path, "secret", 0o666).ask("read", *path));
    ["/data", "/data/dir", "/etc"].iter().fold(draft, |draft, path| draft.ask("list", *path))
}

fn masked<'l>(lab: &'l Lab<'_>, paths: &[&str]) -> Draft<'l> {
    with_files(lab).with("linux/maskedPaths", json!(paths))
}

fn locked<'l>(lab: &'l Lab<'_>, paths: &[&str]) -> Draft<'l> {
    with_files(lab).with("linux/readonlyPaths", json!(paths))
}

/// Nothing comes out of it: an error, or an empty file.
fn cannot_read(seen: &Seen, path: &str) -> Outcome {
    let read = &seen["read"][path];
    expect(*read == "" || read["errno"].is_string(), format!("reading {path} gives {read}"))
}

fn is_empty(seen: &Seen, path: &str) -> Outcome {
    let list: &Value = &seen["list"][path];
    expect(*list == json!([]) || list["errno"].is_string(), format!("{path} has {list}"))
}
