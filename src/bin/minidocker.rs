//! The frontend. Everything is in the library.

#![no_main]

minidocker_oci::entry!(minidocker_oci::frontend::main);
