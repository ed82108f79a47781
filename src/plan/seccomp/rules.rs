//! What a profile says of each call, whatever the machine.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::SeccompPlan;
use crate::error::{Doing, Result, invalid};
use crate::spec::oci::{LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompOperator, LinuxSyscall};

/// So many rules with arguments, counted for each call, are compiled. More make hardly ever a program that the
/// kernel takes, BPF_MAXINSNS.
const MOST_CONDITIONAL: usize = 4096;

/// How an argument is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Order {
    /// Under the mask; the other orders are of the whole argument.
    Equal,
    Greater,
    GreaterEqual,
}

/// One comparison. All seven operators are one of three orders that holds or does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Comparison {
    /// 0 to 5.
    pub(super) index: u32,
    pub(super) order: Order,
    pub(super) mask: u64,
    pub(super) value: u64,
    pub(super) holds: bool,
}

impl Comparison {
    fn new(arg: &LinuxSeccompArg) -> Result<Self> {
        let value = arg.value();
        let (order, holds) = match arg.op() {
            LinuxSeccompOperator::ScmpCmpEq | LinuxSeccompOperator::ScmpCmpMaskedEq => (Order::Equal, true),
            LinuxSeccompOperator::ScmpCmpNe => (Order::Equal, false),
            LinuxSeccompOperator::ScmpCmpGt => (Order::Greater, true),
            LinuxSeccompOperator::ScmpCmpLe => (Order::Greater, false),
            LinuxSeccompOperator::ScmpCmpGe => (Order::GreaterEqual, true),
            LinuxSeccompOperator::ScmpCmpLt => (Order::GreaterEqual, false),
        };
        // value is the mask, valueTwo what is left of the argument under it.
        let (mask, value) = match arg.op() {
            LinuxSeccompOperator::ScmpCmpMaskedEq => (value, arg.value_two().unwrap_or(0) & value),
            _ => (u64::MAX, value),
        };
        let index = u32::try_from(arg.index()).ok().ok_or_else(|| invalid("args: index out of range"))?;
        Ok(Self { index, order, mask, value, holds })
    }

    /// socketcall(2) and ipc(2): the operation is the first argument.
    pub(super) const fn operation(operation: u64) -> Self {
        Self { index: 0, order: Order::Equal, mask: u64::MAX, value: operation, holds: true }
    }
}

/// An action, and all that has to hold for it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Rule {
    /// SECCOMP_RET_*
    pub(super) action: u32,
    pub(super) args: Vec<Comparison>,
}

/// What is done with a call.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Answer {
    /// SECCOMP_RET_*, whatever the arguments.
    Always(u32),
    /// The first rule that holds decides; the default, if there is none.
    First(Vec<Rule>),
}

/// All calls that the profile does not leave to its default.
pub(super) type Answers<'a> = BTreeMap<&'a str, Answer>;

/// As libseccomp reads them: a rule that says what the default says is none, and one without arguments decides
/// whatever others there are.
pub(super) fn answers(plan: &SeccompPlan) -> Result<Answers<'_>> {
    let default = default_action(plan);
    let mut rules = Rules::default();
    for (index, rule) in plan.profile.syscalls().iter().flatten().enumerate() {
        if action(rule.action(), rule.errno_ret()) != default {
            rules.add(rule).doing(|| format!("syscalls[{index}]"))?;
        }
    }
    Ok(rules.answers)
}

/// SECCOMP_RET_* of calls without a rule.
pub(super) fn default_action(plan: &SeccompPlan) -> u32 {
    action(plan.profile.default_action(), plan.profile.default_errno_ret())
}

#[derive(Debug, Default)]
struct Rules<'a> {
    answers: Answers<'a>,
    /// Of each call, the comparisons that rules have, and the action.
    seen: HashMap<&'a str, HashMap<Vec<Comparison>, u32>>,
    conditional: usize,
}

impl<'a> Rules<'a> {
    fn add(&mut self, rule: &'a LinuxSyscall) -> Result<()> {
        let action = action(rule.action(), rule.errno_ret());
        let alternatives = alternatives(rule.args().as_deref().unwrap_or_default())?;
        for name in rule.names() {
            if matches!(self.answers.get(name.as_str()), Some(Answer::Always(_))) {
                continue;
            }
            if alternatives.is_empty() {
                self.answers.insert(name, Answer::Always(action));
            }
            for args in &alternatives {
                self.add_conditional(name, Rule { action, args: args.clone() }).doing(|| name.clone())?;
            }
        }
        Ok(())
    }

    fn add_conditional(&mut self, name: &'a str, rule: Rule) -> Result<()> {
        self.conditional += 1;
        if self.conditional > MOST_CONDITIONAL {
            let most = format!("more than {MOST_CONDITIONAL} rules with arguments");
            return Err(invalid(format!("{most}: no program of 4096 instructions, which the kernel takes")));
        }
        let mut sorted = rule.args.clone();
        sorted.sort_unstable();
        match self.seen.entry(name).or_default().insert(sorted, rule.action) {
            Some(before) if before != rule.action => {
                return Err(invalid("a rule before has the same comparisons and another action"));
            }
            Some(_) => {}
            None => match self.answers.entry(name).or_insert_with(|| Answer::First(Vec::new())) {
                Answer::First(rules) => rules.push(rule),
                Answer::Always(_) => {}
            },
        }
        Ok(())
    }
}

/// All comparisons of a rule have to hold. config-linux.md does not say what two of the same argument are; they
/// are read as by runc and crun: then each comparison is a rule by itself.
fn alternatives(args: &[LinuxSeccompArg]) -> Result<Vec<Vec<Comparison>>> {
    let comparisons = args.iter().map(Comparison::new).collect::<Result<Vec<_>>>()?;
    let mut seen = HashSet::new();
    Ok(match comparisons.iter().all(|comparison| seen.insert(comparison.index)) {
        true if comparisons.is_empty() => Vec::new(),
        true => vec![comparisons],
        false => comparisons.into_iter().map(|comparison| vec![comparison]).collect(),
    })
}

/// linux/seccomp.h: SECCOMP_RET_*, in the lower half the errno or what a tracer is told.
fn action(action: LinuxSeccompAction, errno: Option<u32>) -> u32 {
    const EPERM: u32 = libc::EPERM.unsigned_abs();
    let errno = errno.unwrap_or(EPERM);
    match action {
        LinuxSeccompAction::ScmpActKill | LinuxSeccompAction::ScmpActKillThread => {
            libc::SECCOMP_RET_KILL_THREAD
        }
        LinuxSeccompAction::ScmpActKillProcess => libc::SECCOMP_RET_KILL_PROCESS,
        LinuxSeccompAction::ScmpActTrap => libc::SECCOMP_RET_TRAP,
        LinuxSeccompAction::ScmpActErrno => libc::SECCOMP_RET_ERRNO | errno,
        LinuxSeccompAction::ScmpActNotify => libc::SECCOMP_RET_USER_NOTIF,
        LinuxSeccompAction::ScmpActTrace => libc::SECCOMP_RET_TRACE | errno,
        LinuxSeccompAction::ScmpActLog => libc::SECCOMP_RET_LOG,
        LinuxSeccompAction::ScmpActAllow => libc::SECCOMP_RET_ALLOW,
    }
}
