//! The rules of `resources.devices` as a program for cgroup v2: bpf(2), BPF_PROG_TYPE_CGROUP_DEVICE.

use std::collections::BTreeMap;

use super::rules::{ALL, Kind, always_allowed, parse};
use super::table::{ByNumber, Majors, Minors, Table};
use crate::error::{Doing, Result, invalid};
use crate::spec::oci::LinuxDeviceCgroup;

/// What the rules come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rules {
    /// Everything is allowed, which is what a cgroup without a program does.
    AllowAll,
    /// Each u64 is one instruction.
    Program(Vec<u64>),
}

impl Rules {
    /// The program, if there has to be one.
    pub fn into_program(self) -> Option<Vec<u64>> {
        match self {
            Self::AllowAll => None,
            Self::Program(program) => Some(program),
        }
    }
}

/// The rules as a program.
///
/// A container that is denied everything could not even use its /dev/null: as all runtimes do, the
/// default devices and the ptys are allowed after the configuration's rules, and mknod of any device.
pub fn program(rules: &[LinuxDeviceCgroup]) -> Result<Rules> {
    let rule = |(index, rule)| parse(rule).doing(|| format!("linux.resources.devices[{index}]"));
    let mut parsed = rules.iter().enumerate().map(rule).collect::<Result<Vec<_>>>()?;
    parsed.extend(always_allowed());
    let table = Table::of(&parsed).ok_or_else(too_many).doing(|| "linux.resources.devices")?;
    match table.allows_all() {
        true => Ok(Rules::AllowAll),
        false => assemble(&table).map(Rules::Program).doing(|| "linux.resources.devices"),
    }
}

fn too_many() -> anyhow::Error {
    invalid(
        "they tell more devices apart than one program can: give whole majors, without minor, for many of one kind",
    )
}

/// struct bpf_cgroup_dev_ctx { access_type, major, minor }: the type in the low half of access_type.
///
/// Before it loads a program, the kernel goes through all ways that lead through it, which takes longer than most of
/// what a container needs. So this is a tree: first the type, then the major, then the minor is looked for, none of them
/// twice, and where ways meet nothing that they have found out is looked at any more.
fn assemble(table: &Table) -> Result<Vec<u64>> {
    let mut assembler = Assembler {
        code: vec![
            insn(LDXW, TYPE, CONTEXT, 0, 0),
            insn(MOV_REG, ACCESS, TYPE, 0, 0),
            insn(AND, TYPE, 0, 0, 0xffff),
            insn(RSH, ACCESS, 0, 0, 16),
            insn(LDXW, MAJOR, CONTEXT, 4, 0),
            insn(LDXW, MINOR, CONTEXT, 8, 0),
        ],
        open: BTreeMap::new(),
    };
    if table.block != table.char {
        assembler.jump(insn(JNE, TYPE, 0, 0, Kind::Char as u32), Target::of_majors(&table.block));
    }
    assembler.jump(insn(JA, 0, 0, 0, 0), Target::of_majors(&table.char));
    assembler.finish()
}

/// What is left to find out. Of these, each leads to later ones only: the kernel wants no way back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Target<'t> {
    /// By the major and minor.
    Majors(&'t Majors),
    /// By the minor.
    Minors(&'t Minors),
    /// Whether there is no access but these.
    Only(u8),
    /// Nothing.
    Verdict(bool),
}

impl<'t> Target<'t> {
    fn of_majors(majors: &'t Majors) -> Self {
        majors.only().map_or(Self::Majors(majors), Self::of_minors)
    }

    fn of_minors(minors: &'t Minors) -> Self {
        minors.only().map_or(Self::Minors(minors), |allowed| Self::of_accesses(*allowed))
    }

    fn of_accesses(allowed: u8) -> Self {
        match allowed {
            0 => Self::Verdict(false),
            ALL => Self::Verdict(true),
            some => Self::Only(some),
        }
    }
}

/// A program that grows.
struct Assembler<'t> {
    code: Vec<u64>,
    /// What is not there yet, and the jumps that are to go to it.
    open: BTreeMap<Target<'t>, Vec<usize>>,
}

impl<'t> Assembler<'t> {
    fn jump(&mut self, jump: u64, target: Target<'t>) {
        self.open.entry(target).or_default().push(self.code.len());
        self.code.push(jump);
    }

    fn finish(mut self) -> Result<Vec<u64>> {
        while let Some((target, mut jumps)) = self.open.pop_first() {
            // From right before it, nothing has to jump.
            if self.code.last() == Some(&insn(JA, 0, 0, 0, 0)) && jumps.last() == Some(&(self.code.len() - 1))
            {
                jumps.pop();
                self.code.pop();
            }
            jumps.into_iter().try_for_each(|at| self.land(at))?;
            match target {
                Target::Majors(majors) => self.search(MAJOR, majors, Target::of_minors)?,
                Target::Minors(minors) => {
                    self.search(MINOR, minors, |allowed| Target::of_accesses(*allowed))?
                }
                Target::Only(allowed) => {
                    self.code.push(insn(AND, ACCESS, 0, 0, (ALL & !allowed).into()));
                    self.jump(insn(JNE, ACCESS, 0, 0, 0), Target::Verdict(false));
                    self.jump(insn(JA, 0, 0, 0, 0), Target::Verdict(true));
                }
                Target::Verdict(allow) => {
                    self.code.extend([insn(MOV, 0, 0, 0, allow.into()), insn(EXIT, 0, 0, 0, 0)]);
                }
            }
        }
        Ok(self.code)
    }

    fn search<T>(
        &mut self,
        register: u8,
        all: &'t ByNumber<T>,
        target: fn(&'t T) -> Target<'t>,
    ) -> Result<()> {
        let named: Vec<_> = all.named.iter().map(|(number, value)| (*number, target(value))).collect();
        self.search_among(register, &named, target(&all.others))
    }

    /// By halves, down to so few that one after the other is as good.
    fn search_among(&mut self, register: u8, named: &[(u32, Target<'t>)], others: Target<'t>) -> Result<()> {
        const FEW: usize = 8;
        if named.len() <= FEW {
            for (number, target) in named {
                self.jump(insn(JEQ, register, 0, 0, *number), *target);
            }
            self.jump(insn(JA, 0, 0, 0, 0), others);
            return Ok(());
        }
        let (low, high) = named.split_at(named.len() / 2);
        let to_high = self.code.len();
        self.code.push(insn(JGE, register, 0, 0, high[0].0));
        self.search_among(register, low, others)?;
        self.land(to_high)?;
        self.search_among(register, high, others)
    }

    /// Has the jump that is there go to what comes next.
    fn land(&mut self, at: usize) -> Result<()> {
        let offset = i16::try_from(self.code.len() - at - 1).ok().ok_or_else(too_many)?;
        self.code[at] |= u64::from(offset.unsigned_abs()) << 16;
        Ok(())
    }
}

/// One struct bpf_insn.
const fn insn(code: u8, dst: u8, src: u8, off: u16, imm: u32) -> u64 {
    code as u64 | (dst as u64 | (src as u64) << 4) << 8 | (off as u64) << 16 | (imm as u64) << 32
}

const CONTEXT: u8 = 1;
const TYPE: u8 = 2;
const ACCESS: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;

const LDXW: u8 = 0x61;
const MOV_REG: u8 = 0xbc;
const MOV: u8 = 0xb7;
const AND: u8 = 0x54;
const RSH: u8 = 0x74;
/// The other jumps are those of the class BPF_JMP32, since Linux 5.1: numbers have 32 bits, all of which are compared.
const JA: u8 = 0x05;
const JEQ: u8 = 0x16;
const JNE: u8 = 0x56;
const JGE: u8 = 0x36;
const EXIT: u8 = 0x95;

#[cfg(test)]
mod tests {
    use super::{Rules, assemble};
    use crate::error::Result;
    use crate::plan::devices::rules::{ALL, Kind, Rule};
    use crate::plan::devices::table::Table;

    fn program(rules: &str) -> Result<Rules> {
        super::program(&serde_json::from_str::<Vec<_>>(rules).unwrap())
    }

    fn assembled(rules: &[Rule]) -> Vec<u64> {
        assemble(&Table::of(rules).unwrap()).unwrap()
    }

    #[test]
    fn rules_that_allow_everything_need_no_program() {
        assert_eq!(program("[]").unwrap(), Rules::AllowAll);
        let denied_first = r#"[{"allow":false,"access":"rwm"},{"allow":true,"access":"rwm"}]"#;
        assert_eq!(program(denied_first).unwrap(), Rules::AllowAll);
        let read_and_rest = r#"[{"allow":false,"type":"c","access":"r"},{"allow":true,"access":"r"}]"#;
        assert_eq!(program(read_and_rest).unwrap(), Rules::AllowAll);
    }

    /// What a program answers: the few instructions that `assemble` uses.
    fn run(program: &[u64], kind: u32, major: u32, minor: u32, access: u32) -> bool {
        let context = [access << 16 | kind, major, minor];
        let mut r = [0u64; 6];
        let mut pc = 0;
        loop {
            let i = program[pc];
            let (code, dst, src) =
                (i & 0xff, usize::try_from(i >> 8 & 15).unwrap(), usize::try_from(i >> 12 & 15).unwrap());
            let (off, imm) = (usize::try_from(i >> 16 & 0xffff).unwrap(), i >> 32);
            pc += 1;
            match code {
                0x61 => r[dst] = context[off / 4].into(),
                0xbc => r[dst] = r[src],
                0xb7 => r[dst] = imm,
                0x54 => r[dst] &= imm,
                0x74 => r[dst] >>= imm,
                0x05 => pc += off,
                0x56 if r[dst] != imm => pc += off,
                0x16 if r[dst] == imm => pc += off,
                0x36 if r[dst] >= imm => pc += off,
                0x56 | 0x16 | 0x36 => {}
                0x95 => return r[0] == 1,
                other => panic!("instruction {other:#x}"),
            }
        }
    }

    /// The same in plain words: every single access bit is decided by the last rule that speaks of it.
    fn plain(rules: &[Rule], kind: u32, major: u32, minor: u32, access: u32) -> bool {
        [1u8, 2, 4].iter().filter(|bit| access & u32::from(**bit) != 0).all(|bit| {
            let speaks = |r: &&Rule| {
                r.kind.is_none_or(|k| k as u32 == kind)
                    && r.major.is_none_or(|m| m == major)
                    && r.minor.is_none_or(|m| m == minor)
                    && r.access & bit != 0
            };
            rules.iter().rev().find(speaks).is_none_or(|r| r.allow)
        })
    }

    #[track_caller]
    fn answers_what_they_say(rules: &[Rule], devices: impl Iterator<Item = (u32, u32, u32)>) {
        let program = assembled(rules);
        for (kind, major, minor) in devices {
            for access in 1..=7 {
                let expected = plain(rules, kind, major, minor, access);
                let got = run(&program, kind, major, minor, access);
                assert_eq!(got, expected, "{rules:?}: {kind} {major}:{minor} {access}");
            }
        }
    }

    #[test]
    fn the_program_answers_what_the_rules_say() {
        let rule = |allow, kind, major, minor, access| Rule { allow, kind, major, minor, access };
        let (block, char) = (Some(Kind::Block), Some(Kind::Char));
        let rules = [
            rule(false, None, None, None, ALL),
            rule(true, char, Some(1), Some(3), ALL),
            rule(true, None, None, None, 1),
            rule(false, block, Some(8), None, ALL),
            rule(true, block, Some(8), Some(1), 2),
            rule(true, block, Some(8), Some(1), 4),
            rule(false, char, None, Some(4), 1),
        ];
        for count in 1..=rules.len() {
            let numbers = [(1, 3), (1, 4), (8, 0), (8, 1), (5, 5)];
            let devices =
                [1, 2].into_iter().flat_map(|kind| numbers.map(|(major, minor)| (kind, major, minor)));
            answers_what_they_say(&rules[..count], devices);
        }
    }

    /// All lists of a few rules in which one may make another void.
    #[test]
    fn however_rules_overlap_the_last_one_decides() {
        let kinds = [None, Some(Kind::Char)];
        let numbers = [(None, None), (Some(1), None), (Some(1), Some(3)), (None, Some(3))];
        let mut all = Vec::new();
        for (kind, (major, minor)) in kinds.iter().flat_map(|kind| numbers.map(|n| (*kind, n))) {
            let rule = |allow, access| Rule { allow, kind, major, minor, access };
            all.extend([rule(true, ALL), rule(false, ALL), rule(true, 2), rule(false, 6)]);
        }
        let devices = [(1, 1, 3), (2, 1, 3), (2, 1, 4), (2, 8, 3), (2, 8, 4)];
        for (a, b) in all.iter().flat_map(|a| all.iter().map(move |b| (*a, *b))) {
            for c in all.iter().step_by(3) {
                answers_what_they_say(&[a, b, *c], devices.into_iter());
            }
        }
    }

    /// With numbers on both sides of every half, and of all that there are.
    #[test]
    fn each_of_a_thousand_numbers_is_found() {
        let deny = Rule { allow: false, kind: None, major: None, minor: None, access: ALL };
        let number = |n: u32| if n < 500 { 3 * n + 1 } else { u32::MAX - 3 * n };
        let minors = (0..1000).map(|n| Rule {
            allow: true,
            kind: Some(Kind::Char),
            major: Some(7),
            minor: Some(number(n)),
            access: [2, 6, ALL][n as usize % 3],
        });
        let majors = (0..1000).map(|n| Rule {
            allow: true,
            kind: None,
            major: Some(number(n)),
            minor: None,
            access: 2,
        });
        let rules: Vec<Rule> = std::iter::once(deny).chain(majors).chain(minors).collect();
        let program = assembled(&rules);
        assert!(program.len() < 4000, "{}", program.len());
        let near = |n: u32| [n.wrapping_sub(1), n, n.wrapping_add(1)];
        for n in (0..1000).step_by(7).flat_map(|n| near(number(n))) {
            for (kind, major, minor) in [(2, 7, n), (2, n, 7), (1, n, n)] {
                for access in [2, 4, 6] {
                    let expected = plain(&rules, kind, major, minor, access);
                    assert_eq!(run(&program, kind, major, minor, access), expected, "{kind} {major}:{minor}");
                }
            }
        }
    }

    #[test]
    fn more_devices_than_a_program_can_tell_apart_are_refused() {
        let rules = (0..40_000)
            .map(|n| format!(r#"{{"allow":{},"minor":{n},"major":{n},"access":"rwm"}}"#, n % 2 == 0));
        let error = program(&format!("[{}]", rules.collect::<Vec<_>>().join(","))).unwrap_err();
        assert!(format!("{error:#}").contains("give whole majors"), "{error:#}");
    }

    #[test]
    fn what_rules_have_in_common_is_tested_once() {
        let program = program(r#"[{"allow":false,"access":"rwm"}]"#).unwrap().into_program().unwrap();
        let tests = program.iter().filter(|insn| [0x56, 0x16, 0x36].contains(&(*insn & 0xff))).count();
        // Character devices; majors 1, 5 and 136; five minors of the first and three of the second; mknod.
        assert_eq!(tests, 1 + 3 + 5 + 3 + 1);
    }

    #[test]
    fn what_has_no_effect_is_not_in_the_program() {
        let length = |rules: &str| program(rules).unwrap().into_program().map_or(0, |program| program.len());
        let deny = r#"{"allow":false,"access":"rwm"}"#;
        let least = length(&format!("[{deny}]"));
        let null = r#"{"allow":true,"type":"c","major":1,"minor":3,"access":"rwm"}"#;
        let any = r#"{"allow":true,"type":"c","access":"m"}"#;
        assert_eq!(length(&format!("[{null},{deny},{any},{null},{null}]")), least);
        let half =
            |access: &str| format!(r#"{{"allow":true,"type":"b","major":8,"minor":0,"access":"{access}"}}"#);
        let whole = length(&format!("[{deny},{}]", half("rwm")));
        assert_eq!(length(&format!("[{deny},{},{},{}]", half("r"), half("w"), half("m"))), whole);
        // The major, the minor, and what it is otherwise, of each.
        assert_eq!(whole, least + 4);
    }
}
