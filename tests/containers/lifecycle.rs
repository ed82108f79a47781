//! The verbs: runtime.md, "Operations" and "Lifecycle", and what callers expect of runc's command line.

use std::os::unix::fs::{MetadataExt, PermissionsExt};

use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::support::{case, cgroup_root, eventually, is_there, link, read, within, write};

/// Ends at once when it is told to.
const PATIENT: &str = "trap 'exit 3' TERM; echo up; while :; do sleep 0.05; done";

#[test]
fn a_container_is_created_started_killed_and_deleted() {
    let case = case!();
    let b = case.script("echo ran >/ran; sleep 100", |_| {});
    case.created(&b);
    assert_eq!(case.status(&b.id), "created");
    let pid = case.pid(&b.id);
    assert!(is_there(format!("/proc/{pid}")));
    case.call(["start", &b.id]).finish().prints("");
    assert_eq!((case.status(&b.id).as_str(), case.pid(&b.id)), ("running", pid));
    eventually("the program runs", || is_there(b.rootfs("ran")));
    case.call(["kill", &b.id, "KILL"]).finish().prints("");
    case.until(&b.id, "stopped");
    assert_eq!(case.pid(&b.id), 0);
    case.call(["delete", &b.id]).finish().prints("");
    case.call(["state", &b.id]).finish().fails(&[&b.id, "does not exist"]);
}

#[test]
fn the_program_does_not_run_before_start() {
    let case = case!();
    let b = case.script("echo ran >/ran", |_| {});
    case.created(&b);
    assert!(!within(std::time::Duration::from_millis(200), || is_there(b.rootfs("ran"))));
    case.call(["start", &b.id]).finish().ok();
    eventually("the program runs", || is_there(b.rootfs("ran")));
    case.until(&b.id, "stopped");
    case.call(["delete", &b.id]).finish().ok();
}

#[test]
fn run_ends_with_the_code_of_the_program() {
    let case = case!();
    for code in [0, 1, 7, 125, 255] {
        let done = case.sh(&format!("exit {code}"), |_| {});
        assert_eq!(done.code(), code, "{done}");
        assert_eq!(done.stderr(), "");
    }
}

#[test]
fn run_ends_with_128_and_the_number_of_the_signal_that_killed_the_program() {
    let case = case!();
    // Process 1 of a pid namespace ignores what it has no handler for: so one of the host's.
    let host_pids = |config: &mut Value| crate::support::bundle::set_namespace(config, "pid", None);
    for (name, number) in [("KILL", 9), ("TERM", 15), ("USR1", 10)] {
        let done = case.sh(&format!("kill -{name} $$; sleep 9"), host_pids);
        assert_eq!(done.code(), 128 + number, "{done}");
    }
}

#[test]
fn run_gives_the_program_its_own_standard_descriptors() {
    let case = case!();
    let input = std::fs::File::open(case.file("input", "from outside\n", 0o644)).unwrap();
    let b = case.script("cat; echo out; echo err >&2", |_| {});
    let done = case.call(["run", "-b", b.path(), &b.id]).stdin(input).finish();
    assert_eq!(
        (done.code(), done.stdout().as_str(), done.stderr().as_str()),
        (0, "from outside\nout\n", "err\n")
    );
}

#[test]
fn a_created_container_writes_to_the_output_of_create() {
    let case = case!();
    let b = case.script("echo out; echo err >&2", |_| {});
    let create = case.started(&b);
    case.until(&b.id, "stopped");
    assert_eq!((create.stdout().as_str(), create.stderr().as_str()), ("out\n", "err\n"));
    case.delete(&b.id);
}

#[test]
fn run_passes_signals_on_to_the_program() {
    let case = case!();
    let b = case.script(PATIENT, |_| {});
    let run = case.call(["run", "-b", b.path(), &b.id]).spawn();
    eventually("it is up", || run.stdout() == "up\n");
    run.signal(nix::libc::SIGTERM);
    assert_eq!(run.wait().code(), 3);
}

#[test]
fn run_detached_returns_while_the_program_runs() {
    let case = case!();
    let b = case.script(PATIENT, |_| {});
    case.call(["run", "-d", "-b", b.path(), &b.id]).finish().ok();
    assert_eq!(case.status(&b.id), "running");
    case.delete(&b.id);
}

#[test]
fn run_with_keep_leaves_a_stopped_container() {
    let case = case!();
    let b = case.script("exit 5", |_| {});
    assert_eq!(case.call(["run", "--keep", "-b", b.path(), &b.id]).finish().code(), 5);
    assert_eq!(case.status(&b.id), "stopped");
    case.call(["delete", &b.id]).finish().ok();
}

#[test]
fn the_process_is_the_callers_own_child_after_create() {
    // buildah waits for the container by itself, as its (sub)reaper.
    let case = case!();
    let b = case.script("exit 42", |_| {});
    case.created(&b);
    let pid = Pid::from_raw(case.pid(&b.id));
    case.call(["start", &b.id]).finish().ok();
    assert_eq!(waitpid(pid, None).unwrap(), WaitStatus::Exited(pid, 42));
    case.delete(&b.id);
}

#[test]
fn the_pid_file_has_the_pid_and_no_newline() {
    let case = case!();
    let b = case.script("sleep 100", |_| {});
    case.call(["create", "-b", b.path(), "--pid-file", "here.pid", &b.id]).finish().ok();
    // Relative to where the caller is, not to the bundle.
    assert_eq!(read(case.path("here.pid")), case.pid(&b.id).to_string());
    case.delete(&b.id);
}

#[test]
fn the_pid_file_is_replaced_as_a_whole() {
    let case = case!();
    let b = case.script("sleep 100", |_| {});
    let dir = case.subdir("pids");
    let path = dir.join("pid");
    write(&path, "something much longer than any pid", 0o600);
    let before = path.metadata().unwrap().ino();
    case.call(["create", "-b", b.path(), "--pid-file", path.to_str().unwrap(), &b.id]).finish().ok();
    assert_eq!(read(&path), case.pid(&b.id).to_string());
    assert_ne!(path.metadata().unwrap().ino(), before, "written in place");
    assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 1, "a temporary file is left");
    case.delete(&b.id);
}

#[test]
fn a_pid_file_that_is_a_link_is_replaced_and_not_followed() {
    let case = case!();
    let b = case.script("sleep 100", |_| {});
    let elsewhere = case.file("elsewhere", "mine", 0o600);
    link(&elsewhere, &case.path("pid"));
    case.call(["create", "-b", b.path(), "--pid-file", "pid", &b.id]).finish().ok();
    assert_eq!(read(&elsewhere), "mine");
    assert_eq!(read(case.path("pid")), case.pid(&b.id).to_string());
    case.delete(&b.id);
}

#[test]
fn a_pid_file_that_can_not_be_written_is_an_error_that_leaves_nothing() {
    let case = case!();
    let b = case.script("sleep 100", |_| {});
    case.call(["create", "-b", b.path(), "--pid-file", "no/where/pid", &b.id])
        .finish()
        .fails(&["no/where/pid", "o such file"]);
    case.call(["state", &b.id]).finish().fails(&["does not exist"]);
}

#[test]
fn state_has_all_fields_of_the_specification_and_of_runc() {
    let case = case!();
    let b = case.script("sleep 100", |config| {
        config["annotations"] = json!({ "com.example.key": "value", "b": "2" })
    });
    case.created(&b);
    let state = case.state_of(&b.id);
    assert_eq!(state["ociVersion"], "1.3.0");
    assert_eq!(state["id"], b.id);
    assert_eq!(state["status"], "created");
    assert!(state["pid"].as_i64().unwrap() > 1);
    assert_eq!(state["bundle"], b.path());
    assert_eq!(state["rootfs"], b.rootfs("").to_str().unwrap().trim_end_matches('/'));
    assert_eq!(state["annotations"], json!({ "com.example.key": "value", "b": "2" }));
    assert_eq!(state["owner"], "root");
    let created = state["created"].as_str().unwrap();
    assert!(chrono::DateTime::parse_from_rfc3339(created).is_ok(), "{created}");
    case.delete(&b.id);
}

#[test]
fn the_bundle_is_the_current_directory_unless_it_is_named_and_absolute_in_state() {
    let case = case!();
    let b = case.script("sleep 100", |_| {});
    case.call(["create", &b.id]).cwd(&b.dir).finish().ok();
    assert_eq!(case.state_of(&b.id)["bundle"], b.path());
    case.delete(&b.id);
    let name = b.dir.file_name().unwrap();
    case.call(["create".as_ref(), "-b".as_ref(), name, b.id.as_ref()]).finish().ok();
    assert_eq!(case.state_of(&b.id)["bundle"], b.path());
    case.delete(&b.id);
}

#[test]
fn another_configuration_can_be_named() {
    let case = case!();
    let b = case.script("echo bundle", |_| {});
    let mut config = b.config();
    config["process"]["args"] = json!(["/bin/echo", "other"]);
    let other = case.file("other.json", config.to_string(), 0o644);
    let other = other.to_str().unwrap();
    for flag in ["-f", "--config"] {
        case.call(["run", "-b", b.path(), flag, other, &b.id]).finish().prints("other\n");
    }
}

#[test]
fn what_happens_to_the_bundle_after_create_does_not_matter() {
    let case = case!();
    let b = case.script("sleep 0.1; exit 6", |_| {});
    case.created(&b);
    b.save_text("{}");
    case.call(["start", &b.id]).finish().ok();
    std::fs::rename(&b.dir, case.path("moved")).unwrap();
    case.until(&b.id, "stopped");
    case.call(["delete", &b.id]).finish().ok();
}

#[test]
fn list_is_a_table_or_json_or_ids() {
    let case = case!();
    case.call(["list", "--format", "json"]).finish().prints("null\n");
    case.call(["list", "-q"]).finish().prints("");
    case.call(["list"])
        .finish()
        .prints("ID          PID         STATUS      BUNDLE      CREATED     OWNER\n");
    let a = case.script("sleep 100", |_| {});
    let b = case.script("sleep 100", |_| {});
    case.created(&b);
    case.started(&a);
    let ids = format!("{}\n{}\n", a.id, b.id);
    case.call(["list", "--quiet"]).finish().prints(&ids);
    for flags in [["list", "--format=json"], ["list", "-fjson"]] {
        let list: Value = serde_json::from_str(&case.call(flags).finish().ok().stdout()).unwrap();
        assert_eq!(list, json!([case.state_of(&a.id), case.state_of(&b.id)]));
    }
    let table = case.call(["list"]).finish().ok().lines();
    let words = |line: &String| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(words(&table[0]), ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]);
    assert_eq!(
        words(&table[1])[..4],
        [a.id.clone(), case.pid(&a.id).to_string(), "running".into(), a.path().into()]
    );
    assert_eq!(words(&table[2])[2], "created");
    assert_eq!(table.len(), 3);
    // As runc aligns them.
    assert!(
        table[0].starts_with(&format!("{:1$}PID         STATUS      BUNDLE", "ID", 12.max(a.id.len() + 3))),
        "{table:?}"
    );
    for column in ["BUNDLE", "CREATED", "OWNER"] {
        let at = table[0].find(column).unwrap();
        assert!(
            table[1..].iter().all(|line| &line[at - 3..at] == "   " && &line[at..=at] != " "),
            "{table:?}"
        );
    }
    case.delete(&a.id);
    case.delete(&b.id);
}

#[test]
fn delete_ends_a_container_that_was_not_started() {
    let case = case!();
    let b = case.script("sleep 100", |_| {});
    case.created(&b);
    let pid = case.pid(&b.id);
    case.call(["delete", &b.id]).finish().ok();
    case.call(["state", &b.id]).finish().fails(&["does not exist"]);
    assert!(!is_there(&b.cgroup));
    eventually("its process is gone or a zombie", || {
        std::fs::read_to_string(format!("/proc/{pid}/stat")).map_or(true, |stat| stat.contains(") Z "))
    });
}

#[test]
fn delete_of_a_running_container_needs_force() {
    let case = case!();
    let b = case.script(PATIENT, |_| {});
    case.started(&b);
    case.call(["delete", &b.id]).finish().fails(&[
        "cannot delete container",
        &b.id,
        "that is not stopped: running",
    ]);
    assert_eq!(case.status(&b.id), "running");
    case.call(["delete", "--force", &b.id]).finish().prints("");
    case.call(["state", &b.id]).finish().fails(&["does not exist"]);
}

#[test]
fn delete_of_what_is_not_there_fails_unless_forced() {
    let case = case!();
    case.call(["delete", "nobody"]).finish().fails(&["nobody", "does not exist"]);
    for flag in ["-f", "--force"] {
        case.call(["delete", flag, "nobody"]).finish().prints("");
    }
}

#[test]
fn delete_ends_every_process_of_the_container() {
    let case = case!();
    // The children leave its session and its process group; only the cgroup knows them.
    let b = case.script("for i in 1 2 3; do setsid sleep 100 & done; echo up; sleep 100", |_| {});
    let create = case.started(&b);
    eventually("it is up", || create.stdout() == "up\n");
    case.call(["delete", "-f", &b.id]).finish().ok();
    assert!(!is_there(&b.cgroup));
}

#[test]
fn kill_without_a_signal_is_sigterm() {
    let case = case!();
    let b = case.script(PATIENT, |_| {});
    let create = case.started(&b);
    eventually("it is up", || create.stdout() == "up\n");
    case.call(["kill", &b.id]).finish().prints("");
    case.until(&b.id, "stopped");
    case.delete(&b.id);
}

#[test]
fn kill_takes_names_and_numbers() {
    let case = case!();
    let b = case.script("trap 'echo usr1' USR1; echo up; while :; do sleep 0.02; done", |_| {});
    let create = case.started(&b);
    eventually("it is up", || create.stdout() == "up\n");
    for (count, signal) in ["USR1", "SIGUSR1", "usr1", "sigusr1", "10"].into_iter().enumerate() {
        case.call(["kill", &b.id, signal]).finish().ok();
        eventually(signal, || create.stdout().matches("usr1").count() == count + 1);
    }
    // The last of the real-time signals: nobody has a handler for it, and process 1 is spared.
    case.call(["kill", &b.id, "64"]).finish().ok();
    for bad in ["NOSUCH", "65", "-1", "SIG", "9x", ""] {
        case.call(["kill", &b.id, bad]).finish().fails(&["signal"]);
    }
    assert_eq!(case.status(&b.id), "running");
    case.delete(&b.id);
}

#[test]
fn kill_of_a_stopped_container_fails_and_changes_nothing() {
    let case = case!();
    let b = case.script("exit 0", |_| {});
    case.started(&b);
    case.until(&b.id, "stopped");
    let before = case.state_of(&b.id);
    // containerd and CRI-O look for these words.
    case.call(["kill", &b.id, "KILL"]).finish().fails(&[&b.id, "container not running"]);
    assert_eq!(case.state_of(&b.id), before);
    case.call(["kill", "--all", &b.id, "KILL"]).finish().ok();
    case.delete(&b.id);
}

#[test]
fn kill_of_what_is_not_there_says_that_it_does_not_exist() {
    let case = case!();
    case.call(["kill", "nobody", "9"]).finish().fails(&["nobody", "does not exist"]);
}

#[test]
fn kill_of_a_created_container_stops_it() {
    let case = case!();
    let b = case.script("exit 0", |_| {});
    case.created(&b);
    case.call(["kill", &b.id, "KILL"]).finish().ok();
    case.until(&b.id, "stopped");
    case.call(["start", &b.id]).finish().fails(&[&b.id, "stopped"]);
    case.call(["delete", &b.id]).finish().ok();
}

#[test]
fn kill_all_reaches_every_process_of_the_container() {
    let case = case!();
    // In the host's pid namespace the death of the first process does not end the others.
    let b = case.script("setsid sleep 100 & setsid sleep 100 & echo up; wait", |config| {
        crate::support::bundle::set_namespace(config, "pid", None);
    });
    let create = case.started(&b);
    eventually("it is up", || create.stdout() == "up\n");
    let processes = || read(b.cgroup.join("cgroup.procs")).lines().count();
    eventually("all are there", || processes() == 3);
    case.call(["kill", "-a", &b.id, "KILL"]).finish().ok();
    eventually("all have ended", || processes() == 0);
    case.until(&b.id, "stopped");
    case.call(["delete", &b.id]).finish().ok();
}

#[test]
fn delete_finds_the_processes_that_have_survived_the_first_one() {
    let case = case!();
    let b = case.script("setsid sleep 100 & exit 0", |config| {
        crate::support::bundle::set_namespace(config, "pid", None);
    });
    case.started(&b);
    case.until(&b.id, "stopped");
    case.call(["delete", &b.id]).finish().ok();
    assert!(!is_there(&b.cgroup));
}

#[test]
fn start_works_once() {
    let case = case!();
    let b = case.script("echo once; sleep 100", |_| {});
    let create = case.started(&b);
    case.call(["start", &b.id]).finish().fails(&["start", &b.id, "running"]);
    case.call(["kill", &b.id, "KILL"]).finish().ok();
    case.until(&b.id, "stopped");
    case.call(["start", &b.id]).finish().fails(&["start", &b.id, "stopped"]);
    assert_eq!(create.stdout(), "once\n");
    case.call(["start", "nobody"]).finish().fails(&["nobody", "does not exist"]);
    case.delete(&b.id);
}

#[test]
fn an_id_that_is_taken_is_refused_and_its_container_stays_as_it_is() {
    let case = case!();
    let b = case.script("sleep 100", |_| {});
    case.created(&b);
    let before = case.state_of(&b.id);
    let other = case.script("true", |_| {});
    for verb in ["create", "run"] {
        case.call([verb, "-b", other.path(), &b.id]).finish().fails(&[&b.id, "already exists"]);
    }
    assert_eq!(case.state_of(&b.id), before);
    case.call(["start", &b.id]).finish().ok();
    case.delete(&b.id);
    // And it is free again at once.
    case.created(&b);
    case.delete(&b.id);
}

#[test]
fn ids_are_letters_digits_and_a_few_signs() {
    let case = case!();
    let b = case.script("exit 0", |_| {});
    for good in ["a", "A.b", "_x", "+", "9", "a-b_c+d.e", &"x".repeat(200)] {
        case.call(["run", "-b", b.path(), good]).finish().ok();
    }
    let mut at_most = b.config();
    at_most["linux"]["cgroupsPath"] = json!(format!("/{}/long", case.unique));
    b.save(&at_most);
    case.call(["run", "-b", b.path(), &"x".repeat(255)]).finish().ok();
    // crun and we refuse a leading dot, too: such names are the runtime's own.
    for bad in ["", ".", "..", ".x", "a/b", "/", "a b", "a\nb", "ä", "%2e", "a:b", &"x".repeat(256)] {
        for verb in ["create", "run"] {
            case.call([verb, "-b", b.path(), "--", bad]).finish().fails(&["container id"]);
        }
        for verb in ["start", "state", "kill", "delete"] {
            case.call([verb, "--", bad]).finish().fails(&["container id"]);
        }
    }
}

#[test]
fn a_verb_without_an_id_is_an_error() {
    let case = case!();
    for verb in ["create", "run", "start", "state", "kill", "delete"] {
        let done = case.call([verb]).finish();
        assert_eq!(done.code(), 1, "{done}");
        assert!(done.stderr().contains("ID") || done.stderr().contains("id"), "{done}");
    }
}

#[test]
fn flags_may_be_repeated_and_stand_before_or_after_the_id() {
    let case = case!();
    let b = case.script("echo hi", |_| {});
    let state = case.state.to_str().unwrap();
    let pid_file = format!("--pid-file={}", case.path("pid").display());
    for line in [
        vec![
            "--root",
            state,
            "--log-format=json",
            "--log-format",
            "text",
            "run",
            "-b",
            "/nowhere",
            "-b",
            b.path(),
            &b.id,
        ],
        vec!["run", &b.id, "--bundle", b.path()],
        vec!["run", "--bundle=/nowhere", &b.id, &pid_file, &pid_file, "-b", b.path()],
        vec![
            "run",
            "--no-pivot",
            "--no-pivot",
            "--no-new-keyring",
            "--no-new-keyring",
            "-b",
            b.path(),
            &b.id,
        ],
        vec!["run", "-no-subreaper", "--no-subreaper", "--preserve-fds", "0", "--bundle", b.path(), &b.id],
        vec!["--rootless", "auto", "--rootless=false", "--debug", "--debug", "run", "-b", b.path(), &b.id],
        vec!["--cgroup-manager", "cgroupfs", "--log-level=error", "run", "-b", b.path(), &b.id],
    ] {
        let done = case.call(line).finish().ok();
        assert_eq!(done.stdout(), "hi\n");
    }
}

#[test]
fn later_verbs_need_not_repeat_what_create_was_told() {
    let case = case!();
    let b = case.script(PATIENT, |_| {});
    case.call(["--rootless=false", "create", "-b", b.path(), &b.id]).finish().ok();
    // The engines say --systemd-cgroup to some verbs and not to others; what counts is what create did.
    case.call(["--systemd-cgroup", "state", &b.id]).finish().ok();
    case.call(["--systemd-cgroup", "start", &b.id]).finish().ok();
    case.call(["--systemd-cgroup", "kill", &b.id, "9"]).finish().ok();
    case.until(&b.id, "stopped");
    case.call(["--systemd-cgroup", "delete", &b.id]).finish().ok();
}

#[test]
fn an_unknown_flag_or_verb_is_an_error_with_code_1() {
    let case = case!();
    for line in [vec!["--nonsense", "list"], vec!["list", "--nonsense"], vec!["nonsense"], vec![]] {
        let done = case.call(line).finish();
        assert_eq!((done.code(), done.stdout().as_str()), (1, ""), "{done}");
        assert_ne!(done.stderr(), "");
    }
}

#[test]
fn a_flag_without_its_value_is_told_in_the_words_that_podman_looks_for() {
    let case = case!();
    for line in [vec!["create", "--pid-file"], vec!["run", "--bundle"], vec!["list", "--format"]] {
        let done = case.call(line).finish();
        assert!(
            done.stderr().contains("flag needs an argument")
                || done.stderr().contains("requires an argument"),
            "{done}"
        );
    }
}

#[test]
fn version_is_three_lines() {
    let case = case!();
    for flag in ["--version", "-v"] {
        let lines = case.host([crate::support::runtime().as_os_str(), flag.as_ref()]).finish().ok().lines();
        assert_eq!(lines.len(), 3, "{lines:?}");
        assert_eq!(lines[0], format!("minidocker-oci version {}", env!("CARGO_PKG_VERSION")));
        assert!(lines[1].starts_with("commit: ") && lines[2] == "spec: 1.3.0", "{lines:?}");
    }
}

#[test]
fn help_goes_to_standard_output() {
    let case = case!();
    for line in [vec!["--help"], vec!["-h"], vec!["create", "--help"], vec!["delete", "-h"]] {
        let done = case.call(line).finish().ok();
        assert!(done.stdout().contains("Usage"), "{done}");
        assert_eq!(done.stderr(), "");
    }
}

#[test]
fn a_json_log_has_one_object_on_failure_and_standard_error_has_its_text() {
    let case = case!();
    let log = case.path("log.json");
    let done = case
        .call(["--log", log.to_str().unwrap(), "--log-format", "json", "start", "nobody"])
        .finish()
        .fails(&["does not exist"]);
    // podman parses the whole file as one object.
    let object: Value = serde_json::from_str(&read(&log)).unwrap();
    assert_eq!(object["level"], "error");
    assert_eq!(object["msg"].as_str().unwrap(), done.stderr().trim_end());
    assert!(chrono::DateTime::parse_from_rfc3339(object["time"].as_str().unwrap()).is_ok(), "{object}");
    assert_eq!(object.as_object().unwrap().len(), 3);
    assert_eq!(log.metadata().unwrap().permissions().mode() & 0o777, 0o644);
    // It is appended to, line by line.
    case.call(["--log", log.to_str().unwrap(), "--log-format", "json", "state", "other"])
        .finish()
        .fails(&["other"]);
    let objects: Vec<Value> = read(&log).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(objects.len(), 2);
}

#[test]
fn a_log_has_nothing_on_success() {
    let case = case!();
    let log = case.path("log");
    let log_flags = ["--log", log.to_str().unwrap(), "--log-format=json"];
    let call = |line: &[&str]| {
        let done = case.call(log_flags.iter().chain(line)).finish().ok();
        assert_eq!(done.stderr(), "");
    };
    let b = case.script("sleep 100", |config| {
        // What is worth a warning, but only for who asks for it.
        config["process"]["capabilities"] = json!({ "bounding": ["CAP_NO_SUCH"] });
    });
    call(&["create", "-b", b.path(), &b.id]);
    call(&["state", &b.id]);
    call(&["start", &b.id]);
    call(&["list"]);
    call(&["kill", &b.id, "9"]);
    case.until(&b.id, "stopped");
    call(&["delete", &b.id]);
    call(&["delete", "-f", "nobody"]);
    assert_eq!(std::fs::read_to_string(&log).unwrap_or_default(), "");
}

#[test]
fn a_failure_in_the_container_is_logged_once_too() {
    let case = case!();
    let log = case.path("log.json");
    let b = case.bundle(|config| config["process"]["args"] = json!(["/no/such/program"]));
    let line = ["--log", log.to_str().unwrap(), "--log-format=json", "create", "-b", b.path(), &b.id];
    let done = case.call(line).finish().fails(&["/no/such/program"]);
    let object: Value = serde_json::from_str(&read(&log)).unwrap();
    assert_eq!(object["msg"].as_str().unwrap(), done.stderr().trim_end());
}

#[test]
fn a_text_log_has_one_line() {
    let case = case!();
    let log = format!("file:{}", case.path("log").display());
    case.call(["--log", &log, "start", "nobody"]).finish().fails(&["does not exist"]);
    let text = read(case.path("log"));
    assert!(
        text.lines().count() == 1 && text.contains("level=error") && text.contains("does not exist"),
        "{text}"
    );
}

#[test]
fn the_state_root_is_for_its_owner_alone() {
    let case = case!();
    let b = case.script("sleep 100", |_| {});
    case.created(&b);
    for dir in [case.state.clone(), case.state.join(&b.id)] {
        assert_eq!(dir.metadata().unwrap().permissions().mode() & 0o777, 0o700, "{dir:?}");
    }
    case.delete(&b.id);
}

#[test]
fn the_process_is_in_its_cgroup_from_the_beginning() {
    let case = case!();
    let b = case.script("cat /proc/self/cgroup", |config| {
        crate::support::bundle::set_namespace(config, "cgroup", None)
    });
    case.created(&b);
    let pid = case.pid(&b.id).to_string();
    assert_eq!(read(b.cgroup.join("cgroup.procs")).trim(), pid);
    case.delete(&b.id);
    assert!(!is_there(&b.cgroup));
    let path = format!("0::/{}/{}\n", case.unique, b.id);
    let done = case.run(&b).ok();
    assert!(done.stdout().ends_with(&path), "{done}");
}

#[test]
fn a_container_without_cgroups_path_has_a_place_of_its_own() {
    let case = case!();
    let b = case.script("sleep 100", |config| {
        config["linux"].as_object_mut().unwrap().remove("cgroupsPath");
    });
    case.created(&b);
    let cgroup = cgroup_root().unwrap().join("minidocker-oci").join(&b.id);
    assert_eq!(read(cgroup.join("cgroup.procs")).trim(), case.pid(&b.id).to_string());
    case.delete(&b.id);
    assert!(!is_there(cgroup));
}

#[test]
fn an_empty_cgroup_that_was_there_is_used_and_stays() {
    let case = case!();
    let b = case.script("exit 0", |_| {});
    crate::support::make_dir(&b.cgroup);
    case.run(&b).ok();
    assert!(is_there(&b.cgroup), "what the container did not make it has removed");
    std::fs::remove_dir(&b.cgroup).unwrap();
}

#[test]
fn a_cgroup_in_use_or_frozen_is_refused_and_left_alone() {
    let case = case!();
    let first = case.script("sleep 100", |_| {});
    case.created(&first);
    let second = case.script("sleep 100", |config| {
        config["linux"]["cgroupsPath"] = first.config()["linux"]["cgroupsPath"].clone()
    });
    case.create(&second).fails(&[&first.id, "container's cgroup is not empty"]);
    assert_eq!(case.status(&first.id), "created");
    case.delete(&first.id);
    crate::support::make_dir(&second.cgroup);
    let third = case.script("sleep 100", |config| {
        config["linux"]["cgroupsPath"] = json!(format!("/{}/{}", case.unique, second.id));
    });
    write(&second.cgroup.join("cgroup.freeze"), "1", 0o644);
    case.create(&third).fails(&[&second.id, "frozen"]);
    std::fs::remove_dir(&second.cgroup).unwrap();
}

#[test]
fn cgroups_that_the_container_has_made_itself_go_with_it() {
    let case = case!();
    let b = case.script("mkdir -p /sys/fs/cgroup/a/b /sys/fs/cgroup/c; echo $$ >/sys/fs/cgroup/a/b/cgroup.procs; echo up; sleep 100", |config| {
        crate::support::bundle::add_mount(config, "/sys/fs/cgroup", "cgroup", "cgroup", &["rw"]);
    });
    let create = case.started(&b);
    eventually("it is up", || create.stdout() == "up\n");
    assert!(is_there(b.cgroup.join("a/b")));
    case.delete(&b.id);
    assert!(!is_there(&b.cgroup));
}

#[test]
fn a_limit_that_can_not_be_applied_is_an_error_that_names_the_controller() {
    let case = case!();
    let controllers = read(cgroup_root().unwrap().join("cgroup.controllers"));
    for (controller, resources, file, value) in [
        ("pids", json!({ "pids": { "limit": 77 } }), "pids.max", "77\n"),
        ("memory", json!({ "memory": { "limit": 67_108_864 } }), "memory.max", "67108864\n"),
        ("cpu", json!({ "cpu": { "quota": 50_000, "period": 100_000 } }), "cpu.max", "50000 100000\n"),
    ] {
        let b = case.script("sleep 100", |config| config["linux"]["resources"] = resources);
        // Where there is one it has to hold; its files are the runtime's cgroup tests' subject.
        if controllers.split_whitespace().any(|c| c == controller) {
            case.created(&b);
            assert_eq!(read(b.cgroup.join(file)), value);
            case.delete(&b.id);
        } else {
            case.create(&b).fails(&["linux.resources", controller]);
        }
    }
}

#[test]
fn a_configuration_without_a_process_can_be_created_but_not_started() {
    let case = case!();
    let b = case.bundle(|config| {
        config.as_object_mut().unwrap().remove("process");
    });
    case.created(&b);
    assert_eq!(case.status(&b.id), "created");
    case.call(["start", &b.id]).finish().fails(&["process"]);
    case.delete(&b.id);
}

#[test]
fn a_killed_start_leaves_a_container_that_can_be_deleted() {
    let case = case!();
    let b = case.script("sleep 100", |_| {});
    case.created(&b);
    // Connects to nothing: the init is stopped, so that start waits for it.
    let pid = Pid::from_raw(case.pid(&b.id));
    nix::sys::signal::kill(pid, nix::sys::signal::SIGSTOP).unwrap();
    let start = case.call(["start", &b.id]).spawn();
    assert!(!within(std::time::Duration::from_millis(100), || false));
    drop(start);
    nix::sys::signal::kill(pid, nix::sys::signal::SIGCONT).unwrap();
    let status = case.status(&b.id);
    // On a slow machine it has not come as far as asking.
    assert!(["created", "running", "stopped"].contains(&status.as_str()), "{status}");
    case.delete(&b.id);
}

#[test]
fn many_containers_live_side_by_side() {
    let case = case!();
    let b = case.script("sleep 100", |_| {});
    let all: Vec<_> = (0..8).map(|n| b.as_id(&case, &format!("{}-n{n}", case.unique))).collect();
    all.iter().for_each(|b| drop(case.started(b)));
    assert_eq!(case.call(["list", "-q"]).finish().ok().lines().len(), 8);
    all.iter().for_each(|b| case.delete(&b.id));
}
