//! Bundles of busybox, made for one test each.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use serde_json::{Value, json};

use super::{Case, write};

/// What the tests' scripts use. busybox finds the applet by the name of the link.
const APPLETS: &str = "ash awk basename cat chmod chown cut date dd df dirname dmesg echo env expr false find grep head hostname \
    id ifconfig kill ln ls mkdir mkfifo mknod mount mv nc nproc od ping printenv printf ps pwd readlink realpath renice rm \
    rmdir seq setsid sh sha256sum sleep sort stat stty tail test touch tr true tty uname uniq unlink usleep wc which whoami xargs";

/// Types of namespaces as the configuration calls them, and their links in /proc/PID/ns: those that [`base`] has.
pub(crate) const NAMESPACES: [(&str, &str); 6] = [
    ("pid", "pid"),
    ("mount", "mnt"),
    ("ipc", "ipc"),
    ("uts", "uts"),
    ("network", "net"),
    ("cgroup", "cgroup"),
];

/// A bundle, and the id of the container that is made from it.
#[derive(Debug)]
pub(crate) struct Bundle {
    pub(crate) dir: PathBuf,
    pub(crate) id: String,
    pub(crate) cgroup: PathBuf,
}

impl Bundle {
    pub(super) fn make(case: &Case, number: u32, change: impl FnOnce(&mut Value)) -> Self {
        let dir = case.subdir(&format!("b{number}"));
        let id = format!("{}-{number}", case.unique);
        make_rootfs(&dir.join("rootfs"));
        let mut config = base();
        config["linux"]["cgroupsPath"] = json!(format!("/{}/{id}", case.unique));
        change(&mut config);
        let bundle = Self { cgroup: case.cgroup().join(&id), dir, id };
        bundle.save(&config);
        bundle
    }

    /// For command lines.
    pub(crate) fn path(&self) -> &str {
        self.dir.to_str().unwrap()
    }

    /// A path in the root file system.
    pub(crate) fn rootfs(&self, path: &str) -> PathBuf {
        self.dir.join("rootfs").join(path.trim_start_matches('/'))
    }

    /// A file in the root file system.
    pub(crate) fn put(&self, path: &str, content: impl AsRef<[u8]>, mode: u32) {
        let path = self.rootfs(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        write(&path, content, mode);
    }

    pub(crate) fn config(&self) -> Value {
        serde_json::from_slice(&fs::read(self.dir.join("config.json")).unwrap()).unwrap()
    }

    pub(crate) fn save(&self, config: &Value) {
        self.save_text(serde_json::to_vec_pretty(config).unwrap());
    }

    /// Whatever it is, valid or not.
    pub(crate) fn save_text(&self, config: impl AsRef<[u8]>) {
        write(&self.dir.join("config.json"), config, 0o644);
    }

    /// The same bundle, for a container of another id in another cgroup.
    pub(crate) fn as_id(&self, case: &Case, id: &str) -> Self {
        let mut config = self.config();
        config["linux"]["cgroupsPath"] = json!(format!("/{}/{id}", case.unique));
        let dir = case.subdir(&format!("as-{id}"));
        config["root"]["path"] = json!(self.rootfs(""));
        let bundle = Self { cgroup: case.cgroup().join(id), dir, id: id.to_owned() };
        bundle.save(&config);
        bundle
    }

    /// The same bundle, for a container of another id in the same cgroup.
    pub(crate) fn successor(&self, case: &Case) -> Self {
        let next = self.as_id(case, &format!("{}-next", self.id));
        let mut config = next.config();
        config["linux"]["cgroupsPath"] = self.config()["linux"]["cgroupsPath"].clone();
        next.save(&config);
        Self { cgroup: self.cgroup.clone(), ..next }
    }

    /// The root file system becomes another user's, as a container in a user namespace wants it.
    pub(crate) fn chown(&self, id: u32) {
        let root = self.rootfs("");
        super::host_command("chown", &["-hR".as_ref(), format!("{id}:{id}").as_ref(), root.as_os_str()]);
    }
}

/// A small usual container: six new namespaces, no capabilities.
fn base() -> Value {
    json!({
        "ociVersion": "1.0.2",
        "process": {
            "user": { "uid": 0, "gid": 0 },
            "args": ["/bin/true"],
            "env": ["PATH=/bin"],
            "cwd": "/",
            "noNewPrivileges": true,
        },
        "root": { "path": "rootfs" },
        "hostname": "box",
        "mounts": [
            { "destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid", "noexec", "nodev"] },
            { "destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "strictatime", "mode=755", "size=1m"] },
            { "destination": "/dev/pts", "type": "devpts", "source": "devpts",
              "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"] },
            { "destination": "/dev/shm", "type": "tmpfs", "source": "shm", "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=1m"] },
        ],
        "linux": {
            "namespaces": [
                { "type": "pid" }, { "type": "mount" }, { "type": "ipc" },
                { "type": "uts" }, { "type": "network" }, { "type": "cgroup" },
            ],
        },
    })
}

/// Adds a mount to a configuration.
pub(crate) fn add_mount(
    config: &mut Value,
    destination: &str,
    kind: &str,
    source: impl AsRef<Path>,
    options: &[&str],
) {
    config["mounts"].as_array_mut().unwrap().push(json!({
        "destination": destination, "type": kind, "source": source.as_ref(), "options": options,
    }));
}

/// Makes the namespace one of the host's, or one that is joined.
pub(crate) fn set_namespace(config: &mut Value, kind: &str, namespace: Option<Value>) {
    let namespaces = config["linux"]["namespaces"].as_array_mut().unwrap();
    namespaces.retain(|ns| ns["type"] != kind);
    namespaces.extend(namespace);
}

/// A new user namespace: the container's ids from 0 up are the host's from `host` up.
pub(crate) fn add_user_namespace(config: &mut Value, host: u32) {
    set_namespace(config, "user", Some(json!({ "type": "user" })));
    for map in ["uidMappings", "gidMappings"] {
        config["linux"][map] = json!([{ "containerID": 0, "hostID": host, "size": 65536 }]);
    }
}

/// All five capability sets alike.
pub(crate) fn set_capabilities(config: &mut Value, names: &[&str]) {
    for set in ["bounding", "effective", "permitted"] {
        config["process"]["capabilities"][set] = json!(names);
    }
}

fn make_rootfs(root: &Path) {
    for dir in ["bin", "dev", "etc", "proc", "root", "run", "sys", "tmp"] {
        fs::create_dir_all(root.join(dir)).unwrap();
        fs::set_permissions(
            root.join(dir),
            fs::Permissions::from_mode(if dir == "tmp" { 0o1777 } else { 0o755 }),
        )
        .unwrap();
    }
    super::copy(busybox(), &root.join("bin/busybox"));
    for applet in APPLETS.split_whitespace() {
        symlink("busybox", root.join("bin").join(applet)).unwrap();
    }
    write(
        &root.join("etc/passwd"),
        "root:x:0:0:root:/root:/bin/sh\nweb:x:33:33:web:/var/web:/bin/sh\n",
        0o644,
    );
    write(&root.join("etc/group"), "root:x:0:\nweb:x:33:\n", 0o644);
}

/// Debian's static busybox, once for all runs: `bundles/fill-busybox` finds it wherever it is.
fn busybox() -> &'static Path {
    static BUSYBOX: OnceLock<PathBuf> = OnceLock::new();
    BUSYBOX.get_or_init(|| {
        let rootfs = Path::new(env!("CARGO_TARGET_TMPDIR")).join("rootfs");
        let fill = Path::new(env!("CARGO_MANIFEST_DIR")).join("bundles/fill-busybox");
        let output = Command::new(fill).arg(&rootfs).output().unwrap();
        assert!(output.status.success(), "fill-busybox: {}", String::from_utf8_lossy(&output.stderr));
        rootfs.join("bin/busybox")
    })
}
