//! The options that every verb takes.

use std::path::PathBuf;

use clap::{Parser, ValueEnum, ValueHint};

use crate::plan::{Rootless, Wishes};
use crate::spec::record::Driver;

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
pub(super) struct Globals {
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
    systemd_cgroup: bool,
    /// Whether to do without a cgroup that there is no permission to make; auto: if not root [default: auto]
    #[arg(long, help_heading = GLOBAL, value_name = "WHETHER", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_enum)]
    rootless: Option<RootlessArg>,
    /// Who makes the cgroup of a new container, if it gets one [default: cgroupfs]
    #[arg(long, global = true, help_heading = GLOBAL, value_enum, value_name = "MANAGER")]
    cgroup_manager: Option<CgroupManager>,
    /// Print the version
    #[arg(short, long, action = clap::ArgAction::Version)]
    version: Option<bool>,
}

impl Globals {
    /// What they say of every new container.
    pub(super) fn wishes(&self) -> Wishes {
        Wishes { driver: self.driver(), rootless: self.rootless(), ..Wishes::default() }
    }

    /// Of a new container; later verbs may say it, too, and go by what `create` did. podman says --systemd-cgroup for all
    /// of its containers, and --cgroup-manager besides for one that is to have none.
    fn driver(&self) -> Driver {
        match self.cgroup_manager {
            Some(CgroupManager::Disabled) => Driver::Disabled,
            Some(CgroupManager::Systemd) => Driver::Systemd,
            Some(CgroupManager::Cgroupfs) => Driver::Cgroupfs,
            None if self.systemd_cgroup => Driver::Systemd,
            None => Driver::Cgroupfs,
        }
    }

    fn rootless(&self) -> Rootless {
        match self.rootless {
            None | Some(RootlessArg::Auto) => Rootless::Auto,
            Some(RootlessArg::True) => Rootless::True,
            Some(RootlessArg::False) => Rootless::False,
        }
    }
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
enum CgroupManager {
    Cgroupfs,
    Systemd,
    Disabled,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum RootlessArg {
    True,
    False,
    Auto,
}
