//! The clauses, one file for each chapter of the specification.

mod callers;
mod config_hooks;
mod config_mounts;
mod config_process;
mod config_process_capabilities;
mod config_process_linux;
mod config_process_rlimits;
mod config_process_user;
mod config_root;
mod linux_cgroups;
mod linux_devices;
mod linux_namespaces;
mod runtime_lifecycle;
mod runtime_operations;

use crate::clause::Clause;

/// All clauses, chapter by chapter.
pub(crate) fn all() -> impl Iterator<Item = &'static Clause> {
    [
        config_root::CLAUSES,
        config_mounts::CLAUSES,
        config_process::CLAUSES,
        config_process_user::CLAUSES,
        config_process_rlimits::CLAUSES,
        config_process_capabilities::CLAUSES,
        config_process_linux::CLAUSES,
        config_hooks::CLAUSES,
        linux_namespaces::CLAUSES,
        linux_devices::CLAUSES,
        linux_cgroups::CLAUSES,
        runtime_lifecycle::CLAUSES,
        runtime_operations::CLAUSES,
        callers::CLAUSES,
    ]
    .into_iter()
    .flatten()
}
