//! buildah, CRI-O, BuildKit, conmon-rs, and scripts in between.

use std::ffi::OsString;
use std::fs::File;

use serde_json::{Value, json};

use super::caller::{Caller, conmons, created, end_of, pid_in, podmans, process};
use super::words;
use crate::clause::{Outcome, Stop, expect, same};
use crate::command::{Done, eventually};
use crate::container::Container;
use crate::lab::Lab;

pub(super) fn buildah(lab: &Lab<'_>) -> Outcome {
    let bundle = lab.base().then("wait").save()?;
    let mut buildah = podmans(lab);
    buildah.cwd.clone_from(&bundle.dir);
    let container = created(&buildah, bundle, &[])?;
    let id = container.id();
    same("the status", buildah.status(id)?.as_str(), "created")?;
    buildah.works(["start", id])?;
    container.seen()?;
    same("the status", buildah.status(id)?.as_str(), "running")?;
    buildah.works(["kill", id])?;
    same("the exit code", container.end()?, 0)?;
    same("the status", buildah.status(id)?.as_str(), "stopped")?;
    buildah.works(["delete", id])?;
    let bundle = lab.base().then("wait").save()?;
    buildah.cwd.clone_from(&bundle.dir);
    let container = created(&buildah, bundle, &[])?;
    buildah.works(["kill", container.id(), "SIGKILL"])?;
    same("the exit code", container.end()?, 137)?;
    buildah.works(["delete", container.id()]).map(drop)
}

pub(super) fn cri_o(lab: &Lab<'_>) -> Outcome {
    let crio = podmans(lab);
    let features = crio.works(["features"])?;
    expect(serde_json::from_str::<Value>(&features.stdout())?.is_object(), "features are no object")?;
    let bundle = lab.base().then("wait").save()?;
    let (conmon, _) = conmons(&bundle);
    let container = created(&conmon, bundle, &[])?;
    let id = container.id();
    crio.works(["start", id])?;
    container.seen()?;
    let order = process(lab, json!({ "then": { "exit": 4 } }), false)?;
    let done = crio.run(words!["exec", "--process", order, id])?;
    same("the exit code of exec", done.code(), 4)?;
    expect(
        done.stdout().starts_with("{\"") && done.stderr().is_empty(),
        format!("it says {:?}", done.stderr()),
    )?;
    let resources = lab.file("resources", json!({ "pids": {} }).to_string(), 0o644)?;
    crio.call(["update", "--resources", "-", id]).stdin(File::open(resources)?).finish()?.ok()?;
    crio.works(["kill", id, "SIGUSR1"])?;
    container.gets_signal(10)?;
    crio.works(["kill", "-a", id, "9"])?;
    same("the exit code", container.end()?, 137)?;
    crio.run(["kill", id, "KILL"])?.fails_with("not running|no such process|already finished")?;
    same("the status", crio.status(id)?.as_str(), "stopped")?;
    crio.works(["delete", "--force", id]).map(drop)
}

pub(super) fn buildkit(lab: &Lab<'_>) -> Outcome {
    let bundle = lab.base().then("wait").save()?;
    let log = bundle.dir.join("log");
    let globals = words!["--root", lab.state, "--log", log, "--log-format", "json"];
    let caller = Caller::new(lab, &globals);
    let (dir, id) = (bundle.dir.as_path(), bundle.id.as_str());
    let running = caller.call(words!["run", "--bundle", dir, "--keep", id]).start()?;
    eventually("it runs", || caller.status(id).is_ok_and(|status| status == "running"))?;
    let (file, order) = (lab.dir.join("pid"), process(lab, json!({ "then": { "exit": 6 } }), false)?);
    same(
        "the exit code of exec",
        caller.run(words!["exec", "--process", order, "--pid-file", file, id])?.code(),
        6,
    )?;
    pid_in(&file)?;
    caller.works(["kill", id, "9"])?;
    same("the exit code of run", running.finish()?.code(), 137)?;
    same("the status", caller.status(id)?.as_str(), "stopped")?;
    caller.works(["delete", id]).map(drop)
}

pub(super) fn conmon_rs(lab: &Lab<'_>) -> Outcome {
    let bundle = lab.base().then("wait").save()?;
    let root = format!("--root={}", lab.state.display());
    let mut caller = Caller::new(lab, &words![root]);
    let container = created(&caller, bundle, &[])?;
    caller.works(["start", container.id()])?;
    container.seen()?;
    // It says its global options twice.
    caller.globals.push(root.into());
    let file = lab.dir.join("exec-pid");
    let pid_file = format!("--pid-file={}", file.display());
    caller.works(["exec", "-d", &pid_file, container.id(), "/probe", "{\"then\":{\"exit\":9}}"])?;
    same("the exit code of exec", end_of(pid_in(&file)?)?, 9)?;
    caller.works(["kill", container.id(), "KILL"])?;
    container.end()?;
    caller.works(["delete", container.id()]).map(drop)
}

pub(super) fn docker(lab: &Lab<'_>) -> Outcome {
    let program = lab.runtime.program.display();
    let script = lab.file("wrapper", format!("#!/bin/sh\n{program} --log-format json $@\n"), 0o755)?;
    let wrapped = |words: &[&str]| -> Result<Done, Stop> {
        let mut line = vec![script.clone().into_os_string()];
        line.extend(words.iter().map(OsString::from));
        let done = lab.command(&line).finish()?.ok()?;
        expect(done.stderr().is_empty(), format!("it says {:?}", done.stderr()))?;
        Ok(done)
    };
    let version = wrapped(&["--version"])?.stdout();
    expect(version.lines().any(|line| line.contains("version")), format!("the version is {version:?}"))?;
    let features: Value = serde_json::from_str(&wrapped(&["features"])?.stdout())?;
    let options = features["mountOptions"].as_array().cloned().unwrap_or_default();
    expect(options.contains(&json!("rro")), "features do not have the mount option rro")?;
    let bundle = lab.base().save()?;
    let (dir, file) = (bundle.dir.display().to_string(), bundle.pid_file().display().to_string());
    let root = lab.state.display().to_string();
    let create = ["--root", &root, "create", "--bundle", &dir, "--pid-file", &file, &bundle.id];
    let done = wrapped(&create)?;
    Container::of(bundle, &done)?.remove()
}
