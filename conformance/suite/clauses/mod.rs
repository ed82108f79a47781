//! The clauses, one file for each chapter of the specification.

mod callers;
mod callers_commands;
mod callers_events;
mod callers_exec;
mod callers_messages;
mod callers_pause;
mod callers_replay;
mod config_annotations;
mod config_hooks;
mod config_mount_idmap;
mod config_mount_options;
mod config_mount_recursive;
mod config_mounts;
mod config_names;
mod config_process;
mod config_process_capabilities;
mod config_process_linux;
mod config_process_rlimits;
mod config_process_user;
mod config_root;
mod config_scheduler;
mod config_terminal;
mod features;
mod features_seccomp;
mod linux_cgroups;
mod linux_device_rules;
mod linux_devices;
mod linux_intel_rdt;
mod linux_memory_policy;
mod linux_namespaces;
mod linux_netdevices;
mod linux_paths;
mod linux_propagation;
mod linux_resources;
mod linux_seccomp;
mod linux_seccomp_args;
mod linux_seccomp_notify;
mod linux_sysctl;
mod linux_time;
mod linux_unified;
mod linux_userns;
mod runtime_lifecycle;
mod runtime_linux;
mod runtime_operations;

use crate::clause::Clause;

/// All clauses, chapter by chapter.
pub(crate) fn all() -> impl Iterator<Item = &'static Clause> {
    [
        config_root::CLAUSES,
        config_annotations::CLAUSES,
        config_mounts::CLAUSES,
        config_mount_options::CLAUSES,
        config_mount_recursive::CLAUSES,
        config_mount_idmap::CLAUSES,
        config_names::CLAUSES,
        config_process::CLAUSES,
        config_process_user::CLAUSES,
        config_process_rlimits::CLAUSES,
        config_process_capabilities::CLAUSES,
        config_process_linux::CLAUSES,
        config_scheduler::CLAUSES,
        config_terminal::CLAUSES,
        config_hooks::CLAUSES,
        linux_namespaces::CLAUSES,
        linux_userns::CLAUSES,
        linux_time::CLAUSES,
        linux_devices::CLAUSES,
        linux_propagation::CLAUSES,
        linux_paths::CLAUSES,
        linux_sysctl::CLAUSES,
        linux_cgroups::CLAUSES,
        linux_intel_rdt::CLAUSES,
        linux_memory_policy::CLAUSES,
        linux_netdevices::CLAUSES,
        linux_seccomp::CLAUSES,
        linux_seccomp_args::CLAUSES,
        linux_seccomp_notify::CLAUSES,
        linux_resources::CLAUSES,
        linux_unified::CLAUSES,
        linux_device_rules::CLAUSES,
        runtime_lifecycle::CLAUSES,
        runtime_operations::CLAUSES,
        runtime_linux::CLAUSES,
        features::CLAUSES,
        features_seccomp::CLAUSES,
        callers::CLAUSES,
        callers_messages::CLAUSES,
        callers_commands::CLAUSES,
        callers_exec::CLAUSES,
        callers_pause::CLAUSES,
        callers_replay::CLAUSES,
        callers_events::CLAUSES,
    ]
    .into_iter()
    .flatten()
}
