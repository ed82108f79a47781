//! The rules of one call as BPF: comparisons of 64 bits by two loads of 32.

use std::collections::HashMap;

use super::bpf::{Assembler, Label, Test, Word};
use super::rules::{Answer, Comparison, Order, Rule};

/// Where the arguments are: struct seccomp_data.
const ARGS: u32 = 16;

/// The answers of a program, each of them written once.
#[derive(Debug)]
pub(super) struct Leaves<'a> {
    default: u32,
    written: HashMap<(bool, &'a Answer), Label>,
}

impl<'a> Leaves<'a> {
    pub(super) fn new(default: u32) -> Self {
        Self { default, written: HashMap::new() }
    }

    /// Where an answer begins. `wide`: arguments have 64 bits.
    pub(super) fn label(&mut self, assembler: &mut Assembler, wide: bool, answer: &'a Answer) -> Label {
        let rules = match answer {
            Answer::Always(action) => return assembler.returns(*action),
            Answer::First(rules) => rules,
        };
        if let Some(label) = self.written.get(&(wide, answer)) {
            return *label;
        }
        let default = assembler.returns(self.default);
        let levels = if wide && rules.len() <= SPLIT { LEVELS } else { 0 };
        let label = split(assembler, rules, wide, default, levels);
        self.written.insert((wide, answer), label);
        label
    }
}

/// So many rules at most are written twice, with one upper half and with others, so many times.
const SPLIT: usize = 16;
const LEVELS: usize = 2;

/// Asks for the upper half of an argument once, where several rules compare it with the same one.
fn split(assembler: &mut Assembler, rules: &[Rule], wide: bool, default: Label, levels: usize) -> Label {
    let args = || rules.iter().flat_map(|rule| &rule.args).filter(|arg| is_value(arg));
    let times =
        |a: &Comparison| args().filter(|b| b.index == a.index && high(b.value) == high(a.value)).count();
    let often = args().find(|arg| times(arg) > 1);
    let Some(often) = often.filter(|_| levels > 0).copied() else {
        return chain(assembler, rules, wide, default);
    };
    let concerned = |arg: &Comparison| is_value(arg) && arg.index == often.index;
    let is = |arg: &Comparison| concerned(arg) && high(arg.value) == high(often.value);
    // Its upper half is that one: what it was compared with another one for is decided.
    let lower = |arg: &Comparison| match concerned(arg) {
        true => Comparison { mask: 0xffff_ffff, value: arg.value & 0xffff_ffff, ..*arg },
        false => *arg,
    };
    let same = decided(rules, |arg| concerned(arg) && !is(arg), lower);
    let another = decided(rules, is, |arg| *arg);
    let another = split(assembler, &another, wide, default, levels - 1);
    let same = split(assembler, &same, wide, default, levels - 1);
    let half = Word { offset: high_offset(often.index), mask: u32::MAX, value: high(often.value) };
    assembler.test(half, Test::Equal, same, another)
}

/// The rules, where some of their comparisons are known to find a difference.
fn decided(
    rules: &[Rule],
    differs: impl Fn(&Comparison) -> bool,
    left: impl Fn(&Comparison) -> Comparison,
) -> Vec<Rule> {
    let may_hold = rules.iter().filter(|rule| !rule.args.iter().any(|arg| differs(arg) && arg.holds));
    let of_rule = |rule: &Rule| Rule {
        action: rule.action,
        args: rule.args.iter().filter(|arg| !differs(arg)).map(&left).collect(),
    };
    may_hold.map(of_rule).collect()
}

/// One rule after the other.
fn chain(assembler: &mut Assembler, rules: &[Rule], wide: bool, default: Label) -> Label {
    let mut next = default;
    for run in rules.chunk_by(|a, b| values_of_one(a, b, wide)).rev() {
        next = match run {
            [rule] => single(assembler, rule, wide, next),
            run => values(assembler, run, wide, next),
        };
    }
    next
}

/// Whether a whole argument is looked at for one value.
fn is_value(arg: &Comparison) -> bool {
    arg.order == Order::Equal && arg.mask == u64::MAX
}

/// Whether two rules in a row look for different values of one argument, with the same upper half: it is loaded
/// once then.
fn values_of_one(a: &Rule, b: &Rule, wide: bool) -> bool {
    match (a.args.as_slice(), b.args.as_slice()) {
        ([a], [b]) => {
            let of_low = |c: &Comparison| c.order == Order::Equal && c.holds && low(c.mask) == u32::MAX;
            let same_half = !wide || (high(a.mask) == high(b.mask) && high(a.value) == high(b.value));
            of_low(a) && of_low(b) && a.index == b.index && same_half
        }
        _ => false,
    }
}

fn values(assembler: &mut Assembler, run: &[Rule], wide: bool, next: Label) -> Label {
    let Some(arg) = run.first().and_then(|rule| rule.args.first()) else { return next };
    let offset = low_offset(arg.index);
    let loaded = assembler.again(offset, next);
    let mut label = loaded;
    for rule in run.iter().rev() {
        for arg in &rule.args {
            let action = assembler.returns(rule.action);
            label = assembler.branch(Test::Equal, low(arg.value), action, label);
        }
    }
    if label == loaded {
        return next;
    }
    label = assembler.load(offset, label);
    let half = Word { offset: high_offset(arg.index), mask: high(arg.mask), value: high(arg.value) };
    if wide { assembler.test(half, Test::Equal, label, next) } else { label }
}

fn single(assembler: &mut Assembler, rule: &Rule, wide: bool, next: Label) -> Label {
    let action = assembler.returns(rule.action);
    rule.args.iter().rev().fold(action, |yes, arg| comparison(assembler, arg, wide, yes, next))
}

/// Where words have 32 bits only the lower halves count, of the value too: as libseccomp has it.
fn comparison(assembler: &mut Assembler, arg: &Comparison, wide: bool, yes: Label, no: Label) -> Label {
    let (yes, no) = if arg.holds { (yes, no) } else { (no, yes) };
    let test = match arg.order {
        Order::Equal => Test::Equal,
        Order::Greater => Test::Greater,
        Order::GreaterEqual => Test::GreaterEqual,
    };
    let word = Word { offset: low_offset(arg.index), mask: low(arg.mask), value: low(arg.value) };
    let lower = assembler.test(word, test, yes, no);
    if !wide {
        return lower;
    }
    let word = Word { offset: high_offset(arg.index), mask: high(arg.mask), value: high(arg.value) };
    match arg.order {
        Order::Equal => assembler.test(word, Test::Equal, lower, no),
        // The upper halves decide, and where they are the same, the lower ones.
        _ if lower == yes => assembler.test(word, Test::GreaterEqual, yes, no),
        _ if lower == no => assembler.test(word, Test::Greater, yes, no),
        _ if word.value == 0 => assembler.test(word, Test::Equal, lower, yes),
        // A number above the largest there is none.
        _ if word.value == u32::MAX => assembler.test(word, Test::Equal, lower, no),
        _ => {
            let same = assembler.branch(Test::Equal, word.value, lower, no);
            let branch = assembler.branch(Test::Greater, word.value, yes, same);
            assembler.load(word.offset, branch)
        }
    }
}

const fn low(value: u64) -> u32 {
    (value & 0xffff_ffff) as u32
}

const fn high(value: u64) -> u32 {
    (value >> 32) as u32
}

const fn low_offset(index: u32) -> u32 {
    ARGS + 8 * index + if cfg!(target_endian = "little") { 0 } else { 4 }
}

const fn high_offset(index: u32) -> u32 {
    ARGS + 8 * index + if cfg!(target_endian = "little") { 4 } else { 0 }
}
