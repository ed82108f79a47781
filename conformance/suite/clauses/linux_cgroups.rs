//! config-linux.md: control groups, their paths and owners; intelRdt.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::clause::{Clause, Need, Outcome, expect, fail, must, same, should, skip};
use crate::command::text;
use crate::container::Container;
use crate::draft::Draft;
use crate::lab::{CGROUP, Lab};

const GROUPS: &str = "config-linux.md#control-groups";
const PATH: &str = "config-linux.md#cgroups-path";
const OWNERSHIP: &str = "config-linux.md#cgroup-ownership";
const RDT: &str = "config-linux.md#intelrdt";
const ABSOLUTE: &str = "In the case of an absolute path, the runtime MUST take the path to be relative to the cgroups mount point.";
const SAME: &str = "the runtime MUST consistently attach to the same place in the cgroups hierarchy given the same value of cgroupsPath.";
const FIT: &str = "A runtime MAY … check if the container cgroup is fit for purpose, and MUST generate an error if such a check fails.";
const OWNER: &str = "Runtimes SHOULD change the cgroup ownership if and only if the cgroup filesystem is to be mounted read/write";
const FILES: &str = "A runtime that changes the cgroup ownership SHOULD only change the ownership of the container's cgroup directory and files within that directory that are listed in /sys/kernel/cgroup/delegate.";

pub(crate) const CLAUSES: &[Clause] = &[
    must("linux.cgroups.path.absolute", (PATH, ABSOLUTE), |lab| {
        let container = lab.base().create()?;
        let is = is_member(&container.bundle.cgroup, container.pid);
        container.remove()?;
        expect(is, "the process is not in the cgroup")
    }),
    must("linux.cgroups.path.nested", (PATH, "The cgroups will be created if they don't exist."), |lab| {
        let draft = lab.with("linux/cgroupsPath", format!("/{}/one/two/three", lab.unique));
        let container = draft.create()?;
        let is = is_member(&lab.cgroup().join("one/two/three"), container.pid);
        container.remove()?;
        // Whether what is above it goes, too, is left open.
        drop(
            fs::remove_dir(lab.cgroup().join("one/two"))
                .and_then(|()| fs::remove_dir(lab.cgroup().join("one"))),
        );
        expect(is, "the process is not in the cgroup")
    }),
    must("linux.cgroups.path.exists", (PATH, "The cgroups will be created if they don't exist."), |lab| {
        let bundle = lab.base().save()?;
        fs::create_dir(&bundle.cgroup)?;
        let container = bundle.create()?;
        let is = is_member(&container.bundle.cgroup, container.pid);
        container.remove()?;
        drop(fs::remove_dir(&container.bundle.cgroup));
        expect(is, "the process is not in the cgroup that was there")
    }),
    must(
        "linux.cgroups.path.exists.stays",
        (
            "runtime.md#delete",
            "Note that resources associated with the container, but not created by this container, MUST NOT be deleted.",
        ),
        |lab| {
            let bundle = lab.base().save()?;
            fs::create_dir(&bundle.cgroup)?;
            let container = bundle.create()?;
            let is = is_member(&container.bundle.cgroup, container.pid);
            container.remove()?;
            expect(is, "the process is not in the cgroup")?;
            fs::remove_dir(&container.bundle.cgroup)
                .or_else(|_| fail("delete has removed a cgroup that was there before"))
        },
    ),
    must("linux.cgroups.path.same-value", (PATH, SAME), |lab| {
        same_place(lab, &format!("/{}/place", lab.unique))
    }),
    must("linux.cgroups.path.same-value.relative", (PATH, SAME), |lab| {
        same_place(lab, &format!("{}/place", lab.unique))
    }),
    must(
        "linux.cgroups.path.relative",
        (
            PATH,
            "In the case of a relative path …, the runtime MAY interpret the path relative to a runtime-determined location in the cgroups hierarchy.",
        ),
        |lab| {
            let container = lab.with("linux/cgroupsPath", format!("{}/relative", lab.unique)).create()?;
            let at = cgroup_of(container.pid);
            container.remove()?;
            expect(
                at.ends_with(Path::new(&lab.unique).join("relative")),
                format!("it is in {}", at.display()),
            )
        },
    ),
    must(
        "linux.cgroups.path.default",
        (PATH, "If the value is not specified, the runtime MAY define the default cgroups path."),
        |lab| {
            let container = lab.without("linux/cgroupsPath").create()?;
            let at = cgroup_of(container.pid);
            let own = Path::new(CGROUP).join(text("/proc/self/cgroup").trim_start_matches("0::/").trim());
            container.remove()?;
            expect(at == own || !at.exists(), format!("{} is left", at.display()))?;
            lab.note(if at == own { "it stays in the caller's" } else { "it has one of its own" });
            Ok(())
        },
    ),
    must(
        "linux.cgroups.path.not-a-string",
        (
            "config.md#valid-values",
            "Runtimes MUST generate an error when invalid or unsupported values are encountered.",
        ),
        |lab| lab.with("linux/cgroupsPath", 7).refused("cgroupsPath"),
    ),
    must(
        "linux.cgroups.path.stays-below",
        (
            PATH,
            "Runtimes MAY consider certain cgroupsPath values to be invalid, and MUST generate an error if this is the case.",
        ),
        |lab| {
            // Refused or taken as a path below the mount point: never a directory elsewhere.
            let outside = lab.subdir("outside")?;
            let up = "/..".repeat(8);
            let bundle = lab
                .with("linux/cgroupsPath", format!("/{}{up}{}/new", lab.unique, outside.display()))
                .save()?;
            let done = bundle.try_create()?;
            if done.code() == 0 {
                Container::of(bundle, &done)?.remove()?;
            }
            let made = fs::read_dir(outside)?.next().is_some();
            // One that is inside after all: CGROUP/tmp/...
            remove_below(&Path::new(CGROUP).join(lab.dir.strip_prefix("/")?.join("outside")));
            expect(!made, "the runtime has made a directory outside")
        },
    ),
    must("linux.cgroups.fit.not-empty", (GROUPS, FIT), |lab| {
        let first = lab.base().then("wait").start()?;
        let place = format!("/{}/{}", lab.unique, first.id());
        let bundle = lab.with("linux/cgroupsPath", place).save()?;
        let done = bundle.try_create()?;
        if done.code() == 0 {
            lab.note("accepts a cgroup that is in use");
            Container::of(bundle, &done)?.remove()?;
        } else {
            lab.note_refusal(&done, "cgroup|empty");
        }
        let lives = first.is_alive();
        first.remove()?;
        expect(lives, "what was there before has been killed")
    }),
    must("linux.cgroups.fit.frozen", (GROUPS, FIT), |lab| {
        let bundle = lab.base().save()?;
        fs::create_dir(&bundle.cgroup)?;
        fs::write(bundle.cgroup.join("cgroup.freeze"), "1")?;
        // Refused or thawed, but never a hang.
        let done = bundle.try_create()?;
        if done.code() == 0 {
            lab.note("accepts a frozen cgroup");
            Container::of(bundle, &done)?.remove()
        } else {
            lab.note_refusal(&done, "cgroup|frozen");
            drop(fs::remove_dir(&bundle.cgroup));
            lab.knows_nothing_of(&bundle.id)
        }
    }),
    should("linux.cgroups.owner.writable-mount", (OWNERSHIP, OWNER), |lab| {
        has_owner(delegated(lab.base().user_namespace(300_000), &[]), 300_000)
    }),
    should(
        "linux.cgroups.owner.of-the-process",
        (OWNERSHIP, "the host uid that maps to the value of process.user.uid in the container namespace"),
        |lab| {
            has_owner(delegated(lab.base().user_namespace(300_000), &[]).with("process/user/uid", 7), 300_007)
        },
    ),
    should(
        "linux.cgroups.owner.readonly-mount",
        (OWNERSHIP, "The options field does not contain the value \"ro\""),
        |lab| has_owner(delegated(lab.base().user_namespace(300_000), &["ro"]), 0),
    ),
    should(
        "linux.cgroups.owner.no-mount",
        (
            OWNERSHIP,
            "If the configuration does not specify such a mount, the runtime SHOULD NOT change the cgroup ownership.",
        ),
        |lab| has_owner(lab.base().user_namespace(300_000), 0),
    ),
    should(
        "linux.cgroups.owner.no-cgroup-namespace",
        (
            OWNERSHIP,
            "A runtime SHOULD NOT change the ownership of a container cgroup unless it will also create a new cgroup namespace for the container.",
        ),
        |lab| has_owner(delegated(lab.base().user_namespace(300_000), &[]).share("cgroup"), 0),
    ),
    should("linux.cgroups.owner.files", (OWNERSHIP, FILES), |lab| {
        let container = delegated(lab.base().user_namespace(300_000), &[]).create()?;
        let listed = text("/sys/kernel/cgroup/delegate");
        let mut wrong = Vec::new();
        for entry in fs::read_dir(&container.bundle.cgroup)?.filter_map(Result::ok) {
            let name = entry.file_name().to_string_lossy().into_owned();
            let wanted = if listed.lines().any(|line| line == name) { 300_000 } else { 0 };
            if entry.metadata()?.uid() != wanted {
                wrong.push(name);
            }
        }
        container.remove()?;
        expect(wrong.is_empty(), format!("{} have another owner", wrong.join(", ")))
    }),
    should("linux.cgroups.owner.can-delegate", (OWNERSHIP, OWNER), |lab| {
        let draft = delegated(lab.base().user_namespace(300_000), &[])
            .ask("calls", json!(["mkdir", libc::SYS_mkdir, ["/sys/fs/cgroup/below", 0o755]]));
        let seen =
            draft.ask("calls", json!(["rmdir", libc::SYS_rmdir, ["/sys/fs/cgroup/below"]])).report()?;
        seen.is("calls/mkdir", Value::Null)
    }),
    must(
        "linux.rdt.no-resctrl",
        (RDT, "If no mounted resctrl pseudo-filesystem is available …, the runtime MUST generate an error."),
        |lab| {
            if text("/proc/self/mountinfo").contains(" - resctrl ") {
                return skip("a resctrl file system is mounted");
            }
            lab.with("linux/intelRdt", json!({ "closID": "a" })).refused("intelRdt|resctrl|rdt")
        },
    ),
    must(
        "linux.rdt.tasks",
        (RDT, "the runtime MUST write the container process ID to the tasks file in a proper sub-directory"),
        |lab| {
            let container = lab.with("linux/intelRdt", json!({})).create()?;
            let tasks = text(std::path::Path::new("/sys/fs/resctrl").join(container.id()).join("tasks"));
            expect(tasks.lines().any(|pid| pid == container.pid.to_string()), "the process is not in tasks")?;
            container.remove()
        },
    )
    .needs(&[Need::File("/sys/fs/resctrl/tasks")]),
];

/// Whether the process is in this cgroup.
fn is_member(cgroup: &Path, pid: i32) -> bool {
    text(cgroup.join("cgroup.procs")).lines().any(|line| line == pid.to_string())
}

/// Where the process is, as a directory.
fn cgroup_of(pid: i32) -> PathBuf {
    let text = text(format!("/proc/{pid}/cgroup"));
    let path = text.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or("");
    Path::new(CGROUP).join(path)
}

/// Two containers, one after the other, are in the same place.
fn same_place(lab: &Lab<'_>, value: &str) -> Outcome {
    let place = || {
        let container = lab.with("linux/cgroupsPath", value).create()?;
        let at = cgroup_of(container.pid).display().to_string();
        container.remove()?;
        Ok::<_, crate::clause::Stop>(at)
    };
    same("the place of the second container", place()?, place()?)
}

/// With the cgroup file system mounted, as the specification describes it.
fn delegated<'l>(draft: Draft<'l>, options: &[&str]) -> Draft<'l> {
    draft.mount("/sys", "sysfs", "sysfs", &["ro"]).mount("/sys/fs/cgroup", "cgroup", "cgroup", options)
}

fn has_owner(draft: Draft<'_>, wanted: u32) -> Outcome {
    let container = draft.create()?;
    let uid = fs::metadata(&container.bundle.cgroup)?.uid();
    container.remove()?;
    same("the owner of the cgroup", uid, wanted)
}

/// Cgroups that a runtime has made on the way, the deepest first.
fn remove_below(cgroup: &Path) {
    let mut at = cgroup.to_owned();
    while at != Path::new(CGROUP) && at.starts_with(CGROUP) {
        drop(fs::remove_dir(&at));
        if !at.pop() {
            return;
        }
    }
}
