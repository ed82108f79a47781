//! The words of config.md, "Linux mount options", and of its callers, as a table.

use super::Links;
use crate::sys::mount::{Depth, attr};

/// Where a word belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// Sets a mount attribute.
    Set(u64),
    /// Clears one.
    Clear(u64),
    /// One value of the access time field.
    Atime(u64),
    /// The same three for the mount and all below it.
    SetBelow(u64),
    ClearBelow(u64),
    AtimeBelow(u64),
    /// A superblock parameter without value, and what takes it back.
    Superblock(&'static str),
    NoSuperblock(&'static str),
    /// Recognised, and what happens anyway.
    Nothing,
    Bind(Depth),
    Remount,
    CopyUp,
    /// Without a value: with the ids of the mount's own maps, or of the container's user namespace.
    IdMap(Depth),
    /// What becomes of a bind's source that is a symbolic link.
    Links(Links),
    /// A destination that is a symbolic link is mounted over itself.
    OverLink,
}

/// Every word the tables know; `features` prints them.
pub(super) const WORDS: &[(&str, Word)] = &[
    ("", Word::Nothing), // podman writes empty options
    ("async", Word::NoSuperblock("sync")),
    ("atime", Word::Atime(0)),
    ("bind", Word::Bind(Depth::Top)),
    ("copy-symlink", Word::Links(Links::Copied)),
    ("defaults", Word::Nothing),
    ("dest-nofollow", Word::OverLink),
    ("dev", Word::Clear(attr::NODEV)),
    ("diratime", Word::Clear(attr::NODIRATIME)),
    ("dirsync", Word::Superblock("dirsync")),
    ("exec", Word::Clear(attr::NOEXEC)),
    ("idmap", Word::IdMap(Depth::Top)),
    ("iversion", Word::Nothing), // a matter of each file system by now; the new mount API has no word for it
    ("lazytime", Word::Superblock("lazytime")),
    ("loud", Word::Nothing),
    ("mand", Word::Nothing), // no effect since Linux 5.15
    ("noatime", Word::Atime(attr::NOATIME)),
    ("nodev", Word::Set(attr::NODEV)),
    ("nodiratime", Word::Set(attr::NODIRATIME)),
    ("noexec", Word::Set(attr::NOEXEC)),
    ("noiversion", Word::Nothing),
    ("nolazytime", Word::NoSuperblock("lazytime")),
    ("nomand", Word::Nothing),
    ("norelatime", Word::Atime(0)),
    ("nostrictatime", Word::Atime(0)),
    ("nosuid", Word::Set(attr::NOSUID)),
    ("nosymfollow", Word::Set(attr::NOSYMFOLLOW)),
    ("ratime", Word::AtimeBelow(0)),
    ("rbind", Word::Bind(Depth::Recursive)),
    ("rdev", Word::ClearBelow(attr::NODEV)),
    ("rdiratime", Word::ClearBelow(attr::NODIRATIME)),
    ("relatime", Word::Atime(0)),
    ("remount", Word::Remount),
    ("rexec", Word::ClearBelow(attr::NOEXEC)),
    ("ridmap", Word::IdMap(Depth::Recursive)),
    ("rnoatime", Word::AtimeBelow(attr::NOATIME)),
    ("rnodev", Word::SetBelow(attr::NODEV)),
    ("rnodiratime", Word::SetBelow(attr::NODIRATIME)),
    ("rnoexec", Word::SetBelow(attr::NOEXEC)),
    ("rnorelatime", Word::AtimeBelow(0)),
    ("rnostrictatime", Word::AtimeBelow(0)),
    ("rnosuid", Word::SetBelow(attr::NOSUID)),
    ("rnosymfollow", Word::SetBelow(attr::NOSYMFOLLOW)),
    ("ro", Word::Set(attr::RDONLY)),
    ("rrelatime", Word::AtimeBelow(0)),
    ("rro", Word::SetBelow(attr::RDONLY)),
    ("rrw", Word::ClearBelow(attr::RDONLY)),
    ("rstrictatime", Word::AtimeBelow(attr::STRICTATIME)),
    ("rsuid", Word::ClearBelow(attr::NOSUID)),
    ("rsymfollow", Word::ClearBelow(attr::NOSYMFOLLOW)),
    ("rw", Word::Clear(attr::RDONLY)),
    ("silent", Word::Nothing), // messages go to the context's log, which is read
    ("src-nofollow", Word::Links(Links::Bound)),
    ("strictatime", Word::Atime(attr::STRICTATIME)),
    ("suid", Word::Clear(attr::NOSUID)),
    ("symfollow", Word::Clear(attr::NOSYMFOLLOW)),
    ("sync", Word::Superblock("sync")),
    ("tmpcopyup", Word::CopyUp),
];
