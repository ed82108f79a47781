//! The command line of `exec`.

use std::ffi::{CString, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::error::{Doing, Result, invalid};
use crate::launch::exec::IfPaused;
use crate::plan::exec::{Asked, Command};
use crate::spec;
use crate::sys::fs::{self, OFlag};
use crate::verbs::exec::{Attendance, Execution};

#[derive(Debug, Args)]
pub(super) struct ExecArgs {
    /// The process, as in a configuration; then no other flag about the process counts, and no command
    #[arg(short, long, value_name = "FILE")]
    process: Option<PathBuf>,
    /// Where it works
    #[arg(long, value_name = "DIR")]
    cwd: Option<PathBuf>,
    /// A variable of its environment; repeat it for more
    #[arg(short, long, value_name = "NAME=VALUE", allow_hyphen_values = true)]
    env: Vec<OsString>,
    /// Give it a terminal
    #[arg(short, long)]
    tty: bool,
    /// Who it runs as: numbers, for the names in the image are the image's
    #[arg(short, long, value_name = "UID[:GID]", allow_hyphen_values = true)]
    user: Option<String>,
    /// A group that it is in besides; repeat it for more
    #[arg(short = 'g', long, value_name = "GID")]
    additional_gids: Vec<u32>,
    /// A capability that it has besides; repeat it for more
    #[arg(short, long, value_name = "CAPABILITY")]
    cap: Vec<String>,
    /// It and what it starts can't gain privileges
    #[arg(long)]
    no_new_privs: bool,
    /// Its AppArmor profile
    #[arg(long, value_name = "PROFILE")]
    apparmor: Option<String>,
    /// Its SELinux label
    #[arg(long, value_name = "LABEL")]
    process_label: Option<String>,
    /// A cgroup below the container's, in which it is instead
    #[arg(long, value_name = "PATH", allow_hyphen_values = true)]
    cgroup: Option<String>,
    /// Start it in a paused container, too: it goes on when that does
    #[arg(long)]
    ignore_paused: bool,
    /// Don't wait for its end
    #[arg(short, long)]
    detach: bool,
    /// Where its pid is written
    #[arg(long, value_name = "FILE")]
    pid_file: Option<PathBuf>,
    /// A socket that gets the terminal
    #[arg(long, value_name = "SOCKET")]
    console_socket: Option<PathBuf>,
    /// A socket that gets a pidfd of the process
    #[arg(long, value_name = "SOCKET")]
    pidfd_socket: Option<PathBuf>,
    /// How many descriptors from 3 up the program gets
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub(super) preserve_fds: u32,
    /// The container, the program and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_names = ["ID", "COMMAND"])]
    words: Vec<OsString>,
}

impl ExecArgs {
    pub(super) fn attendance(&self) -> Attendance {
        if self.detach { Attendance::Detached } else { Attendance::Foreground }
    }

    /// What is asked for.
    pub(super) fn execution(&self, listen_fds: u32) -> Result<Execution> {
        let (id, command) = self.words.split_first().ok_or_else(|| invalid("exec: no container"))?;
        Ok(Execution {
            id: id.to_string_lossy().parse()?,
            asked: match &self.process {
                Some(path) => Asked::Process(Box::new(read(path)?)),
                None => Asked::Command(self.command(command)?),
            },
            console_socket: self.console_socket.clone(),
            pid_file: self.pid_file.clone(),
            pidfd_socket: self.pidfd_socket.clone(),
            cgroup: self.cgroup.as_deref().map(sub_cgroup).transpose()?.flatten(),
            if_paused: if self.ignore_paused { IfPaused::Wait } else { IfPaused::Refuse },
            listen_fds,
            preserve_fds: self.preserve_fds,
        })
    }

    fn command(&self, words: &[OsString]) -> Result<Command> {
        if words.is_empty() {
            return Err(invalid("exec args cannot be empty: name a program, or a file with --process"));
        }
        Ok(Command {
            args: strings(words)?,
            env: strings(&self.env)?,
            cwd: self.cwd.clone(),
            terminal: self.tty,
            user: self.user.as_deref().map(str::parse).transpose().doing(|| "--user")?,
            groups: self.additional_gids.clone(),
            capabilities: self.cap.clone(),
            no_new_privileges: self.no_new_privs,
            apparmor: self.apparmor.clone(),
            selinux: self.process_label.clone(),
        })
    }
}

/// As the kernel takes them. No argument of this process has a NUL byte.
fn strings(words: &[OsString]) -> Result<Vec<CString>> {
    words.iter().map(|word| Ok(CString::new(word.as_bytes())?)).collect()
}

fn read(path: &Path) -> Result<spec::oci::Process> {
    /// As for a configuration.
    const MOST: u64 = 16 << 20;
    let content = || -> Result<_> {
        spec::parse_process(&fs::read_all(fs::open(path, OFlag::O_RDONLY | OFlag::O_NONBLOCK)?, MOST)?)
    };
    content().doing(|| format!("--process {path:?}"))
}

/// A path below the container's cgroup; `None` for that itself. runc takes the names of controllers before a colon,
/// which are of cgroup v1.
fn sub_cgroup(text: &str) -> Result<Option<PathBuf>> {
    let path = match text.split_once(':') {
        None | Some(("", _)) => text.trim_start_matches(':'),
        Some((controllers, path)) => {
            return Err(invalid(format!(
                "--cgroup: unknown controller {controllers:?}: in cgroup v2 they have no paths of their own; say {path:?}"
            )));
        }
    };
    let path = path.trim_matches('/');
    let plain = |name: &str| !name.is_empty() && name != "." && name != ".." && !name.contains('\0');
    match path {
        "" => Ok(None),
        path if path.len() < 4096 && path.split('/').all(plain) => Ok(Some(path.into())),
        _ => Err(invalid(format!("--cgroup: {text:?} is not a sub cgroup path"))),
    }
}

#[cfg(test)]
mod tests {
    use super::super::deferred::Deferred;
    use super::super::verb::Command as Verb;
    use super::super::words;
    use super::{Asked, Attendance, Execution, sub_cgroup};

    fn parsed(line: &str) -> Result<(Execution, Attendance), String> {
        let cli = words::parsed(format!("r {line}").split_whitespace().map(Into::into));
        let Verb::Exec(Deferred(args)) = cli.map_err(|e| e.to_string())?.command else { panic!("{line}") };
        args.execution(0).map(|asked| (asked, args.attendance())).map_err(|e| format!("{e:#}"))
    }

    fn command(line: &str) -> super::Command {
        match parsed(line).unwrap().0.asked {
            Asked::Command(command) => command,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_follows_the_id_is_the_command_whatever_it_looks_like() {
        for (line, args) in [
            ("exec id ls -l --cwd /x", &["ls", "-l", "--cwd", "/x"][..]),
            ("exec -t --cwd /y id --detach -p x", &["--detach", "-p", "x"]),
            ("exec -- id -- a", &["--", "a"]),
            ("--root /r exec id --root /x", &["--root", "/x"]),
        ] {
            let words: Vec<_> =
                command(line).args.into_iter().map(|arg| arg.into_string().unwrap()).collect();
            assert_eq!(words, args, "{line}");
        }
        assert!(parsed("exec").is_err());
        assert!(parsed("exec id").unwrap_err().contains("exec args cannot be empty"));
    }

    #[test]
    fn flags_that_say_one_thing_count_as_they_are_said_last_and_the_others_all() {
        let all = "exec -d -d --tty -t --cwd /a --cwd=/b -e A=1 --env B=-2 -u 1 --user 7:8 -g 5 -g 6 -c CAP_KILL \
                   --cap chown --no-new-privs --no-new-privs --apparmor p --process-label l id x";
        let c = command(&all.replace('\\', ""));
        assert_eq!(
            (c.cwd.unwrap().to_str().unwrap(), c.env, c.terminal),
            ("/b", vec![c"A=1".into(), c"B=-2".into()], true)
        );
        assert_eq!((c.user.unwrap().uid, c.user.unwrap().gid, c.groups), (7, Some(8), vec![5, 6]));
        assert_eq!((c.capabilities.len(), c.no_new_privileges), (2, true));
        assert_eq!((c.apparmor.as_deref(), c.selinux.as_deref()), (Some("p"), Some("l")));
        assert_eq!(parsed("exec -d id x").unwrap().1, Attendance::Detached);
        assert_eq!(parsed("exec id x").unwrap().1, Attendance::Foreground);
    }

    #[test]
    fn a_user_that_is_no_number_is_refused_and_never_root() {
        for bad in ["root", "-1", "+1", "0x0", "1:", ":1", "4294967295", "18446744073709551616", "1:web"] {
            let error = parsed(&format!("exec -u {bad} id x")).unwrap_err();
            assert!(error.starts_with("--user: "), "{error}");
        }
        assert!(parsed("exec --user= id x").unwrap_err().starts_with("--user: \"\""));
        assert!(parsed("exec -g -1 id x").is_err() && parsed("exec -g x id x").is_err());
    }

    #[test]
    fn a_cgroup_is_one_below() {
        let path =
            |text: &str| sub_cgroup(text).unwrap().map(|path| path.into_os_string().into_string().unwrap());
        assert_eq!(
            ["a", "/a/b", ":a", "a:"[..1].into()].map(|t: &str| path(t)),
            ["a", "a/b", "a", "a"].map(|p| Some(p.into()))
        );
        assert_eq!(["", "/", ":/"].map(path), [None, None, None]);
        for bad in ["..", "../x", "a/../../b", "a//b", ".", "./a", "/..", &"x/".repeat(3000)] {
            assert!(sub_cgroup(bad).unwrap_err().to_string().contains("not a sub cgroup path"), "{bad}");
        }
        assert!(sub_cgroup("pids:x").unwrap_err().to_string().contains("unknown controller \"pids\""));
    }
}
