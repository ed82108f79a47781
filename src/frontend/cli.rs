//! What can be said to minidocker. Values are parsed here, once: what comes out of this file is valid.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::{Args, Parser, Subcommand};

use super::environment::Variable;
use super::user::User;
use crate::container::id::ContainerId;
use crate::rootpath::InRootfs;

/// Run containers from plain directories
#[derive(Debug, Parser)]
#[command(name = "minidocker", version, args_override_self = true, infer_long_args = true)]
pub(super) struct Cli {
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run a command in a new container, made from the directory of an image, and wait until it ends.
    ///
    /// The image directory itself is never written to: what the container changes is kept in memory and is gone
    /// when it ends. So is the container, with or without --rm.
    ///
    /// The exit code is the command's own, or 128 and the number of the signal that ended it; 125 if the
    /// container could not be made, 126 if the command can't be executed, 127 if there is no such command.
    Run(RunOptions),
}

/// What `run` is asked for.
#[derive(Debug, Args)]
#[command(
    args_override_self = true,
    override_usage = "minidocker run [OPTIONS] IMAGE-DIR COMMAND [ARG...]",
    after_help = "Example: minidocker run -it ./debian bash"
)]
pub(super) struct RunOptions {
    /// Remove the container when it ends; for now that is always done
    #[arg(long)]
    pub(super) rm: bool,

    /// Give the command this standard input; else it has an empty one
    #[arg(short, long)]
    pub(super) interactive: bool,

    /// Give the command a terminal
    #[arg(short, long)]
    pub(super) tty: bool,

    /// Set an environment variable; KEY alone passes on the caller's
    #[arg(short, long, value_name = "KEY[=VALUE]")]
    pub(super) env: Vec<Variable>,

    /// Working directory in the container; it is made if it is missing
    #[arg(short, long, value_name = "DIR", default_value = "/", value_parser = directory)]
    pub(super) workdir: InRootfs,

    /// User and group: numbers, or names of the image's /etc/passwd and /etc/group
    #[arg(short, long, value_name = "USER[:GROUP]", default_value = "0")]
    pub(super) user: User,

    /// Make the container's root file system read-only
    #[arg(long)]
    pub(super) read_only: bool,

    /// The container's id [default: twelve random hexadecimal digits]
    #[arg(long, value_name = "ID")]
    pub(super) name: Option<ContainerId>,

    /// The container's host name [default: twelve random hexadecimal digits]
    #[arg(long, value_name = "NAME")]
    pub(super) hostname: Option<String>,

    /// Where the state of containers is kept
    #[arg(long, value_name = "DIR", default_value = "/run/minidocker")]
    pub(super) root: PathBuf,

    /// A directory with the container's files, the command, and its arguments
    // One list, so that nothing behind the image is ever taken for an option of ours.
    #[arg(trailing_var_arg = true, num_args = 2.., required = true, value_names = ["IMAGE-DIR", "COMMAND"])]
    words: Vec<OsString>,
}

impl RunOptions {
    /// The image's directory, as given.
    pub(super) fn image(&self) -> &Path {
        self.words.first().map_or(Path::new(""), Path::new)
    }

    /// The program and its arguments, as given.
    pub(super) fn program(&self) -> &[OsString] {
        self.words.get(1..).unwrap_or_default()
    }
}

fn directory(text: &str) -> crate::error::Result<InRootfs> {
    InRootfs::absolute(Path::new(text))
}

#[cfg(test)]
mod tests {
    use super::{Cli, Command, RunOptions};
    use clap::Parser;
    use std::path::Path;

    fn parsed(line: &str) -> Result<RunOptions, clap::Error> {
        let args = ["minidocker", "run"].into_iter().chain(line.split(' '));
        Cli::try_parse_from(args).map(|cli| {
            let Command::Run(options) = cli.command;
            options
        })
    }

    #[test]
    fn the_command_line_is_sound() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn what_follows_the_image_is_the_containers() {
        for words in ["img sh -c x --rm -it", "img -it sh", "img -- sh", "img sh -- -e X", "img sh --help"] {
            for before in ["", "-i ", "-e A=B ", "--rm -t -- "] {
                let options = parsed(&format!("{before}{words}")).unwrap();
                assert_eq!(options.image(), Path::new("img"));
                let given: Vec<_> = words.split(' ').skip(1).collect();
                assert_eq!(options.program(), given, "{before}{words}");
                assert_eq!(options.tty, before.contains("-t"));
            }
        }
    }

    #[test]
    fn of_repeated_options_the_last_counts_and_variables_add_up() {
        let options =
            parsed("-it -i --tty -w /a -w /b -u 1 -u 2 --name x --name y -e A=1 -e B=2 img sh").unwrap();
        assert!(options.interactive && options.tty && options.workdir.is("/b"));
        assert_eq!(options.name.unwrap().as_str(), "y");
        assert_eq!(options.env.len(), 2);
    }

    #[test]
    fn bad_values_are_refused() {
        for line in
            ["img", "-w rel img sh", "-u 0x0 img sh", "-e =x img sh", "--name a/b img sh", "--nosuch img sh"]
        {
            assert!(parsed(line).is_err(), "{line}");
        }
    }
}
