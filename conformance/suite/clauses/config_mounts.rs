//! config.md: mounts, all but their options.

use serde_json::json;

use crate::clause::{Clause, Outcome, expect, fail, must, should, skip};
use crate::command::text;
use crate::lab::Lab;

const MOUNTS: &str = "config.md#mounts";
const POSIX: &str = "config.md#posix-platform-mounts";
const OPTIONS: &str = "config.md#linux-mount-options";
const DESTINATION: &str = "destination (string, REQUIRED) Destination of mount point: path inside container.";
const SOURCE: &str = "source (string, OPTIONAL) A device name, but can also be a file or directory name for bind mounts or a dummy.";
const BIND: &str = "A mount is a bind mount if it has either bind or rbind in the options.";
const TYPE: &str =
    "type (string, OPTIONAL) … filesystem types supported by the kernel as listed in /proc/filesystems";
const DATA: &str = "Runtimes SHOULD treat unknown options as filesystem-specific ones and pass those as a comma-separated string to the fifth argument of mount(2).";
const CREATE: &str = "runtime.md#create";
const ERROR: &str =
    "If the runtime cannot apply a property as specified in the configuration, it MUST generate an error";

pub(crate) const CLAUSES: &[Clause] = &[
    must("config.mounts.order", (MOUNTS, "The runtime MUST mount entries in the listed order."), |lab| {
        let draft = lab.base().mount("/data", "tmpfs", "below", &[]).mount("/data", "tmpfs", "above", &[]);
        draft.inside(|seen| match seen.mount("/data")?["source"].as_str() {
            Some("above") => Ok(()),
            other => fail(format!("the uppermost mount at /data is {other:?}")),
        })
    }),
    must(
        "config.mounts.order.nested",
        (MOUNTS, "The runtime MUST mount entries in the listed order."),
        |lab| {
            lab.file("source/file", "here", 0o644)?;
            lab.base()
                .mount("/data", "tmpfs", "tmpfs", &[])
                .mount("/data/sub", "none", lab.dir.join("source"), &["bind"])
                .reads("/data/sub/file", "here")
        },
    ),
    must(
        "config.mounts.order.hidden",
        (MOUNTS, "The runtime MUST mount entries in the listed order."),
        |lab| {
            lab.file("source/file", "here", 0o644)?;
            lab.base()
                .mount("/data/sub", "none", lab.dir.join("source"), &["bind"])
                .mount("/data", "tmpfs", "tmpfs", &[])
                .ask("list", "/data")
                .inside(|seen| {
                    seen.mount("/data")?;
                    seen.is("list/~1data", json!([]))
                })
        },
    ),
    must("config.mounts.destination.required", (MOUNTS, DESTINATION), |lab| {
        lab.with("mounts/-", json!({ "type": "tmpfs", "source": "tmpfs" })).refused("destination")
    }),
    must(
        "config.mounts.destination.relative",
        (MOUNTS, "it MAY be a relative path, in which case it MUST be interpreted as relative to \"/\""),
        |lab| lab.base().mount("data", "tmpfs", "tmpfs", &[]).inside(|seen| seen.mount("/data").map(drop)),
    ),
    must(
        "config.mounts.destination.relative.not-to-cwd",
        (MOUNTS, "it MAY be a relative path, in which case it MUST be interpreted as relative to \"/\""),
        |lab| {
            lab.with("process/cwd", "/tmp")
                .mount("data/sub", "tmpfs", "tmpfs", &[])
                .inside(|seen| seen.mount("/data/sub").map(drop))
        },
    ),
    must("config.mounts.destination.made", (MOUNTS, DESTINATION), |lab| {
        lab.base().mount("/new/deep", "tmpfs", "tmpfs", &[]).inside(|seen| seen.mount("/new/deep").map(drop))
    }),
    must("config.mounts.destination.made.file", (MOUNTS, DESTINATION), |lab| {
        let file = lab.file("file", "here", 0o644)?;
        lab.base().mount("/new/deep/file", "none", file, &["bind"]).reads("/new/deep/file", "here")
    }),
    must("config.mounts.destination.link-stays-inside", (MOUNTS, DESTINATION), |lab| {
        let outside = lab.subdir("outside")?;
        let draft = lab.base().dir("/inner", 0o755).link("/out", "../../../../inner");
        draft.mount("/out", "tmpfs", "tmpfs", &[]).inside(|seen| seen.mount("/inner").map(drop))?;
        expect(std::fs::read_dir(outside)?.next().is_none(), "something was mounted or made outside")
    }),
    must("config.mounts.destination.dots-stay-inside", (MOUNTS, DESTINATION), |lab| {
        lab.base().mount("/../../data", "tmpfs", "tmpfs", &[]).inside(|seen| seen.mount("/data").map(drop))
    }),
    must("config.mounts.destination.below-a-file", (CREATE, ERROR), |lab| {
        lab.base().mount("/probe/sub", "tmpfs", "tmpfs", &[]).refused("/probe")
    }),
    must("config.mounts.source.optional", (MOUNTS, SOURCE), |lab| {
        lab.with("mounts/-", json!({ "destination": "/data", "type": "tmpfs" }))
            .inside(|seen| seen.mount("/data").map(drop))
    }),
    must("config.mounts.source.file", (MOUNTS, SOURCE), |lab| {
        let file = lab.file("file", "here", 0o644)?;
        lab.base()
            .put("/etc/mark", "below", 0o644)
            .mount("/etc/mark", "none", file, &["bind"])
            .reads("/etc/mark", "here")
    }),
    must("config.mounts.source.device", (MOUNTS, SOURCE), |lab| {
        let draft = lab.base().mount("/data/null", "none", "/dev/null", &["bind"]);
        draft.finds("/data/null", json!({ "kind": "c", "major": 1, "minor": 3 }))
    }),
    must("config.mounts.source.link", (MOUNTS, SOURCE), |lab| {
        lab.file("source/file", "here", 0o644)?;
        std::os::unix::fs::symlink("source", lab.dir.join("link"))?;
        lab.base().mount("/data", "none", lab.dir.join("link"), &["bind"]).reads("/data/file", "here")
    }),
    must(
        "config.mounts.source.relative",
        (MOUNTS, "Path values for bind mounts are either absolute or relative to the bundle."),
        |lab| {
            lab.base()
                .put("/etc/mark", "here", 0o644)
                .mount("/data", "none", "rootfs/etc", &["bind"])
                .reads("/data/mark", "here")
        },
    ),
    must("config.mounts.source.missing", (CREATE, ERROR), |lab| {
        lab.base().mount("/data", "none", lab.dir.join("nowhere"), &["bind"]).refused("nowhere")
    }),
    must("config.mounts.source.directory-on-file", (CREATE, ERROR), |lab| {
        lab.base()
            .put("/etc/mark", "here", 0o644)
            .mount("/etc/mark", "none", lab.subdir("source")?, &["bind"])
            .refused("/etc/mark")
    }),
    must(
        "config.mounts.bind.type-is-a-dummy",
        (
            POSIX,
            "For bind mounts (when options include either bind or rbind), the type is a dummy, often \"none\"",
        ),
        |lab| {
            lab.file("source/file", "here", 0o644)?;
            ["none", "bind", "tmpfs", "no-such-type"].iter().try_for_each(|kind| {
                lab.base().mount("/data", kind, lab.dir.join("source"), &["bind"]).reads("/data/file", "here")
            })
        },
    ),
    must("config.mounts.bind.type-is-absent", (MOUNTS, BIND), |lab| {
        lab.file("source/file", "here", 0o644)?;
        let source = lab.dir.join("source");
        lab.with("mounts/-", json!({ "destination": "/data", "source": source, "options": ["rbind"] }))
            .reads("/data/file", "here")
    }),
    must("config.mounts.bind.is-the-same", (MOUNTS, BIND), |lab| {
        let source = lab.subdir("source")?;
        lab.base()
            .mount("/data", "none", &source, &["bind"])
            .ask("write", json!(["/data/new", "from inside"]))
            .runs()?;
        expect(text(source.join("new")) == "from inside", "what was written inside is not in the source")
    }),
    must(
        "config.mounts.options.optional",
        (MOUNTS, "options (array of strings, OPTIONAL) Mount options of the filesystem to be used."),
        |lab| {
            let mount = json!({ "destination": "/data", "type": "tmpfs", "source": "tmpfs" });
            lab.with("mounts/-", mount).ask("open", json!(["/data/new", "x"])).inside(|seen| {
                seen.mount("/data")?;
                seen.is("open/x:~1data~1new", serde_json::Value::Null)
            })
        },
    ),
    must("config.mounts.type.unknown", (POSIX, TYPE), |lab| {
        lab.base().mount("/data", "no-such-type", "none", &[]).refused("no-such-type|data|type")
    }),
    must("config.mounts.type.cgroup", (POSIX, TYPE), |lab| {
        lab.base()
            .mount("/sys", "sysfs", "sysfs", &["ro"])
            .mount("/sys/fs/cgroup", "cgroup", "cgroup", &["ro"])
            .inside(|seen| match seen.mount("/sys/fs/cgroup")?["type"].as_str() {
                Some("cgroup2") => Ok(()),
                other => fail(format!("it is a {other:?}")),
            })
    }),
    must("config.mounts.type.overlay", (POSIX, TYPE), |lab| {
        if !text("/proc/filesystems").contains("\toverlay") {
            return skip("no overlay file system");
        }
        lab.file("lower/file", "here", 0o644)?;
        let [lower, upper, work] = ["lower", "upper", "work"].map(|name| lab.subdir(name));
        let options = [
            format!("lowerdir={}", lower?.display()),
            format!("upperdir={}", upper?.display()),
            format!("workdir={}", work?.display()),
        ];
        lab.base()
            .mount("/data", "overlay", "overlay", &options.each_ref().map(String::as_str))
            .reads("/data/file", "here")
    }),
    should("config.mounts.data.size", (OPTIONS, DATA), |lab| {
        has_data(lab, &["size=64k"], json!(["size=64k"]))
    }),
    should("config.mounts.data.nr-inodes", (OPTIONS, DATA), |lab| {
        has_data(lab, &["nr_inodes=17"], json!(["nr_inodes=17"]))
    }),
    should("config.mounts.data.several", (OPTIONS, DATA), |lab| {
        has_data(lab, &["size=64k", "nosuid", "nr_inodes=17"], json!(["size=64k", "nr_inodes=17"]))
    }),
    should("config.mounts.data.mode", (OPTIONS, DATA), |lab| {
        lab.base()
            .mount("/data", "tmpfs", "tmpfs", &["mode=1750", "uid=7", "gid=8"])
            .finds("/data", json!({ "mode": 0o1750, "uid": 7, "gid": 8 }))
    }),
    must("config.mounts.data.invalid", (CREATE, ERROR), |lab| {
        lab.base().mount("/data", "tmpfs", "tmpfs", &["size=what"]).refused("/data|size")
    }),
    must("config.mounts.data.unknown", (CREATE, ERROR), |lab| {
        lab.base().mount("/data", "tmpfs", "tmpfs", &["no-such-option"]).refused("/data|no-such-option")
    }),
];

/// A tmpfs with these options has these of its own.
fn has_data(lab: &Lab<'_>, options: &[&str], wanted: serde_json::Value) -> Outcome {
    lab.base().mount("/data", "tmpfs", "tmpfs", options).inside(|seen| {
        let data = &seen.mount("/data")?["data"];
        let list = |value: &serde_json::Value| value.as_array().cloned().unwrap_or_default();
        expect(list(&wanted).iter().all(|option| list(data).contains(option)), format!("its data is {data}"))
    })
}
