//! Giving a cgroup to the container's user: config-linux.md, "Cgroup ownership"; cgroups(7), "Delegation".

use std::os::fd::AsFd;
use std::path::Path;

use nix::fcntl::AtFlags;
use nix::unistd::{fchown, fchownat};

use super::Cgroup;
use crate::error::{Doing, Result};
use crate::sys::fs::{self, OFlag};
use crate::sys::{Call, Errno};

/// Since Linux 4.15; which of the files may be given away.
const LIST: &str = "/sys/kernel/cgroup/delegate";

/// The directory and those of its files that the kernel lists become this user's; their group stays.
pub(super) fn give(cgroup: &Cgroup, uid: u32) -> Result<()> {
    let uid = Some(uid.into());
    fchown(cgroup.dir(), uid, None).call(|| format!("fchown({uid:?})"))?;
    for name in delegated(Path::new(LIST))? {
        match fchownat(cgroup.dir().as_fd(), name.as_str(), uid, None, AtFlags::AT_SYMLINK_NOFOLLOW) {
            // Such as those of a controller that this cgroup has not.
            Err(Errno::ENOENT) => {}
            given => given.call(|| format!("fchownat({name:?}, {uid:?})"))?,
        }
    }
    Ok(())
}

/// The names in the kernel's list; where there is none, the specification's.
fn delegated(list: &Path) -> Result<Vec<String>> {
    let text = match fs::open(list, OFlag::O_RDONLY) {
        Err(error) if error.errno == Errno::ENOENT => {
            b"cgroup.procs\ncgroup.subtree_control\ncgroup.threads\n".to_vec()
        }
        file => fs::read_all(file?, 1 << 16).doing(|| format!("{list:?}"))?,
    };
    Ok(String::from_utf8_lossy(&text).lines().map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::delegated;

    #[test]
    fn without_the_kernels_list_it_is_the_specifications() {
        let list = std::env::temp_dir().join(format!("delegate-{}", std::process::id()));
        assert_eq!(delegated(&list).unwrap(), ["cgroup.procs", "cgroup.subtree_control", "cgroup.threads"]);
        let script = format!("printf 'cgroup.procs\\nmemory.reclaim\\n' >{}", list.display());
        assert!(std::process::Command::new("sh").arg("-c").arg(script).status().unwrap().success());
        assert_eq!(delegated(&list).unwrap(), ["cgroup.procs", "memory.reclaim"]);
        drop(std::process::Command::new("rm").arg(&list).status());
    }
}
