//! An image: for now a plain directory.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use crate::error::{Doing, Kind, Result, failure, invalid};
use crate::sys::fs::{self, OFlag};
use crate::sys::{Call, Errno};

/// An image, open.
#[derive(Debug)]
pub(super) struct Image {
    /// As given.
    pub(super) path: PathBuf,
    pub(super) dir: OwnedFd,
}

/// Opens an image's directory. A link on the way to it is followed here, once, on the host; nothing in the
/// directory is looked at but whether there is anything.
pub(super) fn open(path: &Path) -> Result<Image> {
    let what = || format!("image {path:?}");
    let dir = match fs::open(path, OFlag::O_RDONLY | OFlag::O_DIRECTORY) {
        Err(error) if error.errno == Errno::ENOENT => {
            Err(failure(Kind::NotFound, "there is no such directory"))
        }
        Err(error) if error.errno == Errno::ENOTDIR => Err(invalid("not a directory")),
        opened => opened.map_err(Into::into),
    };
    let dir = dir.doing(what)?;
    match is_empty(&dir).doing(what)? {
        true => Err(invalid("the directory is empty")).doing(what),
        false => Ok(Image { path: path.to_owned(), dir }),
    }
}

fn is_empty(dir: &OwnedFd) -> Result<bool> {
    let copy = dir.try_clone()?;
    let mut listing = nix::dir::Dir::from_fd(copy).call(|| "fdopendir()")?;
    for entry in listing.iter() {
        let entry = entry.call(|| "readdir()")?;
        if ![c".", c".."].contains(&entry.file_name()) {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::open;
    use std::path::Path;

    #[test]
    fn what_is_no_image_is_refused_plainly() {
        let message = |path: &str| format!("{:#}", open(Path::new(path)).unwrap_err());
        assert_eq!(message("/nosuch/image"), "image \"/nosuch/image\": there is no such directory");
        assert_eq!(message("/etc/passwd"), "image \"/etc/passwd\": not a directory");
    }

    #[test]
    fn a_directory_needs_something_in_it() {
        let dir = std::env::temp_dir().join(format!("image-{}", std::process::id()));
        std::process::Command::new("mkdir").arg(&dir).status().unwrap();
        let empty = open(&dir);
        std::process::Command::new("mkdir").arg(dir.join("bin")).status().unwrap();
        let filled = open(&dir);
        std::process::Command::new("rm").arg("-r").arg(&dir).status().unwrap();
        assert!(format!("{:#}", empty.unwrap_err()).ends_with("the directory is empty"));
        assert!(filled.is_ok());
    }
}
