//! `features`: features.md, for engines that ask before they rely on something.

use serde_json::Value;

use crate::plan::{annotations, memory_policy, options, seccomp};
use crate::spec::features::{Taken, TakenBySeccomp, document};

/// The features document, with its keys in alphabetical order.
pub fn features() -> Value {
    document(&Taken {
        mount_options: &options::known(),
        seccomp: TakenBySeccomp {
            actions: &seccomp::ACTIONS,
            operators: &seccomp::OPERATORS,
            archs: &seccomp::archs(),
            known_flags: &seccomp::FLAGS,
            supported_flags: &seccomp::FLAGS,
        },
        memory_modes: &memory_policy::MODES.map(|(mode, _)| mode),
        memory_flags: &memory_policy::FLAGS.map(|(flag, _)| flag),
        unsafe_annotations: &annotations::unsafe_keys(),
    })
}

#[cfg(test)]
mod tests {
    use super::{Value, features, seccomp};
    use crate::error::{Kind, kind_of};
    use crate::plan::resources::Maker;
    use crate::plan::{HostFacts, Plan, Wishes, compile, options::Options};
    use crate::spec::record::Driver;
    use crate::spec::{Bundle, oci::Features};
    use serde_json::json;

    /// Compiles a configuration of a root and what is given.
    fn compiled(mut config: Value) -> crate::error::Result<Plan> {
        config["ociVersion"] = "1.3.0".into();
        config["root"] = json!({ "path": "rootfs" });
        let spec = crate::spec::parse(config.to_string().as_bytes()).unwrap();
        compile(&Bundle { dir: "/bundle".into(), spec }, "c", HostFacts::default(), Wishes::default())
    }

    fn listed(pointer: &str) -> Vec<String> {
        let list = features().pointer(pointer).unwrap().as_array().unwrap().clone();
        list.iter().map(|name| name.as_str().unwrap().to_owned()).collect()
    }

    fn process(more: Value) -> Value {
        let mut process = json!({ "user": { "uid": 0, "gid": 0 }, "cwd": "/", "args": ["sh"] });
        process.as_object_mut().unwrap().append(&mut more.as_object().unwrap().clone());
        json!({ "process": process })
    }

    #[test]
    fn every_property_is_one_that_the_model_has_and_none_is_unknown() {
        let read: Features = serde_json::from_value(features()).unwrap();
        assert_eq!(serde_json::to_value(read).unwrap(), features());
    }

    #[test]
    fn every_namespace_that_is_listed_is_planned() {
        let all: Vec<Value> =
            listed("/linux/namespaces").iter().map(|kind| json!({ "type": kind })).collect();
        let map = json!([{ "containerID": 0, "hostID": 0, "size": 1 }]);
        let plan =
            compiled(json!({ "linux": { "namespaces": all, "uidMappings": map, "gidMappings": map } }))
                .unwrap();
        assert_eq!(plan.namespaces.new.count_ones(), 8);
    }

    #[test]
    fn every_capability_that_is_listed_has_a_bit() {
        let all = listed("/linux/capabilities");
        let plan = compiled(process(json!({ "capabilities": { "bounding": all } }))).unwrap();
        assert_eq!(plan.process.unwrap().capabilities.bounding, (1 << all.len()) - 1);
    }

    #[test]
    fn every_hook_that_is_listed_is_planned() {
        let hooks: serde_json::Map<_, _> =
            listed("/hooks").into_iter().map(|kind| (kind, json!([{ "path": "/hook" }]))).collect();
        let plan = compiled(json!({ "hooks": hooks })).unwrap().hooks;
        let kinds = [
            plan.prestart,
            plan.create_runtime,
            plan.create_container,
            plan.start_container,
            plan.poststart,
            plan.poststop,
        ];
        assert!(kinds.iter().all(|hooks| hooks.len() == 1));
    }

    #[test]
    fn every_mount_option_that_is_listed_is_parsed() {
        for word in listed("/mountOptions") {
            assert!(Options::parse(&[&word]).is_ok(), "{word}");
        }
    }

    #[test]
    fn seccomp_takes_the_actions_that_are_listed_and_no_other() {
        let actions = "ALLOW ERRNO KILL KILL_PROCESS KILL_THREAD LOG NOTIFY TRACE TRAP";
        for action in actions.split(' ').map(|name| format!("SCMP_ACT_{name}")) {
            let seccomp = json!({ "defaultAction": action, "listenerPath": "/run/agent" });
            let taken = compiled(json!({ "linux": { "seccomp": seccomp } })).is_ok();
            assert_eq!(taken, listed("/linux/seccomp/actions").contains(&action), "{action}");
        }
    }

    #[test]
    fn seccomp_takes_the_architectures_that_are_listed_and_no_other() {
        let archs = "X86 X86_64 X32 ARM AARCH64 LOONGARCH64 M68K MIPS MIPS64 MIPS64N32 MIPSEL MIPSEL64 \
            MIPSEL64N32 PPC PPC64 PPC64LE S390 S390X SH SHEB PARISC PARISC64 RISCV64";
        for arch in archs.split_whitespace().map(|name| format!("SCMP_ARCH_{name}")) {
            let profile = json!({ "defaultAction": "SCMP_ACT_ALLOW", "architectures": [arch] });
            let filter = seccomp::plan(&serde_json::from_value(profile).unwrap())
                .and_then(|plan| seccomp::filter(&plan));
            // One of the other byte order is known, and refused for another reason.
            let known =
                filter.err().is_none_or(|error| format!("{error:#}").contains("has another byte order"));
            assert_eq!(known, listed("/linux/seccomp/archs").contains(&arch), "{arch}");
        }
    }

    #[test]
    fn seccomp_takes_every_operator_and_flag_that_is_listed() {
        for op in listed("/linux/seccomp/operators") {
            let arg = json!({ "index": 0, "value": 1, "op": op });
            let rule = json!({ "names": ["read"], "action": "SCMP_ACT_KILL", "args": [arg] });
            let profile = json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule] });
            let plan = seccomp::plan(&serde_json::from_value(profile).unwrap()).unwrap();
            assert!(seccomp::filter(&plan).is_ok(), "{op}");
        }
        let flags = listed("/linux/seccomp/knownFlags");
        assert!(listed("/linux/seccomp/supportedFlags").iter().all(|flag| flags.contains(flag)));
        assert_eq!(flags.len(), 4);
        let profile = json!({ "defaultAction": "SCMP_ACT_ALLOW", "flags": flags });
        assert!(compiled(json!({ "linux": { "seccomp": profile } })).is_ok());
        assert!(crate::spec::parse(br#"{"ociVersion":"1.3.0","linux":{"seccomp":{"defaultAction":"SCMP_ACT_ALLOW","flags":["SECCOMP_FILTER_FLAG_NEW_LISTENER"]}}}"#).is_err());
    }

    #[test]
    fn memory_policies_are_those_of_the_specification_and_each_is_planned() {
        let policy = |mode: &str, flags: Value| {
            let nodes = if ["MPOL_DEFAULT", "MPOL_LOCAL"].contains(&mode) { "" } else { "0" };
            compiled(json!({ "linux": { "memoryPolicy": { "mode": mode, "nodes": nodes, "flags": flags } } }))
        };
        let mut modes = listed("/linux/memoryPolicy/modes");
        assert!(modes.iter().all(|mode| policy(mode, json!([])).is_ok()), "{modes:?}");
        modes.sort();
        let all = "BIND DEFAULT INTERLEAVE LOCAL PREFERRED PREFERRED_MANY WEIGHTED_INTERLEAVE";
        assert_eq!(modes, all.split(' ').map(|name| format!("MPOL_{name}")).collect::<Vec<_>>());
        let flags = listed("/linux/memoryPolicy/flags");
        assert_eq!(flags, ["MPOL_F_NUMA_BALANCING", "MPOL_F_RELATIVE_NODES", "MPOL_F_STATIC_NODES"]);
        assert!(flags.iter().all(|flag| policy("MPOL_BIND", json!([flag])).is_ok()));
    }

    #[test]
    fn security_modules_are_supported_whatever_this_kernel_has() {
        for (feature, property) in [("apparmor", "apparmorProfile"), ("selinux", "selinuxLabel")] {
            assert_eq!(features().pointer(&format!("/linux/{feature}/enabled")).unwrap(), true);
            let mut config = process(json!({ property: "p" }));
            let error = compiled(config.clone()).err().unwrap();
            assert_eq!(kind_of(&error), Kind::Unsupported, "{error:#}");
            config["root"] = json!({ "path": "rootfs" });
            config["ociVersion"] = "1.3.0".into();
            let spec = crate::spec::parse(config.to_string().as_bytes()).unwrap();
            let facts = HostFacts { apparmor: true, selinux: true, ..HostFacts::default() };
            let bundle = Bundle { dir: "/bundle".into(), spec };
            assert!(compile(&bundle, "c", facts, Wishes::default()).is_ok(), "{feature}");
        }
    }

    #[test]
    fn the_annotation_that_is_said_to_be_unsafe_has_an_effect() {
        let planned = |config: &Value| {
            let spec = crate::spec::parse(config.to_string().as_bytes()).unwrap();
            let facts = HostFacts { selinux: true, ..HostFacts::default() };
            let wishes = Wishes { driver: Driver::Systemd, ..Wishes::default() };
            compile(&Bundle { dir: "/bundle".into(), spec }, "c", facts, wishes).unwrap()
        };
        // CRIU's is for later verbs, and `tests/containers/checkpoint.rs` sees its effect.
        let of_create = |name: &String| name != crate::plan::annotations::CRIU_CONFIG;
        for name in listed("/potentiallyUnsafeConfigAnnotations").into_iter().filter(of_create) {
            let mut config = process(json!({}));
            config["ociVersion"] = "1.3.0".into();
            config["root"] = json!({ "path": "rootfs" });
            config["linux"] = json!({ "mountLabel": "u:r:t:s0" });
            config["mounts"] = json!([{ "destination": "/t", "type": "tmpfs" }]);
            let plain = planned(&config);
            // A prefix.
            let name = if name.ends_with('.') { format!("{name}MemoryMax") } else { name };
            let value = match name.as_str() {
                "run.oci.keep_original_groups" => "1",
                "run.oci.mount_context_type" => "fscontext",
                "run.oci.systemd.subgroup" => "payload",
                "org.systemd.property.MemoryMax" => "uint64 1",
                _ => "/path",
            };
            config["annotations"] = json!({ name.clone(): value });
            assert_ne!(planned(&config), plain, "{name}");
        }
    }

    #[test]
    fn network_devices_and_classes_of_service_are_said_to_be_there_and_are_planned() {
        let network = json!([{ "type": "network" }]);
        let plan =
            compiled(json!({ "linux": { "netDevices": { "eth0": {} }, "namespaces": network } })).unwrap();
        assert_eq!(plan.net_devices.len(), 1);
        let rdt = json!({ "closID": "gold", "schemata": ["L3:0=f"], "enableMonitoring": true });
        let rdt = compiled(json!({ "linux": { "intelRdt": rdt } })).unwrap().intel_rdt.unwrap();
        assert!(!rdt.schemata.is_empty() && rdt.monitor.is_some());
        for feature in ["netDevices/enabled", "intelRdt/enabled", "intelRdt/schemata", "intelRdt/monitoring"]
        {
            assert_eq!(features().pointer(&format!("/linux/{feature}")).unwrap(), true, "{feature}");
        }
    }

    #[test]
    fn limits_of_rdma_are_said_to_work_and_planned() {
        assert_eq!(features().pointer("/linux/cgroup/rdma").unwrap(), true);
        let config = json!({ "linux": { "resources": { "rdma": { "mlx5": { "hcaHandles": 1 } } } } });
        assert_eq!(compiled(config).unwrap().cgroup.writes[0].value, "mlx5 hca_handle=1");
    }

    #[test]
    fn id_mapped_mounts_are_said_to_work_and_planned() {
        assert_eq!(features().pointer("/linux/mountExtensions/idmap/enabled").unwrap(), true);
        let maps = json!([{ "containerID": 0, "hostID": 1, "size": 1 }]);
        let mounts = json!([{
            "destination": "/m", "source": "/m", "options": ["bind", "idmap"], "uidMappings": maps, "gidMappings": maps,
        }]);
        assert!(compiled(json!({ "mounts": mounts })).unwrap().rootfs.mounts[0].ids.is_some());
    }

    #[test]
    fn scopes_are_said_to_work_and_planned() {
        for (feature, path) in [("systemd", "machine.slice:c:x"), ("systemdUser", "user.slice:c:x")] {
            assert_eq!(features().pointer(&format!("/linux/cgroup/{feature}")).unwrap(), true);
            let config =
                json!({ "ociVersion": "1.3.0", "root": { "path": "r" }, "linux": { "cgroupsPath": path } });
            let spec = crate::spec::parse(config.to_string().as_bytes()).unwrap();
            let wishes = Wishes { driver: Driver::Systemd, ..Wishes::default() };
            let bundle = Bundle { dir: "/bundle".into(), spec };
            let plan = compile(&bundle, "c", HostFacts::default(), wishes).unwrap();
            assert!(matches!(plan.cgroup.maker, Maker::Systemd(_)));
        }
    }
}
