//! What the kernel has in a cgroup's files already, as far as a change depends on it.

use std::collections::BTreeMap;

/// By file; of a cgroup that is just being made, nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Now(BTreeMap<&'static str, String>);

impl Now {
    /// Those that are looked at.
    const FILES: [&'static str; 6] =
        ["cpu.idle", "cpu.max", "cpu.max.burst", "memory.current", "memory.max", "memory.swap.max"];

    /// Of a cgroup: what has no such file has no such limit.
    pub fn read(mut read: impl FnMut(&str) -> Option<String>) -> Self {
        let files = Self::FILES.into_iter();
        Self(files.filter_map(|file| Some((file, read(file)?.trim_end().to_owned()))).collect())
    }

    fn text(&self, file: &str) -> Option<&str> {
        self.0.get(file).map(String::as_str)
    }

    fn number(&self, file: &str) -> Option<u64> {
        self.text(file)?.parse().ok()
    }

    /// Bytes; `None` without a limit.
    pub(super) fn memory_max(&self) -> Option<u64> {
        self.number("memory.max")
    }

    /// Bytes; `None` without a limit.
    pub(super) fn swap_max(&self) -> Option<u64> {
        self.number("memory.swap.max")
    }

    /// Bytes in use.
    pub(super) fn memory_current(&self) -> u64 {
        self.number("memory.current").unwrap_or(0)
    }

    /// µs; `None` without a limit.
    pub(super) fn quota(&self) -> Option<u64> {
        self.text("cpu.max")?.split_whitespace().next()?.parse().ok()
    }

    /// µs.
    pub(super) fn period(&self) -> u64 {
        /// cgroup-v2.rst, "cpu.max".
        const DEFAULT: u64 = 100_000;
        let second = |text: &str| text.split_whitespace().nth(1)?.parse().ok();
        self.text("cpu.max").and_then(second).unwrap_or(DEFAULT)
    }

    /// µs.
    pub(super) fn burst(&self) -> u64 {
        self.number("cpu.max.burst").unwrap_or(0)
    }

    /// Whether the scheduler treats it as SCHED_IDLE.
    pub(super) fn is_idle(&self) -> bool {
        self.text("cpu.idle") == Some("1")
    }
}

#[cfg(test)]
impl Now {
    /// For tests: `file=text`, separated by commas.
    pub(super) fn of(text: &str) -> Self {
        let all: BTreeMap<&str, &str> = text.split(',').filter_map(|part| part.split_once('=')).collect();
        Self::read(|file| all.get(file).map(|text| format!("{text}\n")))
    }
}
