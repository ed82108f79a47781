//! The table of resources: each property of `linux.resources` on each runtime, under each driver, read back from the
//! kernel. `conformance/resources.rs` has the properties, and why runtimes differ.

mod disk;
mod known;
mod table;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::clause::{Stop, fail};
use crate::command::text;
use crate::container::Container;
use crate::draft::Draft;
use crate::lab::{self, CGROUP, Lab};
use crate::runtime::Runtime;
pub(crate) use cases::{RESOURCES, Resource, Wanted};
use disk::Disk;
use known::{Known, Values};

#[expect(dead_code, reason = "tests/containers looks for the words of a refusal")]
#[path = "../../resources.rs"]
mod cases;

/// Who makes the cgroup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Driver {
    Cgroupfs,
    Systemd,
}

impl Driver {
    const ALL: [Self; 2] = [Self::Cgroupfs, Self::Systemd];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Cgroupfs => "cgroupfs",
            Self::Systemd => "systemd",
        }
    }

    fn options(self) -> &'static [&'static str] {
        match self {
            Self::Cgroupfs => &[],
            Self::Systemd => &["--systemd-cgroup"],
        }
    }

    /// Whether this machine and this runtime have it.
    fn is_there(self, runtime: &Runtime) -> bool {
        self == Self::Cgroupfs || Path::new("/run/systemd/system").is_dir() && has_systemd(runtime)
    }

    fn place<'l>(self, draft: Draft<'l>, lab: &Lab<'_>) -> Draft<'l> {
        match self {
            Self::Cgroupfs => draft,
            Self::Systemd => draft.with("linux/cgroupsPath", format!(":conformance:{}", lab.unique)),
        }
    }
}

/// What `features` says of the driver; runtimes that don't say it have it.
fn has_systemd(runtime: &Runtime) -> bool {
    let output = Command::new(&runtime.program).arg("features").output();
    let features = output.ok().and_then(|output| serde_json::from_slice::<Value>(&output.stdout).ok());
    features.is_none_or(|features| features["linux"]["cgroup"]["systemd"] != json!(false))
}

/// Tries everything that this machine has the controllers for and `dir` does not know from other machines, adds it, and
/// writes the table there. What is wrong with it, a line each.
pub(crate) fn run(runtimes: &[Runtime], scratch: &Path, dir: &Path) -> Result<Vec<String>> {
    nix::sys::prctl::set_child_subreaper(true)?;
    let mut known = Known::load(&dir.join("resources.json"))?;
    let disk = Disk::make(scratch);
    for runtime in runtimes {
        known.set_version(&runtime.name, &runtime.version);
        for driver in Driver::ALL.into_iter().filter(|driver| driver.is_there(runtime)) {
            let unknown: Vec<_> =
                RESOURCES.iter().filter(|r| known.get(driver, r, &runtime.name).is_none()).collect();
            for resource in unknown {
                let trial = Trial { runtime, driver, resource, disk: disk.as_ref() };
                if let Some(values) = trial.values(scratch)? {
                    known.set(driver, resource, &runtime.name, values);
                }
            }
        }
    }
    known.save()?;
    let (text, problems) = table::render(&known, runtimes);
    let file = dir.join("resources.md");
    fs::write(&file, text).with_context(|| format!("write {}", file.display()))?;
    Ok(problems)
}

/// One property on one runtime.
#[derive(Debug)]
struct Trial<'a> {
    runtime: &'a Runtime,
    driver: Driver,
    resource: &'static Resource,
    disk: Option<&'a Disk>,
}

impl Trial<'_> {
    /// `None` where this machine lacks what it takes.
    fn values(&self, scratch: &Path) -> Result<Option<Values>> {
        let stopped = |stop: Stop| anyhow::anyhow!("{}: {stop:?}", self.resource.property);
        let lab = Lab::open(self.runtime, scratch).map_err(stopped)?;
        let values = if self.is_possible(&lab) { Some(self.tried(&lab).map_err(stopped)) } else { None };
        lab.clean_up();
        values.transpose()
    }

    fn is_possible(&self, lab: &Lab<'_>) -> bool {
        if let Some(controller) = self.resource.controller() {
            // What every runtime would do on its way.
            drop(fs::write(Path::new(CGROUP).join("cgroup.subtree_control"), format!("+{controller}")));
        }
        let processors = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        match self.resource.wanted {
            Wanted::File(file, _) if !lab.cgroup().join(file).exists() => false,
            // Which comes first where it is there.
            Wanted::File("io.weight", _) if lab.cgroup().join("io.bfq.weight").exists() => false,
            Wanted::File("cpuset.cpus", _) => processors() > 1,
            Wanted::File("rdma.max", _) => Path::new("/sys/class/infiniband/rxe0").exists(),
            _ => !self.resource.is_of_a_device() || self.disk.is_some(),
        }
    }

    fn json(&self, json: &str) -> Result<Value, Stop> {
        Ok(serde_json::from_str(&Resource::of(json, self.disk.map_or((0, 0), |disk| disk.number)))?)
    }

    fn tried(&self, lab: &Lab<'_>) -> Result<Values, Stop> {
        let draft = || {
            Ok::<_, Stop>(
                self.driver.place(lab.base(), lab).with("linux/resources", self.json(self.resource.create)?),
            )
        };
        match self.resource.wanted {
            Wanted::Device(path, _) => {
                Ok([self.opens(draft()?, path, false)?, self.opens(draft()?, path, true)?])
            }
            Wanted::File(file, _) => self.reads(draft()?, Some(file)),
            Wanted::Nothing | Wanted::Refused(_) => self.reads(draft()?, None),
        }
    }

    fn create<'l>(&self, draft: Draft<'l>) -> Result<Option<Container<'l>>, Stop> {
        let bundle = draft.save()?;
        let done = bundle.create_call(self.driver.options()).finish()?;
        if done.code() != 0 {
            return Ok(None);
        }
        Container::of(bundle, &done).map(Some)
    }

    /// What a file says after `create`, and after `update`.
    fn reads(&self, draft: Draft<'_>, file: Option<&str>) -> Result<Values, Stop> {
        let Some(container) = self.create(draft)? else {
            return Ok(["refused".to_owned(), String::new()]);
        };
        let read = || file.map_or("accepted".to_owned(), |file| self.read(&container, file));
        let created = read();
        let updated = match self.resource.update {
            "" => String::new(),
            json if self.update(&container, json)? => read(),
            _ => "refused".to_owned(),
        };
        container.remove()?;
        Ok([created, updated])
    }

    fn read(&self, container: &Container<'_>, file: &str) -> String {
        let path = cgroup_of(container.pid).join(file);
        if !path.exists() {
            return "no file".to_owned();
        }
        let lines: Vec<String> = text(path).lines().map(|line| line.trim_end().to_owned()).collect();
        let numbers = self.disk.map(|disk| format!("{}:{}", disk.number.0, disk.number.1));
        let text = lines.join("; ");
        match numbers.filter(|_| self.resource.is_of_a_device()) {
            Some(numbers) => text.replace(&numbers, "N:N"),
            None => text,
        }
    }

    /// Whether it has worked.
    fn update(&self, container: &Container<'_>, json: &str) -> Result<bool, Stop> {
        let file = container.lab().file("update.json", self.json(json)?.to_string(), 0o644)?;
        let line = ["update".as_ref(), "--resources".as_ref(), file.as_os_str(), container.id().as_ref()];
        Ok(container.lab().run(line)?.code() == 0)
    }

    /// Whether the program of a container can open a device for writing.
    fn opens(&self, draft: Draft<'_>, path: &str, updated: bool) -> Result<String, Stop> {
        let node = json!({ "path": path, "type": "c", "major": 1, "minor": 11, "fileMode": 0o666 });
        let draft = draft.with("linux/devices/-", node).ask("open", json!([path, "w"]));
        let Some(container) = self.create(draft)? else {
            return fail("create has failed");
        };
        if updated && !self.update(&container, self.resource.update)? {
            container.remove()?;
            return Ok("refused".to_owned());
        }
        container.start()?;
        let seen = container.seen();
        container.remove()?;
        Ok(match &seen?.0["open"][format!("w:{path}")] {
            Value::Null => "opens".to_owned(),
            other => other.as_str().unwrap_or("?").to_owned(),
        })
    }
}

/// Where a process is: /proc/PID/cgroup, the line of the cgroup2 tree.
fn cgroup_of(pid: i32) -> PathBuf {
    let all = text(format!("/proc/{pid}/cgroup"));
    let path = all.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or("").to_owned();
    Path::new(lab::CGROUP).join(path)
}
