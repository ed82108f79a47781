//! What a running container has of its host: CRIU has to be told of it, for it is not the container's to be written
//! to images. The kernel is asked, not the configuration: a bundle may have changed since.

use std::collections::BTreeSet;
use std::path::Path;

use nix::sys::stat::{major, minor};
use nix::unistd::Pid;

use super::process::Alive;
use crate::error::Result;
use crate::proc::{Descriptor, Mounted, Proc, mounts};
use crate::spec::oci::LinuxNamespaceType;
use crate::sys::fs;

/// Which of the mounts that a container sees are the host's: CRIU finds them again by where they are. Those are the
/// ones whose file system the host has mounted, too.
pub fn mount_points(proc: &Proc, (of, seen): (&Alive, &[Mounted]), cgroup: &Path) -> Result<Vec<String>> {
    let host = mounts()?;
    let hosts: BTreeSet<&str> = host.iter().map(|mount| mount.device.as_str()).collect();
    let has_own = proc.namespace(of.pid, "cgroup")? != proc.namespace(Pid::this(), "cgroup")?;
    let own_cgroup = has_own.then(|| Path::new("/").join(cgroup));
    let is_hosts = |mount: &&Mounted| {
        mount.at != Path::new("/")
            && hosts.contains(mount.device.as_str())
            && !made_anew(mount, own_cgroup.as_deref())
    };
    let points: BTreeSet<String> =
        seen.iter().filter(is_hosts).map(|mount| mount.at.to_string_lossy().into_owned()).collect();
    Ok(points.into_iter().collect())
}

/// File systems of the kernel that are the same wherever they are mounted as a whole; and of the cgroup tree, what a
/// cgroup namespace shows as one.
fn made_anew(mount: &Mounted, own_cgroup: Option<&Path>) -> bool {
    match mount.fstype.as_str() {
        "cgroup" | "cgroup2" => own_cgroup == Some(&mount.root),
        "proc" | "sysfs" | "mqueue" | "devpts" => mount.root == Path::new("/"),
        _ => false,
    }
}

/// What the images call a namespace that the container has joined, and that goes on without it; `None` for those
/// whose state is written to the images, and given to another one of their kind by `restore`.
pub const fn namespace_key(kind: LinuxNamespaceType) -> Option<(&'static str, &'static str)> {
    match kind {
        LinuxNamespaceType::Network => Some(("net", "extNetNs")),
        LinuxNamespaceType::Pid => Some(("pid", "extPidNs")),
        _ => None,
    }
}

/// The same, as CRIU is told when it writes: by the number of the namespace that a process is in.
pub fn namespaces(proc: &Proc, of: &Alive, joined: &[LinuxNamespaceType]) -> Result<Vec<String>> {
    let keys = joined.iter().filter_map(|kind| namespace_key(*kind));
    keys.map(|(name, key)| Ok(format!("{name}[{}]:{key}", proc.namespace(of.pid, name)?))).collect()
}

/// What of the container's open files is the host's, or leads there: what its caller has given it as 0, 1 and 2.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Descriptors {
    /// What CRIU calls them, in that order, and after these what is the host's /dev/null, which stays it: by these names
    /// `restore` gives CRIU its own.
    pub names: Vec<String>,
    /// Those among the names that CRIU has to be told of: a pipe, or a file that the container sees, has one by itself.
    pub external: BTreeSet<String>,
}

impl Descriptors {
    /// To be asked while all stand still. A shell moves what it has as standard output out of the way for a moment,
    /// as often as it redirects: so all that is open anywhere is looked through for it.
    pub fn of(proc: &Proc, first: Pid, all: &BTreeSet<Pid>) -> Result<Self> {
        let seen: BTreeSet<u32> = proc.mounts_of(first)?.iter().map(|mount| mount.id).collect();
        let mut found = Self { names: vec![String::new(); 3], external: BTreeSet::new() };
        let mut opened = Vec::new();
        for pid in all {
            for descriptor in proc.descriptors(*pid)? {
                let open = Open::of(&descriptor, &seen);
                let standard = *pid == first && !open.null;
                if let Some(name) = found.names.get_mut(descriptor.number as usize).filter(|_| standard) {
                    name.clone_from(&open.name);
                }
                opened.push(open);
            }
        }
        for open in &opened {
            let ends = opened.iter().filter(|other| other.name == open.name);
            let both = ends.clone().any(|end| end.reads) && ends.clone().any(|end| end.writes);
            let outside = open.hosts || (open.name.starts_with("pipe:[") && !both);
            if outside && (found.names.contains(&open.name) || found.place(open)) && open.hosts {
                found.external.insert(open.name.clone());
            }
        }
        Ok(found)
    }

    /// Finds out which descriptor something was that is none of the three now. If it can't be any, CRIU is not told
    /// of it, and says what it is.
    fn place(&mut self, open: &Open) -> bool {
        match (open.null, self.names.get_mut(usize::from(open.writes))) {
            (true, _) => self.names.push(open.name.clone()),
            (false, Some(name)) if !is_inherited(name) => name.clone_from(&open.name),
            _ => return false,
        }
        true
    }
}

/// devices.txt of the kernel: 4 /dev/ttyN and /dev/ttySN, 136 to 143 the slaves of pseudo-terminals.
const TERMINALS: [u64; 9] = [4, 136, 137, 138, 139, 140, 141, 142, 143];

/// Something that is open, as CRIU sees it.
struct Open {
    name: String,
    /// It can't be found in the container's mounts.
    hosts: bool,
    null: bool,
    reads: bool,
    writes: bool,
}

impl Open {
    fn of(descriptor: &Descriptor, seen: &BTreeSet<u32>) -> Self {
        let Descriptor { target, mount, stat, reads, writes, .. } = descriptor;
        let device = fs::file_type(stat) == libc::S_IFCHR;
        let (memory, terminal) =
            (device && major(stat.st_rdev) == 1, device && TERMINALS.contains(&major(stat.st_rdev)));
        // All that is no file is CRIU's own affair, as are the container's own terminals.
        let file = memory || terminal || fs::file_type(stat) == libc::S_IFREG;
        let hosts = file && !seen.contains(mount) && *mount != 0;
        let name = match hosts {
            true if terminal => format!("tty[{:x}:{:x}]", stat.st_rdev, stat.st_dev),
            true => format!("file[{mount:x}:{:x}]", stat.st_ino),
            false => target.to_string_lossy().into_owned(),
        };
        let null = hosts && memory && minor(stat.st_rdev) == 3;
        Self { name, hosts, null, reads: *reads, writes: *writes }
    }
}

/// Whether `restore` has to give CRIU a descriptor for what has this name: it can't be opened in the container.
pub fn is_inherited(name: &str) -> bool {
    ["pipe:[", "file[", "tty["].iter().any(|kind| name.starts_with(kind))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{is_inherited, made_anew};
    use crate::proc::{Mounted, Sharing};

    #[test]
    fn what_the_container_can_open_itself_is_not_inherited() {
        for (name, inherited) in [
            ("pipe:[17]", true),
            ("file[1f:2a]", true),
            ("tty[8803:18]", true),
            ("/dev/null", false),
            ("socket:[3]", false),
            ("", false),
        ] {
            assert_eq!(is_inherited(name), inherited, "{name}");
        }
    }

    #[test]
    fn a_part_of_a_file_system_of_the_kernel_is_a_bind() {
        let mounted = |fstype: &str, root: &str| Mounted {
            id: 1,
            device: "0:5".into(),
            root: root.into(),
            at: "/x".into(),
            sharing: Sharing::default(),
            fstype: fstype.into(),
        };
        for (fstype, root, anew) in [
            ("sysfs", "/", true),
            ("sysfs", "/kernel", false),
            ("cgroup2", "/a", true),
            ("cgroup2", "/", false),
            ("devtmpfs", "/null", false),
            ("ext4", "/", false),
        ] {
            assert_eq!(made_anew(&mounted(fstype, root), Some(Path::new("/a"))), anew, "{fstype} {root}");
        }
        assert!(!made_anew(&mounted("cgroup2", "/a"), None));
    }
}
