//! minidocker-oci, an OCI container runtime for Linux, and minidocker, the frontend on top of it.
//!
//! This page is the map: the modules, the phases of `create`, and what of the kernel is used. How host and init
//! talk to each other is drawn in [`container::handshake`].
//!
//! # Modules
//!
//! Lowest first. A module uses what is below it and nothing else; `tests/architecture` holds it to that.
//!
//! | module | what it is |
//! |--|--|
//! | [`sys`] | the only unsafe code: one function for each system call, no policy; an error keeps call and errno |
//! | [`error`], [`log`] | a chain for people with a kind for callers under it; one line on failure, none on success |
//! | [`proc`] | the host's procfs, opened once and checked |
//! | [`dbus`] | a client of a message bus, with one deadline over all that is said |
//! | [`criu`] | a client of CRIU, which writes processes to images and makes them from images |
//! | [`rootpath`] | the only way to name something below a container's root |
//! | [`spec`] | what comes in and goes out as JSON: configuration, record, state, features |
//! | [`plan`] | pure: a configuration and facts of the host become data; every refusal of a configuration is here |
//! | [`container`] | a container that exists: id, store, status, cgroup, hooks, the handshake, its destruction |
//! | [`init`] | the container's side of its birth, and of each later process's, from the clone to execve; it decides nothing |
//! | [`launch`] | the host's side of the same, and `run` and `exec` in the foreground |
//! | [`verbs`] | one file for each verb of the runtime |
//! | [`oci`], [`frontend`] | the two command lines; `src/bin` has nothing but `main` |
//!
//! # The phases of `create`
//!
//! The host's side is [`launch::launch`] after [`verbs::create`], init's is [`init::enter`]. `run` goes through the
//! same phases, with the answer to `Ready` in the place of the gate.
//!
//! | # | phase | side | why exactly here |
//! |--|--|--|--|
//! | 1 | plan | host | pure: a bad configuration fails before anything exists |
//! | 2 | sources | host | rootfs, user namespaces for id-mapped mounts, devices, namespaces to join, console and pidfd sockets, files for the output of hooks, compiled filter: all that can fail and leaves nothing of a container behind; and none of it is ever looked up through the container. Of bind sources, that they are there. An ordinary user can copy no mount of the host's: there init opens files and directories in phase 8, before its ids change |
//! | 3 | reserve | host | mkdir of the state directory decides whose the id is, its lock orders the verbs; the record is written before the first side effect, so that a killed `create` can always be deleted |
//! | 4 | cgroup | host | made, limited and given to its owner while it is empty (one in a scope of systemd's while there is a placeholder in it, for a scope can't be empty); so is its class of service in resctrl, if it asks for one. An ordinary user to whom none is delegated, and who asked for nothing, stays in the one that he is in |
//! | 5 | clone | host, init | one clone3 into the cgroup and the new namespaces: no unconfined moment. A helper joins and clones where those to join belong to the host and the new or joined user namespace could not enter them. A pid namespace that is joined has others in it: a helper that is not in there goes through phases 6 to 14 in init's place, which is born between 14 and 15 |
//! | 6 | leave the file | init | where others could see it: the host's program is gone from its memory and `/proc/PID/exe` (see [`sys::exe`], [`init::Departure`]). One that is alone in a new pid namespace does it first thing in phase 15, which is cheaper |
//! | 7 | id maps | host | init has no id before; hard limits for a user namespace, too, are the host's to set. Ahead of the first question, whether there is a map or not, oom_score_adj and the class of service: nothing is started without them. An ordinary user maps more than himself through newuidmap(1) and newgidmap(1) |
//! | 8 | namespaces | init | joins, clocks, its first ids, names, loopback, the host's network devices that are to be its own; the cgroup namespace after them, for its root is where it is made; sysctls, where the container has no procfs of its own for phase 9 to set them through, while `/proc` is the host's; last a session and keyring of its own, and the attributes for labels are opened |
//! | 9 | rootfs | init | propagation is cut before the first mount; each mount gets its attributes detached and is attached by descriptor (a procfs its sysctls, too: see [`plan::sysctl`]); what init can't open itself the host does for root, in its turn; then devices and links; a read-only tmpfs becomes so when all is in it. What is not listed in `mounts` is attached where no peer on the host gets a copy of it, here and later |
//! | 10 | hooks | host, init | prestart, createRuntime, then createContainer: the mounts are there, the host's paths are too. For that these are in no pid namespace that is joined; where that has to be joined before a user namespace, a process runs them that the helper has cloned before, and that follows it into the rest |
//! | 11 | pivot | init | from here on there are no paths of the host. A terminal is opened before it, from the container's own devpts, and attached after it, when `/dev` is final |
//! | 12 | harden | init | read-only paths, masked paths, read-only root: nothing is written to the tree any more |
//! | 13 | ready | init, host | what the program inherits and takes privileges that it may not have: hard limits, memory policy, personality, then by the host scheduler and I/O priority; none of it is for hooks before the pivot. The record is completed while init goes on to the next phase; it waits for that at the end of it |
//! | 14 | identity | init | labels, for no_new_privs may forbid them; bounding set, groups, ids, capabilities (but one that phases 15 and 16 need), no_new_privs; then, as the container's user, working directory and program: `create` itself tells that one is missing. With the host's answer, the container is recorded. A helper is gone now: it clones init as `exec` does, which begins a session of its own and waits for that answer |
//! | 15 | gate | init | what was kept to leave the file is dropped, and the link ended: `created`, and the host sends the pidfd and writes the pid file. The next connection is `start` |
//! | 16 | exec | init | startContainer hooks; limits, umask, close-on-exec for all that is left, the filter (one with an agent before phase 15, for that the agent can't be reached is `create`'s error), the capability kept to load it where no_new_privs is off, execve: a list made beforehand (see [`sys::last_calls`]) |
//!
//! # The phases of `exec`
//!
//! The host's side is [`launch::exec::exec`] after [`verbs::exec`], the container's [`init::join()`], which has the last
//! four phases in common with `create`.
//!
//! | # | phase | side | why exactly here |
//! |--|--|--|--|
//! | 1 | plan | host | from the command line and what `create` has kept ([`spec::for_exec`]), never from the bundle |
//! | 2 | sources | host | console and pidfd sockets, the cgroup, the container's process by its pidfd; its root, where that is not its mount namespace's |
//! | 3 | clone | host, helper | one clone3 into the cgroup, on the processors that `execCPUAffinity.initial` names |
//! | 4 | as the host | helper | OOM score, hard limits, the attributes for labels: what takes the host's rights, or its /proc |
//! | 5 | namespaces | helper | not dumpable any more, it joins all by one setns(2) of the pidfd; but not the pid namespace, which is its children's: nobody in there ever sees it. Then root, first ids, keyring |
//! | 6 | terminal | helper | of the container's own devpts, if the kernel says that it is one |
//! | 7 | identity | helper | as in `create`; the program is looked up, so that a missing one is told before anything runs |
//! | 8 | leave the file | helper | by the list of last calls: the program is unmapped, and all but the link is closed. Then umask, close-on-exec, the filter and the capability to load it: what is seen in there is never less confined than its program. A filter that would not let it be born, or has an agent, is loaded in phase 11 |
//! | 9 | birth | helper, process | a sibling is cloned into the pid namespace; the helper tells the host and ends. From here the host believes nothing that it has heard: who may trace the process may speak for it |
//! | 10 | settle | host, process | session and terminal; processors, scheduler, I/O priority and class of service by the host, which looks whether the container is still there. Without its answer the process ends |
//! | 11 | exec | process | limits, execve. The host sees that by the process itself, too, and lets it go on if somebody stops it. The pidfd is sent and the pid file written |
//!
//! # What of the kernel is used
//!
//! Without the first eight there is no container at all: Linux 5.12 is the oldest kernel by these calls.
//!
//! | feature | since Linux | where it is missing |
//! |--|--|--|
//! | mount_setattr(2) | 5.12 | error |
//! | close_range(2), CLOSE_RANGE_CLOEXEC | 5.11 | error |
//! | setns(2) of a pidfd | 5.8 | error |
//! | clone3(2), CLONE_INTO_CGROUP, CLONE_CLEAR_SIGHAND | 5.7 | error |
//! | openat2(2) | 5.6 | error |
//! | pidfds: clone3, pidfd_open(2), pidfd_send_signal(2), waitid(P_PIDFD) | 5.4 | error |
//! | fsopen(2), fsconfig(2), fsmount(2), fspick(2), open_tree(2), move_mount(2) | 5.2 | error |
//! | a cgroup2 tree, alone or beside v1 | 4.5 | error |
//! | cgroup device programs, bpf(2); its class BPF_JMP32 | 4.15; 5.1 | error, for containers that are denied devices |
//! | BPF_F_REPLACE of bpf(2) | 5.6 | `update` attaches the new device program before it takes the old one away: in between a device has to pass both |
//! | SECCOMP_FILTER_FLAG_NEW_LISTENER, pidfd_getfd(2) | 5.6 | error, for profiles with SCMP_ACT_NOTIFY |
//! | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV | 5.19 | error, for profiles that ask for it and have SCMP_ACT_NOTIFY |
//! | time namespaces | 5.6 | error, for containers that ask for one |
//! | id-mapped mounts: MOUNT_ATTR_IDMAP | 5.12, tmpfs 6.3 | error, for mounts that ask for one |
//! | overlayfs with fsconfig(2), one by one | 6.5 | mount(2) with all as one text, for names and lists that fsconfig(2) can't hand over ([`sys::mount`]) |
//! | overlayfs `lowerdir+` | 6.8 | error from 6.5 on, for lists of layers of more than 255 bytes |
//! | MOVE_MOUNT_SET_GROUP | 5.15 | error, for masked and read-only paths, devices and a console in binds that are shared with the host ([`init`], `additions.rs`) |
//! | mount option `nosymfollow` | 5.14 | error, for mounts that ask for it |
//! | cgroup.freeze | 5.2 | error of `pause`; nothing is ever `paused` ([`container::cgroup`]) |
//! | cgroup.kill | 5.14 | SIGKILL to each process of the cgroup by pidfd ([`container::cgroup`]) |
//! | memory.peak; pids.peak; memory.swap.peak | 5.19; 6.1; later | left out by `events`, and the peak of memory by all that tells of too little |
//! | /sys/kernel/cgroup/delegate | 4.15 | who is given a cgroup gets the files that the specification names |
//! | process_mrelease(2) | 5.15 | who is killed at birth by the kernel's mistake is not made again: the kernels that make it have the call ([`launch`], `into_cgroup.rs`) |
//! | pressure of a cgroup, CONFIG_PSI | 4.20 | left out by `events` |
//! | memory.events.local; oom_group_kill in it | 5.2; 5.17 | the limit that was reached is not named; that a group was killed only the log tells |
//! | /dev/kmsg, for who may read it | 3.5 | `state` tells of no process that was killed alone for want of memory ([`container::kernel_log`]) |
//! | PR_SET_MM_MAP (CONFIG_CHECKPOINT_RESTORE) | 3.18 | the verb starts anew from a sealed copy of the program ([`sys::exe::restart_sealed`]) |
//! | the loop of [`sys::last_calls`] | x86-64 | init copies the program to anonymous memory first ([`sys::exe::detach`]) |
//! | mount option `pidns` of procfs | 6.18 | a process in the joined pid namespace opens it ([`init`], `procfs.rs`) |
//! | copying a mount that is not attached | 6.15 | none is: the first place that is masked gets the mount itself, the others copies of it |
//! | MFD_EXEC | 6.3 | the flag is left out |
//! | resctrl, CONFIG_X86_CPU_RESCTRL | 4.10 | error, for containers that ask for a class of service |
//! | NETLINK_EXT_ACK, NETLINK_CAP_ACK | 4.12 | error, for containers with `netDevices` |
//! | NS_GET_NSTYPE, NS_GET_USERNS of ioctl_nsfs(2) | 4.11, 4.9 | error, for containers that join a namespace |
//! | TIOCGPTPEER | 4.13 | error, for containers with a terminal |
//! | /proc/thread-self/children, CONFIG_PROC_CHILDREN | 4.2 | error of `restore` |
//! | session keyrings, keyctl(2) | 2.6.10 | a warning: there are no keys to keep apart |
//! | AppArmor, SELinux | 2.6.36, 2.6 | error, for containers that ask for a profile or label |
//! | set_mempolicy(2) (CONFIG_NUMA); two of its modes | 2.6.7; 5.15, 6.9 | error, for containers that ask for it |
//! | SCHED_DEADLINE; utilization clamps (CONFIG_UCLAMP_TASK) | 3.14; 5.3 | error, for containers that ask for it |

pub mod sys;

pub mod criu;
pub mod dbus;
pub mod error;
pub mod log;
pub mod proc;
pub mod rootpath;

pub mod spec;

pub mod plan;

pub mod container;

pub mod init;

pub mod launch;

pub mod verbs;

pub mod oci;

pub mod frontend;
