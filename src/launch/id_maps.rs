//! Runs in: host. The id maps of a new user namespace: user_namespaces(7), newuidmap(1), newgidmap(1).

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::unistd::{Pid, getegid, geteuid};

use crate::error::{Doing, Kind, Result, failure, unsupported};
use crate::plan::id_maps::{IdMap, IdMaps};
use crate::proc::Proc;
use crate::sys::Call;
use crate::sys::process::{self, Execution};

/// Where programs are looked for that only root can have put there: the caller's PATH is not asked.
const TRUSTED: [&str; 5] = ["/usr/bin", "/bin", "/usr/sbin", "/sbin", "/run/wrappers/bin"];

/// The ids of one kind.
struct Side {
    /// The configuration's name for the map.
    property: &'static str,
    /// The kernel's file in /proc/PID.
    file: &'static str,
    /// The program that writes it for users.
    program: &'static str,
    /// The file that says which ids are a user's, and what it maps.
    allowed: &'static str,
}

const USERS: Side =
    Side { property: "linux.uidMappings", file: "uid_map", program: "newuidmap", allowed: "/etc/subuid" };
const GROUPS: Side =
    Side { property: "linux.gidMappings", file: "gid_map", program: "newgidmap", allowed: "/etc/subgid" };

/// Writes both maps of a process that is in its new user namespace.
pub(super) fn write(proc: &Proc, pid: Pid, maps: &IdMaps) -> Result<()> {
    if geteuid().is_root() {
        directly(proc, pid, &maps.uid, &USERS)?;
        return directly(proc, pid, &maps.gid, &GROUPS);
    }
    match maps.uid.is_only(geteuid().as_raw()) {
        true => directly(proc, pid, &maps.uid, &USERS)?,
        false => by_program(pid, &maps.uid, &USERS)?,
    }
    if !maps.gid.is_only(getegid().as_raw()) {
        return by_program(pid, &maps.gid, &GROUPS);
    }
    // An ordinary user may map groups only where none can be dropped.
    proc.write(&format!("{pid}/setgroups"), b"deny").doing(|| GROUPS.property)?;
    directly(proc, pid, &maps.gid, &GROUPS)
}

fn directly(proc: &Proc, pid: Pid, map: &IdMap, side: &Side) -> Result<()> {
    proc.write(&format!("{pid}/{}", side.file), map.to_string().as_bytes()).doing(|| side.property)
}

/// `newuidmap PID INSIDE OUTSIDE SIZE ...`: nothing but numbers.
fn by_program(pid: Pid, map: &IdMap, side: &Side) -> Result<()> {
    let Some(path) = TRUSTED.iter().map(|dir| PathBuf::from(dir).join(side.program)).find(|p| p.is_file())
    else {
        let text = format!(
            "{} is missing, which maps more than a user's own id; install it (Debian: uidmap), or map only your own id",
            side.program
        );
        return Err(unsupported(text)).doing(|| side.property);
    };
    let mut command = Command::new(&path);
    process::start_as(&mut command, execution(&path, pid, map));
    command.current_dir("/").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let output = command.output().call(|| format!("execve({path:?})")).doing(|| side.property)?;
    match output.status.success() {
        true => Ok(()),
        false => Err(refused(&String::from_utf8_lossy(&output.stderr), map, side)).doing(|| side.property),
    }
}

/// Without the caller's environment.
fn execution(path: &Path, pid: Pid, map: &IdMap) -> Execution {
    // Neither a number nor one of our own paths has a NUL byte.
    let word = |bytes: &[u8]| CString::new(bytes).unwrap_or_default();
    let path = word(path.as_os_str().as_bytes());
    let mut args = vec![path.clone(), word(pid.to_string().as_bytes())];
    for range in &map.ranges {
        let numbers = [range.inside, range.outside, range.size];
        args.extend(numbers.map(|number| word(number.to_string().as_bytes())));
    }
    Execution { path, args, env: Vec::new() }
}

/// What it said, and which line would help: it allows what is the user's own, or in his lines.
fn refused(said: &str, map: &IdMap, side: &Side) -> anyhow::Error {
    const LONGEST: usize = 512;
    let said: String =
        said.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).take(LONGEST).collect();
    let (user, group) = (geteuid(), getegid());
    let own = if side.program == USERS.program { user.as_raw() } else { group.as_raw() };
    let lines = map.ranges.iter().filter(|range| (range.outside, range.size) != (own, 1));
    let lines: Vec<String> = lines.map(|range| format!("{user}:{}:{}", range.outside, range.size)).collect();
    let hint = match said.contains("not allowed") {
        true => {
            format!("; {} has to have what {:?} says, or a range around it", side.allowed, lines.join(" "))
        }
        false => format!("; it looks for user {user} in /etc/passwd and {}", side.allowed),
    };
    let text = format!("{said}{hint}");
    failure(Kind::Invalid, text)
}
