//! config.md: the option strings of mounts that every runtime knows, one by one.

use nix::mount::MsFlags;
use serde_json::Value;

use crate::clause::{Clause, Outcome, callers, expect, fail, must, same, should};
use crate::host::HostMount;
use crate::lab::Lab;
use crate::seen::Seen;

const OPTIONS: &str = "config.md#linux-mount-options";

/// A row of the specification's table and how it is tried.
macro_rules! option {
    (MUST $name:literal $check:ident($($arg:expr),*)) => {
        must(concat!("config.mounts.option.", $name), (OPTIONS, concat!($name, " | MUST")), |lab| $check(lab, $($arg),*))
    };
    (SHOULD $name:literal $check:ident($($arg:expr),*)) => {
        should(concat!("config.mounts.option.", $name), (OPTIONS, concat!($name, " | SHOULD")), |lab| $check(lab, $($arg),*))
    };
}

pub(crate) const CLAUSES: &[Clause] = &[
    option!(MUST "async" fresh(&["sync", "async"], "-sync")),
    option!(MUST "atime" fresh(&["noatime", "atime"], "!noatime")),
    option!(MUST "bind" binds("bind", false)),
    option!(MUST "defaults" fresh(&["defaults"], "rw relatime !nosuid !nodev !noexec -sync")),
    option!(MUST "dev" fresh(&["nodev", "dev"], "!nodev")),
    option!(MUST "diratime" fresh(&["nodiratime", "diratime"], "!nodiratime")),
    option!(MUST "dirsync" fresh(&["dirsync"], "dirsync")),
    option!(MUST "exec" fresh(&["noexec", "exec"], "!noexec")),
    // No file tells of some; as data of tmpfs they would be refused by the kernel.
    option!(MUST "iversion" fresh(&["iversion"], "rw")),
    option!(MUST "lazytime" fresh(&["lazytime"], "lazytime")),
    option!(MUST "loud" fresh(&["silent", "loud"], "rw")),
    option!(MUST "noatime" fresh(&["noatime"], "noatime")),
    option!(MUST "nodev" fresh(&["nodev"], "nodev")),
    option!(MUST "nodiratime" fresh(&["nodiratime"], "nodiratime")),
    option!(MUST "noexec" fresh(&["noexec"], "noexec")),
    option!(MUST "noiversion" fresh(&["noiversion"], "rw")),
    option!(MUST "nolazytime" fresh(&["lazytime", "nolazytime"], "-lazytime")),
    option!(MUST "norelatime" fresh(&["relatime", "norelatime"], "!noatime")),
    option!(MUST "nostrictatime" fresh(&["strictatime", "nostrictatime"], "relatime")),
    option!(MUST "nosuid" fresh(&["nosuid"], "nosuid")),
    option!(SHOULD "nosymfollow" fresh(&["nosymfollow"], "nosymfollow")),
    option!(MUST "private" propagates(&["private"], "private", None)),
    option!(MUST "rbind" binds("rbind", true)),
    option!(MUST "relatime" fresh(&["relatime"], "relatime !noatime")),
    option!(MUST "remount" remounts()),
    option!(MUST "ro" fresh(&["ro"], "ro !rw")),
    option!(MUST "rprivate" propagates(&["rprivate"], "private", Some("private"))),
    option!(MUST "rshared" propagates(&["rshared"], "shared", Some("shared"))),
    option!(MUST "rslave" propagates(&["rslave"], "slave", Some("slave"))),
    option!(MUST "runbindable" propagates(&["runbindable"], "unbindable", Some("unbindable"))),
    option!(MUST "rw" fresh(&["ro", "rw"], "rw !ro")),
    option!(MUST "shared" propagates(&["shared"], "shared", None)),
    option!(MUST "silent" fresh(&["silent"], "rw")),
    option!(MUST "slave" propagates(&["slave"], "slave", None)),
    option!(MUST "strictatime" fresh(&["strictatime"], "!relatime !noatime")),
    option!(MUST "suid" fresh(&["nosuid", "suid"], "!nosuid")),
    option!(SHOULD "symfollow" fresh(&["nosymfollow", "symfollow"], "!nosymfollow")),
    option!(MUST "sync" fresh(&["sync"], "sync")),
    option!(MUST "unbindable" propagates(&["unbindable"], "unbindable", None)),
    option!(MUST "bind.ro" bound(&["bind", "ro"], "ro")),
    option!(MUST "bind.nosuid" bound(&["bind", "nosuid"], "nosuid")),
    option!(MUST "bind.nodev" bound(&["bind", "nodev"], "nodev")),
    option!(MUST "bind.noexec" bound(&["bind", "noexec"], "noexec")),
    option!(MUST "bind.noatime" bound(&["bind", "noatime"], "noatime")),
    option!(MUST "bind.strictatime" bound(&["bind", "strictatime"], "!relatime !noatime")),
    option!(MUST "bind.all-at-once" bound(&["rbind", "ro", "nosuid", "nodev", "noexec"], "ro nosuid nodev noexec")),
    callers(
        "callers.mounts.tmpcopyup",
        ("callers: mounts", "tmpcopyup copies up the contents to a tmpfs (podman --tmpfs)."),
        |lab| {
            lab.base()
                .put("/data/mark", "here", 0o640)
                .mount("/data", "tmpfs", "tmpfs", &["tmpcopyup"])
                .ask("read", "/data/mark")
                .inside(|seen| {
                    seen.mount("/data")?;
                    seen.is("read/~1data~1mark", "here")
                })
        },
    ),
];

/// Fails unless the mount has all words; `!word`: not as its own option; `-word`: not at all.
pub(super) fn has(seen: &Seen, at: &str, words: &str) -> Outcome {
    let (not, options): (Vec<&str>, Vec<&str>) = words.split(' ').partition(|word| word.starts_with('-'));
    seen.mounted(at, &options.join(" "))?;
    let mount = seen.mount(at)?;
    let lists = [&mount["options"], &mount["data"]];
    for word in not {
        let found = |list: &&Value| list.as_array().is_some_and(|l| l.iter().any(|o| *o == word[1..]));
        expect(!lists.iter().any(found), format!("{at} is mounted with {}", &word[1..]))?;
    }
    Ok(())
}

/// A tmpfs with these options is mounted like this.
fn fresh(lab: &Lab<'_>, options: &[&str], wanted: &str) -> Outcome {
    lab.base().mount("/data", "tmpfs", "tmpfs", options).inside(|seen| has(seen, "/data", wanted))
}

/// A directory of the host with these options is mounted like this.
fn bound(lab: &Lab<'_>, options: &[&str], wanted: &str) -> Outcome {
    let source = HostMount::tmpfs(lab.dir.join("source"))?;
    lab.base()
        .mount("/data", "none", lab.dir.join("source"), options)
        .inside(|seen| has(seen, "/data", wanted))?;
    drop(source);
    Ok(())
}

/// A directory of the host is there, and what is mounted below it, or not.
fn binds(lab: &Lab<'_>, option: &str, below: bool) -> Outcome {
    lab.file("source/file", "here", 0o644)?;
    let nested = HostMount::tmpfs(lab.dir.join("source/sub"))?;
    let draft = lab.base().mount("/data", "none", lab.dir.join("source"), &[option]);
    let seen = draft.ask("read", "/data/file").report()?;
    drop(nested);
    seen.is("read/~1data~1file", "here")?;
    expect(seen.mount("/data/sub").is_ok() == below, "what is mounted below it")
}

/// What comes from a shared mount of the host gets another propagation. Without an option it would be a slave.
fn propagates(lab: &Lab<'_>, options: &[&str], wanted: &str, nested: Option<&str>) -> Outcome {
    let source = HostMount::tmpfs(lab.dir.join("source"))?;
    source.propagates(MsFlags::MS_SHARED)?;
    let below = HostMount::tmpfs(lab.dir.join("source/sub"))?;
    let options = [&["rbind"], options].concat();
    let draft = lab.with("linux/rootfsPropagation", "slave");
    let seen = draft.mount("/data", "none", lab.dir.join("source"), &options).report()?;
    drop((below, source));
    same("the propagation of /data", is_of(&seen.propagation("/data")?, wanted), wanted)?;
    nested.map_or(Ok(()), |wanted| {
        same("the propagation below /data", is_of(&seen.propagation("/data/sub")?, wanted), wanted)
    })
}

/// A shared mount may be a slave as well.
fn is_of<'a>(seen: &'a str, wanted: &'a str) -> &'a str {
    if seen == "shared and slave" && wanted == "shared" { wanted } else { seen }
}

/// A mount that is there gets other options.
fn remounts(lab: &Lab<'_>) -> Outcome {
    let draft = lab.base().mount("/data", "tmpfs", "tmpfs", &["nosuid"]);
    let draft = draft.mount("/data", "tmpfs", "tmpfs", &["remount", "ro", "nosuid"]);
    draft.inside(|seen| {
        has(seen, "/data", "ro nosuid")?;
        let there = seen["mounts"].as_array().into_iter().flatten().filter(|m| m["at"] == "/data").count();
        if there == 1 { Ok(()) } else { fail(format!("{there} file systems are mounted at /data")) }
    })
}
