//! Runs in: host. Where the container's cgroup is, and whether it gets one.

use std::borrow::Cow;
use std::path::PathBuf;

use crate::container::cgroup::{Cgroup, Tree};
use crate::error::{Doing, Kind, Result, errno_of, failure};
use crate::log;
use crate::plan::Authority;
use crate::plan::resources::{CgroupPlan, Chosen, IfDenied};
use crate::proc::Proc;
use crate::spec::record::CgroupRecord;
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
    /// Root's cgroups are where the plan says. An ordinary user's are where he has been delegated some.
    pub(super) fn find(plan: &'p CgroupPlan, authority: Authority, proc: &Proc) -> Result<Self> {
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
        if plan.devices.is_some() {
            // Nor can he make any node, or open one that he could not open outside.
            log::warn(format_args!(
                "linux.resources.devices: only root can load the rules, they are left out"
            ));
        }
        let plan = CgroupPlan { path, devices: None, ..plan.clone() };
        Ok(Self { tree, plan: Some(Cow::Owned(plan)), callers })
    }

    /// For the record that precedes the cgroup.
    pub(super) fn intend(&self) -> Result<CgroupRecord> {
        match (&self.tree, &self.plan) {
            (Some(tree), Some(plan)) => tree.intend(&plan.path),
            _ => Ok(Tree::none_made(self.callers.clone())),
        }
    }

    /// Makes it and applies its limits; `None` if the container stays where its caller is.
    pub(super) fn make(&self, intended: &CgroupRecord) -> Result<Option<Cgroup>> {
        let (Some(tree), Some(plan)) = (&self.tree, &self.plan) else {
            return Ok(None);
        };
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
