//! Runs in: init. What a process takes along through execve besides ids and capabilities: labels of the
//! security modules, memory policy, personality.

use std::ffi::CStr;
use std::os::fd::OwnedFd;

use crate::error::{Doing, Kind, Result, errno_of, failure};
use crate::plan::label::Labels;
use crate::plan::memory_policy::MemoryPolicy;
use crate::plan::personality::Personality;
use crate::proc::Proc;
use crate::sys::fs::{self, OFlag};
use crate::sys::{Errno, SysError, sched};

/// Attributes of this process that hold from execve on, open: they are found while `/proc` is the host's,
/// which the container can't have prepared (CVE-2019-16884), and written to when all else has been done.
#[derive(Debug, Default)]
pub(super) struct AtExec {
    apparmor: Option<Attribute>,
    selinux: Option<Attribute>,
}

#[derive(Debug)]
struct Attribute {
    file: OwnedFd,
    path: &'static str,
}

/// proc_pid_attr(5): the module's own file, and the one that it shared with others before Linux 5.8.
const APPARMOR: [&str; 2] = ["self/attr/apparmor/exec", "self/attr/exec"];
const SELINUX: [&str; 1] = ["self/attr/exec"];

impl AtExec {
    /// Finds what the labels need; nothing is looked for if there are none.
    pub(super) fn open(labels: &Labels) -> Result<Self> {
        if labels.is_none() {
            return Ok(Self::default());
        }
        let proc = Proc::open()?;
        let open = |wanted: bool, paths: &[&'static str]| wanted.then(|| first_of(&proc, paths)).transpose();
        Ok(Self {
            apparmor: open(labels.apparmor.is_some(), &APPARMOR).doing(|| "process.apparmorProfile")?,
            selinux: open(labels.selinux.is_some(), &SELINUX).doing(|| "process.selinuxLabel")?,
        })
    }

    /// Sets the labels. Before no_new_privs: a runtime that is confined itself may be denied it afterwards.
    pub(super) fn set(self, labels: &Labels) -> Result<()> {
        if let (Some(attribute), Some(profile)) = (self.apparmor, &labels.apparmor) {
            let text = [b"exec ", profile.to_bytes()].concat();
            attribute
                .write(&text, profile, "is the profile loaded? (aa-status)")
                .doing(|| "apparmorProfile")?;
        }
        if let (Some(attribute), Some(label)) = (self.selinux, &labels.selinux) {
            attribute.write(label.to_bytes(), label, "does the policy know it?").doing(|| "selinuxLabel")?;
        }
        Ok(())
    }
}

fn first_of(proc: &Proc, paths: &[&'static str]) -> Result<Attribute> {
    let mut outcome = Err(failure(Kind::Unsupported, "no attribute"));
    for path in paths {
        outcome = proc.file(path, OFlag::O_WRONLY).map(|file| Attribute { file, path });
        if outcome.as_ref().err().and_then(errno_of) != Some(Errno::ENOENT) {
            break;
        }
    }
    outcome
}

impl Attribute {
    /// podman takes what is between the backticks for the kind of error, and they have to be the last ones.
    fn write(self, text: &[u8], label: &CStr, hint: &str) -> Result<()> {
        let path = self.path;
        fs::write_all(self.file, text).map_err(|SysError { errno, .. }| {
            let text = format!("{label:?}: write to `/proc/{path}`: {} ({errno:?}); {hint}", errno.desc());
            failure(Kind::System, text)
        })
    }
}

/// proc_pid_oom_score_adj(5). `who` is a process as /proc names it.
pub fn set_oom_score(proc: &Proc, who: &str, score: i32) -> Result<()> {
    let written = proc.write(&format!("{who}/oom_score_adj"), score.to_string().as_bytes());
    written.map_err(|error| match errno_of(&error) {
        Some(Errno::EACCES) => {
            let hint = "less than the caller's takes CAP_SYS_RESOURCE";
            failure(Kind::System, format!("process.oomScoreAdj: {score}: {error:#}; {hint}"))
        }
        _ => error.context("process.oomScoreAdj"),
    })
}

/// set_mempolicy(2).
pub(super) fn set_memory_policy(policy: Option<&MemoryPolicy>) -> Result<()> {
    let Some(policy) = policy else { return Ok(()) };
    let Err(error) = sched::set_memory_policy(policy.mode, &policy.nodes.mask()) else {
        return Ok(());
    };
    let hint = match error.errno {
        Errno::EINVAL => {
            "; this kernel lacks the mode, or none of the nodes is one that this machine and \
             linux.resources.cpu.mems have"
        }
        Errno::ENOSYS => "; this kernel knows no memory policies (CONFIG_NUMA)",
        _ => "",
    };
    let text = format!("linux.memoryPolicy: invalid memory policy: {}: {error}{hint}", policy.name);
    Err(failure(Kind::System, text))
}

/// personality(2).
pub(super) fn set_personality(personality: Option<Personality>) -> Result<()> {
    let persona = match personality {
        None => return Ok(()),
        Some(Personality::Linux) => sched::PER_LINUX,
        Some(Personality::Linux32) => sched::PER_LINUX32,
    };
    sched::set_personality(persona).doing(|| "linux.personality")
}
