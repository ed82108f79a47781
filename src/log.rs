//! The log: on success nothing, on failure one object, warnings only if asked for with `--debug`.
//!
//! podman reads the whole file as one JSON object and containerd each line as one, with a time in
//! RFC 3339: both would break on a line more, or on another time.

use std::fmt;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::{Doing, Result};

/// How a line of the log looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `time="..." level=error msg="..."`
    Text,
    /// `{"level":"error","msg":"...","time":"..."}`
    Json,
}

#[derive(Debug)]
struct Log {
    file: Option<std::fs::File>,
    format: Format,
    debug: bool,
}

/// Whether this process still has the log's file.
static HAS_FILE: AtomicBool = AtomicBool::new(true);
static LOG: OnceLock<Log> = OnceLock::new();

/// Sets up the log, once, before anything can fail. The file is appended to, mode 0644.
pub fn init(path: Option<&Path>, format: Format, debug: bool) -> Result<()> {
    let open = |path: &Path| {
        std::fs::OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o644)
            .open(path)
            .doing(|| format!("log file {path:?}"))
    };
    let file = path.map(open).transpose()?;
    // A second call could only come from a second main.
    LOG.get_or_init(|| Log { file, format, debug });
    Ok(())
}

/// The log's file, for those who must keep it open.
pub fn file() -> Option<&'static std::fs::File> {
    LOG.get()?.file.as_ref()
}

/// From here on nothing is written to the file: the caller closes it, and its number may be another file's then.
pub fn leave_file() {
    HAS_FILE.store(false, Ordering::Relaxed);
}

/// The one line of a failure: to the log file, and in words to standard error, where callers match it.
pub fn error(message: &str) {
    if let Some(log) = LOG.get() {
        write_line(log, "error", message);
    }
    stderr(message);
}

/// Whether warnings are wanted: what only they need is not worth looking for otherwise.
pub fn is_verbose() -> bool {
    LOG.get().is_some_and(|log| log.debug)
}

/// Something that does not change the outcome. Only with `--debug`.
pub fn warn(message: fmt::Arguments<'_>) {
    let Some(log) = LOG.get().filter(|log| log.debug) else {
        return;
    };
    let message = message.to_string();
    write_line(log, "warning", &message);
    stderr(&message);
}

fn stderr(message: &str) {
    // In one write, for others may be writing, too. There is nobody left to tell if it is closed.
    drop(std::io::stderr().lock().write_all(format!("{message}\n").as_bytes()));
}

fn write_line(log: &Log, level: &str, message: &str) {
    let Some(mut file) = log.file.as_ref().filter(|_| HAS_FILE.load(Ordering::Relaxed)) else { return };
    let time = chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Nanos, true);
    let line = match log.format {
        Format::Json => serde_json::json!({ "level": level, "msg": message, "time": time }).to_string(),
        Format::Text => format!("time={time:?} level={level} msg={message:?}"),
    };
    // A full disk must not change what the program does; standard error has the same text.
    drop(file.write_all(format!("{line}\n").as_bytes()));
}
