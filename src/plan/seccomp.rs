//! `linux.seccomp`: config-linux.md, "Seccomp". The profile is checked here and compiled to BPF by
//! libseccomp, shaped as a tree: the kernel's time for loading depends on the shape.

use libseccomp::{ScmpAction, ScmpArch, ScmpArgCompare, ScmpCompareOp, ScmpFilterContext, ScmpSyscall};

use crate::error::{Doing, Result, invalid, unsupported};
use crate::spec::oci::{
    Arch, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompFilterFlag, LinuxSeccompOperator,
    LinuxSyscall,
};

/// The actions that [`plan`] takes, as `features` lists them.
pub const ACTIONS: [LinuxSeccompAction; 8] = {
    use LinuxSeccompAction as A;
    [
        A::ScmpActAllow,
        A::ScmpActErrno,
        A::ScmpActKill,
        A::ScmpActKillProcess,
        A::ScmpActKillThread,
        A::ScmpActLog,
        A::ScmpActTrace,
        A::ScmpActTrap,
    ]
};

/// All operators.
pub const OPERATORS: [LinuxSeccompOperator; 7] = {
    use LinuxSeccompOperator as O;
    [O::ScmpCmpEq, O::ScmpCmpGe, O::ScmpCmpGt, O::ScmpCmpLe, O::ScmpCmpLt, O::ScmpCmpMaskedEq, O::ScmpCmpNe]
};

/// The architectures that [`filter`] knows, without SCMP_ARCH_NATIVE, which config-linux.md has not.
pub const ARCHS: [Arch; 19] = [
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

/// The flags that are understood.
pub const KNOWN_FLAGS: [LinuxSeccompFilterFlag; 4] = [
    LinuxSeccompFilterFlag::SeccompFilterFlagLog,
    LinuxSeccompFilterFlag::SeccompFilterFlagSpecAllow,
    LinuxSeccompFilterFlag::SeccompFilterFlagTsync,
    LinuxSeccompFilterFlag::SeccompFilterFlagWaitKillableRecv,
];

/// Those of them that work: seccomp(2) takes WAIT_KILLABLE_RECV only together with a listener.
pub const SUPPORTED_FLAGS: [LinuxSeccompFilterFlag; 3] = [
    LinuxSeccompFilterFlag::SeccompFilterFlagLog,
    LinuxSeccompFilterFlag::SeccompFilterFlagSpecAllow,
    LinuxSeccompFilterFlag::SeccompFilterFlagTsync,
];

/// A profile that has been checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeccompPlan {
    /// The profile, as the configuration has it.
    pub profile: LinuxSeccomp,
    /// SECCOMP_FILTER_FLAG_* bits for seccomp(2).
    pub flags: u64,
}

/// seccomp(2): without no_new_privs, loading needs CAP_SYS_ADMIN, so it must precede the capability drop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FilterAt {
    /// no_new_privs is off.
    BeforeCapDrop,
    /// no_new_privs is on.
    AfterCapDrop,
}

impl FilterAt {
    /// Where the filter of a process is loaded.
    pub const fn choose(no_new_privileges: bool) -> Self {
        match no_new_privileges {
            true => Self::AfterCapDrop,
            false => Self::BeforeCapDrop,
        }
    }
}

/// Checks a profile.
pub fn plan(profile: &LinuxSeccomp) -> Result<SeccompPlan> {
    if profile.listener_metadata().is_some() && profile.listener_path().is_none() {
        return Err(invalid("listenerMetadata without listenerPath"));
    }
    let actions =
        profile.syscalls().iter().flatten().map(LinuxSyscall::action).chain([profile.default_action()]);
    for action in actions {
        if action == LinuxSeccompAction::ScmpActNotify {
            return Err(unsupported("SCMP_ACT_NOTIFY is not supported yet"));
        }
    }
    check_errno("defaultErrnoRet", profile.default_action(), profile.default_errno_ret())?;
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
    Ok(SeccompPlan { profile: profile.clone(), flags: flags(profile) })
}

/// config-linux.md: an errno for an action that takes none is an error.
fn check_errno(name: &str, action: LinuxSeccompAction, errno: Option<u32>) -> Result<()> {
    let takes_one = matches!(action, LinuxSeccompAction::ScmpActErrno | LinuxSeccompAction::ScmpActTrace);
    match errno {
        Some(_) if !takes_one => Err(invalid(format!("{name}: {action} takes no errno"))),
        Some(errno) if errno > 0xffff => Err(invalid(format!("{name}: {errno} is more than 65535"))),
        _ => Ok(()),
    }
}

/// linux/seccomp.h. There is one thread, so that TSYNC would have nothing to do.
fn flags(profile: &LinuxSeccomp) -> u64 {
    let bit = |flag: &LinuxSeccompFilterFlag| match flag {
        // The kernel takes the latter with a listener only, and there is none: nothing could wait.
        LinuxSeccompFilterFlag::SeccompFilterFlagTsync
        | LinuxSeccompFilterFlag::SeccompFilterFlagWaitKillableRecv => 0,
        LinuxSeccompFilterFlag::SeccompFilterFlagLog => 1 << 1,
        LinuxSeccompFilterFlag::SeccompFilterFlagSpecAllow => 1 << 2,
    };
    profile.flags().iter().flatten().map(bit).fold(0, |flags, bit| flags | bit)
}

/// A profile as libseccomp has it, ready to be exported.
#[derive(Debug)]
pub struct Filter {
    /// The rules.
    pub context: ScmpFilterContext,
    /// Names of system calls that libseccomp does not know: a profile names more than any one machine has.
    pub skipped: Vec<String>,
}

/// Compiles a profile as far as libseccomp does before it is exported.
pub fn filter(plan: &SeccompPlan) -> Result<Filter> {
    let profile = &plan.profile;
    let default = action(profile.default_action(), profile.default_errno_ret());
    let mut context = ScmpFilterContext::new(default).doing(|| "seccomp_init")?;
    // A system call of an architecture that is not in the profile: as libseccomp has it, the thread dies.
    context.set_ctl_nnp(false).doing(|| "seccomp_attr_set(CTL_NNP)")?;
    context.set_ctl_optimize(2).doing(|| "seccomp_attr_set(CTL_OPTIMIZE)")?;
    for arch in profile.architectures().iter().flatten() {
        context.add_arch(scmp_arch(*arch)?).doing(|| format!("architecture {arch}"))?;
    }
    let mut filter = Filter { context, skipped: Vec::new() };
    for (index, rule) in profile.syscalls().iter().flatten().enumerate() {
        filter.add(rule, default).doing(|| format!("syscalls[{index}]"))?;
    }
    Ok(filter)
}

impl Filter {
    fn add(&mut self, rule: &LinuxSyscall, default: ScmpAction) -> Result<()> {
        let action = action(rule.action(), rule.errno_ret());
        // libseccomp refuses a rule that says what the default says, and needs none.
        if action == default {
            return Ok(());
        }
        let args = rule.args().as_deref().unwrap_or_default();
        for name in rule.names() {
            match ScmpSyscall::from_name(name) {
                Ok(syscall) => {
                    add_comparisons(&mut self.context, action, syscall, args).doing(|| name.clone())?
                }
                Err(_) => self.skipped.push(name.clone()),
            }
        }
        Ok(())
    }
}

/// All comparisons of a rule have to hold. Two of the same argument can't be in one rule of libseccomp;
/// the field reads such a rule as one rule for each, any of which may hold.
fn add_comparisons(
    filter: &mut ScmpFilterContext,
    action: ScmpAction,
    syscall: ScmpSyscall,
    args: &[LinuxSeccompArg],
) -> Result<()> {
    let repeated = args.iter().any(|a| args.iter().filter(|b| a.index() == b.index()).count() > 1);
    let comparisons = args.iter().map(comparison).collect::<Result<Vec<_>>>()?;
    if repeated {
        for comparison in comparisons {
            filter.add_rule_conditional(action, syscall, &[comparison])?;
        }
    } else if comparisons.is_empty() {
        filter.add_rule(action, syscall)?;
    } else {
        filter.add_rule_conditional(action, syscall, &comparisons)?;
    }
    Ok(())
}

fn comparison(arg: &LinuxSeccompArg) -> Result<ScmpArgCompare> {
    let index = u32::try_from(arg.index()).ok().ok_or_else(|| invalid("args: index out of range"))?;
    let (op, value) = match arg.op() {
        LinuxSeccompOperator::ScmpCmpNe => (ScmpCompareOp::NotEqual, arg.value()),
        LinuxSeccompOperator::ScmpCmpLt => (ScmpCompareOp::Less, arg.value()),
        LinuxSeccompOperator::ScmpCmpLe => (ScmpCompareOp::LessOrEqual, arg.value()),
        LinuxSeccompOperator::ScmpCmpEq => (ScmpCompareOp::Equal, arg.value()),
        LinuxSeccompOperator::ScmpCmpGe => (ScmpCompareOp::GreaterEqual, arg.value()),
        LinuxSeccompOperator::ScmpCmpGt => (ScmpCompareOp::Greater, arg.value()),
        // value is the mask, valueTwo what is left of the argument under it.
        LinuxSeccompOperator::ScmpCmpMaskedEq => {
            (ScmpCompareOp::MaskedEqual(arg.value()), arg.value_two().unwrap_or(0))
        }
    };
    Ok(ScmpArgCompare::new(index, op, value))
}

fn action(action: LinuxSeccompAction, errno: Option<u32>) -> ScmpAction {
    const EPERM: u32 = libc::EPERM.unsigned_abs();
    #[expect(clippy::cast_possible_truncation, reason = "checked to fit 16 bits")]
    let errno = errno.unwrap_or(EPERM) as u16;
    match action {
        LinuxSeccompAction::ScmpActKill | LinuxSeccompAction::ScmpActKillThread => ScmpAction::KillThread,
        LinuxSeccompAction::ScmpActKillProcess => ScmpAction::KillProcess,
        LinuxSeccompAction::ScmpActTrap => ScmpAction::Trap,
        LinuxSeccompAction::ScmpActErrno => ScmpAction::Errno(errno.into()),
        LinuxSeccompAction::ScmpActNotify => ScmpAction::Notify,
        LinuxSeccompAction::ScmpActTrace => ScmpAction::Trace(errno),
        LinuxSeccompAction::ScmpActLog => ScmpAction::Log,
        LinuxSeccompAction::ScmpActAllow => ScmpAction::Allow,
    }
}

fn scmp_arch(arch: Arch) -> Result<ScmpArch> {
    Ok(match arch {
        Arch::ScmpArchNative => ScmpArch::Native,
        Arch::ScmpArchX86 => ScmpArch::X86,
        Arch::ScmpArchX86_64 => ScmpArch::X8664,
        Arch::ScmpArchX32 => ScmpArch::X32,
        Arch::ScmpArchArm => ScmpArch::Arm,
        Arch::ScmpArchAarch64 => ScmpArch::Aarch64,
        Arch::ScmpArchMips => ScmpArch::Mips,
        Arch::ScmpArchMips64 => ScmpArch::Mips64,
        Arch::ScmpArchMips64n32 => ScmpArch::Mips64N32,
        Arch::ScmpArchMipsel => ScmpArch::Mipsel,
        Arch::ScmpArchMipsel64 => ScmpArch::Mipsel64,
        Arch::ScmpArchMipsel64n32 => ScmpArch::Mipsel64N32,
        Arch::ScmpArchPpc => ScmpArch::Ppc,
        Arch::ScmpArchPpc64 => ScmpArch::Ppc64,
        Arch::ScmpArchPpc64le => ScmpArch::Ppc64Le,
        Arch::ScmpArchS390 => ScmpArch::S390,
        Arch::ScmpArchS390x => ScmpArch::S390X,
        Arch::ScmpArchParisc => ScmpArch::Parisc,
        Arch::ScmpArchParisc64 => ScmpArch::Parisc64,
        Arch::ScmpArchRiscv64 => ScmpArch::Riscv64,
        other => {
            return Err(unsupported(format!("architecture {other} is not known to this libseccomp")));
        }
    })
}
