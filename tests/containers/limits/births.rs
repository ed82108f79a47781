//! A container, and each later process of it, is born in its cgroup, however often `cgroup.kill` has been written to that
//! or to its caller's: clone(2), CLONE_INTO_CGROUP. Who is killed there after all is told of, and not tried again.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::limited::{bundle, run};
use super::{Driver, both_drivers, limits_case};
use crate::support::bundle::set_namespace;
use crate::support::{Bundle, Call, Case, case, eventually, is_there, need, nothing_is_left, read};

/// A cgroup of the test's own that everybody in it has been killed in.
struct Killed(PathBuf);

impl Killed {
    /// `None` where the kernel has no `cgroup.kill`.
    fn make(case: &Case) -> Option<Self> {
        let made = Self(case.cgroup().join("killed"));
        fs::create_dir(&made.0).unwrap();
        made.kill().then_some(made)
    }

    fn kill(&self) -> bool {
        fs::write(self.0.join("cgroup.kill"), "1").is_ok()
    }

    /// The runtime, whose caller is in there.
    fn call<'c>(&self, case: &'c Case, line: &[&str]) -> Call<'c> {
        let procs = self.0.join("cgroup.procs");
        case.call_through(
            &["sh", "-c", r#"echo $$ >"$0" && exec "$@""#, procs.to_str().unwrap()],
            line.iter().copied(),
        )
    }
}

impl Drop for Killed {
    fn drop(&mut self) {
        let removed = || fs::remove_dir(&self.0).is_ok() || !is_there(&self.0);
        if !std::thread::panicking() {
            eventually("its cgroup is left", removed);
        }
    }
}

/// The line of `create` or `run`.
fn line<'a>(driver: Driver, verb: &'a str, b: &'a Bundle) -> Vec<&'a str> {
    [driver.options(), &[verb, "-b", b.path(), &b.id]].concat()
}

fn who_was_left_by_a_kill_of_its_cgroup_makes_containers(driver: Driver) {
    let case = limits_case!(driver);
    let killed = Killed::make(&case);
    need!(killed.is_some(), "no cgroup.kill here");
    let killed = killed.unwrap();
    for round in 0..3 {
        let b = bundle(&case, driver, "grep ^0: /proc/self/cgroup", json!({}));
        // With a cgroup namespace of its own, whose root is where it was made.
        killed.call(&case, &line(driver, "run", &b)).finish().prints("0::/\n");
        let b = bundle(&case, driver, "exec sleep 100", json!({}));
        killed.call(&case, &line(driver, "create", &b)).finish().ok();
        case.call(["start", &b.id]).finish().ok();
        let exec = ["exec", &b.id, "/bin/grep", "^0:", "/proc/self/cgroup"];
        killed.call(&case, &exec).finish().prints("0::/\n");
        case.delete(&b.id);
        assert!(killed.kill(), "{round}");
    }
    drop(killed);
    nothing_is_left(&case, "by who was in a cgroup that was killed");
}

/// A helper joins it, which is born in the cgroup then.
fn who_was_left_by_a_kill_of_its_cgroup_joins_pid_namespaces(driver: Driver) {
    let case = limits_case!(driver);
    let killed = Killed::make(&case);
    need!(killed.is_some(), "no cgroup.kill here");
    let killed = killed.unwrap();
    let other = bundle(&case, driver, "exec sleep 100", json!({}));
    killed.call(&case, &line(driver, "create", &other)).finish().ok();
    let b = bundle(&case, driver, "echo joined", json!({}));
    let mut config = b.config();
    let path = format!("/proc/{}/ns/pid", case.pid(&other.id));
    set_namespace(&mut config, "pid", Some(json!({ "type": "pid", "path": path })));
    b.save(&config);
    killed.call(&case, &line(driver, "run", &b)).finish().prints("joined\n");
    case.delete(&other.id);
}

#[test]
fn a_cgroup_that_was_killed_takes_the_next_container() {
    let case = case!();
    let killed = Killed::make(&case);
    need!(killed.is_some(), "no cgroup.kill here");
    let killed = killed.unwrap();
    let b = case.script("exec sleep 100", |config| {
        config["linux"]["cgroupsPath"] = json!(format!("/{}/killed", case.unique));
    });
    // A delete kills all that is in it, and leaves it as it was there before.
    for _ in 0..3 {
        case.started(&b);
        let pid = case.pid(&b.id);
        assert_eq!(read(killed.0.join("cgroup.procs")), format!("{pid}\n"));
        case.call(["exec", &b.id, "/bin/true"]).finish().ok();
        fs::create_dir(killed.0.join("below")).unwrap();
        fs::write(killed.0.join("below/cgroup.kill"), "1").unwrap();
        case.call(["exec", "--cgroup", "below", &b.id, "/bin/grep", "^0:", "/proc/self/cgroup"])
            .finish()
            .prints("0::/below\n");
        fs::remove_dir(killed.0.join("below")).unwrap();
        case.delete(&b.id);
    }
}

/// Whoever does that: a kill that meets init on its way is told as one.
fn an_init_that_is_killed_with_its_cgroup_is_told_and_not_tried_again(driver: Driver) {
    let case = limits_case!(driver);
    let killed = Killed::make(&case);
    need!(killed.is_some(), "no cgroup.kill here");
    let killed = killed.unwrap();
    for call in [None, Some(&killed)] {
        let b = bundle(&case, driver, "exec sleep 100", json!({}));
        let mut config = b.config();
        // A hook gets the state on its input, and is a process of the host.
        let script = format!(
            r#"p=$(sed -n 's/.*"pid":\([0-9]*\).*/\1/p'); echo . >>"{}"; g=$(sed -n 's/^0:://p' "/proc/$p/cgroup"); echo 1 >"{}$g/cgroup.kill""#,
            b.rootfs("/hooks").display(),
            root().display(),
        );
        config["hooks"] = json!({ "createRuntime": [{ "path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/usr/bin:/bin"] }] });
        b.save(&config);
        let create = line(driver, "create", &b);
        let done = call.map_or_else(|| case.call(&create), |killed| killed.call(&case, &create)).finish();
        // Its end may be seen before the hook's.
        done.fails(&["init has ended"]);
        assert_eq!(read(b.rootfs("/hooks")), ".\n");
    }
    drop(killed);
    nothing_is_left(&case, "by what was killed");
}

fn root() -> &'static Path {
    crate::support::cgroup_root().unwrap()
}

fn a_memory_limit_that_kills_whoever_is_born_is_told_of_in_such_a_cgroup_too(driver: Driver) {
    let case = limits_case!(driver, "memory");
    let killed = Killed::make(&case);
    need!(killed.is_some(), "no cgroup.kill here");
    let killed = killed.unwrap();
    for limit in [8 << 10, 32 << 10] {
        let b = bundle(&case, driver, "true", json!({ "memory": { "limit": limit, "swap": limit } }));
        killed.call(&case, &line(driver, "create", &b)).finish().fails(&["memory"]);
    }
    let b = bundle(&case, driver, "true", json!({ "memory": { "limit": 64 << 20 } }));
    run(&case, driver, &b).ok();
    drop(killed);
    nothing_is_left(&case, "by what had no memory");
}

/// What ends a `create` that hangs ends it from such a cgroup as well.
#[test]
fn a_delete_by_force_ends_a_create_from_a_cgroup_that_was_killed() {
    let case = case!();
    let killed = Killed::make(&case);
    need!(killed.is_some(), "no cgroup.kill here");
    let killed = killed.unwrap();
    let b = case.script("exec sleep 100", |_| {});
    let mut config = b.config();
    let args = ["sh", "-c", "exec sleep 60"];
    config["hooks"] =
        json!({ "createRuntime": [{ "path": "/bin/sh", "args": args, "env": ["PATH=/usr/bin:/bin"] }] });
    b.save(&config);
    let create = killed.call(&case, &line(Driver::Cgroupfs, "create", &b)).spawn();
    let is_born = || read_or_none(&b.cgroup.join("cgroup.procs")).lines().count() == 1;
    eventually("init is born", is_born);
    case.delete(&b.id);
    let done = create.wait();
    assert_ne!(done.code(), 0, "{done}");
    assert!(!is_there(&b.cgroup));
}

fn read_or_none(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

both_drivers! {
    who_was_left_by_a_kill_of_its_cgroup_makes_containers
    who_was_left_by_a_kill_of_its_cgroup_joins_pid_namespaces
    an_init_that_is_killed_with_its_cgroup_is_told_and_not_tried_again
    a_memory_limit_that_kills_whoever_is_born_is_told_of_in_such_a_cgroup_too
}
