//! From a profile to BPF by libseccomp, shaped as a tree: the kernel's time for loading depends on the shape.

use libseccomp::{ScmpAction, ScmpArch, ScmpArgCompare, ScmpCompareOp, ScmpFilterContext, ScmpSyscall};

use super::SeccompPlan;
use crate::error::{Doing, Result, invalid};
use crate::spec::oci::{Arch, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompOperator, LinuxSyscall};

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
        context.add_arch(scmp_arch(*arch)).doing(|| format!("architecture {arch}"))?;
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

const fn scmp_arch(arch: Arch) -> ScmpArch {
    match arch {
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
        Arch::ScmpArchLoongarch64 => ScmpArch::Loongarch64,
        Arch::ScmpArchM68k => ScmpArch::M68k,
        Arch::ScmpArchSh => ScmpArch::Sh,
        Arch::ScmpArchSheb => ScmpArch::Sheb,
    }
}
