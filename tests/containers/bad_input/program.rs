//! The process and its program.

use serde_json::json;

use super::{bad, refused};
use crate::support::bundle::set_capabilities;
use crate::support::{case, link};

#[test]
fn a_relative_cwd_is_refused() {
    let case = case!();
    for cwd in ["tmp", "./tmp", ""] {
        bad(&case, &["process: cwd"], |c| c["process"]["cwd"] = json!(cwd));
    }
    bad(&case, &["process", "cwd"], |c| drop(c["process"].as_object_mut().unwrap().remove("cwd")));
}

#[test]
fn empty_args_are_refused() {
    let case = case!();
    bad(&case, &["process: args"], |c| c["process"]["args"] = json!([]));
    bad(&case, &["process: args"], |c| c["process"]["args"] = json!([""]));
    bad(&case, &["process: args"], |c| drop(c["process"].as_object_mut().unwrap().remove("args")));
}

#[test]
fn an_unknown_capability_is_a_warning() {
    // config.md since 1.1: ignored, and said so to who asks.
    let case = case!();
    let b = case.script("grep CapBnd /proc/self/status", |config| {
        set_capabilities(config, &["CAP_KILL", "CAP_TIME_TRAVEL"]);
    });
    case.run(&b).prints("CapBnd:\t0000000000000020\n");
    let done = case.call(["--debug", "run", "-b", b.path(), &b.id]).finish().ok();
    assert!(
        done.stderr().contains("ignoring unknown or unavailable capabilities")
            && done.stderr().contains("CAP_TIME_TRAVEL"),
        "{done}"
    );
}

#[test]
fn bad_numbers_of_a_process_are_named() {
    let case = case!();
    let limit = |soft: u64, hard: u64| json!({ "type": "RLIMIT_CORE", "soft": soft, "hard": hard });
    bad(&case, &["process", "rlimits[1]", "RLIMIT_CORE"], |c| {
        c["process"]["rlimits"] = json!([limit(0, 0), limit(0, 0)])
    });
    bad(&case, &["process", "rlimits[0]", "RLIMIT_CORE"], |c| c["process"]["rlimits"] = json!([limit(2, 1)]));
    for score in [-1001, 1001] {
        bad(&case, &["process", "oomScoreAdj"], |c| c["process"]["oomScoreAdj"] = json!(score));
    }
    bad(&case, &["user.uid", "4294967295"], |c| c["process"]["user"]["uid"] = json!(u32::MAX));
    bad(&case, &["consoleSize"], |c| {
        c["process"]["terminal"] = json!(true);
        c["process"]["consoleSize"] = json!({ "height": 70_000, "width": 80 });
    });
}

#[test]
fn a_program_that_is_not_found_is_known_at_create_every_time() {
    let case = case!();
    // podman makes 127 of these words. Often, for what init says must not be lost to its end.
    let absolute = case.bundle(|c| c["process"]["args"] = json!(["/no/such/program"]));
    let searched = case.bundle(|c| c["process"]["args"] = json!(["nosuchprogram"]));
    for _ in 0..20 {
        refused(&case, &absolute, &["\"/no/such/program\"", "no such file or directory"]);
        refused(&case, &searched, &["exec: \"nosuchprogram\": executable file not found in $PATH"]);
    }
}

#[test]
fn a_program_that_is_not_executable_is_known_at_create() {
    let case = case!();
    let program = |name: &str| case.bundle(|c| c["process"]["args"] = json!([name]));
    let b = program("/etc/plain");
    b.put("etc/plain", "#!/bin/sh\n", 0o644);
    refused(&case, &b, &["\"/etc/plain\"", "permission denied"]);
    refused(&case, &program("/etc"), &["exec: \"/etc\": is a directory: permission denied"]);
    refused(&case, &program("/etc/passwd/x"), &["\"/etc/passwd/x\"", "not a directory"]);
    let b = program("only");
    b.put("bin/only", "#!/bin/sh\n", 0o644);
    refused(&case, &b, &["\"only\"", "permission denied"]);
    let b = program("/loop");
    link("loop", &b.rootfs("loop"));
    refused(&case, &b, &["\"/loop\"", "symbolic links"]);
    let b = program("/fifo");
    nix::unistd::mkfifo(&b.rootfs("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    refused(&case, &b, &["\"/fifo\""]);
}

#[test]
fn whether_a_program_may_be_executed_is_asked_as_the_containers_user() {
    let case = case!();
    let b = case.bundle(|c| {
        c["process"]["args"] = json!(["/bin/mine"]);
        c["process"]["user"] = json!({ "uid": 33, "gid": 33 });
    });
    b.put("bin/mine", "#!/bin/sh\necho hi\n", 0o700);
    refused(&case, &b, &["\"/bin/mine\"", "permission denied"]);
}

#[test]
fn the_missing_interpreter_of_a_script_is_named() {
    let case = case!();
    let b = case.bundle(|c| c["process"]["args"] = json!(["/script"]));
    b.put("script", "#!/no/such/interpreter -x\n", 0o755);
    case.run(&b).fails(&["exec /script: no such file or directory", "/no/such/interpreter"]);
    case.call(["create", "-b", b.path(), &b.id])
        .finish()
        .fails(&["exec /script: no such file or directory", "/no/such/interpreter"]);
    b.put("script", "#!/bin/sh\r\n", 0o755);
    case.run(&b).fails(&["exec /script", "CR LF"]);
    b.put("script", "", 0o755);
    case.run(&b).fails(&["exec /script", "empty"]);
    // With a hook before it, the program is executed in another way.
    let mut config = b.config();
    config["hooks"]["startContainer"] = json!([{ "path": "/bin/true" }]);
    b.save(&config);
    case.run(&b).fails(&["exec /script", "empty"]);
    b.put("script", "\x7fELF\x02\x01\x01 nonsense", 0o755);
    case.run(&b).fails(&["exec /script"]);
}

#[test]
fn a_cwd_that_can_not_be_made_or_is_a_file_is_named_with_errno() {
    let case = case!();
    bad(&case, &["process: cwd", "/proc/no/such/dir", "No such file or directory (ENOENT)"], |c| {
        c["process"]["cwd"] = json!("/proc/no/such/dir")
    });
    bad(&case, &["process: cwd", "/etc/passwd/x", "Not a directory (ENOTDIR)"], |c| {
        c["process"]["cwd"] = json!("/etc/passwd/x")
    });
    bad(&case, &["process: cwd", "/etc/passwd", "Not a directory (ENOTDIR)"], |c| {
        c["process"]["cwd"] = json!("/etc/passwd")
    });
    let b = case.script("echo >/ran", |c| {
        c["process"]["cwd"] = json!("/root");
        c["process"]["user"] = json!({ "uid": 33, "gid": 33 });
    });
    std::fs::set_permissions(b.rootfs("root"), std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    refused(&case, &b, &["process: cwd", "/root", "Permission denied (EACCES)"]);
}
