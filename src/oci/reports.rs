//! The command lines of `events`, `list` and `ps`, and what they print.

use std::ffi::OsString;
use std::os::fd::AsFd;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::{duration, print};
use crate::error::{Result, invalid};
use crate::spec::events::Event;
use crate::verbs::events::Reader;
use crate::verbs::{self, Runtime};

#[derive(Debug, Args)]
pub(super) struct EventsArgs {
    /// The container
    id: String,
    /// How often: a duration such as 5s, 100ms or 1m30s
    #[arg(long, value_parser = duration::parse, default_value = "5s", allow_hyphen_values = true)]
    interval: Duration,
    /// Once, and at once
    #[arg(long)]
    stats: bool,
}

#[derive(Debug, Args)]
pub(super) struct PsArgs {
    /// How they are printed
    #[arg(short, long, value_enum, default_value_t = ListFormat::Table, value_name = "FORMAT")]
    pub(super) format: ListFormat,
    /// The container's id, and after it options for the host's ps(1), for a table [default: -ef]
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_names = ["ID", "PS OPTION"])]
    pub(super) words: Vec<OsString>,
}

#[derive(Debug, Args)]
pub(super) struct ListArgs {
    /// How they are printed
    #[arg(short, long, value_enum, default_value_t = ListFormat::Table, value_name = "FORMAT")]
    format: ListFormat,
    /// Print ids alone
    #[arg(short, long)]
    quiet: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum ListFormat {
    Table,
    Json,
}

pub(super) fn list(runtime: &Runtime, args: &ListArgs) -> Result<()> {
    let states = verbs::list::list(runtime)?;
    match (args.quiet, args.format) {
        (true, _) => print(&states.iter().map(|state| format!("{}\n", state.id)).collect::<String>()),
        (false, ListFormat::Table) => print(&verbs::list::table(&states)),
        (false, ListFormat::Json) if states.is_empty() => print("null\n"),
        (false, ListFormat::Json) => print(&format!("{}\n", serde_json::to_string(&states)?)),
    }
}

pub(super) fn ps(runtime: &Runtime, args: &PsArgs) -> Result<()> {
    let Some((id, options)) = args.words.split_first() else { return Err(invalid("ps: no container")) };
    let pids = verbs::ps::pids(runtime, &id.to_string_lossy().parse()?)?;
    match args.format {
        ListFormat::Table => print(&verbs::ps::table(&pids, options)?),
        ListFormat::Json if pids.is_empty() => print("null\n"),
        ListFormat::Json => print(&format!("{}\n", serde_json::to_string(&pids)?)),
    }
}

pub(super) fn events(runtime: &Runtime, args: &EventsArgs) -> Result<()> {
    let id = args.id.parse()?;
    let line = |event: &Event| print(&format!("{}\n", serde_json::to_string(event)?));
    if args.stats {
        return line(&verbs::events::stats(runtime, &id)?);
    }
    let stdout = std::io::stdout();
    verbs::events::watch(runtime, &id, args.interval, Reader { write: line, fd: stdout.as_fd() })
}
