//! Which mounts CRIU would write, and could not make again.

use std::path::Path;

use nix::unistd::Pid;

use super::process::Alive;
use crate::error::{Result, unsupported};
use crate::proc::{Mounted, Proc, Sharing};

/// That CRIU can make again what a container sees, if that is in a mount namespace of its own: what is the host's it does
/// not write.
pub fn check(proc: &Proc, of: &Alive, seen: &[Mounted]) -> Result<()> {
    match proc.namespace(of.pid, "mnt")? == proc.namespace(Pid::this(), "mnt")? {
        true => Ok(()),
        false => can_be_made(seen),
    }
}

/// Of mounts that share what is mounted in them, and of those that follow
/// these, it makes one do so and then the others by it, which the kernel allows for what shows no more of the file system:
/// move_mount(2), MOVE_MOUNT_SET_GROUP. What follows the host alone is taken from the host's.
fn can_be_made(seen: &[Mounted]) -> Result<()> {
    if seen.iter().any(|mount| mount.at == Path::new("/") && mount.sharing.unbindable) {
        return Err(unsupported(
            "the mount / is unbindable, which criu could write and not restore: create the container with another \
             linux.rootfsPropagation, such as private",
        ));
    }
    match seen.iter().find_map(|mount| group_without_a_whole(seen, mount.sharing.group?)) {
        None => Ok(()),
        Some((one, other)) => Err(unsupported(format!(
            "the mounts {} and {} share what is mounted in them (rshared, rslave) and show other parts of one file \
             system, which criu could write and not restore: bind one of them rprivate, or a directory that has both",
            one.at.as_path().min(&other.at).display(),
            one.at.as_path().max(&other.at).display()
        ))),
    }
}

/// Two mounts of a group, or of what follows it, that show other parts.
fn group_without_a_whole(seen: &[Mounted], group: u32) -> Option<(&Mounted, &Mounted)> {
    let of = |wanted: &dyn Fn(Sharing) -> bool| -> Vec<&Mounted> {
        seen.iter().filter(|mount| wanted(mount.sharing)).collect()
    };
    let sharing = of(&|sharing| sharing.group == Some(group));
    let following = of(&|sharing| sharing.master == Some(group) && sharing.group.is_none());
    // Those of each group of their own have a whole, or are told of in their turn.
    let leading = of(&|sharing| sharing.master == Some(group) && sharing.group.is_some());
    let whole = whole(&sharing)?;
    let mut pairs = sharing.iter().chain(&leading).map(|other| (whole, *other)).collect::<Vec<_>>();
    if let Some(first) = self::whole(&following) {
        pairs.push((whole, first));
        pairs.extend(following.iter().map(|other| (first, *other)));
    }
    pairs.into_iter().find(|(whole, part)| !part.root.starts_with(&whole.root))
}

/// What shows most: if any shows all, then this.
fn whole<'a>(mounts: &[&'a Mounted]) -> Option<&'a Mounted> {
    mounts.iter().copied().min_by_key(|mount| mount.root.components().count())
}

#[cfg(test)]
mod tests {
    use super::can_be_made;
    use crate::proc::{Mounted, Sharing};

    /// `PLACE ROOT [shared:N] [master:N] [unbindable]`
    fn mounted(words: &str) -> Mounted {
        let mut words = words.split_whitespace();
        let (at, root) = (words.next().unwrap().into(), words.next().unwrap().into());
        Mounted {
            id: 1,
            device: "8:1".into(),
            root,
            at,
            fstype: "ext4".into(),
            sharing: Sharing::parse(words),
        }
    }

    /// What CRIU 4.2.1 has restored, and what not.
    #[test]
    fn what_shares_is_written_if_one_shows_all_of_it() {
        for (mounts, refused) in [
            (&["/ /r", "/a /v/a shared:1", "/b /v shared:1", "/c /v/c shared:1"][..], None),
            (&["/ /r", "/a /v/a shared:1", "/b /w shared:1"], Some("/a and /b")),
            (&["/ /r master:1", "/a /v/a master:1", "/b /w master:1", "/c / master:2"], None),
            (&["/ /r", "/a /v/a shared:1", "/b /w shared:2"], None),
            (&["/ /r", "/a /v/a shared:2 master:1", "/b /w shared:3 master:1", "/c /x master:1"], None),
            (&["/ /r", "/a /v/a master:1", "/b /w shared:1"], Some("/a and /b")),
            (&["/ /r", "/a /v master:1", "/b /v shared:1"], None),
            (&["/ /r", "/a /v master:1", "/b /v/b shared:1"], Some("/a and /b")),
            (&["/ /r master:1", "/b /v/b shared:1"], Some("/ and /b")),
            (&["/ /r", "/a /v shared:1", "/b /v/b master:1", "/c /v/c master:1"], Some("/b and /c")),
            (&["/ /r", "/a /v shared:1", "/b /v/b master:1", "/c /v master:1"], None),
            (&["/ /r", "/a /v shared:1", "/b /w shared:2 master:1"], Some("/a and /b")),
            (&["/ /r", "/a /v shared:1", "/b /v/b shared:2 master:1"], None),
        ] {
            let mounts: Vec<_> = mounts.iter().map(|words| mounted(words)).collect();
            match (can_be_made(&mounts), refused) {
                (Ok(()), None) => {}
                (Err(error), Some(words)) => {
                    assert!(error.to_string().contains(words), "{error}: {mounts:?}")
                }
                (other, _) => panic!("{other:?}: {mounts:?}"),
            }
        }
    }

    #[test]
    fn what_can_not_be_bound_is_written_if_it_is_not_the_root() {
        assert!(can_be_made(&[mounted("/ /r"), mounted("/a /v unbindable")]).is_ok());
        assert!(can_be_made(&[mounted("/ /r unbindable")]).is_err());
    }
}
