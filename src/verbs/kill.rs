//! `kill ID [SIGNAL]`: runtime.md, "Kill".

use super::{Runtime, look};
use crate::container::id::ContainerId;
use crate::container::status::{Status, Verb};
use crate::error::{Kind, Result, errno_of, failure};
use crate::launch::foreground::Signals;
use crate::sys::Errno;

/// Who gets the signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// The container's process.
    Init,
    /// All processes in its cgroup: `--all`.
    All,
}

/// Sends a signal, by number.
pub fn kill(runtime: &Runtime, id: &ContainerId, signal: i32, reach: Reach) -> Result<()> {
    let (record, current) = look(runtime, id)?;
    // containerd, podman and CRI-O match these words.
    let not_running = || failure(Kind::InvalidState, format!("container {id}: container not running"));
    let record = record.ok_or_else(not_running)?;
    // In its caller's cgroup there are others; where it has a pid namespace, its process is the end of all.
    if reach == Reach::All && record.cgroup.is_ours() {
        // Processes may have to stand still for a moment: who asks this command to end has to wait until they go on.
        let _signals = Signals::that_ask_to_end()?;
        return match current.cgroup(&record)? {
            Some(cgroup) if signal == libc::SIGKILL => cgroup.kill(),
            Some(cgroup) => cgroup.signal(signal),
            None => Ok(()),
        };
    }
    if reach == Reach::All && current.status == Status::Stopped {
        // Nothing is left to be signalled.
        return Ok(());
    }
    let Some(alive) = current.alive.filter(|_| current.status.admits(Verb::Kill)) else {
        return Err(not_running());
    };
    match alive.signal(signal) {
        Err(error) if errno_of(&error) == Some(Errno::ESRCH) => Err(not_running()),
        sent => sent,
    }
}
