//! config.md: mounts with an id mapping.

use serde_json::{Value, json};

use crate::clause::{Clause, Outcome, Stop, expect, must, same, should};
use crate::draft::Draft;
use crate::host::HostMount;
use crate::lab::Lab;

const OPTIONS: &str = "config.md#linux-mount-options";
const POSIX: &str = "config.md#posix-platform-mounts";
const GIVEN: &str = "If uidMappings or gidMappings are specified for the mount, the runtime MUST use those values for the mount's mapping.";
const NONE: &str = "If there are no uidMappings and gidMappings specified and the container isn't using user namespaces, an error MUST be returned.";
const CONTAINERS: &str = "If they are not specified, the runtime MAY use the container's user namespace mapping, otherwise an error MUST be returned.";
const RECURSIVE: &str =
    "Indicates that the mount MUST have an idmapping applied, and the mapping is applied recursively.";

pub(crate) const CLAUSES: &[Clause] = &[
    should("config.mounts.option.idmap", (OPTIONS, GIVEN), |lab| {
        let tree = Tree::new(lab)?;
        tree.shows(
            mapped(lab.base(), lab, &["bind", "idmap"], json!([[0, 1000, 10]]), json!([[0, 2000, 10]])),
            "/data/file",
            (1005, 2005),
        )
    }),
    should("config.mounts.option.ridmap", (OPTIONS, RECURSIVE), |lab| {
        let tree = Tree::nested(lab)?;
        tree.shows(
            mapped(lab.base(), lab, &["rbind", "ridmap"], json!([[0, 1000, 10]]), json!([[0, 2000, 10]])),
            "/data/sub/file",
            (1005, 2005),
        )
    }),
    should(
        "config.mounts.option.idmap.not-recursive",
        (OPTIONS, "ridmap … the mapping is applied recursively"),
        |lab| {
            let tree = Tree::nested(lab)?;
            tree.shows(
                mapped(lab.base(), lab, &["rbind", "idmap"], json!([[0, 1000, 10]]), json!([[0, 2000, 10]])),
                "/data/sub/file",
                (5, 5),
            )
        },
    ),
    must(
        "config.mounts.idmap.unmapped-ids",
        (
            POSIX,
            "uidMappings (array of type LinuxIDMapping, OPTIONAL) The mapping to convert UIDs from the source file system to the destination mount point.",
        ),
        |lab| {
            let tree = Tree::new(lab)?;
            tree.shows(
                mapped(lab.base(), lab, &["bind", "idmap"], json!([[0, 1000, 2]]), json!([[0, 1000, 2]])),
                "/data/file",
                (65534, 65534),
            )
        },
    ),
    must(
        "config.mounts.idmap.several-ranges",
        (POSIX, "The format is the same as user namespace mappings."),
        |lab| {
            let tree = Tree::new(lab)?;
            let ranges = json!([[0, 1000, 5], [5, 3000, 5]]);
            tree.shows(
                mapped(lab.base(), lab, &["bind", "idmap"], ranges.clone(), ranges),
                "/data/file",
                (3000, 3000),
            )
        },
    ),
    must(
        "config.mounts.idmap.in-user-namespace",
        (POSIX, "The format is the same as user namespace mappings."),
        |lab| {
            let tree = Tree::new(lab)?;
            tree.shows(mapped_as_the_namespace(lab), "/data/file", (5, 5))
        },
    ),
    must(
        "config.mounts.idmap.writes-back",
        (POSIX, "The mapping to convert UIDs from the source file system to the destination mount point."),
        |lab| {
            let tree = Tree::new(lab)?;
            mapped_as_the_namespace(lab)
                .ask("write", json!(["/data/new", "x"]))
                .inside(|seen| seen.is("write/~1data~1new", Value::Null))?;
            let uid = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(lab.dir.join("source/new"))?);
            drop(tree);
            same("the owner of a new file in the source", uid, 0)
        },
    ),
    must("config.mounts.idmap.no-user-namespace", (OPTIONS, NONE), |lab| {
        without_any_map(lab, &["bind", "idmap"])
    }),
    must("config.mounts.ridmap.no-user-namespace", (OPTIONS, NONE), |lab| {
        without_any_map(lab, &["rbind", "ridmap"])
    }),
    must("config.mounts.idmap.the-containers", (OPTIONS, CONTAINERS), |lab| {
        let tree = Tree::new(lab)?;
        let draft = || {
            lab.base().user_namespace(300_000).mount(
                "/data",
                "none",
                lab.dir.join("source"),
                &["bind", "idmap"],
            )
        };
        let accepted = draft().save()?;
        let done = accepted.try_create()?;
        if done.code() != 0 {
            lab.note_refusal(&done, "idmap|mapping");
            drop(tree);
            return lab.knows_nothing_of(&accepted.id);
        }
        crate::container::Container::of(accepted, &done)?.remove()?;
        lab.note("uses the container's mapping");
        tree.shows(draft(), "/data/file", (5, 5))
    }),
    must(
        "config.mounts.uid-mappings.alone",
        (POSIX, "[uidMappings] If specified, it MUST be specified along with gidMappings."),
        |lab| alone(lab, "uidMappings"),
    ),
    must(
        "config.mounts.gid-mappings.alone",
        (POSIX, "[gidMappings] If specified, it MUST be specified along with uidMappings."),
        |lab| alone(lab, "gidMappings"),
    ),
];

/// A file of user and group 5 in a mount of the host at `source`, and maybe another one in a mount below it.
#[derive(Debug)]
struct Tree {
    _mounts: Vec<HostMount>,
}

impl Tree {
    fn new(lab: &Lab<'_>) -> Result<Self, Stop> {
        Self::of(lab, &["source"])
    }

    fn nested(lab: &Lab<'_>) -> Result<Self, Stop> {
        Self::of(lab, &["source", "source/sub"])
    }

    fn of(lab: &Lab<'_>, dirs: &[&str]) -> Result<Self, Stop> {
        let mut mounts = Vec::new();
        for dir in dirs {
            // Not every file system of a host can be mapped; tmpfs can, since Linux 6.3.
            let dir = lab.dir.join(dir);
            mounts.push(match is_before_6_3()? {
                false => HostMount::tmpfs(&dir)?,
                true => {
                    std::fs::create_dir_all(&dir)?;
                    HostMount::bind(&dir, &dir)?
                }
            });
            std::fs::write(dir.join("file"), "x")?;
            std::os::unix::fs::chown(dir.join("file"), Some(5), Some(5))?;
        }
        Ok(Self { _mounts: mounts })
    }

    /// The owner that the container sees.
    fn shows(self, draft: Draft<'_>, path: &str, (uid, gid): (u32, u32)) -> Outcome {
        let seen = draft.ask("stat", path).report();
        drop(self);
        let stat = &seen?["stat"][path];
        expect(
            stat["uid"] == uid && stat["gid"] == gid,
            format!("the owner is {} and {}, not {uid} and {gid}", stat["uid"], stat["gid"]),
        )
    }
}

fn is_before_6_3() -> Result<bool, Stop> {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let mut numbers = release.split('.').map_while(|number| number.parse::<u32>().ok());
    Ok((numbers.next(), numbers.next()) < (Some(6), Some(3)))
}

/// With the tree at /data: ranges of ids of the file system, of the host, and how many.
fn mapped<'l>(draft: Draft<'l>, lab: &Lab<'_>, options: &[&str], uids: Value, gids: Value) -> Draft<'l> {
    let map = |ranges: Value| -> Value {
        let ranges = ranges.as_array().cloned().unwrap_or_default();
        ranges.iter().map(|r| json!({ "containerID": r[0], "hostID": r[1], "size": r[2] })).collect()
    };
    draft.with(
        "mounts/-",
        json!({
            "destination": "/data", "type": "none", "source": lab.dir.join("source"), "options": options,
            "uidMappings": map(uids), "gidMappings": map(gids),
        }),
    )
}

/// The same for a user namespace, mapped as that is.
fn mapped_as_the_namespace<'l>(lab: &'l Lab<'_>) -> Draft<'l> {
    let ranges = json!([[0, 300_000, 10]]);
    mapped(lab.base().user_namespace(300_000), lab, &["bind", "idmap"], ranges.clone(), ranges)
}

fn without_any_map(lab: &Lab<'_>, options: &[&str]) -> Outcome {
    let tree = Tree::new(lab)?;
    lab.base().mount("/data", "none", lab.dir.join("source"), options).refused("idmap|mapping|user")?;
    drop(tree);
    Ok(())
}

/// One kind of mappings without the other.
fn alone(lab: &Lab<'_>, name: &str) -> Outcome {
    let tree = Tree::new(lab)?;
    let mut mount = json!({ "destination": "/data", "type": "none", "source": lab.dir.join("source"), "options": ["bind", "idmap"] });
    mount[name] = json!([{ "containerID": 0, "hostID": 1000, "size": 10 }]);
    lab.with("mounts/-", mount).refused("mapping")?;
    drop(tree);
    Ok(())
}
