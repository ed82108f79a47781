//! Where CRIU is.

use std::ffi::{CString, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use nix::unistd::AccessFlags;

use crate::error::{Result, unsupported};
use crate::sys::process::Execution;

/// Where programs are looked for if the caller has no PATH. CRIU itself calls some: ip(8), iptables(8), tar(1).
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// CRIU's file.
#[derive(Debug)]
pub struct Program(PathBuf);

impl Program {
    /// The first in PATH.
    pub fn find() -> Result<Self> {
        let path = path();
        let mut files =
            std::env::split_paths(&path).filter(|dir| dir.is_absolute()).map(|dir| dir.join("criu"));
        let usable = |file: &PathBuf| nix::unistd::access(file, AccessFlags::X_OK).is_ok() && file.is_file();
        files.find(usable).map(Self).ok_or_else(|| {
            unsupported(format!(
                "criu: executable file not found in $PATH ({}): checkpoint and restore need CRIU 3.17 or newer; \
                 install the package criu",
                path.to_string_lossy()
            ))
        })
    }

    /// As a worker, which is told at this descriptor what to do.
    pub(super) fn worker(&self, socket: i32) -> Execution {
        let string = |bytes: Vec<u8>| CString::new(bytes).unwrap_or_default();
        let variable = |name: OsString, value: OsString| {
            string([name.into_vec(), b"=".to_vec(), value.into_vec()].concat())
        };
        let others = std::env::vars_os().filter(|(name, _)| name != "PATH");
        Execution {
            path: string(self.0.as_os_str().as_bytes().to_vec()),
            args: ["criu", "swrk", &socket.to_string()].map(|word| string(word.into())).to_vec(),
            env: others.chain([("PATH".into(), path())]).map(|(name, value)| variable(name, value)).collect(),
        }
    }
}

fn path() -> OsString {
    std::env::var_os("PATH").filter(|path| !path.is_empty()).unwrap_or_else(|| PATH.into())
}
