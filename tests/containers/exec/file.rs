//! `exec --process FILE`.

use serde_json::{Value, json};

use super::{ABOUT, exec, process_file, refused, running};
use crate::support::bundle::Bundle;
use crate::support::{Case, Done, case, need};

fn from_file(case: &Case, b: &Bundle, script: &str, change: impl FnOnce(&mut Value)) -> Done {
    let file = process_file(case, script, change);
    exec(case, &["--process", file.to_str().unwrap(), &b.id]).finish()
}

#[test]
fn all_of_the_process_is_in_the_file() {
    let case = case!();
    let b = running(&case, |_| {});
    let set = json!(["CAP_NET_RAW"]);
    from_file(&case, &b, ABOUT, |process| {
        process["user"] = json!({ "uid": 33, "gid": 34, "additionalGids": [35, 36], "umask": 0o77 });
        process["cwd"] = json!("/etc");
        process["env"] = json!(["PATH=/bin", "X=y"]);
        process["noNewPrivileges"] = json!(true);
        process["oomScoreAdj"] = json!(77);
        process["rlimits"] = json!([{ "type": "RLIMIT_NOFILE", "soft": 55, "hard": 56 }]);
        process["capabilities"] =
            json!({ "bounding": set, "permitted": set, "inheritable": set, "ambient": set });
    })
    .prints(
        "uid=33(web) gid=34 groups=35,36\n/etc\nHOME=/var/web\nPATH=/bin\nX=y\n\
         Groups:3536\nCapInh:0000000000002000\nCapPrm:0000000000002000\nCapEff:0000000000002000\n\
         CapBnd:0000000000002000\nCapAmb:0000000000002000\nNoNewPrivs:1\nSeccomp:0\n0077\n55\n77\n",
    );
    case.delete(&b.id);
}

#[test]
fn capabilities_are_those_of_the_file_bit_for_bit() {
    // CVE-2022-29162, CVE-2025-27612, T-F1.
    let case = case!();
    let b =
        running(&case, |config| crate::support::bundle::set_capabilities(config, &["CAP_KILL", "CAP_CHOWN"]));
    let status = "grep Cap /proc/self/status | tr -d '\\t' | tr '\\n' ' '";
    let shown = |sets: [u64; 5]| {
        let names = ["Inh", "Prm", "Eff", "Bnd", "Amb"];
        names.iter().zip(sets).map(|(name, set)| format!("Cap{name}:{set:016x} ")).collect::<String>()
    };
    let raw = json!(["CAP_NET_RAW"]);
    for (given, expected) in [
        // What is not said is as in the container's configuration, with runc and crun, too.
        (Value::Null, [0, 33, 33, 33, 0]),
        (json!({}), [0; 5]),
        // Root: capabilities(7), "Capabilities and execution of programs by root".
        (json!({ "bounding": raw }), [0, 0x2000, 0x2000, 0x2000, 0]),
        (json!({ "bounding": raw, "permitted": raw, "effective": raw }), [0, 0x2000, 0x2000, 0x2000, 0]),
        (json!({ "bounding": raw, "inheritable": raw }), [0x2000, 0x2000, 0x2000, 0x2000, 0]),
    ] {
        let done = from_file(&case, &b, status, |process| {
            if !given.is_null() {
                process["capabilities"] = given.clone();
            }
        });
        done.prints(&shown(expected));
    }
    case.delete(&b.id);
}

#[test]
fn what_confines_the_container_confines_a_process_that_does_not_say_otherwise() {
    let case = case!();
    let b = running(&case, |config| {
        config["process"]["oomScoreAdj"] = json!(321);
        config["process"]["user"]["umask"] = json!(0o37);
        config["process"]["scheduler"] = json!({ "policy": "SCHED_BATCH", "nice": 7 });
        config["linux"]["personality"] = json!({ "domain": "LINUX32" });
        config["linux"]["seccomp"] = json!({
            "defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [{ "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 122 }],
        });
    });
    let script =
        "cat /proc/self/oom_score_adj; umask; cut -d' ' -f19,41 /proc/self/stat; uname -m; mkdir /tmp/x 2>&1";
    let done = from_file(&case, &b, script, |_| {});
    let out = done.stdout();
    assert!(out.starts_with("321\n0037\n7 3\n") && out.contains("Disk quota exceeded"), "{done}");
    assert_ne!(out.lines().nth(3), Some("x86_64"), "{done}");
    case.delete(&b.id);
}

#[test]
fn processors_are_those_of_the_container_or_of_the_file() {
    let case = case!();
    let cpus = std::thread::available_parallelism().unwrap().get();
    need!(cpus >= 2, "there is one processor");
    let b = running(&case, |config| {
        config["process"]["execCPUAffinity"] = json!({ "initial": "0", "final": "1" })
    });
    let script = "grep Cpus_allowed_list /proc/self/status | cut -f2";
    from_file(&case, &b, script, |_| {}).prints("1\n");
    from_file(&case, &b, script, |p| p["execCPUAffinity"] = json!({ "initial": "0" })).prints("0\n");
    from_file(&case, &b, script, |p| p["execCPUAffinity"] = json!({ "initial": "1", "final": "0" }))
        .prints("0\n");
    let refusal = from_file(&case, &b, script, |p| p["execCPUAffinity"] = json!({ "initial": "4000" }));
    refused(refusal, &["process.execCPUAffinity.initial", "sched_setaffinity"]);
    case.delete(&b.id);
}

#[test]
fn priorities_are_those_of_the_file() {
    let case = case!();
    let b = running(&case, |_| {});
    from_file(&case, &b, "cut -d' ' -f19,41 /proc/self/stat", |process| {
        process["scheduler"] = json!({ "policy": "SCHED_BATCH", "nice": 9 });
        process["ioPriority"] = json!({ "class": "IOPRIO_CLASS_IDLE", "priority": 3 });
    })
    .prints("9 3\n");
    case.delete(&b.id);
}

#[test]
fn with_a_file_neither_flags_nor_words_count() {
    // As with runc and crun.
    let case = case!();
    let b = running(&case, |_| {});
    let file = process_file(&case, "id -u; pwd; echo $A", |_| {});
    let line = ["-u", "5", "--cwd", "/tmp", "-e", "A=1", "-p", file.to_str().unwrap(), &b.id, "/bin/false"];
    exec(&case, &line).finish().prints("0\n/\n\n");
    case.delete(&b.id);
}

#[test]
fn a_file_that_is_no_process_is_refused_before_anything_is_made() {
    let case = case!();
    let b = running(&case, |_| {});
    for (content, words) in [
        ("", "not valid JSON"),
        ("[]", "not an object"),
        ("{", "not valid JSON"),
        ("{}{}", "not valid JSON"),
        (r#"{"cwd":"/","args":["x"]}"#, "missing field `user`"),
        (r#"{"cwd":"/","args":["x"],"user":{}}"#, "missing field `uid`"),
        (r#"{"user":{"uid":0,"gid":0},"args":["x"]}"#, "missing field `cwd`"),
        (r#"{"user":{"uid":0,"gid":0},"cwd":"/"}"#, "args: there has to be at least a program"),
        (r#"{"user":{"uid":0,"gid":0},"cwd":"x","args":["x"]}"#, "cwd: path \"x\" is not absolute"),
        (
            r#"{"user":{"uid":4294967295,"gid":0},"cwd":"/","args":["x"]}"#,
            "user.uid: 4294967295 is not an id",
        ),
        (r#"{"user":{"uid":0,"gid":0},"cwd":"/","args":["x"],"oomScoreAdj":2000}"#, "oomScoreAdj"),
        (r#"{"user":{"uid":0,"gid":0},"cwd":"/","args":["x"],"args":["y"]}"#, "twice"),
        (
            r#"{"user":{"uid":0,"gid":0},"cwd":"/","args":["x"],"rlimits":[{"type":"RLIMIT_X","soft":1,"hard":1}]}"#,
            "RLIMIT_X",
        ),
    ] {
        let file = case.file("bad.json", content, 0o644);
        refused(exec(&case, &["-p", file.to_str().unwrap(), &b.id]).finish(), &[words]);
    }
    refused(exec(&case, &["-p", "/no/such", &b.id]).finish(), &["--process \"/no/such\"", "No such file"]);
    let fifo = case.path("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    refused(exec(&case, &["-p", fifo.to_str().unwrap(), &b.id]).finish(), &["not valid JSON"]);
    case.delete(&b.id);
}
