//! The runtime. Everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    minidocker_oci::oci::main(std::env::args_os())
}
