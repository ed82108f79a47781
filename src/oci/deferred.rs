//! What is defined when it is asked for.

use clap::error::Error;
use clap::{ArgMatches, Args, Command, FromArgMatches};

/// The arguments of a verb that this process does not define unless it is told that verb: all of the verbs have some
/// hundred, and to define these takes longer than to parse the line.
#[derive(Debug)]
pub(super) struct Deferred<A>(pub(super) A);

impl<A: FromArgMatches> FromArgMatches for Deferred<A> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        A::from_arg_matches(matches).map(Self)
    }

    fn from_arg_matches_mut(matches: &mut ArgMatches) -> Result<Self, Error> {
        A::from_arg_matches_mut(matches).map(Self)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        self.0.update_from_arg_matches(matches)
    }
}

impl<A: Args> Args for Deferred<A> {
    fn augment_args(command: Command) -> Command {
        command.defer(|verb| described_as_before(verb, A::augment_args))
    }

    fn augment_args_for_update(command: Command) -> Command {
        command.defer(|verb| described_as_before(verb, A::augment_args_for_update))
    }
}

/// What is said of a structure of arguments is not what the verb does.
fn described_as_before(verb: Command, define: fn(Command) -> Command) -> Command {
    let about = verb.get_about().cloned();
    define(verb).about(about.unwrap_or_default())
}
