//! conformance: the OCI runtime specification 1.3 for Linux, a case for each MUST and SHOULD, run against any
//! runtime through its program only.
//!
//! `conformance/run` builds everything, finds the peers and calls this program, which has to run as root with
//! cgroup2 at /sys/fs/cgroup. A clause is declared in `clauses/`, one file for each chapter; what a case can
//! say is in `draft.rs` and `ask.rs` (a configuration and what is expected of it), `container.rs` (the operations) and
//! `seen.rs` (what the probe has seen inside); `host.rs` has what a case does to the host meanwhile.
#![expect(
    clippy::disallowed_methods,
    reason = "those rules guard a runtime against its containers; the suite writes in its own directory"
)]

mod ask;
mod base;
mod bundle;
mod clause;
mod clauses;
mod cli;
mod command;
mod container;
mod draft;
mod host;
mod html;
mod lab;
mod leaks;
mod markdown;
#[path = "../properties.rs"]
mod properties;
mod report;
mod resources;
mod runner;
mod runtime;
mod seen;
mod socket;
mod sys;

use std::io::Write;
use std::process::ExitCode;

fn main() -> ExitCode {
    match cli::run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            writeln!(std::io::stderr().lock(), "conformance: {error:#}").unwrap_or_default();
            ExitCode::from(2)
        }
    }
}
