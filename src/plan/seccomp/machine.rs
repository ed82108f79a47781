//! What libseccomp is asked: names to numbers, for each machine that a profile speaks of.

use std::collections::HashMap;

use libseccomp::{ScmpArch, ScmpSyscall};

use crate::spec::oci::Arch;

/// The bit of the numbers of x32, whose calls have the same AUDIT_ARCH_* as those of x86-64: asm/unistd.h.
pub(super) const X32_BIT: u32 = 0x4000_0000;

/// How a call is made on a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// It has a number.
    Direct(u32),
    /// It is an operation of socketcall(2) or ipc(2), which is their first argument.
    Operation { number: u32, operation: u64 },
}

/// The calls of one of a processor's ways to make them.
#[derive(Debug)]
pub(super) struct Machine {
    arch: Arch,
    /// The calls with a number besides that of socketcall(2) or ipc(2), looked up when there is one.
    direct: HashMap<String, u32>,
    looked_up: Vec<u32>,
}

impl Machine {
    /// `arch` is not SCMP_ARCH_NATIVE.
    pub(super) fn new(arch: Arch) -> Self {
        Self { arch, direct: HashMap::new(), looked_up: Vec::new() }
    }

    /// The one that this program runs on.
    pub(super) fn native() -> Option<Arch> {
        super::archs().into_iter().find(|arch| scmp(*arch) == ScmpArch::native())
    }

    pub(super) fn is_x32(&self) -> bool {
        self.arch == Arch::ScmpArchX32
    }

    /// seccomp(2), struct seccomp_data: AUDIT_ARCH_*. libseccomp's tokens, which the model has, are the same but
    /// for x32.
    pub(super) const fn audit(&self) -> u32 {
        match self.arch {
            Arch::ScmpArchX32 => Arch::ScmpArchX86_64 as u32,
            other => other as u32,
        }
    }

    /// Whether arguments have 64 bits. linux/audit.h: __AUDIT_ARCH_64BIT, but not
    /// __AUDIT_ARCH_CONVENTION_MIPS64_N32.
    pub(super) const fn is_wide(&self) -> bool {
        self.arch as u32 & 0xa000_0000 == 0x8000_0000
    }

    /// All ways to make a call: none, if the machine has not got it.
    pub(super) fn ways(&mut self, name: &str) -> Vec<Way> {
        let number = |found: Result<ScmpSyscall, _>| found.ok().map(i32::from);
        let Some(found) = number(ScmpSyscall::from_name_by_arch(name, scmp(self.arch))) else {
            return Vec::new();
        };
        if let Ok(number) = u32::try_from(found) {
            return vec![Way::Direct(if self.is_x32() { number | X32_BIT } else { number })];
        }
        // seccomp.h: -100 and the operation of socketcall(2), -200 and that of ipc(2).
        let operation = match found {
            -199..=-101 => found.unsigned_abs() - 100,
            -299..=-201 => found.unsigned_abs() - 200,
            _ => return Vec::new(),
        };
        let through = number(ScmpSyscall::from_name_by_arch_rewrite(name, scmp(self.arch)));
        let Some(through) = through.and_then(|number| u32::try_from(number).ok()) else { return Vec::new() };
        let direct = self.direct(through, name).map(Way::Direct);
        direct.into_iter().chain([Way::Operation { number: through, operation: operation.into() }]).collect()
    }

    /// libseccomp names the number, but does not number the name. All of these calls came after the one that
    /// they could be made through before.
    fn direct(&mut self, through: u32, name: &str) -> Option<u32> {
        if !self.looked_up.contains(&through) {
            self.looked_up.push(through);
            for number in through + 1..through + 400 {
                let raw = i32::try_from(number).ok()?;
                if let Ok(name) = ScmpSyscall::from(raw).get_name_by_arch(scmp(self.arch)) {
                    self.direct.entry(name).or_insert(number);
                }
            }
        }
        self.direct.get(name).copied()
    }
}

const fn scmp(arch: Arch) -> ScmpArch {
    match arch {
        Arch::ScmpArchNative => ScmpArch::Native,
        Arch::ScmpArchX86 => ScmpArch::X86,
        Arch::ScmpArchX86_64 => ScmpArch::X8664,
        Arch::ScmpArchX32 => ScmpArch::X32,
        Arch::ScmpArchArm => ScmpArch::Arm,
        Arch::ScmpArchAarch64 => ScmpArch::Aarch64,
        Arch::ScmpArchMips => ScmpArch::Mips,
        Arch::ScmpArchMips64 => ScmpArch::Mips64,
        Arch::ScmpArchMips64n32 => ScmpArch::Mips64N32,
        Arch::ScmpArchMipsel => ScmpArch::Mipsel,
        Arch::ScmpArchMipsel64 => ScmpArch::Mipsel64,
        Arch::ScmpArchMipsel64n32 => ScmpArch::Mipsel64N32,
        Arch::ScmpArchPpc => ScmpArch::Ppc,
        Arch::ScmpArchPpc64 => ScmpArch::Ppc64,
        Arch::ScmpArchPpc64le => ScmpArch::Ppc64Le,
        Arch::ScmpArchS390 => ScmpArch::S390,
        Arch::ScmpArchS390x => ScmpArch::S390X,
        Arch::ScmpArchParisc => ScmpArch::Parisc,
        Arch::ScmpArchParisc64 => ScmpArch::Parisc64,
        Arch::ScmpArchRiscv64 => ScmpArch::Riscv64,
        Arch::ScmpArchLoongarch64 => ScmpArch::Loongarch64,
        Arch::ScmpArchM68k => ScmpArch::M68k,
        Arch::ScmpArchSh => ScmpArch::Sh,
        Arch::ScmpArchSheb => ScmpArch::Sheb,
    }
}
