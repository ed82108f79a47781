//! `exec ID COMMAND`: what the command line says, and the configuration's process for the rest.

use serde_json::{Value, json};

use super::{ABOUT, exec, refused, running, sh};
use crate::support::{case, eventually, is_there, read, remove};

fn own_process(config: &mut Value) {
    let process = &mut config["process"];
    process["user"] = json!({ "uid": 33, "gid": 34, "additionalGids": [35], "umask": 0o27 });
    process["cwd"] = json!("/tmp");
    process["env"] = json!(["PATH=/bin", "A=1", "B=2"]);
    process["noNewPrivileges"] = json!(true);
    process["oomScoreAdj"] = json!(123);
    process["rlimits"] = json!([{ "type": "RLIMIT_NOFILE", "soft": 111, "hard": 112 }]);
    let set = json!(["CAP_KILL", "CAP_CHOWN"]);
    process["capabilities"] = json!({ "bounding": set, "permitted": set, "effective": set });
}

#[test]
fn a_command_gets_what_the_configurations_process_has() {
    let case = case!();
    let b = running(&case, own_process);
    // Whatever has become of the bundle: runtime.md, "Create".
    remove(&b.dir.join("config.json"));
    sh(&case, &[], &b, ABOUT).prints(
        "uid=33(web) gid=34 groups=35\n/tmp\nA=1\nB=2\nHOME=/var/web\nPATH=/bin\n\
         Groups:35\nCapInh:0000000000000000\nCapPrm:0000000000000000\nCapEff:0000000000000000\n\
         CapBnd:0000000000000021\nCapAmb:0000000000000000\nNoNewPrivs:1\nSeccomp:0\n0027\n111\n123\n",
    );
    case.delete(&b.id);
}

#[test]
fn flags_say_it_otherwise() {
    let case = case!();
    let b = running(&case, own_process);
    let about = |flags: &[&str], script: &str| sh(&case, flags, &b, script).ok().stdout();
    assert_eq!(about(&["-u", "7"], "id"), "uid=7 gid=34 groups=35\n");
    assert_eq!(about(&["--user", "7:8", "-g", "9", "-g", "10"], "id"), "uid=7 gid=8 groups=9,10,35\n");
    assert_eq!(about(&["--cwd", "/root", "-u", "0"], "pwd"), "/root\n");
    assert_eq!(about(&["-e", "A=3", "--env", "C= x=y"], "echo $A$B$C"), "32 x=y\n");
    assert_eq!(about(&["-e", "HOME=/h"], "echo $HOME"), "/h\n");
    let caps = about(&["-u", "0", "-c", "CAP_NET_RAW"], "grep Cap /proc/self/status | tr -d '\\t'");
    let set = "0000000000002021";
    let none = "0000000000000000";
    assert_eq!(caps, format!("CapInh:{none}\nCapPrm:{set}\nCapEff:{set}\nCapBnd:{set}\nCapAmb:{none}\n"));
    case.delete(&b.id);
    let b = running(&case, |config| config["process"]["noNewPrivileges"] = json!(false));
    for (flags, bit) in [(&[][..], "0"), (&["--no-new-privs"], "1")] {
        let script = "grep NoNewPrivs /proc/self/status | tr -d '\\t'";
        sh(&case, flags, &b, script).prints(&format!("NoNewPrivs:{bit}\n"));
    }
    case.delete(&b.id);
}

#[test]
fn a_number_is_a_number_and_nobody_is_root_by_mistake() {
    // CVE-2026-30892, CVE-2024-40635, T-F3: whatever names the image gives to numbers.
    let case = case!();
    let b = case.script("sleep 1000", |_| {});
    b.put("etc/passwd", "1000:x:0:0::/:/bin/sh\n1:x:0:0::/:/bin/sh\nweb:x:33:33::/:/bin/sh\n", 0o644);
    case.started(&b);
    for (user, shown) in [("1", "1 0"), ("1:2", "1 2"), ("1000", "1000 0"), ("4294967294:1", "4294967294 1")]
    {
        sh(&case, &["-u", user], &b, "echo $(id -u) $(id -g)").prints(&format!("{shown}\n"));
    }
    for bad in [
        "",
        ":",
        "0x0",
        "-1",
        "4294967295",
        "4294967296",
        "18446744073709551616",
        "+1",
        " 1",
        "1:",
        ":1",
        "root",
        "web",
        "1:web",
    ] {
        refused(sh(&case, &["-u", bad], &b, "id"), &["--user", bad, "UID:GID"]);
    }
    case.delete(&b.id);
}

#[test]
fn parsing_ends_at_the_id() {
    let case = case!();
    let b = running(&case, |_| {});
    exec(&case, &["-e", "A=1", &b.id, "/bin/echo", "-t", "--detach", "-p", "x"])
        .finish()
        .prints("-t --detach -p x\n");
    // conmon-rs says it twice, and its driver is the container's own affair.
    case.call(["--systemd-cgroup", "--systemd-cgroup", "exec", &b.id, "/bin/echo", "a"])
        .finish()
        .prints("a\n");
    refused(exec(&case, &[&b.id]).finish(), &["exec args cannot be empty"]);
    case.delete(&b.id);
}

#[test]
fn the_exit_code_is_the_programs_or_128_and_the_signal() {
    let case = case!();
    let b = running(&case, |_| {});
    for (script, code) in
        [("exit 0", 0), ("exit 7", 7), ("exit 255", 255), ("kill -9 $$", 137), ("kill -TERM $$", 143)]
    {
        let done = sh(&case, &[], &b, script);
        assert_eq!((done.code(), done.stderr().as_str()), (code, ""), "{done}");
    }
    case.delete(&b.id);
}

#[test]
fn a_signal_goes_to_the_program() {
    let case = case!();
    let b = running(&case, |_| {});
    let script = "trap 'echo told; exit 5' TERM; echo up; while :; do sleep 0.05; done";
    let run = exec(&case, &[&b.id, "/bin/sh", "-c", script]).spawn();
    eventually("it is up", || run.stdout() == "up\n");
    run.signal(nix::libc::SIGTERM);
    let done = run.wait();
    assert_eq!((done.code(), done.stdout().as_str()), (5, "up\ntold\n"), "{done}");
    case.delete(&b.id);
}

#[test]
fn what_can_not_be_executed_is_said_in_the_words_that_engines_look_for() {
    let case = case!();
    let b = case.script("sleep 1000", |_| {});
    b.put("bin/plain", "x", 0o644);
    b.put("bin/empty", "", 0o755);
    b.put("bin/lost", "#!/no/such\n", 0o755);
    case.started(&b);
    for (program, words) in [
        ("/nope", "exec: \"/nope\": no such file or directory"),
        ("nope", "exec: \"nope\": executable file not found in $PATH"),
        ("/etc", "exec: \"/etc\": is a directory"),
        ("/bin/plain", "exec: \"/bin/plain\": permission denied"),
        ("/bin/empty", "the file is empty"),
        ("/bin/lost", "no such file or directory: the script's interpreter is \"/no/such\""),
    ] {
        let file = case.path("pid");
        let line = ["-d", "--pid-file", file.to_str().unwrap(), &b.id, program];
        refused(exec(&case, &line).finish(), &[words]);
        assert!(!is_there(&file), "{program}");
    }
    refused(sh(&case, &["--cwd", "/nope"], &b, "pwd"), &["cwd", "/nope", "No such file or directory"]);
    refused(sh(&case, &["--cwd", "nope"], &b, "pwd"), &["cwd", "is not absolute"]);
    refused(sh(&case, &["-e", "A"], &b, "env"), &["--env \"A\" is not of the form NAME=VALUE"]);
    refused(sh(&case, &["-c", "CAP_X"], &b, "env"), &["--cap", "\"CAP_X\" is not the name of a capability"]);
    case.delete(&b.id);
}

#[test]
fn a_failure_is_one_line_of_the_log() {
    let case = case!();
    let b = running(&case, |_| {});
    let log = case.path("log");
    let line = ["--log", log.to_str().unwrap(), "--log-format", "json", "exec", &b.id];
    case.call(line.iter().chain(&["/bin/true"])).finish().ok();
    assert_eq!(read(&log), "");
    refused(case.call(line.iter().chain(&["/nope"])).finish(), &["no such file"]);
    let entry: Value = serde_json::from_str(&read(&log)).unwrap();
    assert_eq!(
        (&entry["level"], &entry["msg"]),
        (&json!("error"), &json!("exec: \"/nope\": no such file or directory"))
    );
    case.delete(&b.id);
}

#[test]
fn a_detached_program_is_the_callers_child_and_its_pid_is_written() {
    let case = case!();
    let b = running(&case, |_| {});
    let file = case.path("pid");
    exec(&case, &["-d", "--pid-file", "pid", &b.id, "/bin/sleep", "100"]).finish().prints("");
    let pid: i32 = read(&file).parse().unwrap();
    let status = read(format!("/proc/{pid}/status"));
    // This test is a subreaper, as an engine's monitor is.
    assert!(status.contains(&format!("PPid:\t{}\n", std::process::id())), "{status}");
    assert!(read(format!("/proc/{pid}/cmdline")).starts_with("/bin/sleep\x00100"));
    assert!(read(format!("/proc/{pid}/cgroup")).contains(&format!("/{}\n", b.id)));
    case.delete(&b.id);
}

#[test]
fn a_pid_file_that_can_not_be_written_leaves_no_program() {
    let case = case!();
    let b = running(&case, |_| {});
    let done = exec(&case, &["-d", "--pid-file", "/no/such/dir/pid", &b.id, "/bin/sleep", "100"]).finish();
    refused(done, &["pid file \"/no/such/dir/pid\""]);
    assert_eq!(case.call(["ps", "--format", "json", &b.id]).finish().ok().stdout().split(',').count(), 1);
    case.delete(&b.id);
}

#[test]
fn a_pid_file_that_is_none_is_written_to_and_stays_what_it_is() {
    use nix::sys::stat::{Mode, SFlag, makedev, mknod};
    use std::os::unix::fs::FileTypeExt;
    let case = case!();
    let b = running(&case, |_| {});
    let (null, full) = (case.path("null"), case.path("full"));
    for (path, minor) in [(&null, 3), (&full, 7)] {
        mknod(path, SFlag::S_IFCHR, Mode::S_IRUSR | Mode::S_IWUSR, makedev(1, minor)).unwrap();
    }
    exec(&case, &["-d", "--pid-file", null.to_str().unwrap(), &b.id, "/bin/true"]).finish().ok();
    let done =
        exec(&case, &["-d", "--pid-file", full.to_str().unwrap(), &b.id, "/bin/sleep", "100"]).finish();
    refused(done, &["pid file", "No space left on device"]);
    let is_device = |path| std::fs::metadata(path).unwrap().file_type().is_char_device();
    assert!(is_device(&null) && is_device(&full));
    assert_eq!(case.call(["ps", "--format", "json", &b.id]).finish().ok().stdout().split(',').count(), 1);
    case.delete(&b.id);
}

#[test]
fn the_program_has_three_descriptors_and_those_that_are_kept() {
    // T-D1: the caller leaks what it has.
    let case = case!();
    let b = running(&case, |_| {});
    let leak = ["bash", "-c", "exec 3</ 4</etc 5<>/dev/null 7</proc; \"$@\"", "x"];
    let list = "ls /proc/self/fd | tr '\\n' ' '";
    case.call_through(&leak, ["exec", &b.id, "/bin/sh", "-c", list]).finish().prints("0 1 2 3 ");
    case.call_through(&leak, ["exec", "--preserve-fds", "2", &b.id, "/bin/sh", "-c", list])
        .finish()
        .prints("0 1 2 3 4 5 ");
    let own = "echo $LISTEN_FDS; [ $LISTEN_PID = $$ ] && echo mine; ls /proc/self/fd | tr '\\n' ' '";
    case.call_through(&leak, ["exec", &b.id, "/bin/sh", "-c", own])
        .env("LISTEN_FDS", "1")
        .finish()
        .prints("1\nmine\n0 1 2 3 4 ");
    refused(
        exec(&case, &["--preserve-fds", "1", &b.id, "/bin/true"]).finish(),
        &["descriptor 3 is not open"],
    );
    case.delete(&b.id);
}

#[test]
fn a_pidfd_goes_to_its_socket() {
    use crate::support::terminal::ConsoleSocket;
    let case = case!();
    let b = running(&case, |_| {});
    let socket = ConsoleSocket::listen(&case.path("pidfd"));
    let file = case.path("pid");
    let line = ["-d", "--pidfd-socket", "pidfd", "--pid-file", "pid", &b.id, "/bin/sleep", "100"];
    let call = exec(&case, &line).spawn();
    let received = socket.receive();
    call.wait().ok();
    assert_eq!((received.payload.as_slice(), received.fds.len()), (&b"setns"[..], 1));
    let number = std::os::fd::AsRawFd::as_raw_fd(&received.fds[0]);
    assert!(read(format!("/proc/self/fdinfo/{number}")).contains(&format!("Pid:\t{}\n", read(&file))));
    case.delete(&b.id);
}

#[test]
fn a_configuration_without_a_process_needs_a_file() {
    let case = case!();
    let b = case.bundle(|config| drop(config.as_object_mut().unwrap().remove("process")));
    case.created(&b);
    refused(exec(&case, &[&b.id, "/bin/true"]).finish(), &["no process to go by", "--process"]);
    let file = super::process_file(&case, "echo there", |_| {});
    exec(&case, &["-p", file.to_str().unwrap(), &b.id]).finish().prints("there\n");
    case.delete(&b.id);
}
