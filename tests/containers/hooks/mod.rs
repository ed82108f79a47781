//! Hooks: config.md, "POSIX-platform Hooks", and runtime.md, "Lifecycle".

mod failures;
mod order;
mod surroundings;
mod time;

use serde_json::{Value, json};

const KINDS: [&str; 6] =
    ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];

fn hook(config: &mut Value, kind: &str, script: &str) {
    let hook = json!({ "path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/bin:/usr/bin"] });
    let hooks = &mut config["hooks"][kind];
    match hooks.as_array_mut() {
        Some(hooks) => hooks.push(hook),
        None => *hooks = json!([hook]),
    }
}
