//! After the death of any process of the runtime at any moment, `state` tells the truth and one `delete -f`
//! takes everything away. And verbs that meet: one wins, the others say so.

mod every_call;
mod meeting;

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::bundle::{Bundle, add_mount, set_namespace};
use crate::support::{Case, case, eventually, host_command, nothing_is_left, read, write};

/// A container that is worth being killed in the middle: mounts, one of them shared with the host and covered in part, a
/// hook, a filter, devices.
fn rich(case: &Case) -> Bundle {
    let volume = case.subdir("volume");
    ["volume/masked", "volume/kept"].iter().for_each(|name| drop(case.subdir(name)));
    case.script("sleep 100", |config| {
        add_mount(config, "/v", "bind", &volume, &["rbind", "rshared", "ro"]);
        add_mount(config, "/sys/fs/cgroup", "cgroup", "cgroup", &["ro"]);
        config["linux"]["maskedPaths"] = json!(["/proc/kcore", "/proc/fs", "/v/masked"]);
        config["linux"]["readonlyPaths"] = json!(["/proc/sys", "/v/kept"]);
        config["linux"]["seccomp"] = json!({ "defaultAction": "SCMP_ACT_ALLOW" });
        config["linux"]["resources"] = json!({ "devices": [{ "allow": false, "access": "rwm" }] });
        config["hooks"]["createRuntime"] = json!([{ "path": "/bin/true" }]);
    })
}

/// After something was killed: what `state` says is true, and one `delete -f` is enough; then the id is free.
#[track_caller]
fn recovers(case: &Case, b: &Bundle, what: &str) {
    let state = case.call(["state", &b.id]).finish();
    if state.code() == 0 {
        let state: Value = serde_json::from_str(&state.stdout()).unwrap();
        let pid = state["pid"].as_i64().unwrap_or(0);
        let alive = pid > 0 && !read_or_empty(&format!("/proc/{pid}/stat")).is_empty();
        match state["status"].as_str().unwrap() {
            "creating" | "stopped" => {}
            "created" | "running" => assert!(alive, "{what}: {state}"),
            other => panic!("{what}: {other}"),
        }
    } else {
        let text = state.stderr();
        assert!(text.contains("does not exist") || text.contains("creating"), "{what}: {state}");
    }
    let deleted = case.call(["delete", "-f", &b.id]).finish();
    assert_eq!(deleted.code(), 0, "{what}: {deleted}");
    // Who was killed is reaped by its parent, which may be this process: it is a zombie until then.
    nothing_is_left(case, what);
}

fn read_or_empty(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

#[test]
fn a_create_that_is_killed_at_any_time_can_be_deleted() {
    let case = case!();
    let b = rich(&case);
    let began = Instant::now();
    case.created(&b);
    let whole = began.elapsed();
    case.delete(&b.id);
    for n in 0..80u32 {
        let create = case.call(["create", "-b", b.path(), &b.id]).spawn();
        std::thread::sleep(whole * n / 70);
        // Dropped, it is killed.
        drop(create);
        recovers(&case, &b, &format!("killed after {n}/70 of its time"));
    }
    case.run_once(&b);
}

#[test]
fn a_start_or_delete_that_is_killed_at_any_time_can_be_deleted() {
    let case = case!();
    let b = rich(&case);
    for n in 0..40u32 {
        for verb in ["start", "delete"] {
            case.created(&b);
            let call = case.call([verb, &b.id]).spawn();
            std::thread::sleep(Duration::from_micros(100) * n);
            drop(call);
            recovers(&case, &b, &format!("{verb} killed after {n}/10 ms"));
        }
    }
}

#[test]
fn a_run_that_is_killed_at_any_time_can_be_deleted() {
    let case = case!();
    let b = rich(&case);
    for n in 0..40u32 {
        let run = case.call(["run", "-b", b.path(), &b.id]).spawn();
        std::thread::sleep(Duration::from_micros(400) * n);
        drop(run);
        recovers(&case, &b, &format!("run killed after {n}*0.4 ms"));
    }
}

impl Case {
    /// The id is free, and the bundle is still good.
    fn run_once(&self, b: &Bundle) {
        self.started(b);
        self.delete(&b.id);
    }
}

#[test]
fn the_death_of_init_between_create_and_start_is_seen() {
    let case = case!();
    let b = case.script("true", |_| {});
    case.created(&b);
    let pid = nix::unistd::Pid::from_raw(case.pid(&b.id));
    nix::sys::signal::kill(pid, nix::sys::signal::SIGKILL).unwrap();
    // This process is its reaper: now it is dead, and not only about to die.
    nix::sys::wait::waitpid(pid, None).unwrap();
    let start = case.call(["start", &b.id]).finish();
    assert_eq!(start.code(), 1, "{start}");
    case.until(&b.id, "stopped");
    case.call(["delete", &b.id]).finish().ok();
}

#[test]
fn a_record_of_another_boot_is_of_a_stopped_container_and_what_is_there_now_is_a_strangers() {
    let case = case!();
    let b = case.script("sleep 100", |_| {});
    case.started(&b);
    let pid = case.pid(&b.id).to_string();
    let record = case.state.join(&b.id).join("record.json");
    let mut value: Value = serde_json::from_str(&read(&record)).unwrap();
    value["boot_id"] = json!("00000000-0000-0000-0000-000000000000");
    write(&record, value.to_string(), 0o600);
    assert_eq!((case.status(&b.id).as_str(), case.pid(&b.id)), ("stopped", 0));
    case.call(["kill", &b.id, "KILL"]).finish().fails(&["container not running"]);
    case.call(["delete", &b.id]).finish().ok();
    // A cgroup of this path has been made since the machine was started: by somebody else.
    assert_eq!(read(b.cgroup.join("cgroup.procs")).trim(), pid);
    write(&b.cgroup.join("cgroup.kill"), "1", 0o644);
    eventually("it is empty", || std::fs::remove_dir(&b.cgroup).is_ok());
}

#[test]
fn a_stranger_that_has_the_pid_by_now_is_left_alone() {
    let case = case!();
    let b = case.script("true", |_| {});
    case.started(&b);
    case.until(&b.id, "stopped");
    // proc_pid_stat(5) counts in clock ticks: who starts in the same one can't be told from it by its time. No pid
    // comes back so soon.
    std::thread::sleep(Duration::from_millis(50));
    let mut stranger = case.host(["sleep", "100"]).spawn();
    let record = case.state.join(&b.id).join("record.json");
    let mut value: Value = serde_json::from_str(&read(&record)).unwrap();
    value["process"]["pid"] = json!(stranger.pid());
    write(&record, value.to_string(), 0o600);
    assert_eq!(case.status(&b.id), "stopped");
    case.call(["kill", &b.id, "KILL"]).finish().fails(&["container not running"]);
    case.call(["delete", "-f", &b.id]).finish().ok();
    assert!(!stranger.ended());
}

#[test]
fn a_full_state_file_system_is_an_error_of_create_and_none_of_delete() {
    // R10.
    let case = case!();
    let b = case.script("sleep 100", |_| {});
    let small = case.subdir("state");
    host_command(
        "mount",
        &[
            "-t".as_ref(),
            "tmpfs".as_ref(),
            "-o".as_ref(),
            "size=64k".as_ref(),
            "tmpfs".as_ref(),
            small.as_os_str(),
        ],
    );
    case.created(&b);
    let fill = small.join(".fill");
    host_command(
        "sh",
        &["-c".as_ref(), format!("head -c 1000000 /dev/zero >{} 2>/dev/null; true", fill.display()).as_ref()],
    );
    let second = b.as_id(&case, &format!("{}-second", case.unique));
    let create = case.create(&second);
    let status = case.call(["state", &b.id]).finish();
    let deleted = case.call(["delete", "-f", &b.id]).finish();
    let ids = case.call(["list", "-q"]).finish();
    host_command("rm", &[fill.as_os_str()]);
    host_command("umount", &[small.as_os_str()]);
    create.fails(&["ENOSPC"]);
    status.ok();
    deleted.ok();
    ids.prints("");
}

#[test]
fn a_container_whose_children_do_not_end_by_themselves_is_deleted_in_bounded_time() {
    let case = case!();
    let b = case.script(
        "for i in $(seq 40); do setsid sh -c 'trap \"\" TERM HUP INT; sleep 100' & done; echo up; sleep 100",
        |config| {
            set_namespace(config, "pid", None);
        },
    );
    let create = case.started(&b);
    eventually("it is up", || create.stdout() == "up\n");
    case.delete(&b.id);
}

#[test]
fn a_frozen_container_can_be_killed_and_deleted() {
    // R6.
    let case = case!();
    let b = case.script("sleep 100", |_| {});
    for force in [true, false] {
        case.started(&b);
        write(&b.cgroup.join("cgroup.freeze"), "1", 0o644);
        eventually("it is frozen", || read(b.cgroup.join("cgroup.events")).contains("frozen 1"));
        if !force {
            case.call(["kill", &b.id, "KILL"]).finish().ok();
            case.until(&b.id, "stopped");
        }
        let line = if force { vec!["delete", "-f", &b.id] } else { vec!["delete", &b.id] };
        case.call(line).finish().ok();
    }
}

#[test]
fn with_few_descriptors_a_create_is_done_or_leaves_nothing() {
    let case = case!();
    let b = rich(&case);
    let (mut done, mut failed) = (0, 0);
    for few in 4..40 {
        let line = format!("ulimit -n {few}; exec \"$@\"");
        let created =
            case.call_through(&["sh", "-c", &line, "few"], ["create", "-b", b.path(), &b.id]).finish();
        match created.code() {
            0 => {
                case.delete(&b.id);
                done += 1;
            }
            _ => {
                assert!(created.stderr().contains("(EMFILE)"), "with {few}: {created}");
                failed += 1;
            }
        }
        nothing_is_left(&case, &format!("with {few} descriptors"));
    }
    assert!(done > 3 && failed > 3, "{done} done, {failed} failed");
}

#[test]
fn a_limit_for_the_size_of_files_is_an_error_and_leaves_nothing() {
    let case = case!();
    let b = rich(&case);
    // Through a pipe: a file takes no message either.
    let none = ["bash", "-o", "pipefail", "-c", "(ulimit -f 0; exec \"$@\" 2>&1) | cat >&2", "none"];
    case.call_through(&none, ["create", "-b", b.path(), &b.id]).finish().fails(&["(EFBIG)"]);
    nothing_is_left(&case, "of it");
    // A program has the signal again. As process 1 it would not end by it.
    let b = case.script("(ulimit -f 0; echo x >/tmp/file); echo $?", |config| {
        add_mount(config, "/tmp", "tmpfs", "tmpfs", &[]);
    });
    let code = 128 + libc::SIGXFSZ;
    assert_eq!(case.run(&b).ok().lines(), [code.to_string()]);
}
