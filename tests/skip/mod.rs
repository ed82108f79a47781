//! How a test of any program says that it did not run.

use std::io::Write;

/// A skip is no pass: `tests/run` counts these lines. They go past the capture of the test harness, and to the file
/// that `TEST_SKIPS` names.
pub(crate) fn skip(reason: &str) {
    let line = format!("SKIP {}: {reason}\n", test_name());
    std::io::stdout().lock().write_all(line.as_bytes()).unwrap();
    if let Some(path) = std::env::var_os("TEST_SKIPS") {
        let file = std::fs::OpenOptions::new().append(true).create(true).open(path);
        file.unwrap().write_all(line.as_bytes()).unwrap();
    }
}

/// The test harness names each thread after its test.
pub(crate) fn test_name() -> String {
    std::thread::current().name().unwrap_or("?").to_owned()
}
