//! The configuration as data that init performs: `(Spec, HostFacts) -> Plan`. Pure: no system call, no
//! clock, no environment. Every refusal of a configuration happens here, before anything exists.

pub mod annotations;
pub mod capabilities;
pub mod devices;
pub mod exec;
pub mod hooks;
pub mod id_maps;
pub mod intel_rdt;
pub mod label;
pub mod memory_policy;
pub mod mounts;
pub mod namespaces;
pub mod net_devices;
pub mod notify;
pub mod numbers;
pub mod options;
pub mod personality;
pub mod process;
pub mod resources;
pub mod scheduling;
pub mod seccomp;
pub mod sysctl;
pub mod user;

use std::path::{Path, PathBuf};

use crate::error::{Doing, Result, invalid};
use crate::rootpath::InRootfs;
use crate::spec::Bundle;
use crate::spec::oci::{Linux, LinuxNamespaceType, Spec};
use crate::spec::record::Driver;
use mounts::label::Label;
use options::Propagation;

/// What the plan depends on besides the configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HostFacts {
    /// geteuid(2)
    pub euid: u32,
    /// Whether that is counted in a user namespace that is not the machine's.
    pub is_namespaced: bool,
    /// Whether the kernel runs AppArmor; may be false where no profile is asked for.
    pub apparmor: bool,
    /// Whether the kernel runs SELinux; may be false where no label is asked for.
    pub selinux: bool,
    /// CLONE_NEW* bits of those among `linux.namespaces` that are joined and are the runtime's own: what is changed
    /// in them is the host's. Only found out where something would be.
    pub runtimes_own: u64,
}

impl HostFacts {
    /// What this process may do.
    pub fn authority(self) -> Authority {
        match (self.euid, self.is_namespaced) {
            (0, false) => Authority::Root,
            (0, true) => Authority::NamespaceRoot,
            _ => Authority::User,
        }
    }
}

/// What the runtime may do itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authority {
    /// All that the machine lets root do.
    Root,
    /// All that its user namespace lets root do, as podman's without root: mounts and namespaces are its own, but
    /// devices and cgroups the machine's.
    NamespaceRoot,
    /// What an ordinary user may: to mount, to join and to make namespaces he needs a user namespace, in which
    /// init is root.
    User,
}

impl Authority {
    /// Whether this process can mount and join without a user namespace of the container's.
    pub fn has_capabilities(self) -> bool {
        self != Self::User
    }
}

/// What the command line asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wishes {
    /// `--no-pivot`
    pub no_pivot: bool,
    /// `--no-new-keyring`
    pub no_new_keyring: bool,
    /// Somebody wants to hear by sd_notify(3) that the program is ready.
    pub notify: bool,
    /// `--rootless`
    pub rootless: Rootless,
    /// `--cgroup-manager`, `--systemd-cgroup`
    pub driver: Driver,
}

/// `--rootless`, with runc's meaning: whether a container may do without a cgroup that can't be made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rootless {
    /// If whoever runs this is not root.
    #[default]
    Auto,
    /// It may.
    True,
    /// It may not.
    False,
}

/// A container, decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Of the runtime: who opens what of the host.
    pub authority: Authority,
    /// Which it makes and which it joins.
    pub namespaces: namespaces::Namespaces,
    /// Its cgroup.
    pub cgroup: resources::CgroupPlan,
    /// Its file system.
    pub rootfs: RootfsPlan,
    /// For the new UTS namespace.
    pub hostname: Option<String>,
    /// For the new UTS namespace.
    pub domainname: Option<String>,
    /// Moved into its network namespace, by their names on the host.
    pub net_devices: Vec<net_devices::NetDevice>,
    /// Its class of service.
    pub intel_rdt: Option<intel_rdt::IntelRdt>,
    /// In the configuration's alphabetical order.
    pub sysctls: Vec<sysctl::Sysctl>,
    /// Which of the mounts they are set through; `None` for the host's procfs.
    pub sysctls_by: Option<usize>,
    /// The name of the new session keyring, if it gets one.
    pub keyring: Option<String>,
    /// set_mempolicy(2); `None` leaves the caller's.
    pub memory_policy: Option<memory_policy::MemoryPolicy>,
    /// personality(2); `None` leaves the caller's.
    pub personality: Option<personality::Personality>,
    /// What init becomes; `None` where the configuration has no process.
    pub process: Option<process::ProcessPlan>,
    /// Its filter.
    pub seccomp: Option<seccomp::SeccompPlan>,
    /// Of all kinds, checked.
    pub hooks: hooks::HookPlan,
    /// What annotations ask for.
    pub annotations: annotations::Asked,
    /// Whether the program gets a socket for sd_notify(3).
    pub notify: bool,
}

impl Plan {
    /// Whether the program has a terminal.
    pub fn has_terminal(&self) -> bool {
        self.process.as_ref().is_some_and(|process| process.terminal.is_some())
    }

    /// Whether it is in a user namespace that is not the machine's.
    pub fn in_user_namespace(&self) -> bool {
        self.namespaces.has(LinuxNamespaceType::User) || self.authority == Authority::NamespaceRoot
    }
}

/// The container's file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RootfsPlan {
    /// Absolute, on the host.
    pub path: PathBuf,
    /// How the container's root becomes `/`.
    pub switch: RootSwitch,
    /// Of the container's root mount.
    pub propagation: Propagation,
    /// In the configuration's order.
    pub mounts: Vec<mounts::MountStep>,
    /// Made after the mounts.
    pub devices: Vec<devices::Device>,
    /// How device nodes come into being.
    pub device_nodes: DeviceNodes,
    /// Made after the devices.
    pub links: Vec<devices::Link>,
    /// `root.readonly`
    pub readonly: bool,
    /// In the configuration's order, each once.
    pub masked: Vec<InRootfs>,
    /// In the configuration's order, each once.
    pub readonly_paths: Vec<InRootfs>,
}

/// How the container's root becomes `/`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RootSwitch {
    /// pivot_root(2); the host's tree is gone afterwards.
    Pivot,
    /// The root is moved over `/`: `--no-pivot`, for a host whose root is an initramfs.
    Move,
    /// chroot(2): the mount namespace is not the container's own.
    Chroot,
}

/// How device nodes come into being.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceNodes {
    /// mknod(2).
    Made,
    /// The host's own, bound: in a user namespace nobody can make any.
    Bound,
}

/// Compiles a bundle's configuration.
pub fn compile(bundle: &Bundle, id: &str, facts: HostFacts, wishes: Wishes) -> Result<Plan> {
    let spec = &bundle.spec;
    let default = Linux::default_empty();
    let linux = spec.linux().as_ref().unwrap_or(&default);
    let namespaces = namespaces::Namespaces::plan(linux)?;
    namespaces.admit(facts.authority())?;
    let rootfs = rootfs(bundle, linux, &namespaces, facts, wishes)?;
    mounts::admit::all(&rootfs.mounts, &namespaces)?;
    let hostname = uts_name("hostname", spec.hostname().as_deref(), &namespaces)?;
    let domainname = uts_name("domainname", spec.domainname().as_deref(), &namespaces)?;
    let ids = user::Ids::of(spec, linux, &namespaces);
    let process = spec.process().as_ref().map(|p| process::plan(p, &ids, facts)).transpose()?;
    if let (Some(maps), Some(process)) = (&namespaces.id_maps, &process) {
        process.groups.admit(maps, facts.authority())?;
    }
    let hooks = hooks::plan(spec).doing(|| "hooks")?;
    if !hooks.start_container.is_empty() {
        check_fork(process.as_ref())?;
    }
    let sysctls = sysctl::plan(linux, &namespaces, facts).doing(|| "linux.sysctl")?;
    let mut plan = Plan {
        authority: facts.authority(),
        cgroup: resources::plan(spec, linux, id, wishes.driver)?
            .owned_by(resources::owner::plan(spec, &namespaces, facts))
            .may_be_denied(facts.authority(), wishes.rootless),
        sysctls_by: sysctl::mount_for(&sysctls, &rootfs.mounts),
        sysctls,
        rootfs,
        hostname,
        domainname,
        net_devices: net_devices::plan(linux, &namespaces, facts)?,
        intel_rdt: intel_rdt::plan(linux, id)?,
        keyring: (!wishes.no_new_keyring).then(|| format!("_ses.{id}")),
        memory_policy: linux.memory_policy().as_ref().map(memory_policy::plan).transpose()?,
        personality: linux.personality().as_ref().map(personality::plan).transpose()?,
        process,
        seccomp: linux.seccomp().as_ref().map(seccomp::plan).transpose().doing(|| "linux.seccomp")?,
        hooks,
        annotations: annotations::plan(spec)?,
        notify: false,
        namespaces,
    };
    if wishes.notify {
        notify::add(&mut plan)?;
    }
    Ok(plan)
}

/// An empty `linux`; the model's own default is a filled one.
trait DefaultEmpty {
    fn default_empty() -> Self;
}

impl DefaultEmpty for Linux {
    fn default_empty() -> Self {
        let mut linux = Self::default();
        linux.set_namespaces(None).set_resources(None).set_masked_paths(None).set_readonly_paths(None);
        linux.set_seccomp(None).set_devices(None).set_sysctl(None);
        linux
    }
}

/// startContainer hooks are children of the process that becomes the program.
fn check_fork(process: Option<&process::ProcessPlan>) -> Result<()> {
    match process.and_then(|process| process.scheduling.scheduler.as_ref()) {
        Some(scheduler) if scheduler.forbids_fork() => Err(invalid(
            "process.scheduler: hooks.startContainer can't run under SCHED_DEADLINE without the flag \
             SCHED_FLAG_RESET_ON_FORK, for the kernel lets such a process start no other",
        )),
        _ => Ok(()),
    }
}

/// hostname(7): in the runtime's own UTS namespace it would rename the host.
fn uts_name(
    what: &'static str,
    name: Option<&str>,
    namespaces: &namespaces::Namespaces,
) -> Result<Option<String>> {
    const MOST: usize = 64;
    let Some(name) = name.filter(|name| !name.is_empty()) else {
        return Ok(None);
    };
    if !namespaces.has(LinuxNamespaceType::Uts) {
        return Err(invalid(format!("{what} needs a uts namespace in linux.namespaces")));
    }
    match name.len() > MOST || name.contains('\0') {
        true => Err(invalid(format!("{what}: {name:?} is longer than {MOST} bytes or has a NUL byte"))),
        false => Ok(Some(name.to_owned())),
    }
}

fn rootfs(
    bundle: &Bundle,
    linux: &Linux,
    namespaces: &namespaces::Namespaces,
    facts: HostFacts,
    wishes: Wishes,
) -> Result<RootfsPlan> {
    let spec: &Spec = &bundle.spec;
    let root = spec.root().as_ref().ok_or_else(|| invalid("root is missing"))?;
    if root.path().as_os_str().is_empty() {
        return Err(invalid("root.path is empty"));
    }
    let own = LinuxNamespaceType::Mount;
    let masked = paths("linux.maskedPaths", linux.masked_paths().as_deref())?;
    let readonly_paths = paths("linux.readonlyPaths", linux.readonly_paths().as_deref())?;
    let hides = !masked.is_empty() || !readonly_paths.is_empty();
    if hides && !namespaces.has(own) {
        return Err(invalid("linux.maskedPaths and linux.readonlyPaths need a mount namespace"));
    }
    let label = Label::plan(linux.mount_label().as_deref(), spec.annotations().as_ref(), facts)?;
    let context = mounts::Context {
        bundle: &bundle.dir,
        linux,
        namespaces,
        authority: facts.authority(),
        label: label.as_ref(),
    };
    let mounts = mounts::plan(spec.mounts().as_deref().unwrap_or_default(), context)?;
    let (devices, links) = devices::plan(linux, &mounts)?;
    Ok(RootfsPlan {
        path: bundle.dir.join(root.path()),
        switch: match (namespaces.makes(own), wishes.no_pivot) {
            (false, _) => RootSwitch::Chroot,
            (true, true) => RootSwitch::Move,
            (true, false) => RootSwitch::Pivot,
        },
        propagation: propagation(linux.rootfs_propagation().as_deref())?,
        mounts,
        links,
        device_nodes: match facts.authority() == Authority::Root && !namespaces.has(LinuxNamespaceType::User)
        {
            true => DeviceNodes::Made,
            false => DeviceNodes::Bound,
        },
        devices,
        readonly: root.readonly().unwrap_or(false),
        masked,
        readonly_paths,
    })
}

fn propagation(word: Option<&str>) -> Result<Propagation> {
    match word.filter(|word| !word.is_empty()) {
        None => Ok(Propagation::NONE),
        Some(word) => Propagation::parse(word).ok_or_else(|| {
            invalid(format!("linux.rootfsPropagation: {word:?} is none of private, slave, shared, unbindable, with or without r"))
        }),
    }
}

fn paths(name: &'static str, list: Option<&[String]>) -> Result<Vec<InRootfs>> {
    let mut seen = std::collections::BTreeSet::new();
    let mut paths = Vec::new();
    for (index, text) in list.unwrap_or_default().iter().enumerate() {
        let what = || format!("{name}[{index}]");
        let path = InRootfs::absolute(Path::new(text)).doing(what)?;
        if path.name().is_none() {
            return Err(invalid("the container's root itself")).doing(what);
        }
        if seen.insert(path.clone()) {
            paths.push(path);
        }
    }
    Ok(paths)
}
