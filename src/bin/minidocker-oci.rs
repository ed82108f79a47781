//! The runtime. Everything is in the library.

#![no_main]

minidocker_oci::entry!(minidocker_oci::oci::main);
