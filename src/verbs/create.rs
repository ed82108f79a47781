//! `create ID`: runtime.md, "Create"; lifecycle steps 1 to 5.

use std::path::{Path, PathBuf};

use super::Runtime;
use crate::container::id::ContainerId;
use crate::container::notify::Manager;
use crate::error::{Result, invalid};
use crate::launch::{self, Launched, Order, Start, Terminal, facts};
use crate::plan::{self, Plan, Wishes};
use crate::spec::{self, Bundle};

/// What `create` and `run` are asked for.
#[derive(Clone, Debug)]
pub struct Creation {
    /// The new container's id.
    pub id: ContainerId,
    /// `--bundle`
    pub bundle: PathBuf,
    /// `--config`: instead of the bundle's config.json.
    pub config: Option<PathBuf>,
    /// `--console-socket`
    pub console_socket: Option<PathBuf>,
    /// `--pid-file`
    pub pid_file: Option<PathBuf>,
    /// `--pidfd-socket`
    pub pidfd_socket: Option<PathBuf>,
    /// How many descriptors from 3 up are LISTEN_FDS, sd_listen_fds(3).
    pub listen_fds: u32,
    /// `--preserve-fds`: so many more after them.
    pub preserve_fds: u32,
    /// `NOTIFY_SOCKET`
    pub manager: Option<Manager>,
    /// `--no-pivot`, `--no-new-keyring`, and whether there is a manager
    pub wishes: Wishes,
}

/// Makes the container; its process waits for `start`.
pub fn create(runtime: &Runtime, creation: &Creation) -> Result<()> {
    make(runtime, creation, Start::AtGate, Foreground::No).map(drop)
}

/// Whether this process stays and can serve a terminal itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Foreground {
    Yes,
    No,
}

pub(super) fn make(
    runtime: &Runtime,
    creation: &Creation,
    start: Start,
    foreground: Foreground,
) -> Result<Launched> {
    super::be_able_to_leave()?;
    let bundle = spec::load(&creation.bundle, creation.config.as_deref())?;
    let facts = facts::of(&bundle.spec)?;
    let plan = plan::compile(&bundle, creation.id.as_str(), facts, creation.wishes)?;
    let terminal = terminal(plan.has_terminal(), creation.console_socket.as_deref(), foreground)?;
    // Before the rootfs becomes the current directory.
    let pidfd_socket = creation.pidfd_socket.as_ref().map(std::path::absolute).transpose()?;
    launch::launch(order(runtime, creation, (&bundle, &plan), (start, terminal), pidfd_socket.as_deref()))
}

pub(super) fn order<'a>(
    runtime: &'a Runtime,
    creation: &'a Creation,
    (bundle, plan): (&'a Bundle, &'a Plan),
    (start, terminal): (Start, Terminal),
    pidfd_socket: Option<&'a Path>,
) -> Order<'a> {
    Order {
        store: &runtime.store,
        id: &creation.id,
        bundle,
        plan,
        start,
        terminal,
        pid_file: creation.pid_file.as_deref(),
        pidfd_socket,
        manager: creation.manager.as_ref(),
        listen_fds: creation.listen_fds,
        preserve_fds: creation.preserve_fds,
    }
}

/// A terminal needs somebody who serves it, and who waits for one must get it.
pub(super) fn terminal(
    wanted: bool,
    console_socket: Option<&Path>,
    foreground: Foreground,
) -> Result<Terminal> {
    match (wanted, console_socket, foreground) {
        (true, Some(path), Foreground::No) => Ok(Terminal::Send(std::path::absolute(path)?)),
        (true, None, Foreground::Yes) => Ok(Terminal::Keep),
        (true, None, Foreground::No) => Err(invalid(
            "cannot allocate tty if the container is detached without --console-socket: process.terminal is true",
        )),
        (_, Some(_), Foreground::Yes) => Err(invalid("--console-socket is for a detached container")),
        (false, Some(_), Foreground::No) => {
            Err(invalid("--console-socket was given and process.terminal is not true"))
        }
        (false, None, _) => Ok(Terminal::None),
    }
}
