//! The command lines of `create` and `run`, and what `restore` has in common with them.

use std::path::PathBuf;

use clap::Args;

use super::globals::Globals;
use super::{listen_fds, manager};
use crate::error::Result;
use crate::plan::Wishes;
use crate::sys;
use crate::verbs::create::Creation;
use crate::verbs::run::Attendance;

/// What a container is made from, whether new or restored, and where its first process is told of.
#[derive(Debug, Args)]
pub(super) struct NewArgs {
    /// The bundle: a directory with config.json
    #[arg(short, long, default_value = ".", value_name = "DIR")]
    bundle: PathBuf,
    /// Read this configuration instead of the bundle's config.json
    #[arg(short = 'f', long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Send the terminal to this socket
    #[arg(long, value_name = "SOCKET")]
    console_socket: Option<PathBuf>,
    /// Write the pid of the container's process to this file
    #[arg(long, value_name = "FILE")]
    pid_file: Option<PathBuf>,
}

impl NewArgs {
    /// Without what only a new one has.
    pub(super) fn creation(&self, id: &str, wishes: Wishes) -> Result<Creation> {
        Ok(Creation {
            id: id.parse()?,
            bundle: self.bundle.clone(),
            config: self.config.clone(),
            console_socket: self.console_socket.clone(),
            pid_file: self.pid_file.clone(),
            pidfd_socket: None,
            listen_fds: 0,
            preserve_fds: 0,
            wishes,
            manager: None,
        })
    }
}

#[derive(Debug, Args)]
pub(super) struct CreateArgs {
    /// The new container's id
    id: String,
    #[command(flatten)]
    from: NewArgs,
    /// Send a pidfd of the container's process to this socket
    #[arg(long, value_name = "SOCKET")]
    pidfd_socket: Option<PathBuf>,
    /// Move the root file system instead of pivoting to it, for hosts that run from an initramfs
    #[arg(long)]
    no_pivot: bool,
    /// Keep the caller's session keyring instead of making one
    #[arg(long)]
    no_new_keyring: bool,
    /// Pass on so many of the caller's descriptors, from 3 up
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub(super) preserve_fds: u32,
}

impl CreateArgs {
    pub(super) fn creation(&self, globals: &Globals) -> Result<Creation> {
        let manager = manager()?;
        let wishes = Wishes {
            no_pivot: self.no_pivot,
            no_new_keyring: self.no_new_keyring,
            notify: manager.is_some(),
            ..globals.wishes()
        };
        Ok(Creation {
            pidfd_socket: self.pidfd_socket.clone(),
            listen_fds: listen_fds(),
            preserve_fds: self.preserve_fds,
            manager,
            ..self.from.creation(&self.id, wishes)?
        })
    }
}

#[derive(Debug, Args)]
pub(super) struct RunArgs {
    #[command(flatten)]
    pub(super) create: CreateArgs,
    #[command(flatten)]
    stay: StayArgs,
    /// Don't delete the container when it has ended
    #[arg(long)]
    keep: bool,
}

impl RunArgs {
    pub(super) fn attendance(&self) -> Result<Attendance> {
        let foreground = if self.keep { Attendance::ForegroundAndKeep } else { Attendance::Foreground };
        self.stay.attendance(foreground)
    }
}

/// Whether this process stays, and what it is to the container's orphans then.
#[derive(Debug, Args)]
pub(super) struct StayArgs {
    /// Don't wait until it ends
    #[arg(short, long)]
    detach: bool,
    /// Don't adopt and reap the processes that the container leaves behind on the host
    #[arg(long)]
    no_subreaper: bool,
}

impl StayArgs {
    /// Makes this process ready to stay, which is in this way then.
    pub(super) fn attendance(&self, foreground: Attendance) -> Result<Attendance> {
        if self.detach {
            return Ok(Attendance::Detached);
        }
        if !self.no_subreaper {
            sys::process::adopt_orphans()?;
        }
        Ok(foreground)
    }
}
