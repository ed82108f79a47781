//! The frontend. Everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    minidocker_oci::frontend::main(std::env::args_os())
}
