//! Devices: config-linux.md, "Devices", "Default Devices", "Allowed Device list"; runtime-linux.md, "Dev
//! symbolic links".

mod rules;

use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};

use serde_json::{Value, json};

use crate::support::bundle::{add_mount, add_user_namespace, set_capabilities};
use crate::support::{case, host_command, is_there, link};

const DEFAULT: &str = "/dev/null 1:3 666\n/dev/zero 1:5 666\n/dev/full 1:7 666\n/dev/random 1:8 666\n/dev/urandom 1:9 666\n/dev/tty 5:0 666\n";

const SHOW: &str = "for d in null zero full random urandom tty; do stat -c '%n 0x%t 0x%T %a' /dev/$d; done | \
    while read n t T a; do echo $n $((t)):$((T)) $a; done";

fn set_devices(config: &mut Value, devices: Value) {
    config["linux"]["devices"] = devices;
}

#[test]
fn the_default_devices_are_there() {
    let case = case!();
    case.sh(SHOW, |_| {}).prints(DEFAULT);
}

#[test]
fn the_default_devices_are_the_hosts_own_in_a_user_namespace() {
    let case = case!();
    let b = case.script(&format!("{SHOW}; echo x >/dev/null && head -c 3 /dev/zero | wc -c"), |config| {
        add_user_namespace(config, 100_000)
    });
    b.chown(100_000);
    case.run(&b).prints(&format!("{DEFAULT}3\n"));
}

#[test]
fn the_default_devices_are_made_in_the_image_where_nothing_is_mounted_on_dev() {
    let case = case!();
    let b = case.script(SHOW, |config| {
        config["mounts"]
            .as_array_mut()
            .unwrap()
            .retain(|m| !m["destination"].as_str().unwrap().starts_with("/dev"))
    });
    case.run(&b).prints(DEFAULT);
    // Once more: what the first container has made is the right thing, and stays.
    case.run(&b).prints(DEFAULT);
    assert!(b.rootfs("dev/null").metadata().unwrap().file_type().is_char_device());
}

#[test]
fn the_links_of_dev_are_there_and_an_images_own_stay() {
    let case = case!();
    let script = "for l in fd stdin stdout stderr ptmx; do echo $l $(readlink /dev/$l); done";
    let links = "fd /proc/self/fd\nstdin /proc/self/fd/0\nstdout /proc/self/fd/1\nstderr /proc/self/fd/2\nptmx pts/ptmx\n";
    case.sh(script, |_| {}).prints(links);
    let b = case.script(script, |config| {
        config["mounts"].as_array_mut().unwrap().retain(|m| m["destination"] != "/dev")
    });
    link("/somewhere/else", &b.rootfs("dev/stdout"));
    case.run(&b).prints(&links.replace("stdout /proc/self/fd/1", "stdout /somewhere/else"));
}

#[test]
fn the_configurations_devices_are_made() {
    let case = case!();
    let script = "stat -c '%n %F %a %u:%g 0x%t:0x%T' /dev/mine /dev/deep/er/block /fifo /dev/plain";
    let devices = json!([
        { "path": "/dev/mine", "type": "c", "major": 1, "minor": 5, "fileMode": 0o640, "uid": 3, "gid": 4 },
        { "path": "/dev/deep/er/block", "type": "b", "major": 7, "minor": 200, "fileMode": 0o600 },
        { "path": "/fifo", "type": "p", "fileMode": 0o622 },
        { "path": "/dev/plain", "type": "u", "major": 1, "minor": 3 },
    ]);
    case.sh(script, |config| set_devices(config, devices)).prints(
        "/dev/mine character special file 640 3:4 0x1:0x5\n/dev/deep/er/block block special file 600 0:0 0x7:0xc8\n\
         /fifo fifo 622 0:0 0x0:0x0\n/dev/plain character special file 666 0:0 0x1:0x3\n",
    );
}

#[test]
fn a_device_of_the_configuration_takes_the_place_of_a_default_one() {
    let case = case!();
    let devices = json!([{ "path": "/dev/null", "type": "c", "major": 1, "minor": 3, "fileMode": 0o600, "uid": 33, "gid": 33 }]);
    case.sh("stat -c '%a %u:%g' /dev/null", |config| set_devices(config, devices)).prints("600 33:33\n");
}

#[test]
fn a_device_of_the_configuration_is_bound_in_a_user_namespace() {
    let case = case!();
    let b = case.script("stat -c '%F 0x%t:0x%T' /dev/zero /dev/other/null; stat -c %F /dev/fifo", |config| {
        add_user_namespace(config, 100_000);
        set_devices(
            config,
            json!([
                { "path": "/dev/zero", "type": "c", "major": 1, "minor": 5 },
                { "path": "/dev/fifo", "type": "p" },
            ]),
        );
    });
    b.chown(100_000);
    let done = case.run(&b);
    assert!(done.stdout().starts_with("character special file 0x1:0x5\n"), "{done}");
    assert!(done.stdout().ends_with("fifo\n"), "{done}");
    // What the host has not can't be bound: said, by name.
    let b = case.script("true", |config| {
        add_user_namespace(config, 100_000);
        set_devices(config, json!([{ "path": "/dev/no-such", "type": "c", "major": 240, "minor": 77777 }]));
    });
    b.chown(100_000);
    case.create(&b).fails(&["linux.devices[0] /dev/no-such", "which has no 240:77777"]);
    // At its path the host has another device, or none of this kind.
    for wrong in [
        json!({ "path": "/dev/zero", "type": "c", "major": 240, "minor": 7 }),
        json!({ "path": "/dev/zero", "type": "b", "major": 1, "minor": 5 }),
    ] {
        let b = case.script("true", |config| {
            add_user_namespace(config, 100_000);
            set_devices(config, json!([wrong]));
        });
        b.chown(100_000);
        case.create(&b).fails(&["linux.devices[0] /dev/zero", "the host's"]);
    }
}

#[test]
fn a_device_is_bound_from_wherever_the_host_has_it() {
    let case = case!();
    let script = "stat -c '%n 0x%t:0x%T' /opt/deep/zero /mnt/full; head -c 2 /opt/deep/zero | wc -c; stat -c '%F %a %u:%g' /opt/fifo";
    let b = case.script(script, |config| {
        add_user_namespace(config, 100_000);
        add_mount(config, "/mnt", "tmpfs", "tmpfs", &[]);
        set_devices(
            config,
            json!([
                { "path": "/opt/deep/zero", "type": "c", "major": 1, "minor": 5 },
                { "path": "/mnt/full", "type": "c", "major": 1, "minor": 7 },
                // Its ids are the container's.
                { "path": "/opt/fifo", "type": "p", "fileMode": 0o620, "uid": 3, "gid": 4 },
            ]),
        );
    });
    b.chown(100_000);
    case.run(&b).prints("/opt/deep/zero 0x1:0x5\n/mnt/full 0x1:0x7\n2\nfifo 620 3:4\n");
    let fifo = b.rootfs("opt/fifo").symlink_metadata().unwrap();
    assert_eq!((fifo.uid(), fifo.gid()), (100_003, 100_004));
}

#[test]
fn a_device_is_made_anywhere_in_the_tree() {
    let case = case!();
    let host = case.subdir("volume");
    let devices = json!([
        { "path": "/zero", "type": "c", "major": 1, "minor": 5 },
        { "path": "/mnt/tmpfs/x/block", "type": "b", "major": 7, "minor": 3, "fileMode": 0o640, "uid": 1, "gid": 2 },
        { "path": "/mnt/volume/fifo", "type": "p", "major": 9, "minor": 9 },
        { "path": "/srv/no/such/dir/u", "type": "u", "major": 1, "minor": 3, "fileMode": 0o20600 },
        { "path": "/dev/../up", "type": "c", "major": 1, "minor": 8, "fileMode": 0 },
    ]);
    let script =
        "stat -c '%n %F %a %u:%g 0x%t:0x%T' /zero /mnt/tmpfs/x/block /mnt/volume/fifo /srv/no/such/dir/u /up";
    let b = case.script(script, |config| {
        add_mount(config, "/mnt/tmpfs", "tmpfs", "tmpfs", &[]);
        add_mount(config, "/mnt/volume", "bind", &host, &["bind"]);
        set_devices(config, devices);
    });
    let expected = "/zero character special file 666 0:0 0x1:0x5\n/mnt/tmpfs/x/block block special file 640 1:2 0x7:0x3\n\
         /mnt/volume/fifo fifo 666 0:0 0x0:0x0\n/srv/no/such/dir/u character special file 600 0:0 0x1:0x3\n\
         /up character special file 0 0:0 0x1:0x8\n";
    case.run(&b).prints(expected);
    // Once more: what is there already is these devices, and is kept.
    let inode = b.rootfs("zero").metadata().unwrap().ino();
    case.run(&b).prints(expected);
    assert_eq!(b.rootfs("zero").metadata().unwrap().ino(), inode);
}

#[test]
fn another_file_in_the_place_of_a_device_is_an_error() {
    let case = case!();
    for (path, prepared) in
        [("/dev/null", "dev/null"), ("/dev/mine", "dev/mine"), ("/else/where", "else/where")]
    {
        for kind in ["file", "directory", "link", "other device"] {
            let b = case.script("true", |config| {
                config["mounts"].as_array_mut().unwrap().retain(|m| m["destination"] != "/dev");
                set_devices(config, json!([{ "path": path, "type": "c", "major": 1, "minor": 3 }]));
            });
            b.put(&format!("{prepared}.beside"), "", 0o644);
            let at = b.rootfs(prepared);
            match kind {
                "file" => b.put(prepared, "precious\n", 0o644),
                "directory" => crate::support::make_dir(&at),
                "link" => link("/etc/passwd", &at),
                _ => {
                    let number = nix::sys::stat::makedev(1, 5);
                    let mode = nix::sys::stat::Mode::S_IRUSR;
                    nix::sys::stat::mknod(&at, nix::sys::stat::SFlag::S_IFCHR, mode, number).unwrap();
                }
            }
            case.create(&b).fails(&["linux.devices[0]", path]);
            // And it is left as it was.
            let there = at.symlink_metadata().unwrap();
            let same = match kind {
                "file" => crate::support::read(&at) == "precious\n",
                "directory" => there.is_dir(),
                "link" => there.is_symlink(),
                _ => there.rdev() == nix::sys::stat::makedev(1, 5),
            };
            assert!(same, "{kind} at {path}");
        }
    }
}

#[test]
fn a_device_behind_a_link_stays_inside_of_the_root() {
    // CVE-2026-41579, CVE-2026-47766.
    let case = case!();
    let canary = case.subdir("canary");
    case.file("canary/ptmx", "precious\n", 0o644);
    let b = case.script("true", |config| {
        config["mounts"]
            .as_array_mut()
            .unwrap()
            .retain(|m| !m["destination"].as_str().unwrap().starts_with("/dev"));
        set_devices(config, json!([{ "path": "/up/mine", "type": "c", "major": 1, "minor": 3 }]));
    });
    std::fs::remove_dir(b.rootfs("dev")).unwrap();
    link(&canary, &b.rootfs("dev"));
    link(format!("../../../../..{}", canary.display()), &b.rootfs("up"));
    let done = case.run(&b);
    assert!(done.code() == 0 || done.stderr().contains("/dev") || done.stderr().contains("/up"), "{done}");
    let names: Vec<_> = std::fs::read_dir(&canary).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names, ["ptmx"]);
    assert_eq!(crate::support::read(canary.join("ptmx")), "precious\n");
}

#[test]
fn devices_keep_their_mode_whatever_the_umask_is() {
    let case = case!();
    let b = case.script("stat -c %a /dev/mine /dev/null", |config| {
        set_devices(
            config,
            json!([{ "path": "/dev/mine", "type": "c", "major": 1, "minor": 3, "fileMode": 0o666 }]),
        );
    });
    case.call_through(&["sh", "-c", "umask 077; exec \"$@\"", "sh"], ["run", "-b", b.path(), &b.id])
        .finish()
        .prints("666\n666\n");
}

#[test]
fn the_hosts_devices_are_not_changed_by_a_user_namespace() {
    let case = case!();
    let before = std::fs::metadata("/dev/null").unwrap();
    let b = case.script("chmod 600 /dev/null; chown 5 /dev/null; rm -f /dev/null; true", |config| {
        add_user_namespace(config, 100_000);
        set_capabilities(config, &["CAP_FOWNER", "CAP_CHOWN", "CAP_DAC_OVERRIDE"]);
    });
    b.chown(100_000);
    case.run(&b).ok();
    let after = std::fs::metadata("/dev/null").unwrap();
    assert!(is_there("/dev/null"));
    assert_eq!(
        (before.uid(), before.gid(), before.permissions().mode()),
        (after.uid(), after.gid(), after.permissions().mode())
    );
}

#[test]
fn a_fifo_has_the_owner_and_mode_of_the_configuration() {
    let case = case!();
    let change = |config: &mut Value| {
        set_devices(
            config,
            json!([{ "path": "/dev/fifo", "type": "p", "uid": 5, "gid": 6, "fileMode": 0o640 }]),
        );
    };
    let script = "stat -c '%F %a %u:%g' /dev/fifo";
    case.sh(script, change).prints("fifo 640 5:6\n");
    let b = case.script(script, |config| {
        change(config);
        add_user_namespace(config, 100_000);
    });
    b.chown(100_000);
    case.run(&b).prints("fifo 640 5:6\n");
}

/// Whoever binds a directory there says what is in it; it may be the host's own, and no container's to write to.
#[test]
fn nothing_is_made_in_a_directory_that_is_bound_to_dev() {
    let case = case!();
    for (number, options) in [["rbind", "rw"], ["bind", "rw"], ["rbind", "ro"]].iter().enumerate() {
        let dev = case.subdir(&format!("dev{number}"));
        for below in ["pts", "shm", "sub"] {
            crate::support::make_dir(&dev.join(below));
        }
        host_command("mknod", &[dev.join("null").as_os_str(), "c".as_ref(), "1".as_ref(), "3".as_ref()]);
        let b = case.script("ls /dev /dev/sub; cat /dev/null && echo is there", |config| {
            config["mounts"].as_array_mut().unwrap().retain(|m| m["destination"] == "/proc");
            add_mount(config, "/dev", "bind", &dev, options);
            add_mount(config, "/dev/sub", "tmpfs", "tmpfs", &["size=64k"]);
            let device = |path: &str| json!({ "path": path, "type": "c", "major": 1, "minor": 5 });
            config["linux"]["devices"] = json!([device("/dev/mine"), device("/dev/sub/mine")]);
        });
        // What is mounted over a part of it is the container's.
        case.run(&b).prints("/dev:\nnull\npts\nshm\nsub\n\n/dev/sub:\nmine\nis there\n");
        let names = std::fs::read_dir(&dev).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<_> = names.collect();
        names.sort();
        assert_eq!(names, ["null", "pts", "shm", "sub"], "{options:?}");
    }
}
