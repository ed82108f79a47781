//! Runs in: host. Scheduler and I/O priority of a process of the container: in a user namespace it could not
//! set them itself, for they are privileges of the host (sched(7), "Privileges and resource limits").

use nix::unistd::Pid;

use crate::error::{Doing, Kind, Result, failure};
use crate::plan::scheduling::{IoPriority, Scheduler, Scheduling};
use crate::sys::sched::{self, SchedAttr};
use crate::sys::{Errno, SysError};

/// Sets what is asked for; the process is alone in its process group.
pub(super) fn set(pid: Pid, wanted: &Scheduling) -> Result<()> {
    if let Some(scheduler) = &wanted.scheduler {
        set_scheduler(pid, scheduler).doing(|| "scheduler")?;
    }
    let set = |io: IoPriority| sched::set_io_priority(pid, io.class, io.level).map_err(explain_io);
    wanted.io_priority.map_or(Ok(()), set).doing(|| "ioPriority")
}

fn set_scheduler(pid: Pid, wanted: &Scheduler) -> Result<()> {
    let attr = SchedAttr {
        policy: wanted.policy,
        flags: wanted.flags,
        nice: wanted.nice,
        priority: wanted.priority,
        times: [wanted.runtime, wanted.deadline, wanted.period],
    };
    sched::set_scheduler(pid, attr, &wanted.name).map_err(|error| explain(error, &wanted.name))
}

/// sched_setattr(2), sched(7).
fn explain(error: SysError, policy: &str) -> anyhow::Error {
    let hint = match (error.errno, policy) {
        (Errno::EPERM, "SCHED_DEADLINE") => {
            "it takes CAP_SYS_NICE, and a process that may run on all processors of its root domain (taskset, cpuset)"
        }
        (Errno::EPERM, "SCHED_FIFO" | "SCHED_RR") => {
            "it takes CAP_SYS_NICE, and where real-time processes are scheduled by group (CONFIG_RT_GROUP_SCHED) \
             a cgroup with some cpu.rt_runtime_us"
        }
        (Errno::EPERM, _) => "a higher priority than the caller's takes CAP_SYS_NICE, or RLIMIT_NICE",
        (Errno::EBUSY, _) => {
            "the processors have no time left for it: runtime/period of all such processes is limited by \
             /proc/sys/kernel/sched_rt_runtime_us"
        }
        (Errno::EOPNOTSUPP, _) => "this kernel has no utilization clamping (CONFIG_UCLAMP_TASK)",
        (Errno::EINVAL, "SCHED_DEADLINE") => {
            "the period has to be within /proc/sys/kernel/sched_deadline_period_{min,max}_us"
        }
        _ => return error.into(),
    };
    failure(Kind::System, format!("{error}; {hint}"))
}

fn explain_io(error: SysError) -> anyhow::Error {
    match error.errno {
        Errno::EPERM => {
            failure(Kind::System, format!("{error}; IOPRIO_CLASS_RT takes CAP_SYS_NICE or CAP_SYS_ADMIN"))
        }
        _ => error.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::{Errno, SysError, explain, explain_io};

    #[test]
    fn what_the_kernel_refuses_is_told_with_a_remedy() {
        let error = |errno| SysError { call: "call()".to_owned(), errno };
        for (policy, errno, words) in [
            ("SCHED_OTHER", Errno::EPERM, "RLIMIT_NICE"),
            ("SCHED_RR", Errno::EPERM, "cpu.rt_runtime_us"),
            ("SCHED_DEADLINE", Errno::EPERM, "root domain"),
            ("SCHED_DEADLINE", Errno::EBUSY, "sched_rt_runtime_us"),
            ("SCHED_DEADLINE", Errno::EINVAL, "sched_deadline_period"),
            ("SCHED_OTHER", Errno::EOPNOTSUPP, "CONFIG_UCLAMP_TASK"),
            ("SCHED_OTHER", Errno::ESRCH, "(ESRCH)"),
        ] {
            let text = format!("{:#}", explain(error(errno), policy));
            assert!(text.starts_with("call(): ") && text.contains(words), "{text}");
        }
        assert!(format!("{:#}", explain_io(error(Errno::EPERM))).contains("CAP_SYS_NICE"));
    }
}
