//! config-linux.md, "Control groups": each resource is what the kernel's files say, after `create` and after `update`,
//! and has its effect. Every test runs under both drivers: [`both_drivers!`] makes `cgroupfs::name` and `systemd::name`
//! of it, and the second needs a machine that systemd has booted.
#![expect(clippy::disallowed_methods, reason = "tests change cgroups and disks of their own, by path")]

mod births;
mod cpu;
mod devices;
mod faults;
mod huge_pages;
mod io;
mod limited;
mod memory;
mod out_of_memory;
mod pids;
mod unified;
mod values;

use std::path::Path;

use crate::support::{Case, no_controller, skip};

/// Who makes the cgroup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Driver {
    Cgroupfs,
    Systemd,
}

impl Driver {
    /// The runtime's options for `create` and `run`.
    fn options(self) -> &'static [&'static str] {
        match self {
            Self::Cgroupfs => &[],
            Self::Systemd => &["--systemd-cgroup"],
        }
    }

    /// A test under this driver, with the controllers that it needs; `None` (and a `SKIP` line) where they aren't.
    fn case(self, controllers: &[&str]) -> Option<Case> {
        let case = Case::begin()?;
        match self.missing().or_else(|| controllers.iter().find_map(|name| no_controller(name))) {
            Some(reason) => {
                skip(&reason);
                None
            }
            None => Some(case),
        }
    }

    /// What it lacks here.
    fn missing(self) -> Option<String> {
        match self {
            Self::Systemd if !Path::new("/run/systemd/system").is_dir() => {
                Some("systemd has not booted this machine".to_owned())
            }
            _ => None,
        }
    }
}

/// Begins a test under a driver, or ends it with a `SKIP` line.
macro_rules! limits_case {
    ($driver:expr $(, $controller:literal)*) => {
        match $driver.case(&[$($controller),*]) {
            Some(case) => case,
            None => return,
        }
    };
}
use limits_case;

/// Makes two tests of each of these, one for each driver.
macro_rules! both_drivers {
    ($($name:ident)*) => {
        mod cgroupfs {
            $(#[test]
            fn $name() {
                super::$name(super::Driver::Cgroupfs);
            })*
        }
        mod systemd {
            $(#[test]
            fn $name() {
                super::$name(super::Driver::Systemd);
            })*
        }
    };
}
use both_drivers;
