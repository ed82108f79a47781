//! Runs in: init, after the pivot: what the program is called with.

use std::ffi::CString;
use std::path::Path;

use super::Candidate;
use super::program::Program;
use crate::error::{Result, invalid};
use crate::rootpath::{InRootfs, Rootfs};
use crate::sys::fs;

/// The image's user database is read as data, and no further than this (CVE-2026-47262).
const LARGEST_PASSWD: u64 = 10 << 20;

/// The program of the plan with its arguments and environment.
pub(super) fn of(candidate: &Candidate<'_>, root: &Rootfs) -> Result<Program> {
    let Some(process) = candidate.process else {
        // The specification lets `create` succeed without a process; `start` is then an error.
        return Ok(Program::none());
    };
    let mut env = process.env.clone();
    if !env.iter().any(|variable| variable.to_bytes().starts_with(b"HOME=")) {
        let home = home_of(process.uid, root).unwrap_or_else(|| "/".to_owned());
        env.push(CString::new(format!("HOME={home}")).ok().ok_or_else(|| invalid("HOME has a NUL byte"))?);
    }
    Ok(Program::new(process.args.clone(), env))
}

/// The home directory that passwd(5) of the image has for a user.
fn home_of(uid: u32, root: &Rootfs) -> Option<String> {
    let passwd = InRootfs::new(Path::new("/etc/passwd")).ok()?;
    let file = root.open_regular(&passwd).ok()??;
    let text = fs::read_all(file, LARGEST_PASSWD).ok()?;
    home_in(&String::from_utf8_lossy(&text), uid)
}

fn home_in(passwd: &str, uid: u32) -> Option<String> {
    let home = |line: &str| {
        let fields: Vec<&str> = line.split(':').collect();
        let same = fields.get(2).and_then(|id| id.parse::<u32>().ok()) == Some(uid);
        same.then(|| fields.get(5).copied().unwrap_or_default())
            .filter(|home| home.starts_with('/'))
            .map(str::to_owned)
    };
    passwd.lines().find_map(home)
}

#[cfg(test)]
mod tests {
    use super::home_in;

    #[test]
    fn the_home_of_a_user_is_the_sixth_field_of_the_line_with_the_id() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\nbad line\nweb:x:33:33::/var/www:\nrel:x:34:34::www:\n";
        assert_eq!(home_in(passwd, 0).as_deref(), Some("/root"));
        assert_eq!(home_in(passwd, 33).as_deref(), Some("/var/www"));
        assert_eq!(home_in(passwd, 34), None);
        assert_eq!(home_in(passwd, 1), None);
    }
}
