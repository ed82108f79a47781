//! A file system that never answers: who looks for a name in it waits in the kernel, and not even SIGKILL ends that
//! once the request has been read. fuse(4), linux/fuse.h.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::JoinHandle;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

const LOOKUP: u32 = 1;
const FORGET: u32 = 2;
const GETATTR: u32 = 3;
const INIT: u32 = 26;
const INTERRUPT: u32 = 36;
const BATCH_FORGET: u32 = 42;

/// Mounted until it is dropped; who waits in it goes on then, with an error.
#[derive(Debug)]
pub(crate) struct SilentMount {
    at: PathBuf,
    end: Arc<AtomicBool>,
    waiting: Arc<AtomicU32>,
    server: Option<JoinHandle<()>>,
    /// Held for as long as nobody serves it.
    device: Option<File>,
}

impl SilentMount {
    /// Whether this machine has fuse.
    pub(crate) fn is_possible() -> bool {
        File::options().read(true).write(true).open("/dev/fuse").is_ok()
    }

    /// One that does not even say what its root is.
    pub(crate) fn of_nobody(dir: &Path) -> Self {
        let (end, waiting) = (Arc::default(), Arc::default());
        Self { at: dir.to_owned(), end, waiting, server: None, device: Some(mounted(dir)) }
    }

    pub(crate) fn at(dir: &Path) -> Self {
        let device = mounted(dir);
        let (end, waiting) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
        let (ended, counter) = (Arc::clone(&end), Arc::clone(&waiting));
        let server = std::thread::spawn(move || serve(device, &ended, &counter));
        Self { at: dir.to_owned(), end, waiting, server: Some(server), device: None }
    }

    /// How many have asked for a name, and get no answer.
    pub(crate) fn waiting(&self) -> u32 {
        self.waiting.load(Ordering::Relaxed)
    }
}

fn mounted(dir: &Path) -> File {
    let device = File::options().read(true).write(true).open("/dev/fuse").unwrap();
    let options = format!("fd={},rootmode=40000,user_id=0,group_id=0,allow_other", device.as_raw_fd());
    mount(Some("silent"), dir, Some("fuse"), MsFlags::empty(), Some(options.as_str())).unwrap();
    device
}

impl Drop for SilentMount {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
        drop(self.device.take());
        if let Some(server) = self.server.take() {
            server.join().unwrap();
        }
        umount2(&self.at, MntFlags::MNT_DETACH).unwrap();
    }
}

/// To close the device ends all that waits.
fn serve(mut device: File, end: &AtomicBool, waiting: &AtomicU32) {
    let mut request = vec![0; 1 << 17];
    while !end.load(Ordering::Relaxed) {
        let mut fds = [PollFd::new(device.as_fd(), PollFlags::POLLIN)];
        if poll(&mut fds, PollTimeout::from(10u8)).unwrap() == 0 {
            continue;
        }
        let Ok(length) = device.read(&mut request) else { return };
        let number = |at: usize| u32::from_ne_bytes(request[at..at + 4].try_into().unwrap());
        let unique = u64::from_ne_bytes(request[8..16].try_into().unwrap());
        assert_eq!(usize::try_from(number(0)).unwrap(), length);
        let answer = match number(4) {
            LOOKUP => {
                waiting.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            FORGET | BATCH_FORGET | INTERRUPT => continue,
            INIT => Ok(init(number(40))),
            GETATTR => Ok(directory()),
            _ => Err(nix::libc::ENOSYS),
        };
        let (errno, body) = answer.map_or_else(|errno| (-errno, Vec::new()), |body| (0, body));
        let size = u32::try_from(16 + body.len()).unwrap();
        let reply = [&size.to_ne_bytes()[..], &errno.to_ne_bytes(), &unique.to_ne_bytes(), &body].concat();
        drop(device.write(&reply));
    }
}

/// struct fuse_init_out: versions, and nothing that is not needed.
fn init(major: u32) -> Vec<u8> {
    let mut out = [major.to_ne_bytes(), 31u32.to_ne_bytes()].concat();
    out.resize(64, 0);
    // max_write
    out[20..24].copy_from_slice(&4096u32.to_ne_bytes());
    out
}

/// struct fuse_attr_out of a directory, valid for a long time.
fn directory() -> Vec<u8> {
    let mut out = 3600u64.to_ne_bytes().to_vec();
    out.resize(104, 0);
    out[16..24].copy_from_slice(&1u64.to_ne_bytes());
    // mode, nlink
    out[76..80].copy_from_slice(&0o040_755u32.to_ne_bytes());
    out[80..84].copy_from_slice(&2u32.to_ne_bytes());
    out
}
