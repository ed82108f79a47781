//! `linux.seccomp` to BPF: an error, or a program that the kernel could load.

#[path = "../../seccomp/bpf.rs"]
mod bpf;

use bpf::{Program, Question};
use minidocker_oci::plan::seccomp;
use minidocker_oci::spec::oci::LinuxSeccomp;

use super::says_something;

/// linux/seccomp.h: the actions, without their 16 bits of data.
const ACTIONS: [u32; 8] =
    [0, 0x8000_0000, 0x3_0000, 0x5_0000, 0x7fc0_0000, 0x7ff0_0000, 0x7ffc_0000, 0x7fff_0000];

pub(super) fn entry(data: &[u8]) {
    let Ok(profile) = serde_json::from_slice::<LinuxSeccomp>(data) else { return };
    let program = match seccomp::plan(&profile).and_then(|plan| seccomp::filter(&plan)) {
        Ok(program) => Program::new(&program),
        Err(error) => return says_something(&error),
    };
    assert!((1..=4096).contains(&program.len()));
    let borders = [0, u64::MAX, 1, 0xffff_ffff, 1 << 32, 1 << 63];
    for arch in [0xc000_003e, 0x4000_0003, 0xc000_00b7, 0] {
        for number in (0..480).chain([0x4000_0000, u32::MAX]) {
            let mut args = borders;
            args.rotate_left(number as usize % borders.len());
            // Jumps lead forward only, to an instruction, and in the end to an action.
            let (verdict, steps) = program.verdict(&Question { number, arch, args }).unwrap_or((1, 0));
            assert!(ACTIONS.contains(&(verdict & 0xffff_0000)) && verdict != 1, "{verdict:#x}");
            assert!(steps <= program.len());
        }
    }
}
