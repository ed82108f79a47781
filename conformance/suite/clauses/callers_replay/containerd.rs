//! containerd's shim: go-runc.

use std::fs::File;

use serde_json::{Value, json};

use super::caller::{Caller, created, end_of, pid_in, process};
use super::words;
use crate::clause::{Outcome, same};
use crate::lab::Lab;

pub(super) fn containerd(lab: &Lab<'_>) -> Outcome {
    let bundle = lab.base().then("wait").save()?;
    let shim = Caller::go_runc(&bundle);
    let container = created(&shim, bundle, &[])?;
    let id = container.id();
    shim.works(["start", id])?;
    container.seen()?;
    let file = lab.dir.join("exec.pid");
    let order = process(lab, json!({ "then": { "exit": 5 } }), false)?;
    shim.works(words!["exec", "--process", order, "--detach", "--pid-file", file, id])?;
    same("the exit code of exec", end_of(pid_in(&file)?)?, 5)?;
    let pids: Value = serde_json::from_str(&shim.works(["ps", "--format", "json", id])?.stdout())?;
    same("the pids", &pids, &json!([container.pid]))?;
    shim.works(["pause", id])?;
    same("the status", shim.status(id)?.as_str(), "paused")?;
    shim.works(["resume", id])?;
    let resources = lab.file("resources", json!({ "unified": {} }).to_string(), 0o644)?;
    shim.call(["update", "--resources=-", id]).stdin(File::open(resources)?).finish()?.ok()?;
    shim.works(["kill", id, "15"])?;
    same("the exit code", container.end()?, 0)?;
    shim.run(["kill", "--all", id, "9"])?.ok()?;
    shim.run(["kill", id, "9"])?.fails_with("not running|no such process|already finished")?;
    shim.works(["delete", id])?;
    shim.run(["delete", id])?.fails_with("does not exist")?;
    shim.run(["kill", id, "9"])?.fails_with("does not exist|not running").map(drop)
}

pub(super) fn containerd_unstarted(lab: &Lab<'_>) -> Outcome {
    let bundle = lab.base().then("wait").save()?;
    let shim = Caller::go_runc(&bundle);
    let container = created(&shim, bundle, &[])?;
    same("the status", shim.status(container.id())?.as_str(), "created")?;
    shim.works(["delete", container.id()])?;
    container.end()?;
    shim.works(["delete", "--force", container.id()])?;
    shim.run(["delete", container.id()])?.fails_with("does not exist")
}
