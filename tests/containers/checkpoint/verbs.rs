//! What other verbs do with a container that has been restored: as with any other.

use serde_json::{Value, json};

use super::surroundings::engine_case;
use super::{COUNTING, checkpoint, counting, goes_on, images, lacking, moved, number, restore, restore_line};
use crate::support::bundle::add_user_namespace;
use crate::support::{Case, Done, case, cgroup_root, eventually, need, read};

fn exec(case: &Case, id: &str, line: &[&str]) -> Done {
    case.call([&["exec", id], line].concat()).finish()
}

#[test]
fn exec_starts_a_program_in_a_restored_container_as_in_any_other() {
    let case = criu_case!();
    let b = engine_case(&case, |config| {
        config["process"]["env"] = json!(["PATH=/bin", "SHOWN=yes"]);
        config["process"]["user"] = json!({ "uid": 0, "gid": 0, "additionalGids": [7] });
        config["process"]["rlimits"] = json!([{ "type": "RLIMIT_NOFILE", "soft": 99, "hard": 99 }]);
    });
    case.started(&b);
    eventually("it counts", || number(&b) > 2);
    let script = "hostname; pwd; echo $SHOWN; id -G; ulimit -n; cat /link/volume/inside; ls -A /proc/keys; \
        grep -E '^(Seccomp|NoNewPrivs|CapEff|CapBnd):' /proc/self/status; mount -t tmpfs x /tmp; for n in mnt pid net ipc uts cgroup; do readlink /proc/self/ns/$n; done";
    let look = |id: &str| exec(&case, id, &["sh", "-c", script]).stdout();
    let before = look(&b.id);
    assert!(
        before.contains("yes\n") && before.contains("Seccomp:\t2") && before.contains("99\n"),
        "{before}"
    );
    let other = moved(&case, &b, &b.id);
    let namespaces = |text: &str| text.lines().filter(|line| line.contains(":[")).count();
    let (after, plain) = (look(&other.id), |text: &str| -> String {
        text.lines().filter(|line| !line.contains(":[")).collect::<Vec<_>>().join("\n")
    });
    assert_eq!((plain(&after), namespaces(&after)), (plain(&before), namespaces(&before)));
    // The program's own, that is, not the host's.
    let pid = case.pid(&other.id);
    for kind in ["mnt", "pid", "net", "ipc", "uts", "cgroup"] {
        let of_program = std::fs::read_link(format!("/proc/{pid}/ns/{kind}")).unwrap();
        assert!(after.contains(of_program.to_str().unwrap()), "{kind}: {after}");
    }
    assert_eq!(exec(&case, &other.id, &["sh", "-c", "exit 7"]).code(), 7);
    let terminal = case.call(["exec", "-t", &other.id, "tty"]).finish();
    assert!(terminal.stdout().contains("/dev/pts/"), "{terminal}");
    case.delete(&other.id);
}

#[test]
fn exec_starts_a_program_in_a_restored_container_with_a_user_namespace() {
    let case = criu_case!();
    let b = case.script(COUNTING, |config| add_user_namespace(config, 100_000));
    b.chown(100_000);
    // Pipes, as engines have them: CRIU could not open a file of the host's in there.
    let (_reader, writer) = nix::unistd::pipe().unwrap();
    let call = |line: &[&str]| {
        case.call(line).output(writer.try_clone().unwrap(), writer.try_clone().unwrap()).finish()
    };
    assert_eq!(call(&["create", "-b", b.path(), &b.id]).code(), 0);
    case.call(["start", &b.id]).finish().ok();
    eventually("it counts", || number(&b) > 2);
    checkpoint(&case, &b.id, &[]).prints("");
    case.call(["delete", &b.id]).finish().prints("");
    let images = images(&case);
    let line = restore_line(&images, &b, &["-d"], &b.id);
    assert_eq!(call(&line).code(), 0, "{}", read(images.join("restore.log")));
    let done = exec(&case, &b.id, &["sh", "-c", "id -u; cat /proc/self/uid_map"]).ok();
    let words: Vec<String> = done.stdout().split_whitespace().map(str::to_owned).collect();
    assert_eq!(words, ["0", "0", "100000", "65536"], "{done}");
    case.delete(&b.id);
}

#[test]
fn all_verbs_know_a_restored_container() {
    let case = criu_case!();
    let b = counting(&case, |config| config["annotations"] = json!({ "org.example.key": "value" }));
    let other = moved(&case, &b, &b.id);
    let (id, pid) = (other.id.as_str(), case.pid(&other.id));
    let state = case.state_of(id);
    assert_eq!(
        [&state["id"], &state["status"], &state["bundle"], &state["annotations"]["org.example.key"]],
        [&json!(id), &json!("running"), &json!(other.dir), &json!("value")]
    );
    let list: Value =
        serde_json::from_str(&case.call(["list", "--format", "json"]).finish().ok().stdout()).unwrap();
    assert_eq!((&list[0]["id"], &list[0]["pid"]), (&json!(id), &json!(pid)));
    let ps: Value =
        serde_json::from_str(&case.call(["ps", "--format", "json", id]).finish().ok().stdout()).unwrap();
    assert!(ps.as_array().unwrap().contains(&json!(pid)), "{ps}");
    case.call(["start", id]).finish().fails(&[id]);
    case.call(["pause", id]).finish().ok();
    assert_eq!(case.status(id), "paused");
    let at = number(&b);
    std::thread::sleep(std::time::Duration::from_millis(100));
    assert_eq!(number(&b), at);
    assert_eq!(exec(&case, id, &["true"]).says(&["paused"]).code(), 255);
    case.call(["resume", id]).finish().ok();
    assert!(goes_on(&b));
    let resources = case.file("resources", r#"{ "unified": { "cgroup.max.depth": "5" } }"#, 0o644);
    case.call(["update", "--resources", resources.to_str().unwrap(), id]).finish().ok();
    assert_eq!(read(other.cgroup.join("cgroup.max.depth")), "5\n");
    let events = case.call(["events", "--stats", id]).finish().ok().stdout();
    assert!(events.contains(r#""type":"stats""#), "{events}");
    case.call(["delete", id]).finish().fails(&["running"]);
    case.call(["kill", id, "TERM"]).finish().ok();
    case.until(id, "stopped");
    case.call(["delete", id]).finish().prints("");
}

#[test]
fn limits_are_those_of_the_configuration_that_is_restored_with() {
    let case = criu_case!();
    let controllers = read(cgroup_root().unwrap().join("cgroup.controllers"));
    need!(controllers.contains("memory") && controllers.contains("pids"), "no controllers memory and pids");
    let b = counting(&case, |config| config["linux"]["resources"] = json!({ "pids": { "limit": 40 } }));
    checkpoint(&case, &b.id, &[]).prints("");
    case.call(["delete", &b.id]).finish().prints("");
    let mut config = b.config();
    config["linux"]["resources"] = json!({ "pids": { "limit": 50 }, "memory": { "limit": 50 << 20 } });
    b.save(&config);
    restore(&case, &b, &b.id, &["-d"]).prints("");
    assert!(goes_on(&b));
    assert_eq!(read(b.cgroup.join("pids.max")), "50\n");
    assert_eq!(read(b.cgroup.join("memory.max")), format!("{}\n", 50 << 20));
    case.delete(&b.id);
}

#[test]
fn what_exec_has_started_is_not_written_and_ends_with_the_container() {
    let case = criu_case!();
    let b = counting(&case, |_| {});
    let script = "mkfifo /e; exec 9<>/e; while :; do echo x; read -t 0.02 x <&9; done";
    let call = case.call(["exec", &b.id, "sh", "-c", script]).spawn();
    eventually("it runs", || call.stdout().contains("x\nx"));
    checkpoint(&case, &b.id, &["--leave-running"]).prints("");
    let before = call.stdout().len();
    eventually("it goes on", || call.stdout().len() > before);
    std::fs::rename(images(&case), case.path("first")).unwrap();
    checkpoint(&case, &b.id, &[]).prints("");
    assert_eq!(call.wait().code(), 137);
    case.call(["delete", &b.id]).finish().prints("");
    restore(&case, &b, &b.id, &["-d"]).prints("");
    assert!(goes_on(&b));
    case.delete(&b.id);
}

#[test]
fn of_the_hooks_after_the_start_the_last_runs_when_a_restored_container_is_deleted() {
    let case = criu_case!();
    let out = case.path("hooks");
    let hook = |word: &str| {
        let script = format!("echo {word} >>{}", out.display());
        json!([{ "path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/usr/bin:/bin"] }])
    };
    let b = counting(&case, |config| {
        config["hooks"] = json!({ "poststart": hook("poststart"), "poststop": hook("poststop") });
    });
    checkpoint(&case, &b.id, &[]).prints("");
    case.call(["delete", &b.id]).finish().ok();
    // It has been started before: as with runc.
    restore(&case, &b, &b.id, &["-d"]).ok();
    case.delete(&b.id);
    assert_eq!(read(&out), "poststart\npoststop\npoststop\n");
}
