//! Which state a container is in, and what may be done in it: runtime.md, "State" and "Operations".

use std::fmt;

use crate::spec::oci::ContainerState;

/// runtime.md, "State".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// `create` has not finished.
    Creating,
    /// The process waits at the gate.
    Created,
    /// The process has been let go.
    Running,
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
    /// That process is there, and is no zombie.
    pub alive: bool,
    /// Nobody has opened its gate.
    pub gate: bool,
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
}

impl Status {
    /// The status, from the facts alone: nothing stored could be out of date.
    pub const fn of(facts: Facts) -> Self {
        match facts {
            Facts { this_boot: true, recorded: false, .. } => Self::Creating,
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
            Self::Stopped => "stopped",
        }
    }

    /// Whether a verb may be run now.
    pub const fn admits(self, verb: Verb) -> bool {
        match verb {
            Verb::Start => matches!(self, Self::Created),
            Verb::Kill => matches!(self, Self::Created | Self::Running),
            // The specification says stopped only. containerd deletes what it has created and not started.
            Verb::Delete => matches!(self, Self::Created | Self::Stopped),
        }
    }
}

impl From<Status> for ContainerState {
    fn from(status: Status) -> Self {
        match status {
            Status::Creating => Self::Creating,
            Status::Created => Self::Created,
            Status::Running => Self::Running,
            Status::Stopped => Self::Stopped,
        }
    }
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
        for bits in 0..16u8 {
            let bit = |n: u8| bits & 1 << n != 0;
            let facts = Facts { this_boot: bit(0), recorded: bit(1), alive: bit(2), gate: bit(3) };
            let expected = match (bit(0), bit(1), bit(2), bit(3)) {
                (false, ..) => Status::Stopped, // another boot: nothing of it is left
                (true, false, ..) => Status::Creating,
                (true, true, false, _) => Status::Stopped,
                (true, true, true, true) => Status::Created,
                (true, true, true, false) => Status::Running,
            };
            assert_eq!(Status::of(facts), expected, "{facts:?}");
        }
    }

    #[test]
    fn a_verb_is_admitted_where_the_specification_says_so() {
        use Status::{Created, Creating, Running, Stopped};
        let admitting = |verb| [Creating, Created, Running, Stopped].map(|s: Status| s.admits(verb));
        assert_eq!(admitting(Verb::Start), [false, true, false, false]);
        assert_eq!(admitting(Verb::Kill), [false, true, true, false]);
        assert_eq!(admitting(Verb::Delete), [false, true, false, true]);
    }
}
