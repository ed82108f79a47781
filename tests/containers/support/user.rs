//! An ordinary user, made up for one test: an id that nobody has, without a line in /etc/passwd but in guests with
//! systemd.

use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::bundle::{Bundle, set_namespace};
use super::{Call, Case, cgroup_root, host_command, write};

/// Whose id is nobody's on any usual machine, and not the kernel's overflow id either.
const UID: u32 = 54_321;
const GID: u32 = 54_322;
/// What the test's /etc/subuid and /etc/subgid give.
pub(crate) const SUBIDS: (u32, u32) = (2_000_000, 65_536);

/// systemd's unit of that user's systemd.
const SESSION: &str = "user@54321.service";

/// `XDG_RUNTIME_DIR` of who is logged in: a mount, as long as he is.
pub(super) fn session_dir() -> PathBuf {
    format!("/run/user/{UID}").into()
}

/// See [`User::logged_in`].
#[derive(Debug)]
pub(crate) struct Session;

impl Drop for Session {
    fn drop(&mut self) {
        host_command("systemctl", &["stop", SESSION, "user-runtime-dir@54321.service"].map(AsRef::as_ref));
    }
}

/// A user with directories of his own.
#[derive(Debug)]
pub(crate) struct User<'c> {
    case: &'c Case,
    /// `XDG_RUNTIME_DIR`
    pub(crate) runtime_dir: PathBuf,
    runtime: PathBuf,
    /// Run by the outer root in a mount namespace of its own, before the user's command.
    prepare: String,
}

/// Whether the kernel lets ordinary users make user namespaces.
pub(crate) fn users_have_user_namespaces() -> bool {
    let line = format!("setpriv --reuid {UID} --regid {GID} --clear-groups unshare --user true 2>/dev/null");
    std::process::Command::new("sh").args(["-c", &line]).status().unwrap().success()
}

/// The user of a test, or its end with a `SKIP` line.
macro_rules! user {
    ($case:expr) => {{
        $crate::support::need!(
            $crate::support::user::users_have_user_namespaces(),
            "ordinary users can't make user namespaces here"
        );
        $crate::support::user::User::new(&$case)
    }};
}
pub(crate) use user;

impl<'c> User<'c> {
    pub(crate) fn new(case: &'c Case) -> Self {
        let runtime_dir = case.subdir("xdg");
        // The checkout may be where only its owner can go.
        let runtime = case.path("runtime");
        super::copy(super::runtime(), &runtime);
        std::fs::set_permissions(&runtime, std::fs::Permissions::from_mode(0o755)).unwrap();
        let user = Self { case, runtime_dir, runtime, prepare: String::new() };
        user.own(&user.runtime_dir);
        user
    }

    pub(crate) fn uid(&self) -> u32 {
        UID
    }

    pub(crate) fn gid(&self) -> u32 {
        GID
    }

    /// Makes a file or directory his.
    pub(crate) fn own(&self, path: &Path) {
        chown(path, Some(UID), Some(GID)).unwrap();
    }

    /// What the outer root does before each of his commands, in a mount namespace of its own.
    pub(crate) fn after(mut self, script: &str) -> Self {
        self.prepare.push_str(script);
        self.prepare.push_str(" && ");
        self
    }

    /// He has a name and a range of further ids.
    pub(crate) fn with_subids(self) -> Self {
        let ids = format!("{UID}:{}:{}\n", SUBIDS.0, SUBIDS.1);
        let named = format!("{}made-up:x:{UID}:{GID}::/:/bin/sh\n", super::read("/etc/passwd"));
        let [ids, named] = [("subids", ids), ("passwd", named)]
            .map(|(name, text)| self.case.file(name, text, 0o644).display().to_string());
        self.after(&format!(
            "touch /etc/subuid /etc/subgid && mount --bind {ids} /etc/subuid && mount --bind {ids} /etc/subgid && \
             mount --bind {named} /etc/passwd"
        ))
    }

    /// A command of his, in the cgroup `in_cgroup` if one is given.
    pub(crate) fn host(&self, in_cgroup: Option<&Path>, line: &[&str]) -> Call<'c> {
        let enter =
            in_cgroup.map_or_else(String::new, |dir| format!("echo 0 >{}/cgroup.procs && ", dir.display()));
        let script =
            format!("{}{enter}exec setpriv --reuid {UID} --regid {GID} --clear-groups \"$@\"", self.prepare);
        let mut words = vec!["unshare", "--mount", "--propagation", "private", "sh", "-c", &script, "sh"];
        words.extend(line);
        self.case.host(words).env("XDG_RUNTIME_DIR", &self.runtime_dir)
    }

    /// The runtime with his own state root.
    pub(crate) fn call(&self, args: &[&str]) -> Call<'c> {
        self.call_in(None, args)
    }

    /// The same in a cgroup.
    pub(crate) fn call_in(&self, in_cgroup: Option<&Path>, args: &[&str]) -> Call<'c> {
        let mut line = vec![self.runtime.to_str().unwrap()];
        line.extend(args);
        self.host(in_cgroup, &line)
    }

    /// A shell of his that is root of a user namespace, as podman without root is; `$0` is the runtime, `$1` and `$2` are
    /// the bundle and its id.
    pub(crate) fn as_namespace_root(&self, in_cgroup: Option<&Path>, b: &Bundle, script: &str) -> Call<'c> {
        let runtime = self.runtime.to_str().unwrap();
        let enter = ["unshare", "--user", "--map-root-user", "--mount"];
        self.host(in_cgroup, &[&enter[..], &["sh", "-euc", script, runtime, b.path(), &b.id]].concat())
    }

    /// A bundle for that: without a user namespace of the container's.
    pub(crate) fn namespace_roots_bundle(&self, script: &str, change: impl FnOnce(&mut Value)) -> Bundle {
        self.bundle(script, |config| {
            set_namespace(config, "user", None);
            let linux = config["linux"].as_object_mut().unwrap();
            linux.retain(|name, _| name != "uidMappings" && name != "gidMappings");
            change(config);
        })
    }

    /// A bundle of his: his own ids are the container's root, and it says nothing of a cgroup.
    pub(crate) fn bundle(&self, script: &str, change: impl FnOnce(&mut Value)) -> Bundle {
        let b = self.case.script(script, |config| {
            set_namespace(config, "user", Some(json!({ "type": "user" })));
            for (map, own) in [("uidMappings", UID), ("gidMappings", GID)] {
                config["linux"][map] = json!([{ "containerID": 0, "hostID": own, "size": 1 }]);
            }
            config["linux"].as_object_mut().unwrap().remove("cgroupsPath");
            change(config);
        });
        host_command("chown", &["-hR".as_ref(), format!("{UID}:{GID}").as_ref(), b.dir.as_os_str()]);
        b
    }

    /// `run` in the foreground, to its end.
    pub(crate) fn run(&self, b: &Bundle) -> super::Done {
        self.call(&["run", "-b", b.path(), &b.id]).finish()
    }

    pub(crate) fn state(&self, id: &str) -> Value {
        serde_json::from_str(&self.call(&["state", id]).finish().ok().stdout()).unwrap()
    }

    pub(crate) fn pid(&self, id: &str) -> i32 {
        self.state(id)["pid"].as_i64().unwrap().try_into().unwrap()
    }

    pub(crate) fn started(&self, b: &Bundle) -> i32 {
        self.call(&["create", "-b", b.path(), &b.id]).finish().ok();
        self.call(&["start", &b.id]).finish().ok();
        self.pid(&b.id)
    }

    pub(crate) fn delete(&self, id: &str) {
        self.call(&["delete", "-f", id]).finish().ok();
    }

    /// Nothing of his containers is left where they are kept.
    #[track_caller]
    pub(crate) fn has_no_container(&self) {
        assert_eq!(self.call(&["list", "-q"]).finish().ok().stdout(), "");
    }

    /// With a systemd of his own, until that is dropped; `None` where this machine has none or does not know him.
    pub(crate) fn logged_in(&mut self) -> Option<Session> {
        let is_known = super::read("/etc/passwd").contains(&format!(":x:{UID}:{GID}:"));
        if !is_known || !Path::new("/run/systemd/system").is_dir() {
            return None;
        }
        host_command("systemctl", &["start".as_ref(), SESSION.as_ref()]);
        self.runtime_dir = session_dir();
        Some(Session)
    }

    /// A cgroup that is delegated to him, cgroups(7): his are the directory and the files that he needs.
    pub(crate) fn delegated_cgroup(&self) -> PathBuf {
        let dir = self.case.cgroup().join("delegated");
        std::fs::create_dir(&dir).unwrap();
        for file in ["", "cgroup.procs", "cgroup.subtree_control", "cgroup.threads"] {
            self.own(&dir.join(file));
        }
        let inner = dir.join("session");
        std::fs::create_dir(&inner).unwrap();
        inner
    }

    /// As /proc/PID/cgroup shows it.
    pub(crate) fn shown(dir: &Path) -> String {
        format!("0::/{}", dir.strip_prefix(cgroup_root().unwrap()).unwrap().display())
    }

    /// A file of his.
    pub(crate) fn file(&self, path: &Path, text: &str) {
        write(path, text, 0o644);
        self.own(path);
    }
}
