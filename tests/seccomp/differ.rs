//! A profile's program and its rules, asked the same.

use minidocker_oci::error::Result;
use minidocker_oci::plan::seccomp;
use minidocker_oci::spec::oci::{LinuxSeccomp, LinuxSyscall};

use crate::bpf::{Program, Question};
use crate::generate::{Dice, value};
use crate::rules::{I386, Rules, X32, X86_64, questions};

/// As for a container.
pub(crate) fn compile(profile: &LinuxSeccomp) -> Result<Program> {
    Ok(Program::new(&seccomp::filter(&seccomp::plan(profile)?)?))
}

/// Both, and what is interesting about them.
#[derive(Debug)]
pub(crate) struct Differ<'a> {
    program: &'a Program,
    rules: Rules,
    calls: Vec<(u32, u32)>,
    values: Vec<u64>,
}

/// socketcall(2) and ipc(2) of 32-bit x86: libseccomp has rules for the calls behind them say something of
/// these, too, which the specification does not mention.
const MULTIPLEXERS: [(u32, u32); 2] = [(I386, 102), (I386, 117)];

impl<'a> Differ<'a> {
    pub(crate) fn new(profile: &LinuxSeccomp, program: &'a Program) -> Self {
        let rules = || profile.syscalls().iter().flatten();
        let mut calls: Vec<(u32, u32)> =
            rules().flat_map(LinuxSyscall::names).flat_map(|name| questions(name)).collect();
        // Calls without a rule, and machines that are not in any profile.
        calls.extend([(X86_64, 39), (X86_64, 5000), (X86_64, X32 | 39), (I386, 20), (0x16, 3), (0, 0)]);
        calls.sort_unstable();
        calls.dedup();
        calls.retain(|call| !MULTIPLEXERS.contains(call));
        let mut values = vec![0, u64::MAX];
        for arg in rules().flat_map(|rule| rule.args().clone().unwrap_or_default()) {
            for near in [arg.value(), arg.value_two().unwrap_or(0)] {
                values.extend([near, near.wrapping_add(1), near.wrapping_sub(1), !near]);
                values.extend([near ^ 1 << 32, near ^ 1 << 63, near & 0xffff_ffff, near << 32]);
            }
        }
        values.sort_unstable();
        values.dedup();
        Self { program, rules: Rules::new(profile), calls, values }
    }

    /// Asks one question.
    pub(crate) fn ask(&self, question: &Question) -> Result<(), String> {
        let (verdict, _) = self.program.verdict(question)?;
        let right = self.rules.verdicts(question);
        match right.contains(&verdict) {
            true => Ok(()),
            false => Err(format!("{question:x?}: the program says {verdict:#x}, the rules {right:x?}")),
        }
    }

    /// Asks of every call: with each interesting value in each of the first arguments, and with mixed ones.
    pub(crate) fn all(&self, dice: &mut Dice, rounds: usize) -> Result<(), String> {
        for &(arch, number) in &self.calls {
            for index in 0..6 {
                for value in &self.values {
                    let mut args = [0; 6];
                    args[index] = *value;
                    self.ask(&Question { number, arch, args })?;
                }
            }
            for _ in 0..rounds * 20 {
                let mut args = [0; 6];
                for arg in &mut args {
                    *arg = if dice.one_in(2) { *dice.pick(&self.values) } else { value(dice) };
                }
                self.ask(&Question { number, arch, args })?;
            }
        }
        Ok(())
    }
}
