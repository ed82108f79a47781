//! A container between verbs: its id, its state directory, its status, its cgroup, its hooks, and the
//! words that host and init exchange while it is born.

pub mod cgroup;
pub mod destruction;
pub mod external;
pub mod handshake;
pub mod hooks;
pub mod id;
pub mod images;
pub mod kernel_log;
pub mod later_hooks;
pub mod notify;
pub mod process;
pub mod rdt;
pub mod seccomp_cache;
pub mod sharing;
pub mod status;
pub mod store;
pub mod worker;
