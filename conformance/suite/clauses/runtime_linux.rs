//! runtime-linux.md, and the default file systems of config-linux.md.

use serde_json::{Value, json};

use crate::clause::{Clause, Outcome, expect, must, same, should};
use crate::lab::Lab;

const DESCRIPTORS: &str = "runtime-linux.md#file-descriptors";
const LINKS: &str = "runtime-linux.md#dev-symbolic-links";
const FILE_SYSTEMS: &str = "config-linux.md#default-filesystems";
const ONLY: &str = "By default, only the stdin, stdout and stderr file descriptors are kept open for the application by the runtime.";
const LINK: &str =
    "runtimes MUST create the following symlinks if the source file exists after processing mounts";
const AVAILABLE: &str = "The following filesystems SHOULD be made available in each container's filesystem";

pub(crate) const CLAUSES: &[Clause] = &[
    must("runtime-linux.descriptors", (DESCRIPTORS, ONLY), |lab| descriptors(lab, &["0", "1", "2"])),
    must("runtime-linux.descriptors.user-namespace", (DESCRIPTORS, ONLY), |lab| {
        let seen = lab.base().user_namespace(300_000).report()?;
        only(&seen["fds"], &["0", "1", "2"])
    }),
    must("runtime-linux.descriptors.of-the-caller", (DESCRIPTORS, ONLY), |lab| {
        let container = lab.base().save()?.create_with_open("7</dev/null", &[])?;
        container.start()?;
        container.end()?;
        let seen = container.seen()?;
        container.delete()?;
        only(&seen["fds"], &["0", "1", "2"])
    }),
    must("runtime-linux.descriptors.hook", (DESCRIPTORS, ONLY), |lab| {
        let bundle = lab.base().hook("startContainer", "hook").save()?;
        let container = bundle.clone().create()?;
        container.start()?;
        container.end()?;
        container.delete()?;
        only(&bundle.record("hook")?["fds"], &["0", "1", "2"])
    }),
    must("runtime-linux.links.fd", (LINKS, LINK), |lab| link(lab, "/dev/fd", "/proc/self/fd")),
    must("runtime-linux.links.stdin", (LINKS, LINK), |lab| link(lab, "/dev/stdin", "/proc/self/fd/0")),
    must("runtime-linux.links.stdout", (LINKS, LINK), |lab| link(lab, "/dev/stdout", "/proc/self/fd/1")),
    must("runtime-linux.links.stderr", (LINKS, LINK), |lab| link(lab, "/dev/stderr", "/proc/self/fd/2")),
    must("runtime-linux.links.dev-of-the-rootfs", (LINKS, LINK), |lab| {
        let draft = lab.base().edit(|config| {
            if let Some(mounts) = config["mounts"].as_array_mut() {
                mounts
                    .retain(|mount| !mount["destination"].as_str().is_some_and(|at| at.starts_with("/dev")));
            }
        });
        draft.finds("/dev/fd", json!({ "kind": "link", "link": "/proc/self/fd" }))
    }),
    must("runtime-linux.links.user-namespace", (LINKS, LINK), |lab| {
        lab.base()
            .user_namespace(300_000)
            .finds("/dev/fd", json!({ "kind": "link", "link": "/proc/self/fd" }))
    }),
    must(
        "runtime-linux.links.ptmx",
        (
            "config-linux.md#default-devices",
            "/dev/ptmx. A bind-mount or symlink of the container's /dev/pts/ptmx.",
        ),
        |lab| {
            lab.base().ask("open", json!(["/dev/ptmx", "rw"])).ask("stat", "/dev/ptmx").inside(|seen| {
                seen.is("open/rw:~1dev~1ptmx", Value::Null)?;
                let is = &seen["stat"]["/dev/ptmx"];
                let link = is["link"].as_str().unwrap_or("");
                let fits =
                    ["pts/ptmx", "/dev/pts/ptmx"].contains(&link) || is["kind"] == "c" && is["major"] == 5;
                expect(fits, format!("/dev/ptmx is {is}"))
            })
        },
    ),
    should("linux.file-systems.proc", (FILE_SYSTEMS, AVAILABLE), |lab| mounted(lab, "/proc", "proc")),
    should("linux.file-systems.sys", (FILE_SYSTEMS, AVAILABLE), |lab| mounted(lab, "/sys", "sysfs")),
    should("linux.file-systems.dev-pts", (FILE_SYSTEMS, AVAILABLE), |lab| mounted(lab, "/dev/pts", "devpts")),
    should("linux.file-systems.dev-shm", (FILE_SYSTEMS, AVAILABLE), |lab| mounted(lab, "/dev/shm", "tmpfs")),
    should("linux.file-systems.mqueue", (FILE_SYSTEMS, AVAILABLE), |lab| {
        let draft = lab.base().mount("/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"]);
        draft.inside(|seen| is_mounted(seen, "/dev/mqueue", "mqueue"))
    }),
    must("linux.file-systems.proc.own-pids", (FILE_SYSTEMS, AVAILABLE), |lab| {
        lab.base().ask("read", "/proc/1/comm").inside(|seen| {
            seen.is("pid", 1)?;
            seen.is("read/~1proc~11~1comm", "probe")
        })
    }),
];

fn descriptors(lab: &Lab<'_>, wanted: &[&str]) -> Outcome {
    only(&lab.base().report()?["fds"], wanted)
}

fn only(seen: &Value, wanted: &[&str]) -> Outcome {
    let names: Vec<&String> = seen.as_object().map_or(Vec::new(), |fds| fds.keys().collect());
    expect(names == wanted, format!("the descriptors are {seen}"))
}

fn link(lab: &Lab<'_>, at: &str, to: &str) -> Outcome {
    lab.base().finds(at, json!({ "kind": "link", "link": to }))
}

/// As a configuration asks for it: a runtime adds none of them by itself.
fn mounted(lab: &Lab<'_>, at: &str, kind: &str) -> Outcome {
    let draft = lab.base().mount("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", "ro"]);
    draft.inside(|seen| is_mounted(seen, at, kind))
}

fn is_mounted(seen: &crate::seen::Seen, at: &str, kind: &str) -> Outcome {
    same(&format!("the file system at {at}"), seen.mount(at)?["type"].as_str().unwrap_or("none"), kind)
}
