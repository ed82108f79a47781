//! A classic BPF machine in user space, as seccomp(2) has it: the instructions that libseccomp writes.
//!
//! It stands here for more than one test program: the differential tests, the fuzz target, and the unit tests of
//! the frontend's profile.

/// What a filter is asked about: struct seccomp_data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Question {
    pub(crate) number: u32,
    /// AUDIT_ARCH_*
    pub(crate) arch: u32,
    pub(crate) args: [u64; 6],
}

impl Question {
    /// The word at this offset; the instruction pointer is 0.
    fn word(&self, offset: u32) -> Option<u32> {
        let half =
            |value: u64, high: bool| u32::try_from(if high { value >> 32 } else { value & 0xffff_ffff });
        match offset {
            0 => Some(self.number),
            4 => Some(self.arch),
            8 | 12 => Some(0),
            16..64 if offset % 4 == 0 => {
                let high = (offset % 8 == 4) == cfg!(target_endian = "little");
                half(self.args[(offset as usize - 16) / 8], high).ok()
            }
            _ => None,
        }
    }
}

/// One struct sock_filter.
#[derive(Clone, Copy, Debug)]
struct Instruction {
    code: u16,
    yes: u8,
    no: u8,
    k: u32,
}

/// A finished program.
#[derive(Clone, Debug)]
pub(crate) struct Program(Vec<Instruction>);

impl Program {
    pub(crate) fn new(bytes: &[u8]) -> Self {
        assert_eq!(bytes.len() % 8, 0, "half an instruction");
        let instruction = |b: &[u8]| Instruction {
            code: u16::from_ne_bytes([b[0], b[1]]),
            yes: b[2],
            no: b[3],
            k: u32::from_ne_bytes([b[4], b[5], b[6], b[7]]),
        };
        Self(bytes.chunks_exact(8).map(instruction).collect())
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// What the kernel would find, and after how many instructions. An instruction that it would not have
    /// loaded is an error.
    pub(crate) fn verdict(&self, question: &Question) -> Result<(u32, usize), String> {
        let (mut a, mut pc, mut steps) = (0u32, 0usize, 0);
        loop {
            let Some(Instruction { code, yes, no, k }) = self.0.get(pc).copied() else {
                return Err(format!("a jump to {pc}, behind the end"));
            };
            pc += 1;
            steps += 1;
            let holds = match code {
                0x20 => {
                    a = question.word(k).ok_or_else(|| format!("{}: a load from {k}", pc - 1))?;
                    continue;
                }
                0x54 => {
                    a &= k;
                    continue;
                }
                0x05 => {
                    pc += k as usize;
                    continue;
                }
                0x06 => return Ok((k, steps)),
                0x15 => a == k,
                0x25 => a > k,
                0x35 => a >= k,
                0x45 => a & k != 0,
                other => return Err(format!("{}: instruction {other:#x}", pc - 1)),
            };
            pc += usize::from(if holds { yes } else { no });
        }
    }
}
