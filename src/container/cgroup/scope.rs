//! A cgroup that systemd makes. As any other it is there and limited before init is born in it: until then a
//! placeholder is.
//!
//! The scope's own cgroup is systemd's, who writes to it what it has been told; the container's is one in it, with the
//! same limits, and this runtime's alone (<https://systemd.io/CGROUP_DELEGATION>, "single-writer"). An annotation may have
//! the scope's own be the container's, and so had versions before.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use nix::sys::stat::{Mode, mkdirat};

use super::placeholder::Placeholder;
use super::{Cgroup, Tree, limits, number_of, systemd};
use crate::error::{Doing, Kind, Result, best_effort, failure};
use crate::plan::resources::CgroupPlan;
use crate::plan::resources::systemd::{Scope, limit_of};
use crate::proc::Proc;
use crate::spec::record::{CgroupRecord, UnitRecord};
use crate::sys::{Call, Errno, fs};

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
            let at = cgroup.at.clone();
            self.furnish(cgroup, unit.subgroup.as_deref(), plan).doing(|| format!("cgroup {at:?}"))
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
        let record = CgroupRecord { made: 1, unit: Some(unit.clone()), ..CgroupRecord::unmade(path) };
        let what = || format!("cgroup {:?}", self.shown(&record.path));
        let cgroup = self.open(&record)?;
        let cgroup = cgroup.ok_or_else(|| failure(Kind::System, "it has vanished")).doing(what)?;
        Ok(Cgroup { placeholder: Some(placeholder), ..cgroup })
    }

    /// Applies the limits in a scope's cgroup, and makes the container's.
    fn furnish(&self, scope: Cgroup, subgroup: Option<&str>, plan: &CgroupPlan) -> Result<Cgroup> {
        scope.refuse_frozen()?;
        limits::enable_for(self, &scope.record.path, &plan.writes)?;
        let cgroup = match subgroup {
            None => scope,
            Some(name) => {
                limits::apply(&scope, &plan.around())?;
                // The kernel counts it as the scope's memory.
                let made = scope.subgroup(self, name).map_err(|error| scope.explain(error, None));
                Cgroup { placeholder: scope.placeholder, ..made.doing(|| format!("{name:?} in it"))? }
            }
        };
        limits::apply(&cgroup, plan)?;
        let record = CgroupRecord { number: Some(number_of(&cgroup.dir)?), ..cgroup.record };
        Ok(Cgroup { memory_max: plan.memory_max(), record, ..cgroup })
    }

    /// The record that precedes a scope: where it is, is not known yet, nor whether it will be the container's.
    pub fn intend_scope(scope: &Scope) -> CgroupRecord {
        let (name, subgroup) = (scope.name.clone(), scope.subgroup.clone());
        let unit = UnitRecord { name, subgroup, manager: systemd::manager() };
        CgroupRecord { unit: Some(unit), ..CgroupRecord::unmade(PathBuf::new()) }
    }
}

/// Whether a unit's cgroup is there. What would be confused with a file of a cgroup has a `_` before it:
/// <https://systemd.io/CGROUP_DELEGATION>.
fn is_of(unit: &str, path: &Path) -> bool {
    let name = path.file_name().and_then(OsStr::to_str);
    name.is_some_and(|name| name == unit || name.strip_prefix('_') == Some(unit))
}

impl Cgroup {
    /// One in this scope's, with each controller that this one has. The placeholder is in it then: who hands controllers
    /// down has no processes (cgroup-v2.rst, "No Internal Process Constraint").
    fn subgroup(&self, tree: &Tree, name: &str) -> Result<Self> {
        match mkdirat(&self.dir, name, Mode::from_bits_truncate(0o755)) {
            // Of a unit of this name, which is over: systemd has not been able to remove it.
            Err(Errno::EEXIST) => self.below(name.as_ref())?.check_fit()?,
            made => made
                .call(|| "mkdirat()")
                .map_err(|error| tree.explain_mkdir(&self.record.path.join(name), error))?,
        }
        let inner = self.below(name.as_ref())?;
        self.placeholder.as_ref().map_or(Ok(()), |placeholder| inner.take_in(placeholder.pid))?;
        let controllers: Vec<String> =
            self.read("cgroup.controllers")?.split_whitespace().map(|name| format!("+{name}")).collect();
        if !controllers.is_empty() {
            self.write("cgroup.subtree_control", &controllers.join(" "))?;
        }
        let record =
            CgroupRecord { made: 1 + self.record.made, unit: self.record.unit.clone(), ..inner.record };
        Ok(Self { record, ..inner })
    }

    /// The scope's own cgroup, if this is one in it: it has the same limits. `None` if it has gone, too.
    pub(super) fn around(&self) -> Result<Option<Self>> {
        let Some(UnitRecord { subgroup: Some(_), .. }) = self.record.unit else { return Ok(None) };
        let above = |path: &Path| path.parent().unwrap_or(path).to_owned();
        let record = CgroupRecord::unmade(above(&self.record.path));
        let dir = match fs::open_parent(self.dir()) {
            Err(error) if error.errno == Errno::ENOENT => return Ok(None),
            opened => opened?,
        };
        Ok(Some(Self { dir, record, at: above(&self.at), memory_max: None, placeholder: None }))
    }

    /// The limits that had to wait until init was there.
    pub(super) fn apply_late(&self, plan: &CgroupPlan) -> Result<()> {
        let late = || plan.writes.iter().filter(|write| write.is_late());
        if let (Some(unit), Some(_)) = (&self.record.unit, late().next()) {
            systemd::update(unit, late().map(limit_of))?;
            if let Some(scope) = self.around()? {
                late().try_for_each(|limit| limits::write(&scope, limit))?;
            }
        }
        late().try_for_each(|limit| limits::write(self, limit))
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
