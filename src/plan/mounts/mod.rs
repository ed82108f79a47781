//! `mounts[]` and the root file system: config.md, "Mounts" and "Root".

pub mod admit;
pub mod idmap;
pub mod label;
pub mod overlay;

use std::path::{Path, PathBuf};

use super::Authority;
use super::namespaces::Namespaces;
use super::options::{LONGEST_VALUE, Links, Options, Parameter, Propagation};
use crate::error::{Doing, Result, invalid};
use crate::rootpath::InRootfs;
use crate::spec::oci::{Linux, LinuxNamespaceType, Mount};
use crate::sys::mount::{Depth, MountAttr, attr};
use idmap::ShownIds;
use label::Label;

/// One entry of `mounts[]`, ready to be performed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountStep {
    /// Its place in `mounts[]`, for messages.
    pub index: usize,
    /// Where in the container.
    pub at: InRootfs,
    /// What is mounted there.
    pub source: Source,
    /// For the mount itself.
    pub attr: MountAttr,
    /// For the mount and all below it.
    pub attr_below: MountAttr,
    /// Applied in this order.
    pub propagation: Vec<Propagation>,
    /// Whose ids it shows, if not those in the file system.
    pub ids: Option<ShownIds>,
}

/// What a mount shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A file system of its own.
    Fresh(Fresh),
    /// A file or directory of the host.
    Bind {
        /// Absolute, on the host.
        from: PathBuf,
        /// With what is mounted below it, or not.
        depth: Depth,
        /// What a symbolic link there means.
        links: Links,
        /// Whether the link that the destination may be is itself covered.
        over_link: bool,
        /// Who opens it.
        by: Opener,
    },
    /// The container's own cgroup, of the tree that the host has (no cgroup namespace).
    OwnCgroup,
    /// The directory with the container's socket for sd_notify(3).
    Notify,
    /// Nothing new: the attributes of what is there already change, and parameters of its file system.
    Remount(Vec<Parameter>),
}

/// Which side opens the source of a bind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opener {
    /// Init, from its own copy of the host's mounts. An ordinary user's finds it before its ids change: with the
    /// others it may not reach it.
    Init,
    /// The host, when init asks: init has less privilege, or its mounts are not a copy of the host's, or none
    /// that the host's mounts still travel to.
    Host,
}

/// A file system to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fresh {
    /// As in filesystems(5).
    pub fstype: String,
    /// What mountinfo shows as source; a device for file systems that need one.
    pub name: Option<String>,
    /// The file system's parameters.
    pub parameters: Vec<Parameter>,
    /// It begins with a copy of what it covers: `tmpcopyup`.
    pub copy_up: bool,
}

impl std::fmt::Display for MountStep {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.source {
            Source::Notify => write!(f, "NOTIFY_SOCKET {}", self.at),
            _ => write!(f, "mounts[{}] {}", self.index, self.at),
        }
    }
}

impl MountStep {
    /// Whether it, or one below it, may be shared, be it with none but its own copies.
    pub fn may_be_shared(&self) -> bool {
        self.may_share_with_host() || self.propagation.iter().any(|word| word.mode == libc::MS_SHARED)
    }

    /// Whether what is mounted in it may appear on the host as well: that it is still shared with the host's mount that it
    /// is a copy of, or one below it is. Once cut, that does not come back: mount_namespaces(7), "Shared subtrees".
    pub fn may_share_with_host(&self) -> bool {
        let (mut this, mut below) = match self.source {
            Source::Bind { depth, .. } => (true, depth == Depth::Recursive),
            Source::OwnCgroup => (true, false),
            Source::Fresh(_) | Source::Notify | Source::Remount(_) => return false,
        };
        for propagation in &self.propagation {
            let stays = propagation.mode == libc::MS_SHARED;
            this &= stays;
            below &= stays || !propagation.recursive;
        }
        this || below
    }
}

/// What the mounts depend on besides themselves.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// The bundle: relative sources start here.
    pub bundle: &'a Path,
    /// For the container's id maps as they are written.
    pub linux: &'a Linux,
    /// The container's.
    pub namespaces: &'a Namespaces,
    /// The runtime's.
    pub authority: Authority,
    /// `linux.mountLabel`
    pub label: Option<&'a Label>,
}

/// Plans all of `mounts[]`, in their order.
pub fn plan(mounts: &[Mount], context: Context<'_>) -> Result<Vec<MountStep>> {
    let step = |(index, mount): (usize, &Mount)| {
        one(index, mount, &context).doing(|| format!("mounts[{index}] {}", mount.destination().display()))
    };
    mounts.iter().enumerate().map(step).collect()
}

fn one(index: usize, mount: &Mount, context: &Context<'_>) -> Result<MountStep> {
    let at = InRootfs::new(mount.destination())?;
    if at.name().is_none() {
        return Err(invalid(
            "the destination is the container's root, which linux.rootfsPropagation and root are for",
        ));
    }
    refuse_over_proc(&at, mount)?;
    let options = Options::parse(mount.options().as_deref().unwrap_or_default())?;
    let mut source = source(mount, &options, context)?;
    let ids = idmap::plan(mount, &options, &source, context)?;
    let mut attr = options.attr;
    if let Source::OwnCgroup = source {
        // The host's tree: the attributes of its own mount stay, and these come on top.
        attr.set |= attr::NOSUID | attr::NODEV | attr::NOEXEC;
    }
    let propagation = match options.propagation.is_empty() {
        // A detached copy of a shared mount is still shared with it: what the container mounts below
        // would show up on the host.
        true if matches!(source, Source::Bind { .. } | Source::OwnCgroup) => vec![Propagation::NONE],
        _ => options.propagation,
    };
    if let Source::Bind { by, links, .. } = &mut source {
        let plain = propagation == [Propagation::NONE] && ids.is_none() && *links == Links::Followed;
        let copied = context.namespaces.makes(LinuxNamespaceType::Mount)
            && !context.namespaces.has(LinuxNamespaceType::User);
        // An ordinary user may copy mounts only in a mount namespace of his own user namespace.
        *by = match context.authority.has_capabilities() && !(plain && copied) {
            true => Opener::Host,
            false => Opener::Init,
        };
    }
    Ok(MountStep { index, at, source, attr, attr_below: options.attr_below, propagation, ids })
}

/// Below /proc only files that tell about the machine may be covered: a label or sysctl written through a
/// covered file would go elsewhere (CVE-2019-16884, CVE-2025-52881).
fn refuse_over_proc(at: &InRootfs, mount: &Mount) -> Result<()> {
    const HARMLESS: [&str; 10] = [
        "/proc/cpuinfo",
        "/proc/diskstats",
        "/proc/meminfo",
        "/proc/stat",
        "/proc/swaps",
        "/proc/uptime",
        "/proc/loadavg",
        "/proc/slabinfo",
        "/proc/sys/kernel/ns_last_pid",
        "/proc/sys/crypto/fips_enabled",
    ];
    let is_proc = mount.typ().as_deref() == Some("proc");
    let remount = mount.options().as_ref().is_some_and(|o| o.iter().any(|w| w == "remount"));
    let proc_itself = at.is("/proc") && (is_proc || remount || binds_host_proc(mount));
    if !at.is_in("/proc") || proc_itself || HARMLESS.iter().any(|path| at.is(path)) {
        return Ok(());
    }
    Err(invalid(
        "a mount in /proc could redirect what is written there: only a proc file system may be at /proc",
    ))
}

/// The host's /proc at the container's: what containers in the host's pid namespace do.
fn binds_host_proc(mount: &Mount) -> bool {
    mount.source().as_deref() == Some(Path::new("/proc"))
}

fn source(mount: &Mount, options: &Options, context: &Context<'_>) -> Result<Source> {
    let fstype = mount.typ().as_deref().unwrap_or_default();
    let bind = options.bind.or_else(|| (fstype == "bind").then_some(Depth::Top));
    if options.remount {
        // With bind it is about the mount alone: mount(2), MS_REMOUNT.
        let parameters = if bind.is_some() { Vec::new() } else { options.parameters.clone() };
        return Ok(Source::Remount(parameters));
    }
    if let Some(depth) = bind {
        return bind_source(mount, options, depth, context);
    }
    if options.links != Links::Followed || options.over_link {
        return Err(invalid("copy-symlink, src-nofollow and dest-nofollow are for bind mounts"));
    }
    match fstype {
        "" | "none" => Err(invalid("neither a file system type nor the option bind or rbind")),
        "cgroup" | "cgroup2" if !context.namespaces.has(LinuxNamespaceType::Cgroup) => Ok(Source::OwnCgroup),
        _ if options.copy_up && fstype != "tmpfs" => Err(invalid("tmpcopyup is for a tmpfs")),
        _ => fresh_source(mount, options, fstype, context),
    }
}

fn bind_source(mount: &Mount, options: &Options, depth: Depth, context: &Context<'_>) -> Result<Source> {
    let from = mount.source().as_deref().filter(|s| !s.as_os_str().is_empty());
    let from = from.ok_or_else(|| invalid("a bind mount needs a source"))?;
    if options.links == Links::Copied && options.over_link {
        return Err(invalid("copy-symlink and dest-nofollow exclude each other"));
    }
    // Superblock flags and the file system's own parameters can't change for one mount of many: they mean
    // nothing here, as they mean nothing to mount(2).
    Ok(Source::Bind {
        from: context.bundle.join(from),
        depth,
        links: options.links,
        over_link: options.over_link,
        by: Opener::Host,
    })
}

fn fresh_source(mount: &Mount, options: &Options, fstype: &str, context: &Context<'_>) -> Result<Source> {
    let mut parameters = options.parameters.clone();
    match fstype {
        // All that devpts has done since Linux 4.7; the new mount API does not know the word.
        "devpts" => parameters.retain(|p| p.key != "newinstance"),
        "overlay" => overlay::settle(&mut parameters, context.bundle),
        _ => {}
    }
    // A read-only device can only be mounted read-only as a whole. Kernel file systems have one superblock
    // for many mounts, which must not become read-only for all.
    let shared = ["proc", "sysfs", "cgroup", "cgroup2", "mqueue", "devpts"].contains(&fstype);
    if options.attr.set & attr::RDONLY != 0 && !shared {
        parameters.push(Parameter::flag("ro"));
    }
    parameters.extend(context.label.and_then(|label| label.parameter(fstype, &parameters)));
    let name = mount.source().as_ref().map(|s| s.to_string_lossy().into_owned()).filter(|s| !s.is_empty());
    let source = name.iter().map(|name| ("source", name));
    let values = parameters.iter().filter_map(|p| Some((p.key.as_str(), p.value.as_ref()?)));
    if let Some((key, value)) = source.chain(values).find(|(_, value)| value.len() > LONGEST_VALUE) {
        let length = value.len();
        return Err(invalid(format!("{key}: {length} bytes, fsconfig(2) takes {LONGEST_VALUE} at once")));
    }
    let fstype = if fstype == "cgroup" { "cgroup2" } else { fstype };
    Ok(Source::Fresh(Fresh { fstype: fstype.to_owned(), name, parameters, copy_up: options.copy_up }))
}

#[cfg(test)]
mod tests {
    use super::{Authority, Context, Namespaces, Source, plan};
    use crate::spec::oci::Mount;
    use std::path::Path;

    fn planned(json: &str) -> Result<Vec<super::MountStep>, String> {
        let mounts: Vec<Mount> = serde_json::from_str(json).unwrap();
        let linux = serde_json::from_str(r#"{"namespaces":[{"type":"mount"},{"type":"cgroup"}]}"#).unwrap();
        let namespaces = Namespaces::plan(&linux).unwrap();
        let bundle = Path::new("/bundle");
        let authority = Authority::Root;
        plan(&mounts, Context { bundle, linux: &linux, namespaces: &namespaces, authority, label: None })
            .map_err(|e| format!("{e:#}"))
    }

    #[test]
    fn an_error_names_index_and_destination() {
        let error =
            planned(r#"[{"destination":"/a","type":"tmpfs"},{"destination":"/b","options":["bind"]}]"#);
        assert_eq!(error.unwrap_err(), "mounts[1] /b: a bind mount needs a source");
    }

    #[test]
    fn a_relative_bind_source_starts_at_the_bundle() {
        let steps = planned(r#"[{"destination":"/a","source":"x/y","options":["rbind"]}]"#).unwrap();
        assert!(matches!(&steps[0].source, Source::Bind { from, .. } if from == Path::new("/bundle/x/y")));
    }

    #[test]
    fn a_bind_that_says_nothing_of_propagation_is_private() {
        let steps = planned(r#"[{"destination":"/a","source":"/x","options":["bind"]}]"#).unwrap();
        assert_eq!(steps[0].propagation, [super::Propagation::NONE]);
    }

    #[test]
    fn a_bind_is_shared_with_the_host_until_it_is_cut_with_all_that_is_below() {
        for (options, shares) in [
            (r#""rbind""#, false),
            (r#""rbind", "rprivate""#, false),
            (r#""rbind", "rslave""#, false),
            (r#""rbind", "rslave", "rshared""#, false),
            (r#""rbind", "rshared""#, true),
            (r#""bind", "shared""#, true),
            (r#""rbind", "private""#, true),
            (r#""bind", "private""#, false),
            (r#""rbind", "slave", "shared""#, true),
            (r#""bind", "unbindable""#, false),
        ] {
            let json = format!(r#"[{{"destination":"/a","source":"/x","options":[{options}]}}]"#);
            assert_eq!(planned(&json).unwrap()[0].may_share_with_host(), shares, "{options}");
        }
        let fresh = planned(r#"[{"destination":"/a","type":"tmpfs","options":["shared"]}]"#).unwrap();
        assert!(!fresh[0].may_share_with_host());
    }

    #[test]
    fn mounts_below_proc_are_refused_but_for_harmless_files() {
        for at in ["/proc/self/attr", "/proc/sys/kernel", "/proc", "/proc/net/dev", "/x/../proc/1"] {
            assert!(
                planned(&format!(r#"[{{"destination":"{at}","source":"/x","options":["bind"]}}]"#)).is_err(),
                "{at}"
            );
        }
        assert!(planned(r#"[{"destination":"/proc/uptime","source":"/x","options":["bind"]}]"#).is_ok());
        assert!(planned(r#"[{"destination":"/proc","type":"proc","source":"proc"}]"#).is_ok());
    }
}
