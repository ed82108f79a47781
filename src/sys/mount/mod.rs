//! The mount API by file descriptors: fsopen(2), fsconfig(2), fsmount(2), open_tree(2),
//! mount_setattr(2), move_mount(2). Since Linux 5.2, mount_setattr since 5.12, MOVE_MOUNT_SET_GROUP since 5.15.

mod whole;

use std::ffi::CString;
use std::fmt;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::errno::Errno;
use nix::mount::MntFlags;

use super::{Call, SysError, check, owned};
pub use whole::{Whole, takes_parameters_whole};

const FSOPEN_CLOEXEC: u32 = 1;
const FSMOUNT_CLOEXEC: u32 = 1;
const FSCONFIG_SET_FLAG: u32 = 0;
const FSCONFIG_SET_STRING: u32 = 1;
const FSCONFIG_SET_FD: u32 = 5;
const FSCONFIG_CMD_CREATE: u32 = 6;
const FSCONFIG_CMD_RECONFIGURE: u32 = 7;
const FSPICK_CLOEXEC: u32 = 1;
const FSPICK_EMPTY_PATH: u32 = 8;
const MOVE_MOUNT_F_EMPTY_PATH: u32 = 0x4;
const MOVE_MOUNT_T_EMPTY_PATH: u32 = 0x40;
const MOVE_MOUNT_SET_GROUP: u32 = 0x100;
const OPEN_TREE_CLONE: u32 = 1;

/// Bits of `struct mount_attr`, mount_setattr(2).
pub mod attr {
    #![expect(missing_docs, reason = "the kernel's own names")]
    pub const RDONLY: u64 = 0x1;
    pub const NOSUID: u64 = 0x2;
    pub const NODEV: u64 = 0x4;
    pub const NOEXEC: u64 = 0x8;
    pub const ATIME: u64 = 0x70; // a field: all its bits are cleared when one is set
    pub const NOATIME: u64 = 0x10;
    pub const STRICTATIME: u64 = 0x20;
    pub const NODIRATIME: u64 = 0x80;
    pub const IDMAP: u64 = 0x0010_0000;
    pub const NOSYMFOLLOW: u64 = 0x0020_0000;
}

/// `struct mount_attr` of mount_setattr(2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct MountAttr {
    /// Bits to set.
    pub set: u64,
    /// Bits to clear.
    pub clear: u64,
    /// One of MS_PRIVATE, MS_SLAVE, MS_SHARED, MS_UNBINDABLE, or 0 to leave it.
    pub propagation: u64,
    /// The user namespace for `attr::IDMAP`, else 0.
    pub userns_fd: u64,
}

/// The attributes as mount(8) names them: `set ro nosuid, clear atime, private`.
impl fmt::Display for MountAttr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const NAMES: [(u64, &str); 9] = [
            (attr::RDONLY, "ro"),
            (attr::NOSUID, "nosuid"),
            (attr::NODEV, "nodev"),
            (attr::NOEXEC, "noexec"),
            (attr::NOATIME, "noatime"),
            (attr::STRICTATIME, "strictatime"),
            (attr::NODIRATIME, "nodiratime"),
            (attr::IDMAP, "idmap"),
            (attr::NOSYMFOLLOW, "nosymfollow"),
        ];
        const MODES: [(u64, &str); 4] = [
            (libc::MS_PRIVATE, "private"),
            (libc::MS_SLAVE, "slave"),
            (libc::MS_SHARED, "shared"),
            (libc::MS_UNBINDABLE, "unbindable"),
        ];
        let words = |verb: &str, bits: u64, whole: Option<&'static str>| {
            let single = NAMES
                .iter()
                .filter(|(bit, _)| bits & bit != 0 && (whole.is_none() || bit & attr::ATIME == 0));
            let names: Vec<&str> = whole.into_iter().chain(single.map(|(_, name)| *name)).collect();
            (!names.is_empty()).then(|| format!("{verb} {}", names.join(" ")))
        };
        let field = (self.clear & attr::ATIME == attr::ATIME).then_some("atime");
        let mode =
            MODES.iter().find(|(mode, _)| *mode == self.propagation).map(|(_, name)| (*name).to_owned());
        let parts = [words("set", self.set, None), words("clear", self.clear, field), mode];
        f.write_str(&parts.into_iter().flatten().collect::<Vec<_>>().join(", "))
    }
}

/// Whether a change or a clone reaches the mounts below.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// The mount itself.
    Top,
    /// The mount and all below it (AT_RECURSIVE).
    Recursive,
}

impl Depth {
    fn flag(self) -> u32 {
        match self {
            Depth::Top => 0,
            Depth::Recursive => libc::AT_RECURSIVE as u32,
        }
    }
}

fn c_string(text: &[u8]) -> nix::Result<CString> {
    // What has a NUL cannot be a name to the kernel.
    CString::new(text).or(Err(Errno::EINVAL))
}

/// fsopen(2): a context in which a file system of `fstype` is configured.
pub fn fsopen(fstype: &str) -> Result<OwnedFd, SysError> {
    let open = || {
        let name = c_string(fstype.as_bytes())?;
        // SAFETY: `name` is a NUL-terminated string that outlives the call.
        check(unsafe { libc::syscall(libc::SYS_fsopen, name.as_ptr(), FSOPEN_CLOEXEC) })
    };
    open().map(owned).call(|| format!("fsopen({fstype:?})"))
}

fn fsconfig(fs: BorrowedFd<'_>, cmd: u32, key: Option<&str>, value: Option<&[u8]>) -> nix::Result<()> {
    let key = key.map(|k| c_string(k.as_bytes())).transpose()?;
    let value = value.map(c_string).transpose()?;
    let key = key.as_ref().map_or(std::ptr::null(), |k| k.as_ptr());
    let value = value.as_ref().map_or(std::ptr::null(), |v| v.as_ptr());
    // SAFETY: both pointers are null or NUL-terminated strings that outlive the call.
    check(unsafe { libc::syscall(libc::SYS_fsconfig, fs.as_raw_fd(), cmd, key, value, 0) }).map(drop)
}

/// fsconfig(2) with a parameter without value.
pub fn fsconfig_flag(fs: BorrowedFd<'_>, key: &str) -> Result<(), SysError> {
    fsconfig(fs, FSCONFIG_SET_FLAG, Some(key), None).call(|| format!("fsconfig(SET_FLAG, {key:?})"))
}

/// fsconfig(2) with `key=value`.
pub fn fsconfig_string(fs: BorrowedFd<'_>, key: &str, value: &[u8]) -> Result<(), SysError> {
    fsconfig(fs, FSCONFIG_SET_STRING, Some(key), Some(value))
        .call(|| format!("fsconfig(SET_STRING, {key:?}, {:?})", String::from_utf8_lossy(value)))
}

/// fsconfig(2) of a descriptor.
pub fn fsconfig_fd(fs: BorrowedFd<'_>, key: &str, fd: BorrowedFd<'_>) -> Result<(), SysError> {
    let set = || {
        let key = c_string(key.as_bytes())?;
        let none: *const libc::c_void = std::ptr::null();
        let (number, fd) = (fs.as_raw_fd(), fd.as_raw_fd());
        // SAFETY: the key is a NUL-terminated string that outlives the call, and there is no value.
        check(unsafe { libc::syscall(libc::SYS_fsconfig, number, FSCONFIG_SET_FD, key.as_ptr(), none, fd) })
    };
    set().map(drop).call(|| format!("fsconfig(SET_FD, {key:?})"))
}

/// fsconfig(2), FSCONFIG_CMD_CREATE: makes the superblock.
pub fn fsconfig_create(fs: BorrowedFd<'_>) -> Result<(), SysError> {
    fsconfig(fs, FSCONFIG_CMD_CREATE, None, None).call(|| "fsconfig(CMD_CREATE)")
}

/// What the kernel wrote about this context: one line a message, such as `e tmpfs: Unknown parameter 'x'`.
pub fn fs_messages(fs: BorrowedFd<'_>) -> Vec<String> {
    let mut lines = Vec::new();
    // A message may quote a whole parameter; one that does not fit is an error and would end the log.
    let mut buffer = [0u8; 8192];
    while let Ok(n) = nix::unistd::read(fs, &mut buffer) {
        if n == 0 || lines.len() == 16 {
            break;
        }
        let line = String::from_utf8_lossy(&buffer[..n]).trim_end().to_owned();
        lines.push(line.split_once(' ').map_or(line.clone(), |(_, text)| text.to_owned()));
    }
    lines
}

/// fsmount(2): a detached mount of a created context, with mount attributes from `attr`.
pub fn fsmount(fs: BorrowedFd<'_>, attrs: u64) -> Result<OwnedFd, SysError> {
    // SAFETY: three integers, no pointer.
    let rc = unsafe { libc::syscall(libc::SYS_fsmount, fs.as_raw_fd(), FSMOUNT_CLOEXEC, attrs) };
    check(rc).map(owned).call(|| format!("fsmount({attrs:#x})"))
}

fn open_tree(dir: RawFd, path: &Path, flags: u32) -> nix::Result<OwnedFd> {
    let name = c_string(path.as_os_str().as_bytes())?;
    let flags = flags | OPEN_TREE_CLONE | libc::O_CLOEXEC as u32;
    // SAFETY: `name` is a NUL-terminated string that outlives the call.
    check(unsafe { libc::syscall(libc::SYS_open_tree, dir, name.as_ptr(), flags) }).map(owned)
}

/// open_tree(2), OPEN_TREE_CLONE: a detached copy of what is mounted at a path of the host.
pub fn clone_path(path: &Path, depth: Depth) -> Result<OwnedFd, SysError> {
    open_tree(libc::AT_FDCWD, path, depth.flag()).call(|| format!("open_tree({path:?}, OPEN_TREE_CLONE)"))
}

/// open_tree(2), OPEN_TREE_CLONE: a detached copy of what `fd` refers to.
pub fn clone_fd(fd: BorrowedFd<'_>, depth: Depth) -> Result<OwnedFd, SysError> {
    open_tree(fd.as_raw_fd(), Path::new(""), depth.flag() | libc::AT_EMPTY_PATH as u32)
        .call(|| "open_tree(fd, OPEN_TREE_CLONE)")
}

/// mount_setattr(2) on the mount that `fd` refers to.
pub fn set_attr(fd: BorrowedFd<'_>, depth: Depth, attr: &MountAttr) -> Result<(), SysError> {
    set_attr_at(fd.as_raw_fd(), c"", libc::AT_EMPTY_PATH as u32 | depth.flag(), attr)
}

/// mount_setattr(2), MOUNT_ATTR_IDMAP, on the detached mount that `fd` refers to: it shows its ids as this user
/// namespace maps them.
pub fn map_ids(fd: BorrowedFd<'_>, depth: Depth, user: BorrowedFd<'_>) -> Result<(), SysError> {
    let userns_fd = user.as_raw_fd().unsigned_abs().into();
    set_attr(fd, depth, &MountAttr { set: attr::IDMAP, userns_fd, ..MountAttr::default() })
}

/// mount_setattr(2) on `/` of this mount namespace and all below it.
pub fn set_attr_everywhere(attr: &MountAttr) -> Result<(), SysError> {
    set_attr_at(libc::AT_FDCWD, c"/", Depth::Recursive.flag(), attr)
}

fn set_attr_at(dir: RawFd, path: &std::ffi::CStr, flags: u32, attr: &MountAttr) -> Result<(), SysError> {
    let (at, size) = (std::ptr::from_ref(attr), size_of::<MountAttr>());
    // SAFETY: `attr` is a `struct mount_attr` of `size` bytes, `path` is NUL-terminated; both outlive the call.
    let rc = unsafe { libc::syscall(libc::SYS_mount_setattr, dir, path.as_ptr(), flags, at, size) };
    let below = if flags & Depth::Recursive.flag() != 0 { ", and all below" } else { "" };
    check(rc).map(drop).call(|| format!("mount_setattr({attr}{below})"))
}

/// move_mount(2): attaches the detached `mount` on what `target` refers to.
pub fn attach(mount: BorrowedFd<'_>, target: BorrowedFd<'_>) -> Result<(), SysError> {
    move_mount(mount, target.as_raw_fd(), 0).call(|| "move_mount(mount, target)")
}

/// move_mount(2): attaches the detached `mount` on the current directory.
pub fn attach_on_cwd(mount: BorrowedFd<'_>) -> Result<(), SysError> {
    move_mount(mount, libc::AT_FDCWD, 0).call(|| "move_mount(mount, the current directory)")
}

/// move_mount(2), MOVE_MOUNT_SET_GROUP: a private `mount` joins the peers and gets the master of `peer`, which shows as
/// much of the same file system as it does, or more.
pub fn join_group(mount: BorrowedFd<'_>, peer: BorrowedFd<'_>) -> Result<(), SysError> {
    move_mount(peer, mount.as_raw_fd(), MOVE_MOUNT_SET_GROUP)
        .call(|| "move_mount(peer, mount, MOVE_MOUNT_SET_GROUP)")
}

fn move_mount(mount: BorrowedFd<'_>, target: RawFd, flags: u32) -> nix::Result<()> {
    let (from, empty) = (mount.as_raw_fd(), c"".as_ptr());
    let flags = flags | MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH;
    // SAFETY: both paths are the empty string, which is static.
    check(unsafe { libc::syscall(libc::SYS_move_mount, from, empty, target, empty, flags) }).map(drop)
}

/// pivot_root(2) with both arguments the current directory: the old root ends up mounted over the new one.
pub fn pivot_root_to_cwd() -> Result<(), SysError> {
    nix::unistd::pivot_root(".", ".").call(|| r#"pivot_root(".", ".")"#)
}

/// umount2(2), MNT_DETACH, of the current directory.
pub fn detach_cwd() -> Result<(), SysError> {
    nix::mount::umount2(".", MntFlags::MNT_DETACH).call(|| r#"umount2(".", MNT_DETACH)"#)
}

/// A mount of its own from a context: fsopen, parameters, create, fsmount. On failure the error
/// ends with what the kernel wrote to the context's message log.
pub fn fresh(
    fstype: &str,
    attrs: u64,
    configure: impl FnOnce(BorrowedFd<'_>) -> Result<(), SysError>,
) -> Result<OwnedFd, SysError> {
    fresh_from(fsopen(fstype)?.as_fd(), attrs, configure)
}

/// The same from a context that is there.
pub fn fresh_from(
    fs: BorrowedFd<'_>,
    attrs: u64,
    configure: impl FnOnce(BorrowedFd<'_>) -> Result<(), SysError>,
) -> Result<OwnedFd, SysError> {
    configure(fs)
        .and_then(|()| fsconfig_create(fs))
        .and_then(|()| fsmount(fs, attrs))
        .map_err(|error| with_messages(error, fs))
}

/// Changes parameters of the file system that is mounted at `mount`: fspick, parameters, reconfigure. Errors as
/// of [`fresh`].
pub fn reconfigure(
    mount: BorrowedFd<'_>,
    configure: impl FnOnce(BorrowedFd<'_>) -> Result<(), SysError>,
) -> Result<(), SysError> {
    let flags = FSPICK_CLOEXEC | FSPICK_EMPTY_PATH;
    // SAFETY: the path is the empty string, which is static.
    let rc = unsafe { libc::syscall(libc::SYS_fspick, mount.as_raw_fd(), c"".as_ptr(), flags) };
    let fs = check(rc).map(owned).call(|| "fspick(mount)")?;
    configure(fs.as_fd())
        .and_then(|()| {
            fsconfig(fs.as_fd(), FSCONFIG_CMD_RECONFIGURE, None, None).call(|| "fsconfig(CMD_RECONFIGURE)")
        })
        .map_err(|error| with_messages(error, fs.as_fd()))
}

fn with_messages(error: SysError, fs: BorrowedFd<'_>) -> SysError {
    let messages = fs_messages(fs).join("; ");
    match messages.is_empty() {
        true => error,
        false => SysError { call: format!("{} [kernel: {messages}]", error.call), ..error },
    }
}

/// move_mount(2): moves an attached mount over `/`.
pub fn attach_over_root(mount: BorrowedFd<'_>) -> Result<(), SysError> {
    let (from, empty) = (mount.as_raw_fd(), c"".as_ptr());
    let (at, root) = (libc::AT_FDCWD, c"/".as_ptr());
    // SAFETY: both paths are static strings.
    let rc = unsafe { libc::syscall(libc::SYS_move_mount, from, empty, at, root, MOVE_MOUNT_F_EMPTY_PATH) };
    check(rc).map(drop).call(|| r#"move_mount(rootfs, "/")"#)
}

#[cfg(test)]
mod tests {
    use super::{MountAttr, attr};

    #[test]
    fn attributes_are_named_as_mount_names_them() {
        let attr = |set, clear, propagation| MountAttr { set, clear, propagation, userns_fd: 0 }.to_string();
        assert_eq!(attr(attr::RDONLY | attr::IDMAP, attr::NOSUID, 0), "set ro idmap, clear nosuid");
        assert_eq!(attr(attr::NOATIME, attr::ATIME, libc::MS_SLAVE), "set noatime, clear atime, slave");
    }
}
