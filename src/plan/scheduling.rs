//! `process.scheduler`, `ioPriority` and `execCPUAffinity`: config.md, "Linux Process"; sched(7), ioprio_set(2).

use super::numbers::Numbers;
use crate::error::{Doing, Result, invalid, unsupported};
use crate::spec::oci::{
    IOPriorityClass, LinuxIOPriority, LinuxSchedulerFlag as Flag, LinuxSchedulerPolicy as Policy, Process,
    Scheduler as Given,
};

/// How a process competes for processors and disks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scheduling {
    /// `None` leaves the caller's.
    pub scheduler: Option<Scheduler>,
    /// `None` leaves the caller's.
    pub io_priority: Option<IoPriority>,
}

/// sched_setattr(2), struct sched_attr.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scheduler {
    /// As the configuration has it, for messages.
    pub name: String,
    /// SCHED_*.
    pub policy: u32,
    /// SCHED_FLAG_*.
    pub flags: u64,
    /// -20 to 19. The kernel looks at it for SCHED_OTHER and SCHED_BATCH only.
    pub nice: i32,
    /// 1 to 99 for SCHED_FIFO and SCHED_RR, 0 for the others.
    pub priority: u32,
    /// Nanoseconds, for SCHED_DEADLINE; 0 for the others.
    pub runtime: u64,
    /// Likewise.
    pub deadline: u64,
    /// Likewise; 0 is the deadline.
    pub period: u64,
}

/// ioprio_set(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IoPriority {
    /// IOPRIO_CLASS_*.
    pub class: u16,
    /// 0, the first, to 7.
    pub level: u16,
}

/// sched_setaffinity(2), for processes that `exec` starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecAffinity {
    /// Before it enters the container's cgroup; empty leaves the caller's.
    pub initial: Numbers,
    /// In there; empty leaves it to the kernel.
    pub last: Numbers,
}

impl Scheduling {
    /// Whether there is nothing to set.
    pub fn is_none(&self) -> bool {
        self.scheduler.is_none() && self.io_priority.is_none()
    }
}

impl Scheduler {
    /// sched(7): a process under SCHED_DEADLINE can't fork, unless its children are to be ordinary ones.
    pub fn forbids_fork(&self) -> bool {
        self.policy == DEADLINE && self.flags & RESET_ON_FORK == 0
    }
}

/// Plans `scheduler` and `ioPriority`.
pub fn plan(process: &Process) -> Result<Scheduling> {
    Ok(Scheduling {
        scheduler: process.scheduler().as_ref().map(scheduler).transpose().doing(|| "scheduler")?,
        io_priority: process.io_priority().as_ref().map(io_priority).transpose().doing(|| "ioPriority")?,
    })
}

/// Plans `execCPUAffinity`.
pub fn exec_affinity(process: &Process) -> Result<Option<ExecAffinity>> {
    let Some(given) = process.exec_cpu_affinity() else { return Ok(None) };
    let list = |name: &str, text: &Option<String>| {
        Numbers::parse(text.as_deref().unwrap_or_default()).doing(|| format!("execCPUAffinity.{name}"))
    };
    Ok(Some(ExecAffinity {
        initial: list("initial", given.initial())?,
        last: list("final", given.cpu_affinity_final())?,
    }))
}

const DEADLINE: u32 = 6;
const RESET_ON_FORK: u64 = 0x01;
const KEEP_POLICY: u64 = 0x08;
const KEEP_PARAMS: u64 = 0x10;

fn scheduler(given: &Given) -> Result<Scheduler> {
    let flags = given.flags().iter().flatten().fold(0, |bits, flag| bits | bit(*flag));
    let scheduler = Scheduler {
        name: given.policy().to_string(),
        policy: policy(*given.policy())?,
        flags,
        nice: given.nice().unwrap_or(0),
        priority: priority(given, flags)?,
        runtime: given.runtime().unwrap_or(0),
        deadline: given.deadline().unwrap_or(0),
        period: given.period().unwrap_or(0),
    };
    if !(-20..=19).contains(&scheduler.nice) {
        return Err(invalid(format!("nice: {} is not in -20..19", scheduler.nice)));
    }
    check_times(&scheduler)?;
    Ok(scheduler)
}

/// linux/sched.h.
fn policy(policy: Policy) -> Result<u32> {
    Ok(match policy {
        Policy::SchedOther => 0,
        Policy::SchedFifo => 1,
        Policy::SchedRr => 2,
        Policy::SchedBatch => 3,
        Policy::SchedIdle => 5,
        Policy::SchedDeadline => DEADLINE,
        Policy::SchedIso => {
            return Err(unsupported("policy: SCHED_ISO is a name without a scheduler: Linux has none"));
        }
    })
}

/// linux/sched.h. The specification has no values for the two clamps: they are 0, like all that is not given.
fn bit(flag: Flag) -> u64 {
    match flag {
        Flag::SchedResetOnFork => RESET_ON_FORK,
        Flag::SchedFlagReclaim => 0x02,
        Flag::SchedFlagDLOverrun => 0x04,
        Flag::SchedFlagKeepPolicy => KEEP_POLICY,
        Flag::SchedFlagKeepParams => KEEP_PARAMS,
        Flag::SchedFlagUtilClampMin => 0x20,
        Flag::SchedFlagUtilClampMax => 0x40,
    }
}

/// Whether the other properties are not to be looked at: then the caller's hold.
fn keeps(flags: u64) -> bool {
    flags & (KEEP_POLICY | KEEP_PARAMS) != 0
}

fn priority(given: &Given, flags: u64) -> Result<u32> {
    let priority = given.priority().unwrap_or(0);
    match given.policy() {
        Policy::SchedFifo | Policy::SchedRr
            if (1..=99).contains(&priority) || (keeps(flags) && priority == 0) =>
        {
            Ok(priority.unsigned_abs())
        }
        Policy::SchedFifo | Policy::SchedRr => {
            Err(invalid(format!("priority: {priority} is not in 1..99, as {} needs it", given.policy())))
        }
        _ if priority == 0 => Ok(0),
        other => Err(invalid(format!("priority: {other} has none, only SCHED_FIFO and SCHED_RR have"))),
    }
}

/// sched(7), "SCHED_DEADLINE": at least 1024 ns, runtime <= deadline <= period, each below 2^63.
fn check_times(scheduler: &Scheduler) -> Result<()> {
    let Scheduler { runtime, deadline, period, .. } = *scheduler;
    if scheduler.policy != DEADLINE {
        return match [("runtime", runtime), ("deadline", deadline), ("period", period)]
            .iter()
            .find(|t| t.1 != 0)
        {
            None => Ok(()),
            Some((name, _)) => {
                Err(invalid(format!("{name}: {} has none, only SCHED_DEADLINE has", scheduler.name)))
            }
        };
    }
    if keeps(scheduler.flags) {
        return Ok(());
    }
    let last = if period == 0 { deadline } else { period };
    if runtime < 1024 {
        return Err(invalid(format!("runtime: {runtime} ns is less than 1024")));
    }
    if runtime > deadline {
        return Err(invalid(format!("deadline: {deadline} ns is less than the runtime of {runtime}")));
    }
    if deadline > last {
        return Err(invalid(format!("period: {period} ns is less than the deadline of {deadline}")));
    }
    match last < 1 << 63 {
        true => Ok(()),
        false => Err(invalid(format!("period: {last} ns is not below 2^63"))),
    }
}

fn io_priority(given: &LinuxIOPriority) -> Result<IoPriority> {
    let class = match given.class() {
        IOPriorityClass::IoprioClassRt => 1,
        IOPriorityClass::IoprioClassBe => 2,
        IOPriorityClass::IoprioClassIdle => 3,
    };
    match u16::try_from(given.priority()) {
        Ok(level) if level < 8 => Ok(IoPriority { class, level }),
        _ => Err(invalid(format!("priority: {} is not in 0..7", given.priority()))),
    }
}

#[cfg(test)]
mod tests {
    use super::{IoPriority, Scheduler, exec_affinity, plan};
    use crate::spec::oci::Process;

    fn process(more: &str) -> Process {
        let config =
            format!(r#"{{"ociVersion":"1.3.0","process":{{"user":{{"uid":0,"gid":0}},"cwd":"/",{more}}}}}"#);
        crate::spec::parse(config.as_bytes()).unwrap().process().clone().unwrap()
    }

    fn scheduler(json: &str) -> Result<Scheduler, String> {
        plan(&process(&format!(r#""scheduler":{{{json}}}"#)))
            .map(|planned| planned.scheduler.unwrap())
            .map_err(|e| format!("{e:#}"))
    }

    #[test]
    fn policies_and_flags_have_the_kernels_numbers() {
        for (name, number, more) in [
            ("OTHER", 0, ""),
            ("FIFO", 1, r#","priority":1"#),
            ("RR", 2, r#","priority":99"#),
            ("BATCH", 3, ""),
            ("IDLE", 5, ""),
            ("DEADLINE", 6, r#","runtime":1024,"deadline":1024"#),
        ] {
            let planned = scheduler(&format!(r#""policy":"SCHED_{name}"{more}"#)).unwrap();
            assert_eq!((planned.policy, planned.nice, planned.flags), (number, 0, 0), "{name}");
        }
        for (flag, bit) in [
            ("RESET_ON_FORK", 1),
            ("RECLAIM", 2),
            ("DL_OVERRUN", 4),
            ("KEEP_POLICY", 8),
            ("KEEP_PARAMS", 16),
            ("UTIL_CLAMP_MIN", 32),
            ("UTIL_CLAMP_MAX", 64),
        ] {
            let planned =
                scheduler(&format!(r#""policy":"SCHED_OTHER","flags":["SCHED_FLAG_{flag}"]"#)).unwrap();
            assert_eq!(planned.flags, bit, "{flag}");
        }
    }

    #[test]
    fn values_out_of_range_and_of_other_policies_are_refused() {
        for (policy, more, words) in [
            ("ISO", "", "scheduler: policy: SCHED_ISO"),
            ("OTHER", r#","nice":-21"#, "scheduler: nice: -21 is not in -20..19"),
            ("BATCH", r#","nice":20"#, "scheduler: nice: 20"),
            ("OTHER", r#","priority":5"#, "scheduler: priority: SCHED_OTHER has none"),
            ("IDLE", r#","priority":-1"#, "scheduler: priority: SCHED_IDLE has none"),
            ("FIFO", "", "scheduler: priority: 0 is not in 1..99"),
            ("RR", r#","priority":100"#, "scheduler: priority: 100 is not in 1..99"),
            ("FIFO", r#","priority":-1"#, "scheduler: priority: -1"),
            ("OTHER", r#","runtime":1"#, "scheduler: runtime: SCHED_OTHER has none"),
            ("FIFO", r#","priority":1,"period":1"#, "scheduler: period: SCHED_FIFO has none"),
            ("DEADLINE", "", "scheduler: runtime: 0 ns is less than 1024"),
            ("DEADLINE", r#","runtime":5000"#, "scheduler: deadline: 0 ns is less"),
            ("DEADLINE", r#","runtime":5000,"deadline":6000,"period":5500"#, "scheduler: period: 5500"),
            ("DEADLINE", r#","runtime":5000,"deadline":9223372036854775808"#, "below 2^63"),
            ("DEADLINE", r#","runtime":5000,"deadline":6000,"priority":1"#, "SCHED_DEADLINE has none"),
        ] {
            let error = scheduler(&format!(r#""policy":"SCHED_{policy}"{more}"#)).unwrap_err();
            assert!(error.contains(words), "{error}");
        }
        // The ends of each range.
        for good in [
            r#""policy":"SCHED_OTHER","nice":-20"#,
            r#""policy":"SCHED_BATCH","nice":19,"priority":0,"runtime":0"#,
            r#""policy":"SCHED_DEADLINE","runtime":42000,"deadline":1000000,"period":1000000,"nice":19"#,
            r#""policy":"SCHED_FIFO","flags":["SCHED_FLAG_KEEP_PARAMS"]"#,
        ] {
            assert!(scheduler(good).is_ok(), "{good}");
        }
    }

    #[test]
    fn only_a_deadline_without_reset_forbids_fork() {
        let times = r#""policy":"SCHED_DEADLINE","runtime":1024,"deadline":1024"#;
        assert!(scheduler(times).unwrap().forbids_fork());
        let reset = format!(r#"{times},"flags":["SCHED_FLAG_RESET_ON_FORK"]"#);
        assert!(!scheduler(&reset).unwrap().forbids_fork());
        assert!(!scheduler(r#""policy":"SCHED_IDLE""#).unwrap().forbids_fork());
    }

    #[test]
    fn io_priorities_are_a_class_and_a_level() {
        let planned = |class: &str, level: i64| {
            let json = format!(r#""ioPriority":{{"class":"IOPRIO_CLASS_{class}","priority":{level}}}"#);
            plan(&process(&json)).map(|planned| planned.io_priority.unwrap()).map_err(|e| format!("{e:#}"))
        };
        assert_eq!(planned("RT", 0), Ok(IoPriority { class: 1, level: 0 }));
        assert_eq!(planned("BE", 7), Ok(IoPriority { class: 2, level: 7 }));
        assert_eq!(planned("IDLE", 4), Ok(IoPriority { class: 3, level: 4 }));
        for bad in [-1, 8, 1 << 40] {
            assert_eq!(planned("BE", bad), Err(format!("ioPriority: priority: {bad} is not in 0..7")));
        }
    }

    #[test]
    fn the_affinity_of_exec_is_two_lists_either_of_which_may_be_missing_or_empty() {
        let planned = |json: &str| {
            let process = process(&format!(r#""execCPUAffinity":{json}"#));
            exec_affinity(&process).map(Option::unwrap).map_err(|e| format!("{e:#}"))
        };
        let both = planned(r#"{"initial":"0-1,3","final":"2000"}"#).unwrap();
        assert_eq!((both.initial.mask(), both.last.mask().len()), (vec![0b1011], 32));
        assert!(planned(r#"{"initial":"0","final":""}"#).unwrap().last.is_empty());
        assert!(planned("{}").unwrap().initial.is_empty());
        let reversed = planned(r#"{"final":"3-1"}"#).unwrap_err();
        assert_eq!(reversed, "execCPUAffinity.final: the range \"3-1\" ends before it begins");
        assert!(planned(r#"{"initial":"40000"}"#).is_err());
        assert!(exec_affinity(&process(r#""args":[]"#)).unwrap().is_none());
    }
}
