//! What the program is called with: its environment, its arguments, where it is looked for.

use serde_json::json;

use crate::support::{case, installed, link, need, read, remove};

#[test]
fn the_environment_is_the_configurations_and_nothing_of_the_callers() {
    let case = case!();
    let b = case.bundle(|config| {
        config["process"]["args"] = json!(["/bin/env"]);
        config["process"]["env"] =
            json!(["PATH=/bin", "A=1", "EMPTY=", "B=x=y z", "HOME=/tmp", "A=2", "ODD"]);
    });
    let done = case
        .call(["run", "-b", b.path(), &b.id])
        .env("SECRET", "of the caller")
        .env("HOME", "/root")
        .finish()
        .ok();
    let lines = done.lines();
    for line in ["PATH=/bin", "EMPTY=", "B=x=y z", "HOME=/tmp"] {
        assert!(lines.contains(&line.to_owned()), "{line}: {done}");
    }
    let known = ["PATH=", "A=", "EMPTY=", "B=", "HOME=", "ODD"];
    assert!(lines.iter().all(|line| known.iter().any(|k| line.starts_with(k))), "{done}");
}

#[test]
fn the_environment_arrives_in_its_order_repeated_and_odd_as_it_is() {
    let case = case!();
    let env = ["PATH=/bin", "A=1", "HOME=", "A=2", "ODD", "=x", ""];
    let b = case.bundle(|config| {
        config["process"]["args"] = json!(["/bin/cat", "/proc/self/environ"]);
        config["process"]["env"] = json!(env);
    });
    let expected: String = env.iter().map(|one| format!("{one}\0")).collect();
    case.run(&b).prints(&expected);
}

#[test]
fn home_is_the_users_own_where_the_configuration_has_none() {
    let case = case!();
    for (uid, home) in [(0, "/root"), (33, "/var/web"), (4242, "/")] {
        case.sh("echo $HOME", |config| config["process"]["user"] = json!({ "uid": uid, "gid": 0 }))
            .prints(&format!("{home}\n"));
    }
}

#[test]
fn a_hostile_user_database_is_only_data() {
    let case = case!();
    let show = |prepare: &dyn Fn(&std::path::Path)| {
        let b = case.script("echo $HOME", |_| {});
        std::fs::rename(b.rootfs("etc/passwd"), b.rootfs("etc/passwd.old")).unwrap();
        prepare(&b.rootfs("etc/passwd"));
        case.run(&b).ok().stdout()
    };
    let canary = case.file("passwd", "root:x:0:0::/of-the-host:/bin/sh\n", 0o644);
    assert_eq!(show(&|path| link(&canary, path)), "/\n");
    assert_eq!(show(&|path| nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRWXU).unwrap()), "/\n");
    assert_eq!(show(&|path| link("passwd", path)), "/\n");
    assert_eq!(show(&|path| crate::support::write(path, "root:x:0:0::relative:\n", 0o644)), "/\n");
    assert_eq!(show(&|path| crate::support::write(path, vec![b'x'; 11 << 20], 0o644)), "/\n");
    assert_eq!(
        show(&|path| crate::support::write(path, b"\xff\xfe\nroot:x:0:0::/root:/bin/sh\n", 0o644)),
        "/root\n"
    );
}

#[test]
fn args_0_may_differ_from_nothing_and_arguments_arrive_as_they_are() {
    let case = case!();
    let odd = ["a b", "", "ä", "\"q\"", "-n", "$(x)"];
    let b = case.bundle(|config| {
        let args: Vec<&str> = ["/bin/printf", "<%s>"].into_iter().chain(odd).collect();
        config["process"]["args"] = json!(args);
    });
    case.run(&b).prints("<a b><><ä><\"q\"><-n><$(x)>");
}

#[test]
fn the_program_is_searched_in_the_path_of_the_configuration() {
    let case = case!();
    for path in ["/nowhere:/opt/x:/bin", "/opt/x", ":/opt/x"] {
        let b = case.bundle(|config| {
            config["process"]["args"] = json!(["mine"]);
            config["process"]["env"] = json!([format!("PATH={path}")]);
        });
        b.put("opt/x/mine", "#!/bin/sh\necho found\n", 0o755);
        case.run(&b).prints("found\n");
    }
    // Without a PATH, as execvp(3) does.
    let b = case.bundle(|config| {
        config["process"]["args"] = json!(["true"]);
        config["process"]["env"] = json!([]);
    });
    case.run(&b).ok();
    // A relative name with a slash starts at cwd.
    let b = case.bundle(|config| {
        config["process"]["args"] = json!(["x/mine"]);
        config["process"]["cwd"] = json!("/opt");
    });
    b.put("opt/x/mine", "#!/bin/sh\necho found\n", 0o755);
    case.run(&b).prints("found\n");
}

#[test]
fn a_user_database_that_is_a_device_is_not_even_opened() {
    // Opening alone may do something: rewind a tape, start a watchdog.
    let case = case!();
    need!(installed("strace"), "strace is not installed");
    let b = case.script("echo $HOME", |_| {});
    let passwd = b.rootfs("etc/passwd");
    remove(&passwd);
    let (kind, mode) = (nix::sys::stat::SFlag::S_IFCHR, nix::sys::stat::Mode::S_IRUSR);
    nix::sys::stat::mknod(&passwd, kind, mode, nix::sys::stat::makedev(1, 5)).unwrap();
    let log = case.path("trace");
    let line = ["strace", "-f", "-qq", "-e", "trace=openat2", "-o", log.to_str().unwrap()];
    case.call_through(&line, ["run", "-b", b.path(), &b.id]).finish().prints("/\n");
    let text = read(&log);
    let opened: Vec<&str> = text.lines().filter(|line| line.contains("etc/passwd")).collect();
    assert!(!opened.is_empty() && opened.iter().all(|line| line.contains("O_PATH")), "{opened:?}");
}
