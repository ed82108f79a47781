//! Changing the limits of a cgroup in which a container runs: all of them, or none.

use std::os::fd::{AsFd, OwnedFd};

use super::{Cgroup, Tree, limits, systemd};
use crate::error::{Doing, Result, best_effort, unsupported};
use crate::plan::devices::Rules;
use crate::plan::resources::order::BY_KEY;
use crate::plan::resources::systemd::limit_of;
use crate::plan::resources::{Absence, Now, Write};
use crate::spec::record::UnitRecord;
use crate::sys::fs::OFlag;
use crate::sys::{Errno, bpf};

/// What has been written, and what was there before: put back when this is dropped, unless it is kept.
#[derive(Debug)]
#[must_use]
pub struct Changed<'c> {
    cgroup: &'c Cgroup,
    /// The scope's, if the container's is one in it.
    around: Option<Cgroup>,
    /// In the order of the writes.
    before: Vec<Before>,
}

/// What a file had.
#[derive(Debug)]
struct Before {
    of: Whose,
    file: String,
    value: String,
}

/// Of which cgroup a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whose {
    /// The scope's, which may be the container's, too.
    Scope,
    /// The container's alone.
    Container,
}

impl Cgroup {
    /// What a change depends on.
    pub fn now(&self) -> Now {
        Now::read(|file| self.read(file).ok())
    }

    /// Writes limits, in this order. What has been written is put back if a later one fails.
    pub fn change(&self, tree: &Tree, writes: &[Write]) -> Result<Changed<'_>> {
        limits::enable_for(tree, &self.record.path, writes).doing(|| format!("cgroup {:?}", self.at))?;
        let mut changed = Changed { cgroup: self, around: self.around()?, before: Vec::new() };
        if let Some(unit) = &self.record.unit {
            changed.change_scope(unit, writes)?;
        }
        if self.record.unit.is_none() || changed.around.is_some() {
            changed.change_container(writes)?;
        }
        Ok(changed)
    }

    /// To systemd, to be idle is a weight: to be so no more is another one.
    fn ends_idle<'w>(&self, mut writes: impl Iterator<Item = &'w Write>) -> bool {
        let ends = writes.any(|write| write.file == "cpu.idle" && write.value == "0");
        ends && self.read("cpu.idle").is_ok_and(|idle| idle.trim() == "1")
    }

    /// What would undo a write; `None` for a file that has nothing to read.
    fn before(&self, of: Whose, write: &Write) -> Option<Before> {
        let is_missing = |file: &str| self.file(file, OFlag::O_PATH).err() == Some(Errno::ENOENT);
        let (file, value) = match &write.absence {
            Absence::Instead { file, value } if is_missing(&write.file) => (*file, value.as_str()),
            _ => (write.file.as_str(), write.value.as_str()),
        };
        let text = self.read(file).ok()?;
        undoing(file, value, &text).map(|value| Before { of, file: file.to_owned(), value })
    }

    /// Puts a device program in the place of this runtime's own: there is no instant without any.
    pub fn change_devices(&self, rules: &Rules) -> Result<()> {
        self.exchange_program(rules).doing(|| "linux.resources.devices")
    }

    fn exchange_program(&self, rules: &Rules) -> Result<()> {
        let mut old = bpf::own_device_programs(self.dir())?;
        if let Rules::Program(program) = rules {
            let new = bpf::load_device_program(program)?;
            let replaced = match old.last() {
                Some(last) => self.replace(&new, last)?,
                None => {
                    bpf::attach_device_program(self.dir(), new.as_fd(), bpf::Attach::Beside)?;
                    false
                }
            };
            if replaced {
                old.pop();
            }
        }
        // With both attached, a device has to pass both.
        old.iter().try_for_each(|old| bpf::detach_device_program(self.dir(), old.as_fd()).map_err(Into::into))
    }

    /// False if the new one is beside the old one now, which is still to be taken away: before Linux 5.6.
    fn replace(&self, new: &OwnedFd, old: &OwnedFd) -> Result<bool> {
        let how = bpf::Attach::InPlaceOf(old.as_fd());
        match bpf::attach_device_program(self.dir(), new.as_fd(), how) {
            Err(error) if error.errno == Errno::EINVAL => {
                bpf::attach_device_program(self.dir(), new.as_fd(), bpf::Attach::Beside)?;
                Ok(false)
            }
            replaced => Ok(replaced.map(|()| true)?),
        }
    }
}

impl Changed<'_> {
    fn cgroup(&self, whose: Whose) -> &Cgroup {
        match whose {
            Whose::Scope => self.around.as_ref().unwrap_or(self.cgroup),
            Whose::Container => self.cgroup,
        }
    }

    /// systemd writes them first, all together.
    fn change_scope(&mut self, unit: &UnitRecord, writes: &[Write]) -> Result<()> {
        let is_all = self.around.is_none();
        let writes = || writes.iter().filter(|write| is_all || write.controller.is_some());
        let scope = self.cgroup(Whose::Scope);
        let before: Vec<Before> = writes().filter_map(|write| scope.before(Whose::Scope, write)).collect();
        let end_of_idle = scope.ends_idle(writes()).then_some(("cpu.weight", "100"));
        self.before = before;
        systemd::update(unit, end_of_idle.into_iter().chain(writes().map(limit_of)))?;
        let scope = self.cgroup(Whose::Scope);
        writes().try_for_each(|write| limits::write(scope, write)).doing(|| format!("cgroup {:?}", scope.at))
    }

    fn change_container(&mut self, writes: &[Write]) -> Result<()> {
        for write in writes {
            let before = self.cgroup.before(Whose::Container, write);
            limits::write(self.cgroup, write).doing(|| format!("cgroup {:?}", self.cgroup.at))?;
            self.before.extend(before);
        }
        Ok(())
    }

    /// It stays as it has been written.
    pub fn keep(mut self) {
        self.before.clear();
    }
}

impl Drop for Changed<'_> {
    fn drop(&mut self) {
        if let (Some(unit), false) = (&self.cgroup.record.unit, self.before.is_empty()) {
            let scopes = self.before.iter().filter(|before| before.of == Whose::Scope);
            let limits = scopes.map(|before| (before.file.as_str(), before.value.as_str()));
            best_effort("tell systemd what there was before", systemd::update(unit, limits));
        }
        // Backwards, as each was the one before the next.
        for Before { of, file, value } in std::mem::take(&mut self.before).into_iter().rev() {
            let written = self.cgroup(of).write(&file, &value);
            best_effort(&format!("put {value:?} back into {file}"), written);
        }
    }
}

/// What is written to a file that has this text, to undo a write.
fn undoing(file: &str, written: &str, text: &str) -> Option<String> {
    if !BY_KEY.contains(&file) {
        return match text.trim_end() {
            // Such as a list of processors: to the kernel a write of nothing is none.
            "" => Some("\n".to_owned()),
            text => (!text.contains('\n')).then(|| text.to_owned()),
        };
    }
    let mut words = written.split_whitespace();
    let key = match (words.next()?, words.next()) {
        (key, Some(_)) => key,
        // A value alone is that of all devices without one of their own.
        (_, None) => "default",
    };
    let there = text.lines().find(|line| line.split_whitespace().next() == Some(key));
    there.map(str::to_owned).or_else(|| match file {
        "io.max" => Some(format!("{key} rbps=max wbps=max riops=max wiops=max")),
        "io.weight" | "io.bfq.weight" => Some(format!("{key} default")),
        "io.latency" => Some(format!("{key} target=0")),
        _ => None,
    })
}

/// The container stays in its caller's cgroup: what would be limited is the caller.
pub fn has_none() -> anyhow::Error {
    unsupported(
        "the container has no cgroup of its own, and so no limits: create it where one is delegated to this user \
         (systemd-run --user --scope -p Delegate=yes)",
    )
}

#[cfg(test)]
mod tests {
    use super::undoing;

    #[test]
    fn a_file_with_one_value_gets_it_back() {
        assert_eq!(undoing("cpu.max", "5000 10000", "max 100000\n").unwrap(), "max 100000");
        assert_eq!(undoing("cpuset.cpus", "0", "\n").unwrap(), "\n");
        assert_eq!(undoing("memory.stat", "x", "anon 1\nfile 2\n"), None);
    }

    #[test]
    fn a_file_with_lines_gets_the_line_back_that_was_changed() {
        let rates = "8:0 rbps=1 wbps=max riops=max wiops=max\n7:0 rbps=2 wbps=max riops=max wiops=max\n";
        let line = undoing("io.max", "7:0 rbps=9", rates).unwrap();
        assert_eq!(line, "7:0 rbps=2 wbps=max riops=max wiops=max");
        assert_eq!(
            undoing("io.max", "7:1 rbps=9", rates).unwrap(),
            "7:1 rbps=max wbps=max riops=max wiops=max"
        );
        let weights = "default 100\n8:0 200\n";
        assert_eq!(undoing("io.weight", "300", weights).unwrap(), "default 100");
        assert_eq!(undoing("io.weight", "default 300", weights).unwrap(), "default 100");
        assert_eq!(undoing("io.weight", "8:0 300", weights).unwrap(), "8:0 200");
        assert_eq!(undoing("io.weight", "8:16 300", weights).unwrap(), "8:16 default");
        let rdma = "mlx5_0 hca_handle=2 hca_object=max\n";
        assert_eq!(undoing("rdma.max", "mlx5_0 hca_handle=3", rdma).unwrap(), rdma.trim_end());
    }
}
