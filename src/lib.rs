//! minidocker-oci, an OCI runtime for Linux, and minidocker, the frontend on top of it.

pub mod sys;
pub mod error;
pub mod log;
pub mod proc;
pub mod rootpath;
pub mod spec;
pub mod plan;
pub mod container;
pub mod init;
pub mod launch;
pub mod verbs;
pub mod oci;
pub mod frontend;
