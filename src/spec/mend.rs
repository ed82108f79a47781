//! What the specification allows and the model of oci-spec does not. Looked at only when that has refused a
//! configuration.

use serde_json::Value;

use super::oci;

/// Makes the configuration one that the model takes; false if there is nothing of this kind in it.
pub(super) fn mend(config: &mut Value) -> bool {
    let dropped = drop_unknown_capabilities(config);
    if !dropped.is_empty() {
        crate::log::warn(format_args!("ignoring unknown or unavailable capabilities: {dropped:?}"));
    }
    let flags = name_scheduler_flags(config);
    let affinity = drop_empty_affinity(config);
    let pages = bound_huge_pages(config);
    !dropped.is_empty() || flags || affinity || pages
}

/// config.md: what can't be mapped to the kernel is a warning.
fn drop_unknown_capabilities(config: &mut Value) -> Vec<String> {
    let mut dropped = Vec::new();
    let sets = config.pointer_mut("/process/capabilities").and_then(Value::as_object_mut);
    for set in sets.into_iter().flat_map(serde_json::Map::values_mut) {
        let Some(names) = set.as_array_mut() else { continue };
        names.retain(|name| {
            // What is no string is the parser's to complain about.
            let known = serde_json::from_value::<oci::Capability>(name.clone()).is_ok() || !name.is_string();
            if let (false, Some(name)) = (known, name.as_str()) {
                if !dropped.iter().any(|d| d == name) {
                    dropped.push(name.to_owned());
                }
            }
            known
        });
    }
    dropped
}

/// Two names of `process.scheduler.flags` that the model spells in its own way.
fn name_scheduler_flags(config: &mut Value) -> bool {
    let flags = config.pointer_mut("/process/scheduler/flags").and_then(Value::as_array_mut);
    let mut named = false;
    for flag in flags.into_iter().flatten() {
        let name = match flag.as_str() {
            Some("SCHED_FLAG_RESET_ON_FORK") => "SCHED_RESET_ON_FORK",
            Some("SCHED_FLAG_DL_OVERRUN") => "SCHED_FLAG_D_L_OVERRUN",
            _ => continue,
        };
        *flag = name.into();
        named = true;
    }
    named
}

/// config.md: an empty list is as none.
fn drop_empty_affinity(config: &mut Value) -> bool {
    let Some(affinity) = config.pointer_mut("/process/execCPUAffinity").and_then(Value::as_object_mut) else {
        return false;
    };
    let before = affinity.len();
    affinity.retain(|_, list| list.as_str() != Some(""));
    affinity.len() < before
}

/// config-linux.md has a uint64 for `limit`, the model less; both are more than there can be.
fn bound_huge_pages(config: &mut Value) -> bool {
    let limits = config.pointer_mut("/linux/resources/hugepageLimits").and_then(Value::as_array_mut);
    let limits = limits.into_iter().flatten().filter_map(|entry| entry.get_mut("limit"));
    let too_much = limits.filter(|limit| limit.is_u64() && !limit.is_i64());
    too_much.map(|limit| *limit = i64::MAX.into()).count() > 0
}

/// `pids.limit` is OPTIONAL since 1.3. The model has 0 where it is absent, which is a limit: of no process.
pub(super) fn forget_absent_limit(spec: &mut oci::Spec, content: &[u8]) {
    let resources = spec.linux_mut().as_mut().and_then(|linux| linux.resources_mut().as_mut());
    let Some(resources) = resources else { return };
    if resources.pids().as_ref().is_none_or(|pids| pids.limit() != 0) {
        return;
    }
    let given = serde_json::from_slice::<Value>(content).ok();
    if given.is_some_and(|config| config.pointer("/linux/resources/pids/limit").is_none()) {
        resources.set_pids(None);
    }
}

#[cfg(test)]
mod tests {
    use crate::spec::parse;

    fn process(more: &str) -> crate::error::Result<crate::spec::oci::Process> {
        let config =
            format!(r#"{{"ociVersion":"1.0.0","process":{{"user":{{"uid":0,"gid":0}},"cwd":"/",{more}}}}}"#);
        parse(config.as_bytes()).map(|spec| spec.process().clone().unwrap())
    }

    #[test]
    fn an_unknown_capability_is_dropped() {
        let process = process(r#""capabilities":{"bounding":["CAP_TIME_TRAVEL","CAP_KILL"]}"#).unwrap();
        assert_eq!(process.capabilities().as_ref().unwrap().bounding().as_ref().unwrap().len(), 1);
    }

    #[test]
    fn all_flags_of_a_scheduler_are_known_and_no_others() {
        let names = "RESET_ON_FORK RECLAIM DL_OVERRUN KEEP_POLICY KEEP_PARAMS UTIL_CLAMP_MIN UTIL_CLAMP_MAX";
        let flags: Vec<String> = names.split(' ').map(|name| format!("\"SCHED_FLAG_{name}\"")).collect();
        let scheduler =
            |flags: &str| process(&format!(r#""scheduler":{{"policy":"SCHED_OTHER","flags":[{flags}]}}"#));
        let all = scheduler(&flags.join(",")).unwrap();
        assert_eq!(all.scheduler().as_ref().unwrap().flags().as_ref().unwrap().len(), 7);
        assert!(scheduler(r#""SCHED_FLAG_DL_OVERRUN","SCHED_FLAG_X""#).is_err());
    }

    #[test]
    fn a_limit_of_processes_that_is_absent_is_none_and_not_0() {
        let pids = |json: &str| {
            let config = format!(r#"{{"ociVersion":"1.3.0","linux":{{"resources":{{"pids":{json}}}}}}}"#);
            let spec = parse(config.as_bytes()).unwrap();
            spec.linux().as_ref().unwrap().resources().as_ref().unwrap().pids().map(|pids| pids.limit())
        };
        assert_eq!((pids("{}"), pids(r#"{"limit":0}"#), pids(r#"{"limit":7}"#)), (None, Some(0), Some(7)));
    }

    #[test]
    fn an_empty_list_of_processors_is_as_none() {
        let affinity = |json: &str| process(&format!(r#""execCPUAffinity":{json}"#));
        let empty = affinity(r#"{"initial":"0-1","final":""}"#).unwrap();
        assert!(empty.exec_cpu_affinity().as_ref().unwrap().cpu_affinity_final().is_none());
        assert!(affinity(r#"{"initial":"x","final":""}"#).is_err());
    }

    #[test]
    fn more_huge_pages_than_the_model_counts_are_as_many_as_it_does() {
        let config = |limit: &str| {
            let entry = format!(r#"{{"pageSize":"2MB","limit":{limit}}}"#);
            format!(r#"{{"ociVersion":"1.0.0","linux":{{"resources":{{"hugepageLimits":[{entry}]}}}}}}"#)
        };
        let spec = parse(config("18446744073709551615").as_bytes()).unwrap();
        let resources = spec.linux().as_ref().unwrap().resources().as_ref().unwrap();
        assert_eq!(resources.hugepage_limits().as_ref().unwrap()[0].limit(), i64::MAX);
        assert!(parse(config("18446744073709551616").as_bytes()).is_err());
    }
}
