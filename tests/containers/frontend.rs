//! `minidocker run`: a container from a directory, which stays as it is; nothing of the container is left.
//!
//! The profile that it gives a container is what stands between an image and the host: it is looked at from
//! inside.

use std::path::PathBuf;

use crate::support::canary::Canary;
use crate::support::terminal::Pty;
use crate::support::{
    Call, Case, Done, case, eventually, host_command, installed, is_there, link, need, read, remove, runtime,
};

/// The frontend beside the runtime under test.
fn minidocker() -> PathBuf {
    runtime().with_file_name("minidocker")
}

/// An image: the root file system of a bundle.
fn image(case: &Case) -> PathBuf {
    case.script("true", |_| {}).rootfs("")
}

fn call<'c>(case: &'c Case, options: &[&str], image: &std::path::Path, command: &[&str]) -> Call<'c> {
    let state = case.state.to_str().unwrap().to_owned();
    let mut line = vec![minidocker().display().to_string(), "run".into(), "--root".into(), state];
    line.extend(options.iter().map(ToString::to_string));
    line.push(image.display().to_string());
    line.extend(command.iter().map(ToString::to_string));
    case.host(line)
}

/// Runs a script in a new container of a new image.
fn sh(case: &Case, options: &[&str], script: &str) -> Done {
    call(case, options, &image(case), &["sh", "-c", script]).finish()
}

fn list(dir: &std::path::Path) -> String {
    host_command("find", &[dir.as_os_str(), "-printf".as_ref(), "%p %y %m %U:%G %s %T@ %l\n".as_ref()])
}

#[test]
fn the_commands_output_and_code_are_the_callers() {
    let case = case!();
    let done = sh(&case, &[], "echo out; echo err >&2; exit 7");
    assert_eq!((done.code(), done.stdout().as_str(), done.stderr().as_str()), (7, "out\n", "err\n"));
    assert_eq!(sh(&case, &["--rm"], "exit 0").code(), 0);
}

#[test]
fn what_can_not_be_run_has_the_codes_that_docker_has() {
    let case = case!();
    let image = image(&case);
    for (command, code, word) in [
        ("nosuch", 127, "nosuch"),
        ("/no/such", 127, "/no/such"),
        ("/etc", 126, "/etc"),
        ("/etc/passwd", 126, "/etc/passwd"),
    ] {
        let done = call(&case, &[], &image, &[command]).finish();
        assert_eq!(done.code(), code, "{done}");
        done.says(&["minidocker: ", word]);
    }
    let nowhere = case.path("nowhere");
    let done = call(&case, &[], &nowhere, &["true"]).finish();
    assert_eq!(done.code(), 125, "{done}");
    done.says(&["minidocker: ", "nowhere"]);
    let done = call(&case, &["--name", "a/b"], &image, &["true"]).finish();
    assert_eq!(done.code(), 125, "{done}");
    let done = call(&case, &["-u", "nobody-knows"], &image, &["true"]).finish();
    assert_eq!(done.code(), 125, "{done}");
    done.says(&["nobody-knows"]);
}

#[test]
fn the_image_is_never_written_to_and_nothing_of_the_container_is_left() {
    let case = case!();
    let image = image(&case);
    let before = list(&image);
    let script = "echo x >/new; rm /etc/passwd; mkdir /dir; mv /bin /dir/bin; echo y >/tmp/y; chmod 777 /dir/bin/busybox; exit 3";
    assert_eq!(call(&case, &["--rm"], &image, &["sh", "-c", script]).finish().code(), 3);
    assert_eq!(list(&image), before);
    assert_eq!(case.leaks(), [""; 0]);
}

#[test]
fn a_readonly_container_can_write_nowhere_but_in_memory() {
    let case = case!();
    let done = sh(&case, &["--read-only"], "touch /x; echo $?; touch /dev/shm/x; echo $?");
    assert_eq!(done.stdout(), "1\n0\n", "{done}");
    assert!(done.stderr().contains("Read-only file system"), "{done}");
}

#[test]
fn environment_directory_and_user_are_as_asked() {
    let case = case!();
    let image = image(&case);
    let script = "echo $A $B $FROM; pwd; id -u; id -g";
    let done = call(
        &case,
        &["-e", "A=1", "--env", "B=x=y", "-e", "FROM", "-w", "/made/for/it", "-u", "33:44"],
        &image,
        &["sh", "-c", script],
    );
    done.env("FROM", "caller").env("SECRET", "no").finish().prints("1 x=y caller\n/made/for/it\n33\n44\n");
    assert!(!is_there(image.join("made")));
    let done = call(&case, &["-u", "web"], &image, &["env"]).env("SECRET", "no").finish().ok();
    assert!(!done.stdout().contains("SECRET") && done.stdout().contains("HOME=/var/web"), "{done}");
    call(&case, &["-u", "web"], &image, &["id", "-u"]).finish().prints("33\n");
}

#[test]
fn a_user_database_that_is_a_device_is_not_even_opened() {
    let case = case!();
    need!(installed("strace"), "strace is not installed");
    let (image, log) = (image(&case), case.path("trace"));
    let passwd = image.join("etc/passwd");
    remove(&passwd);
    let (kind, mode) = (nix::sys::stat::SFlag::S_IFCHR, nix::sys::stat::Mode::S_IRUSR);
    nix::sys::stat::mknod(&passwd, kind, mode, nix::sys::stat::makedev(1, 5)).unwrap();
    let minidocker = minidocker();
    let words = [minidocker.to_str().unwrap(), "run", "--root", case.state.to_str().unwrap(), "-u", "web"];
    let strace = ["strace", "-f", "-qq", "-e", "trace=openat2", "-o", log.to_str().unwrap()];
    let line = [&strace[..], &words, &[image.to_str().unwrap(), "true"]].concat();
    let done = case.host(line).finish().says(&["/etc/passwd: not a regular file"]);
    assert_eq!(done.code(), 125, "{done}");
    let text = read(&log);
    let opened: Vec<&str> = text.lines().filter(|line| line.contains("etc/passwd")).collect();
    assert!(!opened.is_empty() && opened.iter().all(|line| line.contains("O_PATH")), "{opened:?}");
}

#[test]
fn the_input_is_empty_unless_it_is_asked_for() {
    let case = case!();
    let image = image(&case);
    let input = || std::fs::File::open(case.file("input", "typed\n", 0o644)).unwrap();
    call(&case, &[], &image, &["cat"]).stdin(input()).finish().prints("");
    call(&case, &["-i"], &image, &["cat"]).stdin(input()).finish().prints("typed\n");
}

#[test]
fn a_terminal_is_the_containers_own() {
    let case = case!();
    let pty = Pty::open();
    pty.resize(30, 90);
    let image = image(&case);
    let run =
        call(&case, &["-it"], &image, &["sh", "-c", "echo size $(stty size); read x; echo got $x; exit 4"])
            .stdin(pty.slave())
            .output(pty.slave(), pty.slave())
            .spawn();
    pty.expect("size 30 90");
    pty.type_in("words\r");
    pty.expect("got words");
    assert_eq!(run.wait().code(), 4);
}

#[test]
fn the_container_has_the_least_that_programs_need() {
    let case = case!();
    let done = sh(
        &case,
        &[],
        "grep -E 'CapEff|CapBnd|CapInh|CapAmb|NoNewPrivs|Seccomp:' /proc/self/status; ls /sys/class/net; ls -l /proc/1/fd | wc -l",
    );
    let text = done.ok().stdout();
    let set = |name: &str| {
        let line = text.lines().find(|line| line.starts_with(name)).unwrap();
        u64::from_str_radix(line.split_whitespace().nth(1).unwrap(), 16).unwrap()
    };
    // docker's fourteen.
    assert_eq!((set("CapEff"), set("CapBnd")), (0xa804_25fb, 0xa804_25fb), "{text}");
    assert_eq!((set("CapInh"), set("CapAmb")), (0, 0));
    assert!(text.contains("NoNewPrivs:\t1") && text.contains("Seccomp:\t2"), "{text}");
    assert!(text.contains("\nlo\n"), "{text}");
}

#[test]
fn what_the_profile_forbids_fails() {
    let case = case!();
    // Each prints nothing unless it works.
    for (what, script) in [
        ("mount", "mount -t tmpfs t /tmp 2>/dev/null && echo yes"),
        ("unshare", "busybox unshare -U true 2>/dev/null && echo yes"),
        // What is there already: should it work, nothing has happened to this machine.
        (
            "core_pattern",
            "f=/proc/sys/kernel/core_pattern; v=$(cat $f); (echo \"$v\" >$f) 2>/dev/null && echo yes",
        ),
        ("sysrq", "(echo h >/proc/sysrq-trigger) 2>/dev/null && echo yes"),
        ("cgroup", "mkdir /sys/fs/cgroup/x 2>/dev/null && echo yes"),
        ("device", "mknod /tmp/kmsg c 1 11 && (exec 3<>/tmp/kmsg) 2>/dev/null && echo yes"),
        ("kernel memory", "head -c 1 /proc/kcore 2>/dev/null"),
        ("sysfs", "(echo x >/sys/kernel/uevent_helper) 2>/dev/null && echo yes"),
        ("dmesg", "dmesg 2>/dev/null | head -1"),
    ] {
        let done = sh(&case, &[], &format!("{script}; true"));
        assert_eq!(done.stdout(), "", "{what}: {done}");
    }
}

#[test]
fn an_image_full_of_links_leads_nowhere() {
    let case = case!();
    let canary = Canary::new(&case);
    for at in ["dev", "proc", "sys", "etc", "tmp", "run", "job"] {
        let image = image(&case);
        let path = image.join(at);
        host_command("rm", &["-rf".as_ref(), path.as_os_str()]);
        link(&canary.dir, &path);
        let done = call(&case, &["-w", "/job/new", "-u", "web"], &image, &["touch", "/job/new/x", "/etc/x"])
            .finish();
        canary.is_untouched();
        assert!(done.code() < 128, "{at}: {done}");
        assert_eq!(case.leaks(), [""; 0]);
    }
}

#[test]
fn a_frontend_that_is_killed_leaves_no_mount_and_no_file() {
    let case = case!();
    let image = image(&case);
    let before = list(&image);
    // Its cgroup has its name, and other runs of these tests have the same tree.
    let name = format!("{}-victim", case.unique);
    let run = call(&case, &["--name", &name], &image, &["sh", "-c", "echo up; sleep 100"]).spawn();
    eventually("it is up", || run.stdout() == "up\n");
    drop(run);
    // The container is there, and the runtime's delete takes it away.
    case.call(["delete", "-f", &name]).finish().ok();
    crate::support::nothing_is_left(&case, "by the killed frontend");
    assert_eq!(list(&image), before);
    assert!(!read("/proc/self/mountinfo").contains(case.state.to_str().unwrap()));
}

#[test]
fn many_run_from_one_image_at_the_same_time() {
    let case = case!();
    let image = image(&case);
    let all: Vec<_> = (0..12)
        .map(|n| {
            call(&case, &[], &image, &["sh", "-c", &format!("echo {n} >/same; sleep 0.1; cat /same")]).spawn()
        })
        .collect();
    for (n, run) in all.into_iter().enumerate() {
        run.wait().prints(&format!("{n}\n"));
    }
}
