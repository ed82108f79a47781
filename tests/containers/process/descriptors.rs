//! What is open in the program: runtime-linux.md, "File descriptors".

use std::os::unix::fs::MetadataExt;

use serde_json::{Value, json};

use super::LEAK;
use crate::support::bundle::set_namespace;
use crate::support::case;

#[test]
fn only_three_descriptors_are_open_whatever_the_caller_leaks() {
    let case = case!();
    let list = |config: &mut Value| config["process"]["args"] = json!(["/bin/ls", "/proc/self/fd"]);
    let b = case.bundle(list);
    let leak = ["bash", "-c", LEAK, "bash"];
    // The fourth is the directory that ls reads.
    case.call_through(&leak, ["run", "-b", b.path(), &b.id]).finish().prints("0\n1\n2\n3\n");
    let create = case.call_through(&leak, ["create", "-b", b.path(), &b.id]).finish().ok();
    case.call_through(&leak, ["start", &b.id]).finish().ok();
    case.until(&b.id, "stopped");
    assert_eq!(create.stdout(), "0\n1\n2\n3\n");
    case.delete(&b.id);
    // Nor through a hook's or a joined namespace's detour.
    let b = case.bundle(|config| {
        list(config);
        config["hooks"] = json!({ "startContainer": [{ "path": "/bin/true" }] });
        set_namespace(config, "pid", Some(json!({ "type": "pid", "path": "/proc/self/ns/pid" })));
    });
    case.call_through(&leak, ["run", "-b", b.path(), &b.id]).finish().prints("0\n1\n2\n3\n");
}

#[test]
fn while_created_init_has_no_descriptor_of_the_callers() {
    let case = case!();
    let b = case.script("true", |_| {});
    case.call_through(&["bash", "-c", LEAK, "bash"], ["create", "-b", b.path(), &b.id]).finish().ok();
    let dir = format!("/proc/{}/fd", case.pid(&b.id));
    let targets: Vec<String> = std::fs::read_dir(dir)
        .unwrap()
        .map(|fd| std::fs::read_link(fd.unwrap().path()).unwrap().display().to_string())
        .collect();
    case.delete(&b.id);
    // It may wait for long, and what it holds open nobody can unmount.
    assert!(!targets.contains(&"/etc/passwd".to_owned()), "{targets:?}");
}

#[test]
fn descriptors_are_preserved_when_asked_for_and_no_more() {
    let case = case!();
    let b = case.script("ls /proc/self/fd | tr '\\n' ' '; cat <&3; cat <&4", |_| {});
    let (three, four) = (case.file("three", "third\n", 0o644), case.file("four", "fourth\n", 0o644));
    let line = format!("exec 3<{} 4<{} 5</ 6</; exec \"$@\"", three.display(), four.display());
    let done = case
        .call_through(&["bash", "-c", &line, "bash"], ["run", "--preserve-fds", "2", "-b", b.path(), &b.id])
        .finish();
    done.prints("0 1 2 3 4 5 third\nfourth\n");
}

#[test]
fn listen_fds_reach_the_program_with_its_own_pid() {
    let case = case!();
    let b = case.script("echo $LISTEN_FDS $LISTEN_PID; ls /proc/self/fd | tr '\\n' ' '; cat <&3", |_| {});
    let three = case.file("three", "third\n", 0o644);
    let line = format!("exec 3<{} 4</ 5</; export LISTEN_FDS=1 LISTEN_PID=$$; exec \"$@\"", three.display());
    let wrapper = ["bash", "-c", line.as_str(), "bash"];
    case.call_through(&wrapper, ["run", "-b", b.path(), &b.id]).finish().prints("1 1\n0 1 2 3 4 third\n");
    // Those of --preserve-fds come after them.
    case.call_through(&wrapper, ["run", "--preserve-fds=1", "-b", b.path(), &b.id])
        .finish()
        .prints("1 1\n0 1 2 3 4 5 third\n");
    // Somebody else's are not ours.
    let b = case.script("echo ${LISTEN_FDS-none}; ls /proc/self/fd | tr '\\n' ' '", |_| {});
    let line = "exec 3</; export LISTEN_FDS=1 LISTEN_PID=1; exec \"$@\"";
    case.call_through(&["bash", "-c", line, "bash"], ["run", "-b", b.path(), &b.id])
        .finish()
        .prints("none\n0 1 2 3 ");
}

#[test]
fn standard_descriptors_of_the_host_keep_their_owner() {
    // runc#3674: redirecting to /dev/null changed the owner of the host's.
    let case = case!();
    let before = std::fs::metadata("/dev/null").unwrap();
    let b = case.script("exit 0", |config| config["process"]["user"] = json!({ "uid": 1000, "gid": 1000 }));
    case.call_through(
        &["sh", "-c", "exec \"$@\" </dev/null >/dev/null 2>&1", "sh"],
        ["run", "-b", b.path(), &b.id],
    )
    .finish()
    .ok();
    let after = std::fs::metadata("/dev/null").unwrap();
    assert_eq!((before.uid(), before.gid(), before.mode()), (after.uid(), after.gid(), after.mode()));
}

#[test]
fn closed_standard_descriptors_are_no_way_in() {
    // T-D4: what is opened next must not become one of the three.
    let case = case!();
    let b = case.script("exit 0", |_| {});
    for closed in 1..8 {
        let close = |n: u8, redirect: &str| {
            if closed & 1 << n != 0 { redirect.to_owned() } else { String::new() }
        };
        let line = format!("exec \"$@\" {} {} {}", close(0, "<&-"), close(1, ">&-"), close(2, "2>&-"));
        let wrapper = ["sh", "-c", line.as_str(), "sh"];
        case.call_through(&wrapper, ["create", "-b", b.path(), &b.id]).finish().ok();
        let dir = format!("/proc/{}/fd", case.pid(&b.id));
        for n in 0..3u8 {
            let target =
                std::fs::read_link(format!("{dir}/{n}")).map(|p| p.display().to_string()).unwrap_or_default();
            let harmless = closed & 1 << n == 0 || target.is_empty() || target == "/dev/null";
            assert!(harmless, "descriptor {n} of {closed:03b} is {target}");
        }
        case.delete(&b.id);
    }
}

#[test]
fn a_program_through_a_leaked_descriptor_is_refused() {
    // T-D3.
    let case = case!();
    let leak = ["bash", "-c", LEAK, "bash"];
    for n in 3..20 {
        let b =
            case.bundle(|config| config["process"]["args"] = json!([format!("/proc/self/fd/{n}/bin/true")]));
        case.call_through(&leak, ["run", "-b", b.path(), &b.id])
            .finish()
            .fails(&[&format!("/proc/self/fd/{n}/bin/true")]);
    }
}
