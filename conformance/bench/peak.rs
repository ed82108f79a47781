//! The peak memory of one command, through a helper process that is smaller than any runtime.
//!
//! The kernel counts the memory that a process had *before* its execve into its ru_maxrss, and a process made
//! with posix_spawn has the memory of its maker until then. Started by the bench itself, with its samples and
//! its command line parser, a small runtime would be given the size of the bench. The helper is the same
//! program, but it comes here before it has touched anything: about 1.4 MiB, the least that can be measured.

use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, bail};
use nix::unistd::Pid;

use crate::sys;

/// The first argument that makes this program the helper: `bench --peak-memory FILE PROGRAM [ARG...]`.
pub(crate) const HELPER: &str = "--peak-memory";

/// The helper: runs a program with the standard streams of this one and writes its peak in KiB to FILE.
pub(crate) fn helper(mut arguments: impl Iterator<Item = OsString>) -> Result<ExitCode> {
    let (Some(file), Some(program)) = (arguments.next(), arguments.next()) else {
        bail!("usage: bench {HELPER} FILE PROGRAM [ARG...]");
    };
    let child =
        Command::new(&program).args(arguments).spawn().with_context(|| format!("spawn {program:?}"))?;
    let pid = Pid::from_raw(i32::try_from(child.id())?);
    let ended = sys::wait_command(pid).with_context(|| format!("wait4({pid})"))?;
    std::fs::write(&file, ended.peak_kib.to_string()).with_context(|| format!("write {file:?}"))?;
    Ok(if ended.status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The command line that runs `command` under the helper, which writes to `file`.
pub(crate) fn under_helper(command: &Command, file: &Path) -> Result<Command> {
    let own = std::env::current_exe().context("the path of the bench itself")?;
    let mut helper = Command::new(own);
    helper.arg(HELPER).arg(file).arg(command.get_program()).args(command.get_args());
    helper.env_clear().envs(command.get_envs().filter_map(|(key, value)| Some((key, value?))));
    helper.stdin(Stdio::null()).stdout(Stdio::null());
    Ok(helper)
}

/// What the helper wrote, in KiB.
pub(crate) fn read(file: &Path) -> Result<u64> {
    let text = std::fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
    text.trim().parse().with_context(|| format!("peak memory {text:?} in {}", file.display()))
}
