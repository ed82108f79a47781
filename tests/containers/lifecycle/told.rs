//! What callers are told: pid file, state, list.

use std::os::unix::fs::MetadataExt;

use serde_json::{Value, json};

use crate::support::{case, link, read, write};

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
