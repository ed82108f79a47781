//! config.md: mounts.

use serde_json::json;

use crate::clause::{Clause, expect, fail, must};

const MOUNTS: &str = "config.md#mounts";
const OPTIONS: &str = "config.md#linux-mount-options";

pub(crate) const CLAUSES: &[Clause] = &[
    must("config.mounts.order", (MOUNTS, "The runtime MUST mount entries in the listed order."), |lab| {
        let draft = lab.base().mount("/data", "tmpfs", "below", &[]).mount("/data", "tmpfs", "above", &[]);
        draft.inside(|seen| match seen.mount("/data")?["source"].as_str() {
            Some("above") => Ok(()),
            other => fail(format!("the uppermost mount at /data is {other:?}")),
        })
    }),
    must(
        "config.mounts.destination.relative",
        (MOUNTS, "it MAY be a relative path, in which case it MUST be interpreted as relative to \"/\""),
        |lab| lab.base().mount("data", "tmpfs", "tmpfs", &[]).inside(|seen| seen.mount("/data").map(drop)),
    ),
    must(
        "config.mounts.destination.made",
        (MOUNTS, "destination (string, REQUIRED) Destination of mount point: path inside container."),
        |lab| {
            lab.base()
                .mount("/new/deep", "tmpfs", "tmpfs", &[])
                .inside(|seen| seen.mount("/new/deep").map(drop))
        },
    ),
    must(
        "config.mounts.destination.link-stays-inside",
        (MOUNTS, "destination (string, REQUIRED) Destination of mount point: path inside container."),
        |lab| {
            let outside = lab.subdir("outside")?;
            let draft = lab.base().dir("/inner", 0o755).link("/out", "../../../../inner");
            draft.mount("/out", "tmpfs", "tmpfs", &[]).inside(|seen| seen.mount("/inner").map(drop))?;
            expect(std::fs::read_dir(outside)?.next().is_none(), "something was mounted or made outside")
        },
    ),
    must("config.mounts.option.ro", (OPTIONS, "ro | MUST"), |lab| {
        lab.base().mount("/data", "tmpfs", "tmpfs", &["ro"]).inside(|seen| seen.mounted("/data", "ro !rw"))
    }),
    must("config.mounts.option.private", (OPTIONS, "private | MUST | Bind mount propagation"), |lab| {
        let source = lab.subdir("source")?;
        let draft = lab.base().mount("/data", "none", source, &["bind", "private"]);
        draft.inside(|seen| expect(seen.propagation("/data")? == "private", "/data is not private"))
    }),
    must("config.mounts.option.bind", (OPTIONS, "bind | MUST | Bind mount"), |lab| {
        lab.file("source/file", "here", 0o644)?;
        lab.base().mount("/data", "none", lab.dir.join("source"), &["bind"]).reads("/data/file", "here")
    }),
    must(
        "config.mounts.source.relative",
        (MOUNTS, "Path values for bind mounts are either absolute or relative to the bundle."),
        |lab| {
            lab.base()
                .put("/etc/mark", "here", 0o644)
                .mount("/data", "none", "rootfs/etc", &["bind"])
                .reads("/data/mark", json!("here"))
        },
    ),
];
