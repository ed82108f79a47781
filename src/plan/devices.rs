//! Devices: config-linux.md, "Devices" and "Default Devices", and the rules of `resources.devices` as
//! a program for cgroup v2.

use std::path::Path;

use crate::error::{Doing, Result, invalid};
use crate::rootpath::InRootfs;
use crate::spec::oci::{Linux, LinuxDevice, LinuxDeviceCgroup, LinuxDeviceType};

/// A device node that the container has to have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// `linux.devices[i]`, or what the specification calls it.
    pub name: String,
    /// Where in the container.
    pub at: InRootfs,
    /// S_IFCHR, S_IFBLK or S_IFIFO.
    pub file_type: u32,
    /// 0 for a FIFO.
    pub major: u32,
    /// 0 for a FIFO.
    pub minor: u32,
    /// Permission bits.
    pub mode: u32,
    /// Owner in the container.
    pub uid: u32,
    /// Group in the container.
    pub gid: u32,
}

/// A symbolic link in /dev.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Where in the container.
    pub at: InRootfs,
    /// What it holds.
    pub target: &'static str,
}

/// config-linux.md, "Default Devices"; /dev/console comes with the terminal, /dev/ptmx is a link.
const DEFAULT: [(&str, u32, u32); 6] = [
    ("/dev/null", 1, 3),
    ("/dev/zero", 1, 5),
    ("/dev/full", 1, 7),
    ("/dev/random", 1, 8),
    ("/dev/urandom", 1, 9),
    ("/dev/tty", 5, 0),
];

/// runtime-linux.md, "Dev symbolic links", and the ptmx of the container's own devpts.
const LINKS: [(&str, &str); 5] = [
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
    ("/dev/ptmx", "pts/ptmx"),
];

/// The nodes: those of the configuration, and the default ones that it does not name itself.
pub fn nodes(linux: &Linux) -> Result<Vec<Device>> {
    let mut devices = Vec::new();
    for (index, device) in linux.devices().iter().flatten().enumerate() {
        let name = format!("linux.devices[{index}] {}", device.path().display());
        devices.push(node(&name, device).doing(|| name.clone())?);
    }
    for (path, major, minor) in DEFAULT {
        let at = InRootfs::new(Path::new(path))?;
        if devices.iter().all(|d| d.at != at) {
            let name = format!("default device {path}");
            let (uid, gid) = (0, 0);
            devices.push(Device { name, at, file_type: libc::S_IFCHR, major, minor, mode: 0o666, uid, gid });
        }
    }
    Ok(devices)
}

/// The links, less those whose place a device of the configuration takes.
pub fn links(devices: &[Device]) -> Result<Vec<Link>> {
    let links = LINKS.iter().map(|(path, target)| Ok(Link { at: InRootfs::new(Path::new(path))?, target }));
    let links: Vec<Link> = links.collect::<Result<_>>()?;
    Ok(links.into_iter().filter(|l| devices.iter().all(|d| d.at != l.at)).collect())
}

fn node(name: &str, device: &LinuxDevice) -> Result<Device> {
    let file_type = match device.typ() {
        LinuxDeviceType::C | LinuxDeviceType::U => libc::S_IFCHR,
        LinuxDeviceType::B => libc::S_IFBLK,
        LinuxDeviceType::P => libc::S_IFIFO,
        LinuxDeviceType::A => return Err(invalid("type a is for rules of resources.devices")),
    };
    let number = |what: &str, number: i64| {
        u32::try_from(number).ok().ok_or_else(|| invalid(format!("{what} {number} is not a device number")))
    };
    let (major, minor) = match file_type {
        libc::S_IFIFO => (0, 0),
        _ => (number("major", device.major())?, number("minor", device.minor())?),
    };
    Ok(Device {
        name: name.to_owned(),
        at: InRootfs::absolute(device.path())?,
        file_type,
        major,
        minor,
        mode: device.file_mode().unwrap_or(0o666) & 0o7777,
        uid: device.uid().unwrap_or(0),
        gid: device.gid().unwrap_or(0),
    })
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

/// The rules of `resources.devices` as a program; `None` if they allow everything, which is what a
/// cgroup without a program does.
///
/// A container that is denied everything could not even use its /dev/null: as all runtimes do, the
/// default devices and the ptys are allowed after the configuration's rules, and mknod of any device.
pub fn program(linux: &Linux) -> Result<Option<Vec<u64>>> {
    let rules = linux.resources().as_ref().and_then(|r| r.devices().as_deref()).unwrap_or_default();
    let rule = |(index, rule)| parse(rule).doing(|| format!("linux.resources.devices[{index}]"));
    let mut parsed = rules.iter().enumerate().map(rule).collect::<Result<Vec<_>>>()?;
    // What a rule for everything follows has no effect.
    let everything = |r: &Rule| r.kind.is_none() && r.major.is_none() && r.minor.is_none() && r.access == ALL;
    if let Some(last) = parsed.iter().rposition(everything) {
        parsed.drain(..last);
    }
    if parsed.iter().all(|rule| rule.allow) {
        return Ok(None);
    }
    parsed.extend(always_allowed());
    Ok(Some(assemble(&parsed)))
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

/// struct bpf_cgroup_dev_ctx { access_type, major, minor }: the type in the low half of access_type.
/// Each kind of access is decided by the last rule that names it. So the rules are tried from the end:
/// a denying one ends it if any access still open is its own, an allowing one takes its own off and
/// ends it when none is left.
fn assemble(rules: &[Rule]) -> Vec<u64> {
    // r2 type, r3 the accesses still open, r4 major, r5 minor
    let mut program = vec![
        insn(LDXW, 2, 1, 0, 0),
        insn(MOV_REG, 3, 2, 0, 0),
        insn(AND, 2, 0, 0, 0xffff),
        insn(RSH, 3, 0, 0, 16),
        insn(LDXW, 4, 1, 4, 0),
        insn(LDXW, 5, 1, 8, 0),
    ];
    for rule in rules.iter().rev() {
        let body = body(*rule);
        let tests: Vec<_> = [(2, rule.kind), (4, rule.major), (5, rule.minor)]
            .into_iter()
            .filter_map(|(register, value)| value.map(|value| (register, value)))
            .collect();
        let decides_all = tests.is_empty() && rule.access == ALL;
        let count = tests.len();
        for (at, (register, value)) in tests.into_iter().enumerate() {
            #[expect(clippy::cast_possible_truncation, reason = "a rule has at most eight instructions")]
            let over = (count - at - 1 + body.len()) as u16;
            program.push(insn(JNE, register, 0, over, value));
        }
        program.extend(body);
        if decides_all {
            return program;
        }
    }
    program.extend(verdict(true));
    program
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

/// What is done for a device that a rule names.
fn body(rule: Rule) -> Vec<u64> {
    let mut body = match (rule.access, rule.allow) {
        (ALL, _) => vec![],
        (access, true) => vec![insn(AND, 3, 0, 0, ALL & !access), insn(JNE, 3, 0, 2, 0)],
        (access, false) => vec![insn(MOV_REG, 1, 3, 0, 0), insn(AND, 1, 0, 0, access), insn(JEQ, 1, 0, 2, 0)],
    };
    body.extend(verdict(rule.allow));
    body
}

#[cfg(test)]
mod tests {
    use super::{ALL, Rule, assemble, links, nodes, program};
    use crate::spec::oci::Linux;

    fn linux(json: &str) -> Linux {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn a_device_of_the_configuration_takes_the_place_of_a_default_one() {
        let linux =
            linux(r#"{"devices":[{"path":"/dev/null","type":"c","major":1,"minor":3,"fileMode":384}]}"#);
        let nodes = nodes(&linux).unwrap();
        assert_eq!(
            nodes.iter().filter(|d| d.at.is("/dev/null")).map(|d| d.mode).collect::<Vec<_>>(),
            [0o600]
        );
        assert_eq!(nodes.len(), 6);
        assert_eq!(links(&nodes).unwrap().len(), 5);
    }

    #[test]
    fn rules_that_allow_everything_need_no_program() {
        assert_eq!(program(&linux("{}")).unwrap(), None);
        let all =
            r#"{"resources":{"devices":[{"allow":false,"access":"rwm"},{"allow":true,"access":"rwm"}]}}"#;
        assert_eq!(program(&linux(all)).unwrap(), None);
    }

    #[test]
    fn an_unknown_access_is_refused() {
        assert!(program(&linux(r#"{"resources":{"devices":[{"allow":false,"access":"x"}]}}"#)).is_err());
        assert!(program(&linux(r#"{"resources":{"devices":[{"allow":false,"access":""}]}}"#)).is_err());
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
            let program = assemble(&rules[..count]);
            for kind in [1, 2] {
                for (major, minor) in [(1, 3), (1, 4), (8, 0), (8, 1), (5, 5)] {
                    for access in 1..=7 {
                        let got = run(&program, kind, major, minor, access);
                        assert_eq!(
                            got,
                            plain(&rules[..count], kind, major, minor, access),
                            "{count} {kind} {major}:{minor} {access}"
                        );
                    }
                }
            }
        }
    }
}
