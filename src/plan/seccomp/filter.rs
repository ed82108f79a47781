//! From a profile to BPF by libseccomp, shaped as a tree: the kernel's time for loading depends on the shape.

use std::collections::{BTreeSet, HashSet};

use libseccomp::error::SeccompError;
use libseccomp::{ScmpAction, ScmpArch, ScmpArgCompare, ScmpCompareOp, ScmpFilterContext, ScmpSyscall};

use super::SeccompPlan;
use super::below::{Below, repeats};
use crate::error::{Doing, Result, invalid};
use crate::spec::oci::{
    Arch, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompOperator, LinuxSyscall,
};

/// The names in a profile of which libseccomp knows no system call: a profile names more than any one machine
/// has. They have no effect.
pub fn unknown_names(profile: &LinuxSeccomp) -> BTreeSet<&str> {
    let names = profile.syscalls().iter().flatten().flat_map(LinuxSyscall::names);
    names.map(String::as_str).filter(|name| ScmpSyscall::from_name(name).is_err()).collect()
}

/// Compiles a profile as far as libseccomp does before it is exported.
pub fn filter(plan: &SeccompPlan) -> Result<ScmpFilterContext> {
    let profile = &plan.profile;
    let default = action(profile.default_action(), profile.default_errno_ret());
    let mut context = ScmpFilterContext::new(default).doing(|| "seccomp_init")?;
    // A system call of an architecture that is not in the profile: as libseccomp has it, the thread dies.
    context.set_ctl_nnp(false).doing(|| "seccomp_attr_set(CTL_NNP)")?;
    context.set_ctl_optimize(2).doing(|| "seccomp_attr_set(CTL_OPTIMIZE)")?;
    for arch in profile.architectures().iter().flatten() {
        context.add_arch(scmp_arch(*arch)).doing(|| format!("architecture {arch}"))?;
    }
    let mut rules =
        Rules { context, default, below: Below::of(profile), decided: HashSet::new(), conditional: 0 };
    for (index, rule) in profile.syscalls().iter().flatten().enumerate() {
        rules.add(rule).doing(|| format!("syscalls[{index}]"))?;
    }
    Ok(rules.context)
}

/// So many rules with arguments, counted for each call, are compiled. More make hardly ever a program that the
/// kernel takes, BPF_MAXINSNS, and libseccomp's time grows with their square.
const MOST_CONDITIONAL: usize = 4096;

/// What libseccomp has been told.
struct Rules<'a> {
    context: ScmpFilterContext,
    default: ScmpAction,
    below: Below<'a>,
    /// The calls with a rule that always holds: whatever is said of them after it changes nothing.
    decided: HashSet<&'a str>,
    conditional: usize,
}

impl<'a> Rules<'a> {
    fn add(&mut self, rule: &'a LinuxSyscall) -> Result<()> {
        let action = action(rule.action(), rule.errno_ret());
        // libseccomp refuses a rule that says what the default says, and needs none.
        if action == self.default {
            return Ok(());
        }
        let args = rule.args().as_deref().unwrap_or_default();
        for name in rule.names() {
            if self.decided.contains(name.as_str()) || (args.is_empty() && !self.decided.insert(name)) {
                continue;
            }
            // One of those that `unknown_names` has.
            let Ok(syscall) = ScmpSyscall::from_name(name) else { continue };
            self.add_for(name, syscall, action, args).doing(|| name.clone())?;
        }
        Ok(())
    }

    fn add_for(
        &mut self,
        name: &str,
        syscall: ScmpSyscall,
        action: ScmpAction,
        args: &[LinuxSeccompArg],
    ) -> Result<()> {
        let rewritten = self.below.rewritten(name, args)?;
        self.conditional += rewritten.as_ref().map_or(usize::from(!args.is_empty()), Vec::len);
        if self.conditional > MOST_CONDITIONAL {
            let most = format!("more than {MOST_CONDITIONAL} rules with arguments");
            return Err(invalid(format!("{most}: no program of 4096 instructions, which the kernel takes")));
        }
        let Some(rules) = rewritten else {
            return add_comparisons(&mut self.context, action, syscall, args).map_err(explain);
        };
        rules.iter().try_for_each(|args| match add_comparisons(&mut self.context, action, syscall, args) {
            // Where two rules overlap the first one counts, as it does without arguments.
            Err(error) if exists_already(&error) => Ok(()),
            added => added,
        })
    }
}

fn exists_already(error: &anyhow::Error) -> bool {
    let errno = error.downcast_ref::<SeccompError>().and_then(SeccompError::sysrawrc);
    errno == Some(-libc::EEXIST)
}

/// libseccomp's EEXIST says little.
fn explain(error: anyhow::Error) -> anyhow::Error {
    match exists_already(&error) {
        true => invalid("a rule before has the same comparisons and another action"),
        false => error,
    }
}

/// All comparisons of a rule have to hold. Two of the same argument can't be in one rule of libseccomp; such a
/// rule is read as one rule for each comparison, as by runc and crun.
fn add_comparisons(
    filter: &mut ScmpFilterContext,
    action: ScmpAction,
    syscall: ScmpSyscall,
    args: &[LinuxSeccompArg],
) -> Result<()> {
    let comparisons = args.iter().map(comparison).collect::<Result<Vec<_>>>()?;
    if repeats(args) {
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
