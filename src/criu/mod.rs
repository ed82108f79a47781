//! A client of CRIU, which writes processes to files and makes them from files again: criu(8).
//!
//! Each conversation has a CRIU of its own, `criu swrk`, at the other end of a socket. It is told what to do in one
//! request, and says on the way what has happened. It goes on when it is told to; when nobody is there any more to tell it,
//! it takes back all that it has done, until it has said that it is through. For that it is left to itself as a rule: it is
//! killed if it waits for a process that is not there any more, if it does not end in five seconds when nobody listens,
//! or if a second signal asks for it.

mod birth;
mod log;
mod message;
mod program;
mod session;

pub use birth::{Begin, Root};
pub use message::{CgroupMode, CgroupRoot, InheritFd, JoinNamespace, Kind, NetworkLock, Opts, PageServer};
pub use program::Program;
pub use session::{Notice, Session, Watch};
