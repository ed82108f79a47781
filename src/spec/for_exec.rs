//! What is kept of a configuration for the processes that `exec` starts in its container: the bundle is not read
//! again. A file of its own, for no other verb needs it; the finished filter stands in it, too.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::oci::{LinuxIdMapping, LinuxMemoryPolicy, LinuxPersonality, Process};
use crate::error::{Kind, Result, failure, invalid};

/// The form of the file; one of another form is another version's, and is refused.
pub const FORM: u32 = 1;

/// What a process gets that `exec` starts, unless it is said otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForExec {
    /// [`FORM`].
    pub form: u32,
    /// The configuration's process, if it has one.
    pub process: Option<Process>,
    /// The types of the namespaces that are the container's own, made or joined, as CLONE_NEW* bits.
    pub namespaces: u64,
    /// Whether its root is not that of its mount namespace.
    pub chroot: bool,
    /// `linux.uidMappings`, of a new user namespace.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub uid_mappings: Vec<LinuxIdMapping>,
    /// `linux.gidMappings`, likewise.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gid_mappings: Vec<LinuxIdMapping>,
    /// Whether its processes keep the caller's groups.
    pub keeps_groups: bool,
    /// The name of the container's session keyring.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keyring: Option<String>,
    /// `linux.memoryPolicy`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_policy: Option<LinuxMemoryPolicy>,
    /// `linux.personality`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub personality: Option<LinuxPersonality>,
    /// About the filter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seccomp: Option<FilterRecord>,
}

/// What of `linux.seccomp` is not in the filter itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilterRecord {
    /// SECCOMP_FILTER_FLAG_* bits for seccomp(2).
    pub flags: u64,
    /// `listenerPath`, if calls are left to an agent; relative to the bundle.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listener_path: Option<PathBuf>,
    /// `listenerMetadata`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listener_metadata: Option<String>,
}

impl ForExec {
    /// With nothing of a container's own.
    pub fn of(process: Option<Process>, namespaces: u64) -> Self {
        Self {
            form: FORM,
            process,
            namespaces,
            chroot: false,
            uid_mappings: Vec::new(),
            gid_mappings: Vec::new(),
            keeps_groups: false,
            keyring: None,
            memory_policy: None,
            personality: None,
            seccomp: None,
        }
    }

    /// The content of the file: JSON, which has no line feed, and after one the filter's instructions.
    pub fn to_bytes(&self, filter: Option<&[u8]>) -> Result<Vec<u8>> {
        let mut bytes = serde_json::to_vec(self)?;
        bytes.push(b'\n');
        bytes.extend(filter.unwrap_or_default());
        Ok(bytes)
    }

    /// Reads it: what was said, and the filter.
    pub fn parse(bytes: &[u8]) -> Result<(Self, &[u8])> {
        let end = bytes.iter().position(|byte| *byte == b'\n').ok_or_else(|| invalid("it is not whole"))?;
        let kept: Self = serde_json::from_slice(&bytes[..end])?;
        match kept.form == FORM {
            true => Ok((kept, &bytes[end + 1..])),
            false => {
                Err(failure(Kind::Unsupported, format!("form {}, this version reads {FORM}", kept.form)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::ForExec;

    #[test]
    fn what_is_written_is_read_with_the_filter_as_it_was() {
        let kept = ForExec { keyring: Some("a\nb".into()), ..ForExec::of(None, 7) };
        for filter in [&b""[..], b"\n\n", b"x\0\n{"] {
            let bytes = kept.to_bytes(Some(filter)).unwrap();
            assert_eq!(ForExec::parse(&bytes).unwrap(), (kept.clone(), filter));
        }
        assert!(ForExec::parse(b"{}").is_err());
        assert!(ForExec::parse(b"{}\n").is_err());
        let other = kept.to_bytes(None).unwrap();
        let other = String::from_utf8(other).unwrap().replacen(":1", ":2", 1);
        let error = format!("{:#}", ForExec::parse(other.as_bytes()).unwrap_err());
        assert_eq!(error, "form 2, this version reads 1");
    }
}
