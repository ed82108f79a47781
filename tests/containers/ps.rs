//! `ps`: who is in a container, as pids and as the host's ps(1) shows them.

use serde_json::json;

use crate::support::bundle::add_mount;
use crate::support::{Bundle, Case, case, eventually, installed, is_there, need, read};

/// A container with a process of its own beside the first one, in a cgroup that it has made.
fn with_a_cgroup_of_its_own(case: &Case) -> Bundle {
    let script = "mkdir -p /sys/fs/cgroup/a/b; sleep 1000 & echo $! >/sys/fs/cgroup/a/b/cgroup.procs; echo up; sleep 2000";
    let b = case.script(script, |config| add_mount(config, "/sys/fs/cgroup", "cgroup", "cgroup", &["rw"]));
    let create = case.started(&b);
    eventually("it is up", || create.stdout() == "up\n");
    eventually("it is there", || read(b.cgroup.join("a/b/cgroup.procs")).lines().count() == 1);
    b
}

/// The pids in `cgroup.procs` of its cgroup and of all below, sorted.
fn pids_in(b: &Bundle) -> Vec<i32> {
    let places = ["", "a", "a/b"].map(|dir| b.cgroup.join(dir).join("cgroup.procs"));
    let lists = places.iter().filter(|path| is_there(path)).map(read);
    let mut pids: Vec<i32> =
        lists.flat_map(|l| l.lines().map(|l| l.parse().unwrap()).collect::<Vec<_>>()).collect();
    pids.sort_unstable();
    pids
}

#[test]
fn as_json_it_is_the_pids_of_all_processes_in_the_cgroup_and_below_it() {
    let case = case!();
    let b = with_a_cgroup_of_its_own(&case);
    let pids = pids_in(&b);
    assert!(pids.len() >= 2 && pids.contains(&case.pid(&b.id)), "{pids:?}");
    let expected = format!("{}\n", json!(pids));
    // containerd's words, others' words, and one that has it otherwise.
    for line in [
        &["ps", "--format", "json", &b.id][..],
        &["ps", "--format=json", &b.id],
        &["ps", "-f", "json", &b.id, "-ef"],
    ] {
        case.call(line).finish().prints(&expected);
    }
    // One that stands still is there all the same.
    case.call(["pause", &b.id]).finish().ok();
    case.call(["ps", "-f", "json", &b.id]).finish().prints(&expected);
    case.delete(&b.id);
}

#[test]
fn as_a_table_it_is_what_the_hosts_ps_says_of_them() {
    let case = case!();
    need!(installed("ps"), "ps is not installed");
    let b = with_a_cgroup_of_its_own(&case);
    let pids = pids_in(&b);
    let first_and_pids = |options: &[&str], column: usize| {
        let done = case.call([&["ps", &b.id], options].concat()).finish().ok();
        let lines = done.lines();
        let pid = |line: &String| line.split_whitespace().nth(column).unwrap().parse::<i32>().unwrap();
        let mut pids: Vec<i32> = lines[1..].iter().map(pid).collect();
        pids.sort_unstable();
        (lines[0].split_whitespace().map(str::to_owned).collect::<Vec<_>>(), pids)
    };
    let (first, found) = first_and_pids(&[], 1);
    assert_eq!((&first[..3], found), (&["UID", "PID", "PPID"].map(str::to_owned)[..], pids.clone()));
    assert_eq!(
        first_and_pids(&["-e", "-o", "pid,comm"], 0),
        (vec!["PID".into(), "COMMAND".into()], pids.clone())
    );
    assert_eq!(first_and_pids(&["aux"], 1).1, pids);
    // These are its own flags, and ps's after the id.
    assert_eq!(first_and_pids(&["-e", "-f"], 1).1, pids);
    case.call(["ps", "--format", "table", &b.id]).finish().ok();
    case.delete(&b.id);
}

#[test]
fn a_table_without_pids_or_with_bad_options_is_an_error() {
    let case = case!();
    need!(installed("ps"), "ps is not installed");
    let b = case.script("sleep 1000", |_| {});
    case.created(&b);
    case.call(["ps", &b.id, "-e", "-o", "comm"]).finish().fails(&["couldn't find PID field in ps output"]);
    case.call(["ps", &b.id, "--bogus"])
        .finish()
        .fails(&["ps: exit status: 1: error: unknown gnu long option"]);
    case.call(["ps", "-f", "xml", &b.id]).finish().fails(&["xml", "table", "json"]);
    case.call(["ps", &b.id])
        .env("PATH", case.path("nowhere"))
        .finish()
        .fails(&["\"ps\": executable file not found in $PATH"]);
    case.call(["ps", "nobody"]).finish().fails(&["container does not exist"]);
    case.call(["ps"]).finish().fails(&["<ID>"]);
    case.delete(&b.id);
}

#[test]
fn a_created_container_has_its_init_and_a_stopped_one_has_none() {
    let case = case!();
    let b = case.script("exit 0", |_| {});
    case.created(&b);
    let pids = json!([case.pid(&b.id)]);
    case.call(["ps", "-f", "json", &b.id]).finish().prints(&format!("{pids}\n"));
    case.call(["start", &b.id]).finish().ok();
    case.until(&b.id, "stopped");
    // runc's word for an empty array.
    case.call(["ps", "-f", "json", &b.id]).finish().prints("null\n");
    if installed("ps") {
        assert_eq!(case.call(["ps", &b.id]).finish().ok().lines().len(), 1);
    }
    // Nor are there any in one that somebody has taken away.
    std::fs::remove_dir(&b.cgroup).unwrap();
    case.call(["ps", "-f", "json", &b.id]).finish().prints("null\n");
    case.delete(&b.id);
}

#[test]
fn processes_that_outlive_the_first_one_are_listed() {
    let case = case!();
    let b = case.script("setsid sleep 1000 & exit 0", |config| {
        crate::support::bundle::set_namespace(config, "pid", None);
    });
    case.started(&b);
    case.until(&b.id, "stopped");
    let pids = pids_in(&b);
    assert_eq!(pids.len(), 1);
    case.call(["ps", "-f", "json", &b.id]).finish().prints(&format!("{}\n", json!(pids)));
    case.delete(&b.id);
}

#[test]
fn a_threaded_cgroup_in_the_container_hides_nobody() {
    let case = case!();
    let script = "mkdir /sys/fs/cgroup/t /sys/fs/cgroup/t/u && echo threaded >/sys/fs/cgroup/t/u/cgroup.type && echo up; sleep 1000 & \
        echo $! >/sys/fs/cgroup/t/cgroup.procs; echo $! >/sys/fs/cgroup/t/u/cgroup.threads && echo in; sleep 2000";
    let b = case.script(script, |config| add_mount(config, "/sys/fs/cgroup", "cgroup", "cgroup", &["rw"]));
    let create = case.started(&b);
    eventually("it is up", || create.stdout() == "up\nin\n");
    let done = case.call(["ps", "-f", "json", &b.id]).finish().ok();
    let pids: Vec<i32> = serde_json::from_str(&done.stdout()).unwrap();
    let asleep = |pid: &&i32| read(format!("/proc/{pid}/cmdline")).contains("1000");
    assert_eq!(pids.iter().filter(asleep).count(), 1, "{done}");
    case.call(["kill", "--all", &b.id, "USR1"]).finish().ok();
    case.delete(&b.id);
}
