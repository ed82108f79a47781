//! Classic BPF, written from the end: all jumps lead forward, so that their targets are there before them.

use std::collections::HashMap;

use crate::error::{Result, invalid};

/// BPF_MAXINSNS.
const MOST: usize = 4096;
/// As far as a conditional jump is made to lead; it could one instruction farther, which is room for a jump that
/// comes between.
const FAR: usize = 254;

// linux/bpf_common.h
const LOAD: u16 = 0x20;
const AND: u16 = 0x54;
const JUMP: u16 = 0x05;
const RETURN: u16 = 0x06;

/// What a word is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u16)]
pub(super) enum Test {
    /// BPF_JEQ
    Equal = 0x15,
    /// BPF_JGT
    Greater = 0x25,
    /// BPF_JGE
    GreaterEqual = 0x35,
    /// BPF_JSET
    AnyBit = 0x45,
}

/// An instruction: how many come after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Label(usize);

#[derive(Clone, Copy, Debug)]
struct Instruction {
    code: u16,
    k: u32,
    yes: Option<Label>,
    no: Option<Label>,
    /// Where `yes` and `no` lead in the end.
    meant: Option<(Label, Label)>,
}

/// What is known of the word that is loaded.
#[derive(Clone, Copy, Debug)]
enum Known {
    Is(u32),
    IsNot(u32),
    Nothing,
}

/// A word of struct seccomp_data under a mask, and what it is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Word {
    pub(super) offset: u32,
    pub(super) mask: u32,
    pub(super) value: u32,
}

/// A program that grows at its front.
#[derive(Debug, Default)]
pub(super) struct Assembler {
    /// The last instruction first.
    instructions: Vec<Instruction>,
    /// The same as an instruction, or a jump to it, where it would be too far: the nearest one.
    nearest: HashMap<Label, Label>,
    returns: HashMap<u32, Label>,
    tests: HashMap<(Word, Test, Label, Label), Label>,
}

impl Assembler {
    fn push(&mut self, code: u16, k: u32) -> Label {
        self.instructions.push(Instruction { code, k, yes: None, no: None, meant: None });
        Label(self.instructions.len() - 1)
    }

    /// The end, with SECCOMP_RET_*.
    pub(super) fn returns(&mut self, action: u32) -> Label {
        match self.returns.get(&action) {
            Some(label) => *label,
            None => {
                let label = self.push(RETURN, action);
                self.returns.insert(action, label);
                label
            }
        }
    }

    /// Loads a word of struct seccomp_data and goes on there.
    pub(super) fn load(&mut self, offset: u32, then: Label) -> Label {
        self.fall(then);
        self.push(LOAD, offset)
    }

    /// Makes what is written next go on there.
    fn fall(&mut self, to: Label) {
        if self.distance(to) > 0 {
            self.jump(to);
        }
    }

    fn jump(&mut self, to: Label) -> Label {
        // The error of a program that is too long comes before that of a jump.
        let distance = u32::try_from(self.distance(to)).unwrap_or(u32::MAX);
        self.push(JUMP, distance)
    }

    /// Asks the word that is loaded.
    pub(super) fn branch(&mut self, test: Test, k: u32, yes: Label, no: Label) -> Label {
        if let Some(label) = decided(test, k, yes, no) {
            return label;
        }
        let meant = Some((yes, no));
        let no = Some(self.near(no));
        let yes = Some(self.near(yes));
        self.instructions.push(Instruction { code: test as u16, k, yes, no, meant });
        Label(self.instructions.len() - 1)
    }

    /// Loads a word and asks it.
    pub(super) fn test(&mut self, word: Word, test: Test, yes: Label, no: Label) -> Label {
        // Nothing is left under an empty mask.
        if word.mask == 0 && test == Test::Equal {
            return if word.value == 0 { yes } else { no };
        }
        if let Some(label) = decided(test, word.value, yes, no) {
            return label;
        }
        let key = (word, test, yes, no);
        if let Some(label) = self.tests.get(&key) {
            return *label;
        }
        let branch = match (word.mask, word.value) {
            (u32::MAX, value) => {
                let (is, is_not) = match test {
                    Test::Equal => (Known::Is(value), Known::IsNot(value)),
                    _ => (Known::Nothing, Known::Nothing),
                };
                let sooner = (self.knowing(word.offset, is, yes), self.knowing(word.offset, is_not, no));
                let (yes, no) = if sooner.0 == sooner.1 { (yes, no) } else { sooner };
                self.branch(test, value, yes, no)
            }
            (mask, 0) if test == Test::Equal => self.branch(Test::AnyBit, mask, no, yes),
            (mask, value) => {
                let branch = self.branch(test, value, yes, no);
                self.fall(branch);
                self.push(AND, mask)
            }
        };
        let label = self.load(word.offset, branch);
        self.tests.insert(key, label);
        label
    }

    /// Where a way leads that loads a word again and asks what is known of it already.
    pub(super) fn again(&self, offset: u32, to: Label) -> Label {
        self.knowing(offset, Known::Nothing, to)
    }

    fn knowing(&self, offset: u32, known: Known, mut to: Label) -> Label {
        // Each step leads forward, so that there is an end.
        while let Some(instruction) = self.instructions.get(to.0) {
            let is_equal = instruction.code == Test::Equal as u16;
            let equal = match known {
                Known::Is(value) if is_equal => Some(value == instruction.k),
                Known::IsNot(value) if is_equal && value == instruction.k => Some(false),
                _ => None,
            };
            to = match (instruction.code, equal, instruction.meant) {
                (LOAD, ..) if instruction.k == offset && to.0 > 0 => Label(to.0 - 1),
                (_, Some(true), Some((yes, _))) => yes,
                (_, Some(false), Some((_, no))) => no,
                _ => break,
            };
        }
        to
    }

    /// An instruction that does the same and can be reached by a conditional jump written next.
    fn near(&mut self, label: Label) -> Label {
        let nearest = self.nearest.get(&label).copied().unwrap_or(label);
        if self.distance(nearest) <= FAR {
            return nearest;
        }
        let near = match self.instructions.get(label.0).copied() {
            Some(Instruction { code: RETURN, k, .. }) => self.push(RETURN, k),
            _ => self.jump(label),
        };
        self.nearest.insert(label, near);
        near
    }

    /// How many instructions the next one would pass over on its way to this one.
    fn distance(&self, to: Label) -> usize {
        self.instructions.len() - to.0 - 1
    }

    /// struct sock_filter by struct sock_filter.
    pub(super) fn finish(self) -> Result<Vec<u8>> {
        let count = self.instructions.len();
        if count > MOST {
            return Err(invalid(format!("{count} instructions, the kernel takes {MOST}")));
        }
        let mut program = Vec::with_capacity(count * crate::sys::seccomp::INSTRUCTION);
        for (at, instruction) in self.instructions.iter().enumerate().rev() {
            let jump = |to: Option<Label>| u8::try_from(to.map_or(0, |to| at - to.0 - 1));
            program.extend(instruction.code.to_ne_bytes());
            program.extend([jump(instruction.yes)?, jump(instruction.no)?]);
            program.extend(instruction.k.to_ne_bytes());
        }
        Ok(program)
    }
}

/// Where a test leads that says the same of every word, or makes no difference.
fn decided(test: Test, k: u32, yes: Label, no: Label) -> Option<Label> {
    match (test, k) {
        (Test::GreaterEqual, 0) => Some(yes),
        (Test::Greater, u32::MAX) => Some(no),
        _ => (yes == no).then_some(yes),
    }
}
