//! The runtime's command line: what podman, containerd, docker, buildah and CRI-O say to it, and what they
//! expect to hear. runc's own flags and words are its base.

mod cli;
mod create;
mod deferred;
mod duration;
mod exec;
mod globals;
mod images;
mod reports;
mod update;
mod verb;
mod words;

use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;

use crate::container::id::ContainerId;
use crate::container::notify::Manager;
use crate::error::{Doing, Result, invalid};
use crate::log::{self, Format};
use crate::proc;
use crate::sys;
use crate::verbs::delete::Force;
use crate::verbs::kill::Reach;
use crate::verbs::spec::Kind as SpecKind;
use crate::verbs::{self, Runtime};
use cli::Cli;
use deferred::Deferred;
use globals::{LogFormat, LogLevel};
use verb::{Command, Descriptors};

/// The definition of the command line, for manual pages and shell completions.
pub fn command() -> clap::Command {
    Cli::definition()
}

/// The exit code of a command that has failed.
const FAILURE: u8 = 1;
/// That of `exec`, as with runc: its program may well end with 1.
const EXEC_FAILURE: u8 = 255;

/// Runs one command. Any failure is an exit code, and one line, on standard error and in the log.
pub fn main(args: impl Iterator<Item = OsString>) -> u8 {
    let cli = match words::parsed(args) {
        Ok(cli) => cli,
        Err(error) => return refused(&error),
    };
    match begin(&cli).and_then(|()| dispatch(&cli)) {
        Ok(code) => code,
        Err(error) => {
            log::error(&format!("{error:#}"));
            if matches!(cli.command, Command::Exec(_)) { EXEC_FAILURE } else { FAILURE }
        }
    }
}

/// `--help` and `--version` arrive here, too, and are no failure.
fn refused(error: &clap::Error) -> u8 {
    let text = error.render().to_string();
    if error.use_stderr() {
        log::error(&words::in_the_fields_words(error, &text));
        return FAILURE;
    }
    match print(&text) {
        Ok(()) => 0,
        Err(_) => FAILURE,
    }
}

fn begin(cli: &Cli) -> Result<()> {
    // A caller that ignores it would have the kernel reap this process's children.
    sys::process::notice_children();
    sys::process::on_large_file_fail();
    // Before this process opens anything itself.
    let Descriptors { preserved, named } = cli.command.descriptors();
    let kept = preserved.saturating_add(listen_fds());
    let closed = (3..kept.saturating_add(3)).chain(named).find(|fd| !sys::fs::is_open(*fd));
    let format = match cli.globals.log_format {
        LogFormat::Text => Format::Text,
        LogFormat::Json => Format::Json,
    };
    let warns = cli.globals.debug || cli.globals.log_level != LogLevel::Error;
    // crun's callers may prefix the file's kind.
    let path = cli.globals.log.as_ref().map(|path| path.strip_prefix("file:").unwrap_or(path));
    log::init(path.map(std::path::Path::new), format, warns)?;
    if let Some(fd) = closed {
        return Err(invalid(format!(
            "descriptor {fd} is not open, and LISTEN_FDS, --preserve-fds or --status-fd asks for it"
        )));
    }
    // Whatever the caller has left open is not the container's, but for what it is told to keep.
    sys::process::cloexec_from(kept.saturating_add(3)).map_err(Into::into)
}

/// sd_listen_fds(3): LISTEN_FDS, unless they are said to be for another process.
fn listen_fds() -> u32 {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u32>().ok());
    let ours = number("LISTEN_PID").is_none_or(|pid| pid == std::process::id());
    number("LISTEN_FDS").filter(|_| ours).unwrap_or(0)
}

/// sd_notify(3): who is to hear that a container's program is ready. containerd and conmon keep theirs to themselves.
fn manager() -> Result<Option<Manager>> {
    let value = std::env::var_os("NOTIFY_SOCKET").filter(|value| !value.is_empty());
    value.as_deref().map(Manager::parse).transpose()
}

fn dispatch(cli: &Cli) -> Result<u8> {
    match &cli.command {
        Command::Create(Deferred(args)) => {
            verbs::create::create(&runtime(cli)?, &args.creation(&cli.globals)?)?
        }
        Command::Run(Deferred(args)) => {
            let attendance = args.attendance()?;
            return verbs::run::run(&runtime(cli)?, &args.create.creation(&cli.globals)?, attendance);
        }
        Command::Start { id } => verbs::start::start(&runtime(cli)?, &parse(id)?, manager()?.as_ref())?,
        Command::State { id } => print_json(&verbs::state::state(&runtime(cli)?, &parse(id)?)?)?,
        Command::Kill { id, signal, all } => {
            let number = sys::process::signal_number(signal)
                .ok_or_else(|| invalid(format!("unknown signal {signal:?}")))?;
            let reach = if *all { Reach::All } else { Reach::Init };
            verbs::kill::kill(&runtime(cli)?, &parse(id)?, number, reach)?;
        }
        Command::Delete { id, force } => {
            let force = if *force { Force::Yes } else { Force::No };
            verbs::delete::delete(&runtime(cli)?, &parse(id)?, force)?;
        }
        Command::Exec(Deferred(args)) => {
            return verbs::exec::exec(&runtime(cli)?, &args.execution(listen_fds())?, args.attendance());
        }
        Command::Update(Deferred(args)) => {
            verbs::update::update(&runtime(cli)?, &parse(args.id())?, &args.asked()?)?
        }
        Command::Pause { id } => verbs::pause::pause(&runtime(cli)?, &parse(id)?)?,
        Command::Resume { id } => verbs::pause::resume(&runtime(cli)?, &parse(id)?)?,
        Command::Events(Deferred(args)) => reports::events(&runtime(cli)?, args)?,
        Command::Checkpoint(Deferred(args)) => {
            verbs::checkpoint::checkpoint(&runtime(cli)?, &parse(args.id())?, args.asked()?)?;
        }
        Command::Restore(Deferred(args)) => {
            let attendance = args.attendance()?;
            return verbs::restore::restore(&runtime(cli)?, args.asked(&cli.globals)?, attendance);
        }
        Command::Ps(Deferred(args)) => reports::ps(&runtime(cli)?, args)?,
        Command::List(Deferred(args)) => reports::list(&runtime(cli)?, args)?,
        Command::Spec { bundle, rootless } => {
            let kind = if *rootless { SpecKind::Rootless } else { SpecKind::Root };
            verbs::spec::spec(bundle, kind)?;
        }
        Command::Features => print_json(&verbs::features::features())?,
    }
    Ok(0)
}

fn runtime(cli: &Cli) -> Result<Runtime> {
    match &cli.globals.root {
        Some(root) => Runtime::open(root),
        None => Runtime::open(&default_root()?),
    }
}

/// /run for root; a user's own directory for others: the XDG Base Directory Specification. Root of a user namespace is
/// some user outside, whose directory it is that podman without root names; but in a container with a system of its
/// own, root is called so.
fn default_root() -> Result<PathBuf> {
    const NAME: &str = "minidocker-oci";
    let own = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|dir| dir.is_absolute());
    let is_root = nix::unistd::geteuid().is_root();
    let called_root = || std::env::var_os("USER").is_some_and(|name| name == "root");
    match own {
        Some(dir) if !is_root || !called_root() && !proc::in_machines_user_namespace() => Ok(dir.join(NAME)),
        _ if is_root => Ok(PathBuf::from("/run").join(NAME)),
        _ => Err(invalid(
            "XDG_RUNTIME_DIR is not set to a directory, in which an ordinary user's containers are kept; set it, or give --root",
        )),
    }
}

fn parse(id: &str) -> Result<ContainerId> {
    id.parse()
}

fn print_json(value: &impl serde::Serialize) -> Result<()> {
    print(&format!("{}\n", serde_json::to_string_pretty(value)?))
}

/// To standard output, whole. A reader that has gone is an error like any other.
fn print(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).doing(|| "standard output")
}

/// The lines of `--version`, as engines parse them; the program's name comes before them. 1.3.0 is
/// `spec::OCI_VERSION`, which a constant string can't refer to: a test compares them.
const VERSION: &str =
    concat!("version ", env!("CARGO_PKG_VERSION"), "\ncommit: v", env!("CARGO_PKG_VERSION"), "\nspec: 1.3.0");

#[cfg(test)]
mod tests {
    #[test]
    fn the_version_names_the_specification() {
        assert!(super::VERSION.ends_with(&format!("spec: {}", crate::spec::OCI_VERSION)));
    }
}
