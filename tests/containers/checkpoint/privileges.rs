//! no_new_privs of what is restored: prctl(2), PR_SET_NO_NEW_PRIVS.

use std::time::Duration;

use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;
use serde_json::{Value, json};

use super::{checkpoint, counting, criu_version, goes_on, images, lacking, number, restore, restore_line};
use crate::support::bundle::set_namespace;
use crate::support::{Bundle, Case, case, eventually, need, nothing_is_left, read};

#[test]
fn a_container_that_is_to_have_no_new_privs_is_not_restored_without_them() {
    let case = criu_case!();
    let b = counting(&case, |config| config["process"]["noNewPrivileges"] = json!(false));
    checkpoint(&case, &b.id, &[]).prints("");
    case.call(["delete", &b.id]).finish().ok();
    let at = number(&b);
    let mut config = b.config();
    config["process"]["noNewPrivileges"] = json!(true);
    b.save(&config);
    let done = restore(&case, &b, &b.id, &["-d"]);
    if criu_version() < (3, 19) {
        // It would not restore them if it were to: all that it makes has them.
        done.ok();
        let status = read(format!("/proc/{}/status", case.pid(&b.id)));
        assert!(status.contains("NoNewPrivs:\t1\n"), "{status}");
    } else {
        done.fails(&["process.noNewPrivileges", "the images do not have it"]);
        assert_eq!(number(&b), at);
        nothing_is_left(&case, "by a restore without no_new_privs");
        config["process"]["noNewPrivileges"] = json!(false);
        b.save(&config);
        restore(&case, &b, &b.id, &["-d"]).ok();
        assert!(goes_on(&b));
    }
    case.delete(&b.id);
}

/// Two processes that count, the second one into /m. The first one gives new privileges up for itself when the other is
/// there.
const OTHER: &str = "mkfifo /f; exec 9<>/f; \
     (m=0; while :; do m=$((m+1)); echo $m >/m; read -t 0.02 x <&9; done) & \
     exec busybox setpriv --nnp sh -c 'n=0; while :; do n=$((n+1)); echo $n >/n; read -t 0.02 x <&9; done'";

/// Without a pid namespace: what the first process leaves goes on.
fn in_the_hosts_pid_namespace(config: &mut Value) {
    set_namespace(config, "pid", None);
}

/// Written and deleted; to be restored with no_new_privs.
fn written_with(case: &Case, flags: &[&str], script: &str, change: impl FnOnce(&mut Value)) -> Bundle {
    let b = case.script(script, |config| {
        config["process"]["noNewPrivileges"] = json!(false);
        change(config);
    });
    case.call([flags, &["run", "-d", "-b", b.path(), &b.id]].concat()).finish().ok();
    eventually("both count", || number(&b) > 2 && other_number(&b) > 2);
    let first = Pid::from_raw(case.pid(&b.id));
    let children = read(format!("/proc/{first}/task/{first}/children"));
    let others = children.split_whitespace().map(|pid| Pid::from_raw(pid.parse().unwrap()));
    checkpoint(case, &b.id, &[]).prints("");
    case.call(["delete", &b.id]).finish().ok();
    // Orphans come to this process; as long as they are zombies their pids are taken.
    for pid in others.chain([first]).filter(|_| has_hosts_pids(&b)) {
        eventually("it has ended", || matches!(waitpid(pid, None), Ok(WaitStatus::Signaled(..))));
    }
    let mut config = b.config();
    config["process"]["noNewPrivileges"] = json!(true);
    b.save(&config);
    b
}

fn has_hosts_pids(b: &Bundle) -> bool {
    b.config()["linux"]["namespaces"].as_array().unwrap().iter().all(|ns| ns["type"] != "pid")
}

fn other_number(b: &Bundle) -> u64 {
    std::fs::read_to_string(b.rootfs("m")).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}

/// Whoever has them: none goes on for a moment.
fn nothing_goes_on(script: &str) {
    let disabled = ["--cgroup-manager", "disabled"];
    for flags in [&[][..], &disabled] {
        for shared in [false, true] {
            let case = criu_case!();
            need!(criu_version() >= (3, 19), "this CRIU does not restore no_new_privs");
            let b = written_with(&case, flags, script, |config| {
                if shared {
                    in_the_hosts_pid_namespace(config);
                }
            });
            let at = (number(&b), other_number(&b));
            let (images, work) = (images(&case), case.path("work"));
            let line = restore_line(&images, &b, &["-d", "--work-path", work.to_str().unwrap()], &b.id);
            let done = case.call([flags, &line].concat()).finish();
            let how = format!("with {flags:?}, in the host's pid namespace: {shared}");
            done.fails(&["process.noNewPrivileges", "the images do not have it of process \"sh\""]);
            std::thread::sleep(Duration::from_millis(200));
            assert_eq!((number(&b), other_number(&b)), at, "{how}");
            nothing_is_left(&case, &how);
        }
    }
}

#[test]
fn if_the_first_process_is_without_them_no_other_goes_on() {
    nothing_goes_on(&OTHER.replace("setpriv --nnp", "setpriv"));
}

#[test]
fn if_another_process_is_without_them_none_goes_on() {
    nothing_goes_on(OTHER);
}
