//! Processes and their threads: proc_pid_stat(5), proc_pid_task(5).

use std::collections::BTreeSet;
use std::os::fd::OwnedFd;

use nix::unistd::Pid;

use super::Proc;
use crate::error::{Doing, Kind, Result, errno_of, failure};
use crate::sys::fs::OFlag;
use crate::sys::{Call, Errno, retry_eintr};

/// A process's identity for as long as the machine runs: a pid alone may be another process's by now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct StartTime(
    /// proc_pid_stat(5), field 22: clock ticks since boot.
    pub u64,
);

/// The file that tells of one process, and never of a later one of its pid.
#[derive(Debug)]
pub struct ProcessStat(OwnedFd);

/// proc_pid_stat(5), at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// Field 22.
    pub start: StartTime,
    /// Field 3: it is a zombie. Field 20: a process whose first thread has ended goes on with the others.
    pub ended: bool,
    /// Field 9, PF_EXITING: it ends, and has nothing left to be joined, but may wait for others on its way.
    pub ending: bool,
    /// Field 3: it has been stopped, by a signal or by who traces it.
    pub stopped: bool,
    /// Field 9, PF_FORKNOEXEC: it has made an execve, and is not what it was when it was forked.
    pub executed: bool,
}

/// What a thread does, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thread {
    /// proc_pid_comm(5).
    pub name: String,
    /// proc_pid_stat(5), field 3.
    pub state: char,
    /// The kernel's function that it waits in: proc_pid_wchan(5).
    pub wchan: Option<String>,
}

impl Proc {
    /// All processes.
    pub fn all(&self) -> Result<Vec<Pid>> {
        let dir = self.file(".", OFlag::O_RDONLY | OFlag::O_DIRECTORY)?;
        let mut dir = nix::dir::Dir::from_fd(dir).call(|| "fdopendir(\"/proc\")")?;
        let pids = dir.iter().filter_map(|entry| entry.ok()?.file_name().to_str().ok()?.parse().ok());
        Ok(pids.map(Pid::from_raw).collect())
    }

    /// The processes of a pid namespace, as far as this one may know which they are in.
    pub fn processes_in(&self, namespace: u64) -> Result<Vec<(Pid, Stat)>> {
        let mut found = Vec::new();
        let is_in = |pid: &Pid| self.namespace(*pid, "pid").ok() == Some(namespace);
        for pid in self.all()?.into_iter().filter(is_in) {
            found.extend(self.process(pid)?.map(|(_, now)| (pid, now)));
        }
        Ok(found)
    }

    /// The children of this thread: proc_pid_task_children(5), CONFIG_PROC_CHILDREN.
    pub fn children(&self) -> Result<BTreeSet<Pid>> {
        Ok(pids(&self.read("thread-self/children")?).collect())
    }

    /// The children of another process, of all of its threads; none of one that has been reaped.
    pub fn children_of(&self, pid: Pid) -> Result<Vec<Pid>> {
        Ok(self.read_of_threads(pid, "children")?.iter().flat_map(|text| pids(text)).collect())
    }

    /// Whether all threads of a process have no_new_privs: proc_pid_status(5).
    pub fn has_no_new_privs(&self, pid: Pid) -> Result<bool> {
        let has = |text: &Vec<u8>| String::from_utf8_lossy(text).lines().any(|line| line == "NoNewPrivs:\t1");
        Ok(self.read_of_threads(pid, "status")?.iter().all(has))
    }

    /// The threads of a process: proc_pid_task(5). Those that end meanwhile are left out, as is all that is forbidden.
    pub fn threads(&self, pid: Pid) -> Vec<Thread> {
        let tids = self.tids(pid).unwrap_or_default();
        tids.iter().filter_map(|tid| self.thread(&format!("{pid}/task/{tid}"))).collect()
    }

    /// The numbers of a process's threads; none of one that has been reaped.
    fn tids(&self, pid: Pid) -> Result<Vec<i32>> {
        let path = format!("{pid}/task");
        let dir = match self.file(&path, OFlag::O_RDONLY | OFlag::O_DIRECTORY) {
            Err(error) if has_gone(&error) => return Ok(Vec::new()),
            opened => opened?,
        };
        let mut dir = nix::dir::Dir::from_fd(dir).call(|| format!("fdopendir(\"/proc/{path}\")"))?;
        Ok(dir.iter().filter_map(|entry| entry.ok()?.file_name().to_str().ok()?.parse().ok()).collect())
    }

    /// A file of each thread that has not ended meanwhile.
    fn read_of_threads(&self, pid: Pid, name: &str) -> Result<Vec<Vec<u8>>> {
        let mut texts = Vec::new();
        for tid in self.tids(pid)? {
            match self.read(&format!("{pid}/task/{tid}/{name}")) {
                Err(error) if has_gone(&error) => {}
                read => texts.push(read?),
            }
        }
        Ok(texts)
    }

    fn thread(&self, path: &str) -> Option<Thread> {
        let text = |name: &str| {
            let bytes = self.read(&format!("{path}/{name}")).ok()?;
            Some(String::from_utf8_lossy(&bytes).into_owned())
        };
        let stat = text("stat")?;
        let (name, rest) = stat.split_once('(')?.1.rsplit_once(')')?;
        // 0 for one that runs, or for who may not know.
        let wchan = text("wchan").filter(|wchan| !wchan.is_empty() && wchan != "0");
        Some(Thread { name: name.to_owned(), state: rest.trim_start().chars().next()?, wchan })
    }

    /// A process, its zombie included; `None` if there is none of this pid.
    pub fn process(&self, pid: Pid) -> Result<Option<(ProcessStat, Stat)>> {
        let path = format!("{pid}/stat");
        let file = match self.file(&path, OFlag::O_RDONLY) {
            Err(error) if errno_of(&error) == Some(Errno::ENOENT) => return Ok(None),
            opened => ProcessStat(opened?),
        };
        let now = file.read().doing(|| format!("/proc/{path}"))?;
        Ok(now.map(|now| (file, now)))
    }
}

fn pids(text: &[u8]) -> impl Iterator<Item = Pid> {
    let words = text.split(u8::is_ascii_whitespace);
    words.filter_map(|word| std::str::from_utf8(word).ok()?.parse().ok()).map(Pid::from_raw)
}

fn has_gone(error: &anyhow::Error) -> bool {
    matches!(errno_of(error), Some(Errno::ENOENT | Errno::ESRCH))
}

impl ProcessStat {
    /// How it is now; `None` if it has ended and been reaped.
    pub fn read(&self) -> Result<Option<Stat>> {
        let mut text = [0; 2048];
        let length = match retry_eintr(|| nix::sys::uio::pread(&self.0, &mut text, 0)) {
            Err(Errno::ESRCH) => return Ok(None),
            read => read.call(|| "pread()")?,
        };
        let parsed = text.get(..length).and_then(|text| parse_stat(&String::from_utf8_lossy(text)));
        parsed.map(Some).ok_or_else(|| failure(Kind::System, "not in the form of proc_pid_stat(5)"))
    }
}

/// proc_pid_stat(5). The command, field 2, may have spaces and parentheses: the last one ends it.
fn parse_stat(stat: &str) -> Option<Stat> {
    /// linux/sched.h: getting shut down.
    const PF_EXITING: u32 = 0x04;
    /// linux/sched.h: forked, but didn't exec.
    const PF_FORKNOEXEC: u32 = 0x40;
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    let state = fields.next()?;
    let flags: u32 = fields.nth(5)?.parse().ok()?;
    let threads: u32 = fields.nth(10)?.parse().ok()?;
    let start = StartTime(fields.nth(1)?.parse().ok()?);
    let is_last = threads <= 1;
    Some(Stat {
        start,
        ended: is_last && matches!(state, "Z" | "X"),
        ending: is_last && flags & PF_EXITING != 0,
        stopped: matches!(state, "T" | "t"),
        executed: flags & PF_FORKNOEXEC == 0,
    })
}

#[cfg(test)]
mod tests {
    use nix::unistd::Pid;

    use super::{StartTime, Stat, parse_stat};
    use crate::proc::Proc;

    #[test]
    fn a_command_with_spaces_and_parentheses_does_not_shift_the_fields() {
        let rest = "S 1 2 3 4 5 4194304 7 8 9 10 11 12 13 14 15 16 17 18 4242 20 21";
        let start = StartTime(4242);
        let expected = Stat { start, ended: false, ending: false, stopped: false, executed: true };
        assert_eq!(parse_stat(&format!("17 (a) b (c) {rest}")), Some(expected));
    }

    #[test]
    fn a_zombie_has_ended_and_still_tells_whether_it_became_a_program() {
        let rest = "7 8 9 10 11 12 13 14 15 16 1 18 4242 20 21";
        for (flags, ending, executed) in [(4_194_304 + 64, false, false), (4_194_304 + 4, true, true)] {
            let start = StartTime(4242);
            let expected = Stat { start, ended: true, ending, stopped: false, executed };
            assert_eq!(parse_stat(&format!("17 (sh) Z 1 2 3 4 5 {flags} {rest}")), Some(expected));
        }
    }

    #[test]
    fn a_process_has_no_new_privs_if_all_of_its_threads_have() {
        let proc = Proc::open().unwrap();
        let (own, before) = (Pid::this(), proc.has_no_new_privs(Pid::this()).unwrap());
        std::thread::scope(|scope| {
            let other = scope.spawn(|| {
                nix::sys::prctl::set_no_new_privs().unwrap();
                proc.has_no_new_privs(own).unwrap()
            });
            assert_eq!(other.join().unwrap(), before, "one thread has them, the others as before");
        });
        assert!(proc.has_no_new_privs(Pid::from_raw(i32::MAX)).unwrap(), "there is none");
    }

    #[test]
    fn a_process_whose_first_thread_has_ended_has_not() {
        let of = |threads: u32| {
            let rest = format!("7 8 9 10 11 12 13 14 15 16 {threads} 18 4242 20 21");
            let now = parse_stat(&format!("17 (pt) Z 1 2 3 4 5 4194308 {rest}")).unwrap();
            (now.ended, now.ending)
        };
        assert_eq!([2, 1, 0].map(of), [(false, false), (true, true), (true, true)]);
    }
}
