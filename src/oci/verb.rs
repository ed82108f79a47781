//! The definition of the verbs.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

use super::deferred::Deferred;
use super::duration;
use super::exec::ExecArgs;
use super::images::{CheckpointArgs, RestoreArgs};
use super::update::UpdateArgs;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Create a container, whose program then waits for start
    #[command(
        args_override_self = true,
        after_help = "Example: minidocker-oci create --bundle /srv/web --pid-file /run/web.pid web"
    )]
    Create(Deferred<CreateArgs>),
    /// Create and start a container, wait until it ends and delete it
    #[command(args_override_self = true, after_help = "Example: minidocker-oci run --bundle /srv/web web")]
    Run(Deferred<RunArgs>),
    /// Start the program of a container that has been created
    Start {
        /// The container's id
        id: String,
    },
    /// Print the state of a container as JSON
    State {
        /// The container's id
        id: String,
    },
    /// Send a signal to the process of a container
    #[command(args_override_self = true, after_help = "Example: minidocker-oci kill web HUP")]
    Kill {
        /// The container's id
        id: String,
        /// The signal: its name, with or without SIG, or its number
        #[arg(default_value = "TERM", allow_hyphen_values = true)]
        signal: String,
        /// Send it to all processes of the container
        #[arg(short, long)]
        all: bool,
    },
    /// Delete a container that has stopped or was never started
    #[command(args_override_self = true)]
    Delete {
        /// The container's id
        id: String,
        /// Kill the container if it is still there; a missing one is no error
        #[arg(short, long)]
        force: bool,
    },
    /// Start another process in a container
    #[command(
        args_override_self = true,
        after_help = "Examples:
  minidocker-oci exec --tty web sh
  minidocker-oci exec --detach --process process.json --pid-file /run/job.pid web"
    )]
    Exec(Deferred<ExecArgs>),
    /// Change the limits of a container
    #[command(
        args_override_self = true,
        after_help = "Examples:
  minidocker-oci update --memory 512m --pids-limit 100 web
  echo '{\"cpu\": {\"quota\": 50000}}' | minidocker-oci update --resources - web"
    )]
    Update(Deferred<UpdateArgs>),
    /// Suspend all processes of a container
    #[command(args_override_self = true)]
    Pause {
        /// The container's id
        id: String,
    },
    /// Let the processes of a paused container go on
    #[command(args_override_self = true)]
    Resume {
        /// The container's id
        id: String,
    },
    /// Write a running container to files, to restore it from
    #[command(args_override_self = true)]
    Checkpoint(Deferred<CheckpointArgs>),
    /// Make a container from such files; its program goes on where it was
    #[command(args_override_self = true)]
    Restore(Deferred<RestoreArgs>),
    /// Print what a container uses, again and again, and when its processes are killed for want of memory
    #[command(args_override_self = true)]
    Events(Deferred<EventsArgs>),
    /// List the processes of a container
    #[command(args_override_self = true, after_help = "Example: minidocker-oci ps web -o pid,user,args")]
    Ps(Deferred<PsArgs>),
    /// List containers
    #[command(args_override_self = true)]
    List(Deferred<ListArgs>),
    /// Write a config.json to start from
    #[command(args_override_self = true, after_help = "Example: minidocker-oci spec --bundle /srv/web")]
    Spec {
        /// The directory that config.json is written to
        #[arg(short, long, default_value = ".", value_name = "DIR")]
        bundle: PathBuf,
        /// Write one for an ordinary user, with a user namespace
        #[arg(long = "rootless", id = "for_user")]
        rootless: bool,
    },
    /// Print what this runtime can do, as JSON
    Features,
}

/// What a container is made from, whether new or restored, and where its first process is told of.
#[derive(Debug, Args)]
pub(super) struct NewArgs {
    /// The bundle: a directory with config.json
    #[arg(short, long, default_value = ".", value_name = "DIR")]
    pub(super) bundle: PathBuf,
    /// Read this configuration instead of the bundle's config.json
    #[arg(short = 'f', long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// Send the terminal to this socket
    #[arg(long, value_name = "SOCKET")]
    pub(super) console_socket: Option<PathBuf>,
    /// Write the pid of the container's process to this file
    #[arg(long, value_name = "FILE")]
    pub(super) pid_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct CreateArgs {
    /// The new container's id
    pub(super) id: String,
    #[command(flatten)]
    pub(super) from: NewArgs,
    /// Send a pidfd of the container's process to this socket
    #[arg(long, value_name = "SOCKET")]
    pub(super) pidfd_socket: Option<PathBuf>,
    /// Move the root file system instead of pivoting to it, for hosts that run from an initramfs
    #[arg(long)]
    pub(super) no_pivot: bool,
    /// Keep the caller's session keyring instead of making one
    #[arg(long)]
    pub(super) no_new_keyring: bool,
    /// Pass on so many of the caller's descriptors, from 3 up
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub(super) preserve_fds: u32,
}

#[derive(Debug, Args)]
pub(super) struct RunArgs {
    #[command(flatten)]
    pub(super) create: CreateArgs,
    /// Don't wait until it ends
    #[arg(short, long)]
    pub(super) detach: bool,
    /// Don't delete the container when it has ended
    #[arg(long)]
    pub(super) keep: bool,
    /// Don't adopt and reap the processes that the container leaves behind on the host
    #[arg(long)]
    pub(super) no_subreaper: bool,
}

#[derive(Debug, Args)]
pub(super) struct EventsArgs {
    /// The container
    pub(super) id: String,
    /// How often: a duration such as 5s, 100ms or 1m30s
    #[arg(long, value_parser = duration::parse, default_value = "5s", allow_hyphen_values = true)]
    pub(super) interval: Duration,
    /// Once, and at once
    #[arg(long)]
    pub(super) stats: bool,
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
    pub(super) format: ListFormat,
    /// Print ids alone
    #[arg(short, long)]
    pub(super) quiet: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum ListFormat {
    Table,
    Json,
}
