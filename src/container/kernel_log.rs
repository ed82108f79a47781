//! The kernel's log, /dev/kmsg: the only place that tells which process was killed for want of memory. A cgroup counts
//! them, and an exit status has the signal, whoever sent it.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use nix::unistd::{SysconfVar, sysconf};

use crate::spec::record::ProcessId;
use crate::sys::Errno;
use crate::sys::fs::{self, OFlag};

/// What the log says of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// It has been killed for want of memory; at this limit, if that is told.
    Killed(Option<Reached>),
    /// It has not, if it has ended.
    NotKilled,
    /// The log can't be read, has other numbers for processes, or does not go back so far.
    Nothing,
}

/// The limit of a cgroup, when somebody had to be killed for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reached {
    /// Relative to the tree's root.
    pub cgroup: PathBuf,
    /// In bytes.
    pub limit: u64,
    /// In bytes.
    pub usage: u64,
}

/// Whether the kernel has killed a process, which is or was in this cgroup or below it, for want of memory.
pub fn asked_of(process: ProcessId, cgroup: &Path) -> Said {
    match (numbers_are_ours(), fs::open("/dev/kmsg", OFlag::O_RDONLY | OFlag::O_NONBLOCK)) {
        (true, Ok(log)) => search(&log, process, cgroup),
        _ => Said::Nothing,
    }
}

/// It counts processes as the first pid namespace does: namespaces(7), linux/proc_ns.h, PROC_PID_INIT_INO.
fn numbers_are_ours() -> bool {
    nix::fcntl::readlink("/proc/self/ns/pid").is_ok_and(|name| name == "pid:[4026531836]")
}

fn search(log: &OwnedFd, process: ProcessId, cgroup: &Path) -> Said {
    let mut oldest = None;
    let mut report = Report::default();
    let mut record = [0; 8192];
    loop {
        match nix::unistd::read(log, &mut record) {
            // Overwritten meanwhile: the next one is there.
            Err(Errno::EPIPE | Errno::EINTR) => continue,
            Ok(length) if length > 0 => {
                let text = String::from_utf8_lossy(&record[..length]);
                oldest = oldest.or_else(|| microseconds(&text));
                if report.names(&text, process.pid, cgroup) {
                    return Said::Killed(report.reached);
                }
            }
            _ => break,
        }
    }
    match oldest.zip(started(process)) {
        Some((oldest, started)) if oldest <= started => Said::NotKilled,
        _ => Said::Nothing,
    }
}

/// What the kernel writes before it kills: mm/oom_kill.c. It leaves all but the last line out when it kills often.
#[derive(Debug, Default)]
struct Report {
    /// Until it is known of which cgroup.
    numbers: Option<(u64, u64)>,
    reached: Option<Reached>,
    /// In which cgroup the process is that will be killed.
    victims: Option<PathBuf>,
}

impl Report {
    /// Takes the next record in; true if it tells of this process's end. Its number alone may be that of another one,
    /// before it or after it, so its cgroup has to be the one as well, if that is told.
    fn names(&mut self, record: &str, pid: i32, cgroup: &Path) -> bool {
        let Some(text) = kernels(record) else { return false };
        let relative = |path: &str| PathBuf::from(path.trim_start_matches('/'));
        if let Some(numbers) = text.strip_prefix("memory: usage ") {
            self.numbers = usage_and_limit(numbers);
        } else if let Some(path) = text.strip_prefix("Memory cgroup stats for ") {
            let path = relative(path.trim_end().trim_end_matches(':'));
            self.reached = self.numbers.take().map(|(usage, limit)| Reached { cgroup: path, limit, usage });
        } else if let Some((_, rest)) =
            text.strip_prefix("oom-kill:").and_then(|text| text.split_once("task_memcg="))
        {
            self.victims = rest.split(",task=").next().map(relative);
        } else if let Some(victim) = victim(text) {
            let is_there = self.victims.as_ref().is_none_or(|path| path.starts_with(cgroup));
            if is_there && victim == pid {
                return true;
            }
            *self = Self::default();
        }
        false
    }
}

/// `Memory cgroup out of memory: Killed process 766 (name) ...`. It begins the line: what else the kernel writes may have
/// these words in a name that somebody has chosen.
fn victim(text: &str) -> Option<i32> {
    const BEGINS: [&str; 3] =
        ["Memory cgroup out of memory", "Out of memory", "Out of memory (oom_kill_allocating_task)"];
    let (begin, rest) = text.split_once(": Killed process ")?;
    rest.split_once(" (").filter(|_| BEGINS.contains(&begin))?.0.parse().ok()
}

/// `16384kB, limit 16384kB, failcnt 36`
fn usage_and_limit(text: &str) -> Option<(u64, u64)> {
    let (usage, rest) = text.split_once("kB, limit ")?;
    let bytes = |kib: &str| kib.parse::<u64>().ok()?.checked_mul(1024);
    Some((bytes(usage)?, bytes(rest.split_once("kB")?.0)?))
}

/// Documentation/ABI/testing/dev-kmsg: `priority,number,microseconds,flags;text`. A line that a program has written
/// has a facility in its priority.
fn kernels(record: &str) -> Option<&str> {
    let (head, text) = record.split_once(';')?;
    let priority = head.split(',').next()?.parse::<u32>().ok()?;
    (priority < 8).then_some(text)
}

/// Its start in the log's clock.
fn started(process: ProcessId) -> Option<u64> {
    let ticks = sysconf(SysconfVar::CLK_TCK).ok().flatten().and_then(|hertz| u64::try_from(hertz).ok())?;
    process.start.0.checked_mul(1_000_000)?.checked_div(ticks)
}

fn microseconds(record: &str) -> Option<u64> {
    record.split(',').nth(2)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{Reached, Report, microseconds};
    use std::path::Path;

    /// What is found of a process of the cgroup `a/c`.
    fn found(records: &[&str], pid: i32) -> Option<Option<Reached>> {
        let mut report = Report::default();
        let named = records.iter().any(|record| report.names(record, pid, Path::new("a/c")));
        named.then_some(report.reached)
    }

    const KILLED: &str =
        "3,9,7400000,-;Memory cgroup out of memory: Killed process 766 (a b) total-vm:7408kB\n";

    #[test]
    fn a_victim_is_known_by_its_whole_number() {
        assert_eq!(
            [766, 76, 66, 7660].map(|pid| found(&[KILLED], pid).is_some()),
            [true, false, false, false]
        );
        assert_eq!(found(&["3,1,1,-;Out of memory: Killed process 766 (x) total-vm:1kB\n"], 766), Some(None));
        assert_eq!(microseconds(KILLED), Some(7_400_000));
    }

    #[test]
    fn the_limit_and_the_cgroup_are_those_that_were_told_just_before() {
        let told = [
            "6,5,1,-;memory: usage 64kB, limit 96kB, failcnt 5\n",
            "6,6,1,-;swap: usage 0kB, limit 0kB, failcnt 0\n",
            "6,7,1,-;Memory cgroup stats for /a:\n",
            "6,8,1,-;oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),oom_memcg=/a,task_memcg=/a/c/d,task=x,pid=766,uid=0\n",
            KILLED,
        ];
        let reached = Reached { cgroup: "a".into(), limit: 96 << 10, usage: 64 << 10 };
        assert_eq!(found(&told, 766), Some(Some(reached)));
        let elsewhere = told.map(|record| record.replace("task_memcg=/a/c", "task_memcg=/a/cc"));
        let elsewhere: Vec<&str> = elsewhere.iter().map(String::as_str).collect();
        assert_eq!(found(&elsewhere, 766), None);
        // Of another one's end nothing is left.
        let other = KILLED.replace("766", "767");
        assert_eq!(found(&[&told[..4], &[&other, KILLED]].concat(), 766), Some(None));
    }

    #[test]
    fn what_a_program_writes_into_the_log_tells_nothing() {
        let forged = "11,431,7400000,-;Memory cgroup out of memory: Killed process 766 (x) total-vm:1kB\n";
        for other in [
            forged,
            "",
            "3,1,1,-",
            "x,1,1,-;Out of memory: Killed process 766 (x)",
            "3,1,1,-;overlayfs: failed to resolve '/Out of memory: Killed process 766 (x)': -2",
            "3,1,1,-;Killed process 766 (",
        ] {
            assert_eq!(found(&[other], 766), None, "{other}");
        }
    }
}
