//! Against a real systemd, where there is one.

use std::path::PathBuf;

use serde_json::json;

use super::scoped;
use crate::support::bundle::Bundle;
use crate::support::bus::processes;
use crate::support::user::user;
use crate::support::{Case, case, cgroup_root, host_command, is_there, need, need_controllers, read};

/// A scope of the systemd that runs this machine, and its cgroup.
struct Real {
    scope: String,
    cgroup: PathBuf,
}

impl Real {
    fn of_limited(case: &Case) -> (Bundle, Self) {
        let (b, scope) = scoped(case);
        let mut config = b.config();
        config["linux"]["resources"] = json!({
            "memory": { "limit": 100 << 20, "reservation": 50 << 20, "swap": 150 << 20 },
            "cpu": { "shares": 512, "quota": 50_000, "period": 100_000 },
            "pids": { "limit": 33 },
        });
        b.save(&config);
        case.call(["--systemd-cgroup", "create", "-b", b.path(), &b.id]).finish().ok();
        let mut real = Self { scope, cgroup: PathBuf::new() };
        let path = real.show("ControlGroup");
        real.cgroup = cgroup_root().unwrap().join(path.trim_start_matches('/'));
        (b, real)
    }

    fn show(&self, property: &str) -> String {
        let line = ["show", "--value", "-p", property, &self.scope];
        host_command("systemctl", &line.map(AsRef::as_ref)).trim().to_owned()
    }

    fn file(&self, name: &str) -> String {
        read(self.cgroup.join(name)).trim().to_owned()
    }

    /// The same of the container's own.
    fn own_file(&self, name: &str) -> String {
        self.file(&format!("container/{name}"))
    }

    /// Properties as systemctl shows them, and the files that they are for: the scope's, and the container's own where
    /// that has the same.
    #[track_caller]
    fn has(&self, limits: &[[&str; 4]]) {
        for [property, shown, file, content] in limits {
            assert_eq!(
                (self.show(property).as_str(), self.file(file).as_str()),
                (*shown, *content),
                "{file}"
            );
        }
    }

    #[track_caller]
    fn container_has(&self, limits: &[[&str; 4]]) {
        for [_, _, file, content] in limits {
            assert_eq!(self.own_file(file), *content, "{file}");
        }
    }
}

fn reload() {
    host_command("systemctl", &["daemon-reload".as_ref()]);
}

#[test]
fn limits_of_a_scope_outlive_a_reload_of_systemd() {
    let case = case!();
    need!(is_there("/run/systemd/system"), "systemd does not run this machine");
    need_controllers!("memory", "cpu", "pids");
    let (b, real) = Real::of_limited(&case);
    let limits = [
        ["MemoryMax", "104857600", "memory.max", "104857600"],
        ["MemoryLow", "52428800", "memory.low", "52428800"],
        ["MemorySwapMax", "52428800", "memory.swap.max", "52428800"],
        ["CPUWeight", "59", "cpu.weight", "59"],
        ["CPUQuotaPerSecUSec", "500ms", "cpu.max", "50000 100000"],
        ["TasksMax", "33", "pids.max", "33"],
    ];
    real.has(&limits);
    reload();
    real.has(&limits);
    real.container_has(&limits);
    assert_eq!(real.show("Slice"), "mdt.slice");
    assert_eq!(processes(&real.cgroup.join("container")), [case.pid(&b.id)]);
    case.delete(&b.id);
    assert_eq!(real.show("LoadState"), "not-found");
    assert!(!is_there(&real.cgroup));
}

#[test]
fn an_update_outlives_a_reload_of_systemd() {
    let case = case!();
    need!(is_there("/run/systemd/system"), "systemd does not run this machine");
    need_controllers!("memory", "cpu", "pids");
    let (b, real) = Real::of_limited(&case);
    let update = |args: &[&str]| case.call([&["update"], args, &[b.id.as_str()]].concat()).finish();
    update(&["--memory", "125829120", "--memory-swap", "-1", "--pids-limit", "44"]).ok();
    update(&["--cpu-quota", "33333"]).ok();
    // Not in whole percents, which is all that systemd counts in.
    assert_eq!([real.file("cpu.max"), real.own_file("cpu.max")], ["33333 100000"; 2]);
    reload();
    // What is the runtime's own stays exact.
    assert_eq!(real.own_file("cpu.max"), "33333 100000");
    let limits = [
        ["CPUQuotaPerSecUSec", "340ms", "cpu.max", "34000 100000"],
        ["MemoryMax", "125829120", "memory.max", "125829120"],
        ["MemorySwapMax", "infinity", "memory.swap.max", "max"],
        ["TasksMax", "44", "pids.max", "44"],
        ["CPUWeight", "59", "cpu.weight", "59"],
    ];
    real.has(&limits);
    real.container_has(&limits[1..]);
    // The first one is fine, the second one is not: neither is done, be it the scope's or the container's that is not.
    for file in ["pids.zzz", "cgroup.zzz"] {
        let bad = format!(r#"{{"pids":{{"limit":55}},"unified":{{"{file}":"1"}}}}"#);
        let bad = case.file("bad", bad, 0o644);
        update(&["--resources", bad.to_str().unwrap()]).fails(&[file]);
        real.has(&limits);
        real.container_has(&limits[1..]);
    }
    case.delete(&b.id);
}

#[test]
fn an_ordinary_users_scope_is_made_by_his_own_systemd_and_has_its_limits() {
    let case = case!();
    let mut user = user!(case);
    let session = user.logged_in();
    need!(session.is_some(), "there is no user here with a systemd of his own");
    let b = user.bundle("sleep 100", |config| {
        config["linux"]["resources"] = json!({ "memory": { "limit": 64 << 20 }, "pids": { "limit": 33 } });
    });
    let mut config = b.config();
    config["linux"]["cgroupsPath"] = json!(format!(":mdt:{}", b.id));
    b.save(&config);
    user.call(&["--systemd-cgroup", "create", "-b", b.path(), &b.id]).finish().ok();
    user.call(&["start", &b.id]).finish().ok();
    let cgroup = read(format!("/proc/{}/cgroup", user.pid(&b.id)));
    let scope = format!("mdt-{}.scope", b.id);
    let end = format!("{scope}/container");
    assert!(cgroup.contains("/user@54321.service/") && cgroup.trim().ends_with(&end), "{cgroup}");
    let dir = cgroup_root().unwrap().join(cgroup.trim().strip_prefix("0::/").unwrap());
    let limit = |file: &str| {
        let [own, scopes] = [&dir, dir.parent().unwrap()].map(|dir| read(dir.join(file)).trim().to_owned());
        assert_eq!(own, scopes, "{file}");
        own
    };
    assert_eq!([limit("memory.max"), limit("pids.max")], ["67108864", "33"]);
    let own = user.call(&["exec", &b.id, "/bin/cat", "/proc/self/cgroup"]).finish().ok().stdout();
    assert_eq!(own, "0::/\n");
    user.call(&["update", "--memory", "125829120", &b.id]).finish().ok();
    user.host(None, &["systemctl", "--user", "daemon-reload"]).finish().ok();
    assert_eq!([limit("memory.max"), limit("pids.max")], ["125829120", "33"]);
    user.delete(&b.id);
    assert!(!is_there(&dir));
    user.has_no_container();
}
