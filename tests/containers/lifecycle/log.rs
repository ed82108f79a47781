//! The log of failures, for people and for engines.

use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use crate::support::{case, read};

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
