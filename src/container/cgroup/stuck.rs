//! What processes wait for that neither end nor freeze: proc_pid_stat(5), proc_pid_wchan(5).

use nix::unistd::Pid;

use crate::proc::{Proc, Thread};

/// Which processes are told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Which {
    /// All.
    All,
    /// Those that are not frozen, where that can be seen.
    Awake,
}

/// Where the kernel keeps what is frozen or stopped; its compiler decides which of these has a name of its own.
const STANDING: [&str; 3] = ["do_freezer_trap", "do_signal_stop", "get_signal"];
/// So many are described.
const AT_MOST: usize = 5;

/// The processes in words, with what each of them does in the kernel: `process 17 (cat: state D in wait_answer)`.
pub(super) fn list(pids: &[Pid], which: Which) -> String {
    let Ok(proc) = Proc::open() else { return numbers(pids) };
    let known = pids.iter().filter_map(|pid| Some((*pid, busiest(&proc.threads(*pid))?)));
    let awake = |thread: &Thread| !STANDING.iter().any(|place| thread.wchan.as_deref() == Some(place));
    let chosen: Vec<(Pid, Thread)> =
        known.filter(|(_, thread)| which == Which::All || awake(thread)).collect();
    if chosen.is_empty() {
        return numbers(pids);
    }
    let words: Vec<String> =
        chosen.iter().take(AT_MOST).map(|(pid, thread)| describe(*pid, thread)).collect();
    let more = match chosen.len().saturating_sub(AT_MOST) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("{}{more}", words.join(", "))
}

/// One that can't be interrupted, else any that has not ended: the first thread may have, and another be stuck.
fn busiest(threads: &[Thread]) -> Option<Thread> {
    let stuck = threads.iter().find(|thread| thread.state == 'D');
    let alive = || threads.iter().find(|thread| !matches!(thread.state, 'Z' | 'X'));
    stuck.or_else(alive).or(threads.first()).cloned()
}

fn describe(pid: Pid, thread: &Thread) -> String {
    let place = thread.wchan.as_ref().map(|wchan| format!(" in {wchan}")).unwrap_or_default();
    format!("process {pid} ({}: state {}{place})", thread.name, thread.state)
}

fn numbers(pids: &[Pid]) -> String {
    let numbers: Vec<String> = pids.iter().map(ToString::to_string).collect();
    format!("processes {}", numbers.join(" "))
}

#[cfg(test)]
mod tests {
    use super::busiest;
    use crate::proc::Thread;

    fn thread(state: char) -> Thread {
        Thread { name: "x".into(), state, wchan: None }
    }

    #[test]
    fn a_thread_that_is_stuck_is_told_of_and_not_one_that_has_ended() {
        let state = |states: &str| busiest(&states.chars().map(thread).collect::<Vec<_>>()).map(|t| t.state);
        assert_eq!(["ZSD", "ZS", "Z", ""].map(state), [Some('D'), Some('S'), Some('Z'), None]);
    }
}
