//! `spec`: a `config.json` to start from, the one that runc writes.

use std::io::Write;
use std::path::Path;

use serde::Serialize;
use serde_json::ser::{PrettyFormatter, Serializer};
use serde_json::{Value, json};

use crate::error::{Doing, Result, best_effort, invalid};
use crate::spec::OCI_VERSION;
use crate::sys::fs::{self, Lookup, OFlag};
use crate::sys::{Call, Errno};

/// Who is to run the container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Root.
    Root,
    /// Whoever asks, in a user namespace that knows nobody else: `--rootless`.
    Rootless,
}

/// Writes `config.json` into the bundle's directory. One that is there is not touched, be it a link.
pub fn spec(bundle: &Path, kind: Kind) -> Result<()> {
    use nix::unistd::{getegid, geteuid};
    let config = match kind {
        Kind::Root => for_root(),
        Kind::Rootless => for_user(geteuid().as_raw(), getegid().as_raw()),
    };
    write(bundle, &text(&config)?)
}

fn write(bundle: &Path, text: &[u8]) -> Result<()> {
    const NAME: &str = "config.json";
    let dir = fs::open(bundle, OFlag::O_PATH | OFlag::O_DIRECTORY).doing(|| format!("bundle {bundle:?}"))?;
    let path = bundle.join(NAME);
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW;
    // 0666 is what open(2) gives the umask to take from.
    let file = match fs::openat2(&dir, NAME, flags, 0o666, Lookup::Strict) {
        Err(Errno::EEXIST) => {
            return Err(invalid(format!("file {} exists. Remove it first", path.display())));
        }
        opened => opened.call(|| format!("openat2({NAME:?})")).doing(|| format!("config {path:?}"))?,
    };
    let written = std::fs::File::from(file).write_all(text).call(|| "write()");
    if written.is_err() {
        best_effort("remove the unfinished config.json", fs::unlink(&dir, NAME.as_ref()));
    }
    written.doing(|| format!("config {path:?}"))
}

/// Indented with tabs, for people to edit.
fn text(config: &Value) -> Result<Vec<u8>> {
    let mut text = Vec::new();
    config.serialize(&mut Serializer::with_formatter(&mut text, PrettyFormatter::with_indent(b"\t")))?;
    text.push(b'\n');
    Ok(text)
}

fn for_root() -> Value {
    let namespaces = ["pid", "network", "ipc", "uts", "mount", "cgroup"];
    let mut config = common(&namespaces);
    config["linux"]["resources"] = json!({ "devices": [{ "allow": false, "access": "rwm" }] });
    let devpts = ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"];
    let sys = ["nosuid", "noexec", "nodev", "ro"];
    let sys = json!({ "destination": "/sys", "type": "sysfs", "source": "sysfs", "options": sys });
    config["mounts"] = mounts(&devpts, &sys);
    config
}

/// A user has one id to map and the host's network: there is no gid 5 for terminals, and only who owns the
/// network namespace may mount a sysfs (the kernel's fs/sysfs/mount.c), so that the host's is bound.
fn for_user(uid: u32, gid: u32) -> Value {
    let namespaces = ["pid", "ipc", "uts", "mount", "cgroup", "user"];
    let mut config = common(&namespaces);
    config["linux"]["uidMappings"] = json!([{ "containerID": 0, "hostID": uid, "size": 1 }]);
    config["linux"]["gidMappings"] = json!([{ "containerID": 0, "hostID": gid, "size": 1 }]);
    let devpts = ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"];
    let sys = ["rbind", "nosuid", "noexec", "nodev", "ro"];
    let sys = json!({ "destination": "/sys", "type": "none", "source": "/sys", "options": sys });
    config["mounts"] = mounts(&devpts, &sys);
    config
}

/// What both have; runc's values, its host name too.
fn common(namespaces: &[&str]) -> Value {
    let caps = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"];
    let namespaces: Vec<Value> = namespaces.iter().map(|kind| json!({ "type": kind })).collect();
    json!({
        "ociVersion": OCI_VERSION,
        "process": {
            "terminal": true,
            "user": { "uid": 0, "gid": 0 },
            "args": ["sh"],
            "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"],
            "cwd": "/",
            "capabilities": { "bounding": caps, "effective": caps, "permitted": caps },
            "rlimits": [{ "type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024 }],
            "noNewPrivileges": true,
        },
        "root": { "path": "rootfs", "readonly": true },
        "hostname": "runc",
        "linux": {
            "namespaces": namespaces,
            "maskedPaths": [
                "/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
                "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/sys/firmware", "/proc/scsi",
            ],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
        },
    })
}

fn mounts(devpts: &[&str], sys: &Value) -> Value {
    let dev = ["nosuid", "strictatime", "mode=755", "size=65536k"];
    let shm = ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"];
    let mqueue = ["nosuid", "noexec", "nodev"];
    let cgroup = ["nosuid", "noexec", "nodev", "relatime", "ro"];
    json!([
        { "destination": "/proc", "type": "proc", "source": "proc" },
        { "destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": dev },
        { "destination": "/dev/pts", "type": "devpts", "source": "devpts", "options": devpts },
        { "destination": "/dev/shm", "type": "tmpfs", "source": "shm", "options": shm },
        { "destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options": mqueue },
        sys,
        { "destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": cgroup },
    ])
}

#[cfg(test)]
mod tests {
    use super::{Kind, Value, for_root, for_user, spec, text};
    use crate::plan::{HostFacts, Wishes, compile};
    use crate::spec::Bundle;
    use std::os::unix::fs::MetadataExt;
    use std::path::PathBuf;

    /// An empty directory that is gone after the test.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            let template = std::env::temp_dir().join(format!("minidocker-oci-spec-{name}-XXXXXX"));
            Self(nix::unistd::mkdtemp(&template).unwrap())
        }
    }

    impl Drop for Scratch {
        #[expect(clippy::disallowed_methods, reason = "made by this test")]
        fn drop(&mut self) {
            std::fs::remove_dir_all(&self.0).unwrap();
        }
    }

    fn options(config: &Value, at: &str) -> Value {
        let mounts = config["mounts"].as_array().unwrap();
        mounts.iter().find(|mount| mount["destination"] == at).unwrap()["options"].clone()
    }

    #[test]
    fn what_spec_writes_is_what_create_takes() {
        for (config, euid) in [(for_root(), 0), (for_user(1000, 1000), 1000)] {
            let spec = crate::spec::parse(&text(&config).unwrap()).unwrap();
            let bundle = Bundle { dir: "/bundle".into(), spec };
            compile(&bundle, "c", HostFacts { euid, ..HostFacts::default() }, Wishes::default()).unwrap();
        }
    }

    #[test]
    fn every_property_is_one_that_the_model_has() {
        for config in [for_root(), for_user(1, 2)] {
            let spec = crate::spec::parse(&text(&config).unwrap()).unwrap();
            let mut read = serde_json::to_value(spec).unwrap();
            for set in ["bounding", "effective", "permitted"] {
                // Sets, in an order that changes.
                read["process"]["capabilities"][set].as_array_mut().unwrap().sort_by_key(ToString::to_string);
            }
            assert_eq!(read, config);
        }
    }

    #[test]
    fn a_user_maps_only_himself_and_keeps_the_hosts_network() {
        let (root, user) = (for_root(), for_user(1234, 2345));
        assert_eq!(user.pointer("/linux/uidMappings/0/hostID").unwrap(), 1234);
        assert_eq!(user.pointer("/linux/gidMappings/0/hostID").unwrap(), 2345);
        let has = |config: &Value, kind| {
            config["linux"]["namespaces"].as_array().unwrap().iter().any(|n| n["type"] == kind)
        };
        assert!(has(&root, "network") && !has(&root, "user") && has(&user, "user") && !has(&user, "network"));
        assert!(
            options(&root, "/dev/pts").to_string().contains("gid=")
                && !options(&user, "/dev/pts").to_string().contains("gid=")
        );
        assert!(user.pointer("/linux/resources").is_none());
    }

    #[test]
    fn the_file_is_indented_with_tabs_and_has_the_rights_that_the_umask_leaves() {
        let scratch = Scratch::new("rights");
        spec(&scratch.0, Kind::Root).unwrap();
        let path = scratch.0.join("config.json");
        let content = std::fs::read_to_string(&path).unwrap();
        assert!(content.starts_with("{\n\t\"") && content.ends_with("\n}\n"), "{content}");
        // The umask of a process with threads can't be read without changing it for all: another file tells.
        let other =
            std::fs::OpenOptions::new().write(true).create_new(true).open(scratch.0.join("x")).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().mode(), other.metadata().unwrap().mode());
    }

    #[test]
    fn a_file_that_exists_is_named_and_stays() {
        let scratch = Scratch::new("exists");
        spec(&scratch.0, Kind::Root).unwrap();
        let path = scratch.0.join("config.json");
        let before = std::fs::read(&path).unwrap();
        let error = spec(&scratch.0, Kind::Rootless).unwrap_err();
        assert_eq!(format!("{error:#}"), format!("file {} exists. Remove it first", path.display()));
        assert_eq!(std::fs::read(&path).unwrap(), before);
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "the trap of this test")]
    fn a_link_is_not_followed_even_if_it_leads_nowhere() {
        let scratch = Scratch::new("link");
        std::os::unix::fs::symlink("elsewhere", scratch.0.join("config.json")).unwrap();
        assert!(spec(&scratch.0, Kind::Root).unwrap_err().to_string().contains("exists. Remove it first"));
        assert!(!scratch.0.join("elsewhere").exists());
    }

    #[test]
    fn a_bundle_that_is_missing_is_named() {
        let error = format!("{:#}", spec("/nonexistent/bundle".as_ref(), Kind::Root).unwrap_err());
        assert!(error.starts_with("bundle \"/nonexistent/bundle\": open("), "{error}");
    }
}
