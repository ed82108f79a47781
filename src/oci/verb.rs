//! The definition of the verbs.

use std::path::PathBuf;

use clap::Subcommand;

use super::create::{CreateArgs, RunArgs};
use super::deferred::Deferred;
use super::exec::ExecArgs;
use super::images::{CheckpointArgs, RestoreArgs};
use super::reports::{EventsArgs, ListArgs, PsArgs};
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

/// What a verb asks for of the descriptors that the caller has left open.
#[derive(Debug, Default)]
pub(super) struct Descriptors {
    /// How many, from 3 up, the program gets.
    pub(super) preserved: u32,
    /// One that the verb itself uses, by its number.
    pub(super) named: Option<u32>,
}

impl Command {
    pub(super) fn descriptors(&self) -> Descriptors {
        let preserved = |preserved| Descriptors { preserved, named: None };
        match self {
            Self::Create(Deferred(args)) => preserved(args.preserve_fds),
            Self::Run(Deferred(args)) => preserved(args.create.preserve_fds),
            Self::Exec(Deferred(args)) => preserved(args.preserve_fds),
            Self::Checkpoint(Deferred(args)) => Descriptors { preserved: 0, named: args.status_fd() },
            // `restore` refuses its own.
            _ => Descriptors::default(),
        }
    }
}
