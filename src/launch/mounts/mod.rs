//! Runs in: host. What of `mounts[]` only the host can do: it is prepared before anything exists, and done when
//! init asks for it.

mod idmap;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use crate::error::{Doing, Kind, Result, failure};
use crate::init::{self, Own};
use crate::plan::Plan;
use crate::plan::id_maps::IdMaps;
use crate::plan::mounts::idmap::{Ids, ShownIds};
use crate::plan::mounts::{MountStep, Source};
use crate::plan::options::Links;
use crate::proc::Proc;
use crate::sys::mount::{self, Depth};

/// The host's part of the plan's mounts.
#[derive(Debug)]
pub(super) struct HostMounts<'a> {
    steps: &'a [MountStep],
    /// A user namespace for each pair of maps that a mount has.
    made: Vec<(&'a IdMaps, OwnedFd)>,
    /// The user namespace that the container joins, where a mount has its maps.
    joined: Option<OwnedFd>,
}

impl<'a> HostMounts<'a> {
    /// Looks at all sources, and makes what they need. `namespaces` are those to join, as in the plan.
    pub(super) fn prepare(plan: &'a Plan, proc: &Proc, namespaces: &[OwnedFd]) -> Result<Self> {
        let mut mounts = Self { steps: &plan.rootfs.mounts, made: Vec::new(), joined: None };
        for step in mounts.steps {
            look_at(step)
                .and_then(|()| mounts.prepare_ids(step, proc, namespaces))
                .doing(|| step.to_string())?;
        }
        Ok(mounts)
    }

    fn prepare_ids(&mut self, step: &'a MountStep, proc: &Proc, namespaces: &[OwnedFd]) -> Result<()> {
        match step.ids.as_ref().map(|map| &map.ids) {
            Some(Ids::Maps(maps)) if !self.made.iter().any(|(made, _)| *made == maps) => {
                self.made.push((maps, idmap::user_namespace(proc, maps)?));
            }
            Some(Ids::Joined(at)) if self.joined.is_none() => {
                self.joined = namespaces.get(*at).map(OwnedFd::try_clone).transpose()?;
            }
            Some(_) | None => {}
        }
        Ok(())
    }

    /// A detached mount of what `mounts[number]` binds, or the link that it copies.
    pub(super) fn open(&self, number: usize, own: &Own) -> Result<OwnedFd> {
        let step = self.step(number)?;
        let open = || match (&step.source, own.shown_by(&step.source)) {
            (Source::Bind { from, depth, links, .. }, _) => self.clone_source(step, from, *depth, *links),
            (_, Some(path)) => mount::clone_path(path, Depth::Top).map_err(Into::into),
            (_, None) => Err(nothing_to_do()),
        };
        open().doing(|| step.to_string())
    }

    fn clone_source(&self, step: &MountStep, from: &Path, depth: Depth, links: Links) -> Result<OwnedFd> {
        let tree = match links {
            Links::Followed => mount::clone_path(from, depth)?,
            Links::Bound | Links::Copied => init::mount_found(init::find(from, links)?, links, depth)?,
        };
        if let Some(map) = &step.ids {
            let user = self.user_namespace(map)?;
            let mapped = mount::map_ids(tree.as_fd(), map.depth, user);
            mapped.map_err(|error| idmap::explained(error, from, map.depth, user))?;
        }
        Ok(tree)
    }

    /// Has a detached mount that init has made show the ids of `mounts[number]`.
    pub(super) fn map(&self, number: usize, made: Option<OwnedFd>) -> Result<()> {
        let step = self.step(number)?;
        let (Source::Fresh(fresh), Some(map), Some(made)) = (&step.source, &step.ids, made) else {
            return Err(nothing_to_do());
        };
        mount::map_ids(made.as_fd(), map.depth, self.user_namespace(map)?)
            .doing(|| format!("id-mapped {}", fresh.fstype))
            .doing(|| step.to_string())
    }

    fn step(&self, number: usize) -> Result<&'a MountStep> {
        self.steps.get(number).ok_or_else(nothing_to_do)
    }

    fn user_namespace(&self, map: &ShownIds) -> Result<BorrowedFd<'_>> {
        let namespace = match &map.ids {
            Ids::Maps(maps) => self.made.iter().find(|(made, _)| *made == maps).map(|(_, fd)| fd),
            Ids::Joined(_) => self.joined.as_ref(),
        };
        namespace.map(AsFd::as_fd).ok_or_else(nothing_to_do)
    }
}

fn nothing_to_do() -> anyhow::Error {
    failure(Kind::System, "init asks for a mount that is not in the plan")
}

/// That it is there: before anything exists.
fn look_at(step: &MountStep) -> Result<()> {
    match &step.source {
        Source::Bind { from, links, .. } => init::find(from, *links).map(drop),
        _ => Ok(()),
    }
}
