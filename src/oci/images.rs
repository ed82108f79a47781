//! `checkpoint` and `restore` on the command line: runc's flags, and those of crun's that CRIU has an answer to.

use std::os::fd::{OwnedFd, RawFd};
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::create::{NewArgs, StayArgs};
use super::globals::Globals;
use crate::criu::{CgroupMode, NetworkLock, Opts, PageServer};
use crate::error::{Doing, Result, invalid};
use crate::sys;
use crate::verbs::checkpoint::{self, Then};
use crate::verbs::create::Creation;
use crate::verbs::restore;
use crate::verbs::run::Attendance;

/// What both have.
#[derive(Debug, Args)]
pub(super) struct Common {
    /// Where the images are
    #[arg(long, default_value = "checkpoint", value_name = "DIR")]
    image_path: PathBuf,
    /// Where CRIU's log goes [default: where the images are]
    #[arg(long, value_name = "DIR")]
    work_path: Option<PathBuf>,
    /// With established TCP connections
    #[arg(long)]
    tcp_established: bool,
    /// Without the state of TCP connections: they are closed
    #[arg(long)]
    tcp_close: bool,
    /// Leave out TCP connections that are just being made
    #[arg(long)]
    tcp_skip_in_flight: bool,
    /// With unix sockets that are connected to others outside
    #[arg(long)]
    ext_unix_sk: bool,
    /// As a job of the caller's shell, with its terminal
    #[arg(long)]
    shell_job: bool,
    /// With file locks
    #[arg(long)]
    file_locks: bool,
    /// What becomes of cgroups in the container's
    #[arg(long, value_enum, default_value_t = CgroupModeArg::Soft, value_name = "MODE")]
    manage_cgroups_mode: CgroupModeArg,
    /// A namespace whose content is left out
    #[arg(long, value_enum, value_name = "NAMESPACE")]
    empty_ns: Vec<EmptyNamespace>,
    /// Drop from earlier images what later ones have, too
    #[arg(long)]
    auto_dedup: bool,
    /// Give files that have been removed a name again
    #[arg(long)]
    link_remap: bool,
    /// Memory follows when it is needed, from where the container was
    #[arg(long)]
    lazy_pages: bool,
    /// How connections are kept still meanwhile [default: CRIU's, iptables]
    #[arg(long, value_enum, value_name = "METHOD")]
    network_lock: Option<NetworkLockArg>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum CgroupModeArg {
    Soft,
    Full,
    Strict,
    Ignore,
    None,
    Props,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum EmptyNamespace {
    Network,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum NetworkLockArg {
    Iptables,
    Nftables,
    Skip,
}

impl Common {
    fn opts(&self) -> Opts {
        let mode = match self.manage_cgroups_mode {
            CgroupModeArg::Soft => CgroupMode::Soft,
            CgroupModeArg::Full => CgroupMode::Full,
            CgroupModeArg::Strict => CgroupMode::Strict,
            CgroupModeArg::Ignore => CgroupMode::Ignore,
            CgroupModeArg::None => CgroupMode::None,
            CgroupModeArg::Props => CgroupMode::Props,
        };
        let lock = |method| match method {
            NetworkLockArg::Iptables => NetworkLock::Iptables as i32,
            NetworkLockArg::Nftables => NetworkLock::Nftables as i32,
            NetworkLockArg::Skip => NetworkLock::Skip as i32,
        };
        Opts {
            tcp_established: Some(self.tcp_established),
            tcp_close: Some(self.tcp_close),
            tcp_skip_in_flight: Some(self.tcp_skip_in_flight),
            ext_unix_sk: Some(self.ext_unix_sk),
            shell_job: Some(self.shell_job),
            file_locks: Some(self.file_locks),
            manage_cgroups_mode: Some(mode as i32),
            empty_ns: (!self.empty_ns.is_empty()).then_some(libc::CLONE_NEWNET.unsigned_abs()),
            auto_dedup: Some(self.auto_dedup),
            link_remap: Some(self.link_remap),
            lazy_pages: Some(self.lazy_pages),
            network_lock: self.network_lock.map(lock),
            ..Opts::default()
        }
    }
}

#[derive(Debug, Args)]
pub(super) struct CheckpointArgs {
    /// The container's id
    id: String,
    #[command(flatten)]
    common: Common,
    /// The container goes on
    #[arg(long)]
    leave_running: bool,
    /// Only what is in memory is written, and the container goes on
    #[arg(long)]
    pre_dump: bool,
    /// Earlier images, from --image-path: what has not changed since is not written again
    #[arg(long, value_name = "DIR")]
    parent_path: Option<PathBuf>,
    /// Memory is sent to a server of CRIU's
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = page_server)]
    page_server: Option<PageServer>,
    /// A descriptor that gets a byte when --lazy-pages takes requests
    #[arg(long, value_name = "N")]
    status_fd: Option<u32>,
}

fn page_server(text: &str) -> Result<PageServer, String> {
    let parts = text.rsplit_once(':').filter(|(address, _)| !address.is_empty());
    let port = parts.and_then(|(_, port)| port.parse::<u16>().ok());
    match (parts, port) {
        (Some((address, _)), Some(port)) => {
            let address = address.trim_start_matches('[').trim_end_matches(']');
            Ok(PageServer { address: Some(address.to_owned()), port: Some(port.into()) })
        }
        _ => Err("not ADDRESS:PORT".to_owned()),
    }
}

impl CheckpointArgs {
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// The descriptor that the caller has to have left open.
    pub(super) const fn status_fd(&self) -> Option<u32> {
        self.status_fd
    }

    /// To be called once: the descriptor is this one's from then on.
    pub(super) fn asked(&self) -> Result<checkpoint::Asked> {
        if self.common.lazy_pages && self.page_server.is_none() {
            return Err(invalid("--lazy-pages needs --page-server, the address that it serves at"));
        }
        let then = match (self.pre_dump, self.leave_running) {
            (true, _) => Then::GoOnUnwritten,
            (false, true) => Then::GoOn,
            (false, false) => Then::Stop,
        };
        let status = self.status_fd.map(own).transpose().doing(|| "--status-fd")?;
        Ok(checkpoint::Asked {
            images: self.common.image_path.clone(),
            work: self.common.work_path.clone(),
            parent: self.parent_path.clone(),
            then,
            status,
            opts: Opts { ps: self.page_server.clone(), ..self.common.opts() },
        })
    }
}

fn own(number: u32) -> Result<OwnedFd> {
    match RawFd::try_from(number) {
        Ok(fd) if fd > 2 => Ok(sys::fs::own(fd)),
        _ => Err(invalid(format!("{number} is a standard descriptor, or none"))),
    }
}

#[derive(Debug, Args)]
pub(super) struct RestoreArgs {
    /// The new container's id
    id: String,
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    from: NewArgs,
    #[command(flatten)]
    stay: StayArgs,
    /// Has no effect: CRIU enters the root
    #[arg(long)]
    no_pivot: bool,
    /// Has no effect: a restored container has the caller's session keyring
    #[arg(long)]
    no_new_keyring: bool,
    /// How many descriptors from 3 up the program gets: none can be given
    #[arg(long, default_value_t = 0, value_name = "N")]
    preserve_fds: u32,
    /// Another label or profile for the processes: selinux:LABEL, apparmor:PROFILE
    #[arg(long, value_name = "TYPE:NAME", value_parser = lsm_profile)]
    lsm_profile: Option<String>,
    /// Another label for mounts that have one
    #[arg(long, value_name = "LABEL")]
    lsm_mount_context: Option<String>,
}

fn lsm_profile(text: &str) -> Result<String, String> {
    match text.split_once(':') {
        Some(("selinux" | "apparmor", name)) if !name.is_empty() => Ok(text.to_owned()),
        _ => Err("neither selinux:LABEL nor apparmor:PROFILE".to_owned()),
    }
}

impl RestoreArgs {
    pub(super) fn attendance(&self) -> Result<Attendance> {
        self.stay.attendance(Attendance::Foreground)
    }

    pub(super) fn asked(&self, globals: &Globals) -> Result<restore::Asked> {
        let from = self.from.creation(&self.id, globals.wishes())?;
        Ok(restore::Asked {
            creation: Creation { preserve_fds: self.preserve_fds, ..from },
            images: self.common.image_path.clone(),
            work: self.common.work_path.clone(),
            opts: Opts {
                lsm_profile: self.lsm_profile.clone(),
                lsm_mount_context: self.lsm_mount_context.clone(),
                ..self.common.opts()
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{lsm_profile, page_server};

    #[test]
    fn a_page_server_is_an_address_and_a_port() {
        for (text, address, port) in
            [("10.0.0.1:27", "10.0.0.1", 27), ("[::1]:9", "::1", 9), ("::1:9", "::1", 9)]
        {
            let server = page_server(text).unwrap();
            assert_eq!((server.address.as_deref(), server.port), (Some(address), Some(port)), "{text}");
        }
        for text in ["", "10.0.0.1", ":9", "a:b", "a:70000"] {
            assert!(page_server(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_profile_is_of_a_module_that_criu_knows() {
        assert!(lsm_profile("selinux:system_u:system_r:x:s0").is_ok() && lsm_profile("apparmor:a").is_ok());
        assert!(["", "selinux", "selinux:", "smack:x"].iter().all(|text| lsm_profile(text).is_err()));
    }
}
