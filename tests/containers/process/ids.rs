//! Who the program is: config.md, "User"; and its umask.

use serde_json::json;

use super::status;
use crate::support::bundle::add_user_namespace;
use crate::support::{case, need};

#[test]
fn user_and_groups_are_exactly_the_configurations() {
    let case = case!();
    for (user, ids, groups) in [
        (json!({ "uid": 0, "gid": 0 }), "0 0", ""),
        (json!({ "uid": 33, "gid": 34 }), "33 34", ""),
        (json!({ "uid": 1000, "gid": 100, "additionalGids": [] }), "1000 100", ""),
        (json!({ "uid": 1000, "gid": 100, "additionalGids": [5, 6, 100_000] }), "1000 100", "5 6 100000"),
    ] {
        let status = status(&case, |config| config["process"]["user"] = user);
        let (uid, gid) = ids.split_once(' ').unwrap();
        assert_eq!(status["Uid"], [uid; 4].join("\t"));
        assert_eq!(status["Gid"], [gid; 4].join("\t"));
        assert_eq!(status["Groups"], groups);
    }
}

#[test]
fn the_callers_groups_are_not_the_containers() {
    let case = case!();
    need!(crate::support::installed("setpriv"), "setpriv is not installed");
    let b = case.script("grep Groups /proc/self/status", |_| {});
    let with_groups = ["setpriv", "--groups", "0,10,999"];
    case.call_through(&with_groups, ["run", "-b", b.path(), &b.id]).finish().prints("Groups:\t \n");
}

#[test]
fn groups_may_be_repeated_and_as_many_as_the_kernel_takes() {
    let case = case!();
    let user = |groups: Vec<u32>| json!({ "uid": 1000, "gid": 100, "additionalGids": groups });
    let twice = status(&case, |config| config["process"]["user"] = user(vec![6, 5, 5]));
    assert_eq!(twice["Groups"], "5 5 6");
    let all = status(&case, |config| config["process"]["user"] = user((1..=65_536).collect()));
    assert_eq!(all["Groups"].split(' ').count(), 65_536);
    let b = case.script("true", |config| config["process"]["user"] = user((1..=65_537).collect()));
    case.create(&b).fails(&["process: user.additionalGids: 65537 groups, the kernel takes 65536"]);
}

#[test]
fn the_callers_groups_are_kept_where_the_annotation_says_so() {
    let case = case!();
    need!(crate::support::installed("setpriv"), "setpriv is not installed");
    let b = case.script("grep Groups /proc/self/status", |config| {
        config["annotations"] = json!({ "run.oci.keep_original_groups": "1" });
        config["process"]["user"] = json!({ "uid": 33, "gid": 33, "additionalGids": [77] });
    });
    let with_groups = ["setpriv", "--groups", "10,999"];
    case.call_through(&with_groups, ["run", "-b", b.path(), &b.id]).finish().prints("Groups:\t10 999 \n");
}

#[test]
fn an_id_that_the_user_namespace_does_not_map_is_refused_by_name() {
    let case = case!();
    for (user, words) in [
        (json!({ "uid": 70_000, "gid": 0 }), ["process: user.uid: 70000", "linux.uidMappings"]),
        (json!({ "uid": 0, "gid": 70_000 }), ["process: user.gid: 70000", "linux.gidMappings"]),
        (
            json!({ "uid": 0, "gid": 0, "additionalGids": [1, 70_000] }),
            ["process: user.additionalGids[1]: 70000", "linux.gidMappings"],
        ),
    ] {
        let b = case.script("true", |config| {
            add_user_namespace(config, 100_000);
            config["process"]["user"] = user;
        });
        case.create(&b).fails(&words);
    }
}

#[test]
fn the_umask_is_the_configurations_or_the_callers() {
    let case = case!();
    case.sh("umask; touch /f; stat -c %a /f", |config| config["process"]["user"]["umask"] = json!(0o027))
        .prints("0027\n640\n");
    // config.md: unset, it is not changed. (crun and runc make it 0022 whatever the caller has.)
    let b = case.script("umask", |_| {});
    for umask in ["0022", "0077", "0000"] {
        let line = format!("umask {umask}; exec \"$@\"");
        case.call_through(&["sh", "-c", &line, "sh"], ["run", "-b", b.path(), &b.id])
            .finish()
            .prints(&format!("{umask}\n"));
    }
}

#[test]
fn the_callers_umask_does_not_change_what_is_made() {
    let case = case!();
    let script = "stat -c '%a %n' /dev/null /dev/tty /made /dev/shm; umask";
    let b = case.script(script, |config| {
        crate::support::bundle::add_mount(config, "/made", "tmpfs", "tmpfs", &["mode=755"])
    });
    let line = ["sh", "-c", "umask 077; exec \"$@\"", "sh"];
    case.call_through(&line, ["run", "-b", b.path(), &b.id])
        .finish()
        .prints("666 /dev/null\n666 /dev/tty\n755 /made\n1777 /dev/shm\n0077\n");
}
