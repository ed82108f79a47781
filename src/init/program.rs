//! Runs in: init, after the pivot, as the container's user: finding the program, and saying plainly why it
//! can't be run.

use std::ffi::{CString, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::fcntl::AtFlags;
use nix::unistd::{AccessFlags, faccessat};

use crate::container::handshake::Hints;
use crate::container::process::TOO_MANY;
use crate::error::{Kind, Result, failure, invalid};
use crate::sys::Errno;
use crate::sys::fs::{self, OFlag};
use crate::sys::last_calls::LastCalls;

/// What execve(2) gets.
#[derive(Debug)]
pub(super) struct Program {
    args: Vec<CString>,
    env: Vec<CString>,
    path: Option<CString>,
    if_no_program: Option<String>,
    joined: Option<String>,
}

/// What execvp(3) searches when there is no PATH.
const DEFAULT_PATH: &str = "/bin:/usr/bin";

impl Program {
    pub(super) fn new(args: Vec<CString>, env: Vec<CString>) -> Self {
        Self { args, env, path: None, if_no_program: None, joined: None }
    }

    /// Of a configuration without a process.
    pub(super) fn none() -> Self {
        Self::new(Vec::new(), Vec::new())
    }

    /// Looks it up as execvp(3) does. Done in `create`, so that it and not `start` reports a program
    /// that is missing: engines make exit codes 126 and 127 of these words.
    pub(super) fn find_program(&mut self) -> Result<()> {
        let Some(name) = self.args.first().cloned() else {
            return Ok(());
        };
        let shown = name.to_string_lossy().into_owned();
        if name.to_bytes().contains(&b'/') {
            let path = Path::new(OsStr::from_bytes(name.to_bytes()));
            return match usable(path) {
                Ok(()) => self.found(path),
                // What execve(2) says as well: `podman exec` makes 126 of nothing else.
                Err(Errno::EISDIR) => Err(cannot(&shown, "is a directory: permission denied")),
                Err(errno) => Err(cannot(&shown, errno.desc())),
            };
        }
        let mut denied = false;
        for dir in self.search_path() {
            let candidate = dir.join(&shown);
            match usable(&candidate) {
                Ok(()) => return self.found(&candidate),
                Err(Errno::EACCES | Errno::EISDIR) => denied = true,
                Err(_) => {}
            }
        }
        match denied {
            true => Err(cannot(&shown, "permission denied")),
            false => Err(cannot(&shown, "executable file not found in $PATH")),
        }
    }

    fn found(&mut self, path: &Path) -> Result<()> {
        let path = CString::new(path.as_os_str().as_bytes())
            .ok()
            .ok_or_else(|| invalid("a path with a NUL byte"))?;
        // Else `start` would say of a program that is there that it is not.
        if let Some(begin) = begin_of(Path::new(OsStr::from_bytes(path.to_bytes()))) {
            if let Some((name, role)) = interpreter(&begin) {
                if let Err(errno) = usable(Path::new(&name)) {
                    let text =
                        format!("exec {}: {}: {role} is {name:?}", path.to_string_lossy(), lower(errno));
                    return Err(failure(Kind::System, text));
                }
            }
            self.if_no_program = Some(foreign(&begin));
        }
        self.path = Some(path);
        Ok(())
    }

    fn search_path(&self) -> Vec<PathBuf> {
        let path = self.env.iter().rev().find_map(|v| v.to_str().ok()?.strip_prefix("PATH="));
        let dirs = path.unwrap_or(DEFAULT_PATH).split(':');
        // An empty entry is the current directory.
        dirs.map(|dir| PathBuf::from(if dir.is_empty() { "." } else { dir })).collect()
    }

    /// sd_listen_fds(3): the variables that say how many descriptors are for this very process, if there are some.
    pub(super) fn tell_listening(&mut self, listening: u32) {
        if listening > 0 {
            let variables =
                [format!("LISTEN_FDS={listening}"), format!("LISTEN_PID={}", nix::unistd::getpid())];
            self.env.extend(variables.into_iter().filter_map(|variable| CString::new(variable).ok()));
        }
    }

    /// What to say if the kernel does not take it for a program, or for one too many.
    pub(super) fn hints(&self) -> Hints {
        let foreign = self.if_no_program.iter().map(|text| (Errno::ENOEXEC as i32, text.clone()));
        foreign.chain([(Errno::EAGAIN as i32, TOO_MANY.to_owned())]).collect()
    }

    /// The pid namespace in which it is born, for messages.
    pub(super) fn joins(&mut self, namespace: String) {
        self.joined = Some(namespace);
    }

    /// What to say if it can't be born: clone(2), pid_namespaces(7).
    pub(super) fn hints_of_birth(&self) -> Hints {
        let joined = self.joined.as_deref().unwrap_or("the container's pid namespace");
        self.hints().into_iter().chain([if_none_is_born(joined)]).collect()
    }

    /// execve(2), as the last of the calls.
    pub(super) fn execute_by(self, calls: &mut LastCalls) -> Result<()> {
        let path =
            self.path.ok_or_else(|| failure(Kind::Invalid, "the configuration has no process to start"))?;
        let what = format!("exec {}", path.to_string_lossy());
        calls.execute(path, self.args, self.env, what);
        Ok(())
    }
}

/// What it means that a pid namespace takes no process.
pub(super) fn if_none_is_born(namespace: &str) -> (i32, String) {
    (Errno::ENOMEM as i32, format!("{namespace}: its process 1 has ended, and it takes no new ones"))
}

fn lower(errno: Errno) -> String {
    errno.desc().to_lowercase()
}

fn cannot(name: &str, reason: &str) -> anyhow::Error {
    failure(Kind::System, format!("exec: {name:?}: {}", reason.to_lowercase().replace("$path", "$PATH")))
}

/// Whether this user may execute the file: a regular one, with the x bit, by effective id.
fn usable(path: &Path) -> Result<(), Errno> {
    let stat = nix::sys::stat::stat(path)?;
    match fs::file_type(&stat) {
        libc::S_IFREG => faccessat(nix::fcntl::AT_FDCWD, path, AccessFlags::X_OK, AtFlags::AT_EACCESS),
        libc::S_IFDIR => Err(Errno::EISDIR),
        _ => Err(Errno::EACCES),
    }
}

/// The first bytes of a file that this user may read.
fn begin_of(path: &Path) -> Option<Vec<u8>> {
    let file = fs::open(path, OFlag::O_RDONLY | OFlag::O_NONBLOCK).ok()?;
    let mut begin = vec![0; 4096];
    let length = nix::unistd::read(&file, &mut begin).ok()?;
    begin.truncate(length);
    Some(begin)
}

/// The interpreter that a script or a dynamic program names, and what to call it.
fn interpreter(begin: &[u8]) -> Option<(String, &'static str)> {
    if let Some(line) = begin.strip_prefix(b"#!") {
        // execve(2): spaces and tabs separate, and a carriage return is part of the name.
        let line = String::from_utf8_lossy(line.split(|b| *b == b'\n').next()?).into_owned();
        let name = line.split([' ', '\t']).find(|part| !part.is_empty())?.to_owned();
        let role = if name.ends_with('\r') {
            "the script's interpreter (its line ends in CR LF)"
        } else {
            "the script's interpreter"
        };
        return Some((name, role));
    }
    Some((elf_interpreter(begin)?, "the program's dynamic loader"))
}

/// elf(5): PT_INTERP of a 64-bit little-endian program, if it is within these bytes.
fn elf_interpreter(begin: &[u8]) -> Option<String> {
    let is_64_le = begin.get(..6)? == b"\x7fELF\x02\x01";
    let number = |at: usize, size: usize| -> Option<usize> {
        let mut bytes = [0; 8];
        bytes.get_mut(..size)?.copy_from_slice(begin.get(at..at.checked_add(size)?)?);
        usize::try_from(u64::from_le_bytes(bytes)).ok()
    };
    let (table, size, count) = (number(32, 8)?, number(54, 2)?, number(56, 2)?);
    let headers = (0..count).map_while(|n| table.checked_add(n.checked_mul(size)?));
    let header = headers.filter(|_| is_64_le).find(|at| number(*at, 4) == Some(3))?;
    let (offset, length) = (number(header.checked_add(8)?, 8)?, number(header.checked_add(32)?, 8)?);
    let name = begin.get(offset..offset.checked_add(length)?)?;
    Some(String::from_utf8_lossy(name).trim_end_matches('\0').to_owned())
}

fn foreign(begin: &[u8]) -> String {
    match begin {
        [] => "the file is empty".to_owned(),
        [0x7f, b'E', b'L', b'F', ..] => "the program is for another architecture".to_owned(),
        _ => "neither a program nor a script that begins with #!".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::{elf_interpreter, interpreter};

    #[test]
    fn a_script_names_its_interpreter() {
        assert_eq!(interpreter(b"#! /bin/nosuch -x\necho").unwrap().0, "/bin/nosuch");
        let (name, role) = interpreter(b"#!/bin/sh\r\necho").unwrap();
        assert!(name == "/bin/sh\r" && role.contains("CR LF"));
        assert_eq!(interpreter(b"echo"), None);
    }

    #[test]
    fn an_elf_header_that_lies_is_no_crash() {
        let mut header = vec![0xffu8; 64];
        header[..6].copy_from_slice(b"\x7fELF\x02\x01");
        assert_eq!(elf_interpreter(&header), None);
        assert_eq!(elf_interpreter(&header[..20]), None);
    }
}
