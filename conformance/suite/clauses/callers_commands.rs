//! What callers give on command lines, and what they read from standard output.

use std::ffi::OsStr;

use serde_json::Value;

use crate::clause::{Clause, Outcome, callers, expect, same};
use crate::command::text;
use crate::container::Container;
use crate::lab::Lab;

const LINE: &str = "callers: command line";
const OUTPUT: &str = "callers: output";

pub(crate) const CLAUSES: &[Clause] = &[
    callers(
        "callers.version",
        (OUTPUT, "--version: a line with \"version\" and a line \"spec: A.B.C\" (docker, podman)."),
        |lab| {
            let said = lab
                .command(&[lab.runtime.program.clone().into(), "--version".into()])
                .finish()?
                .ok()?
                .stdout();
            expect(
                said.lines().next().is_some_and(|line| line.contains(" version ")),
                format!("it says {said:?}"),
            )?;
            expect(said.lines().any(|line| line.starts_with("spec: 1.")), format!("it says {said:?}"))
        },
    ),
    callers(
        "callers.state.created",
        (OUTPUT, "state has \"created\", a time of RFC 3339 (containerd, buildah)."),
        |lab| {
            let container = lab.base().create()?;
            let state = container.state()?;
            let time = state["created"].as_str().unwrap_or("");
            expect(chrono::DateTime::parse_from_rfc3339(time).is_ok(), format!("created is {time:?}"))?;
            container.remove()
        },
    ),
    callers("callers.state.stopped-pid", (OUTPUT, "state of a stopped container has the pid 0."), |lab| {
        let container = lab.base().start()?;
        container.end()?;
        let pid = container.state()?["pid"].clone();
        expect(pid == 0, format!("pid is {pid}"))?;
        container.delete()
    }),
    callers(
        "callers.list.json",
        (OUTPUT, "list --format json: an array with id, pid, status and bundle of all containers."),
        |lab| {
            let (first, second) = (lab.base().create()?, lab.base().create()?);
            let listed: Value = serde_json::from_str(&lab.run(["list", "--format", "json"])?.ok()?.stdout())?;
            for container in [&first, &second] {
                let found =
                    listed.as_array().into_iter().flatten().find(|entry| entry["id"] == container.id());
                let fits = found.is_some_and(|entry| {
                    entry["pid"] == container.pid
                        && entry["status"] == "created"
                        && entry["bundle"].is_string()
                });
                expect(fits, format!("the entry is {found:?}"))?;
            }
            first.remove()?;
            second.remove()
        },
    ),
    callers("callers.list.quiet", (OUTPUT, "list --quiet: the ids, a line each."), |lab| {
        let container = lab.base().create()?;
        let listed = lab.run(["list", "--quiet"])?.ok()?.stdout();
        same("the list", listed.trim(), container.id())?;
        container.remove()
    }),
    callers(
        "callers.list.table",
        (OUTPUT, "list: a table with ID, PID, STATUS and BUNDLE in its first line."),
        |lab| {
            let container = lab.base().create()?;
            let listed = lab.run(["list"])?.ok()?.stdout();
            let head = listed.lines().next().unwrap_or("");
            expect(
                ["ID", "PID", "STATUS", "BUNDLE"].iter().all(|name| head.contains(name)),
                format!("it begins with {head:?}"),
            )?;
            expect(listed.contains(container.id()), "the container is not in it")?;
            container.remove()
        },
    ),
    callers("callers.list.empty", (OUTPUT, "list where there is no container ends well."), |lab| {
        lab.base().create()?.remove()?;
        lab.run(["list"])?.ok().map(drop)
    }),
    callers(
        "callers.flags.repeated",
        (LINE, "Flags may come twice: --root and --bundle (conmon-rs)."),
        |lab| {
            let bundle = lab.base().save()?;
            let (state, dir) = (lab.state.as_os_str(), bundle.dir.as_os_str());
            let line: [&OsStr; 10] = [
                "--root".as_ref(),
                state,
                "create".as_ref(),
                "--bundle".as_ref(),
                dir,
                "--bundle".as_ref(),
                dir,
                "--pid-file".as_ref(),
                "pid".as_ref(),
                bundle.id.as_ref(),
            ];
            let done = lab.call(line).cwd(&bundle.dir).finish()?.ok()?;
            Container::of(bundle, &done)?.remove()
        },
    ),
    callers("callers.flags.equals", (LINE, "--bundle=DIR and --pid-file=FILE (conmon-rs, CRI-O)."), |lab| {
        let bundle = lab.base().save()?;
        let (dir, pid) = (
            format!("--bundle={}", bundle.dir.display()),
            format!("--pid-file={}", bundle.pid_file().display()),
        );
        let done = lab.run(["create", &dir, &pid, &bundle.id])?.ok()?;
        Container::of(bundle, &done)?.remove()
    }),
    callers("callers.flags.short", (LINE, "-b DIR"), |lab| {
        let bundle = lab.base().save()?;
        let dir = bundle.dir.display().to_string();
        let pid = bundle.pid_file().display().to_string();
        let done = lab.run(["create", "-b", &dir, "--pid-file", &pid, &bundle.id])?.ok()?;
        Container::of(bundle, &done)?.remove()
    }),
    callers("callers.flags.debug", (LINE, "--debug is taken before any command."), |lab| {
        let bundle = lab.base().save()?;
        let done = bundle.create_call(&["--debug"]).finish()?.ok()?;
        Container::of(bundle, &done)?.remove()
    }),
    callers(
        "callers.flags.no-pivot",
        (LINE, "create --no-pivot (podman, containerd on a ramdisk)."),
        |lab| {
            let bundle = lab.base().save()?;
            let done = bundle.create_with(&[], &["--no-pivot".as_ref()]).finish()?.ok()?;
            let container = Container::of(bundle, &done)?;
            container.start()?;
            container.end()?;
            container.seen()?;
            container.delete()
        },
    ),
    callers(
        "callers.flags.preserve-fds",
        (LINE, "create --preserve-fds N passes N more descriptors from 3 up (podman)."),
        |lab| {
            let own = ["--preserve-fds".as_ref(), "2".as_ref()];
            let container = lab.base().save()?.create_with_open("3</dev/null 4</dev/zero", &own)?;
            container.start()?;
            container.end()?;
            let seen = container.seen()?;
            container.delete()?;
            expect(seen["fds"]["4"] == "/dev/zero", format!("the descriptors are {}", seen["fds"]))
        },
    ),
    callers("callers.kill.default", (LINE, "kill without a signal sends SIGTERM (buildah)."), |lab| {
        let container = lab.base().then("wait").start()?;
        container.seen()?;
        lab.run(["kill", container.id()])?.ok()?;
        container.gets_signal(15)?;
        same("the exit code", container.end()?, 0)?;
        container.delete()
    }),
    callers(
        "callers.delete.force.missing",
        (LINE, "delete --force of a missing container ends well (containerd, podman)."),
        |lab| lab.run(["delete", "--force", "nobody"])?.ok().map(drop),
    ),
    callers("callers.delete.force.running", (LINE, "delete --force kills what is running."), |lab| {
        forced(lab, "running")
    }),
    callers("callers.delete.force.created", (LINE, "delete --force kills what is created."), |lab| {
        forced(lab, "created")
    }),
    callers(
        "callers.delete.created",
        (LINE, "delete without --force removes a created container (containerd's shim)."),
        |lab| {
            let container = lab.base().create()?;
            container.delete()?;
            expect(!container.is_alive(), "its process is left")?;
            lab.knows_nothing_of(container.id())
        },
    ),
    callers("callers.spec", (OUTPUT, "spec --bundle DIR writes a config.json to begin with."), |lab| {
        let dir = lab.subdir("new")?;
        lab.run([OsStr::new("spec"), "--bundle".as_ref(), dir.as_os_str()])?.ok()?;
        let config: Value = serde_json::from_str(&text(dir.join("config.json")))?;
        expect(
            config["ociVersion"].is_string() && config["process"]["args"].is_array(),
            "it is no configuration",
        )
    }),
    callers("callers.spec.keeps", (OUTPUT, "spec does not replace a config.json."), |lab| {
        let dir = lab.subdir("new")?;
        lab.file("new/config.json", "mine", 0o644)?;
        lab.run([OsStr::new("spec"), "--bundle".as_ref(), dir.as_os_str()])?.fails()?;
        same("the file", text(dir.join("config.json")).as_str(), "mine")
    }),
];

/// Whatever it does, it is gone after `delete --force`.
fn forced(lab: &Lab<'_>, status: &str) -> Outcome {
    let container = lab.base().then("wait").create()?;
    if status == "running" {
        container.start()?;
        container.seen()?;
    }
    container.is(status)?;
    lab.run(["delete", "--force", container.id()])?.ok()?;
    expect(!container.is_alive(), "its process is left")?;
    lab.knows_nothing_of(container.id())
}
