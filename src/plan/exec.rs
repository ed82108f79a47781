//! What `exec` starts in a container that is there: the process that is asked for, and what the container's
//! configuration gives to every process of it.

use std::ffi::{CStr, CString};
use std::path::PathBuf;

use super::capabilities::{self, CapabilitySets};
use super::memory_policy::{self, MemoryPolicy};
use super::namespaces::bit;
use super::personality::{self, Personality};
use super::process::{self, ProcessPlan};
use super::seccomp::Listener;
use super::user::{Ids, Numeric};
use super::{Authority, HostFacts, id_maps};
use crate::error::{Doing, Result, invalid};
use crate::spec::for_exec::ForExec;
use crate::spec::oci::{LinuxNamespaceType, Process};

/// What is to be started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// `--process`: all of it is in the file.
    Process(Box<Process>),
    /// A command; what it does not say is as in the configuration's process.
    Command(Command),
}

/// A command line, and flags about its process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Command {
    /// Program and arguments.
    pub args: Vec<CString>,
    /// `--env`: each `NAME=VALUE` takes the place of what has the name.
    pub env: Vec<CString>,
    /// `--cwd`
    pub cwd: Option<PathBuf>,
    /// `--tty`
    pub terminal: bool,
    /// `--user`
    pub user: Option<Numeric>,
    /// `--additional-gids`: besides those of the configuration.
    pub groups: Vec<u32>,
    /// `--cap`: besides those of the configuration.
    pub capabilities: Vec<String>,
    /// `--no-new-privs`
    pub no_new_privileges: bool,
    /// `--apparmor`
    pub apparmor: Option<String>,
    /// `--process-label`
    pub selinux: Option<String>,
}

/// A process of a container, decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecPlan {
    /// Of the runtime.
    pub authority: Authority,
    /// What it becomes.
    pub process: ProcessPlan,
    /// The types of the namespaces to join, as CLONE_NEW* bits.
    pub namespaces: u64,
    /// Who it is in the container's user namespace before it becomes the user.
    pub first_ids: Option<(u32, u32)>,
    /// Whether the container's root is not that of its mount namespace.
    pub chroot: bool,
    /// The name of the session keyring to join.
    pub keyring: Option<String>,
    /// set_mempolicy(2); `None` leaves the caller's.
    pub memory_policy: Option<MemoryPolicy>,
    /// personality(2); `None` leaves the caller's.
    pub personality: Option<Personality>,
    /// SECCOMP_FILTER_FLAG_* bits for seccomp(2), if there is a filter.
    pub filter_flags: Option<u64>,
    /// Who answers for the calls that the filter leaves to somebody else.
    pub listener: Option<Listener>,
}

impl ExecPlan {
    /// Whether it is in a user namespace that is not the machine's.
    pub fn in_user_namespace(&self) -> bool {
        self.namespaces & bit(LinuxNamespaceType::User) != 0 || self.authority == Authority::NamespaceRoot
    }
}

/// The process as the configuration would have it. What confines the container confines this process, too, unless it
/// is said otherwise; its resource limits and no_new_privs are its own, as with runc.
pub fn process(kept: &ForExec, asked: &Asked) -> Result<Process> {
    match asked {
        Asked::Process(given) => Ok(completed(given, kept.process.as_ref())),
        Asked::Command(command) => {
            let own = kept.process.clone().ok_or_else(|| {
                invalid("the container's configuration has no process to go by: give one with --process")
            })?;
            Ok(changed(own, command))
        }
    }
}

fn completed(given: &Process, own: Option<&Process>) -> Process {
    let mut process = given.clone();
    let Some(own) = own else { return process };
    let empty = |text: &Option<String>| text.as_ref().is_none_or(String::is_empty);
    if empty(process.apparmor_profile()) {
        process.set_apparmor_profile(own.apparmor_profile().clone());
    }
    if empty(process.selinux_label()) {
        process.set_selinux_label(own.selinux_label().clone());
    }
    if process.capabilities().is_none() {
        process.set_capabilities(own.capabilities().clone());
    }
    if process.oom_score_adj().is_none() {
        process.set_oom_score_adj(own.oom_score_adj());
    }
    if process.scheduler().is_none() {
        process.set_scheduler(own.scheduler().clone());
    }
    if process.io_priority().is_none() {
        process.set_io_priority(*own.io_priority());
    }
    if process.exec_cpu_affinity().is_none() {
        process.set_exec_cpu_affinity(own.exec_cpu_affinity().clone());
    }
    if process.user().umask().is_none() {
        process.user_mut().set_umask(own.user().umask());
    }
    process
}

fn changed(mut process: Process, command: &Command) -> Process {
    // As text only for the checks: see `compile`.
    let args = command.args.iter().map(|arg| arg.to_string_lossy().into_owned()).collect();
    process.set_args(Some(args)).set_terminal(Some(command.terminal));
    if let Some(cwd) = &command.cwd {
        process.set_cwd(cwd.clone());
    }
    if let Some(Numeric { uid, gid }) = command.user {
        process.user_mut().set_uid(uid);
        if let Some(gid) = gid {
            process.user_mut().set_gid(gid);
        }
    }
    if !command.groups.is_empty() {
        let mut groups = process.user().additional_gids().clone().unwrap_or_default();
        groups.extend(&command.groups);
        process.user_mut().set_additional_gids(Some(groups));
    }
    if command.no_new_privileges {
        process.set_no_new_privileges(Some(true));
    }
    if command.apparmor.is_some() {
        process.set_apparmor_profile(command.apparmor.clone());
    }
    if command.selinux.is_some() {
        process.set_selinux_label(command.selinux.clone());
    }
    process
}

/// Plans `process`, which [`process()`] has answered.
pub fn compile(kept: &ForExec, asked: &Asked, process: &Process, facts: HostFacts) -> Result<ExecPlan> {
    let mut planned = process::plan(process, &Ids::kept(kept), facts)?;
    if let Asked::Command(command) = asked {
        planned.args = command.args.clone();
        command.env.iter().try_for_each(|variable| set(&mut planned.env, variable))?;
        planned.capabilities = with(planned.capabilities, &command.capabilities)?;
    }
    let seccomp = kept.seccomp.as_ref();
    Ok(ExecPlan {
        authority: facts.authority(),
        process: planned,
        namespaces: kept.namespaces,
        first_ids: first_ids(kept)?,
        chroot: kept.chroot,
        keyring: kept.keyring.clone(),
        memory_policy: kept.memory_policy.as_ref().map(memory_policy::plan).transpose()?,
        personality: kept.personality.as_ref().map(personality::plan).transpose()?,
        filter_flags: seccomp.map(|seccomp| seccomp.flags),
        listener: seccomp.and_then(|seccomp| {
            let metadata = seccomp.listener_metadata.clone();
            seccomp.listener_path.clone().map(|path| Listener { path, metadata })
        }),
    })
}

/// Those that init had: see `init::identity`.
fn first_ids(kept: &ForExec) -> Result<Option<(u32, u32)>> {
    if kept.namespaces & bit(LinuxNamespaceType::User) == 0 {
        return Ok(None);
    }
    let first = |name, mappings: &[_]| -> Result<u32> {
        Ok(id_maps::map(name, Some(mappings))?.map_or(0, |map| map.first()))
    };
    let uid = first("linux.uidMappings", &kept.uid_mappings)?;
    Ok(Some((uid, first("linux.gidMappings", &kept.gid_mappings)?)))
}

/// environ(7): of one name there is one variable.
fn set(env: &mut Vec<CString>, variable: &CStr) -> Result<()> {
    let bytes = variable.to_bytes();
    let end = bytes.iter().position(|byte| *byte == b'=').filter(|end| *end > 0);
    let Some(end) = end else {
        return Err(invalid(format!("--env {variable:?} is not of the form NAME=VALUE")));
    };
    env.retain(|other| !other.as_bytes().starts_with(&bytes[..=end]));
    env.push(variable.to_owned());
    Ok(())
}

fn with(sets: CapabilitySets, names: &[String]) -> Result<CapabilitySets> {
    let add = |sets: CapabilitySets, name: &String| capabilities::named(name).map(|number| sets.and(number));
    names.iter().try_fold(sets, add).doing(|| "--cap")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(json: &str) -> ForExec {
        let json = format!(
            r#"{{"user":{{"uid":5,"gid":6,"additionalGids":[9],"umask":63}},"cwd":"/w",
            "env":["PATH=/bin","A=1","AB=2"],"args":["x"],{json}}}"#
        );
        let mut kept = ForExec::of(Some(crate::spec::parse_process(json.as_bytes()).unwrap()), 0);
        kept.keyring = Some("k".into());
        kept
    }

    fn planned(kept: &ForExec, asked: &Asked) -> Result<ExecPlan, String> {
        let plan = || compile(kept, asked, &process(kept, asked)?, HostFacts::default());
        plan().map_err(|e| format!("{e:#}"))
    }

    const OWN: &str = r#""noNewPrivileges":true,"oomScoreAdj":7,"terminal":true,
        "capabilities":{"bounding":["CAP_KILL"],"permitted":["CAP_KILL"],"effective":["CAP_KILL"]},
        "rlimits":[{"type":"RLIMIT_NOFILE","soft":1,"hard":2}],"ioPriority":{"class":"IOPRIO_CLASS_BE","priority":3}"#;

    #[test]
    fn a_command_is_as_the_configurations_process_but_for_what_it_says() {
        let args = vec![c"/bin/\xe4".into(), c"-x".into()];
        let plan = planned(&kept(OWN), &Asked::Command(Command { args, ..Command::default() })).unwrap();
        let p = &plan.process;
        assert_eq!(p.args, [c"/bin/\xe4", c"-x"].map(CString::from));
        assert_eq!((p.uid, p.gid, p.umask, p.oom_score_adj), (5, 6, Some(63), Some(7)));
        assert!(p.no_new_privileges && p.terminal.is_none() && p.rlimits.len() == 1);
        assert_eq!((p.capabilities.permitted, plan.keyring.as_deref()), (32, Some("k")));
        let command = Command {
            args: vec![c"x".into()],
            env: vec![c"A=3".into(), c"B=".into()],
            cwd: Some("/v".into()),
            terminal: true,
            user: Some(Numeric { uid: 1, gid: None }),
            groups: vec![8],
            capabilities: vec!["chown".into()],
            ..Command::default()
        };
        let p = planned(&kept(OWN), &Asked::Command(command)).unwrap().process;
        assert_eq!(p.env, [c"PATH=/bin", c"AB=2", c"A=3", c"B="].map(CString::from));
        assert_eq!((p.uid, p.gid, p.cwd.to_string().as_str()), (1, 6, "/v"));
        assert_eq!(p.groups, crate::plan::user::Groups::Are(vec![9, 8]));
        assert_eq!((p.capabilities.bounding, p.capabilities.inheritable), (33, 0));
        assert!(p.terminal.is_some());
    }

    #[test]
    fn a_file_says_all_but_what_confines_the_container() {
        let given =
            crate::spec::parse_process(br#"{"user":{"uid":0,"gid":0},"cwd":"/","args":["a"]}"#).unwrap();
        let p = planned(&kept(OWN), &Asked::Process(Box::new(given))).unwrap().process;
        assert_eq!((p.uid, p.umask, p.oom_score_adj), (0, Some(63), Some(7)));
        assert_eq!((p.capabilities.permitted, p.no_new_privileges), (32, false));
        assert!(p.env.is_empty() && p.rlimits.is_empty() && p.terminal.is_none());
        assert!(p.scheduling.io_priority.is_some());
        let none = crate::spec::parse_process(
            br#"{"user":{"uid":0,"gid":0},"cwd":"/","args":["a"],"capabilities":{}}"#,
        );
        let p = planned(&kept(OWN), &Asked::Process(Box::new(none.unwrap()))).unwrap().process;
        assert_eq!(p.capabilities, CapabilitySets::default());
    }

    #[test]
    fn what_is_no_command_is_refused() {
        let command = |change: &dyn Fn(&mut Command)| {
            let mut command = Command { args: vec![c"x".into()], ..Command::default() };
            change(&mut command);
            planned(&kept(OWN), &Asked::Command(command)).unwrap_err()
        };
        assert!(command(&|c| c.args.clear()).contains("args: there has to be at least a program"));
        assert!(command(&|c| c.cwd = Some("w".into())).contains("cwd: path \"w\" is not absolute"));
        assert!(command(&|c| c.groups = vec![u32::MAX]).contains("user.additionalGids[1]"));
        assert!(command(&|c| c.capabilities = vec!["X".into()]).starts_with("--cap: \"X\""));
        for bad in [c"A", c"", c"=", c"=x"] {
            assert!(command(&|c| c.env = vec![bad.into()]).starts_with("--env"), "{bad:?}");
        }
        let mut kept = kept(OWN);
        kept.process = None;
        assert!(planned(&kept, &Asked::Command(Command::default())).unwrap_err().contains("--process"));
    }

    #[test]
    fn ids_are_those_of_the_containers_user_namespace() {
        let mut kept = kept(OWN);
        kept.namespaces = bit(LinuxNamespaceType::User);
        let map = serde_json::from_str(r#"[{"containerID":2,"hostID":100000,"size":10}]"#);
        kept.uid_mappings = map.unwrap();
        kept.gid_mappings = kept.uid_mappings.clone();
        let asked = |uid, gid| {
            let user = Some(Numeric { uid, gid: Some(gid) });
            Asked::Command(Command { args: vec![c"x".into()], user, ..Command::default() })
        };
        assert_eq!(planned(&kept, &asked(2, 11)).unwrap().first_ids, Some((2, 2)));
        assert!(planned(&kept, &asked(1, 3)).unwrap_err().contains("user.uid: 1 is not in the container's"));
        assert!(planned(&kept, &asked(3, 12)).unwrap_err().contains("user.gid: 12"));
    }
}
