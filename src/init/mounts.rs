//! Runs in: init, before the pivot. Every mount is made detached, gets its attributes, and is attached to
//! a descriptor that the one resolver has opened: no path of the container is ever mounted on.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::additions::Additions;
use super::namespaces::set_sysctls;
use super::{Inherited, copy_up, mount_found, procfs};
use crate::container::handshake::{Link, Message};
use crate::error::{Doing, Result, unsupported};
use crate::plan::Plan;
use crate::plan::mounts::{Fresh, MountStep, Opener, Source, overlay};
use crate::plan::options::{Links, Parameter, Propagation};
use crate::proc::Proc;
use crate::rootpath::{InRootfs, Make, Rootfs};
use crate::spec::oci::LinuxNamespaceType;
use crate::sys::fs::{self, OFlag};
use crate::sys::mount::{self, Depth, MountAttr, Whole, attr};
use crate::sys::{Call, SysError};

const READ_ONLY: MountAttr = MountAttr { set: attr::RDONLY, clear: 0, propagation: 0, userns_fd: 0 };

/// What has been mounted and is still needed.
#[derive(Debug)]
pub(super) struct Mounted {
    /// The container's own devpts.
    pub(super) devpts: Option<OwnedFd>,
    /// The proc and sysfs file systems that nothing covers, by where they are.
    pub(super) kernel: Vec<(InRootfs, Rootfs)>,
    /// To become read-only when all that is made in them is made.
    read_only: Vec<ReadOnly>,
}

/// Performs the plan's mounts in their order; for each there is what has been found of it already.
pub(super) fn perform(
    given: &Inherited<'_>,
    (root, additions): (&Rootfs, &Additions),
    (found, is_suspect): (Vec<Option<OwnedFd>>, bool),
) -> Result<Mounted> {
    let mut mounted = Mounted { devpts: None, kernel: Vec::new(), read_only: Vec::new() };
    let host = given.link()?;
    let mut may_be_in_shared = false;
    for (number, (step, found)) in given.plan.rootfs.mounts.iter().zip(found).enumerate() {
        let callers_cgroup = step.source == Source::OwnCgroup && !given.record.cgroup.is_ours();
        let joined = given.sources.joined(given.plan, LinuxNamespaceType::Pid).filter(|_| is_suspect);
        let suspect = joined.map(|(_, theirs)| theirs);
        let plan = given.plan;
        let turn =
            Turn { number, step, root, additions, host, plan, callers_cgroup, suspect, may_be_in_shared };
        mounted.add(&turn, found).doing(|| step.to_string())?;
        may_be_in_shared |= step.may_be_shared();
    }
    Ok(mounted)
}

/// One mount, when it is its turn.
struct Turn<'a> {
    number: usize,
    step: &'a MountStep,
    root: &'a Rootfs,
    additions: &'a Additions,
    host: &'a Link,
    plan: &'a Plan,
    /// It shows a cgroup that is not the container's to change (CVE-2023-25809).
    callers_cgroup: bool,
    /// The pid namespace that is joined, if a procfs has to be asked whether it is that one's.
    suspect: Option<&'a OwnedFd>,
    /// There is one before it that may be shared, and it may be attached in that.
    may_be_in_shared: bool,
}

impl Turn<'_> {
    /// A procfs from a context that somebody else may have opened.
    fn checked(&self, made: OwnedFd) -> Result<OwnedFd> {
        match self.suspect {
            Some(theirs) => procfs::checked(made, theirs),
            None => Ok(made),
        }
    }

    /// Before it is attached: there is no moment in which what happens in it reaches the host, if it must not.
    fn prepare_propagation(&self, mount: &OwnedFd) -> Result<(), SysError> {
        if !self.may_be_in_shared {
            return set_propagation(mount.as_fd(), &self.step.propagation);
        }
        // An unbindable mount can't be attached in a shared one.
        let bindable = |word: &Propagation| match word.mode {
            libc::MS_UNBINDABLE => Propagation { mode: libc::MS_PRIVATE, ..*word },
            _ => *word,
        };
        let words: Vec<_> = self.step.propagation.iter().map(bindable).collect();
        set_propagation(mount.as_fd(), &words)
    }

    /// What is attached in a shared mount is shared by that with its copies there, whatever it was before:
    /// mount_namespaces(7), "Shared subtrees".
    fn finish_propagation(&self, mount: &OwnedFd) -> Result<(), SysError> {
        match self.may_be_in_shared {
            true => set_propagation(mount.as_fd(), &self.step.propagation),
            false => Ok(()),
        }
    }

    /// Those that are to be set through this mount, if it is the one.
    fn set_sysctls(&self, made: OwnedFd) -> Result<OwnedFd> {
        if self.plan.sysctls_by != Some(self.number) {
            return Ok(made);
        }
        let proc = Proc::detached(made);
        set_sysctls(self.plan, &proc)?;
        Ok(proc.into_fd())
    }
}

impl Mounted {
    fn add(&mut self, turn: &Turn<'_>, found: Option<OwnedFd>) -> Result<()> {
        let step = turn.step;
        if !matches!(step.source, Source::Remount(_)) {
            self.kernel.retain(|(at, _)| at.within(&step.at).is_none());
        }
        match &step.source {
            Source::Fresh(fresh) => self.add_fresh(turn, fresh, found),
            Source::Bind { .. } | Source::OwnCgroup | Source::Notify => {
                attach_bind(turn, &copy(turn, found)?)
            }
            Source::Remount(parameters) => {
                let there = turn.root.open(&step.at, OFlag::O_PATH)?;
                if !parameters.is_empty() {
                    mount::reconfigure(there.as_fd(), |fs| configure(fs, None, parameters.iter()))?;
                }
                change(there.as_fd(), step)?;
                set_propagation(there.as_fd(), &step.propagation).map_err(Into::into)
            }
        }
    }

    fn add_fresh(&mut self, turn: &Turn<'_>, fresh: &Fresh, context: Option<OwnedFd>) -> Result<()> {
        let (step, root) = (turn.step, turn.root);
        // A tmpfs is filled before it becomes read-only: its copy, devices, links, mount points.
        let later = fresh.fstype == "tmpfs" && step.attr.set & attr::RDONLY != 0;
        let attrs = if later { step.attr.set & !attr::RDONLY } else { step.attr.set };
        let parameters = fresh.parameters.iter().filter(|p| !(later && p.key == "ro"));
        let configured = |fs: BorrowedFd<'_>| configure(fs, fresh.name.as_deref(), parameters);
        let made = match context {
            Some(context) => mount::fresh_from(context.as_fd(), attrs, configured)
                .map_err(Into::into)
                .and_then(|made| turn.checked(made)),
            // It would be the host's: that of this process.
            None if fresh.fstype == "proc" && turn.plan.namespaces.has_strangers() => Err(unsupported(
                "the joined pid namespace does not belong to the container's user namespace, which can't mount its procfs",
            )),
            None => mount::fresh(&fresh.fstype, attrs, configured).map_err(Into::into),
        };
        let made = match made {
            Err(_) if fresh.fstype == "overlay" && mount::takes_parameters_whole("overlay") => {
                whole(turn, fresh)?
            }
            made => made?,
        };
        if step.ids.is_some() {
            // The maps may be of a user namespace that this process is not in.
            turn.host.ask(&Message::MapMount(turn.number), Some(made.as_fd()))?;
        }
        let made = turn.set_sysctls(made)?;
        let rest = MountStep { attr: MountAttr::default(), ..step.clone() };
        change(made.as_fd(), &rest)?;
        turn.prepare_propagation(&made)?;
        let target = match fresh.fstype.as_str() {
            // What is written there later must not go elsewhere: CVE-2019-19921, CVE-2023-27561.
            "proc" | "sysfs" => root.make_plain_dir(&step.at)?,
            _ => root.make_dir(&step.at)?,
        };
        if fresh.copy_up {
            copy_up::tree(&target, &made, &fresh.parameters).doing(|| "tmpcopyup")?;
        }
        mount::attach(made.as_fd(), target.as_fd())?;
        turn.finish_propagation(&made)?;
        if fresh.fstype == "devpts" && step.at.is("/dev/pts") {
            self.devpts = Some(made);
        } else if matches!(fresh.fstype.as_str(), "proc" | "sysfs") {
            self.kernel.push((step.at.clone(), Rootfs::new(made)));
        } else if later {
            let name = step.to_string();
            self.read_only.push(ReadOnly { name, mount: made, may_be_in_shared: turn.may_be_in_shared });
        }
        Ok(())
    }

    /// Makes read-only what was kept writable until now.
    pub(super) fn finish(&self) -> Result<()> {
        self.read_only.iter().try_for_each(|tmpfs| tmpfs.finish().doing(|| tmpfs.name.clone()))
    }
}

/// A tmpfs that is writable as yet.
#[derive(Debug)]
struct ReadOnly {
    name: String,
    mount: OwnedFd,
    may_be_in_shared: bool,
}

impl ReadOnly {
    fn finish(&self) -> Result<(), SysError> {
        if self.may_be_in_shared {
            // Its copies are as writable as it was when it was attached, and nobody's here.
            mount::reconfigure(self.mount.as_fd(), |fs| mount::fsconfig_flag(fs, "ro"))?;
        }
        mount::set_attr(self.mount.as_fd(), Depth::Top, &READ_ONLY)
    }
}

/// An overlay before Linux 6.5: with more layers and other names than fsconfig(2) takes, and errors that name them.
fn whole(turn: &Turn<'_>, fresh: &Fresh) -> Result<OwnedFd> {
    let whole = Whole {
        fstype: &fresh.fstype,
        source: fresh.name.as_deref(),
        data: &overlay::whole(&fresh.parameters),
        read_only: fresh.parameters.iter().any(|parameter| parameter.key == "ro"),
    };
    // Over the root, which is nobody's peer: its destination may be in a bind that is.
    whole.mount(turn.step.attr.set, turn.root.dir()).map_err(Into::into)
}

fn configure<'p>(
    fs: BorrowedFd<'_>,
    name: Option<&str>,
    parameters: impl Iterator<Item = &'p Parameter>,
) -> Result<(), SysError> {
    if let Some(name) = name {
        mount::fsconfig_string(fs, "source", name.as_bytes())?;
    }
    for parameter in parameters {
        match &parameter.value {
            Some(value) => mount::fsconfig_string(fs, &parameter.key, value.as_bytes())?,
            None => mount::fsconfig_flag(fs, &parameter.key)?,
        }
    }
    Ok(())
}

/// A detached mount of what is bound, made when it is its turn: /proc/self/mountinfo lists mounts by their age.
fn copy(turn: &Turn<'_>, found: Option<OwnedFd>) -> Result<OwnedFd> {
    match (&turn.step.source, found) {
        (Source::Bind { links, depth, .. }, Some(found)) => mount_found(found, *links, *depth),
        (_, Some(found)) => mount::clone_fd(found.as_fd(), Depth::Top).map_err(Into::into),
        (Source::Bind { from, depth, by: Opener::Init, .. }, None) => {
            mount::clone_path(from, *depth).map_err(Into::into)
        }
        (_, None) => turn.host.ask_for_fd(&Message::OpenSource(turn.number)),
    }
}

fn attach_bind(turn: &Turn<'_>, tree: &OwnedFd) -> Result<()> {
    let Turn { step, root, .. } = turn;
    let kind = fs::file_type(&fs::stat(tree)?);
    let (links, over_link) = match &step.source {
        Source::Bind { links, over_link, .. } => (*links, *over_link),
        _ => (Links::Followed, false),
    };
    if links == Links::Copied && kind == libc::S_IFLNK {
        // No mount: this is the link itself.
        let target = nix::fcntl::readlinkat(tree, c"").call(|| "readlinkat(source)")?;
        return root.make_link(&step.at, &target);
    }
    // Before it is attached: there is no moment in which it could be written to if it is read-only.
    change(tree.as_fd(), step)?;
    turn.prepare_propagation(tree)?;
    if turn.callers_cgroup {
        // Whatever its options say.
        mount::set_attr(tree.as_fd(), Depth::Top, &READ_ONLY)?;
    }
    let target = match (over_link, kind) {
        (true, libc::S_IFDIR) => root.make_or_link(&step.at, Make::Dir)?,
        (true, _) => root.make_or_link(&step.at, Make::File)?,
        (false, libc::S_IFDIR) => root.make_dir(&step.at)?,
        (false, _) => root.make_file(&step.at)?,
    };
    match step.source {
        // Not one of the configuration's.
        Source::Notify => turn.additions.attach(tree.as_fd(), root, target.as_fd()),
        _ => {
            mount::attach(tree.as_fd(), target.as_fd())?;
            turn.finish_propagation(tree).map_err(Into::into)
        }
    }
}

/// The attributes of a mount.
fn change(mount: BorrowedFd<'_>, step: &MountStep) -> Result<(), SysError> {
    let none = MountAttr::default();
    if step.attr_below != none {
        mount::set_attr(mount, Depth::Recursive, &step.attr_below)?;
    }
    if step.attr != none {
        mount::set_attr(mount, Depth::Top, &step.attr)?;
    }
    Ok(())
}

fn set_propagation(mount: BorrowedFd<'_>, words: &[Propagation]) -> Result<(), SysError> {
    words.iter().try_for_each(|word| {
        let depth = if word.recursive { Depth::Recursive } else { Depth::Top };
        mount::set_attr(mount, depth, &MountAttr { propagation: word.mode, ..MountAttr::default() })
    })
}
