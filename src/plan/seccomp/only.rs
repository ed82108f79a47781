//! A filter of the runtime's own, for a process that makes a few calls: seccomp(2).

use super::machine::Machine;

/// Lets only these calls of this machine through; any other one ends the process. `None` on a machine that has no filters.
pub fn only(calls: &[u32]) -> Option<Vec<u8>> {
    const LOAD: u16 = 0x20;
    const JUMP_IF_EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    const ALLOW: u32 = 0x7fff_0000;
    const KILL_PROCESS: u32 = 0x8000_0000;
    /// struct seccomp_data: where these are.
    const NUMBER: u32 = 0;
    const ARCH: u32 = 4;
    let arch = Machine::new(Machine::native()?).audit();
    let count = u8::try_from(calls.len()).ok()?;
    let mut program =
        vec![(LOAD, 0, 0, ARCH), (JUMP_IF_EQUAL, 0, count.checked_add(1)?, arch), (LOAD, 0, 0, NUMBER)];
    // From each of them to the last instruction.
    program.extend((0..count).rev().zip(calls).map(|(left, call)| (JUMP_IF_EQUAL, left + 1, 0, *call)));
    program.extend([(RETURN, 0, 0, KILL_PROCESS), (RETURN, 0, 0, ALLOW)]);
    let bytes = |(code, yes, no, k): (u16, u8, u8, u32)| {
        [code.to_ne_bytes().as_slice(), &[yes, no], &k.to_ne_bytes()].concat()
    };
    Some(program.into_iter().flat_map(bytes).collect())
}

#[cfg(test)]
mod tests {
    use super::super::lets;
    use super::only;

    #[test]
    fn it_lets_these_through_and_no_other() {
        let filter = only(&[1, 60, 231]).unwrap();
        let through: Vec<_> = (0..500).filter(|number| lets(&filter, &(*number, [0; 6]))).collect();
        assert_eq!(through, [1, 60, 231]);
        assert!(!lets(&filter, &(1 | 0x4000_0000, [0; 6])));
    }
}
