//! Which state a container is in, and what may be done in it: runtime.md, "State" and "Operations".

use std::fmt;

use crate::error::{Kind, failure};

/// runtime.md, "State".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// `create` has not finished.
    Creating,
    /// The process waits at the gate.
    Created,
    /// The process has been let go.
    Running,
    /// Its cgroup has been told to freeze, before `start` or after it. Not the specification's: runc's.
    Paused,
    /// There is no process.
    Stopped,
}

/// What the status is a function of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The record was made since the machine started.
    pub this_boot: bool,
    /// The record names a process: `create` got as far as that.
    pub recorded: bool,
    /// That process is there, is no zombie, and is not about to be one.
    pub alive: bool,
    /// Nobody has opened its gate.
    pub gate: bool,
    /// Its own cgroup has been told to freeze; that one above it is frozen does not count.
    pub frozen: bool,
}

/// A verb whose admission depends on the status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// `start`
    Start,
    /// `kill`
    Kill,
    /// `delete` without `--force`
    Delete,
    /// `pause`
    Pause,
    /// `resume`
    Resume,
    /// `exec`
    Exec,
    /// `events`
    Events,
    /// `checkpoint`
    Checkpoint,
}

impl Status {
    /// The status, from the facts alone: nothing stored could be out of date.
    pub const fn of(facts: Facts) -> Self {
        match facts {
            Facts { this_boot: true, recorded: false, .. } => Self::Creating,
            Facts { this_boot: true, alive: true, frozen: true, .. } => Self::Paused,
            Facts { this_boot: true, alive: true, gate: true, .. } => Self::Created,
            Facts { this_boot: true, alive: true, gate: false, .. } => Self::Running,
            _ => Self::Stopped,
        }
    }

    /// The specification's word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Creating => "creating",
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
        }
    }

    /// Whether a verb may be run now.
    pub const fn admits(self, verb: Verb) -> bool {
        match verb {
            Verb::Start => matches!(self, Self::Created),
            // Paused, a process gets SIGKILL at once, and any other signal when it goes on.
            Verb::Kill => matches!(self, Self::Created | Self::Running | Self::Paused),
            // The specification says stopped only. containerd deletes what it has created and not started.
            Verb::Delete => matches!(self, Self::Created | Self::Stopped),
            Verb::Pause => matches!(self, Self::Created | Self::Running),
            Verb::Resume => matches!(self, Self::Paused),
            // As runc does: also before `start`. --ignore-paused asks for more.
            Verb::Exec => matches!(self, Self::Created | Self::Running),
            Verb::Events => matches!(self, Self::Created | Self::Running | Self::Paused),
            // Before `start` there is no program that could go on elsewhere.
            Verb::Checkpoint => matches!(self, Self::Running | Self::Paused),
        }
    }
}

/// Why nothing can be started in a container now. In the words of runc, which callers look for.
pub fn cannot_exec(id: &str, status: Status) -> anyhow::Error {
    let text = match status {
        Status::Stopped => {
            format!("cannot exec in a stopped container: container {id}: container not running")
        }
        Status::Paused => {
            format!("container {id}: cannot exec in a paused container (use --ignore-paused to override)")
        }
        // What has no record yet looks as what has none any more.
        _ => format!("cannot exec in container {id}: container not running: it is being created, or deleted"),
    };
    failure(Kind::InvalidState, text)
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

#[cfg(test)]
mod tests {
    use super::{Facts, Status, Verb};

    #[test]
    fn every_combination_of_facts_has_the_status_of_the_table() {
        for bits in 0..32u8 {
            let bit = |n: u8| bits & 1 << n != 0;
            let (this_boot, recorded, alive, gate, frozen) = (bit(0), bit(1), bit(2), bit(3), bit(4));
            let facts = Facts { this_boot, recorded, alive, gate, frozen };
            let expected = match (this_boot, recorded, alive, gate, frozen) {
                (false, ..) => Status::Stopped, // another boot: nothing of it is left
                (true, false, ..) => Status::Creating,
                (true, true, false, ..) => Status::Stopped,
                (true, true, true, _, true) => Status::Paused,
                (true, true, true, true, false) => Status::Created,
                (true, true, true, false, false) => Status::Running,
            };
            assert_eq!(Status::of(facts), expected, "{facts:?}");
        }
    }

    #[test]
    fn a_verb_is_admitted_where_the_specification_says_so() {
        use Status::{Created, Creating, Paused, Running, Stopped};
        let admitting = |verb| [Creating, Created, Running, Paused, Stopped].map(|s: Status| s.admits(verb));
        assert_eq!(admitting(Verb::Start), [false, true, false, false, false]);
        assert_eq!(admitting(Verb::Kill), [false, true, true, true, false]);
        assert_eq!(admitting(Verb::Delete), [false, true, false, false, true]);
        // As runc does.
        assert_eq!(admitting(Verb::Pause), [false, true, true, false, false]);
        assert_eq!(admitting(Verb::Resume), [false, false, false, true, false]);
        assert_eq!(admitting(Verb::Exec), [false, true, true, false, false]);
        assert_eq!(admitting(Verb::Events), [false, true, true, true, false]);
        assert_eq!(admitting(Verb::Checkpoint), [false, false, true, true, false]);
    }
}
