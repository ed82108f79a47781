//! The bundle that is measured: a copy of a bundle's config.json, adapted to this machine and to the bench,
//! in a scratch directory that goes away with its owner.

use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use nix::sys::resource::{Resource, getrlimit};
use serde_json::{Value, json};

/// The cgroup2 tree that the runtimes use.
const CGROUPS: &str = "/sys/fs/cgroup";
/// The bit of CAP_SYS_RESOURCE in the masks of /proc/self/status.
const CAP_SYS_RESOURCE: u64 = 1 << 24;

/// What of this machine decides how a config has to be adapted.
#[derive(Debug)]
pub(crate) struct Host {
    /// The controllers of the root of the cgroup2 tree.
    pub(crate) controllers: Vec<String>,
    /// CAP_SYS_RESOURCE: without it hard limits can't be raised.
    may_raise_limits: bool,
}

impl Host {
    /// Reads the facts; a machine without cgroup2 at /sys/fs/cgroup is refused.
    pub(crate) fn read() -> Result<Self> {
        let list = format!("{CGROUPS}/cgroup.controllers");
        let controllers = std::fs::read_to_string(&list)
            .with_context(|| format!("{list}: cgroup2 must be there; conformance/bench/run sees to it"))?;
        let status = std::fs::read_to_string("/proc/self/status").context("/proc/self/status")?;
        let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:")).unwrap_or("0").trim();
        let effective = u64::from_str_radix(effective, 16).context("CapEff in /proc/self/status")?;
        Ok(Self {
            controllers: controllers.split_whitespace().map(str::to_owned).collect(),
            may_raise_limits: effective & CAP_SYS_RESOURCE != 0,
        })
    }

    fn has(&self, controller: &str) -> bool {
        self.controllers.iter().any(|have| have == controller)
    }
}

/// A config that every runtime of this run gets, except for its cgroup path and its arguments.
#[derive(Clone, Debug)]
pub(crate) struct Template {
    /// The name of the bundle's directory.
    pub(crate) name: String,
    /// What was changed because this machine can't do it, as sentences for the report.
    pub(crate) adaptations: Vec<String>,
    config: Value,
    bundle: PathBuf,
    rootfs: PathBuf,
}

impl Template {
    /// Reads `bundle`/config.json and adapts it to the machine.
    pub(crate) fn load(bundle: &Path, host: &Host) -> Result<Self> {
        let bundle = bundle.canonicalize().with_context(|| format!("bundle {}", bundle.display()))?;
        let file = bundle.join("config.json");
        let text = std::fs::read_to_string(&file).with_context(|| file.display().to_string())?;
        let mut config: Value = serde_json::from_str(&text).with_context(|| file.display().to_string())?;
        let rootfs = bundle.join(config["root"]["path"].as_str().unwrap_or("rootfs"));
        config["root"]["path"] = json!(rootfs);
        config["process"]["terminal"] = json!(false);
        anchor_binds(&mut config, &bundle);
        let mut adaptations = drop_resources(&mut config, host);
        if !host.may_raise_limits {
            adaptations.extend(lower_rlimits(&mut config)?);
        }
        let name = bundle.file_name().unwrap_or(bundle.as_os_str()).to_string_lossy().into_owned();
        Ok(Self { name, adaptations, config, bundle, rootfs })
    }

    /// The same without limits, and with one of each controller that this machine has: memory, cpu, pids, io, or huge
    /// pages where it has nothing else.
    pub(crate) fn without_and_with_limits(mut self, host: &Host) -> (Self, Self) {
        let rules = self.config["linux"]["resources"]["devices"].take();
        let rules = if rules.is_null() { json!([]) } else { rules };
        self.config["linux"]["resources"] = json!({ "devices": rules });
        let mut limited = Self { config: self.config.clone(), adaptations: Vec::new(), ..self.clone() };
        for (controller, property, limit) in limits() {
            if host.has(controller) {
                limited.config["linux"]["resources"][property] = limit;
                self.adaptations.push(format!(".limits: with linux.resources.{property}"));
            }
        }
        limited.adaptations.clone_from(&self.adaptations);
        (self, limited)
    }

    /// The config for one container.
    fn config(&self, arguments: &[&str], cgroup: &str) -> Result<Value> {
        let program = arguments.first().copied().unwrap_or_default();
        let in_rootfs = self.rootfs.join(program.trim_start_matches('/'));
        // A busybox link is absolute for the container, so only the link itself can be looked at from here.
        if in_rootfs.symlink_metadata().is_err() {
            bail!("{} is missing: the bundle's script `fill` makes the rootfs", in_rootfs.display());
        }
        let mut config = self.config.clone();
        config["process"]["args"] = json!(arguments);
        config["linux"]["cgroupsPath"] = json!(cgroup);
        Ok(config)
    }
}

/// What engines ask for: controller, property, limit. None of them is ever reached.
fn limits() -> Vec<(&'static str, &'static str, Value)> {
    let mut limits = vec![
        ("memory", "memory", json!({ "limit": 512 << 20, "reservation": 256 << 20, "swap": 1 << 30 })),
        ("cpu", "cpu", json!({ "shares": 512, "quota": 150_000, "period": 100_000 })),
        ("pids", "pids", json!({ "limit": 2048 })),
        ("hugetlb", "hugepageLimits", json!([{ "pageSize": "2MB", "limit": 4 << 20 }])),
    ];
    if let Some((major, minor)) = block_device() {
        let rate = json!([{ "major": major, "minor": minor, "rate": 100 << 20 }]);
        limits.push(("io", "blockIO", json!({ "throttleWriteBpsDevice": rate })));
    }
    limits
}

/// Any whole block device.
fn block_device() -> Option<(u64, u64)> {
    let mut devices = std::fs::read_dir("/sys/block").ok()?.filter_map(|entry| {
        let number = std::fs::read_to_string(entry.ok()?.path().join("dev")).ok()?;
        let (major, minor) = number.trim().split_once(':')?;
        Some((major.parse().ok()?, minor.parse().ok()?))
    });
    devices.next()
}

/// Relative sources of bind mounts are relative to the bundle (config.md, "Mounts"); the copy lies elsewhere.
fn anchor_binds(config: &mut Value, bundle: &Path) {
    let Some(mounts) = config.get_mut("mounts").and_then(Value::as_array_mut) else {
        return;
    };
    for mount in mounts {
        let has_option = |name: &str| {
            mount["options"]
                .as_array()
                .is_some_and(|options| options.iter().any(|o| o.as_str() == Some(name)))
        };
        if mount["type"] == "bind" || has_option("bind") || has_option("rbind") {
            let source = mount["source"].as_str().unwrap_or_default();
            mount["source"] = json!(bundle.join(source));
        }
    }
}

/// Removes the limits whose controller the cgroup2 tree doesn't have: a runtime must refuse them.
fn drop_resources(config: &mut Value, host: &Host) -> Vec<String> {
    let limits = [
        ("pids", "pids"),
        ("memory", "memory"),
        ("cpu", "cpu"),
        ("blockIO", "io"),
        ("hugepageLimits", "hugetlb"),
    ];
    let mut said = Vec::new();
    let Some(resources) = config.pointer_mut("/linux/resources").and_then(Value::as_object_mut) else {
        return said;
    };
    for (property, controller) in limits {
        if !host.has(controller) && resources.remove(property).is_some() {
            said.push(format!(
                "linux.resources.{property} removed: no {controller} controller in cgroup2 here"
            ));
        }
    }
    said
}

/// Lowers limits to what this process may set. They aren't removed, so that the call is still measured.
fn lower_rlimits(config: &mut Value) -> Result<Vec<String>> {
    let mut said = Vec::new();
    let Some(rlimits) = config.pointer_mut("/process/rlimits").and_then(Value::as_array_mut) else {
        return Ok(said);
    };
    for rlimit in rlimits {
        let name = rlimit["type"].as_str().unwrap_or_default().to_owned();
        let resource =
            resource(&name).with_context(|| format!("config.json: process.rlimits: type {name:?}"))?;
        let (_, most) = getrlimit(resource).with_context(|| format!("getrlimit({name})"))?;
        let soft = rlimit["soft"].as_u64().unwrap_or(0).min(most);
        let hard = rlimit["hard"].as_u64().unwrap_or(0);
        if hard > most {
            said.push(format!("{name} lowered from {hard} to {most}: CAP_SYS_RESOURCE is missing here"));
            rlimit["hard"] = json!(most);
            rlimit["soft"] = json!(soft);
        }
    }
    Ok(said)
}

/// The limits of getrlimit(2) by their names in config.json.
fn resource(name: &str) -> Option<Resource> {
    Some(match name {
        "RLIMIT_AS" => Resource::RLIMIT_AS,
        "RLIMIT_CORE" => Resource::RLIMIT_CORE,
        "RLIMIT_CPU" => Resource::RLIMIT_CPU,
        "RLIMIT_DATA" => Resource::RLIMIT_DATA,
        "RLIMIT_FSIZE" => Resource::RLIMIT_FSIZE,
        "RLIMIT_LOCKS" => Resource::RLIMIT_LOCKS,
        "RLIMIT_MEMLOCK" => Resource::RLIMIT_MEMLOCK,
        "RLIMIT_MSGQUEUE" => Resource::RLIMIT_MSGQUEUE,
        "RLIMIT_NICE" => Resource::RLIMIT_NICE,
        "RLIMIT_NOFILE" => Resource::RLIMIT_NOFILE,
        "RLIMIT_NPROC" => Resource::RLIMIT_NPROC,
        "RLIMIT_RSS" => Resource::RLIMIT_RSS,
        "RLIMIT_RTPRIO" => Resource::RLIMIT_RTPRIO,
        "RLIMIT_RTTIME" => Resource::RLIMIT_RTTIME,
        "RLIMIT_SIGPENDING" => Resource::RLIMIT_SIGPENDING,
        "RLIMIT_STACK" => Resource::RLIMIT_STACK,
        _ => return None,
    })
}

/// A directory and a cgroup of this run's own. Dropping it removes both.
#[derive(Debug)]
pub(crate) struct Scratch {
    pub(crate) dir: PathBuf,
    /// The name of the directory and of the cgroup, unique on the machine as long as this process lives.
    name: String,
}

impl Scratch {
    /// Makes both below `parent`, which should be a tmpfs: a runtime's state is written there.
    pub(crate) fn make(parent: &Path) -> Result<Self> {
        let name = format!("minidocker-oci-bench-{}", std::process::id());
        let scratch = Self { dir: parent.join(&name), name };
        make_dir(&scratch.dir)?;
        // Made once here, so that the first runtime isn't the one that has to make it.
        make_dir(&scratch.cgroup())?;
        Ok(scratch)
    }

    /// Makes a directory below this one.
    pub(crate) fn make_dir(&self, name: &str) -> Result<PathBuf> {
        let dir = self.dir.join(name);
        make_dir(&dir)?;
        Ok(dir)
    }

    /// Writes a bundle called `name`, in a cgroup of the same name.
    pub(crate) fn make_bundle(&self, name: &str, template: &Template, arguments: &[&str]) -> Result<PathBuf> {
        let bundle = self.make_dir(&format!("bundle-{name}"))?;
        let config = template.config(arguments, &format!("/{}/{name}", self.name))?;
        let file = bundle.join("config.json");
        std::fs::write(&file, config.to_string()).with_context(|| format!("write {}", file.display()))?;
        link_entries(&template.bundle, &bundle)?;
        Ok(bundle)
    }

    fn cgroup(&self) -> PathBuf {
        Path::new(CGROUPS).join(&self.name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        for outcome in [remove_cgroups(&self.cgroup()), std::fs::remove_dir_all(&self.dir)] {
            crate::report::warn_of(&format!("remove {}", self.name), outcome);
        }
    }
}

/// Makes links to what else is in the bundle: hooks learn from the state where the bundle is, and look there.
fn link_entries(from: &Path, to: &Path) -> Result<()> {
    let entries = from.read_dir().with_context(|| format!("bundle {}", from.display()))?;
    for entry in entries {
        let entry = entry.with_context(|| format!("bundle {}", from.display()))?;
        let link = to.join(entry.file_name());
        if entry.file_name() != "config.json" {
            std::os::unix::fs::symlink(entry.path(), &link)
                .with_context(|| format!("symlink {}", link.display()))?;
        }
    }
    Ok(())
}

fn make_dir(dir: &Path) -> Result<()> {
    std::fs::DirBuilder::new().mode(0o700).create(dir).with_context(|| format!("mkdir {}", dir.display()))
}

/// Removes a cgroup with those below it, from the leaves up; its files can't be unlinked and go with it.
fn remove_cgroups(cgroup: &Path) -> std::io::Result<()> {
    for entry in std::fs::read_dir(cgroup)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_cgroups(&entry.path())?;
        }
    }
    std::fs::remove_dir(cgroup)
}

#[cfg(test)]
mod tests {
    use super::{Host, anchor_binds, drop_resources};
    use serde_json::json;
    use std::path::Path;

    #[test]
    fn only_limits_without_a_controller_are_removed() {
        let host = Host { controllers: vec!["memory".to_owned()], may_raise_limits: false };
        let mut config = json!({"linux": {"resources": {"pids": {"limit": 1}, "memory": {}, "devices": []}}});
        assert_eq!(drop_resources(&mut config, &host).len(), 1);
        assert_eq!(config, json!({"linux": {"resources": {"memory": {}, "devices": []}}}));
    }

    #[test]
    fn relative_sources_of_binds_only_are_anchored() {
        let mut config = json!({"mounts": [
            {"type": "bind", "source": "a"},
            {"source": "/b", "options": ["rbind"]},
            {"type": "proc", "source": "proc"},
        ]});
        anchor_binds(&mut config, Path::new("/bundle"));
        let sources: Vec<_> =
            config["mounts"].as_array().unwrap().iter().map(|m| m["source"].clone()).collect();
        assert_eq!(sources, [json!("/bundle/a"), json!("/b"), json!("proc")]);
    }
}
