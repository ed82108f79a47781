//! config.md: specification version, root, extensibility, valid values.

use serde_json::json;

use crate::clause::{Clause, must, should};

const VERSION: &str = "config.md#specification-version";
const ROOT: &str = "config.md#root";
const BUNDLE: &str = "bundle.md#container-format";
const EXTENSIBILITY: &str = "config.md#extensibility";
const VALUES: &str = "config.md#valid-values";

pub(crate) const CLAUSES: &[Clause] = &[
    must("config.version.required", (VERSION, "ociVersion (string, REQUIRED)"), |lab| {
        lab.without("ociVersion").refused("ociVersion|version")
    }),
    must("config.version.semver", (VERSION, "ociVersion MUST be in SemVer v2.0.0 format"), |lab| {
        lab.with("ociVersion", "one").refused("ociVersion|version")
    }),
    must(
        "config.version.semver.three-numbers",
        (VERSION, "ociVersion MUST be in SemVer v2.0.0 format"),
        |lab| lab.with("ociVersion", "1.0").refused("ociVersion|version"),
    ),
    must(
        "config.version.backward-compatible",
        (
            VERSION,
            "if a configuration is compliant with version 1.1, it is compatible with all runtimes that support any 1.1 or later release",
        ),
        |lab| {
            ["1.0.0", "1.1.0", "1.2.0"].iter().try_for_each(|version| lab.with("ociVersion", *version).runs())
        },
    ),
    must("config.version.pre-release", (VERSION, "ociVersion MUST be in SemVer v2.0.0 format"), |lab| {
        lab.with("ociVersion", "1.0.2-dev").runs()
    }),
    must("config.root.required", (ROOT, "On all other platforms, this field is REQUIRED."), |lab| {
        lab.without("root").refused("root")
    }),
    must(
        "config.root.path.required",
        (ROOT, "path (string, REQUIRED) Specifies the path to the root filesystem for the container."),
        |lab| lab.without("root/path").refused("root"),
    ),
    must(
        "config.root.path.relative",
        (ROOT, "path is either an absolute path or a relative path to the bundle"),
        |lab| lab.with("root/path", "./rootfs").put("/etc/mark", "here", 0o644).reads("/etc/mark", "here"),
    ),
    must(
        "config.root.path.absolute",
        (ROOT, "path is either an absolute path or a relative path to the bundle"),
        |lab| {
            let draft = lab.base().put("/etc/mark", "here", 0o644);
            let path = json!(draft.rootfs("/"));
            draft.with("root/path", path).reads("/etc/mark", "here")
        },
    ),
    must(
        "config.root.path.exists",
        (ROOT, "A directory MUST exist at the path declared by the field."),
        |lab| lab.with("root/path", "nowhere").refused("nowhere"),
    ),
    must(
        "config.root.path.directory",
        (ROOT, "A directory MUST exist at the path declared by the field."),
        |lab| lab.with("root/path", "rootfs/probe").refused("rootfs"),
    ),
    should("config.root.path.any-name", (ROOT, "The value SHOULD be the conventional rootfs."), |lab| {
        lab.with("root/path", "rootfs/../rootfs/.").runs()
    }),
    must("config.root.is-the-root", (ROOT, "root specifies the container's root filesystem."), |lab| {
        lab.base().put("/etc/mark", "here", 0o644).ask("list", "/..").inside(|seen| {
            seen.is("list/~1..", json!(["bin", "data", "dev", "etc", "hooks", "probe", "proc", "sys", "tmp"]))
        })
    }),
    must(
        "config.root.readonly.true",
        (
            ROOT,
            "readonly (bool, OPTIONAL) If true then the root filesystem MUST be read-only inside the container",
        ),
        |lab| lab.with("root/readonly", true).opens("x", "/tmp/new", Some("EROFS")),
    ),
    must(
        "config.root.readonly.existing-files",
        (ROOT, "If true then the root filesystem MUST be read-only inside the container"),
        |lab| {
            lab.with("root/readonly", true).put("/etc/mark", "here", 0o666).opens(
                "w",
                "/etc/mark",
                Some("EROFS"),
            )
        },
    ),
    must(
        "config.root.readonly.not-the-mounts",
        (ROOT, "If true then the root filesystem MUST be read-only inside the container"),
        |lab| {
            lab.with("root/readonly", true).mount("/data", "tmpfs", "tmpfs", &[]).opens(
                "x",
                "/data/new",
                None,
            )
        },
    ),
    must("config.root.readonly.default", (ROOT, "readonly … defaults to false"), |lab| {
        lab.base().opens("x", "/tmp/new", None)
    }),
    must("config.root.readonly.false", (ROOT, "readonly … defaults to false"), |lab| {
        lab.with("root/readonly", false).opens("x", "/tmp/new", None)
    }),
    must(
        "config.bundle.config-json",
        (BUNDLE, "config.json: This REQUIRED file MUST reside in the root of the bundle directory"),
        |lab| {
            let bundle = lab.base().save()?;
            std::fs::remove_file(bundle.dir.join("config.json"))?;
            lab.note_refusal(&bundle.try_create()?.fails()?, "config.json");
            lab.knows_nothing_of(&bundle.id)
        },
    ),
    must(
        "config.extensibility.unknown-property",
        (EXTENSIBILITY, "Runtimes MAY log unknown properties but MUST otherwise ignore them."),
        |lab| lab.with("unknownProperty", json!({ "deep": [1] })).runs(),
    ),
    must(
        "config.extensibility.unknown-property.nested",
        (EXTENSIBILITY, "That includes not generating errors if they encounter an unknown property."),
        |lab| {
            let nested = [
                "process/unknown",
                "root/unknown",
                "linux/unknown",
                "linux/resources/unknown",
                "mounts/0/unknown",
            ];
            nested.iter().fold(lab.base(), |draft, path| draft.with(path, "x")).runs()
        },
    ),
    must(
        "config.values.wrong-type",
        (VALUES, "Runtimes MUST generate an error when invalid or unsupported values are encountered."),
        |lab| lab.with("root/readonly", "yes").refused("readonly"),
    ),
    must(
        "config.values.not-json",
        (VALUES, "Runtimes MUST generate an error when invalid or unsupported values are encountered."),
        |lab| lab.base().text("% }").refused("config.json|json|character|trailing"),
    ),
    must(
        "config.values.mount-type",
        (VALUES, "Runtimes MUST generate an error when invalid or unsupported values are encountered."),
        |lab| lab.base().mount("/data", "nosuchfs", "none", &[]).refused("nosuchfs|/data"),
    ),
];
