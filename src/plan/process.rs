//! `process`: config.md, "Process".

use std::collections::BTreeSet;
use std::ffi::CString;

use nix::sys::resource::Resource;

use crate::error::{Doing, Result, invalid, unsupported};
use crate::rootpath::InRootfs;
use crate::spec::oci::{Capabilities, Capability, PosixRlimit, PosixRlimitType, Process, Spec};
use crate::sys::tty::Size;

/// What init becomes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessPlan {
    /// At least one.
    pub args: Vec<CString>,
    /// `KEY=value`.
    pub env: Vec<CString>,
    /// Absolute, in the container.
    pub cwd: InRootfs,
    /// In the container's user namespace.
    pub uid: u32,
    /// In the container's user namespace.
    pub gid: u32,
    /// Assigned, not added to what the caller has.
    pub groups: Vec<u32>,
    /// `None` leaves the caller's.
    pub umask: Option<u32>,
    /// In the configuration's order.
    pub rlimits: Vec<Rlimit>,
    /// Assigned, not merged with what the caller has.
    pub capabilities: CapabilitySets,
    /// prctl(2), PR_SET_NO_NEW_PRIVS.
    pub no_new_privileges: bool,
    /// `None` leaves the caller's.
    pub oom_score_adj: Option<i32>,
    /// `Some` if the process has a terminal, with its size if that is given.
    pub terminal: Option<Option<Size>>,
}

/// setrlimit(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rlimit {
    /// Which.
    pub resource: Resource,
    /// In the resource's own unit; u64::MAX is infinity.
    pub soft: u64,
    /// Likewise.
    pub hard: u64,
}

/// capabilities(7): the five sets as masks, bit n is capability n.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the kernel's own names")]
pub struct CapabilitySets {
    pub bounding: u64,
    pub effective: u64,
    pub permitted: u64,
    pub inheritable: u64,
    pub ambient: u64,
}

impl CapabilitySets {
    /// These, as far as `available` has them.
    pub fn within(self, available: u64) -> Self {
        Self {
            bounding: self.bounding & available,
            effective: self.effective & available,
            permitted: self.permitted & available,
            inheritable: self.inheritable & available,
            ambient: self.ambient & available,
        }
    }

    /// All that is in any of them.
    pub fn union(self) -> u64 {
        self.bounding | self.effective | self.permitted | self.inheritable | self.ambient
    }
}

/// Plans `process`; `None` where the configuration has none.
pub fn plan(spec: &Spec) -> Result<Option<ProcessPlan>> {
    spec.process().as_ref().map(|process| one(process).doing(|| "process")).transpose()
}

fn one(process: &Process) -> Result<ProcessPlan> {
    refuse_what_is_not_there_yet(process)?;
    let args = strings("args", process.args().as_deref().unwrap_or_default())?;
    if args.first().is_none_or(|program| program.is_empty()) {
        return Err(invalid("args: there has to be at least a program"));
    }
    let user = process.user();
    Ok(ProcessPlan {
        args,
        env: strings("env", process.env().as_deref().unwrap_or_default())?,
        cwd: InRootfs::absolute(process.cwd()).doing(|| "cwd")?,
        uid: id("user.uid", user.uid())?,
        gid: id("user.gid", user.gid())?,
        groups: user.additional_gids().clone().unwrap_or_default(),
        umask: user.umask(),
        rlimits: rlimits(process.rlimits().as_deref().unwrap_or_default())?,
        capabilities: capabilities(process),
        no_new_privileges: process.no_new_privileges().unwrap_or(false),
        oom_score_adj: oom_score_adj(process.oom_score_adj())?,
        terminal: terminal(process)?,
    })
}

/// A property that would be ignored is worse than one that is refused.
fn refuse_what_is_not_there_yet(process: &Process) -> Result<()> {
    let later = [
        ("scheduler", process.scheduler().is_some()),
        ("ioPriority", process.io_priority().is_some()),
        ("selinuxLabel", process.selinux_label().as_ref().is_some_and(|l| !l.is_empty())),
        ("apparmorProfile", process.apparmor_profile().as_ref().is_some_and(|p| !p.is_empty())),
    ];
    match later.iter().find(|(_, asked_for)| *asked_for) {
        Some((name, _)) => Err(unsupported(format!("{name} is not supported yet"))),
        None => Ok(()),
    }
}

fn strings(name: &str, list: &[String]) -> Result<Vec<CString>> {
    let one = |(index, text): (usize, &String)| {
        CString::new(text.as_str()).ok().ok_or_else(|| invalid(format!("{name}[{index}] has a NUL byte")))
    };
    list.iter().enumerate().map(one).collect()
}

/// setuid(2): the largest number means "leave it", so it is nobody's id.
fn id(name: &str, id: u32) -> Result<u32> {
    match id {
        u32::MAX => Err(invalid(format!("{name}: {id} is not an id"))),
        _ => Ok(id),
    }
}

fn oom_score_adj(value: Option<i32>) -> Result<Option<i32>> {
    match value {
        Some(value) if !(-1000..=1000).contains(&value) => {
            Err(invalid(format!("oomScoreAdj: {value} is not in -1000..1000")))
        }
        value => Ok(value),
    }
}

fn terminal(process: &Process) -> Result<Option<Option<Size>>> {
    if !process.terminal().unwrap_or(false) {
        return Ok(None);
    }
    let Some(size) = process.console_size() else {
        return Ok(Some(None));
    };
    let side = |name: &str, value: u64| {
        u16::try_from(value)
            .ok()
            .ok_or_else(|| invalid(format!("consoleSize.{name}: {value} is more than 65535")))
    };
    Ok(Some(Some(Size { rows: side("height", size.height())?, columns: side("width", size.width())? })))
}

fn capabilities(process: &Process) -> CapabilitySets {
    let Some(sets) = process.capabilities() else {
        return CapabilitySets::default();
    };
    CapabilitySets {
        bounding: mask(sets.bounding().as_ref()),
        effective: mask(sets.effective().as_ref()),
        permitted: mask(sets.permitted().as_ref()),
        inheritable: mask(sets.inheritable().as_ref()),
        ambient: mask(sets.ambient().as_ref()),
    }
}

fn mask(set: Option<&Capabilities>) -> u64 {
    set.into_iter().flatten().filter_map(number).fold(0, |mask, n| mask | 1 << n)
}

/// The kernel's number of a capability, through the names that both crates share.
fn number(capability: &Capability) -> Option<u8> {
    let name = capability.to_string();
    let name = if name.starts_with("CAP_") { name } else { format!("CAP_{name}") };
    name.parse::<caps::Capability>().ok().map(|c| c.index())
}

fn rlimits(limits: &[PosixRlimit]) -> Result<Vec<Rlimit>> {
    let mut seen = BTreeSet::new();
    let mut one = |(index, limit): (usize, &PosixRlimit)| {
        let resource = resource(limit.typ());
        if !seen.insert(resource as u32) {
            return Err(invalid(format!("rlimits[{index}]: {} is named twice", limit.typ())));
        }
        if limit.soft() > limit.hard() {
            return Err(invalid(format!("rlimits[{index}] {}: soft is more than hard", limit.typ())));
        }
        Ok(Rlimit { resource, soft: limit.soft(), hard: limit.hard() })
    };
    limits.iter().enumerate().map(&mut one).collect()
}

fn resource(kind: PosixRlimitType) -> Resource {
    match kind {
        PosixRlimitType::RlimitCpu => Resource::RLIMIT_CPU,
        PosixRlimitType::RlimitFsize => Resource::RLIMIT_FSIZE,
        PosixRlimitType::RlimitData => Resource::RLIMIT_DATA,
        PosixRlimitType::RlimitStack => Resource::RLIMIT_STACK,
        PosixRlimitType::RlimitCore => Resource::RLIMIT_CORE,
        PosixRlimitType::RlimitRss => Resource::RLIMIT_RSS,
        PosixRlimitType::RlimitNproc => Resource::RLIMIT_NPROC,
        PosixRlimitType::RlimitNofile => Resource::RLIMIT_NOFILE,
        PosixRlimitType::RlimitMemlock => Resource::RLIMIT_MEMLOCK,
        PosixRlimitType::RlimitAs => Resource::RLIMIT_AS,
        PosixRlimitType::RlimitLocks => Resource::RLIMIT_LOCKS,
        PosixRlimitType::RlimitSigpending => Resource::RLIMIT_SIGPENDING,
        PosixRlimitType::RlimitMsgqueue => Resource::RLIMIT_MSGQUEUE,
        PosixRlimitType::RlimitNice => Resource::RLIMIT_NICE,
        PosixRlimitType::RlimitRtprio => Resource::RLIMIT_RTPRIO,
        PosixRlimitType::RlimitRttime => Resource::RLIMIT_RTTIME,
    }
}

#[cfg(test)]
mod tests {
    use super::plan;

    fn planned(process: &str) -> Result<super::ProcessPlan, String> {
        let json = format!(r#"{{"ociVersion":"1.0.0","process":{{"user":{{"uid":0,"gid":0}},{process}}}}}"#);
        plan(&serde_json::from_str(&json).unwrap()).map(Option::unwrap).map_err(|e| format!("{e:#}"))
    }

    #[test]
    fn a_relative_cwd_and_empty_args_are_refused() {
        assert_eq!(
            planned(r#""cwd":"x","args":["a"]"#).unwrap_err(),
            "process: cwd: path \"x\" is not absolute"
        );
        for args in ["[]", r#"[""]"#] {
            assert!(
                planned(&format!(r#""cwd":"/","args":{args}"#)).unwrap_err().starts_with("process: args")
            );
        }
    }

    #[test]
    fn sets_that_are_not_given_are_empty() {
        let sets = planned(r#""cwd":"/","args":["a"],"capabilities":{"bounding":["CAP_KILL"]}"#)
            .unwrap()
            .capabilities;
        assert_eq!((sets.bounding, sets.effective, sets.inheritable), (1 << 5, 0, 0));
        assert_eq!(planned(r#""cwd":"/","args":["a"]"#).unwrap().capabilities.union(), 0);
    }

    #[test]
    fn a_limit_named_twice_is_refused() {
        let limit = r#"{"type":"RLIMIT_CORE","soft":1,"hard":1}"#;
        assert!(planned(&format!(r#""cwd":"/","args":["a"],"rlimits":[{limit},{limit}]"#)).is_err());
    }
}
