//! Resource limits: config.md, "POSIX process", `rlimits`.

use serde_json::json;

use crate::support::bundle::add_user_namespace;
use crate::support::{case, read};

#[test]
fn limits_are_exactly_the_configurations() {
    let case = case!();
    // As many as a process without CAP_SYS_RESOURCE can set: below what it has.
    let limit = |kind: &str, soft: u64, hard: u64| json!({ "type": kind, "soft": soft, "hard": hard });
    let done = case.sh("cat /proc/self/limits", |config| {
        config["process"]["rlimits"] = json!([
            limit("RLIMIT_NOFILE", 100, 200),
            limit("RLIMIT_CORE", 0, 4096),
            limit("RLIMIT_STACK", 1_048_576, 2_097_152),
            limit("RLIMIT_FSIZE", 1_000_000, 2_000_000),
            limit("RLIMIT_CPU", 100, 200),
            limit("RLIMIT_AS", 1 << 40, 1 << 41),
        ]);
    });
    let text = done.ok().stdout();
    let has = |name: &str, soft: &str, hard: &str| {
        let line = text.lines().find(|line| line.starts_with(name)).unwrap();
        let words: Vec<&str> = line[26..].split_whitespace().collect();
        assert_eq!(words[..2], [soft, hard], "{line}");
    };
    has("Max open files", "100", "200");
    has("Max core file size", "0", "4096");
    has("Max stack size", "1048576", "2097152");
    has("Max file size", "1000000", "2000000");
    has("Max cpu time", "100", "200");
    has("Max address space", "1099511627776", "2199023255552");
}

#[test]
fn every_limit_that_the_kernel_has_can_be_set() {
    let case = case!();
    // As proc_pid_limits(5) names them; the values are this machine's own, or less.
    let kinds = [
        ("Max cpu time", "CPU"),
        ("Max file size", "FSIZE"),
        ("Max data size", "DATA"),
        ("Max stack size", "STACK"),
        ("Max core file size", "CORE"),
        ("Max resident set", "RSS"),
        ("Max processes", "NPROC"),
        ("Max open files", "NOFILE"),
        ("Max locked memory", "MEMLOCK"),
        ("Max address space", "AS"),
        ("Max file locks", "LOCKS"),
        ("Max pending signals", "SIGPENDING"),
        ("Max msgqueue size", "MSGQUEUE"),
        ("Max nice priority", "NICE"),
        ("Max realtime priority", "RTPRIO"),
        ("Max realtime timeout", "RTTIME"),
    ];
    let own = read("/proc/self/limits");
    let hard = |name: &str, text: &str| {
        let line = text.lines().find(|line| line.starts_with(name)).unwrap();
        let words: Vec<String> = line[26..].split_whitespace().map(str::to_owned).collect();
        (words[0].clone(), words[1].clone())
    };
    let limits: Vec<(&str, &str, u64, u64)> = kinds
        .iter()
        .map(|(name, kind)| match hard(name, &own).1.parse::<u64>() {
            Ok(most) => (*name, *kind, most.saturating_sub(1), most),
            Err(_) => (*name, *kind, (1 << 40) - 4096, 1 << 40),
        })
        .collect();
    let done = case.sh("cat /proc/self/limits", |config| {
        let one = |(_, kind, soft, hard): &(&str, &str, u64, u64)| {
            json!({ "type": format!("RLIMIT_{kind}"), "soft": soft, "hard": hard })
        };
        config["process"]["rlimits"] = limits.iter().map(one).collect();
    });
    let text = done.ok().stdout();
    for (name, kind, soft, most) in limits {
        assert_eq!(hard(name, &text), (soft.to_string(), most.to_string()), "{kind}");
    }
}

#[test]
fn limits_hold_in_a_user_namespace_and_for_another_user() {
    let case = case!();
    let b = case.script("ulimit -n; ulimit -Hn", |config| {
        add_user_namespace(config, 100_000);
        config["process"]["user"] = json!({ "uid": 33, "gid": 33 });
        config["process"]["rlimits"] = json!([{ "type": "RLIMIT_NOFILE", "soft": 50, "hard": 60 }]);
    });
    b.chown(100_000);
    case.run(&b).prints("50\n60\n");
}

#[test]
fn a_limit_that_can_not_be_set_is_an_error_that_names_it() {
    let case = case!();
    let b = case.script("true", |config| {
        config["process"]["rlimits"] = json!([{ "type": "RLIMIT_NOFILE", "soft": 1, "hard": 1u64 << 60 }]);
    });
    case.create(&b).fails(&["process.rlimits", "RLIMIT_NOFILE", "(EPERM)"]);
}
