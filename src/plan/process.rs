//! `process`: config.md, "Process".

use std::collections::BTreeSet;
use std::ffi::CString;

use nix::sys::resource::Resource;

use super::HostFacts;
use super::capabilities::CapabilitySets;
use super::label::{self, Labels};
use super::scheduling::{self, ExecAffinity, Scheduling};
use super::user::{Groups, Ids};
use crate::error::{Doing, Result, invalid};
use crate::rootpath::InRootfs;
use crate::spec::oci::{PosixRlimit, PosixRlimitType, Process};
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
    /// Besides that.
    pub groups: Groups,
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
    /// Set last before the process is left with its own privileges.
    pub scheduling: Scheduling,
    /// Not this process's: for those that `exec` starts.
    pub exec_affinity: Option<ExecAffinity>,
    /// For the security modules.
    pub labels: Labels,
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

/// Plans `process`, the configuration's or one for `exec`.
pub fn plan(process: &Process, ids: &Ids<'_>, facts: HostFacts) -> Result<ProcessPlan> {
    one(process, ids, facts).doing(|| "process")
}

fn one(process: &Process, ids: &Ids<'_>, facts: HostFacts) -> Result<ProcessPlan> {
    let args = strings("args", process.args().as_deref().unwrap_or_default())?;
    if args.first().is_none_or(|program| program.is_empty()) {
        return Err(invalid("args: there has to be at least a program"));
    }
    let user = process.user();
    ids.check(user)?;
    Ok(ProcessPlan {
        args,
        env: strings("env", process.env().as_deref().unwrap_or_default())?,
        cwd: InRootfs::absolute(process.cwd()).doing(|| "cwd")?,
        uid: user.uid(),
        gid: user.gid(),
        groups: ids.groups(user)?,
        umask: user.umask(),
        rlimits: rlimits(process.rlimits().as_deref().unwrap_or_default())?,
        capabilities: CapabilitySets::plan(process),
        no_new_privileges: process.no_new_privileges().unwrap_or(false),
        oom_score_adj: oom_score_adj(process.oom_score_adj())?,
        scheduling: scheduling::plan(process)?,
        exec_affinity: scheduling::exec_affinity(process)?,
        labels: label::plan(process, facts)?,
        terminal: terminal(process)?,
    })
}

fn strings(name: &str, list: &[String]) -> Result<Vec<CString>> {
    let one = |(index, text): (usize, &String)| {
        CString::new(text.as_str()).ok().ok_or_else(|| invalid(format!("{name}[{index}] has a NUL byte")))
    };
    list.iter().enumerate().map(one).collect()
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
    use super::{HostFacts, Ids, ProcessPlan, plan};
    use crate::plan::namespaces::Namespaces;
    use crate::spec::oci::Spec;

    fn planned(process: &str) -> Result<ProcessPlan, String> {
        let json = format!(
            r#"{{"ociVersion":"1.0.0","linux":{{}},"process":{{"user":{{"uid":0,"gid":0}},{process}}}}}"#
        );
        let spec: Spec = serde_json::from_str(&json).unwrap();
        let ids = Ids::of(&spec, spec.linux().as_ref().unwrap(), &Namespaces::default());
        plan(spec.process().as_ref().unwrap(), &ids, HostFacts::default()).map_err(|e| format!("{e:#}"))
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
    fn every_limit_of_the_kernel_has_its_number() {
        // getrlimit(2), asm-generic/resource.h.
        let names = "CPU FSIZE DATA STACK CORE RSS NPROC NOFILE MEMLOCK AS LOCKS SIGPENDING MSGQUEUE NICE RTPRIO RTTIME";
        for (number, name) in names.split(' ').enumerate() {
            let limit = format!(r#"{{"type":"RLIMIT_{name}","soft":1,"hard":2}}"#);
            let limits = planned(&format!(r#""cwd":"/","args":["a"],"rlimits":[{limit}]"#)).unwrap().rlimits;
            assert_eq!(
                (limits[0].resource as usize, limits[0].soft, limits[0].hard),
                (number, 1, 2),
                "{name}"
            );
        }
    }

    #[test]
    fn a_limit_named_twice_or_upside_down_is_refused() {
        let planned = |limits: &str| planned(&format!(r#""cwd":"/","args":["a"],"rlimits":[{limits}]"#));
        let limit = r#"{"type":"RLIMIT_CORE","soft":1,"hard":1}"#;
        let twice = planned(&format!("{limit},{limit}")).unwrap_err();
        assert_eq!(twice, "process: rlimits[1]: RLIMIT_CORE is named twice");
        let upside_down = planned(r#"{"type":"RLIMIT_AS","soft":2,"hard":1}"#).unwrap_err();
        assert_eq!(upside_down, "process: rlimits[0] RLIMIT_AS: soft is more than hard");
    }

    #[test]
    fn a_console_size_is_looked_at_with_a_terminal_only() {
        let size = r#""cwd":"/","args":["a"],"consoleSize":{"height":70000,"width":1}"#;
        assert_eq!(planned(size).unwrap().terminal, None);
        let error = planned(&format!(r#"{size},"terminal":true"#)).unwrap_err();
        assert_eq!(error, "process: consoleSize.height: 70000 is more than 65535");
    }

    #[test]
    fn an_oom_score_out_of_range_is_refused() {
        for (value, good) in [(-1000, true), (1000, true), (-1001, false), (1001, false)] {
            let planned = planned(&format!(r#""cwd":"/","args":["a"],"oomScoreAdj":{value}"#));
            assert_eq!(planned.is_ok(), good, "{value}");
        }
    }
}
