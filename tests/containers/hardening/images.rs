//! What an image or a volume has in the place of a mount.

use std::path::Path;

use serde_json::json;

use crate::support::bundle::{add_mount, add_user_namespace};
use crate::support::canary::Canary;
use crate::support::mountinfo::mounts;
use crate::support::racer::while_exchanged;
use crate::support::{Bundle, Case, case, host_command, link, write};

/// What an image has in the place of a mount's destination.
const REPLACEMENTS: [&str; 10] = [
    "absolute link",
    "link upwards",
    "dangling link",
    "circle",
    "link into proc",
    "link to a cwd",
    "file",
    "fifo",
    "socket",
    "full directory",
];

fn replace(b: &Bundle, at: &str, kind: &str, canary: &Canary) {
    let path = b.rootfs(at);
    host_command("rm", &["-rf".as_ref(), path.as_os_str()]);
    host_command("mkdir", &["-p".as_ref(), path.parent().unwrap().as_os_str()]);
    let depth = "../".repeat(12);
    match kind {
        "absolute link" => link(&canary.dir, &path),
        "link upwards" => {
            link(format!("{depth}{}", canary.dir.display().to_string().trim_start_matches('/')), &path)
        }
        "dangling link" => link(canary.dir.join("new"), &path),
        "circle" => link(path.file_name().unwrap(), &path),
        "link into proc" => link(format!("/proc/self/root{}", canary.dir.display()), &path),
        "link to a cwd" => link("/proc/1/cwd", &path),
        "file" => write(&path, "a file\n", 0o644),
        "fifo" => nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap(),
        "socket" => drop(std::os::unix::net::UnixListener::bind(&path).unwrap()),
        _ => {
            b.put(&format!("{at}/null"), "an image's own\n", 0o644);
            b.put(&format!("{at}/x"), "", 0o644);
        }
    }
}

/// T-B1 for one destination: every replacement, with a variant of the bundle.
fn static_matrix(case: &Case, at: &str, variant: &str) {
    let canary = Canary::new(case);
    let resolv = case.file("resolv.conf", "nameserver ::1\n", 0o644);
    for kind in REPLACEMENTS {
        let b = case.script("cat /proc/self/mountinfo", |config| {
            add_mount(config, "/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", "ro"]);
            add_mount(config, "/sys/fs/cgroup", "cgroup", "cgroup", &["nosuid", "noexec", "nodev", "ro"]);
            add_mount(config, "/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"]);
            add_mount(config, "/run", "tmpfs", "tmpfs", &["mode=755"]);
            add_mount(config, "/etc/resolv.conf", "bind", &resolv, &["bind", "ro"]);
            add_mount(config, "/a/b", "tmpfs", "tmpfs", &[]);
            match variant {
                "in a user namespace" => add_user_namespace(config, 100_000),
                "with a readonly root" => config["root"]["readonly"] = json!(true),
                "without a mount on dev" => {
                    config["mounts"].as_array_mut().unwrap().retain(|m| m["destination"] != "/dev")
                }
                _ => {}
            }
        });
        replace(&b, at, kind, &canary);
        if variant == "in a user namespace" {
            host_command("chown", &["-hR".as_ref(), "100000:100000".as_ref(), b.rootfs("").as_os_str()]);
        }
        let done = case.run(&b);
        canary.is_untouched();
        if done.code() != 0 {
            let named = [at, Path::new(at).parent().unwrap().to_str().unwrap()]
                .iter()
                .any(|n| *n != "/" && done.stderr().contains(n));
            assert!(done.code() == 1 && named, "{kind} at {at} {variant}: {done}");
        } else {
            let outside = canary.dir.display().to_string();
            assert!(
                mounts(&done).iter().all(|m| !m.root.starts_with(&outside)),
                "{kind} at {at} {variant}: {done}"
            );
        }
        assert_eq!(case.leaks(), [""; 0], "{kind} at {at} {variant}");
    }
}

/// The destinations of the usual configurations.
const DESTINATIONS: [&str; 12] = [
    "/dev",
    "/dev/pts",
    "/dev/shm",
    "/dev/mqueue",
    "/dev/console",
    "/proc",
    "/sys",
    "/sys/fs/cgroup",
    "/etc",
    "/etc/resolv.conf",
    "/run",
    "/a/b",
];

#[test]
fn whatever_an_image_has_in_the_place_of_a_mount_nothing_outside_is_touched() {
    let case = case!();
    DESTINATIONS.iter().for_each(|at| static_matrix(&case, at, "as usual"));
}

#[test]
fn the_same_in_a_user_namespace() {
    let case = case!();
    DESTINATIONS.iter().for_each(|at| static_matrix(&case, at, "in a user namespace"));
}

#[test]
fn the_same_where_dev_is_the_images_own() {
    let case = case!();
    DESTINATIONS
        .iter()
        .filter(|at| at.starts_with("/dev"))
        .for_each(|at| static_matrix(&case, at, "without a mount on dev"));
}

#[test]
fn the_same_with_a_readonly_root() {
    let case = case!();
    DESTINATIONS.iter().for_each(|at| static_matrix(&case, at, "with a readonly root"));
}

#[test]
fn an_exchange_of_directory_and_link_never_leads_outside() {
    // CVE-2021-30465, CVE-2024-45310, T-B2, for as long as a test may take.
    let case = case!();
    let canary = Canary::new(&case);
    let volume = case.subdir("volume");
    case.subdir("volume/a");
    link(&canary.dir, &volume.join("b"));
    while_exchanged(&volume, ["a", "b"], || create_in(&case, &volume, &canary));
    canary.is_untouched();
}

/// Makes containers with mounts below the directory that is exchanged.
fn create_in(case: &Case, volume: &Path, canary: &Canary) {
    let outside = canary.dir.display().to_string();
    for _ in 0..150 {
        let b = case.script("cat /proc/self/mountinfo", |config| {
            add_mount(config, "/v", "bind", volume, &["rbind"]);
            add_mount(config, "/v/a/t", "tmpfs", "tmpfs", &[]);
            add_mount(config, "/v/a/d/e", "bind", "/usr", &["bind"]);
            add_mount(config, "/v/a/f", "bind", "/etc/passwd", &["bind"]);
        });
        let done = case.run(&b);
        if done.code() == 0 {
            assert!(mounts(&done).iter().all(|m| !m.root.starts_with(&outside)), "{done}");
        }
        assert_eq!(case.leaks(), [""; 0], "{done}");
        host_command("rm", &["-rf".as_ref(), b.dir.as_os_str()]);
    }
}
