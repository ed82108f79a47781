//! regex-lite by the name of regex: see Cargo.toml.
pub use regex_lite::*;
