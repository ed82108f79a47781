//! `run`: a container from a directory, in the foreground.

use std::ffi::OsStr;
use std::io::IsTerminal;
use std::os::fd::AsFd;

use super::bundle::{self, Settings, Writing};
use super::cli::RunOptions;
use super::stage::{self, Stage};
use super::{environment, image, profile};
use crate::error::{Doing, Kind, Result, failure, invalid, unsupported};
use crate::plan::Wishes;
use crate::sys::fs::{self, OFlag};
use crate::sys::tty::{self, Size};
use crate::sys::{Call, process};
use crate::verbs::create::Creation;
use crate::verbs::run::{Attendance, run as attend};
use crate::verbs::{Runtime, be_able_to_leave};

/// Runs the container and answers its exit code. Nothing of it is left afterwards.
pub(super) fn run(options: &RunOptions) -> Result<u8> {
    check(options)?;
    prepare_process()?;
    let name = random_name()?;
    let id = options.name.clone().map_or_else(|| name.parse(), Ok)?;

    stage::leave_hosts_mounts()?;
    let image = image::open(options.image())?;
    let runtime = Runtime::open(&options.root)?;
    let stage = Stage::set(&runtime, &options.root, &image)?;
    let settings = settings(options, name, &stage)?;
    stage.configure(bundle::config(&settings).to_string().as_bytes())?;
    let bundle = stage.path.clone();
    drop((stage, image));
    if !options.interactive {
        empty_stdin().doing(|| "standard input")?;
    }
    let creation = Creation {
        id,
        bundle,
        config: None,
        console_socket: None,
        pid_file: None,
        pidfd_socket: None,
        manager: None,
        listen_fds: 0,
        preserve_fds: 0,
        wishes: Wishes::default(),
    };
    attend(&runtime, &creation, Attendance::Foreground)
}

/// What the command line alone can't say.
fn check(options: &RunOptions) -> Result<()> {
    if !nix::unistd::geteuid().is_root() {
        let text = "run needs root, to mount the image and to make namespaces and a cgroup: try it with sudo";
        return Err(unsupported(text));
    }
    match options.interactive && options.tty && !std::io::stdin().is_terminal() {
        true => Err(invalid("the input device is not a TTY")),
        false => Ok(()),
    }
}

/// Whatever the caller has left open or masked is not the container's.
fn prepare_process() -> Result<()> {
    be_able_to_leave()?;
    process::umask(0o022);
    process::cloexec_from(3).map_err(Into::into)
}

/// As docker's ids begin: it is the container's id and host name, where no other is given.
fn random_name() -> Result<String> {
    let mut bytes = [0; 6];
    let source = fs::open("/dev/urandom", OFlag::O_RDONLY)?;
    match nix::unistd::read(&source, &mut bytes).call(|| "read(\"/dev/urandom\")")? {
        6 => Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect()),
        n => Err(failure(Kind::System, format!("/dev/urandom: {n} bytes"))),
    }
}

/// What the options mean for this image.
fn settings(options: &RunOptions, name: String, stage: &Stage) -> Result<Settings> {
    let user = options.user.resolve(&stage.rootfs).doing(|| "user")?;
    let cwd = || -> Result<String> {
        stage.rootfs.make_dir(&options.workdir)?;
        text(options.workdir.seen_from_inside().as_os_str())
    };
    let cwd = cwd().doing(|| "working directory")?;
    let hostname = options.hostname.clone().filter(|given| !given.is_empty()).unwrap_or(name);
    Ok(Settings {
        args: options.program().iter().map(|word| text(word)).collect::<Result<_>>().doing(|| "command")?,
        env: environment::assemble(&hostname, options.tty, &options.env, |key| std::env::var_os(key))?,
        cwd,
        user,
        terminal: options.tty.then(terminal_size),
        hostname,
        root: if options.read_only { Writing::Denied } else { Writing::Allowed },
        masked: profile::thermal_counters()?,
    })
}

/// config.json is UTF-8.
fn text(word: &OsStr) -> Result<String> {
    word.to_str().map(str::to_owned).ok_or_else(|| invalid(format!("{word:?} is not UTF-8")))
}

/// Of the caller's terminal, whichever of its descriptors that is.
fn terminal_size() -> Option<Size> {
    let (input, output, error) = (std::io::stdin(), std::io::stdout(), std::io::stderr());
    let sizes = [input.as_fd(), output.as_fd(), error.as_fd()].map(|fd| tty::size(fd).ok());
    sizes.into_iter().flatten().find(|size| size.rows > 0 && size.columns > 0)
}

fn empty_stdin() -> Result<()> {
    let null = fs::open("/dev/null", OFlag::O_RDONLY)?;
    nix::unistd::dup2_stdin(&null).call(|| "dup2(\"/dev/null\", 0)").map_err(Into::into)
}
