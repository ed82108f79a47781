//! What a finished filter answers to a call of this machine: seccomp(2).

use std::ffi::c_long;

use super::machine::Machine;

/// linux/seccomp.h: what lets a call through, the second one with a line in the audit log.
const LETS: [u32; 2] = [0x7fff_0000, 0x7ffc_0000];

/// Whether a program that [`filter()`](super::filter()) has made lets a call through: its number, its arguments. What it
/// does not know, it does not.
pub fn lets(program: &[u8], (number, args): &(c_long, [u64; 6])) -> bool {
    let (Some(arch), Ok(number)) = (Machine::native(), u32::try_from(*number)) else { return false };
    let mut data = [number, Machine::new(arch).audit(), 0, 0].map(u32::to_ne_bytes).concat();
    data.extend(args.iter().flat_map(|arg| arg.to_ne_bytes()));
    run(program, &data).is_some_and(|answer| LETS.contains(&answer))
}

/// The instructions that `bpf` writes.
fn run(program: &[u8], data: &[u8]) -> Option<u32> {
    let word = |bytes: &[u8], at: usize| Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?));
    let (mut accumulator, mut at) = (0, 0usize);
    loop {
        let instruction = program.get(at.checked_mul(8)?..)?;
        let [low, high, yes, no, ..] = *instruction.first_chunk::<8>()?;
        let k = word(instruction, 4)?;
        let jump = usize::try_from(k).ok()?;
        at += 1;
        let holds = match u16::from_ne_bytes([low, high]) {
            0x20 => {
                accumulator = word(data, jump)?;
                continue;
            }
            0x54 => {
                accumulator &= k;
                continue;
            }
            0x05 => {
                at = at.checked_add(jump)?;
                continue;
            }
            0x06 => return Some(k),
            0x15 => accumulator == k,
            0x25 => accumulator > k,
            0x35 => accumulator >= k,
            0x45 => accumulator & k != 0,
            _ => return None,
        };
        at += usize::from(if holds { yes } else { no });
    }
}

#[cfg(test)]
mod tests {
    use super::lets;
    use crate::plan::seccomp::{filter, plan};

    fn compiled(default: &str, action: &str) -> Vec<u8> {
        let profile = format!(
            r#"{{"defaultAction":"{default}","syscalls":[
            {{"names":["read","setsid"],"action":"{action}"}},
            {{"names":["clone"],"action":"{action}","args":[{{"index":0,"value":2114060288,"op":"SCMP_CMP_MASKED_EQ"}}]}}]}}"#
        );
        filter(&plan(&serde_json::from_str(&profile).unwrap()).unwrap()).unwrap()
    }

    #[test]
    fn a_filter_lets_what_its_profile_lets() {
        let of = |program: &[u8], call, first| lets(program, &(call, [first, 0, 0, 0, 0, 0]));
        let program = compiled("SCMP_ACT_ERRNO", "SCMP_ACT_ALLOW");
        assert!(of(&program, libc::SYS_read, 7) && of(&program, libc::SYS_setsid, 0));
        assert!(!of(&program, libc::SYS_write, 7));
        // The profiles of engines: no new namespace.
        assert!(of(&program, libc::SYS_clone, 0x9000) && !of(&program, libc::SYS_clone, 0x2000_9000));
        let program = compiled("SCMP_ACT_LOG", "SCMP_ACT_KILL");
        assert!(of(&program, libc::SYS_write, 7) && !of(&program, libc::SYS_read, 7));
        assert!(!of(b"", 0, 0) && !of(&program[..7], 0, 0) && !of(&program, -1, 0));
    }
}
