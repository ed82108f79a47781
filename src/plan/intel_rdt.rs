//! `linux.intelRdt`: config-linux.md, "IntelRdt", and the kernel's resctrl.rst.

use crate::error::{Doing, Result, invalid};
use crate::spec::oci::{Linux, LinuxIntelRdt};

/// The container's place in the resctrl file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IntelRdt {
    /// Its class of service.
    pub group: Group,
    /// `l3CacheSchema` and `memBwSchema`, in this order: what a group that exists has to have already.
    pub limits: Vec<String>,
    /// `schemata`, written after them.
    pub schemata: Vec<String>,
    /// The name of its monitoring group, if it gets one.
    pub monitor: Option<String>,
}

/// A class of service: a directory of resctrl.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Group {
    /// `/`: the file system's root.
    Default,
    /// `closID`: made where it is missing if there is something to write, and stays.
    Named(String),
    /// The container's own, of its id: made for it, and removed with it.
    Own(String),
}

impl IntelRdt {
    /// Whether anything is written to `schemata`.
    pub fn sets_limits(&self) -> bool {
        !self.limits.is_empty() || !self.schemata.is_empty()
    }
}

/// Plans `linux.intelRdt` for the container of this id.
pub fn plan(linux: &Linux, id: &str) -> Result<Option<IntelRdt>> {
    linux.intel_rdt().as_ref().map(|rdt| one(rdt, id)).transpose().doing(|| "linux.intelRdt")
}

fn one(rdt: &LinuxIntelRdt, id: &str) -> Result<IntelRdt> {
    // Engines write an absent string as an empty one.
    let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let group = match given(rdt.clos_id()) {
        None => Group::Own(directory(id).doing(|| "closID is not set, and the container's id")?),
        Some(clos) if clos == "/" => Group::Default,
        Some(clos) => Group::Named(directory(&clos).doing(|| "closID")?),
    };
    let limits = limits(rdt.l3_cache_schema().as_deref(), rdt.mem_bw_schema().as_deref())?;
    let lines = rdt.schemata().iter().flatten().enumerate();
    let schemata = lines.map(|(index, text)| line(text).doing(|| format!("schemata[{index}]")));
    Ok(IntelRdt {
        group,
        limits,
        schemata: schemata.collect::<Result<_>>()?,
        monitor: match rdt.enable_monitoring() {
            Some(true) => Some(directory(id).doing(|| "enableMonitoring: the container's id")?),
            _ => None,
        },
    })
}

/// `l3CacheSchema` and `memBwSchema` as lines of `schemata`, in this order.
pub fn limits(cache: Option<&str>, bandwidth: Option<&str>) -> Result<Vec<String>> {
    let mut limits = Vec::new();
    if let Some(cache) = cache {
        // That it has one line and begins with L3: is only recommended.
        limits.extend(cache.lines().filter(|line| !line.is_empty()).map(str::to_owned));
    }
    // Engines write an absent string as an empty one.
    if let Some(bandwidth) = bandwidth.filter(|text| !text.is_empty()) {
        if !bandwidth.starts_with("MB:") {
            return Err(invalid(format!("memBwSchema: {bandwidth:?} does not begin with \"MB:\"")));
        }
        limits.push(line(bandwidth).doing(|| "memBwSchema")?);
    }
    Ok(limits)
}

fn line(text: &str) -> Result<String> {
    match text.is_empty() || text.contains(['\n', '\0']) {
        true => Err(invalid(format!("{text:?} is not one line"))),
        false => Ok(text.to_owned()),
    }
}

/// A group's name: one path component, and none of the directories that are resctrl's own.
fn directory(name: &str) -> Result<String> {
    const LONGEST: usize = 255;
    const RESERVED: [&str; 5] = [".", "..", "info", "mon_data", "mon_groups"];
    if RESERVED.contains(&name) {
        return Err(invalid(format!("{name:?} is a directory of resctrl itself")));
    }
    match name.is_empty() || name.len() > LONGEST || name.contains(['/', '\n', '\0']) {
        true => Err(invalid(format!("{name:?} is not the name of a directory"))),
        false => Ok(name.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::{Group, IntelRdt, plan};
    use serde_json::{Value, json};

    fn planned(rdt: &Value) -> Result<IntelRdt, String> {
        let linux = serde_json::from_value(json!({ "intelRdt": rdt })).unwrap();
        plan(&linux, "web").map(Option::unwrap).map_err(|e| format!("{e:#}"))
    }

    #[test]
    fn the_group_is_the_containers_own_unless_one_is_named() {
        for none in [json!({}), json!({ "closID": "" })] {
            assert_eq!(planned(&none).unwrap().group, Group::Own("web".to_owned()));
        }
        assert_eq!(planned(&json!({ "closID": "gold" })).unwrap().group, Group::Named("gold".to_owned()));
        assert_eq!(planned(&json!({ "closID": "/" })).unwrap().group, Group::Default);
        assert_eq!(plan(&serde_json::from_value(json!({})).unwrap(), "web").unwrap(), None);
    }

    #[test]
    fn a_group_is_one_directory_and_none_of_resctrls() {
        let long = "x".repeat(256);
        for bad in ["a/b", "/a", "..", ".", "info", "mon_groups", "mon_data", "a\nb", "a\0b", long.as_str()] {
            let error = planned(&json!({ "closID": bad })).unwrap_err();
            assert!(error.starts_with("linux.intelRdt: closID: "), "{error}");
        }
        let linux = serde_json::from_value(json!({ "intelRdt": {} })).unwrap();
        assert!(plan(&linux, "info").is_err());
        let named =
            serde_json::from_value(json!({ "intelRdt": { "closID": "x", "enableMonitoring": true } }));
        assert!(plan(&named.unwrap(), "mon_data").unwrap_err().root_cause().to_string().contains("mon_data"));
    }

    #[test]
    fn the_cache_comes_before_the_bandwidth_and_both_before_the_schemata() {
        let rdt =
            json!({ "schemata": ["MB:0=20", "L2:0=f"], "memBwSchema": "MB:0=50", "l3CacheSchema": "L3:0=f" });
        let rdt = planned(&rdt).unwrap();
        assert_eq!(
            (rdt.limits, rdt.schemata),
            (
                vec!["L3:0=f".to_owned(), "MB:0=50".to_owned()],
                vec!["MB:0=20".to_owned(), "L2:0=f".to_owned()]
            )
        );
    }

    #[test]
    fn what_has_to_be_one_line_is_one() {
        for (bad, name) in [
            (json!({ "memBwSchema": "L3:0=f" }), "memBwSchema"),
            (json!({ "memBwSchema": "MB:0=20\nMB:1=30" }), "memBwSchema"),
            (json!({ "schemata": ["L3:0=f", "L3:0=f\nMB:0=20"] }), "schemata[1]"),
            (json!({ "schemata": [""] }), "schemata[0]"),
        ] {
            let error = planned(&bad).unwrap_err();
            assert!(error.starts_with(&format!("linux.intelRdt: {name}: ")), "{error}");
        }
        // Only recommended: config-linux.md says SHOULD NOT.
        assert_eq!(planned(&json!({ "l3CacheSchema": "L3DATA:0=f\nL3CODE:0=f\n" })).unwrap().limits.len(), 2);
    }

    #[test]
    fn monitoring_is_asked_for() {
        assert_eq!(planned(&json!({ "enableMonitoring": true })).unwrap().monitor.as_deref(), Some("web"));
        // Of versions before 1.3, and replaced by it.
        let old = json!({ "enableMonitoring": false, "enableCMT": true, "enableMBM": true });
        assert_eq!(planned(&old).unwrap().monitor, None);
    }
}
