//! A container with limits.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::Driver;
use crate::support::{Bundle, Case, Done, cgroup_root, eventually, is_there, read};

/// A container that has been created under a driver, and its cgroup as the kernel names it.
#[derive(Debug)]
pub(super) struct Limited<'c> {
    case: &'c Case,
    pub(super) bundle: Bundle,
    pub(super) cgroup: PathBuf,
    pub(super) output: Done,
}

/// A bundle whose program is a script, with `linux.resources`, in a place that the driver understands.
pub(super) fn bundle(case: &Case, driver: Driver, script: &str, resources: Value) -> Bundle {
    let bundle = case.script(script, |config| config["linux"]["resources"] = resources);
    if driver == Driver::Systemd {
        let mut config = bundle.config();
        config["linux"]["cgroupsPath"] = json!(format!(":mdt:{}", bundle.id));
        bundle.save(&config);
    }
    bundle
}

/// `create`, however it ends.
pub(super) fn create(case: &Case, driver: Driver, bundle: &Bundle) -> Done {
    call(case, driver, "create", bundle)
}

/// `run` in the foreground, to its end.
pub(super) fn run(case: &Case, driver: Driver, bundle: &Bundle) -> Done {
    call(case, driver, "run", bundle)
}

fn call(case: &Case, driver: Driver, verb: &str, bundle: &Bundle) -> Done {
    let line = driver.options().iter().copied().chain([verb, "-b", bundle.path(), &bundle.id]);
    case.call(line).finish()
}

impl<'c> Limited<'c> {
    /// A created container.
    pub(super) fn created(case: &'c Case, driver: Driver, script: &str, resources: Value) -> Self {
        Self::of(case, driver, bundle(case, driver, script, resources))
    }

    /// The same of a bundle that has more to it.
    pub(super) fn of(case: &'c Case, driver: Driver, bundle: Bundle) -> Self {
        let output = create(case, driver, &bundle).ok();
        let cgroup = cgroup_of(case.pid(&bundle.id));
        Self { case, bundle, cgroup, output }
    }

    /// A running container.
    pub(super) fn started(case: &'c Case, driver: Driver, script: &str, resources: Value) -> Self {
        let limited = Self::created(case, driver, script, resources);
        limited.start();
        limited
    }

    pub(super) fn start(&self) {
        self.case.call(["start", &self.bundle.id]).finish().ok();
    }

    /// What a file of its cgroup says, lines joined. Those of rdma.max may end with a space.
    pub(super) fn read(&self, file: &str) -> String {
        read(self.cgroup.join(file)).lines().map(str::trim_end).collect::<Vec<_>>().join("; ")
    }

    /// A number of a file of lines with key and number.
    pub(super) fn number(&self, file: &str, key: &str) -> u64 {
        let text = read(self.cgroup.join(file));
        let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '));
        value.unwrap_or_else(|| panic!("no {key} in {file}:\n{text}")).trim().parse().unwrap()
    }

    /// How often something has happened for want of memory: at the scope's limit, where it is in one, which its own memory
    /// reaches together with what the kernel needs for it.
    pub(super) fn events(&self, key: &str) -> u64 {
        let above = self.cgroup.parent().unwrap();
        let in_scope = above.extension().is_some_and(|kind| kind == "scope");
        self.number(if in_scope { "../memory.events" } else { "memory.events" }, key)
    }

    /// `update`, however it ends.
    pub(super) fn try_update(&self, resources: &Value) -> Done {
        let file = self.case.file(&format!("{}.update", self.bundle.id), resources.to_string(), 0o644);
        self.case.call(["update", "--resources", file.to_str().unwrap(), &self.bundle.id]).finish()
    }

    /// `update`, which has to work.
    pub(super) fn update(&self, resources: &Value) {
        self.try_update(resources).ok();
    }

    /// Tells its script to go on: see [`GO_ON`].
    pub(super) fn go_on(&self) {
        // In one step: the script removes it at once.
        self.bundle.put("/tmp/ready", "", 0o644);
        std::fs::rename(self.bundle.rootfs("/tmp/ready"), self.bundle.rootfs("/tmp/go")).unwrap();
    }

    /// Waits until its program has printed this line.
    pub(super) fn prints(&self, line: &str) {
        let has = || self.output.lines().iter().any(|other| other == line);
        eventually(&format!("it prints {line:?}"), has);
    }

    /// `delete -f`; nothing of its cgroup is left.
    pub(super) fn delete(self) {
        self.case.delete(&self.bundle.id);
        eventually("the cgroup is gone", || !is_there(&self.cgroup));
    }
}

/// For scripts: waits for [`Limited::go_on`].
pub(super) const GO_ON: &str = "while [ ! -e /tmp/go ]; do usleep 10000; done; rm /tmp/go";

/// Where a process is: proc_pid_cgroup(5), the line of the cgroup2 tree.
fn cgroup_of(pid: i32) -> PathBuf {
    let all = read(Path::new("/proc").join(pid.to_string()).join("cgroup"));
    let path = all.lines().find_map(|line| line.strip_prefix("0::/")).unwrap();
    cgroup_root().unwrap().join(path)
}
