//! config.json to a plan: all of it, since planning is pure.

use std::path::{Component, Path};

use minidocker_oci::error::Result;
use minidocker_oci::plan::{self, HostFacts, Plan, Wishes};
use minidocker_oci::spec::{self, Bundle};

use super::says_something;

pub(super) fn entry(data: &[u8]) {
    let spec = match spec::parse(data) {
        Ok(spec) => spec,
        Err(error) => return says_something(&error),
    };
    let bundle = Bundle { dir: "/bundle".into(), spec };
    for facts in [
        HostFacts::default(),
        HostFacts { euid: 1000, apparmor: true, selinux: true, ..HostFacts::default() },
    ] {
        let compile = || -> Result<Plan> { plan::compile(&bundle, "fuzz", facts, Wishes::default()) };
        match (compile(), compile()) {
            (Ok(plan), Ok(again)) => {
                assert!(plan == again, "the plan differs from one time to the next");
                is_sound(&plan);
            }
            (Err(error), Err(again)) => {
                says_something(&error);
                assert_eq!(format!("{error:#}"), format!("{again:#}"));
            }
            _ => panic!("it is refused only once"),
        }
    }
}

/// What init relies on.
fn is_sound(plan: &Plan) {
    is_below(&plan.cgroup.path);
    for write in &plan.cgroup.writes {
        assert!(!write.file.contains('/') && write.file.contains('.'), "{write:?}");
        assert!(!write.file.contains('\0') && !write.value.contains('\0'), "{write:?}");
    }
    for sysctl in &plan.sysctls {
        assert!(sysctl.path.starts_with("sys/"), "{sysctl:?}");
        is_below(Path::new(&sysctl.path));
    }
    let hooks = &plan.hooks;
    for hook in [&hooks.prestart, &hooks.create_runtime, &hooks.create_container, &hooks.start_container]
        .into_iter()
        .chain([&hooks.poststart, &hooks.poststop])
        .flatten()
    {
        assert!(hook.path().is_absolute() && hook.timeout().is_none_or(|seconds| seconds > 0), "{hook:?}");
    }
    let steps = plan.rootfs.mounts.iter().enumerate();
    steps.for_each(|(index, step)| assert!(step.index == index && step.at.name().is_some(), "{step}"));
    if let Some(process) = &plan.process {
        assert!(process.args.first().is_some_and(|program| !program.is_empty()), "{process:?}");
        assert!(process.uid != u32::MAX && process.gid != u32::MAX, "{process:?}");
    }
}

/// One that leads nowhere but down.
fn is_below(path: &Path) {
    let plain = |component| matches!(component, Component::Normal(_));
    assert!(path.components().all(plain) && path.components().count() > 0, "{path:?}");
}
