//! A client of a D-Bus message bus, as much of one as it takes to ask systemd for a scope.
//!
//! No crate does: rustbus has no deadline for connecting and authentication (it waits for ever, and a bus that hangs up
//! has it read for ever), zbus needs an executor with threads, dbus links libdbus. None can keep one deadline over all
//! of it, which is what a command has to do that must not hang because a bus does.

mod address;
mod connection;
mod message;
mod text;
mod value;
mod wire;

pub use connection::{Connection, Refusal, refusal_of};
pub use message::{Message, Method, Type};
pub use text::parse;
pub use value::Value;
