//! A cgroup that systemd makes. As any other it is there and limited before init is born in it: until then a
//! placeholder is.

use std::path::PathBuf;

use super::placeholder::Placeholder;
use super::{Cgroup, Tree, limits, number_of, systemd};
use crate::error::{Doing, Kind, Result, best_effort, failure};
use crate::plan::resources::CgroupPlan;
use crate::plan::resources::systemd::{Scope, limit_of};
use crate::proc::Proc;
use crate::spec::record::{CgroupRecord, UnitRecord};

impl Tree {
    /// Has systemd make a scope, and applies the limits in it. If one can't be applied, the scope goes again.
    pub fn make_scope(
        &self,
        scope: &Scope,
        unit: &UnitRecord,
        plan: &CgroupPlan,
        proc: &Proc,
    ) -> Result<Cgroup> {
        let placeholder = Placeholder::start()?;
        systemd::start(self, scope, unit, placeholder.pid)?;
        let made = self.enter_scope(unit, placeholder, proc).and_then(|cgroup| {
            let plan = CgroupPlan { path: cgroup.record.path.clone(), ..plan.clone() };
            let applied = cgroup.refuse_frozen().and_then(|()| limits::apply(self, &cgroup, &plan));
            applied.map(|()| cgroup).doing(|| format!("cgroup {:?}", self.shown(&plan.path)))
        });
        if made.is_err() {
            best_effort("stop the scope again", systemd::stop(unit));
        }
        made
    }

    /// Where it is the kernel knows: an ordinary user's manager has only a part of the tree.
    fn enter_scope(&self, unit: &UnitRecord, placeholder: Placeholder, proc: &Proc) -> Result<Cgroup> {
        let path = proc.cgroup_of(placeholder.pid)?;
        if path.file_name().is_none_or(|name| name != unit.name.as_str()) {
            let text = format!(
                "scope {}: its process is in {path:?} of the cgroup2 tree: this systemd does not use cgroup v2 \
                 (boot with systemd.unified_cgroup_hierarchy=1)",
                unit.name
            );
            return Err(failure(Kind::Unsupported, text));
        }
        let record = CgroupRecord { made: 1, unit: Some(unit.clone()), ..Self::none_made(path) };
        let what = || format!("cgroup {:?}", self.shown(&record.path));
        let cgroup = self.open(&record)?;
        let cgroup = cgroup.ok_or_else(|| failure(Kind::System, "it has vanished")).doing(what)?;
        let record = CgroupRecord { number: Some(number_of(&cgroup.dir)?), ..record };
        Ok(Cgroup { placeholder: Some(placeholder), record, ..cgroup })
    }

    /// The record that precedes a scope: where it is, is not known yet, nor whether it will be the container's.
    pub fn intend_scope(scope: &Scope) -> CgroupRecord {
        let unit = UnitRecord { name: scope.name.clone(), manager: systemd::manager() };
        CgroupRecord { unit: Some(unit), ..Self::none_made(PathBuf::new()) }
    }
}

impl Cgroup {
    /// The limits that had to wait until init was there.
    pub(super) fn tell_systemd_late(&self, plan: &CgroupPlan) -> Result<()> {
        let Some(unit) = &self.record.unit else { return Ok(()) };
        systemd::update(unit, plan.writes.iter().filter(|write| write.is_late()).map(limit_of))
    }
}
