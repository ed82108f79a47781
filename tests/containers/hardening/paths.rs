//! Masked and read-only paths: config-linux.md, "Masked Paths", "Readonly Paths".

use serde_json::{Value, json};

use crate::support::bundle::add_mount;
use crate::support::canary::Canary;
use crate::support::mountinfo::mount_at;
use crate::support::{case, installed, link, need, read, write};

fn mask(config: &mut Value, paths: &[&str]) {
    config["linux"]["maskedPaths"] = json!(paths);
}

#[test]
fn a_masked_file_is_empty_and_can_not_be_written() {
    let case = case!();
    let b = case.script("cat /etc/secret /proc/timer_list; stat -c '%F %t:%T' /etc/secret; echo x >>/etc/secret; cat /etc/secret", |config| {
        mask(config, &["/etc/secret", "/proc/timer_list", "/no/such/path", "/etc/passwd/x"]);
    });
    b.put("etc/secret", "secret\n", 0o666);
    case.run(&b).prints("character special file 1:3\n");
    assert_eq!(read(b.rootfs("etc/secret")), "secret\n");
}

#[test]
fn a_masked_directory_is_empty_and_readonly() {
    let case = case!();
    let b =
        case.script("ls /secret /proc/fs; touch /secret/x; echo $?; cat /proc/self/mountinfo", |config| {
            mask(config, &["/secret", "/proc/fs", "/secret"]);
        });
    b.put("secret/file", "secret\n", 0o666);
    let done = case.run(&b).ok();
    assert!(done.stdout().contains("\n1\n") && done.stderr().contains("Read-only file system"), "{done}");
    assert!(!done.stdout().contains("\nfile\n"), "{done}");
    assert!(mount_at(&done, "/secret").has("ro nosuid nodev noexec"));
}

#[test]
fn thousands_of_masked_directories_share_one_file_system() {
    // kubernetes#138512: one tmpfs for each of them takes seconds, and memory.
    let case = case!();
    let b =
        case.script("stat -c %d /m/0 /m/1 /m/77 /m/499; cat /proc/self/mountinfo | grep -c /m/", |config| {
            let paths: Vec<String> = (0..500).map(|n| format!("/m/{n}")).collect();
            config["linux"]["maskedPaths"] = json!(paths);
        });
    for n in 0..500 {
        b.put(&format!("m/{n}/file"), "", 0o644);
    }
    let lines = case.run(&b).ok().lines();
    assert!(lines[..4].iter().all(|device| *device == lines[0]), "{lines:?}");
    assert_eq!(lines[4], "500");
}

#[test]
fn ten_thousand_masked_and_readonly_paths_all_hold() {
    const MANY: usize = 5000;
    let case = case!();
    let script = "cat /m/*/file | wc -c; ls /d/* | grep -c file; \
        for n in 0 17 4999; do echo x 2>/dev/null >/r/$n/file || echo read-only; done; grep -c ' /[mdr]/' /proc/self/mountinfo";
    let b = case.script(script, |config| {
        let masked = (0..MANY).map(|n| if n % 2 == 0 { format!("/m/{n}/file") } else { format!("/d/{n}") });
        config["linux"]["maskedPaths"] = json!(masked.collect::<Vec<_>>());
        config["linux"]["readonlyPaths"] = json!((0..MANY).map(|n| format!("/r/{n}")).collect::<Vec<_>>());
    });
    for n in 0..MANY {
        let place = if n % 2 == 0 { "m" } else { "d" };
        b.put(&format!("{place}/{n}/file"), "x\n", 0o644);
        b.put(&format!("r/{n}/file"), "x\n", 0o666);
    }
    case.run(&b).prints("0\n0\nread-only\nread-only\nread-only\n10000\n");
}

#[test]
fn each_masked_or_readonly_path_takes_as_much_work_as_the_first() {
    let case = case!();
    need!(installed("strace"), "strace is not installed");
    let calls = |paths: usize| {
        let b = case.script("true", |config| {
            let named = |dir: &str| (0..paths).map(|n| format!("/{dir}/{n}")).collect::<Vec<_>>();
            config["linux"]["maskedPaths"] = json!(named("m"));
            config["linux"]["readonlyPaths"] = json!(named("r"));
        });
        for n in 0..paths {
            b.put(&format!("m/{n}"), "", 0o644);
            b.put(&format!("r/{n}"), "", 0o644);
        }
        let log = case.path(&format!("trace-{paths}"));
        let line = [
            "strace",
            "-f",
            // Only these calls are stopped for.
            "--seccomp-bpf",
            "-qq",
            "-e",
            "trace=openat2,open_tree,mount_setattr,move_mount,fstat,newfstatat,close",
            "-o",
            log.to_str().unwrap(),
        ];
        case.call_through(&line, ["run", "-b", b.path(), &b.id]).finish().ok();
        read(&log).lines().filter(|line| line.contains('(') && !line.contains("resumed>")).count()
    };
    let [few, more, many] = [20, 40, 80].map(calls);
    let (first, second) = (more - few, many - more);
    // Twice as many more, and two calls for chance.
    assert!(second <= 2 * first + 2 && first >= 20, "{few}, {more}, {many}");
}

#[test]
fn paths_are_masked_and_made_readonly_whatever_is_there() {
    let case = case!();
    let script = "cat /file /link /etc/deep/file; ls /dir /dir/nested /mounted; \
        for f in /ro/file /ro/mounted/file /ro-link/file /ro-file; do (echo x >>$f) 2>/dev/null || echo $f; done; \
        echo x >/beside && cat /beside";
    let b = case.script(script, |config| {
        add_mount(config, "/mounted", "tmpfs", "tmpfs", &[]);
        add_mount(config, "/ro/mounted", "tmpfs", "tmpfs", &[]);
        // Twice, in another spelling, inside of what is masked already, behind links, on mounts, not there.
        mask(
            config,
            &[
                "/file",
                "/dir",
                "/dir",
                "/dir/./",
                "/dir/nested",
                "/link",
                "/mounted",
                "/etc/deep/file",
                "/no/such",
                "/file/below",
            ],
        );
        let readonly =
            ["/ro", "/ro/mounted", "/ro", "/ro-file", "/ro-file", "/ro-link", "/no/such", "/ro-file/below"];
        config["linux"]["readonlyPaths"] = json!(readonly);
    });
    for file in ["file", "dir/nested/file", "target", "etc/deep/file", "ro/file", "behind/file", "ro-file"] {
        b.put(file, "secret\n", 0o666);
    }
    link("/target", &b.rootfs("link"));
    link("behind", &b.rootfs("ro-link"));
    let done = case.run(&b);
    assert!(!done.stdout().contains("secret"), "{done}");
    assert!(done.stdout().ends_with("/ro/file\n/ro/mounted/file\n/ro-link/file\n/ro-file\nx\n"), "{done}");
}

#[test]
fn masked_paths_that_are_none_are_refused() {
    let case = case!();
    for (path, word) in [("/", "root"), ("relative", "not absolute"), ("/..", "root"), ("", "not absolute")] {
        for list in ["maskedPaths", "readonlyPaths"] {
            let b = case.script("true", |config| config["linux"][list] = json!(["/proc/kcore", path]));
            case.create(&b).fails(&[&format!("linux.{list}[1]"), word]);
        }
    }
}

#[test]
fn a_masked_path_behind_a_link_is_masked_inside() {
    let case = case!();
    let canary = Canary::new(&case);
    let b = case.script("cat /link /target 2>/dev/null; ls /up 2>/dev/null; true", |config| {
        mask(config, &["/link", "/up"])
    });
    b.put("target", "secret\n", 0o644);
    link("target", &b.rootfs("link"));
    link(format!("../../../../..{}", canary.dir.display()), &b.rootfs("up"));
    case.run(&b).prints("");
    canary.is_untouched();
}

#[test]
fn a_readonly_path_can_not_be_written_nor_what_is_mounted_in_it() {
    let case = case!();
    let script = "for f in /data/x /data/sub/x /proc/sys/kernel/domainname; do echo x >$f; done; cat /data/file; cat /proc/self/mountinfo";
    let b = case.script(script, |config| {
        add_mount(config, "/data/sub", "tmpfs", "tmpfs", &["mode=777", "nosuid"]);
        config["linux"]["readonlyPaths"] = json!(["/data", "/proc/sys", "/no/such", "/data"]);
    });
    b.put("data/file", "content\n", 0o644);
    let done = case.run(&b).ok();
    assert_eq!(done.stderr().matches("Read-only file system").count(), 3, "{done}");
    assert!(done.stdout().starts_with("content\n"), "{done}");
    assert!(
        mount_at(&done, "/data").has("ro")
            && mount_at(&done, "/data/sub").has("ro nosuid")
            && mount_at(&done, "/proc/sys").has("ro")
    );
    b.put("data/still", "", 0o644);
}

#[test]
fn a_hostile_dev_null_masks_nothing_and_opens_nothing() {
    // CVE-2025-31133, T-E1: the image's own /dev/null in the place of the host's. What it leads to is a file of the
    // image or of this test, never one of the kernel's: crun attaches its output to whatever is at /dev/null, and a
    // link to core_pattern would have it written to, on this machine.
    let case = case!();
    let canary = Canary::new(&case);
    for kind in ["link inside", "link outside", "file", "other device", "dangling", "directory"] {
        for own_dev in [false, true] {
            let script = "stat -c '%F %t:%T' /proc/uptime /etc/secret; echo x >/etc/secret; cat /etc/secret";
            let b = case.script(script, |config| {
                mask(config, &["/proc/uptime", "/etc/secret"]);
                if !own_dev {
                    config["mounts"]
                        .as_array_mut()
                        .unwrap()
                        .retain(|m| !m["destination"].as_str().unwrap().starts_with("/dev"));
                }
            });
            b.put("etc/secret", "secret\n", 0o666);
            b.put("etc/precious", "precious\n", 0o666);
            let null = b.rootfs("dev/null");
            match kind {
                "link inside" => link("/etc/precious", &null),
                "link outside" => link(canary.dir.join("null"), &null),
                "file" => write(&null, "open\n", 0o666),
                "dangling" => link(canary.dir.join("new"), &null),
                "directory" => crate::support::make_dir(&null),
                _ => {
                    let (kind, mode) = (nix::sys::stat::SFlag::S_IFCHR, nix::sys::stat::Mode::S_IRWXU);
                    nix::sys::stat::mknod(&null, kind, mode, nix::sys::stat::makedev(1, 5)).unwrap();
                }
            }
            let done = case.run(&b);
            match done.code() {
                0 => drop(done.prints("character special file 1:3\ncharacter special file 1:3\n")),
                _ => drop(done.fails(&["/dev/null"])),
            }
            canary.is_untouched();
            assert_eq!(read(b.rootfs("etc/precious")), "precious\n", "{kind}");
        }
    }
}

#[test]
fn masks_in_proc_hold_while_directories_of_the_rootfs_are_renamed() {
    // Who shares the rootfs makes /proc seem not to be there, just when the masks are looked up: here a hook does it,
    // which runs when the mounts are there and the masks are not.
    let case = case!();
    let b = case.script("cat /proc/uptime | wc -c; mount | grep -c ' /proc/sys '", |config| {
        mask(config, &["/proc/uptime"]);
        config["linux"]["readonlyPaths"] = json!(["/proc/sys"]);
    });
    let (proc, away) = (b.rootfs("proc"), b.rootfs("proc.away"));
    let mut config = b.config();
    config["hooks"]["createRuntime"] =
        json!([{ "path": "/bin/mv", "args": ["mv", proc, away], "env": ["PATH=/bin:/usr/bin"] }]);
    b.save(&config);
    let create = case.created(&b);
    std::fs::rename(&away, &proc).unwrap();
    case.call(["start", &b.id]).finish().ok();
    case.until(&b.id, "stopped");
    assert_eq!(create.stdout(), "0\n1\n", "{create}");
    case.delete(&b.id);
}
