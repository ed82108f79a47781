//! `linux.resources` as files of cgroup v2: config-linux.md, "Control groups", and the kernel's
//! cgroup-v2.rst. What has no file there, or none yet here, is refused by name: a limit that is asked
//! for is never silently left out.

mod hugetlb;
pub mod owner;

use std::path::{Component, Path, PathBuf};

use super::{Authority, Rootless};
use crate::error::{Doing, Result, invalid, unsupported};
use crate::spec::oci::{Linux, LinuxCpu, LinuxMemory, LinuxResources};

/// The container's cgroup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CgroupPlan {
    /// Relative to the root of the cgroup2 tree.
    pub path: PathBuf,
    /// Done before the container's first process enters it.
    pub writes: Vec<Write>,
    /// The device program; each u64 is one instruction.
    pub devices: Option<Vec<u64>>,
    /// Whose choice the path is.
    pub chosen: Chosen,
    /// What is to happen if there is no permission to make it.
    pub if_denied: IfDenied,
    /// Whose it becomes, if it doesn't stay the runtime's.
    pub owner: Option<owner::Owner>,
}

/// Whose choice a cgroup's path is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chosen {
    /// The configuration's: an absolute `cgroupsPath`.
    ByConfiguration,
    /// This runtime's own; an ordinary user's cgroups are where he has been delegated some.
    ByRuntime,
}

/// What is to happen if there is no permission to make a cgroup: cgroups(7), "Cgroup delegation".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IfDenied {
    /// It is an error.
    Fail,
    /// The container stays in the caller's cgroup: nobody has asked for a place or a limit.
    Stay,
}

impl CgroupPlan {
    /// The first limit that is asked for.
    pub fn first_limit(&self) -> Option<&Write> {
        self.writes.iter().find(|write| !write.is_no_limit())
    }

    /// Decides what happens without permission.
    pub(super) fn may_be_denied(self, authority: Authority, rootless: Rootless) -> Self {
        let may = match rootless {
            Rootless::Auto => authority == Authority::User,
            Rootless::True => true,
            Rootless::False => false,
        };
        let asked_for = self.chosen == Chosen::ByConfiguration || self.first_limit().is_some();
        let if_denied = if may && !asked_for { IfDenied::Stay } else { IfDenied::Fail };
        Self { if_denied, ..self }
    }

    /// Decides whose it becomes.
    pub(super) fn owned_by(self, owner: Option<owner::Owner>) -> Self {
        Self { owner, ..self }
    }
}

/// One value for one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// The property, for messages.
    pub property: &'static str,
    /// The controller that has the file; `None` for those that every cgroup has.
    pub controller: Option<String>,
    /// Such as `memory.max`.
    pub file: String,
    /// What is written.
    pub value: String,
    /// What it means that the kernel has no such file.
    pub absence: Absence,
}

/// What it means that the kernel has no such file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absence {
    /// What was asked for can't be done.
    Error,
    /// Another file does it alone.
    Fine,
}

impl Write {
    /// Whether it says that there shall be none.
    pub fn is_no_limit(&self) -> bool {
        self.value == "max"
    }

    /// Whether init has to be in the cgroup before: a limit of processes that has no room for it and its helper
    /// would have the clone fail, and what is there already may stay (cgroup-v2.rst, "PID").
    pub fn is_late(&self) -> bool {
        self.file == "pids.max" && matches!(self.value.as_str(), "0" | "1")
    }
}

/// Plans `linux.cgroupsPath` and `linux.resources`.
pub fn plan(linux: &Linux, id: &str) -> Result<CgroupPlan> {
    let given = linux.cgroups_path().as_deref();
    let path = path(given, id).doing(|| "linux.cgroupsPath")?;
    let writes = linux.resources().as_ref().map(writes).transpose()?;
    Ok(CgroupPlan {
        path,
        writes: writes.unwrap_or_default(),
        devices: super::devices::program(linux)?,
        chosen: match given {
            Some(path) if path.is_absolute() => Chosen::ByConfiguration,
            _ => Chosen::ByRuntime,
        },
        if_denied: IfDenied::Fail,
        owner: None,
    })
}

/// Absolute paths start at the root of the tree; relative ones and the default are in `minidocker-oci`.
fn path(given: Option<&Path>, id: &str) -> Result<PathBuf> {
    const HOME: &str = "minidocker-oci";
    let given = match given.filter(|path| !path.as_os_str().is_empty()) {
        None => return Ok(Path::new(HOME).join(id)),
        Some(path) if path.is_absolute() => path.to_owned(),
        Some(path) if path.to_string_lossy().split(':').count() == 3 => {
            return Err(unsupported(format!("{path:?} is for the systemd driver, which is not there yet")));
        }
        Some(path) => Path::new("/").join(HOME).join(path),
    };
    let mut clean = PathBuf::new();
    for component in given.components() {
        match component {
            Component::Normal(name) => clean.push(name),
            Component::RootDir | Component::CurDir => {}
            Component::ParentDir | Component::Prefix(_) => {
                return Err(invalid(format!("{given:?} has a \"..\"")));
            }
        }
    }
    match clean.as_os_str().is_empty() {
        true => Err(invalid(format!("{given:?} is the root of the tree, which is everybody's"))),
        false if given.to_string_lossy().contains('\0') => Err(invalid(format!("{given:?} has a NUL byte"))),
        false => Ok(clean),
    }
}

fn writes(resources: &LinuxResources) -> Result<Vec<Write>> {
    refuse_what_is_not_there_yet(resources)?;
    let mut writes = Vec::new();
    if let Some(pids) = resources.pids() {
        // 0 is a limit, negative is none.
        writes.push(write("pids.limit", "pids.max", limit(pids.limit())));
    }
    if let Some(memory) = resources.memory() {
        memory_writes(memory, &mut writes)?;
    }
    if let Some(cpu) = resources.cpu() {
        cpu_writes(cpu, &mut writes)?;
    }
    writes.extend(hugetlb::writes(resources.hugepage_limits().as_deref().unwrap_or_default())?);
    for (file, value) in resources.unified().iter().flatten() {
        writes.push(unified(file, value)?);
    }
    writes.sort_by(|a, b| a.file.cmp(&b.file));
    Ok(writes)
}

fn write(property: &'static str, file: &str, value: impl Into<String>) -> Write {
    let controller = file.split('.').next().filter(|name| *name != "cgroup").map(str::to_owned);
    Write { property, controller, file: file.to_owned(), value: value.into(), absence: Absence::Error }
}

fn limit(value: i64) -> String {
    if value < 0 { "max".to_owned() } else { value.to_string() }
}

fn refuse_what_is_not_there_yet(resources: &LinuxResources) -> Result<()> {
    let block_io = resources.block_io().as_ref().is_some_and(|io| {
        io.weight().is_some()
            || io.leaf_weight().is_some()
            || [
                io.throttle_read_bps_device(),
                io.throttle_write_bps_device(),
                io.throttle_read_iops_device(),
                io.throttle_write_iops_device(),
            ]
            .iter()
            .any(|d| d.as_ref().is_some_and(|d| !d.is_empty()))
            || io.weight_device().as_ref().is_some_and(|d| !d.is_empty())
    });
    let network = resources.network().as_ref().is_some_and(|n| {
        n.class_id().is_some_and(|id| id != 0) || n.priorities().as_ref().is_some_and(|p| !p.is_empty())
    });
    let later = [
        ("linux.resources.blockIO: controller io is not supported yet", block_io),
        (
            "linux.resources.rdma: controller rdma is not supported yet",
            resources.rdma().as_ref().is_some_and(|r| !r.is_empty()),
        ),
        ("linux.resources.network: cgroup v2 has no network controllers", network),
    ];
    match later.iter().find(|(_, asked_for)| *asked_for) {
        Some((message, _)) => Err(unsupported(*message)),
        None => Ok(()),
    }
}

fn memory_writes(memory: &LinuxMemory, writes: &mut Vec<Write>) -> Result<()> {
    let only_v1 = [
        ("memory.kernel", memory.kernel().is_some_and(|v| v > 0)),
        ("memory.kernelTCP", memory.kernel_tcp().is_some_and(|v| v > 0)),
        ("memory.swappiness", memory.swappiness().is_some()),
        ("memory.disableOOMKiller", memory.disable_oom_killer() == Some(true)),
    ];
    if let Some((property, _)) = only_v1.iter().find(|(_, asked_for)| *asked_for) {
        return Err(unsupported(format!("linux.resources.{property}: cgroup v2 has nothing like it")));
    }
    // Engines write 0 for what they don't limit.
    let max = memory.limit().filter(|v| *v != 0);
    if let Some(max) = max {
        writes.push(write("memory.limit", "memory.max", limit(max)));
    }
    if let Some(reservation) = memory.reservation().filter(|v| *v != 0) {
        writes.push(write("memory.reservation", "memory.low", limit(reservation)));
    }
    if let Some(swap) = memory.swap().filter(|v| *v != 0) {
        writes.push(write("memory.swap", "memory.swap.max", swap_max(swap, max)?));
    }
    Ok(())
}

/// The specification counts memory and swap together, the kernel each for itself.
fn swap_max(swap: i64, max: Option<i64>) -> Result<String> {
    match (swap, max) {
        (swap, _) if swap < 0 => Ok("max".to_owned()),
        (swap, Some(max)) if max > 0 && swap >= max => Ok((swap - max).to_string()),
        (_, Some(max)) if max > 0 => {
            Err(invalid("linux.resources.memory.swap counts memory too and is less than memory.limit"))
        }
        _ => Err(invalid("linux.resources.memory.swap counts memory too and needs memory.limit")),
    }
}

fn cpu_writes(cpu: &LinuxCpu, writes: &mut Vec<Write>) -> Result<()> {
    if cpu.realtime_runtime().is_some_and(|v| v != 0) || cpu.realtime_period().is_some_and(|v| v != 0) {
        return Err(unsupported("linux.resources.cpu.realtimeRuntime: cgroup v2 has nothing like it"));
    }
    if let Some(shares) = cpu.shares().filter(|v| *v != 0) {
        writes.push(write("cpu.shares", "cpu.weight", weight(shares).to_string()));
    }
    let (quota, period) = (cpu.quota().filter(|v| *v != 0), cpu.period().filter(|v| *v != 0));
    if quota.is_some() || period.is_some() {
        let value = format!("{} {}", limit(quota.unwrap_or(-1)), period.unwrap_or(100_000));
        writes.push(write("cpu.quota", "cpu.max", value));
    }
    if let Some(burst) = cpu.burst() {
        writes.push(write("cpu.burst", "cpu.max.burst", burst.to_string()));
    }
    if let Some(idle) = cpu.idle() {
        writes.push(write("cpu.idle", "cpu.idle", idle.to_string()));
    }
    for (property, file, list) in
        [("cpu.cpus", "cpuset.cpus", cpu.cpus()), ("cpu.mems", "cpuset.mems", cpu.mems())]
    {
        if let Some(list) = list.as_deref().filter(|l| !l.is_empty()) {
            writes.push(write(property, file, list));
        }
    }
    Ok(())
}

/// Shares (2..262144) to weight (1..10000) so that the default of one, 1024, is the default of the
/// other, 100: 10^((l² + 125 l) / 612 - 7 / 34), l the binary logarithm of the shares.
fn weight(shares: u64) -> u64 {
    if shares <= 2 {
        return 1;
    }
    if shares >= 262_144 {
        return 10_000;
    }
    #[expect(clippy::cast_precision_loss, reason = "fewer than 2^19 shares")]
    let l = (shares as f64).log2();
    let exponent = (l * l + 125.0 * l) / 612.0 - 7.0 / 34.0;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 1 and 10000")]
    let weight = 10f64.powf(exponent).ceil() as u64;
    weight
}

/// config-linux.md, "Unified": a file of the cgroup, by its own name.
fn unified(file: &str, value: &str) -> Result<Write> {
    /// Who is in the cgroup, what it hands down, and whether it runs.
    const RUNTIMES: [&str; 6] = ["procs", "threads", "subtree_control", "type", "freeze", "kill"];
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    let is_file =
        file.contains('.') && !file.starts_with('.') && !file.contains("..") && file.bytes().all(plain);
    match file.strip_prefix("cgroup.") {
        _ if !is_file => {
            Err(invalid(format!("linux.resources.unified: {file:?} is not the name of a cgroup's file")))
        }
        Some(name) if RUNTIMES.contains(&name) => {
            Err(invalid(format!("linux.resources.unified: {file} is the runtime's own business")))
        }
        _ if value.contains('\0') => {
            Err(invalid(format!("linux.resources.unified: the value of {file} has a NUL byte")))
        }
        _ => Ok(write("unified", file, value)),
    }
}

#[cfg(test)]
mod tests {
    use super::{path, plan, weight};
    use std::path::Path;

    fn writes(json: &str) -> Result<Vec<(String, String)>, String> {
        let linux = serde_json::from_str(&format!(r#"{{"resources":{json}}}"#)).unwrap();
        let plan = plan(&linux, "c").map_err(|e| format!("{e:#}"))?;
        Ok(plan.writes.into_iter().map(|w| (w.file, w.value)).collect())
    }

    #[test]
    fn paths_stay_in_the_tree() {
        assert_eq!(path(None, "c").unwrap(), Path::new("minidocker-oci/c"));
        assert_eq!(path(Some(Path::new("/a//b/.")), "c").unwrap(), Path::new("a/b"));
        assert_eq!(path(Some(Path::new("a/b")), "c").unwrap(), Path::new("minidocker-oci/a/b"));
        for bad in ["/", "/a/../../b", "../x", "x:y:z"] {
            assert!(path(Some(Path::new(bad)), "c").is_err(), "{bad}");
        }
    }

    #[test]
    fn the_default_share_is_the_default_weight() {
        assert_eq!([2, 1024, 262_144].map(weight), [1, 100, 10_000]);
    }

    #[test]
    fn zero_processes_is_a_limit_and_minus_one_is_none() {
        assert_eq!(writes(r#"{"pids":{"limit":0}}"#).unwrap(), [("pids.max".into(), "0".into())]);
        assert_eq!(writes(r#"{"pids":{"limit":-1}}"#).unwrap(), [("pids.max".into(), "max".into())]);
    }

    #[test]
    fn swap_is_what_is_left_of_the_sum() {
        let written = writes(r#"{"memory":{"limit":100,"swap":150}}"#).unwrap();
        assert_eq!(written[1], ("memory.swap.max".into(), "50".into()));
        assert!(writes(r#"{"memory":{"limit":100,"swap":50}}"#).is_err());
    }

    #[test]
    fn what_is_not_supported_is_refused_by_name() {
        assert!(writes(r#"{"blockIO":{"weight":10}}"#).unwrap_err().contains("controller io"));
        assert!(writes(r#"{"memory":{"swappiness":10}}"#).unwrap_err().contains("memory.swappiness"));
        assert!(writes(r#"{"unified":{"../x":"1"}}"#).is_err());
        assert!(
            writes(r#"{"unified":{"pids.max":"1\u0000"}}"#).unwrap_err().contains("pids.max has a NUL byte")
        );
    }

    #[test]
    fn a_file_that_every_cgroup_has_is_written_unless_it_is_the_runtimes() {
        for file in ["cgroup.max.depth", "cgroup.max.descendants", "cgroup.pressure", "cgroup.novel"] {
            let written = super::unified(file, "1").unwrap();
            assert_eq!((written.controller, written.file.as_str()), (None, file));
        }
        assert_eq!(super::unified("novel.max", "1").unwrap().controller.as_deref(), Some("novel"));
        for file in ["procs", "threads", "subtree_control", "type", "freeze", "kill"] {
            let error = writes(&format!(r#"{{"unified":{{"cgroup.{file}":"1"}}}}"#)).unwrap_err();
            assert_eq!(
                error,
                format!("linux.resources.unified: cgroup.{file} is the runtime's own business")
            );
        }
    }
}
