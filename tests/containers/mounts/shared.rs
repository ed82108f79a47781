//! Binds that stay shared with the host's mounts: what the runtime itself mounts in them is the container's alone.

use std::os::unix::net::UnixDatagram;

use serde_json::{Value, json};

use super::{SHOW, Volume};
use crate::support::bundle::{Bundle, add_mount, add_user_namespace, set_capabilities, set_namespace};
use crate::support::mountinfo::mount_at;
use crate::support::racer::while_exchanged;
use crate::support::terminal::ConsoleSocket;
use crate::support::{
    Case, case, eventually, host_command, installed, is_there, link, make_dir, need, read, write,
};

/// What is mounted in a directory of the host, by path.
fn mounted_in(volume: &Volume) -> Vec<String> {
    let dir = volume.dir.display().to_string();
    let mountinfo = read("/proc/self/mountinfo");
    let places = mountinfo.lines().filter_map(|line| line.split(' ').nth(4));
    places.filter_map(|place| place.strip_prefix(&dir)).map(str::to_owned).collect()
}

/// Such a volume, with more in it to be covered.
fn volume(case: &Case) -> Volume {
    let volume = Volume::new(case, "shared");
    make_dir(&volume.dir.join("dir/below"));
    make_dir(&volume.dir.join("kept"));
    volume
}

fn cover(config: &mut Value) {
    config["linux"]["maskedPaths"] = json!(["/v/file", "/v/dir", "/v/sub/file", "/proc/keys"]);
    // In what is read-only by then, too.
    config["linux"]["readonlyPaths"] = json!(["/v/kept", "/v/sub", "/v/dir/below", "/proc/sys"]);
}

/// Prints what is covered: sizes, entries, how often writing fails.
const COVERED: &str = "wc -c </v/file; ls /v/dir | wc -l; wc -c </v/sub/file; wc -c </proc/keys; \
    for dir in kept sub dir; do touch /v/$dir/new 2>/dev/null || echo refused; done";
const HIDDEN: &str = "0\n0\n0\n0\nrefused\nrefused\nrefused\n";

#[test]
fn masks_and_read_only_paths_are_the_containers_alone() {
    let case = case!();
    let volume = volume(&case);
    let before = mounted_in(&volume);
    for has_user_namespace in [false, true] {
        for options in [["rbind", "rshared"], ["rbind", "shared"], ["rbind", "private"], ["rbind", "slave"]] {
            let b = case.script(COVERED, |config| {
                add_mount(config, "/v", "bind", &volume.dir, &options);
                cover(config);
                if has_user_namespace {
                    add_user_namespace(config, 100_000);
                }
            });
            if has_user_namespace {
                b.chown(100_000);
            }
            case.run(&b).prints(HIDDEN);
            assert_eq!(mounted_in(&volume), before, "{options:?}, {has_user_namespace}");
        }
    }
}

#[test]
fn without_pivot_and_in_what_the_host_has_bound_as_well() {
    let case = case!();
    let volume = volume(&case);
    let before = mounted_in(&volume);
    let b = case.script(COVERED, |config| {
        add_mount(config, "/v", "bind", &volume.dir, &["rbind", "rshared"]);
        cover(config);
    });
    case.call(["run", "--no-pivot", "-b", b.path(), &b.id]).finish().prints(HIDDEN);
    assert_eq!(mounted_in(&volume), before);
}

#[test]
fn what_host_and_container_mount_later_travels_as_before() {
    let case = case!();
    let volume = volume(&case);
    let script = "mkdir /v/inner /v/kept2; mount -t tmpfs inner /v/inner; mount -t tmpfs inner /v/sub; echo up; sleep 100";
    let b = case.script(script, |config| {
        add_mount(config, "/v", "bind", &volume.dir, &["rbind", "rshared"]);
        config["linux"]["maskedPaths"] = json!(["/v/file", "/v/dir", "/v/sub/file"]);
        set_capabilities(config, &["CAP_SYS_ADMIN"]);
    });
    let mut expected = mounted_in(&volume);
    let create = case.started(&b);
    eventually("it is up", || create.stdout() == "up\n");
    expected.extend(["/inner", "/sub"].map(str::to_owned));
    let mut seen = mounted_in(&volume);
    seen.sort();
    expected.sort();
    assert_eq!(seen, expected);
    let at = volume.dir.join("outer");
    make_dir(&at);
    host_command("mount", &["-t".as_ref(), "tmpfs".as_ref(), "outer".as_ref(), at.as_os_str()]);
    write(&at.join("file"), "", 0o644);
    let root = format!("/proc/{}/root/v", case.pid(&b.id));
    assert!(is_there(format!("{root}/outer/file")));
    host_command("umount", &[at.as_os_str()]);
    assert!(!is_there(format!("{root}/outer/file")));
    case.delete(&b.id);
}

#[test]
fn what_is_listed_below_one_goes_out_and_what_covers_it_does_not() {
    let case = case!();
    let volume = volume(&case);
    let mut expected = mounted_in(&volume);
    let b = case.script("wc -c </v/dir/file; touch /v/dir/x || echo refused", |config| {
        add_mount(config, "/v", "bind", &volume.dir, &["rbind", "rshared"]);
        add_mount(config, "/v/dir", "tmpfs", "listed", &[]);
        add_mount(config, "/v/dir/file", "bind", volume.dir.join("file"), &["bind"]);
        config["linux"]["maskedPaths"] = json!(["/v/dir/file"]);
        config["linux"]["readonlyPaths"] = json!(["/v/dir"]);
    });
    case.run(&b).prints("0\nrefused\n");
    expected.extend(["/dir", "/dir/file"].map(str::to_owned));
    assert_eq!(mounted_in(&volume), expected);
}

#[test]
fn what_is_mounted_below_one_is_as_private_as_it_asks_for() {
    let case = case!();
    let volume = volume(&case);
    let inner = "mkdir -p /v/dir/inner; mount -t tmpfs inner /v/dir/inner";
    for (words, kind, goes_out) in [
        (&["bind"][..], "private", false),
        (&["rbind", "rprivate"], "private", false),
        (&["rbind", "rslave"], "slave", false),
        (&["bind", "unbindable"], "unbindable", false),
        (&["rbind", "rshared"], "shared", true),
    ] {
        let done = case
            .sh(&format!("{inner}; {SHOW}"), |config| {
                add_mount(config, "/v", "bind", &volume.dir, &["rbind", "rshared"]);
                add_mount(config, "/v/dir", "bind", volume.dir.join("kept"), words);
                set_capabilities(config, &["CAP_SYS_ADMIN"]);
            })
            .ok();
        assert_eq!(mount_at(&done, "/v/dir").kind(), kind, "{words:?}: {done}");
        let out = mounted_in(&volume).contains(&"/dir/inner".to_owned());
        host_command("umount", &["-R".as_ref(), volume.dir.join("dir").as_os_str()]);
        assert_eq!(out, goes_out, "{words:?}");
    }
}

#[test]
fn a_read_only_tmpfs_below_one_is_so_on_the_host_as_well() {
    let case = case!();
    let volume = volume(&case);
    let b = case.script("touch /v/dir/x 2>/dev/null || ls /v/dir", |config| {
        add_mount(config, "/v", "bind", &volume.dir, &["rbind", "rshared"]);
        add_mount(config, "/v/dir", "tmpfs", "tmpfs", &["ro"]);
        config["linux"]["devices"] = json!([{ "path": "/v/dir/mine", "type": "c", "major": 1, "minor": 3 }]);
    });
    case.run(&b).prints("mine\n");
    let there = volume.dir.join("dir");
    assert!(is_there(there.join("mine")));
    let made = nix::unistd::mkdir(&there.join("x"), nix::sys::stat::Mode::S_IRWXU);
    assert_eq!(made, Err(nix::errno::Errno::EROFS));
}

#[test]
fn bound_devices_are_the_containers_alone() {
    let case = case!();
    let volume = volume(&case);
    let before = mounted_in(&volume);
    let b = case.script("stat -c '%F' /v/null /v/sub/zero", |config| {
        add_user_namespace(config, 100_000);
        add_mount(config, "/v", "bind", &volume.dir, &["rbind", "rshared"]);
        config["linux"]["devices"] = json!([
            { "path": "/v/null", "type": "c", "major": 1, "minor": 3 },
            { "path": "/v/sub/zero", "type": "c", "major": 1, "minor": 5 },
        ]);
    });
    b.chown(100_000);
    host_command("chown", &["-R".as_ref(), "100000:100000".as_ref(), volume.dir.as_os_str()]);
    case.run(&b).prints("character special file\ncharacter special file\n");
    assert_eq!(mounted_in(&volume), before);
}

#[test]
fn the_console_is_the_containers_alone() {
    let case = case!();
    let volume = volume(&case);
    let mut expected = mounted_in(&volume);
    let b = case.script("stat -c %F /dev/console >/told; sleep 100", |config| {
        let mounts = config["mounts"].as_array_mut().unwrap();
        mounts.retain(|mount| !mount["destination"].as_str().unwrap().starts_with("/dev"));
        add_mount(config, "/dev", "bind", &volume.dir, &["rbind", "rshared"]);
        add_mount(config, "/dev/pts", "devpts", "devpts", &["newinstance", "ptmxmode=0666"]);
        config["process"]["terminal"] = json!(true);
    });
    let socket = ConsoleSocket::listen(&case.path("console"));
    let create = case.call(["create", "-b", b.path(), "--console-socket", "console", &b.id]).spawn();
    let received = socket.receive();
    create.wait().ok();
    case.call(["start", &b.id]).finish().ok();
    eventually("it is up", || is_there(b.rootfs("told")) && read(b.rootfs("told")).ends_with('\n'));
    assert_eq!(read(b.rootfs("told")), "character special file\n");
    // It is listed.
    expected.push("/pts".to_owned());
    assert_eq!(mounted_in(&volume), expected);
    case.delete(&b.id);
    drop(received);
}

#[test]
fn the_directory_of_the_socket_for_sd_notify_is_the_containers_alone() {
    let case = case!();
    let volume = volume(&case);
    let before = mounted_in(&volume);
    let path = case.path("manager");
    let manager = UnixDatagram::bind(&path).unwrap();
    let b = case.script("sleep 100", |config| {
        add_mount(config, "/run", "bind", &volume.dir, &["rbind", "rshared"]);
    });
    case.call(["create", "-b", b.path(), &b.id]).env("NOTIFY_SOCKET", &path).finish().ok();
    let at = format!("/proc/{}/root/run/notify", case.pid(&b.id));
    let is_mounted = read(format!("/proc/{}/mountinfo", case.pid(&b.id))).contains(" /run/notify ");
    assert!(is_there(&at) && is_mounted);
    assert_eq!(mounted_in(&volume), before);
    case.delete(&b.id);
    drop(manager);
}

#[test]
fn nothing_of_a_container_in_a_shared_mount_namespace_reaches_the_hosts() {
    let case = case!();
    let volume = Volume::new(&case, "shared");
    let b = case.script("wc -c </proc/keys", |config| {
        config["linux"]["maskedPaths"] = json!(["/proc/keys"]);
    });
    // The bundle is on a mount that the namespace shares with the host's.
    let rootfs = volume.dir.join("rootfs");
    host_command("cp", &["-a".as_ref(), b.rootfs("").as_os_str(), rootfs.as_os_str()]);
    let before = mounted_in(&volume);
    let holder = case.host(["unshare", "--mount", "--propagation", "unchanged", "sleep", "100"]).spawn();
    let path = format!("/proc/{}/ns/mnt", holder.pid());
    let own = std::fs::read_link("/proc/self/ns/mnt").unwrap();
    eventually("it has its own", || std::fs::read_link(&path).unwrap() != own);
    let mut config = b.config();
    config["root"]["path"] = json!(rootfs);
    set_namespace(&mut config, "mount", Some(json!({ "type": "mount", "path": path })));
    b.save(&config);
    case.run(&b).prints("0\n");
    assert_eq!(mounted_in(&volume), before);
    drop(holder);
}

#[test]
fn who_exchanges_the_mount_point_brings_nothing_out() {
    let case = case!();
    let volume = volume(&case);
    let before = mounted_in(&volume);
    let b = case.script("cat /proc/self/mountinfo", |config| {
        add_mount(config, "/v", "bind", &volume.dir, &["rbind", "rshared"]);
        config["linux"]["maskedPaths"] = json!(["/v/file", "/v/dir", "/v/sub/file"]);
    });
    make_dir(&b.rootfs("v"));
    link("/etc", &b.rootfs("link"));
    let mut worked = 0;
    while_exchanged(&b.rootfs(""), ["v", "link"], || {
        for _ in 0..150 {
            let done = case.run(&b);
            worked += u32::from(done.code() == 0);
            assert_eq!(mounted_in(&volume), before, "{done}");
        }
    });
    assert!(worked > 100, "{worked} of 150 have been made");
}

/// Which of the move_mount(2) calls of a `run` is the first with a flag that Linux has since 5.15.
fn first_new_call(case: &Case, b: &Bundle) -> usize {
    let log = case.path("trace");
    let line = ["strace", "-f", "-qq", "-e", "trace=move_mount", "-o", log.to_str().unwrap()];
    case.call_through(&line, ["run", "-b", b.path(), &b.id]).finish().ok();
    let log = read(&log);
    let is_new = |line: &str| line.contains("SET_GROUP") || line.contains("0x100");
    log.lines().filter(|line| line.contains("move_mount(")).position(is_new).unwrap() + 1
}

#[test]
fn before_linux_5_15_a_path_in_one_is_refused_by_name_and_nothing_is_left() {
    let case = case!();
    need!(installed("strace"), "no strace");
    let volume = volume(&case);
    let before = mounted_in(&volume);
    let b = case.script("true", |config| {
        add_mount(config, "/v", "bind", &volume.dir, &["rbind", "rshared"]);
        config["linux"]["maskedPaths"] = json!(["/proc/keys", "/v/file"]);
    });
    let inject = format!("inject=move_mount:error=EINVAL:when={}", first_new_call(&case, &b));
    let line = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=move_mount", "-e", &inject];
    let done = case.call_through(&line, ["run", "-b", b.path(), &b.id]).finish();
    done.fails(&["linux.maskedPaths[1] /v/file", "/v is shared with the host", "takes Linux 5.15", "rslave"]);
    assert_eq!(mounted_in(&volume), before);
}
