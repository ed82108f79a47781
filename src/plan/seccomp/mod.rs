//! `linux.seccomp`: config-linux.md, "Seccomp". The profile is checked here; [`filter()`] makes BPF of it, and says
//! why it does not leave that to libseccomp.

mod answer;
mod bpf;
mod filter;
mod leaf;
mod machine;
mod only;
mod rules;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use crate::error::{Doing, Result, invalid, unsupported};
use crate::spec::oci::{
    Arch, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompFilterFlag, LinuxSeccompOperator, LinuxSyscall,
};

pub use answer::lets;
pub use filter::{filter, unknown_names};
pub use only::only;

/// All actions.
pub const ACTIONS: [LinuxSeccompAction; 9] = {
    use LinuxSeccompAction as A;
    [
        A::ScmpActAllow,
        A::ScmpActErrno,
        A::ScmpActKill,
        A::ScmpActKillProcess,
        A::ScmpActKillThread,
        A::ScmpActLog,
        A::ScmpActNotify,
        A::ScmpActTrace,
        A::ScmpActTrap,
    ]
};

/// All operators.
pub const OPERATORS: [LinuxSeccompOperator; 7] = {
    use LinuxSeccompOperator as O;
    [O::ScmpCmpEq, O::ScmpCmpGe, O::ScmpCmpGt, O::ScmpCmpLe, O::ScmpCmpLt, O::ScmpCmpMaskedEq, O::ScmpCmpNe]
};

/// The architectures that libseccomp has known since 2.5, without SCMP_ARCH_NATIVE, which config-linux.md has
/// not.
const ARCHS: [Arch; 19] = [
    Arch::ScmpArchAarch64,
    Arch::ScmpArchArm,
    Arch::ScmpArchMips,
    Arch::ScmpArchMips64,
    Arch::ScmpArchMips64n32,
    Arch::ScmpArchMipsel,
    Arch::ScmpArchMipsel64,
    Arch::ScmpArchMipsel64n32,
    Arch::ScmpArchParisc,
    Arch::ScmpArchParisc64,
    Arch::ScmpArchPpc,
    Arch::ScmpArchPpc64,
    Arch::ScmpArchPpc64le,
    Arch::ScmpArchRiscv64,
    Arch::ScmpArchS390,
    Arch::ScmpArchS390x,
    Arch::ScmpArchX32,
    Arch::ScmpArchX86,
    Arch::ScmpArchX86_64,
];

/// Those that 2.6 has brought.
const LATER_ARCHS: [Arch; 4] =
    [Arch::ScmpArchLoongarch64, Arch::ScmpArchM68k, Arch::ScmpArchSh, Arch::ScmpArchSheb];

/// The architectures that the libseccomp in this program knows; config-linux.md has no others.
pub fn archs() -> Vec<Arch> {
    let has_later = libseccomp::check_version(libseccomp::ScmpVersion::from((2, 6, 0))).unwrap_or(false);
    let later: &[Arch] = if has_later { &LATER_ARCHS } else { &[] };
    [&ARCHS, later].concat()
}

/// All flags. seccomp(2) takes WAIT_KILLABLE_RECV only together with a listener: without one nothing waits,
/// and it has no effect.
pub const FLAGS: [LinuxSeccompFilterFlag; 4] = [
    LinuxSeccompFilterFlag::SeccompFilterFlagLog,
    LinuxSeccompFilterFlag::SeccompFilterFlagSpecAllow,
    LinuxSeccompFilterFlag::SeccompFilterFlagTsync,
    LinuxSeccompFilterFlag::SeccompFilterFlagWaitKillableRecv,
];

/// A profile that has been checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeccompPlan {
    /// The profile, as the configuration has it.
    pub profile: LinuxSeccomp,
    /// SECCOMP_FILTER_FLAG_* bits for seccomp(2).
    pub flags: u64,
    /// Who answers for the calls that the profile leaves to somebody else; `None` if there are none.
    pub listener: Option<Listener>,
}

/// The agent of SCMP_ACT_NOTIFY.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Its socket, AF_UNIX and SOCK_STREAM, on the host; relative to the bundle.
    pub path: PathBuf,
    /// Passed on as it is.
    pub metadata: Option<String>,
}

/// Checks a profile.
pub fn plan(profile: &LinuxSeccomp) -> Result<SeccompPlan> {
    if profile.listener_metadata().is_some() && profile.listener_path().is_none() {
        return Err(invalid("listenerMetadata without listenerPath"));
    }
    check_errno("defaultErrnoRet", profile.default_action(), profile.default_errno_ret())?;
    check_archs(profile)?;
    for (index, rule) in profile.syscalls().iter().flatten().enumerate() {
        let check = || -> Result<()> {
            if rule.names().is_empty() {
                return Err(invalid("names is empty"));
            }
            check_errno("errnoRet", rule.action(), rule.errno_ret())?;
            match rule.args().iter().flatten().find(|arg| arg.index() > 5) {
                Some(arg) => Err(invalid(format!("args: index {} is not in 0..5", arg.index()))),
                None => Ok(()),
            }
        };
        check().doing(|| format!("syscalls[{index}]"))?;
    }
    let listener = listener(profile)?;
    Ok(SeccompPlan { profile: profile.clone(), flags: flags(profile, listener.is_some()), listener })
}

/// config-linux.md: without SCMP_ACT_NOTIFY `listenerPath` is ignored; with it nobody else could answer.
fn listener(profile: &LinuxSeccomp) -> Result<Option<Listener>> {
    let rules = profile.syscalls().iter().flatten().map(LinuxSyscall::action);
    if !rules.chain([profile.default_action()]).any(|action| action == LinuxSeccompAction::ScmpActNotify) {
        return Ok(None);
    }
    match profile.listener_path() {
        Some(path) => {
            Ok(Some(Listener { path: path.clone(), metadata: profile.listener_metadata().clone() }))
        }
        None => Err(invalid("SCMP_ACT_NOTIFY needs listenerPath: nobody would answer")),
    }
}

/// One filter serves one machine: libseccomp makes none for architectures of both byte orders.
fn check_archs(profile: &LinuxSeccomp) -> Result<()> {
    let known = archs();
    for (index, arch) in profile.architectures().iter().flatten().enumerate() {
        let what = || format!("architectures[{index}]");
        if !known.contains(arch) && *arch != Arch::ScmpArchNative {
            return Err(unsupported(format!("{arch} needs libseccomp 2.6"))).doing(what);
        }
        if is_little_endian(*arch) != cfg!(target_endian = "little") && *arch != Arch::ScmpArchNative {
            return Err(invalid(format!("{arch} has another byte order than this machine"))).doing(what);
        }
    }
    Ok(())
}

/// linux/audit.h, __AUDIT_ARCH_LE; the model's numbers are libseccomp's, which are made of these.
const fn is_little_endian(arch: Arch) -> bool {
    arch as u32 & 0x4000_0000 != 0
}

/// config-linux.md: an errno for an action that takes none is an error.
fn check_errno(name: &str, action: LinuxSeccompAction, errno: Option<u32>) -> Result<()> {
    // seccomp(2): the low 16 bits of an action; the kernel takes an errno above MAX_ERRNO for MAX_ERRNO.
    let most = match action {
        LinuxSeccompAction::ScmpActErrno => Some(4095),
        LinuxSeccompAction::ScmpActTrace => Some(0xffff),
        _ => None,
    };
    match (errno, most) {
        (Some(_), None) => Err(invalid(format!("{name}: {action} takes no errno"))),
        (Some(errno), Some(most)) if errno > most => {
            Err(invalid(format!("{name}: {errno} is more than {most}")))
        }
        _ => Ok(()),
    }
}

/// linux/seccomp.h. There is one thread, so that TSYNC would have nothing to do; and with a listener the
/// kernel would not take it.
fn flags(profile: &LinuxSeccomp, has_listener: bool) -> u64 {
    const LOG: u64 = 1 << 1;
    const SPEC_ALLOW: u64 = 1 << 2;
    const NEW_LISTENER: u64 = 1 << 3;
    const WAIT_KILLABLE_RECV: u64 = 1 << 5;
    let bit = |flag: &LinuxSeccompFilterFlag| match flag {
        LinuxSeccompFilterFlag::SeccompFilterFlagTsync => 0,
        LinuxSeccompFilterFlag::SeccompFilterFlagLog => LOG,
        LinuxSeccompFilterFlag::SeccompFilterFlagSpecAllow => SPEC_ALLOW,
        // EINVAL without a listener.
        LinuxSeccompFilterFlag::SeccompFilterFlagWaitKillableRecv if has_listener => WAIT_KILLABLE_RECV,
        LinuxSeccompFilterFlag::SeccompFilterFlagWaitKillableRecv => 0,
    };
    let listener = if has_listener { NEW_LISTENER } else { 0 };
    profile.flags().iter().flatten().map(bit).fold(listener, |flags, bit| flags | bit)
}
