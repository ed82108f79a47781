//! bundle.md, and of config.md annotations, extensibility and valid values.

use serde_json::{Value, json};

use crate::clause::{Clause, Outcome, callers, must, same};
use crate::lab::Lab;

const BUNDLE: &str = "bundle.md#container-format";
const ANNOTATIONS: &str = "config.md#annotations";
const EXTENSIBILITY: &str = "config.md#extensibility";
const VERSION: &str = "config.md#specification-version";
const VALUES: &str = "config.md#valid-values";
const INVALID: &str = "Runtimes MUST generate an error when invalid or unsupported values are encountered.";
const FILE: &str =
    "This REQUIRED file MUST reside in the root of the bundle directory and MUST be named config.json.";

pub(crate) const CLAUSES: &[Clause] = &[
    must("bundle.config-json.named", (BUNDLE, FILE), |lab| {
        let bundle = lab.base().save()?;
        std::fs::rename(bundle.dir.join("config.json"), bundle.dir.join("Config.json"))?;
        lab.note_refusal(&bundle.try_create()?.fails()?, "config.json");
        lab.knows_nothing_of(&bundle.id)
    }),
    must("bundle.config-json.in-the-root", (BUNDLE, FILE), |lab| {
        let bundle = lab.base().save()?;
        std::fs::rename(bundle.dir.join("config.json"), bundle.rootfs("config.json"))?;
        lab.note_refusal(&bundle.try_create()?.fails()?, "config.json");
        lab.knows_nothing_of(&bundle.id)
    }),
    must("bundle.config-json.a-file", (BUNDLE, FILE), |lab| {
        let bundle = lab.base().save()?;
        std::fs::remove_file(bundle.dir.join("config.json"))?;
        std::fs::create_dir(bundle.dir.join("config.json"))?;
        lab.note_refusal(&bundle.try_create()?.fails()?, "config.json|directory");
        lab.knows_nothing_of(&bundle.id)
    }),
    must("bundle.config-json.empty", (VALUES, INVALID), |lab| {
        lab.base().text("").refused("config.json|EOF|empty|json")
    }),
    must("bundle.config-json.an-object", (VALUES, INVALID), |lab| {
        lab.base().text("[%]").refused("config.json|array|json")
    }),
    must("bundle.may-move", (BUNDLE, "that directory itself is not part of the bundle"), |lab| {
        let mut bundle = lab.base().save()?;
        let elsewhere = lab.dir.join("moved to a name with spaces");
        std::fs::rename(&bundle.dir, &elsewhere)?;
        bundle.dir = elsewhere;
        let container = bundle.create()?;
        container.start()?;
        container.end()?;
        container.seen()?;
        container.delete()
    }),
    must(
        "bundle.rootfs.root-path",
        (
            BUNDLE,
            "container's root filesystem: the directory referenced by root.path, if that property is set in config.json.",
        ),
        |lab| {
            let draft = lab.with("root/path", "another name").put("/etc/mark", "here", 0o644);
            let from = draft.rootfs("/");
            let to = from.with_file_name("another name");
            draft.tried(|| Ok(std::fs::rename(&from, &to)?)).reads("/etc/mark", "here")
        },
    ),
    callers(
        "callers.bundle.working-directory",
        ("callers: command line", "Without --bundle it is the working directory."),
        |lab| {
            let bundle = lab.base().save()?;
            let done =
                lab.call(["create", "--pid-file", "pid", &bundle.id]).cwd(&bundle.dir).finish()?.ok()?;
            let container = crate::container::Container::of(bundle, &done)?;
            container.remove()
        },
    ),
    must(
        "config.annotations.unknown",
        (ANNOTATIONS, "Runtimes MUST handle unknown annotation keys like any other unknown property."),
        |lab| {
            lab.with("annotations", json!({ "com.example.unknown": "1", "org.opencontainers.unknown": "2" }))
                .runs()
        },
    ),
    must(
        "config.annotations.defined",
        (ANNOTATIONS, "The following keys in the org.opencontainers namespaces MAY be used"),
        |lab| {
            let keys = json!({
                "org.opencontainers.image.os": "linux", "org.opencontainers.image.architecture": "amd64",
                "org.opencontainers.image.author": "nobody", "org.opencontainers.image.created": "2024-01-01T00:00:00Z",
                "org.opencontainers.image.stopSignal": "SIGKILL",
            });
            lab.with("annotations", keys).runs()
        },
    ),
    must("config.annotations.empty-value", (ANNOTATIONS, "Values MAY be an empty string."), |lab| {
        lab.with("annotations", json!({ "com.example.empty": "" })).runs()
    }),
    must(
        "config.annotations.empty-map",
        (ANNOTATIONS, "If there are no annotations then this property MAY either be absent or an empty map."),
        |lab| lab.with("annotations", json!({})).runs(),
    ),
    must("config.annotations.empty-key", (ANNOTATIONS, "Keys MUST NOT be an empty string."), |lab| {
        lab.with("annotations", json!({ "": "value" })).refused("annotation")
    }),
    must("config.annotations.values.strings", (ANNOTATIONS, "Values MUST be strings."), |lab| {
        lab.with("annotations", json!({ "com.example.number": 1 })).refused("annotation|string|json")
    }),
    must("config.annotations.map", (ANNOTATIONS, "Annotations MUST be a key-value map."), |lab| {
        lab.with("annotations", json!(["com.example.list"])).refused("annotation|map|object|array|json")
    }),
    must(
        "config.annotations.exact",
        (
            ANNOTATIONS,
            "annotations (object, OPTIONAL) contains arbitrary metadata for the container. This information MAY be structured or unstructured.",
        ),
        |lab| {
            let text = "{\"deep\": [1, \"two\\n\"]}  \u{fc}\u{1f433}";
            let container = lab.with("annotations", json!({ "com.example.text": text })).create()?;
            let state = container.state()?;
            same(
                "the annotation",
                state["annotations"]["com.example.text"].as_str().unwrap_or("none"),
                text,
            )?;
            container.remove()
        },
    ),
    must(
        "config.extensibility.process",
        (EXTENSIBILITY, "Runtimes MAY log unknown properties but MUST otherwise ignore them."),
        |lab| lab.with("process/unknown", json!({})).with("process/user/unknown", "1").runs(),
    ),
    must(
        "config.extensibility.mount",
        (EXTENSIBILITY, "Runtimes MAY log unknown properties but MUST otherwise ignore them."),
        |lab| lab.with("mounts/0/unknown", json!([1])).runs(),
    ),
    must(
        "config.extensibility.linux",
        (EXTENSIBILITY, "Runtimes MAY log unknown properties but MUST otherwise ignore them."),
        |lab| lab.with("linux/unknown", json!({ "a": null })).with("linux/resources/unknown/limit", 1).runs(),
    ),
    must(
        "config.extensibility.hook",
        (EXTENSIBILITY, "Runtimes MAY log unknown properties but MUST otherwise ignore them."),
        |lab| {
            lab.base()
                .hook("createRuntime", "hook")
                .with("hooks/createRuntime/0/unknown", 1)
                .with("hooks/unknownKind", json!([]))
                .runs()
        },
    ),
    must(
        "config.extensibility.old-property",
        (EXTENSIBILITY, "That includes not generating errors if they encounter an unknown property."),
        |lab| {
            // Of versions before 1.0, as old tools write it.
            lab.with("platform", json!({ "os": "linux", "arch": "amd64" })).runs()
        },
    ),
    must(
        "config.version.patch",
        (
            VERSION,
            "The … Specification follows semantic versioning and retains forward and backward compatibility within major versions.",
        ),
        |lab| lab.with("ociVersion", "1.0.99").runs(),
    ),
    must(
        "config.version.build",
        (VERSION, "ociVersion (string, REQUIRED) MUST be in SemVer v2.0.0 format"),
        |lab| lab.with("ociVersion", "1.0.2-rc.1+build.5").runs(),
    ),
    must(
        "config.version.number",
        (VERSION, "ociVersion (string, REQUIRED) MUST be in SemVer v2.0.0 format"),
        |lab| lab.with("ociVersion", 1).refused("ociVersion|version|json"),
    ),
    must(
        "config.version.leading-zero",
        (VERSION, "ociVersion (string, REQUIRED) MUST be in SemVer v2.0.0 format"),
        |lab| lab.with("ociVersion", "01.0.0").refused("ociVersion|version"),
    ),
    must("config.values.negative", (VALUES, INVALID), |lab| wrong(lab, "process/user/uid", json!(-1))),
    must("config.values.too-large", (VALUES, INVALID), |lab| {
        wrong(lab, "process/user/uid", json!(1_u64 << 40))
    }),
    must("config.values.fraction", (VALUES, INVALID), |lab| wrong(lab, "process/user/gid", json!(1.5))),
    must("config.values.text-for-list", (VALUES, INVALID), |lab| wrong(lab, "process/args", json!("/probe"))),
    must("config.values.number-in-list", (VALUES, INVALID), |lab| wrong(lab, "process/env/-", json!(1))),
    must("config.values.list-for-object", (VALUES, INVALID), |lab| wrong(lab, "linux", json!([]))),
    must("config.values.namespace-type", (VALUES, INVALID), |lab| {
        wrong(lab, "linux/namespaces/-", json!({ "type": "nothing" }))
    }),
];

fn wrong(lab: &Lab<'_>, path: &str, value: Value) -> Outcome {
    let name = path.split('/').rfind(|name| *name != "-").unwrap_or(path);
    lab.with(path, value).fails(&format!("{name}|json"))
}
