//! The definition of the command line.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};

use super::deferred::Deferred;
use super::duration;
use super::exec::ExecArgs;
use super::images::{CheckpointArgs, RestoreArgs};
use super::update::UpdateArgs;

/// The heading of what every verb takes, so that its own options stand first in its --help.
const GLOBAL: &str = "Global options";

/// OCI container runtime for Linux
#[derive(Debug, Parser)]
#[command(
    name = "minidocker-oci",
    version = super::VERSION,
    args_override_self = true,
    disable_help_subcommand = true,
    disable_version_flag = true,
    after_help = "Examples:
  minidocker-oci create --bundle /srv/web web
  minidocker-oci start web
  minidocker-oci list
  minidocker-oci delete --force web"
)]
pub(super) struct Cli {
    /// Log warnings, too
    #[arg(long, global = true, help_heading = GLOBAL)]
    pub(super) debug: bool,
    /// Log errors to this file, besides standard error
    #[arg(long, global = true, help_heading = GLOBAL, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(super) log: Option<String>,
    /// How a line of the log looks
    #[arg(long, global = true, help_heading = GLOBAL, value_enum, default_value_t = LogFormat::Text, value_name = "FORMAT")]
    pub(super) log_format: LogFormat,
    /// What is logged: errors alone, or with any other value warnings too, as with --debug
    #[arg(long, global = true, help_heading = GLOBAL, value_enum, ignore_case = true, default_value_t = LogLevel::Error, value_name = "LEVEL")]
    pub(super) log_level: LogLevel,
    /// Where the state of containers is kept [default: /run/minidocker-oci, for users $XDG_RUNTIME_DIR/minidocker-oci]
    #[arg(long, global = true, help_heading = GLOBAL, value_name = "DIR")]
    pub(super) root: Option<PathBuf>,
    /// Make cgroups through systemd, as --cgroup-manager systemd does
    #[arg(long, global = true, help_heading = GLOBAL)]
    pub(super) systemd_cgroup: bool,
    /// Whether to do without a cgroup that there is no permission to make; auto: if not root [default: auto]
    #[arg(long, help_heading = GLOBAL, value_name = "WHETHER", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_enum)]
    pub(super) rootless: Option<RootlessArg>,
    /// Who makes the cgroup of a new container, if it gets one [default: cgroupfs]
    #[arg(long, global = true, help_heading = GLOBAL, value_enum, value_name = "MANAGER")]
    pub(super) cgroup_manager: Option<CgroupManager>,
    /// Print the version
    #[arg(short, long, action = clap::ArgAction::Version)]
    version: Option<bool>,
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum LogFormat {
    Text,
    Json,
}

/// There is nothing below a warning: whoever asks for more gets these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum LogLevel {
    #[value(alias = "fatal", alias = "panic")]
    Error,
    #[value(alias = "warn")]
    Warning,
    #[value(alias = "trace")]
    Debug,
    Info,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum CgroupManager {
    Cgroupfs,
    Systemd,
    Disabled,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum RootlessArg {
    True,
    False,
    Auto,
}

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

#[cfg(test)]
mod tests {
    use super::{Cli, Command, Deferred, ListFormat};
    use crate::oci::words::parsed;
    use clap::CommandFactory;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        parsed(line.split_whitespace().map(Into::into))
    }

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_verb_says_what_it_does_and_not_what_its_arguments_are() {
        let mut built = Cli::command();
        built.build();
        for verb in Cli::command().get_subcommands() {
            let same = built.find_subcommand(verb.get_name()).unwrap();
            assert_eq!(same.get_about(), verb.get_about());
        }
    }

    #[test]
    fn the_command_lines_of_the_engines_are_understood() {
        for line in [
            "r --systemd-cgroup --log-format=json --log /l create --bundle /b --pid-file /p --no-pivot id",
            "r --root /r --log /l/log.json --log-format json create --bundle /b --pid-file /p id",
            "r --root=/r --root=/r --systemd-cgroup --systemd-cgroup create -b /b --no-pivot --no-pivot id",
            "r --rootless=true --debug state id",
            "r --rootless auto list --format=json",
            "r create id --bundle /b",
            "r --cgroup-manager disabled create --preserve-fds 2 --console-socket /s id",
            "r --root /r --log /l --log-format json create --bundle /b --pid-file /p --pidfd-socket /s id",
            "r run --bundle /b -no-subreaper --keep id",
            "r run -d --bundle=/b id",
            "r kill --all id 9",
            "r kill -a id TERM",
            "r kill id",
            "r delete --force id",
            "r delete -f id",
            "r spec --rootless --bundle /b",
            "r features",
            "r start id",
            "r exec --pid-file /p --process /f --detach --preserve-fds 1 --console-socket /s id",
            "r --root /r --log /l --log-format json exec --process /f --console-socket /s --detach --pid-file /p id",
            "r --log /l --log-format json exec --process /f --pid-file /p id",
            "r --root=/r --root=/r --systemd-cgroup --systemd-cgroup exec -d --console-socket=/s --tty --pid-file=/p id a -b",
            "r exec --process /f --pidfd-socket /s id",
            "r update --resources=/run/f id",
            "r --root /r --log /l --log-format json update --resources=- id",
            "r --root /r update --resources - id",
            "r pause id",
            "r resume id",
            "r --root /r --log /l/log.json --log-format json events --stats id",
            "r --root /r --log /l/log.json --log-format json events --interval=5s id",
            "r events --interval 1m30s id",
            "r --root /r --log /l/log.json --log-format json --systemd-cgroup pause id",
            "r --root /r --log /l/log.json --log-format json resume id",
            "r --root /r --log /l/log.json --log-format json ps --format json id",
            "r ps --format table id -ef -o pid,args",
            "r checkpoint --image-path /i --work-path /w --leave-running --tcp-established --file-locks --leave-running id",
            "r checkpoint --image-path /i --work-path /w --pre-dump --parent-path ../pre-checkpoint id",
            "r --root /r --log /l --log-format json checkpoint --image-path /i --work-path /w --parent-path ../p \
             --tcp-established --ext-unix-sk --shell-job --page-server 10.0.0.1:27 --file-locks --manage-cgroups-mode soft \
             --empty-ns network --empty-ns network --lazy-pages --status-fd 3 --tcp-skip-in-flight --link-remap --auto-dedup id",
            "r --systemd-cgroup restore --bundle /b --pid-file /p --no-pivot --no-new-keyring --detach --image-path /i \
             --work-path /b --tcp-close --file-locks --lsm-mount-context=x --lsm-profile=selinux:x --console-socket /s id",
            "r restore --image-path /i --work-path /w --tcp-established --ext-unix-sk --shell-job --file-locks \
             --manage-cgroups-mode ignore --empty-ns network --auto-dedup --detach --pid-file /p -no-subreaper --bundle /b id",
        ] {
            if let Err(error) = parse(line) {
                panic!("{line}: {error}");
            }
        }
    }

    #[test]
    fn a_signal_is_positional_and_may_be_a_number() {
        let Command::Kill { id, signal, all } = parse("r kill id 9").unwrap().command else { panic!("kill") };
        assert_eq!((id.as_str(), signal.as_str(), all), ("id", "9", false));
    }

    #[test]
    fn what_follows_the_id_is_for_ps_whatever_it_looks_like() {
        let words = |line: &str| match parse(line).unwrap_or_else(|e| panic!("{line}: {e}")).command {
            Command::Ps(Deferred(args)) => {
                (args.format, args.words.into_iter().map(|w| w.into_string().unwrap()).collect())
            }
            other => panic!("{other:?}"),
        };
        let expected =
            |format, words: &[&str]| (format, words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>());
        assert_eq!(words("r ps id"), expected(ListFormat::Table, &["id"]));
        assert_eq!(words("r ps -f json id"), expected(ListFormat::Json, &["id"]));
        assert_eq!(words("r ps --format=json -- id"), expected(ListFormat::Json, &["id"]));
        assert_eq!(words("r ps id -f json"), expected(ListFormat::Table, &["id", "-f", "json"]));
        assert_eq!(
            words("r ps id --format json --root /x"),
            expected(ListFormat::Table, &["id", "--format", "json", "--root", "/x"])
        );
        assert_eq!(words("r ps id -o pid,comm"), expected(ListFormat::Table, &["id", "-o", "pid,comm"]));
        assert_eq!(words("r ps id aux"), expected(ListFormat::Table, &["id", "aux"]));
    }

    #[test]
    fn rootless_is_a_wish_of_spec_and_a_value_of_the_runtime() {
        let Command::Spec { rootless, .. } = parse("r --rootless=auto spec --rootless").unwrap().command
        else {
            panic!("spec")
        };
        assert!(rootless);
    }

    #[test]
    fn a_verb_without_an_id_is_refused() {
        for verb in [
            "create",
            "run",
            "start",
            "state",
            "kill",
            "delete",
            "pause",
            "resume",
            "ps",
            "update",
            "exec",
            "events",
            "checkpoint",
            "restore",
        ] {
            assert!(parse(&format!("r {verb}")).is_err(), "{verb}");
        }
    }
}
