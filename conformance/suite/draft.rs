//! A configuration on its way: the base, changed step by step, and at the end one question (`ask.rs`).
//!
//! `lab.with("process/cwd", "/tmp").sees("cwd", "/tmp")` reads as it does. Paths into the configuration are
//! JSON pointers (RFC 6901) without the first slash; `-` is a new entry at a list's end.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::base;
use crate::bundle::Bundle;
use crate::clause::{Outcome, Stop};
use crate::lab::{self, Lab};

/// A bundle whose configuration can still be changed. What goes wrong meanwhile is told at the end.
#[derive(Debug)]
#[must_use]
pub(crate) struct Draft<'l> {
    lab: &'l Lab<'l>,
    dir: PathBuf,
    id: String,
    config: Value,
    /// For the probe.
    order: Value,
    /// Instead of the configuration.
    text: Option<String>,
    problem: Outcome,
}

impl<'l> Draft<'l> {
    /// The base configuration, in a bundle with a root file system of its own.
    pub(crate) fn new(lab: &'l Lab<'l>) -> Self {
        let number = lab.number();
        let (dir, id) = (lab.dir.join(format!("bundle{number}")), format!("{}-{number}", lab.unique));
        let mut config = base::config();
        config["linux"]["cgroupsPath"] = json!(format!("/{}/{id}", lab.unique));
        let problem = base::make_rootfs(lab, &dir);
        Self { lab, dir, id, config, order: json!({}), text: None, problem }
    }

    /// With a property: `process/rlimits/-`. What is missing above it is made.
    pub(crate) fn with(mut self, path: &str, value: impl Into<Value>) -> Self {
        let mut at = &mut self.config;
        for name in path.split('/') {
            at = match at {
                Value::Array(list) => {
                    let index = name.parse().unwrap_or(list.len());
                    if index >= list.len() {
                        list.push(Value::Null);
                    }
                    let last = list.len() - 1;
                    &mut list[index.min(last)]
                }
                at => {
                    if at.is_null() {
                        *at = if name == "-" { json!([Value::Null]) } else { json!({}) };
                    }
                    if name == "-" { &mut at[0] } else { &mut at[name] }
                }
            };
        }
        *at = value.into();
        self
    }

    /// Without a property.
    pub(crate) fn without(mut self, path: &str) -> Self {
        let (above, name) = path.rsplit_once('/').map_or(("", path), |(above, name)| (above, name));
        let pointer = if above.is_empty() { String::new() } else { format!("/{above}") };
        match self.config.pointer_mut(&pointer) {
            Some(Value::Object(members)) => drop(members.remove(name)),
            Some(Value::Array(list)) => {
                let index = name.parse::<usize>().unwrap_or(usize::MAX);
                if index < list.len() {
                    list.remove(index);
                }
            }
            _ => {}
        }
        self
    }

    /// Changed in any other way.
    pub(crate) fn edit(mut self, change: impl FnOnce(&mut Value)) -> Self {
        change(&mut self.config);
        self
    }

    /// With this text instead of the configuration, `%` standing for what it would have been.
    pub(crate) fn text(mut self, text: &str) -> Self {
        self.text = Some(text.to_owned());
        self
    }

    /// With another id.
    pub(crate) fn id(mut self, id: &str) -> Self {
        id.clone_into(&mut self.id);
        self
    }

    /// With one more mount.
    pub(crate) fn mount(self, at: &str, kind: &str, source: impl AsRef<Path>, options: &[&str]) -> Self {
        let source = source.as_ref();
        self.with(
            "mounts/-",
            json!({ "destination": at, "type": kind, "source": source, "options": options }),
        )
    }

    /// With a new namespace of a type, in the place of one that may be there.
    pub(crate) fn namespace(self, kind: &str) -> Self {
        self.share(kind).with("linux/namespaces/-", json!({ "type": kind }))
    }

    /// With a namespace that is there.
    pub(crate) fn join(self, kind: &str, path: impl AsRef<Path>) -> Self {
        let path = path.as_ref();
        self.share(kind).with("linux/namespaces/-", json!({ "type": kind, "path": path }))
    }

    /// With the host's namespace of a type.
    pub(crate) fn share(self, kind: &str) -> Self {
        self.edit(|config| {
            if let Some(namespaces) = config["linux"]["namespaces"].as_array_mut() {
                namespaces.retain(|namespace| namespace["type"] != kind);
            }
        })
    }

    /// With a new user namespace: its ids from 0 up are the host's from `host` up.
    pub(crate) fn user_namespace(self, host: u32) -> Self {
        let map = json!([{ "containerID": 0, "hostID": host, "size": 65536 }]);
        self.namespace("user").with("linux/uidMappings", map.clone()).with("linux/gidMappings", map)
    }

    /// With these capabilities in bounding, effective and permitted set.
    pub(crate) fn capabilities(self, names: &[&str]) -> Self {
        let set = json!(names);
        self.with("process/capabilities", json!({ "bounding": set, "effective": set, "permitted": set }))
    }

    /// With a filter that has this default action and these rules.
    pub(crate) fn seccomp(self, default: &str, rules: Value) -> Self {
        self.with("linux/seccomp", json!({ "defaultAction": default, "syscalls": rules }))
    }

    /// With the recorder as the last hook of a kind; [`Bundle::record`] has what it has written.
    pub(crate) fn hook(self, kind: &str, name: &str) -> Self {
        self.hook_that(kind, name, "")
    }

    /// The same, and then it fails (`fail`) or takes too long (`sleep`).
    pub(crate) fn hook_that(self, kind: &str, name: &str, then: &str) -> Self {
        // Its path is one of the container for this kind only.
        let (path, dir) = match kind {
            "startContainer" => (PathBuf::from("/probe"), PathBuf::from("/hooks")),
            _ => (self.lab.probe.clone(), self.dir.join("rootfs/hooks")),
        };
        let mut args = vec![json!("probe"), json!("hook"), json!(dir.join(name))];
        args.extend((!then.is_empty()).then(|| json!(then)));
        self.with(&format!("hooks/{kind}/-"), json!({ "path": path, "args": args, "env": ["PATH=/bin"] }))
    }

    /// Asks the probe for something (`conformance/probe/asked.rs` has a list).
    pub(crate) fn ask(mut self, question: &str, about: impl Into<Value>) -> Self {
        match &mut self.order[question] {
            Value::Array(list) => list.push(about.into()),
            none => *none = json!([about.into()]),
        }
        self
    }

    /// What the program does after its report: `wait` for signals until SIGTERM, `{"exit": 3}`, `abort`.
    pub(crate) fn then(mut self, then: impl Into<Value>) -> Self {
        self.order["then"] = then.into();
        self
    }

    /// With a file in the root file system.
    pub(crate) fn put(self, path: &str, content: &str, mode: u32) -> Self {
        let at = self.rootfs(path);
        self.tried(|| lab::write(&at, content, mode))
    }

    /// With a directory in the root file system.
    pub(crate) fn dir(self, path: &str, mode: u32) -> Self {
        let at = self.rootfs(path);
        self.tried(|| lab::make_dir(&at, mode))
    }

    /// With a symbolic link in the root file system.
    pub(crate) fn link(self, path: &str, target: &str) -> Self {
        let at = self.rootfs(path);
        self.tried(|| Ok(std::os::unix::fs::symlink(target, at)?))
    }

    /// With something else done to the host before.
    pub(crate) fn tried(mut self, step: impl FnOnce() -> Outcome) -> Self {
        self.problem = self.problem.and_then(|()| step());
        self
    }

    /// Where a file of the root file system is on the host.
    pub(crate) fn rootfs(&self, path: &str) -> PathBuf {
        self.dir.join("rootfs").join(path.trim_start_matches('/'))
    }

    /// The bundle, with the probe and its order as the program unless another one is configured.
    pub(crate) fn save(mut self) -> Result<Bundle<'l>, Stop> {
        self.problem?;
        if self.config.pointer("/process/args").is_some_and(Value::is_null) {
            self.config["process"]["args"] = json!(["/probe", self.order.to_string()]);
        }
        let config = serde_json::to_string_pretty(&self.config)?;
        let text = self.text.map_or(config.clone(), |text| text.replace('%', &config));
        lab::write(&self.dir.join("config.json"), text, 0o644)?;
        Ok(Bundle { lab: self.lab, cgroup: self.lab.cgroup().join(&self.id), dir: self.dir, id: self.id })
    }
}
