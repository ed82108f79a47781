//! What a profile says, read plainly: config-linux.md, "Seccomp", rule by rule, without libseccomp. Only the
//! numbers of system calls are libseccomp's.
//!
//! Where the specification says nothing, what is expected is what runc and crun do, and both do what libseccomp
//! does; each such place is marked.

use std::collections::{BTreeSet, HashMap};

use libseccomp::{ScmpArch, ScmpSyscall};
use minidocker_oci::spec::oci::{
    Arch, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompOperator, LinuxSyscall,
};

use crate::bpf::Question;

pub(crate) const X86_64: u32 = 0xc000_003e;
pub(crate) const I386: u32 = 0x4000_0003;
/// The bit that tells an x32 call from one of x86-64.
pub(crate) const X32: u32 = 0x4000_0000;
const KILL: u32 = 0;

/// One rule for one machine's call.
#[derive(Debug)]
struct Rule {
    verdict: u32,
    args: Vec<LinuxSeccompArg>,
}

/// A profile, by machine and number.
#[derive(Debug)]
pub(crate) struct Rules {
    default: u32,
    archs: BTreeSet<&'static str>,
    by_call: HashMap<(&'static str, u32), Vec<Rule>>,
}

/// The machines whose calls are tried: of the processor that these tests run on.
const MACHINES: [(&str, Arch, ScmpArch); 3] = [
    ("x86-64", Arch::ScmpArchX86_64, ScmpArch::X8664),
    ("x86", Arch::ScmpArchX86, ScmpArch::X86),
    ("x32", Arch::ScmpArchX32, ScmpArch::X32),
];

/// The number of a call on one of them, if it has one.
pub(crate) fn number(name: &str, arch: ScmpArch) -> Option<u32> {
    let number = i32::from(ScmpSyscall::from_name_by_arch(name, arch).ok()?);
    match u32::try_from(number) {
        Ok(number) if arch == ScmpArch::X32 => Some(number | X32),
        Ok(number) => Some(number),
        // Calls that came to 32-bit x86 late have two ways in; this is the direct one.
        Err(_) if arch == ScmpArch::X86 => direct_on_x86(name),
        Err(_) => None,
    }
}

/// arch/x86/entry/syscalls/syscall_32.tbl: what had only socketcall(2) and ipc(2) before.
fn direct_on_x86(name: &str) -> Option<u32> {
    Some(match name {
        "socket" => 359,
        "socketpair" => 360,
        "bind" => 361,
        "connect" => 362,
        "listen" => 363,
        "accept4" => 364,
        "getsockopt" => 365,
        "setsockopt" => 366,
        "getsockname" => 367,
        "getpeername" => 368,
        "sendto" => 369,
        "sendmsg" => 370,
        "recvfrom" => 371,
        "recvmsg" => 372,
        "shutdown" => 373,
        _ => return None,
    })
}

/// All machines' numbers of a call.
pub(crate) fn questions(name: &str) -> Vec<(u32, u32)> {
    let audit = |machine: &str| if machine == "x86" { I386 } else { X86_64 };
    MACHINES.iter().filter_map(|(m, _, scmp)| Some((audit(m), number(name, *scmp)?))).collect()
}

impl Rules {
    pub(crate) fn new(profile: &LinuxSeccomp) -> Self {
        let listed = profile.architectures().clone().unwrap_or_default();
        let mut rules = Self {
            default: verdict(profile.default_action(), profile.default_errno_ret()),
            // The native one is always there.
            archs: MACHINES
                .iter()
                .filter(|(name, arch, _)| *name == "x86-64" || listed.contains(arch))
                .map(|(name, ..)| *name)
                .collect(),
            by_call: HashMap::new(),
        };
        for rule in profile.syscalls().iter().flatten() {
            for name in rule.names() {
                rules.add(name, rule);
            }
        }
        rules
    }

    fn add(&mut self, name: &str, rule: &LinuxSyscall) {
        let verdict = verdict(rule.action(), rule.errno_ret());
        let args = rule.args().clone().unwrap_or_default();
        let repeats = args.iter().any(|a| args.iter().filter(|b| a.index() == b.index()).count() > 1);
        // Unspecified: two comparisons of the same argument make each comparison of the rule a rule by itself.
        let each: Vec<Vec<LinuxSeccompArg>> = match repeats {
            true => args.into_iter().map(|arg| vec![arg]).collect(),
            false => vec![args],
        };
        for (machine, _, scmp) in MACHINES {
            let Some(number) = number(name, scmp) else { continue };
            let of_call = self.by_call.entry((machine, number)).or_default();
            of_call.extend(each.iter().map(|args| Rule { verdict, args: args.clone() }));
        }
    }

    /// The verdicts that are right. More than one only where rules contradict each other: the specification
    /// has no order among them, so that any of those that match will do.
    pub(crate) fn verdicts(&self, question: &Question) -> BTreeSet<u32> {
        let machine = match (question.arch, question.number & X32 != 0) {
            (X86_64, false) => "x86-64",
            (X86_64, true) => "x32",
            (I386, _) => "x86",
            _ => "another",
        };
        // Unspecified: a call of a machine that the profile does not name kills the thread.
        if !self.archs.contains(machine) {
            return [KILL].into();
        }
        let of_call = self.by_call.get(&(machine, question.number)).map(Vec::as_slice).unwrap_or_default();
        // Unspecified: where words have 32 bits the lower halves are compared, of the value too.
        let width = if machine == "x86-64" { u64::MAX } else { 0xffff_ffff };
        let holds =
            |arg: &LinuxSeccompArg| holds(arg, question.args[arg.index()] & width, arg.value() & width);
        let matching = of_call.iter().filter(|rule| rule.args.iter().all(holds));
        let all: BTreeSet<u32> = matching.map(|rule| rule.verdict).collect();
        if all.is_empty() { [self.default].into() } else { all }
    }
}

fn holds(arg: &LinuxSeccompArg, given: u64, value: u64) -> bool {
    match arg.op() {
        LinuxSeccompOperator::ScmpCmpNe => given != value,
        LinuxSeccompOperator::ScmpCmpLt => given < value,
        LinuxSeccompOperator::ScmpCmpLe => given <= value,
        LinuxSeccompOperator::ScmpCmpEq => given == value,
        LinuxSeccompOperator::ScmpCmpGe => given >= value,
        LinuxSeccompOperator::ScmpCmpGt => given > value,
        // seccomp_rule_add(3): SCMP_CMP_MASKED_EQ, mask, value. The value is taken under the mask.
        LinuxSeccompOperator::ScmpCmpMaskedEq => given & value == arg.value_two().unwrap_or(0) & value,
    }
}

/// linux/seccomp.h
fn verdict(action: LinuxSeccompAction, errno: Option<u32>) -> u32 {
    let errno = errno.unwrap_or(1);
    match action {
        LinuxSeccompAction::ScmpActKill | LinuxSeccompAction::ScmpActKillThread => KILL,
        LinuxSeccompAction::ScmpActKillProcess => 0x8000_0000,
        LinuxSeccompAction::ScmpActTrap => 0x0003_0000,
        LinuxSeccompAction::ScmpActErrno => 0x0005_0000 | errno,
        LinuxSeccompAction::ScmpActNotify => 0x7fc0_0000,
        LinuxSeccompAction::ScmpActTrace => 0x7ff0_0000 | errno,
        LinuxSeccompAction::ScmpActLog => 0x7ffc_0000,
        LinuxSeccompAction::ScmpActAllow => 0x7fff_0000,
    }
}
