//! A client of CRIU, which writes processes to files and makes them from files again: criu(8).
//!
//! Each conversation has a CRIU of its own, `criu swrk`, at the other end of a socket. It is told what to do in one
//! request, and says on the way what has happened; it goes on when it is told to, and otherwise it takes back all
//! that it has done. So it does when this process is gone: for that it is never killed.

mod log;
mod message;
mod program;
mod session;

pub use message::{CgroupMode, CgroupRoot, InheritFd, JoinNamespace, Kind, NetworkLock, Opts, PageServer};
pub use program::Program;
pub use session::{Begin, Notice, Root, Session, Watch};
