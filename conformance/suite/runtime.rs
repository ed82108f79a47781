//! A runtime under test: a program and nothing else.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::str::FromStr;

use anyhow::{Context, Result, bail};

/// A runtime, found and asked for its version.
#[derive(Clone, Debug)]
pub(crate) struct Runtime {
    pub(crate) name: String,
    pub(crate) program: PathBuf,
    /// The first line that `--version` prints.
    pub(crate) version: String,
}

impl Runtime {
    /// Whether it is this project's own.
    pub(crate) fn is_ours(&self) -> bool {
        self.name == env!("CARGO_PKG_NAME")
    }

    /// Whether its command line knows the verb.
    pub(crate) fn has_verb(&self, verb: &str) -> bool {
        Command::new(&self.program).args([verb, "--help"]).output().is_ok_and(|done| done.status.success())
    }
}

impl FromStr for Runtime {
    type Err = anyhow::Error;

    /// `NAME=PROGRAM`, or `PROGRAM` alone.
    fn from_str(argument: &str) -> Result<Self> {
        let name_of = |program: &str| program.rsplit('/').next().unwrap_or(program).to_owned();
        let (name, program) = match argument.split_once('=') {
            Some((name, program)) => (name.to_owned(), program),
            None => (name_of(argument), argument),
        };
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
        if name.is_empty() || name.starts_with('.') || !name.bytes().all(allowed) {
            bail!("runtime name {name:?}: letters, digits, _, . and - are allowed");
        }
        let program =
            look_up(Path::new(program)).with_context(|| format!("runtime {name}: no program {program}"))?;
        let output = Command::new(&program).arg("--version").output().context(name.clone())?;
        let version = String::from_utf8_lossy(&output.stdout).lines().next().unwrap_or("").to_owned();
        Ok(Self { name, program, version })
    }
}

/// The absolute path of a program.
pub(crate) fn look_up(program: &Path) -> Option<PathBuf> {
    let is_program = |path: &PathBuf| {
        path.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    };
    if program.components().count() > 1 {
        return std::path::absolute(program).ok().filter(is_program);
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).map(|dir| dir.join(program)).find(is_program)
}
