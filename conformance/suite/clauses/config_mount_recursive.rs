//! config.md: the option strings that change a mount and all that is mounted below it.

use nix::mount::MsFlags;

use crate::clause::{Clause, Outcome, Stop, should};
use crate::clauses::config_mount_options::has;
use crate::host::HostMount;
use crate::lab::Lab;
use crate::seen::Seen;

const OPTIONS: &str = "config.md#linux-mount-options";
const NONE: MsFlags = MsFlags::empty();
/// Of mount(2); nix hasn't got it.
const NOSYMFOLLOW: MsFlags = MsFlags::from_bits_retain(256);

/// A row of the specification's table: the option, the flags of both mounts before, their options then.
macro_rules! option {
    ($name:literal, $description:literal, $before:expr, $wanted:literal) => {
        should(
            concat!("config.mounts.option.", $name),
            (OPTIONS, concat!($name, " | SHOULD | Recursive ", $description)),
            |lab| recursive(lab, $before, $name, $wanted),
        )
    };
}

pub(crate) const CLAUSES: &[Clause] = &[
    option!("ratime", "atime", MsFlags::MS_NOATIME, "!noatime"),
    option!("rdev", "dev", MsFlags::MS_NODEV, "!nodev"),
    option!("rdiratime", "diratime", MsFlags::MS_NODIRATIME, "!nodiratime"),
    option!("rexec", "exec", MsFlags::MS_NOEXEC, "!noexec"),
    option!("rnoatime", "noatime", NONE, "noatime"),
    option!("rnodiratime", "nodiratime", NONE, "nodiratime"),
    option!("rnoexec", "noexec", NONE, "noexec"),
    option!("rnorelatime", "norelatime", NONE, "!noatime"),
    option!("rnostrictatime", "nostrictatime", MsFlags::MS_STRICTATIME, "relatime"),
    option!("rnosuid", "nosuid", NONE, "nosuid"),
    option!("rnosymfollow", "nosymfollow", NONE, "nosymfollow"),
    option!("rrelatime", "relatime", MsFlags::MS_NOATIME, "relatime !noatime"),
    option!("rro", "ro", NONE, "ro"),
    option!("rrw", "rw", MsFlags::MS_RDONLY, "rw !ro"),
    option!("rstrictatime", "strictatime", NONE, "!relatime !noatime"),
    option!("rsuid", "suid", MsFlags::MS_NOSUID, "!nosuid"),
    option!("rsymfollow", "symfollow", NOSYMFOLLOW, "!nosymfollow"),
    should("config.mounts.option.rro.a-later-mount", (OPTIONS, "rro | SHOULD | Recursive ro"), |lab| {
        let draft = lab.base().mount("/data", "none", lab.subdir("source")?, &["rbind", "rro"]);
        draft
            .dir("/other", 0o755)
            .mount("/other", "tmpfs", "tmpfs", &[])
            .inside(|seen| has(seen, "/other", "rw"))
    }),
    should(
        "config.mounts.option.ro.not-recursive",
        (OPTIONS, "ro | MUST … rro | SHOULD | Recursive ro"),
        |lab| {
            let seen = bound_twice(lab, NONE, "ro")?;
            has(&seen, "/data", "ro")?;
            has(&seen, "/data/sub", "rw")
        },
    ),
];

/// What the program sees of an rbind with an option, of a mount with one below it.
fn bound_twice(lab: &Lab<'_>, before: MsFlags, option: &str) -> Result<Seen, Stop> {
    let source = lab.dir.join("source");
    let above = HostMount::tmpfs(&source)?;
    let below = HostMount::tmpfs(source.join("sub"))?;
    below.becomes(before)?;
    above.becomes(before)?;
    let seen = lab.base().mount("/data", "none", &source, &["rbind", option]).report();
    drop((below, above));
    seen
}

/// Both the mount and the one below it have changed.
fn recursive(lab: &Lab<'_>, before: MsFlags, option: &str, wanted: &str) -> Outcome {
    let seen = bound_twice(lab, before, option)?;
    has(&seen, "/data", wanted)?;
    has(&seen, "/data/sub", wanted)
}
