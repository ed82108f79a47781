//! minidocker-oci, an OCI runtime for Linux, and minidocker, the frontend on top of it.

pub mod sys;
