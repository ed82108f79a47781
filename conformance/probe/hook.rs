//! The probe as a hook: writes down how it was called, then does as its words say.

use std::fs;
use std::io::Read;
use std::process::ExitCode;
use std::time::Duration;

use serde_json::{Value, json};

use crate::process;

/// `hook FILE [fail | sleep]`. FILE gets one JSON document, whole or not at all.
pub(crate) fn run(args: &[String]) -> ExitCode {
    let Some(file) = args.get(2) else {
        return ExitCode::FAILURE;
    };
    let mut stdin = String::new();
    let read = std::io::stdin().read_to_string(&mut stdin);
    let mut record = process::report();
    record["stdin"] = serde_json::from_str::<Value>(&stdin).unwrap_or(Value::Null);
    record["stdinText"] = json!(read.is_ok().then_some(stdin));
    record["root"] = json!(list("/"));
    let whole = format!("{file}.part");
    let kept = fs::write(&whole, record.to_string()).and_then(|()| fs::rename(&whole, file));
    let then = args.get(3).map(String::as_str);
    if then == Some("sleep") {
        std::thread::sleep(Duration::from_secs(300));
    }
    if kept.is_err() || then == Some("fail") { ExitCode::from(7) } else { ExitCode::SUCCESS }
}

fn list(dir: &str) -> Vec<String> {
    let Ok(dir) = fs::read_dir(dir) else {
        return Vec::new();
    };
    dir.filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned())).collect()
}
