//! minidocker's command line: it turns an image directory into a bundle and has the runtime run it, in this
//! same process. All that it makes for a container is in a mount namespace of its own and in memory, so that
//! whatever ends the process also cleans up.

mod bundle;
mod cli;
mod environment;
mod exit;
mod image;
mod profile;
mod run;
mod seccomp_profile;
mod stage;
pub mod user;

use std::ffi::OsString;
use std::io::Write;

use clap::{CommandFactory, Parser};

use crate::error::Result;
use crate::log;
use cli::{Cli, Command};

/// The definition of the command line, for manual pages and shell completions.
pub fn command() -> clap::Command {
    Cli::command()
}

/// Runs one command. `args` begins with the program's name, as it does for a process.
pub fn main(args: impl Iterator<Item = OsString>) -> u8 {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => return refused(&error),
    };
    let Command::Run(options) = &cli.command;
    match run::run(options) {
        Ok(code) => code,
        Err(error) => {
            log::error(&format!("minidocker: {error:#}"));
            exit::code(&error)
        }
    }
}

/// `--help` and `--version` arrive here, too, and are no failure.
fn refused(error: &clap::Error) -> u8 {
    let text = error.render().to_string();
    if error.use_stderr() {
        log::error(text.trim_end());
        return exit::OURS;
    }
    let print = || -> Result<()> {
        let mut out = std::io::stdout().lock();
        out.write_all(text.as_bytes())?;
        out.flush().map_err(Into::into)
    };
    match print() {
        Ok(()) => 0,
        Err(_) => exit::OURS,
    }
}
