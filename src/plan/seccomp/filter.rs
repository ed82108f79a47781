//! From a profile to BPF.
//!
//! libseccomp is asked for the numbers of calls, and for nothing else. Its own programs were wrong and without
//! bound for calls that have several rules with arguments (2.5.4): it merges their comparisons into a tree, in
//! which rules with other operators than SCMP_CMP_EQ did not hold where they should, and a profile of 1.4 KB, which
//! is in `tests/fuzz/corpus/seccomp`, kept it busy for minutes. Ours asks the rules of a call one after the
//! other, so that it is as long as its profile, and never takes longer than that to be made.
//!
//! A program finds its call by binary search, in ranges of calls with the same answer: the kernel runs it once for
//! each number when it is loaded, so that its time for loading depends on the shape, too.

use std::collections::{BTreeMap, BTreeSet};

use libseccomp::ScmpSyscall;

use super::SeccompPlan;
use super::bpf::{Assembler, Label, Test};
use super::leaf::Leaves;
use super::machine::{Machine, Way, X32_BIT};
use super::rules::{Answer, Answers, Comparison, Rule, answers, default_action};
use crate::error::{Result, unsupported};
use crate::spec::oci::{Arch, LinuxSeccomp, LinuxSyscall};

/// struct seccomp_data
const NUMBER: u32 = 0;
const ARCH: u32 = 4;
/// What a tracer makes of a call that is not to be made.
const NO_CALL: u32 = u32::MAX;

/// The names in a profile of which libseccomp knows no system call: a profile names more than any one machine
/// has. They have no effect.
pub fn unknown_names(profile: &LinuxSeccomp) -> BTreeSet<&str> {
    let names = profile.syscalls().iter().flatten().flat_map(LinuxSyscall::names);
    names.map(String::as_str).filter(|name| ScmpSyscall::from_name(name).is_err()).collect()
}

/// The program of a profile: struct sock_filter by struct sock_filter. A call of a machine that is not in the
/// profile kills the thread, as with libseccomp.
pub fn filter(plan: &SeccompPlan) -> Result<Vec<u8>> {
    let default = default_action(plan);
    let tables = tables(plan, &answers(plan)?, default)?;
    let mut assembler = Assembler::default();
    let mut leaves = Leaves::new(default);
    let mut entries = Vec::new();
    // Written from the end: this program's own machine comes first.
    for table in tables.iter().rev() {
        let mut ranges: Vec<(u32, Label)> = Vec::new();
        for range in &table.ranges {
            ranges.push((range.start, leaves.label(&mut assembler, range.wide, &range.answer)));
        }
        ranges.dedup_by_key(|(_, label)| *label);
        let found = search(&mut assembler, &ranges);
        let entry = if ranges.len() > 1 { found.map(|f| assembler.load(NUMBER, f)) } else { found };
        entries.extend(entry.map(|entry| (table.audit, entry)));
    }
    let mut entry = assembler.returns(libc::SECCOMP_RET_KILL_THREAD);
    for (audit, label) in entries {
        entry = assembler.branch(Test::Equal, audit, label, entry);
    }
    assembler.load(ARCH, entry);
    assembler.finish()
}

/// Among so many ranges single calls are looked for one by one.
const FEW: usize = 7;

/// A call that is different from those around it, which have the same answer.
fn single_call(ranges: &[(u32, Label)]) -> Option<usize> {
    let is_single = |three: &[(u32, Label)]| match three {
        [(_, around), (number, _), (next, other)] => around == other && number + 1 == *next,
        _ => false,
    };
    ranges.windows(3).position(is_single).map(|before| before + 1)
}

/// Asks the number that is loaded which range it is in. `None` of none.
fn search(assembler: &mut Assembler, ranges: &[(u32, Label)]) -> Option<Label> {
    match ranges {
        [] => None,
        [(_, label)] => Some(*label),
        _ => {
            if let Some(at) = single_call(ranges).filter(|_| ranges.len() <= FEW) {
                let (number, label) = *ranges.get(at)?;
                // Its neighbours are one range without it.
                let without = [ranges.get(..at)?, ranges.get(at + 2..)?].concat();
                let others = search(assembler, &without)?;
                return Some(assembler.branch(Test::Equal, number, label, others));
            }
            let (below, above) = ranges.split_at(ranges.len() / 2);
            let middle = above.first()?.0;
            let (above, below) = (search(assembler, above)?, search(assembler, below)?);
            Some(assembler.branch(Test::GreaterEqual, middle, above, below))
        }
    }
}

/// Numbers with the same answer, up to where the next ones start.
#[derive(Debug)]
struct Range {
    start: u32,
    /// Whether arguments have 64 bits.
    wide: bool,
    answer: Answer,
}

/// All numbers that come with one AUDIT_ARCH_*.
#[derive(Debug)]
struct Table {
    audit: u32,
    ranges: Vec<Range>,
}

fn tables(plan: &SeccompPlan, answers: &Answers<'_>, default: u32) -> Result<Vec<Table>> {
    let native = Machine::native().ok_or_else(|| unsupported("libseccomp does not know this machine"))?;
    let mut archs = vec![native];
    for arch in plan.profile.architectures().iter().flatten() {
        if *arch != Arch::ScmpArchNative && !archs.contains(arch) {
            archs.push(*arch);
        }
    }
    let mut groups: Vec<Vec<Machine>> = Vec::new();
    for machine in archs.into_iter().map(Machine::new) {
        match groups.iter_mut().find(|group| group.iter().any(|other| other.audit() == machine.audit())) {
            Some(group) => group.push(machine),
            None => groups.push(vec![machine]),
        }
    }
    Ok(groups.iter_mut().map(|group| table(group, answers, default)).collect())
}

fn table(group: &mut [Machine], answers: &Answers<'_>, default: u32) -> Table {
    let audit = group.first().map_or(0, Machine::audit);
    let has_x32 = audit == Arch::ScmpArchX86_64 as u32;
    let spoken_of: Vec<bool> = group.iter().map(Machine::is_x32).collect();
    // What is said of a number that no rule has.
    let other = |number: u32| {
        let x32 = has_x32 && number >= X32_BIT;
        let known = number == NO_CALL || spoken_of.contains(&x32);
        Answer::Always(if known { default } else { libc::SECCOMP_RET_KILL_THREAD })
    };
    let mut starts: BTreeMap<u32, (bool, Answer)> = BTreeMap::new();
    let borders = if has_x32 { [0, X32_BIT, NO_CALL].as_slice() } else { &[0] };
    starts.extend(borders.iter().map(|number| (*number, (false, other(*number)))));
    for machine in group {
        let wide = machine.is_wide();
        for (number, answer) in numbered(machine, answers) {
            starts.insert(number, (wide, answer));
            let next = number.saturating_add(1);
            starts.entry(next).or_insert_with(|| (false, other(next)));
        }
    }
    let ranges = starts.into_iter().map(|(start, (wide, answer))| Range { start, wide, answer });
    Table { audit, ranges: ranges.collect() }
}

/// The answers by the numbers of one machine.
fn numbered(machine: &mut Machine, answers: &Answers<'_>) -> BTreeMap<u32, Answer> {
    let mut numbered: BTreeMap<u32, Answer> = BTreeMap::new();
    for (name, answer) in answers {
        for way in machine.ways(name) {
            let (number, answer) = match way {
                Way::Direct(number) => (number, (*answer).clone()),
                Way::Operation { number, operation } => (number, of_operation(answer, operation)),
            };
            match (numbered.get_mut(&number), answer) {
                (Some(Answer::Always(_)), _) => {}
                (Some(Answer::First(rules)), Answer::First(more)) => rules.extend(more),
                (_, answer) => {
                    numbered.insert(number, answer);
                }
            }
        }
    }
    numbered
}

/// socketcall(2) and ipc(2) have the arguments of their operations where no filter sees them. As with libseccomp,
/// the operation takes the place of the first one, and the others are compared with what is there instead.
fn of_operation(answer: &Answer, operation: u64) -> Answer {
    let comparison = Comparison::operation(operation);
    let of_rule = |action: u32, args: &[Comparison]| {
        let others = args.iter().filter(|arg| arg.index != comparison.index).copied();
        Rule { action, args: [comparison].into_iter().chain(others).collect() }
    };
    Answer::First(match answer {
        Answer::Always(action) => vec![of_rule(*action, &[])],
        Answer::First(rules) => rules.iter().map(|rule| of_rule(rule.action, &rule.args)).collect(),
    })
}
