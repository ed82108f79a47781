//! What the specification has as REQUIRED and the model of oci-spec fills in: a mapping without its host's id would
//! be one to root.

use serde_json::{Map, Value};

/// An object's keys from the configuration's root, without the places in arrays, and the names that it needs.
type Rule = (&'static [&'static str], &'static [&'static str]);

/// config.md and config-linux.md. What the model itself requires is not here.
const RULES: [Rule; 17] = [
    (&["linux", "uidMappings"], MAPPING),
    (&["linux", "gidMappings"], MAPPING),
    (&["mounts", "uidMappings"], MAPPING),
    (&["mounts", "gidMappings"], MAPPING),
    (&["linux", "devices"], &["path", "major", "minor"]),
    (&["linux", "resources", "devices"], &["allow"]),
    (&["linux", "resources", "hugepageLimits"], &["pageSize", "limit"]),
    (&["linux", "resources", "network", "priorities"], &["name", "priority"]),
    (&["linux", "resources", "blockIO", "weightDevice"], &["major", "minor"]),
    (&["linux", "resources", "blockIO", "throttleReadBpsDevice"], RATE),
    (&["linux", "resources", "blockIO", "throttleWriteBpsDevice"], RATE),
    (&["linux", "resources", "blockIO", "throttleReadIOPSDevice"], RATE),
    (&["linux", "resources", "blockIO", "throttleWriteIOPSDevice"], RATE),
    (&["process", "consoleSize"], &["height", "width"]),
    (&["process", "user"], &["uid", "gid"]),
    (&["process", "rlimits"], &["soft", "hard"]),
    (&["process", "ioPriority"], &["class", "priority"]),
];
const MAPPING: &[&str] = &["containerID", "hostID", "size"];
const RATE: &[&str] = &["major", "minor", "rate"];

/// An object that has just ended.
pub(super) struct Ended<'a, 'n> {
    /// The configuration up to its closing brace.
    pub(super) text: &'a [u8],
    /// Where it begins in `text`.
    pub(super) begin: usize,
    /// The names before it that lead to it; one may be there several times in a row.
    pub(super) keys: &'n dyn Fn() -> Vec<&'a [u8]>,
    /// The innermost of `keys`.
    pub(super) key: &'a [u8],
    /// Its own names, as they are written.
    pub(super) names: &'n [&'a [u8]],
}

/// Says what an object lacks, if it does.
pub(super) fn check(object: &Ended<'_, '_>) -> Option<String> {
    let mut rules = RULES.iter().filter(|(path, _)| path.last().is_some_and(|p| p.as_bytes() == object.key));
    rules.find_map(|(path, needed)| {
        let lacks = |name: &&&str| !object.names.contains(&name.as_bytes());
        needed.iter().find(lacks)?;
        if !(object.keys)().into_iter().eq(path.iter().map(|key| key.as_bytes())) {
            return None;
        }
        // Looked at closely: names may be written with escapes, and what is needed may depend on values.
        let content: Map<String, Value> = serde_json::from_slice(object.text.get(object.begin..)?).ok()?;
        let fifo = *path == ["linux", "devices"] && content.get("type").is_some_and(|kind| kind == "p");
        let has = |name: &str| content.contains_key(name) || (fifo && ["major", "minor"].contains(&name));
        let name = needed.iter().find(|name| !has(name))?;
        Some(format!("{}: missing field `{name}`", super::pointer::after(object.text)))
    })
}

#[cfg(test)]
mod tests {
    use crate::spec::parse;
    use serde_json::{Value, json};

    fn error(more: &Value) -> Option<String> {
        let process = json!({ "user": { "uid": 0, "gid": 0 }, "cwd": "/" });
        let mut config = json!({ "ociVersion": "1.3.0", "process": process });
        for (name, value) in more.as_object().unwrap() {
            let part = &mut config[name];
            match value.as_object() {
                Some(new) if part.is_object() => part.as_object_mut().unwrap().extend(new.clone()),
                _ => *part = value.clone(),
            }
        }
        parse(config.to_string().as_bytes()).err().map(|error| format!("{error:#}"))
    }

    /// What has all that a rule wants, and where; in the order of the rules.
    fn whole() -> Vec<(Value, &'static str)> {
        let mapping = json!({ "containerID": 0, "hostID": 5, "size": 1 });
        let rate = json!({ "major": 8, "minor": 0, "rate": 1 });
        let io =
            |name: &str, entry: Value| json!({ "linux": { "resources": { "blockIO": { name: entry } } } });
        let resources = |name: &str, entry: Value| json!({ "linux": { "resources": { name: entry } } });
        let process = |name: &str, entry: Value| json!({ "process": { name: entry } });
        let device = json!({ "path": "/dev/x", "type": "c", "major": 1, "minor": 3 });
        let limit = json!({ "pageSize": "2MB", "limit": 1 });
        let network =
            |entry: Value| json!({ "linux": { "resources": { "network": { "priorities": entry } } } });
        vec![
            (json!({ "linux": { "uidMappings": [mapping, mapping] } }), "/linux/uidMappings/1"),
            (json!({ "linux": { "gidMappings": [mapping] } }), "/linux/gidMappings/0"),
            (
                json!({ "mounts": [{ "destination": "/a", "uidMappings": [mapping] }] }),
                "/mounts/0/uidMappings/0",
            ),
            (
                json!({ "mounts": [{ "destination": "/a", "gidMappings": [mapping] }] }),
                "/mounts/0/gidMappings/0",
            ),
            (json!({ "linux": { "devices": [device] } }), "/linux/devices/0"),
            (resources("devices", json!([{ "allow": true }])), "/linux/resources/devices/0"),
            (resources("hugepageLimits", json!([limit])), "/linux/resources/hugepageLimits/0"),
            (network(json!([{ "name": "lo", "priority": 1 }])), "/linux/resources/network/priorities/0"),
            (
                io("weightDevice", json!([{ "major": 8, "minor": 0 }])),
                "/linux/resources/blockIO/weightDevice/0",
            ),
            (io("throttleReadBpsDevice", json!([rate])), "/linux/resources/blockIO/throttleReadBpsDevice/0"),
            (
                io("throttleWriteBpsDevice", json!([rate])),
                "/linux/resources/blockIO/throttleWriteBpsDevice/0",
            ),
            (
                io("throttleReadIOPSDevice", json!([rate])),
                "/linux/resources/blockIO/throttleReadIOPSDevice/0",
            ),
            (
                io("throttleWriteIOPSDevice", json!([rate])),
                "/linux/resources/blockIO/throttleWriteIOPSDevice/0",
            ),
            (process("consoleSize", json!({ "height": 1, "width": 1 })), "/process/consoleSize"),
            (process("user", json!({ "uid": 1, "gid": 1 })), "/process/user"),
            (
                process("rlimits", json!([{ "type": "RLIMIT_CORE", "soft": 1, "hard": 1 }])),
                "/process/rlimits/0",
            ),
            (
                process("ioPriority", json!({ "class": "IOPRIO_CLASS_BE", "priority": 1 })),
                "/process/ioPriority",
            ),
        ]
    }

    #[test]
    fn what_is_required_and_missing_is_refused_by_its_name_and_place() {
        let whole = whole();
        assert_eq!(whole.len(), super::RULES.len());
        for ((whole, at), (_, names)) in whole.into_iter().zip(super::RULES) {
            assert_eq!(error(&whole), None, "{whole}");
            for name in names {
                let mut lacking = whole.clone();
                lacking.pointer_mut(at).unwrap().as_object_mut().unwrap().remove(*name).unwrap();
                assert_eq!(error(&lacking).unwrap(), format!("{at}: missing field `{name}`"), "{lacking}");
            }
        }
    }

    #[test]
    fn what_is_not_at_that_place_or_not_needed_is_left_alone() {
        for fine in [
            json!({ "linux": { "devices": [{ "path": "/dev/x", "type": "p" }] } }),
            json!({ "novel": { "uidMappings": [{}], "user": {} }, "linux": { "x": { "devices": [{}] } } }),
            json!({ "annotations": {}, "linux": { "uidMappings": [], "resources": {} } }),
        ] {
            assert_eq!(error(&fine), None, "{fine}");
        }
        let error =
            error(&json!({ "linux": { "devices": [{ "path": "/dev/x", "type": "u", "minor": 1 }] } }));
        assert_eq!(error.unwrap(), "/linux/devices/0: missing field `major`");
    }

    #[test]
    fn a_name_that_is_written_with_escapes_is_there() {
        let config = |allow: &str| {
            format!(
                r#"{{"ociVersion":"1.3.0","linux":{{"resources":{{"devices":[{{{allow}"access":"rwm"}}]}}}}}}"#
            )
        };
        assert!(parse(config(r#""\u0061llow":true,"#).as_bytes()).is_ok());
        assert!(parse(config("").as_bytes()).is_err());
    }

    #[test]
    fn what_the_parser_says_goes_first() {
        let broken = r#"{"ociVersion":"1.3.0","linux":{"resources":{"devices":[{"access":"rwm"}]"#;
        let error = format!("{:#}", parse(broken.as_bytes()).unwrap_err());
        assert!(error.contains("not valid JSON"), "{error}");
        let wrong = r#"{"ociVersion":"1.3.0","linux":{"uidMappings":{"x":1}}}"#;
        let error = format!("{:#}", parse(wrong.as_bytes()).unwrap_err());
        assert!(error.contains("expected a sequence"), "{error}");
    }
}
