//! config-linux.md: namespaces.

use nix::sched::CloneFlags;
use serde_json::{Value, json};

use crate::clause::{Clause, Outcome, expect, fail, must, same, should};
use crate::command::text;
use crate::draft::Draft;
use crate::host::Held;
use crate::lab::Lab;

const NAMESPACES: &str = "config-linux.md#namespaces";
const NEW: &str = "If path is not specified, the runtime MUST create a new container namespace of type type.";
const JOINED: &str =
    "The runtime MUST place the container process in the namespace associated with that path.";
const INHERITED: &str = "If a namespace type is not specified in the namespaces array, the container MUST inherit the runtime namespace of that type.";
const WRONG: &str =
    "The runtime MUST generate an error if path is not associated with a namespace of type type.";
const TYPE: &str =
    "type (string, REQUIRED) - namespace type. The following namespace types SHOULD be supported";
const ABSOLUTE: &str = "path … MUST be an absolute path in the runtime mount namespace.";

macro_rules! each {
    ($level:ident $id:literal $kind:literal, $sentence:expr, $check:ident($($arg:expr),*)) => {
        $level(concat!("linux.namespaces.", $id, ".", $kind), (NAMESPACES, $sentence), |lab| $check(lab, $kind, $($arg),*))
    };
}

pub(crate) const CLAUSES: &[Clause] = &[
    each!(must "new" "pid", NEW, is_new("pid")),
    each!(must "new" "network", NEW, is_new("net")),
    each!(must "new" "mount", NEW, is_new("mnt")),
    each!(must "new" "ipc", NEW, is_new("ipc")),
    each!(must "new" "uts", NEW, is_new("uts")),
    each!(must "new" "cgroup", NEW, is_new("cgroup")),
    each!(must "new" "time", NEW, is_new("time")),
    must("linux.namespaces.new.user", (NAMESPACES, NEW), |lab| {
        let seen = lab.base().user_namespace(300_000).report()?;
        expect(seen["namespaces"]["user"] != host("user")?, "the user namespace is the runtime's")
    }),
    each!(must "joined" "pid", JOINED, is_joined("pid")),
    each!(must "joined" "network", JOINED, is_joined("net")),
    each!(must "joined" "ipc", JOINED, is_joined("ipc")),
    each!(must "joined" "uts", JOINED, is_joined("uts")),
    each!(must "joined" "cgroup", JOINED, is_joined("cgroup")),
    each!(must "joined" "time", JOINED, is_joined("time")),
    each!(must "joined" "user", JOINED, is_joined("user")),
    must("linux.namespaces.joined.mount", (NAMESPACES, JOINED), |lab| {
        let held = Held::new(CloneFlags::CLONE_NEWNS, private)?;
        let theirs = link(&held.path("mnt"))?;
        let seen = lab.base().join("mount", held.path("mnt")).report()?;
        drop(held);
        expect(seen["namespaces"]["mnt"] == theirs, "it is not the one at the path")
    }),
    must("linux.namespaces.joined.two", (NAMESPACES, JOINED), |lab| {
        let first = lab.base().then("wait").start()?;
        let theirs = first.seen()?["namespaces"].clone();
        let of = |name| format!("/proc/{}/ns/{name}", first.pid);
        let seen = lab
            .without("hostname")
            .join("ipc", of("ipc"))
            .join("uts", of("uts"))
            .join("network", of("net"))
            .report()?;
        first.remove()?;
        let is = |name: &str| {
            seen["namespaces"][name] == theirs[name] && host(name).is_ok_and(|own| own != theirs[name])
        };
        let other = ["ipc", "uts", "net"].iter().find(|name| !is(name));
        expect(other.is_none(), format!("of {other:?} it is not the one at the path"))
    }),
    must("linux.namespaces.joined.stays", (NAMESPACES, JOINED), |lab| {
        // The container's end is not the end of a namespace that it has joined.
        let held = Held::new(CloneFlags::CLONE_NEWUTS, || nix::unistd::sethostname("kept"))?;
        let draft = || lab.without("hostname").join("uts", held.path("uts"));
        draft().sees("hostname", "kept")?;
        draft().sees("hostname", "kept")
    }),
    each!(must "inherited" "pid", INHERITED, is_inherited("pid")),
    each!(must "inherited" "network", INHERITED, is_inherited("net")),
    each!(must "inherited" "ipc", INHERITED, is_inherited("ipc")),
    each!(must "inherited" "uts", INHERITED, is_inherited("uts")),
    each!(must "inherited" "cgroup", INHERITED, is_inherited("cgroup")),
    each!(must "inherited" "time", INHERITED, is_inherited("time")),
    each!(must "inherited" "user", INHERITED, is_inherited("user")),
    each!(must "wrong-type" "pid", WRONG, is_of_other_type("/proc/self/ns/uts")),
    each!(must "wrong-type" "network", WRONG, is_of_other_type("/proc/self/ns/ipc")),
    each!(must "wrong-type" "mount", WRONG, is_of_other_type("/proc/self/ns/uts")),
    each!(must "wrong-type" "ipc", WRONG, is_of_other_type("/proc/self/ns/net")),
    each!(must "wrong-type" "uts", WRONG, is_of_other_type("/proc/self/ns/ipc")),
    each!(must "wrong-type" "user", WRONG, is_of_other_type("/proc/self/ns/ipc")),
    each!(must "wrong-type" "cgroup", WRONG, is_of_other_type("/proc/self/ns/ipc")),
    each!(must "wrong-type" "time", WRONG, is_of_other_type("/proc/self/ns/ipc")),
    must("linux.namespaces.wrong-type.a-file", (NAMESPACES, WRONG), |lab| {
        let file = lab.file("file", "no namespace", 0o644)?;
        lab.base().join("ipc", file).refused("path|namespace|ipc")
    }),
    must("linux.namespaces.path.missing", (NAMESPACES, WRONG), |lab| {
        lab.base().join("network", lab.dir.join("nowhere")).refused("nowhere")
    }),
    must("linux.namespaces.path.absolute", (NAMESPACES, ABSOLUTE), |lab| {
        lab.base().join("ipc", "proc/self/ns/ipc").refused("path|namespace")
    }),
    must("linux.namespaces.path.absolute.to-cwd", (NAMESPACES, ABSOLUTE), |lab| {
        // One that is there when it is taken as relative to the caller's directory.
        let first = lab.base().then("wait").start()?;
        std::os::unix::fs::symlink(format!("/proc/{}/ns/ipc", first.pid), lab.dir.join("ns"))?;
        let refused = lab.base().join("ipc", "ns").refused("path|namespace");
        first.remove()?;
        refused
    }),
    must(
        "linux.namespaces.path.bind-mount",
        (NAMESPACES, "path (string, OPTIONAL) - namespace file."),
        |lab| {
            // As ip-netns(8) and podman keep them.
            let held = Held::new(CloneFlags::CLONE_NEWNET, || Ok(()))?;
            let (theirs, file) = (link(&held.path("net"))?, lab.file("net", "", 0o644)?);
            let mounted = crate::host::HostMount::bind(held.path("net"), &file)?;
            drop(held);
            let seen = lab.base().join("network", &file).report();
            drop(mounted);
            expect(seen?["namespaces"]["net"] == theirs, "it is not the one at the path")
        },
    ),
    must(
        "linux.namespaces.duplicates",
        (
            NAMESPACES,
            "If a namespaces field contains duplicated namespaces with same type, the runtime MUST generate an error.",
        ),
        |lab| lab.with("linux/namespaces/-", json!({ "type": "ipc" })).refused("ipc|duplicate"),
    ),
    must(
        "linux.namespaces.duplicates.by-path",
        (
            NAMESPACES,
            "If a namespaces field contains duplicated namespaces with same type, the runtime MUST generate an error.",
        ),
        |lab| {
            lab.with("linux/namespaces/-", json!({ "type": "network", "path": "/proc/self/ns/net" }))
                .refused("network|duplicate")
        },
    ),
    must(
        "linux.namespaces.type.required",
        (NAMESPACES, "type (string, REQUIRED) - namespace type."),
        |lab| lab.with("linux/namespaces/-", json!({})).refused("type|namespace"),
    ),
    must(
        "linux.namespaces.type.unknown",
        (
            "config.md#valid-values",
            "Runtimes MUST generate an error when invalid or unsupported values are encountered.",
        ),
        |lab| lab.with("linux/namespaces/-", json!({ "type": "colour" })).refused("colour|type"),
    ),
    should(
        "linux.namespaces.pid.isolates",
        (
            NAMESPACES,
            "processes inside the container will only be able to see other processes inside the same container or inside the same pid namespace.",
        ),
        |lab| {
            lab.base().ask("read", "/proc/1/cmdline").inside(|seen| {
                seen.is("pid", 1)?;
                let first = seen["read"]["/proc/1/cmdline"].as_str().unwrap_or("");
                expect(first.starts_with("/probe"), format!("process 1 in /proc is {first:?}"))
            })
        },
    ),
    should(
        "linux.namespaces.network.isolates",
        (NAMESPACES, "the container will have its own network stack."),
        |lab| {
            // Modules give each new namespace devices of theirs.
            let fresh = Held::new(CloneFlags::CLONE_NEWNET, || Ok(()))?;
            let wanted = devices(&text(fresh.path("../net/dev")));
            let seen = lab.base().ask("read", "/proc/net/dev").report()?;
            same(
                "the list of its devices",
                devices(seen["read"]["/proc/net/dev"].as_str().unwrap_or("")),
                wanted,
            )
        },
    ),
    should(
        "linux.namespaces.uts.isolates",
        (NAMESPACES, "the container will be able to have its own hostname and domain name."),
        |lab| {
            let before = nix::unistd::gethostname()?;
            lab.with("hostname", "another").sees("hostname", "another")?;
            expect(nix::unistd::gethostname()? == before, "the host's name has changed")
        },
    ),
    should(
        "linux.namespaces.cgroup.isolates",
        (NAMESPACES, "the container will have an isolated view of the cgroup hierarchy."),
        |lab| {
            lab.base().inside(|seen| {
                let cgroup = seen["cgroup"].as_str().unwrap_or("");
                expect(cgroup.lines().any(|line| line == "0::/"), format!("it sees {cgroup:?}"))
            })
        },
    ),
    should("linux.namespaces.type.supported", (NAMESPACES, TYPE), |lab| {
        let seen = lab.base().user_namespace(300_000).namespace("time").report()?;
        let all = ["cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"];
        let same = all.iter().find(|name| host(name).is_ok_and(|own| seen["namespaces"][**name] == own));
        expect(same.is_none(), format!("its {same:?} namespace is the runtime's"))
    }),
    must("linux.namespaces.none-but-mount", (NAMESPACES, INHERITED), |lab| {
        let draft = lab
            .without("hostname")
            .edit(|config| config["linux"]["namespaces"] = json!([{ "type": "mount" }]));
        let seen = draft.edit(drop_special_mounts).report()?;
        let own = ["cgroup", "ipc", "net", "pid", "time", "user", "uts"]
            .iter()
            .find(|name| host(name).is_ok_and(|h| seen["namespaces"][**name] != h));
        expect(own.is_none(), format!("its {own:?} namespace is not the runtime's"))
    }),
];

/// Mounts that need a namespace of their own.
fn drop_special_mounts(config: &mut Value) {
    if let Some(mounts) = config["mounts"].as_array_mut() {
        mounts.retain(|mount| mount["type"] != "mqueue" && mount["type"] != "sysfs");
    }
}

/// The names in proc_net(5) dev.
fn devices(text: &str) -> String {
    let mut names: Vec<&str> = text.lines().filter_map(|line| Some(line.split_once(':')?.0.trim())).collect();
    names.sort_unstable();
    names.join(" ")
}

/// In a new mount namespace of a thread: nothing that is mounted there is seen elsewhere.
fn private() -> nix::Result<()> {
    let flags = nix::mount::MsFlags::MS_PRIVATE | nix::mount::MsFlags::MS_REC;
    nix::mount::mount(None::<&str>, "/", None::<&str>, flags, None::<&str>)
}

fn link(path: &std::path::Path) -> Result<Value, std::io::Error> {
    Ok(Value::String(std::fs::read_link(path)?.display().to_string()))
}

/// The runtime's own namespace, by its name in /proc/PID/ns.
fn host(name: &str) -> Result<Value, std::io::Error> {
    link(&std::path::Path::new("/proc/self/ns").join(name))
}

fn is_new(lab: &Lab<'_>, kind: &str, name: &str) -> Outcome {
    let seen = lab.base().namespace(kind).report()?;
    expect(seen["namespaces"][name] != host(name)?, format!("the {kind} namespace is the runtime's"))
}

/// The namespace of another container.
fn is_joined(lab: &Lab<'_>, kind: &str, name: &str) -> Outcome {
    let first = with_own(lab, kind).then("wait").start()?;
    let theirs = first.seen()?["namespaces"][name].clone();
    let base = if kind == "uts" { lab.without("hostname") } else { lab.base() };
    let seen = base.join(kind, format!("/proc/{}/ns/{name}", first.pid)).report();
    first.remove()?;
    expect(theirs != host(name)?, "the first container has the runtime's")?;
    match &seen?["namespaces"][name] {
        seen if *seen == theirs => Ok(()),
        seen => fail(format!("it is {seen}, the one at the path {theirs}")),
    }
}

fn with_own<'l>(lab: &'l Lab<'_>, kind: &str) -> Draft<'l> {
    if kind == "user" { lab.base().user_namespace(300_000) } else { lab.base().namespace(kind) }
}

fn is_inherited(lab: &Lab<'_>, kind: &str, name: &str) -> Outcome {
    let base = if kind == "uts" { lab.without("hostname") } else { lab.base() };
    let seen = base.share(kind).report()?;
    expect(seen["namespaces"][name] == host(name)?, "it is not the runtime's")
}

fn is_of_other_type(lab: &Lab<'_>, kind: &str, path: &str) -> Outcome {
    let base = if kind == "uts" { lab.without("hostname") } else { lab.base() };
    base.join(kind, path).refused("namespace|path")
}
