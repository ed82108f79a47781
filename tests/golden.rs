//! What the configurations of `bundles/` mean: the plan of each is in the file beside it. A change of the
//! plan shows there, line by line; `UPDATE_GOLDEN=1 cargo test --test golden` writes the files anew.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests panic")]

mod skip;

use std::path::{Path, PathBuf};

use minidocker_oci::plan::{self, HostFacts, Plan, Wishes};
use minidocker_oci::spec;

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The plan of a configuration, for root and for a bundle that is always at the same place.
fn compiled(config: &Path) -> Plan {
    let mut bundle =
        spec::load(config.parent().unwrap(), Some(config)).unwrap_or_else(|e| panic!("{config:?}: {e:#}"));
    bundle.dir = PathBuf::from("/bundle");
    plan::compile(&bundle, "golden", HostFacts::default(), Wishes::default())
        .unwrap_or_else(|e| panic!("{config:?}: {e:#}"))
}

/// As text. A seccomp profile stays what it is until it is compiled, and is long: its size stands for it.
fn text(plan: &Plan) -> String {
    let mut plan = plan.clone();
    let Some(seccomp) = plan.seccomp.take() else {
        return format!("{plan:#?}\n");
    };
    let rules = seccomp.profile.syscalls().clone().unwrap_or_default();
    let names: usize = rules.iter().map(|rule| rule.names().len()).sum();
    let default = seccomp.profile.default_action();
    let size =
        format!("{default}, {} rules for {names} system calls, flags {:#x}", rules.len(), seccomp.flags);
    format!("{plan:#?}\nseccomp: {size}\n")
}

fn bundles() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(repository().join("bundles")).unwrap();
    let mut bundles: Vec<PathBuf> =
        entries.map(|e| e.unwrap().path()).filter(|p| p.join("config.json").is_file()).collect();
    bundles.sort();
    bundles
}

#[test]
fn every_bundle_means_what_its_golden_plan_says() {
    let bundles = bundles();
    assert!(bundles.len() >= 7, "only {bundles:?}");
    for bundle in bundles {
        let plan = text(&compiled(&bundle.join("config.json")));
        let golden = bundle.join("plan.golden");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            #[expect(clippy::disallowed_methods, reason = "writes into the checkout, when asked to")]
            std::fs::write(&golden, &plan).unwrap();
        }
        let expected = std::fs::read_to_string(&golden)
            .unwrap_or_else(|e| panic!("{golden:?}: {e}; UPDATE_GOLDEN=1 makes it"));
        let differs = plan.lines().zip(expected.lines()).enumerate().find(|(_, (new, old))| new != old);
        if let Some((number, (new, old))) = differs {
            panic!(
                "{golden:?}:{}: is now\n{new}\nand was\n{old}\nUPDATE_GOLDEN=1 if that is meant",
                number + 1
            );
        }
        assert_eq!(
            plan.lines().count(),
            expected.lines().count(),
            "{golden:?}: UPDATE_GOLDEN=1 if that is meant"
        );
    }
}

#[test]
fn the_same_configuration_always_makes_the_same_plan() {
    for bundle in bundles() {
        let config = bundle.join("config.json");
        assert_eq!(compiled(&config), compiled(&config), "{config:?}");
    }
}

/// Configurations that engines wrote, as they wrote them, where they are at hand.
#[test]
fn what_podman_and_containerd_wrote_is_understood() {
    let shared = repository().join("../shared/data/configs");
    let Ok(entries) = std::fs::read_dir(&shared) else {
        return skip::skip("no folder ../shared/data/configs");
    };
    let configs: Vec<PathBuf> =
        entries.map(|e| e.unwrap().path()).filter(|p| p.extension().is_some_and(|e| e == "json")).collect();
    assert!(!configs.is_empty());
    for config in configs {
        let plan = compiled(&config);
        assert!(plan.process.is_some() && plan.rootfs.mounts.len() > 5, "{config:?}");
    }
}
