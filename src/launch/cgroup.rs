//! Runs in: host. Where the container's cgroup is, and whether it gets one.

use std::borrow::Cow;
use std::path::PathBuf;

use crate::container::cgroup::{Cgroup, Tree, systemd};
use crate::error::{Doing, Kind, Result, errno_of, failure};
use crate::log;
use crate::plan::Authority;
use crate::plan::resources::{CgroupPlan, Chosen, IfDenied, Maker};
use crate::proc::Proc;
use crate::spec::record::{CgroupRecord, Manager};
use crate::sys::Errno;

/// Where the container's cgroup is to be.
#[derive(Debug)]
pub(super) struct Place<'p> {
    tree: Option<Tree>,
    /// As the plan has it, with the path that it has on this host; `None` if the container stays where its caller is.
    plan: Option<Cow<'p, CgroupPlan>>,
    /// The cgroup of this process, where that has been looked up.
    callers: PathBuf,
}

impl<'p> Place<'p> {
    /// Where the driver has it.
    pub(super) fn find(plan: &'p CgroupPlan, authority: Authority, proc: &Proc) -> Result<Self> {
        match &plan.maker {
            Maker::Runtime => Self::in_tree(plan, authority, proc),
            Maker::Systemd(_) => {
                let plan = match systemd::manager() {
                    Manager::System => Cow::Borrowed(plan),
                    Manager::User => Cow::Owned(without_devices(plan)),
                };
                Ok(Self { tree: Some(Tree::find()?), plan: Some(plan), callers: PathBuf::new() })
            }
            Maker::Nobody => {
                without_devices(plan);
                Ok(Self { tree: Tree::find().ok(), plan: None, callers: proc.cgroup().unwrap_or_default() })
            }
        }
    }

    /// Root's cgroups are where the plan says. An ordinary user's are where he has been delegated some, be he root of a
    /// user namespace or not.
    fn in_tree(plan: &'p CgroupPlan, authority: Authority, proc: &Proc) -> Result<Self> {
        if authority == Authority::Root {
            let callers = PathBuf::new();
            return Ok(Self { tree: Some(Tree::find()?), plan: Some(Cow::Borrowed(plan)), callers });
        }
        let found = Tree::find();
        let tree = match plan.if_denied {
            IfDenied::Fail => Some(found?),
            IfDenied::Stay => found.ok(),
        };
        let callers = proc.cgroup().unwrap_or_default();
        let path = match (&tree, plan.chosen) {
            (Some(_), Chosen::ByConfiguration) => Some(plan.path.clone()),
            (Some(tree), Chosen::ByRuntime) => tree.delegated(proc)?.map(|above| above.join(one_name(plan))),
            (None, _) => None,
        };
        let Some(path) = path else {
            stay(plan, &callers)?;
            return Ok(Self { tree, plan: None, callers });
        };
        let plan = CgroupPlan { path, ..without_devices(plan) };
        Ok(Self { tree, plan: Some(Cow::Owned(plan)), callers })
    }

    /// For the record that precedes the cgroup.
    pub(super) fn intend(&self) -> Result<CgroupRecord> {
        match (&self.tree, &self.plan) {
            (Some(tree), Some(plan)) => match &plan.maker {
                Maker::Systemd(scope) => Ok(Tree::intend_scope(scope)),
                _ => tree.intend(&plan.path),
            },
            _ => Ok(CgroupRecord::unmade(self.callers.clone())),
        }
    }

    /// Makes it and applies its limits; `None` if the container stays where its caller is.
    pub(super) fn make(&self, intended: &CgroupRecord, proc: &Proc) -> Result<Option<Cgroup>> {
        let (Some(tree), Some(plan)) = (&self.tree, &self.plan) else {
            return Ok(None);
        };
        if let (Maker::Systemd(scope), Some(unit)) = (&plan.maker, &intended.unit) {
            return tree.make_scope(scope, unit, plan, proc).map(Some);
        }
        match tree.make(intended.clone(), plan) {
            Err(error) if plan.if_denied == IfDenied::Stay && is_denial(&error) => {
                log::warn(format_args!("{error:#}: the container stays in the cgroup of its caller"));
                Ok(None)
            }
            made => made.map(Some),
        }
    }

    /// The cgroup of the caller.
    pub(super) fn callers(&self) -> PathBuf {
        self.callers.clone()
    }

    /// Where the host shows the cgroup that the container is in.
    pub(super) fn shown(&self, record: &CgroupRecord) -> PathBuf {
        self.tree.as_ref().map(|tree| tree.shown(&record.path)).unwrap_or_default()
    }
}

/// For who can't load their program, or has no cgroup to attach it to. Nor can an ordinary user make any node, or open
/// one that he could not open outside.
fn without_devices(plan: &CgroupPlan) -> CgroupPlan {
    if plan.devices.is_some() {
        let why = match plan.maker {
            Maker::Nobody => "there is no cgroup to apply the rules to",
            Maker::Runtime | Maker::Systemd(_) => "only root can load the rules",
        };
        log::warn(format_args!("linux.resources.devices: {why}, they are left out"));
    }
    CgroupPlan { devices: None, ..plan.clone() }
}

/// One component, so that nothing has to be shared with the user's other containers.
fn one_name(plan: &CgroupPlan) -> String {
    let names: Vec<_> = plan.path.iter().map(|name| name.to_string_lossy()).collect();
    names.join("-")
}

/// Whether the container can do without.
fn stay(plan: &CgroupPlan, callers: &std::path::Path) -> Result<()> {
    const REMEDY: &str = "no cgroup is delegated to this user: run it in one that is (systemd-run --user --scope -p Delegate=yes)";
    let what = format!("it stays in the cgroup of its caller, {callers:?}");
    match (plan.if_denied, plan.first_limit()) {
        (IfDenied::Stay, _) => {
            log::warn(format_args!("{REMEDY}; {what}"));
            Ok(())
        }
        (IfDenied::Fail, Some(limit)) => Err(failure(
            Kind::Unsupported,
            format!("{} can't be written: {REMEDY}, or leave the limit out", limit.file),
        ))
        .doing(|| format!("linux.resources.{}", limit.property)),
        (IfDenied::Fail, None) => Err(failure(Kind::Unsupported, format!("--rootless=false: {REMEDY}"))),
    }
}

fn is_denial(error: &anyhow::Error) -> bool {
    matches!(errno_of(error), Some(Errno::EACCES | Errno::EPERM | Errno::EROFS))
}
