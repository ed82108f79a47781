//! `restore ID`: runc's, not the specification's. A container from what `checkpoint` has written, by CRIU.

use std::path::PathBuf;

use super::Runtime;
use super::create::{Creation, Foreground, order, terminal};
use super::run::{Attendance, stay};
use crate::container::images::Dir;
use crate::criu::Opts;
use crate::error::{Doing, Result, invalid, unsupported};
use crate::launch::foreground::Signals;
use crate::launch::restore::{self, Images};
use crate::launch::{Launched, Start, facts};
use crate::plan;
use crate::proc::is_machines_root;
use crate::spec;

/// What is to be restored, and how.
#[derive(Debug)]
pub struct Asked {
    /// The container, as `create` would make it.
    pub creation: Creation,
    /// `--image-path`
    pub images: PathBuf,
    /// `--work-path`; the images' without one.
    pub work: Option<PathBuf>,
    /// What is CRIU's alone.
    pub opts: Opts,
}

/// Makes the container, whose program goes on at once. Answers its exit code, or 0 if it is detached.
pub fn restore(runtime: &Runtime, asked: Asked, attendance: Attendance) -> Result<u8> {
    let id = asked.creation.id.clone();
    if attendance == Attendance::Detached {
        make(runtime, asked, Foreground::No).doing(|| format!("restore of container {id}"))?;
        return Ok(0);
    }
    let signals = Signals::hold()?;
    let launched = make(runtime, asked, Foreground::Yes).doing(|| format!("restore of container {id}"))?;
    stay(runtime, &id, launched, &signals, attendance)
}

fn make(runtime: &Runtime, asked: Asked, foreground: Foreground) -> Result<Launched> {
    let Asked { creation, images, work, opts } = asked;
    if !is_machines_root() {
        return Err(super::checkpoint::only_root());
    }
    if creation.preserve_fds > 0 {
        let text = "--preserve-fds: of the descriptors of a container that is restored only 0, 1 and 2 are the caller's";
        return Err(invalid(text));
    }
    let bundle = spec::load(&creation.bundle, creation.config.as_deref())?;
    let facts = facts::of(&bundle.spec)?;
    let plan = plan::compile(&bundle, creation.id.as_str(), facts, creation.wishes)?;
    if !plan.net_devices.is_empty() {
        return Err(unsupported("linux.netDevices can't be restored"));
    }
    let terminal = terminal(plan.has_terminal(), creation.console_socket.as_deref(), foreground)?;
    let dir = Dir::open_images(&images).doing(|| "--image-path")?;
    let work = work.as_deref().map_or_else(|| Dir::open(&images), Dir::make).doing(|| "--work-path")?;
    work.check_for(restore::FILES).doing(|| "--work-path")?;
    let order = order(runtime, &creation, (&bundle, &plan), (Start::AtOnce, terminal), None);
    restore::restore(order, Images { dir: &dir, work: &work, opts })
}
