//! features.md and features-linux.md: the document that `features` prints.

use serde_json::{Value, json};

use crate::clause::{Clause, Outcome, Stop, callers, expect, fail, must, should};
use crate::lab::Lab;

const FEATURES: &str = "features.md#specification-version";
const HOOKS: &str = "features.md#hooks";
const OPTIONS: &str = "features.md#mount-options";
const ANNOTATIONS: &str = "features.md#annotations";
const UNSAFE: &str = "features.md#unsafe-annotations-in-configjson";
const CGROUP: &str = "features-linux.md#cgroup";
const RDT: &str = "features-linux.md#intel-rdt";
const ACCEPT: &str = "The runtime MUST accept this value as the ociVersion property of config.json.";
const IMPLEMENTED: &str = "(bool, OPTIONAL) represents whether the runtime supports it.";
const NEWER: &str = "The Features structure MUST NOT contain properties that are not defined in this version of the … Specification.";
/// Properties and the minor versions in which they came.
const SINCE: [(&str, u64); 6] = [
    ("/potentiallyUnsafeConfigAnnotations", 2),
    ("/linux/mountExtensions", 2),
    ("/linux/netDevices", 3),
    ("/linux/memoryPolicy", 3),
    ("/linux/intelRdt/schemata", 3),
    ("/linux/intelRdt/monitoring", 3),
];

pub(crate) const CLAUSES: &[Clause] = &[
    must(
        "features.version.min",
        (FEATURES, "ociVersionMin (string, REQUIRED) The minimum recognized version"),
        |lab| {
            expect(
                version(&document(lab)?, "ociVersionMin").is_some(),
                "there is no ociVersionMin of three numbers",
            )
        },
    ),
    must(
        "features.version.max",
        (FEATURES, "ociVersionMax (string, REQUIRED) The maximum recognized version"),
        |lab| {
            expect(
                version(&document(lab)?, "ociVersionMax").is_some(),
                "there is no ociVersionMax of three numbers",
            )
        },
    ),
    must("features.version.min.accepted", (FEATURES, ACCEPT), |lab| {
        lab.with("ociVersion", document(lab)?["ociVersionMin"].clone()).runs()
    }),
    must("features.version.max.accepted", (FEATURES, ACCEPT), |lab| {
        lab.with("ociVersion", document(lab)?["ociVersionMax"].clone()).runs()
    }),
    must(
        "features.version.order",
        (FEATURES, "The value MUST NOT be less than the value of the ociVersionMin property."),
        |lab| {
            let document = document(lab)?;
            expect(
                version(&document, "ociVersionMax") >= version(&document, "ociVersionMin"),
                "the maximum is below the minimum",
            )
        },
    ),
    must("features.version.nothing-newer", (FEATURES, NEWER), |lab| {
        let document = document(lab)?;
        let Some([1, minor, _]) = version(&document, "ociVersionMax") else {
            return Ok(());
        };
        let newer = SINCE.iter().find(|(path, since)| *since > minor && document.pointer(path).is_some());
        expect(newer.is_none(), format!("it has {newer:?}, and is of version 1.{minor}"))
    }),
    must(
        "features.hooks",
        (HOOKS, "hooks (array of strings, OPTIONAL) The recognized names of the hooks."),
        |lab| names(lab, "/hooks").map(drop),
    ),
    must(
        "features.hooks.supported",
        (HOOKS, "The runtime MUST support the elements in this array as the hooks property of config.json."),
        |lab| {
            let names = names(lab, "/hooks")?;
            let bundle = names.iter().fold(lab.base(), |draft, name| draft.hook(name, name)).save()?;
            let container = bundle.clone().create()?;
            container.start()?;
            container.end()?;
            container.delete()?;
            names.iter().try_for_each(|name| bundle.record(name).map(drop))
        },
    ),
    must(
        "features.mount-options",
        (OPTIONS, "mountOptions (array of strings, OPTIONAL) The recognized names of the mount options"),
        |lab| names(lab, "/mountOptions").map(drop),
    ),
    must(
        "features.mount-options.recognized",
        (
            OPTIONS,
            "The runtime MUST recognize the elements in this array as the options of mounts objects in config.json.",
        ),
        |lab| {
            // What changes an existing mount, or needs a source or a mapping, is no option of a new tmpfs.
            let others = [
                "bind",
                "rbind",
                "remount",
                "idmap",
                "ridmap",
                "src-nofollow",
                "dest-nofollow",
                "copy-symlink",
            ];
            let draft = names(lab, "/mountOptions")?
                .iter()
                .filter(|option| !others.contains(&option.as_str()))
                .fold(lab.base(), |draft, option| {
                    draft.mount(&format!("/data/{option}"), "tmpfs", "tmpfs", &[option])
                });
            draft.runs()
        },
    ),
    should(
        "features.mount-options.none-of-file-systems",
        (OPTIONS, "Linux: this array SHOULD NOT contain filesystem-specific mount options"),
        |lab| {
            let names = names(lab, "/mountOptions")?;
            let own = [
                "size",
                "mode",
                "uid",
                "gid",
                "newinstance",
                "ptmxmode",
                "lowerdir",
                "upperdir",
                "workdir",
                "hidepid",
            ];
            let bad = names.iter().find(|name| own.contains(&name.as_str()));
            expect(bad.is_none(), format!("it has {bad:?}"))
        },
    ),
    must(
        "features.annotations",
        (
            ANNOTATIONS,
            "Annotations MUST be a key-value map that follows the same convention as … the annotations property of config.json.",
        ),
        |lab| {
            let document = document(lab)?;
            let bad = document["annotations"]
                .as_object()
                .and_then(|map| map.iter().find(|(key, value)| key.is_empty() || !value.is_string()));
            expect(bad.is_none(), format!("the annotation {bad:?} is not a string for a string"))?;
            let is = &document["annotations"];
            expect(is.is_null() || is.is_object(), "annotations is no map")
        },
    ),
    must(
        "features.unsafe-annotations",
        (UNSAFE, "potentiallyUnsafeConfigAnnotations (array of strings, OPTIONAL)"),
        |lab| names(lab, "/potentiallyUnsafeConfigAnnotations").map(drop),
    ),
    must(
        "features.linux.namespaces",
        (
            "features-linux.md#namespaces",
            "namespaces (array of strings, OPTIONAL) The recognized names of the namespaces",
        ),
        |lab| names(lab, "/linux/namespaces").map(drop),
    ),
    must(
        "features.linux.namespaces.recognized",
        (
            "features-linux.md#namespaces",
            "The runtime MUST recognize the elements in this array as the type of linux.namespaces objects in config.json.",
        ),
        |lab| {
            let draft =
                names(lab, "/linux/namespaces")?.iter().fold(lab.base(), |draft, kind| match kind.as_str() {
                    "user" => draft.user_namespace(300_000),
                    kind => draft.namespace(kind),
                });
            draft.runs()
        },
    ),
    must(
        "features.linux.capabilities",
        (
            "features-linux.md#capabilities",
            "capabilities (array of strings, OPTIONAL) The recognized names of the capabilities",
        ),
        |lab| {
            let names = names(lab, "/linux/capabilities")?;
            let bad = names.iter().find(|name| !name.starts_with("CAP_"));
            expect(bad.is_none(), format!("{bad:?} is no capability"))
        },
    ),
    must(
        "features.linux.capabilities.recognized",
        (
            "features-linux.md#capabilities",
            "The runtime MUST recognize the elements in this array in the process.capabilities object of config.json.",
        ),
        |lab| {
            let names = names(lab, "/linux/capabilities")?;
            lab.with("process/capabilities", json!({ "bounding": names })).inside(|seen| {
                let own = std::fs::read_to_string("/proc/self/status")?;
                let own = own.lines().find_map(|line| line.strip_prefix("CapBnd:")).unwrap_or("").trim();
                let most = u64::from_str_radix(own, 16)?.count_ones() as usize;
                let has = seen.at("capabilities/bounding").as_array().map_or(0, Vec::len);
                expect(has == most.min(names.len()), format!("{has} of {most} capabilities are there"))
            })
        },
    ),
    must("features.linux.cgroup.v1", (CGROUP, IMPLEMENTED), |lab| flag(lab, "/linux/cgroup/v1")),
    must("features.linux.cgroup.v2", (CGROUP, IMPLEMENTED), |lab| flag(lab, "/linux/cgroup/v2")),
    must("features.linux.cgroup.systemd", (CGROUP, IMPLEMENTED), |lab| flag(lab, "/linux/cgroup/systemd")),
    must("features.linux.cgroup.systemd-user", (CGROUP, IMPLEMENTED), |lab| {
        flag(lab, "/linux/cgroup/systemdUser")
    }),
    must("features.linux.cgroup.rdma", (CGROUP, IMPLEMENTED), |lab| flag(lab, "/linux/cgroup/rdma")),
    must("features.linux.apparmor", ("features-linux.md#apparmor", IMPLEMENTED), |lab| {
        flag(lab, "/linux/apparmor/enabled")
    }),
    must("features.linux.selinux", ("features-linux.md#selinux", IMPLEMENTED), |lab| {
        flag(lab, "/linux/selinux/enabled")
    }),
    must("features.linux.rdt.enabled", (RDT, IMPLEMENTED), |lab| flag(lab, "/linux/intelRdt/enabled")),
    must("features.linux.rdt.schemata", (RDT, IMPLEMENTED), |lab| flag(lab, "/linux/intelRdt/schemata")),
    must("features.linux.rdt.monitoring", (RDT, IMPLEMENTED), |lab| flag(lab, "/linux/intelRdt/monitoring")),
    must("features.linux.idmap", ("features-linux.md#mountextensions", IMPLEMENTED), |lab| {
        flag(lab, "/linux/mountExtensions/idmap/enabled")
    }),
    must("features.linux.net-devices", ("features-linux.md#netdevices", IMPLEMENTED), |lab| {
        flag(lab, "/linux/netDevices/enabled")
    }),
    callers(
        "callers.features.only-json",
        (
            "callers: features",
            "features prints one JSON document and nothing else, on standard output (docker, CRI-O reads both streams together).",
        ),
        |lab| {
            let done = lab.run(["features"])?.ok()?;
            serde_json::from_str::<Value>(&done.stdout())?;
            expect(done.stderr().is_empty(), format!("stderr has {:?}", done.stderr()))
        },
    ),
];

/// What `features` prints. A runtime MAY do without.
pub(super) fn document(lab: &Lab<'_>) -> Result<Value, Stop> {
    let done = lab.run(["features"])?;
    match done.code() {
        0 => Ok(serde_json::from_str(&done.stdout())?),
        _ => crate::clause::skip("this runtime prints no features, which it MAY"),
    }
}

/// The three numbers of a version.
fn version(document: &Value, name: &str) -> Option<[u64; 3]> {
    let text = document[name].as_str()?;
    let core = text.split(['-', '+']).next()?;
    let numbers: Vec<u64> = core.split('.').filter_map(|number| number.parse().ok()).collect();
    <[u64; 3]>::try_from(numbers).ok()
}

/// An array of strings, all different; none where there is no such property.
pub(super) fn names(lab: &Lab<'_>, path: &str) -> Result<Vec<String>, Stop> {
    let document = document(lab)?;
    let value = document.pointer(path).unwrap_or(&Value::Null);
    if value.is_null() {
        lab.note(format!("{path} is not there, which it MAY"));
        return Ok(Vec::new());
    }
    let Some(list) = value.as_array() else {
        return fail(format!("{path} is no array"));
    };
    let names: Vec<String> = list.iter().filter_map(Value::as_str).map(str::to_owned).collect();
    expect(names.len() == list.len(), format!("{path} has more than strings"))?;
    let unique: std::collections::BTreeSet<&String> = names.iter().collect();
    expect(unique.len() == names.len(), format!("{path} names something twice"))?;
    Ok(names)
}

/// True, false, or not there.
fn flag(lab: &Lab<'_>, path: &str) -> Outcome {
    let document = document(lab)?;
    let value = document.pointer(path).unwrap_or(&Value::Null);
    if value.is_null() {
        lab.note("it is not there, which it MAY");
    }
    expect(value.is_null() || value.is_boolean(), format!("{path} is {value}"))
}
