//! What may not be there after a test: mounts, cgroups, processes, state directories, descriptors.

use std::fs;
use std::path::{Path, PathBuf};

use super::user::session_dir;
use super::{Case, is_there, unique_prefix};

/// The environment variable by which a case's processes are found.
pub(super) const MARK: &str = "MINIDOCKER_OCI_TEST";

/// proc_pid_mountinfo(5) of this process: mount id, root, mount point, type and source, propagation.
pub(super) fn mounts() -> Vec<String> {
    let mountinfo = fs::read("/proc/self/mountinfo").unwrap();
    let line = |line: &str| {
        let fields: Vec<&str> = line.split(' ').collect();
        let (left, source) = line.split_once(" - ").unwrap();
        let sharing: Vec<&str> = left.split(' ').skip(6).collect();
        format!("{} {} on {} ({source}) {sharing:?}", fields[0], fields[3], fields[4])
    };
    String::from_utf8_lossy(&mountinfo).lines().map(line).collect()
}

impl Drop for Case {
    fn drop(&mut self) {
        let leaks = if std::thread::panicking() { Vec::new() } else { self.leaks() };
        self.clean_up();
        assert!(leaks.is_empty(), "left behind by {}:\n{}", super::test_name(), leaks.join("\n"));
    }
}

impl Case {
    /// Looks everywhere; the test has removed what it made itself.
    pub(crate) fn leaks(&self) -> Vec<String> {
        let mut leaks: Vec<String> = self.new_mounts().into_iter().map(|m| format!("mount {m}")).collect();
        leaks.extend(
            self.lost_mounts().into_iter().map(|m| format!("of the host's mounts there is no more {m}")),
        );
        leaks.extend(cgroups_below(&self.cgroup()).into_iter().map(|path| format!("cgroup {path:?}")));
        leaks.extend(self.processes().into_iter().map(|pid| {
            let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            format!("process {pid}: {}", String::from_utf8_lossy(&command).replace('\0', " "))
        }));
        leaks.extend(self.containers().into_iter().map(|id| format!("state directory {id}")));
        leaks.extend(self.descriptors().into_iter().map(|path| format!("descriptor of {path:?}")));
        leaks
    }

    fn new_mounts(&self) -> Vec<String> {
        mounts().into_iter().filter(|m| !self.mounts_before.contains(m) && self.is_mine(m)).collect()
    }

    /// What has been unmounted, or has another propagation by now.
    fn lost_mounts(&self) -> Vec<String> {
        let now = mounts();
        let is_lost = |mount: &&String| !now.contains(mount) && self.is_mine(mount);
        self.mounts_before.iter().filter(is_lost).cloned().collect()
    }

    /// Other cases mount in their own directories meanwhile, and where the ordinary user has what he needs while he is
    /// logged in.
    fn is_mine(&self, mount: &str) -> bool {
        let others = [std::env::temp_dir().join(unique_prefix()), session_dir()];
        let is_in = |dir: &Path| mount.contains(&dir.display().to_string());
        mount.contains(&format!("{}/", self.dir.display())) || !others.iter().any(|dir| is_in(dir))
    }

    /// By cgroup, by the mark in the environment, by a current directory or root in the case's own.
    fn processes(&self) -> Vec<i32> {
        let mark = format!("{MARK}={}\0", self.unique);
        let in_cgroup = format!("/{}/", self.unique);
        let is_mine = |pid: &i32| {
            let proc = Path::new("/proc").join(pid.to_string());
            let text = |name: &str| {
                String::from_utf8_lossy(&fs::read(proc.join(name)).unwrap_or_default()).into_owned()
            };
            // A zombie is nobody's process any more; it waits for a parent, which may be this one. So does the first
            // process of a pid namespace for those in it: PF_EXITING, linux/sched.h.
            let stat = text("stat");
            let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
            let flags = fields.get(6).and_then(|flags| flags.parse::<u32>().ok());
            let is_zombie =
                fields.first().is_none_or(|state| "ZX".contains(state)) || flags.is_none_or(|f| f & 4 != 0);
            let inside =
                |name: &str| fs::read_link(proc.join(name)).is_ok_and(|path| path.starts_with(&self.dir));
            *pid != i32::try_from(std::process::id()).unwrap()
                && !is_zombie
                && (text("cgroup").contains(&in_cgroup)
                    || text("environ").contains(&mark)
                    || inside("cwd")
                    || inside("root"))
        };
        all_pids().into_iter().filter(is_mine).collect()
    }

    /// Entries of the state root. What begins with a dot is a runtime's own, such as a cache.
    fn containers(&self) -> Vec<String> {
        let Ok(dir) = fs::read_dir(&self.state) else {
            return Vec::new();
        };
        let names = dir.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
        names.filter(|name| !name.starts_with('.')).collect()
    }

    /// Of this process, into the case's directory: a test that does not close what it opens hides leaks.
    fn descriptors(&self) -> Vec<PathBuf> {
        let fds = fs::read_dir("/proc/self/fd").unwrap();
        let targets = fds.filter_map(|fd| fs::read_link(fd.ok()?.path()).ok());
        targets.filter(|target| target.starts_with(&self.dir)).collect()
    }

    /// However the test has ended, nothing of it disturbs the next one.
    fn clean_up(&self) {
        for id in self.containers() {
            drop(
                std::process::Command::new(super::runtime())
                    .arg("--root")
                    .arg(&self.state)
                    .args(["delete", "-f", &id])
                    .output(),
            );
        }
        let everywhere = cgroups_below(&self.cgroup()).into_iter().chain([self.cgroup()]);
        for cgroup in everywhere.clone() {
            drop(fs::write(cgroup.join("cgroup.kill"), "1"));
        }
        for pid in self.processes() {
            nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::SIGKILL).ok();
        }
        super::within(super::PATIENCE, || self.processes().is_empty());
        everywhere.for_each(|cgroup| drop(fs::remove_dir(cgroup)));
        for mount in self.new_mounts().iter().rev() {
            let at = mount.split_once(" on ").and_then(|(_, rest)| rest.split_once(" (")).unwrap().0;
            if Path::new(at).starts_with(&self.dir) {
                nix::mount::umount2(at, nix::mount::MntFlags::MNT_DETACH).ok();
            }
        }
        drop(fs::remove_dir_all(&self.dir));
        if is_there(&self.dir) && !std::thread::panicking() {
            panic!("{:?} can't be removed", self.dir);
        }
    }
}

/// The cgroups in a cgroup, the deepest first.
fn cgroups_below(cgroup: &Path) -> Vec<PathBuf> {
    let Ok(dir) = fs::read_dir(cgroup) else {
        return Vec::new();
    };
    let children = dir.filter_map(Result::ok).filter(|entry| entry.file_type().is_ok_and(|t| t.is_dir()));
    children.flat_map(|child| cgroups_below(&child.path()).into_iter().chain([child.path()])).collect()
}

fn all_pids() -> Vec<i32> {
    let proc = fs::read_dir("/proc").unwrap();
    proc.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect()
}
