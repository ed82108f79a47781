//! What may not be there after a case: mounts, cgroups, processes, entries of the state root.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;

use crate::command::{text, within};
use crate::lab::{Lab, MARK, unique_prefix};

/// How long what has been killed may take to be gone.
const PATIENCE: Duration = Duration::from_secs(2);

/// proc_pid_mountinfo(5) of this process: mount id, root, mount point, type and source.
pub(crate) fn mounts() -> Vec<String> {
    let line = |line: &str| {
        let fields: Vec<&str> = line.split(' ').collect();
        let source = line.split_once(" - ").map_or("", |(_, source)| source);
        format!("{} {} on {} ({source})", fields[0], fields[3], fields[4])
    };
    text("/proc/self/mountinfo").lines().map(line).collect()
}

impl Lab<'_> {
    /// What is left of the case, after a moment for what is on its way out.
    pub(crate) fn leaks(&self) -> Vec<String> {
        let mut leaks = Vec::new();
        within(PATIENCE, || {
            leaks = self.leaks_now();
            leaks.is_empty()
        });
        leaks
    }

    fn leaks_now(&self) -> Vec<String> {
        let name = |path: PathBuf| path.strip_prefix(self.cgroup()).unwrap_or(&path).display().to_string();
        let mut leaks: Vec<String> = self.new_mounts().into_iter().map(|m| format!("mount {m}")).collect();
        leaks.extend(cgroups_below(&self.cgroup()).into_iter().map(|path| format!("cgroup {}", name(path))));
        leaks.extend(
            self.processes()
                .into_iter()
                .map(|pid| format!("process {}", text(format!("/proc/{pid}/cmdline")).replace('\0', " "))),
        );
        leaks.extend(self.containers().into_iter().map(|id| format!("state of {id}")));
        leaks
    }

    /// Other cases mount in their own directories meanwhile, and nowhere else.
    fn new_mounts(&self) -> Vec<String> {
        let own = format!("{}/", self.dir.display());
        let is_mine = |mount: &String| mount.contains(&own) || !mount.contains(&unique_prefix());
        mounts().into_iter().filter(|m| !self.mounts_before.contains(m) && is_mine(m)).collect()
    }

    /// By cgroup, by the mark in the environment, by a current directory or root in the case's own.
    fn processes(&self) -> Vec<i32> {
        let mark = format!("{MARK}={}\0", self.unique);
        let in_cgroup = format!("/{}/", self.unique);
        let is_mine = |pid: &i32| {
            let proc = Path::new("/proc").join(pid.to_string());
            // A zombie is nobody's process any more; it waits for a parent, which may be this one.
            let stat = text(proc.join("stat"));
            let is_zombie =
                stat.rsplit(')').next().is_none_or(|rest| rest.trim_start().starts_with(['Z', 'X']));
            let inside =
                |name: &str| fs::read_link(proc.join(name)).is_ok_and(|path| path.starts_with(&self.dir));
            u32::try_from(*pid) != Ok(std::process::id())
                && !is_zombie
                && (text(proc.join("cgroup")).contains(&in_cgroup)
                    || text(proc.join("environ")).contains(&mark)
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
        let names = dir.filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned()));
        names.filter(|name| !name.starts_with('.')).collect()
    }

    /// However the case has ended, nothing of it disturbs the next one. What can't be removed stays.
    pub(crate) fn clean_up(&self) {
        for id in self.containers() {
            drop(self.run(["delete", "--force", &id]));
        }
        let everywhere: Vec<PathBuf> =
            cgroups_below(&self.cgroup()).into_iter().chain([self.cgroup()]).collect();
        for cgroup in &everywhere {
            drop(fs::write(cgroup.join("cgroup.freeze"), "0"));
            drop(fs::write(cgroup.join("cgroup.kill"), "1"));
        }
        within(PATIENCE, || {
            let left = self.processes();
            for pid in &left {
                kill(Pid::from_raw(*pid), Signal::SIGKILL).unwrap_or_default();
                waitpid(Pid::from_raw(*pid), Some(WaitPidFlag::WNOHANG)).map(drop).unwrap_or_default();
            }
            left.is_empty()
        });
        within(PATIENCE, || {
            everywhere.iter().filter(|at| fs::remove_dir(at).is_err() && is_there(at)).count() == 0
        });
        for mount in self.new_mounts().iter().rev() {
            let at =
                mount.split_once(" on ").and_then(|(_, rest)| rest.split_once(" (")).map_or("", |(at, _)| at);
            if Path::new(at).starts_with(&self.dir) {
                nix::mount::umount2(at, nix::mount::MntFlags::MNT_DETACH).unwrap_or_default();
            }
        }
        drop(fs::remove_dir_all(&self.dir));
    }
}

fn is_there(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

/// The cgroups in a cgroup, the deepest first.
fn cgroups_below(cgroup: &Path) -> Vec<PathBuf> {
    let Ok(dir) = fs::read_dir(cgroup) else {
        return Vec::new();
    };
    let children = dir.filter_map(Result::ok).filter(|entry| entry.file_type().is_ok_and(|t| t.is_dir()));
    children.flat_map(|child| cgroups_below(&child.path()).into_iter().chain([child.path()])).collect()
}

pub(crate) fn all_pids() -> Vec<i32> {
    let Ok(proc) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    proc.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect()
}
