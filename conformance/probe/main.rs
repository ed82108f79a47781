//! probe: the only program in the containers of the conformance suite. It prints what it sees as one line of
//! JSON, and then does what it was asked: exits, waits for signals, dies. As a hook it writes down how it was
//! called.
//!
//! `probe [ORDER] [ARG]...` with ORDER as JSON: `{"stat": ["/dev/null"], "then": {"exit": 3}}`; what can be
//! asked for is in `asked.rs`. `probe hook FILE [fail | sleep]` is a hook.
#![expect(clippy::disallowed_methods, reason = "those rules guard a runtime against its containers")]

mod asked;
mod hook;
mod process;
mod sys;

use std::io::Write;
use std::process::ExitCode;

use serde_json::{Value, json};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args_os().map(|arg| arg.to_string_lossy().into_owned()).collect();
    if args.get(1).is_some_and(|mode| mode == "hook") {
        return hook::run(&args);
    }
    let order = args.get(1).map_or(Value::Null, |text| serde_json::from_str(text).unwrap_or(Value::Null));
    let waits = order["then"] == "wait";
    if waits {
        // Before anybody is told that this process is there.
        sys::block_signals();
    }
    let mut seen = process::report();
    if let (Value::Object(seen), Value::Object(asked)) = (&mut seen, asked::answer(&order)) {
        seen.extend(asked);
    }
    say(&seen);
    match &order["then"] {
        Value::String(then) if then == "wait" => wait_for_signals(),
        Value::String(then) if then == "abort" => std::process::abort(),
        then => ExitCode::from(then["exit"].as_u64().and_then(|code| u8::try_from(code).ok()).unwrap_or(0)),
    }
}

/// Tells each signal in a line of its own, until SIGTERM.
fn wait_for_signals() -> ExitCode {
    loop {
        match sys::next_signal() {
            Ok(number) => say(&json!({ "signal": number })),
            Err(_) => return ExitCode::FAILURE,
        }
        if sys::last_was_term() {
            return ExitCode::SUCCESS;
        }
    }
}

/// A line on standard output; nobody is left to tell when that fails.
fn say(line: &Value) {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{line}").and_then(|()| stdout.flush()).unwrap_or_default();
}
