//! A cgroup that systemd makes. As any other it is there and limited before init is born in it: until then a
//! placeholder is.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

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
        let placeholder = Placeholder::start(proc)?;
        systemd::start(self, scope, unit, placeholder.pid)?;
        let made = self.enter_scope(unit, placeholder, proc).and_then(|cgroup| {
            let plan = CgroupPlan { path: cgroup.record.path.clone(), ..plan.clone() };
            let applied = cgroup.refuse_frozen().and_then(|()| limits::apply(self, &cgroup, &plan));
            let cgroup = Cgroup { memory_max: plan.memory_max(), ..cgroup };
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
        if !is_of(&unit.name, &path) {
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

/// Whether a unit's cgroup is there. What would be confused with a file of a cgroup has a `_` before it:
/// <https://systemd.io/CGROUP_DELEGATION>.
fn is_of(unit: &str, path: &Path) -> bool {
    let name = path.file_name().and_then(OsStr::to_str);
    name.is_some_and(|name| name == unit || name.strip_prefix('_') == Some(unit))
}

impl Cgroup {
    /// The limits that had to wait until init was there.
    pub(super) fn tell_systemd_late(&self, plan: &CgroupPlan) -> Result<()> {
        let Some(unit) = &self.record.unit else { return Ok(()) };
        systemd::update(unit, plan.writes.iter().filter(|write| write.is_late()).map(limit_of))
    }
}

#[cfg(test)]
mod tests {
    use super::is_of;
    use std::path::Path;

    #[test]
    fn a_name_that_could_be_a_files_is_escaped_by_systemd() {
        let is = |unit: &str, path: &str| is_of(unit, Path::new(path));
        assert!(is("a-b.scope", "a.slice/a-b.scope"));
        for unit in [".-x.scope", "_a-x.scope", "cgroup.a-x.scope", "memory.a-x.scope"] {
            assert!(is(unit, &format!("a.slice/_{unit}")), "{unit}");
        }
        for path in ["", "a-b.scope/below", "a.slice/__a-b.scope", "user.slice/user-1000.slice"] {
            assert!(!is("a-b.scope", path), "{path}");
        }
    }
}
