//! Verbs that meet: one wins, the others say so.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::bundle::{Bundle, add_mount};
use crate::support::{Done, case, eventually, host_command, nothing_is_left};

#[test]
fn of_many_creates_of_one_id_one_wins() {
    let case = case!();
    let b = case.script("sleep 100", |_| {});
    for _ in 0..5 {
        let all: Vec<_> = (0..16).map(|_| case.call(["create", "-b", b.path(), &b.id]).spawn()).collect();
        let ended: Vec<Done> = all.into_iter().map(crate::support::Running::wait).collect();
        assert_eq!(ended.iter().filter(|done| done.code() == 0).count(), 1);
        for loser in ended.into_iter().filter(|done| done.code() != 0) {
            loser.fails(&["already exists"]);
        }
        // The losers took nothing of the winner's.
        assert_eq!(case.status(&b.id), "created");
        case.call(["start", &b.id]).finish().ok();
        case.delete(&b.id);
    }
}

#[test]
fn of_many_starts_one_wins() {
    let case = case!();
    let b = case.script("echo started; sleep 100", |_| {});
    let create = case.created(&b);
    let all: Vec<_> = (0..16).map(|_| case.call(["start", &b.id]).spawn()).collect();
    let ended: Vec<Done> = all.into_iter().map(crate::support::Running::wait).collect();
    assert_eq!(ended.iter().filter(|done| done.code() == 0).count(), 1);
    eventually("it has started", || create.stdout() == "started\n");
    case.delete(&b.id);
}

#[test]
fn of_64_deletes_one_wins_and_the_id_is_free_at_once() {
    let case = case!();
    let b = case.script("sleep 100", |_| {});
    for force in [false, true] {
        case.created(&b);
        let line = if force { vec!["delete", "-f", &b.id] } else { vec!["delete", &b.id] };
        let all: Vec<_> = (0..64).map(|_| case.call(line.clone()).spawn()).collect();
        let ended: Vec<Done> = all.into_iter().map(crate::support::Running::wait).collect();
        let won = ended.iter().filter(|done| done.code() == 0).count();
        assert!(won == 1 || force && won == 64, "{won} have won");
        for loser in ended.into_iter().filter(|done| done.code() != 0) {
            loser.fails(&["does not exist"]);
        }
        case.run_once(&b);
    }
}

#[test]
fn delete_and_create_of_one_id_do_not_take_from_each_other() {
    let case = case!();
    let b = case.script("sleep 100", |_| {});
    let end = Instant::now() + Duration::from_secs(2);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while Instant::now() < end {
                    let done = case.call(["create", "-b", b.path(), &b.id]).finish();
                    let text = done.stderr();
                    let lost = [
                        "already exists",
                        "does not exist",
                        "is not empty",
                        "ended",
                        "ENOENT",
                        "No such",
                        "broken",
                        "closed",
                    ]
                    .iter()
                    .any(|w| text.contains(w));
                    assert!(done.code() == 0 || lost, "{done}");
                }
            });
            scope.spawn(|| {
                while Instant::now() < end {
                    case.call(["delete", "-f", &b.id]).finish().ok();
                }
            });
        }
    });
    case.delete(&b.id);
    nothing_is_left(&case, "in the end");
    case.run_once(&b);
}

#[test]
fn containers_of_one_image_make_its_missing_directories_together() {
    // runc#4543, T-B3.
    let case = case!();
    let bundles: Vec<Bundle> = (0..8)
        .map(|_| {
            case.script("cat /f/g/h", |config| {
                add_mount(config, "/a/b/c", "tmpfs", "tmpfs", &[]);
                add_mount(config, "/f/g/h", "bind", "/etc/hostname", &["bind"]);
            })
        })
        .collect();
    for b in &bundles[1..] {
        let mut config = b.config();
        config["root"]["path"] = json!(bundles[0].rootfs(""));
        b.save(&config);
    }
    for _ in 0..10 {
        for dir in ["a", "f"] {
            host_command("rm", &["-rf".as_ref(), bundles[0].rootfs(dir).as_os_str()]);
        }
        let all: Vec<_> = bundles.iter().map(|b| case.call(["run", "-b", b.path(), &b.id]).spawn()).collect();
        all.into_iter().for_each(|run| drop(run.wait().ok()));
    }
}
