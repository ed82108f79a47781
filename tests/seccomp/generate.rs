//! Profiles and questions out of a seed: the same seed makes the same.

use serde_json::{Value, json};

/// xorshift64*: Vigna, "An experimental exploration of Marsaglia's xorshift generators, scrambled".
#[derive(Clone, Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        // The state must not be 0, and small seeds should not resemble each other.
        let mut dice = Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        dice.next();
        dice
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() >> 33).unwrap() % limit
    }

    pub(crate) fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    pub(crate) fn pick<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.below(list.len())]
    }
}

const CALLS: &[&str] = &[
    "read",
    "write",
    "kill",
    "mkdir",
    "socket",
    "clone",
    "personality",
    "ioctl",
    "openat",
    "execve",
    "exit_group",
    "mmap",
    "prctl",
    "ptrace",
    "bind",
    "time",
    "no_such_call",
    "fchown",
    "bpf",
    "open_tree",
];
const ACTIONS: &[&str] = &[
    "SCMP_ACT_ALLOW",
    "SCMP_ACT_ERRNO",
    "SCMP_ACT_KILL",
    "SCMP_ACT_KILL_PROCESS",
    "SCMP_ACT_KILL_THREAD",
    "SCMP_ACT_LOG",
    "SCMP_ACT_NOTIFY",
    "SCMP_ACT_TRACE",
    "SCMP_ACT_TRAP",
];
const OPERATORS: &[&str] = &[
    "SCMP_CMP_NE",
    "SCMP_CMP_LT",
    "SCMP_CMP_LE",
    "SCMP_CMP_EQ",
    "SCMP_CMP_GE",
    "SCMP_CMP_GT",
    "SCMP_CMP_MASKED_EQ",
];
/// Where words and half words end, and what is near.
const BORDERS: &[u64] = &[
    0,
    1,
    2,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_fffe,
    0xffff_ffff,
    0x1_0000_0000,
    0x1_0000_0001,
    0x1_ffff_ffff,
    0x2_0000_0000,
    0x7fff_ffff_ffff_ffff,
    0x8000_0000_0000_0000,
    0xffff_ffff_0000_0000,
    0xffff_ffff_ffff_fffe,
    0xffff_ffff_ffff_ffff,
];

pub(crate) fn value(dice: &mut Dice) -> u64 {
    match dice.below(4) {
        0 => dice.next(),
        1 => dice.next() & 0xff,
        _ => *dice.pick(BORDERS),
    }
}

fn arg(dice: &mut Dice) -> Value {
    let index = if dice.one_in(3) { dice.below(6) } else { dice.below(2) };
    let mut arg = json!({ "index": index, "value": value(dice), "op": dice.pick(OPERATORS) });
    if arg["op"] == "SCMP_CMP_MASKED_EQ" {
        arg["valueTwo"] = json!(value(dice));
    }
    arg
}

fn rule(dice: &mut Dice) -> Value {
    let names: Vec<&str> = (0..=dice.below(3)).map(|_| *dice.pick(CALLS)).collect();
    let mut rule = json!({ "names": names, "action": dice.pick(ACTIONS) });
    let takes_errno = rule["action"] == "SCMP_ACT_ERRNO" || rule["action"] == "SCMP_ACT_TRACE";
    if takes_errno && dice.one_in(2) {
        rule["errnoRet"] = json!(dice.below(200));
    }
    if !dice.one_in(3) {
        rule["args"] = (0..=dice.below(3)).map(|_| arg(dice)).collect();
    }
    rule
}

/// A profile that says what a profile can say.
pub(crate) fn profile(dice: &mut Dice) -> Value {
    let rules: Value = (0..dice.below(9)).map(|_| rule(dice)).collect();
    let mut profile = json!({
        "defaultAction": dice.pick(ACTIONS), "syscalls": rules, "listenerPath": "/run/agent",
    });
    let archs: Vec<&str> = ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32", "SCMP_ARCH_AARCH64"]
        .into_iter()
        .filter(|_| dice.one_in(2))
        .collect();
    if dice.one_in(2) {
        profile["architectures"] = json!(archs);
    }
    profile
}
