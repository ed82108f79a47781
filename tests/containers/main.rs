//! Real containers, through the runtime's binary alone.
//!
//! One program for all areas, so that one root file system and one leak check serve them; `cargo test --test
//! containers AREA` runs one. It drives the release binary, which is what ships: build that first, or run
//! `tests/run`. `RUNTIME=/usr/bin/crun` puts another runtime in its place.

// Says to clippy that these are tests, so that they may panic.
#[cfg(test)]
mod attributes;
#[cfg(test)]
mod bad_input;
#[cfg(test)]
mod callers;
#[cfg(test)]
mod cgroup_faults;
#[cfg(test)]
mod cgroups;
#[cfg(test)]
mod checkpoint;
#[cfg(test)]
mod concurrency;
#[cfg(test)]
mod cpus;
#[cfg(test)]
mod crash;
#[cfg(test)]
mod devices;
#[cfg(test)]
mod documents;
#[cfg(test)]
mod events;
#[cfg(test)]
mod exec;
#[cfg(test)]
mod freeze;
#[cfg(test)]
mod frontend;
#[cfg(test)]
mod hardening;
#[cfg(test)]
mod hooks;
#[cfg(test)]
mod labels;
#[cfg(test)]
mod last_words;
#[cfg(test)]
mod lifecycle;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod mounts;
#[cfg(test)]
mod namespace_root;
#[cfg(test)]
mod namespaces;
#[cfg(test)]
mod net_devices;
#[cfg(test)]
mod newborn;
#[cfg(test)]
mod notify;
#[cfg(test)]
mod ownership;
#[cfg(test)]
mod process;
#[cfg(test)]
mod ps;
#[cfg(test)]
mod seccomp;
#[cfg(test)]
mod stuck;
#[cfg(test)]
mod support;
#[cfg(test)]
mod syscalls;
#[cfg(test)]
mod systemd;
#[cfg(test)]
mod terminal;
#[cfg(test)]
mod threads;
#[cfg(test)]
mod update;
#[cfg(test)]
mod users;

#[cfg(test)]
#[path = "../skip/mod.rs"]
mod skip;
