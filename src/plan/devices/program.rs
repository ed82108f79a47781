//! The rules of `resources.devices` as a program for cgroup v2: config-linux.md, "Allowed Device list", and
//! bpf(2), BPF_PROG_TYPE_CGROUP_DEVICE.

use super::DEFAULT;
use crate::error::{Doing, Result, invalid};
use crate::spec::oci::{LinuxDeviceCgroup, LinuxDeviceType};

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

/// One rule of `resources.devices`, with nothing left open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Rule {
    allow: bool,
    /// BPF_DEVCG_DEV_BLOCK (1), BPF_DEVCG_DEV_CHAR (2); `None` is both.
    kind: Option<u32>,
    major: Option<u32>,
    minor: Option<u32>,
    /// BPF_DEVCG_ACC_MKNOD (1), READ (2), WRITE (4).
    access: u32,
}

const MKNOD: u32 = 1;
const ALL: u32 = 7;
const CHAR: u32 = 2;

impl Rule {
    /// Whether everything that the other one speaks of is spoken of here, too.
    fn covers(&self, other: &Self) -> bool {
        self.has_devices_of(other) && other.access & !self.access == 0
    }

    fn has_devices_of(&self, other: &Self) -> bool {
        let wider = |own: Option<u32>, others: Option<u32>| own.is_none() || own == others;
        wider(self.kind, other.kind) && wider(self.major, other.major) && wider(self.minor, other.minor)
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
    let reduced = reduce(parsed).ok_or_else(too_many).doing(|| "linux.resources.devices")?;
    match reduced.as_slice() {
        [] => Ok(Rules::AllowAll),
        rules => assemble(rules).map(Rules::Program).doing(|| "linux.resources.devices"),
    }
}

/// More than the kernel's verifier gets through: it goes through what each one leaves of all before it.
const MOST: usize = 4096;

fn too_many() -> anyhow::Error {
    invalid("they are too many for one program")
}

/// Fewer rules that answer the same; `None` if they are more than any program has, which is not waited for.
fn reduce(rules: Vec<Rule>) -> Option<Vec<Rule>> {
    let mut reduced: Vec<Rule> = Vec::new();
    // From the last one: what a later rule says of all that this one speaks of has made it void.
    for mut rule in rules.into_iter().rev() {
        if reduced.iter().any(|later| later.covers(&rule)) {
            continue;
        }
        // Neighbours that answer the same can change places: what one says of another's devices that can say, too, so
        // that two become one, and one that is for every access has fewer instructions.
        let run = reduced.iter().rposition(|later| later.allow != rule.allow).map_or(0, |other| other + 1);
        let neighbours = reduced.split_off(run);
        let wider = neighbours.iter().filter(|later| later.has_devices_of(&rule));
        let access = wider.fold(rule.access, |access, later| access | later.access);
        rule.access = access;
        reduced.extend(neighbours.into_iter().filter(|later| !rule.covers(later)));
        reduced.push(rule);
        if reduced.len() > MOST {
            return None;
        }
    }
    // What no rule speaks of is allowed.
    while reduced.last().is_some_and(|first| first.allow) {
        reduced.pop();
    }
    reduced.reverse();
    Some(reduced)
}

/// What `linux.devices` names is not among it: whether that can be opened is for the configuration's rules to say.
fn always_allowed() -> Vec<Rule> {
    let any = Rule { allow: true, kind: None, major: None, minor: None, access: MKNOD };
    let char = |major, minor| Rule { kind: Some(CHAR), major: Some(major), minor, access: ALL, ..any };
    let mut rules = vec![any, char(136, None), char(5, Some(1)), char(5, Some(2))];
    rules.extend(DEFAULT.iter().map(|(_, major, minor)| char(*major, Some(*minor))));
    rules
}

fn parse(rule: &LinuxDeviceCgroup) -> Result<Rule> {
    let kind = match rule.typ() {
        None | Some(LinuxDeviceType::A) => None,
        Some(LinuxDeviceType::B) => Some(1),
        Some(LinuxDeviceType::C | LinuxDeviceType::U) => Some(CHAR),
        Some(LinuxDeviceType::P) => return Err(invalid("type p has no rules")),
    };
    // Absent and negative numbers are wildcards.
    let number = |n: Option<i64>| match n {
        Some(n) if n >= 0 => {
            u32::try_from(n).map(Some).ok().ok_or_else(|| invalid(format!("{n} is not a device number")))
        }
        _ => Ok(None),
    };
    let access = rule.access().as_deref().unwrap_or("rwm");
    let bit = |letter| match letter {
        'm' => Ok(MKNOD),
        'r' => Ok(2),
        'w' => Ok(4),
        other => Err(invalid(format!("access {access:?}: {other:?} is none of r, w, m"))),
    };
    let access_bits = access.chars().map(bit).collect::<Result<Vec<_>>>()?.into_iter().fold(0, |a, b| a | b);
    if access_bits == 0 {
        return Err(invalid("access is empty"));
    }
    Ok(Rule {
        allow: rule.allow(),
        kind,
        major: number(rule.major())?,
        minor: number(rule.minor())?,
        access: access_bits,
    })
}

/// One struct bpf_insn.
const fn insn(code: u8, dst: u8, src: u8, off: u16, imm: u32) -> u64 {
    code as u64 | (dst as u64 | (src as u64) << 4) << 8 | (off as u64) << 16 | (imm as u64) << 32
}

/// A register and what has to be in it.
type Test = (u8, u32);

/// An instruction, and the verdict that it goes to if it is a jump.
type Step = (u64, Option<bool>);

/// struct bpf_cgroup_dev_ctx { access_type, major, minor }: the type in the low half of access_type.
/// Each kind of access is decided by the last rule that names it. So the rules are tried from the end:
/// a denying one ends it if any access still open is its own, an allowing one takes its own off and
/// ends it when none is left.
///
/// To load it takes the kernel longer than most of what a container needs, and that by the number of jumps: so what
/// rules that follow each other have in common is tested once.
fn assemble(rules: &[Rule]) -> Result<Vec<u64>> {
    // r2 type, r3 the accesses still open, r4 major, r5 minor
    let mut program = vec![
        insn(LDXW, 2, 1, 0, 0),
        insn(MOV_REG, 3, 2, 0, 0),
        insn(AND, 2, 0, 0, 0xffff),
        insn(RSH, 3, 0, 0, 16),
        insn(LDXW, 4, 1, 4, 0),
        insn(LDXW, 5, 1, 8, 0),
    ];
    let for_all = |rule: &Rule| {
        rule.kind.is_none() && rule.major.is_none() && rule.minor.is_none() && rule.access == ALL
    };
    // What comes before a rule for everything has no effect; what no rule speaks of is allowed.
    let (last, rules) = match rules.iter().rposition(for_all) {
        Some(at) => (rules[at].allow, &rules[at + 1..]),
        None => (true, rules),
    };
    let mut jumps = Vec::new();
    // The tests that the last rule has passed, and where each is: it goes on behind all rules that share it.
    let mut passed: Vec<(Test, usize)> = Vec::new();
    for rule in sorted(rules).into_iter().rev() {
        let (tests, steps) = steps(rule);
        let shared = passed.iter().zip(&tests).take_while(|((test, _), own)| test == *own).count();
        let here = program.len();
        passed.drain(shared..).try_for_each(|(_, at)| land(&mut program, at, here))?;
        for (register, value) in tests.into_iter().skip(shared) {
            passed.push(((register, value), program.len()));
            program.push(insn(JNE, register, 0, 0, value));
        }
        for (step, verdict) in steps {
            jumps.extend(verdict.map(|allow| (program.len(), allow)));
            program.push(step);
        }
    }
    jumps.extend(passed.into_iter().map(|(_, at)| (at, last)));
    let ends = program.len();
    program.extend(verdict(last));
    // The kernel refuses what nothing leads to.
    if jumps.iter().any(|(_, allow)| *allow != last) {
        program.extend(verdict(!last));
    }
    for (at, allow) in jumps {
        land(&mut program, at, if allow == last { ends } else { ends + verdict(last).len() })?;
    }
    Ok(program)
}

/// Neighbours that answer the same can change places: by what they name.
fn sorted(rules: &[Rule]) -> Vec<Rule> {
    let mut rules = rules.to_vec();
    for neighbours in rules.chunk_by_mut(|one, next| one.allow == next.allow) {
        neighbours.sort_by_key(|rule| (rule.kind, rule.major, rule.minor));
    }
    rules
}

/// Has the jump that is there go to `target`, which is behind it.
fn land(program: &mut [u64], at: usize, target: usize) -> Result<()> {
    let offset = i16::try_from(target - at - 1);
    let offset = offset.ok().ok_or_else(too_many)?;
    program[at] |= u64::from(offset.unsigned_abs()) << 16;
    Ok(())
}

/// Whether a device is the one that a rule names, and what is done then.
fn steps(rule: Rule) -> (Vec<Test>, Vec<Step>) {
    let to = |test: u8, register: u8, value: u32| (insn(test, register, 0, 0, value), Some(rule.allow));
    let tests = [(2, rule.kind), (4, rule.major), (5, rule.minor)];
    let mut tests: Vec<Test> = tests.into_iter().filter_map(|(r, value)| Some((r, value?))).collect();
    // One that is for every access is decided by its last test.
    let decides = if rule.access == ALL { tests.pop() } else { None };
    let steps = match (decides, rule.allow) {
        (Some((register, value)), _) => vec![to(JEQ, register, value)],
        (None, true) => vec![(insn(AND, 3, 0, 0, ALL & !rule.access), None), to(JEQ, 3, 0)],
        (None, false) => {
            vec![(insn(MOV_REG, 1, 3, 0, 0), None), (insn(AND, 1, 0, 0, rule.access), None), to(JNE, 1, 0)]
        }
    };
    (tests, steps)
}

const LDXW: u8 = 0x61;
const MOV_REG: u8 = 0xbc;
const MOV: u8 = 0xb7;
const AND: u8 = 0x54;
const RSH: u8 = 0x74;
const JNE: u8 = 0x55;
const JEQ: u8 = 0x15;
const EXIT: u8 = 0x95;

fn verdict(allow: bool) -> [u64; 2] {
    [insn(MOV, 0, 0, 0, allow.into()), insn(EXIT, 0, 0, 0, 0)]
}

#[cfg(test)]
mod tests {
    use super::{ALL, Rule, Rules, assemble, reduce};
    use crate::error::Result;

    fn program(rules: &str) -> Result<Rules> {
        super::program(&serde_json::from_str::<Vec<_>>(rules).unwrap())
    }

    #[test]
    fn rules_that_allow_everything_need_no_program() {
        assert_eq!(program("[]").unwrap(), Rules::AllowAll);
        let denied_first = r#"[{"allow":false,"access":"rwm"},{"allow":true,"access":"rwm"}]"#;
        assert_eq!(program(denied_first).unwrap(), Rules::AllowAll);
        let read_and_rest = r#"[{"allow":false,"type":"c","access":"r"},{"allow":true,"access":"r"}]"#;
        assert_eq!(program(read_and_rest).unwrap(), Rules::AllowAll);
    }

    /// As many as a configuration of 16 MiB has.
    #[test]
    fn rules_without_end_are_refused() {
        let rule = |minor: u32| Rule {
            allow: minor % 2 == 0,
            kind: Some(2),
            major: Some(300),
            minor: Some(minor),
            access: ALL,
        };
        assert_eq!(reduce((0..300_000).map(rule).collect()), None);
        assert_eq!(reduce((0..500).map(rule).collect()).map(|rules| rules.len()), Some(499));
    }

    #[test]
    fn an_unknown_access_is_refused() {
        assert!(program(r#"[{"allow":false,"access":"x"}]"#).is_err());
        assert!(program(r#"[{"allow":false,"access":""}]"#).is_err());
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
                0x55 if r[dst] != imm => pc += off,
                0x15 if r[dst] == imm => pc += off,
                0x55 | 0x15 => {}
                0x95 => return r[0] == 1,
                other => panic!("instruction {other:#x}"),
            }
        }
    }

    /// The same in plain words: every single access bit is decided by the last rule that speaks of it.
    fn plain(rules: &[Rule], kind: u32, major: u32, minor: u32, access: u32) -> bool {
        [1, 2, 4].iter().filter(|bit| access & **bit != 0).all(|bit| {
            let speaks = |r: &&Rule| {
                r.kind.is_none_or(|k| k == kind)
                    && r.major.is_none_or(|m| m == major)
                    && r.minor.is_none_or(|m| m == minor)
                    && r.access & bit != 0
            };
            rules.iter().rev().find(speaks).is_none_or(|r| r.allow)
        })
    }

    #[test]
    fn the_program_answers_what_the_rules_say() {
        let rule = |allow, kind, major, minor, access| Rule { allow, kind, major, minor, access };
        let rules = [
            rule(false, None, None, None, ALL),
            rule(true, Some(2), Some(1), Some(3), ALL),
            rule(true, None, None, None, 1),
            rule(false, Some(1), Some(8), None, ALL),
            rule(true, Some(1), Some(8), Some(1), 2),
            rule(true, Some(1), Some(8), Some(1), 4),
            rule(false, Some(2), None, Some(4), 1),
        ];
        for count in 0..=rules.len() {
            let program = assemble(&rules[..count]).unwrap();
            let reduced = assemble(&reduce(rules[..count].to_vec()).unwrap()).unwrap();
            for kind in [1, 2] {
                for (major, minor) in [(1, 3), (1, 4), (8, 0), (8, 1), (5, 5)] {
                    for access in 1..=7 {
                        let expected = plain(&rules[..count], kind, major, minor, access);
                        for program in [&program, &reduced] {
                            let got = run(program, kind, major, minor, access);
                            assert_eq!(got, expected, "{count} {kind} {major}:{minor} {access}");
                        }
                    }
                }
            }
        }
    }

    /// All lists of a few rules in which one may make another void.
    #[test]
    fn fewer_rules_answer_the_same() {
        let kinds = [None, Some(2)];
        let numbers = [(None, None), (Some(1), None), (Some(1), Some(3)), (None, Some(3))];
        let mut all = Vec::new();
        for (kind, (major, minor)) in kinds.iter().flat_map(|kind| numbers.map(|n| (*kind, n))) {
            let rule = |allow, access| Rule { allow, kind, major, minor, access };
            all.extend([rule(true, ALL), rule(false, ALL), rule(true, 2), rule(false, 6)]);
        }
        let devices = [(1, 1, 3), (2, 1, 3), (2, 1, 4), (2, 8, 3), (2, 8, 4)];
        for (a, b, c) in all
            .iter()
            .flat_map(|a| all.iter().flat_map(move |b| [(a, b)]))
            .flat_map(|(a, b)| all.iter().step_by(3).map(move |c| (*a, *b, *c)))
        {
            let rules = [a, b, c];
            let program = assemble(&reduce(rules.to_vec()).unwrap()).unwrap();
            for (kind, major, minor) in devices {
                for access in [1, 2, 4, 6, 7] {
                    let expected = plain(&rules, kind, major, minor, access);
                    assert_eq!(run(&program, kind, major, minor, access), expected, "{rules:?} {access}");
                }
            }
        }
    }

    #[test]
    fn what_rules_have_in_common_is_tested_once() {
        let program = program(r#"[{"allow":false,"access":"rwm"}]"#).unwrap().into_program().unwrap();
        let tests = program.iter().filter(|insn| [0x55, 0x15].contains(&(*insn & 0xff))).count();
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
        assert_eq!(whole, least + 3);
    }
}
