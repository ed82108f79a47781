//! The harness: drives a runtime black box through its binary, and looks after each test for what has been
//! left behind.
//!
//! A test begins with `let case = case!();`. The case has a directory, a state root and a cgroup of its own,
//! so that tests run side by side; dropping it is the leak check. `RUNTIME` names another runtime.
#![expect(clippy::disallowed_methods, reason = "tests make and change files of their own, by path")]

pub(crate) mod bundle;
pub(crate) mod bus;
pub(crate) mod canary;
pub(crate) mod command;
pub(crate) mod fuse;
mod leaks;
pub(crate) mod mountinfo;
pub(crate) mod racer;
pub(crate) mod terminal;
pub(crate) mod user;

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;

pub(crate) use crate::skip::{skip, test_name};
pub(crate) use bundle::Bundle;
pub(crate) use command::{Call, Done, Running};

/// Begins a test, or ends it with a `SKIP` line where containers can't be made at all.
macro_rules! case {
    () => {
        match $crate::support::Case::begin() {
            Some(case) => case,
            None => return,
        }
    };
}
pub(crate) use case;

/// Ends a test with a `SKIP` line unless the machine has what it needs.
macro_rules! need {
    ($there:expr, $($reason:tt)+) => {
        if !$there {
            return $crate::support::skip(&format!($($reason)+));
        }
    };
}
pub(crate) use need;

/// Ends a test with a `SKIP` line where the tree has not these controllers.
macro_rules! need_controllers {
    ($($name:literal),+) => {
        for name in [$($name),+] {
            if let Some(reason) = $crate::support::no_controller(name) {
                return $crate::support::skip(&reason);
            }
        }
    };
}
pub(crate) use need_controllers;

/// Before a command that is to get signals: who has started these tests may ignore them (nohup, a shell that runs them in
/// the background).
pub(crate) const UNIGNORED: [&str; 2] = ["env", "--default-signal=TERM,INT,HUP"];

/// Before a command that is to find a kernel which can't be asked for another pid namespace's procfs, as before Linux 6.18.
/// The first call of each process: the one that makes the container asks before it mounts anything.
pub(crate) const BEFORE_PIDNS: [&str; 7] =
    ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "inject=fsconfig:error=EINVAL:when=1"];

/// One test: where it works, and what was there before.
#[derive(Debug)]
pub(crate) struct Case {
    /// Unique among all tests that run at any time.
    pub(crate) unique: String,
    /// For everything that the test makes.
    pub(crate) dir: PathBuf,
    /// `--root`
    pub(crate) state: PathBuf,
    mounts_before: Vec<String>,
    calls: AtomicU32,
    bundles: AtomicU32,
}

impl Case {
    /// `None` (and a `SKIP` line) where no container can be made.
    pub(crate) fn begin() -> Option<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        if !nix::unistd::geteuid().is_root() {
            skip("not root");
            return None;
        }
        if cgroup_root().is_none() {
            skip("no cgroup2 file system is mounted");
            return None;
        }
        // What a test leaves as an orphan comes here, and not to a process that may not expect it.
        nix::sys::prctl::set_child_subreaper(true).unwrap();
        // Who started the tests may have left descriptors open: a test's commands begin with three.
        minidocker_oci::sys::process::cloexec_from(3).unwrap();
        let unique = format!("{}{}", unique_prefix(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let dir = std::env::temp_dir().join(&unique);
        fs::create_dir(&dir).unwrap();
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).unwrap();
        let case = Self {
            state: dir.join("state"),
            mounts_before: leaks::mounts(),
            calls: AtomicU32::new(0),
            bundles: AtomicU32::new(0),
            unique,
            dir,
        };
        fs::create_dir(case.cgroup()).unwrap();
        Some(case)
    }

    /// The cgroup in which all of its containers are.
    pub(crate) fn cgroup(&self) -> PathBuf {
        cgroup_root().unwrap().join(&self.unique)
    }

    /// A bundle with the base configuration, changed by `change`.
    pub(crate) fn bundle(&self, change: impl FnOnce(&mut Value)) -> Bundle {
        let number = self.bundles.fetch_add(1, Ordering::Relaxed);
        Bundle::make(self, number, change)
    }

    /// A bundle whose program is a shell script.
    pub(crate) fn script(&self, script: &str, change: impl FnOnce(&mut Value)) -> Bundle {
        self.bundle(|config| {
            config["process"]["args"] = serde_json::json!(["/bin/sh", "-c", script]);
            change(config);
        })
    }

    /// The runtime with this case's state root, and what follows `--root`.
    pub(crate) fn call<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Call<'_> {
        Call::new(self, self.command_line(args))
    }

    /// The same behind other words: a shell, strace.
    pub(crate) fn call_through<A: AsRef<OsStr>>(
        &self,
        wrapper: &[&str],
        args: impl IntoIterator<Item = A>,
    ) -> Call<'_> {
        let mut line: Vec<OsString> = wrapper.iter().map(OsString::from).collect();
        line.extend(self.command_line(args));
        Call::new(self, line)
    }

    /// Any other program, watched in the same way.
    pub(crate) fn host<A: AsRef<OsStr>>(&self, line: impl IntoIterator<Item = A>) -> Call<'_> {
        Call::new(self, line.into_iter().map(|arg| arg.as_ref().to_owned()).collect())
    }

    fn command_line<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Vec<OsString> {
        let mut line: Vec<OsString> = vec![runtime().into(), "--root".into(), self.state.clone().into()];
        line.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        line
    }

    /// `run` in the foreground, to its end.
    pub(crate) fn run(&self, bundle: &Bundle) -> Done {
        self.call(["run", "-b", bundle.path(), &bundle.id]).finish()
    }

    /// Runs a shell script in a container made from the base configuration.
    pub(crate) fn sh(&self, script: &str, change: impl FnOnce(&mut Value)) -> Done {
        self.run(&self.script(script, change))
    }

    /// `create`, however it ends.
    pub(crate) fn create(&self, bundle: &Bundle) -> Done {
        self.call(["create", "-b", bundle.path(), &bundle.id]).finish()
    }

    /// A created container.
    pub(crate) fn created(&self, bundle: &Bundle) -> Done {
        self.create(bundle).ok()
    }

    /// A running container.
    pub(crate) fn started(&self, bundle: &Bundle) -> Done {
        let done = self.created(bundle);
        self.call(["start", &bundle.id]).finish().ok();
        done
    }

    /// What `state` prints.
    pub(crate) fn state_of(&self, id: &str) -> Value {
        serde_json::from_str(&self.call(["state", id]).finish().ok().stdout()).unwrap()
    }

    /// The status that `state` prints.
    pub(crate) fn status(&self, id: &str) -> String {
        self.state_of(id)["status"].as_str().unwrap().to_owned()
    }

    /// The pid that `state` prints.
    pub(crate) fn pid(&self, id: &str) -> i32 {
        self.state_of(id)["pid"].as_i64().unwrap().try_into().unwrap()
    }

    /// Waits until a container has a status.
    pub(crate) fn until(&self, id: &str, status: &str) {
        eventually(&format!("{id} is {status}"), || self.status(id) == status);
    }

    /// `delete -f`, which may not fail.
    pub(crate) fn delete(&self, id: &str) {
        self.call(["delete", "-f", id]).finish().ok();
    }

    /// A path in the case's directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// A file in the case's directory.
    pub(crate) fn file(&self, name: &str, content: impl AsRef<[u8]>, mode: u32) -> PathBuf {
        let path = self.path(name);
        write(&path, content, mode);
        path
    }

    /// A directory in the case's directory.
    pub(crate) fn subdir(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        make_dir(&path);
        path
    }
}

/// What all unique names of this run begin with.
fn unique_prefix() -> String {
    format!("mdt-{}-", std::process::id())
}

/// The runtime under test: `RUNTIME`, or the release build beside the build that this test is.
pub(crate) fn runtime() -> &'static Path {
    static RUNTIME: OnceLock<PathBuf> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        let release = || {
            let built = Path::new(env!("CARGO_BIN_EXE_minidocker-oci"));
            built.parent().and_then(Path::parent).unwrap().join("release/minidocker-oci")
        };
        let path = std::env::var_os("RUNTIME").map_or_else(release, PathBuf::from);
        let path = std::path::absolute(path).unwrap();
        assert!(
            path.is_file(),
            "{path:?} is missing: cargo build --release --bins, or name another one with RUNTIME"
        );
        path
    })
}

/// Where the cgroup2 tree is mounted, by itself or beside v1 controllers.
pub(crate) fn cgroup_root() -> Option<&'static Path> {
    static ROOT: OnceLock<Option<PathBuf>> = OnceLock::new();
    let find = || {
        let is_tree = |path: &&str| Path::new(path).join("cgroup.controllers").is_file();
        ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"].iter().find(|p| is_tree(p)).map(PathBuf::from)
    };
    ROOT.get_or_init(find).as_deref()
}

/// Why there are no limits of a controller, if there are none.
pub(crate) fn no_controller(name: &str) -> Option<String> {
    let all = read(cgroup_root().unwrap().join("cgroup.controllers"));
    (!all.split_whitespace().any(|other| other == name))
        .then(|| format!("no controller {name} in cgroup2 here"))
}

/// Whether a program is installed.
pub(crate) fn installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
}

/// Whether the running Linux is of this version or newer.
pub(crate) fn kernel_is_at_least(major: u32, minor: u32) -> bool {
    let uname = nix::sys::utsname::uname().unwrap();
    let release = uname.release().to_string_lossy().into_owned();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map_while(|n| n.parse::<u32>().ok());
    (numbers.next(), numbers.next()) >= (Some(major), Some(minor))
}

/// How long anything may take that is waited for: a hang is a failure, and a machine that is slow or busy is none.
/// How fast something is, is never asserted. What is to hang in a test hangs for longer than this.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Waits for something that happens by itself.
#[track_caller]
pub(crate) fn eventually(what: &str, happened: impl FnMut() -> bool) {
    assert!(within(PATIENCE, happened), "not within {PATIENCE:?}: {what}");
}

/// Waits for the end of what has been killed: nothing of the case is left then.
#[track_caller]
pub(crate) fn nothing_is_left(case: &Case, after: &str) {
    let mut leaks = Vec::new();
    let gone = within(PATIENCE, || {
        leaks = case.leaks();
        leaks.is_empty()
    });
    assert!(gone, "left {after}:\n{}", leaks.join("\n"));
}

/// Whether something happens in time.
pub(crate) fn within(limit: Duration, mut happened: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + limit;
    loop {
        if happened() {
            return true;
        }
        if Instant::now() > end {
            return false;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Held while a file is written that may be executed, and while a process is started: the child has a copy of
/// each descriptor for a moment, and nobody can execute what is open for writing (ETXTBSY).
static WRITING_OR_STARTING: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    WRITING_OR_STARTING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A new file with exactly this mode.
pub(crate) fn write(path: &Path, content: impl AsRef<[u8]>, mode: u32) {
    let _alone = alone();
    fs::write(path, content).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// A directory, with what is missing above it.
pub(crate) fn make_dir(path: &Path) {
    fs::create_dir_all(path).unwrap();
}

/// A file that has to be there is no more.
pub(crate) fn remove(path: &Path) {
    fs::remove_file(path).unwrap();
}

/// A copy of a program.
pub(crate) fn copy(from: &Path, to: &Path) {
    let _alone = alone();
    fs::copy(from, to).unwrap();
}

/// A symbolic link.
pub(crate) fn link(target: impl AsRef<Path>, path: &Path) {
    std::os::unix::fs::symlink(target, path).unwrap();
}

/// A file's content as text.
pub(crate) fn read(path: impl AsRef<Path>) -> String {
    let path = path.as_ref();
    String::from_utf8_lossy(&fs::read(path).unwrap_or_else(|e| panic!("{path:?}: {e}"))).into_owned()
}

/// Whether anything has this name, a dangling link included.
pub(crate) fn is_there(path: impl AsRef<Path>) -> bool {
    path.as_ref().symlink_metadata().is_ok()
}

/// A command of the host that has to work.
pub(crate) fn host_command(program: &str, args: &[&OsStr]) -> String {
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = {
        let _alone = alone();
        command.spawn().unwrap()
    };
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// SHA-256 of the runtime's file: nothing that a container does may change it.
pub(crate) fn runtime_digest() -> String {
    host_command("sha256sum", &[runtime().as_os_str()])
}
