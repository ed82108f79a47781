//! What a process takes along besides ids and capabilities: scheduler, I/O priority, memory policy, personality,
//! labels. config.md, "Linux Process"; config-linux.md, "Memory policy", "Personality".

use std::path::Path;

use serde_json::{Value, json};

use crate::support::bundle::add_user_namespace;
use crate::support::{Case, case, host_command, installed, need, read};

/// proc_pid_stat(5) of a container's process: nice, rt_priority, policy.
fn scheduled(case: &Case, scheduler: Value, change: impl FnOnce(&mut Value)) -> String {
    let b = case.bundle(|config| {
        config["process"]["args"] = json!(["/bin/awk", "{print $19, $40, $41}", "/proc/self/stat"]);
        config["process"]["scheduler"] = scheduler;
        change(config);
    });
    b.chown(100_000);
    case.run(&b).ok().stdout().trim().to_owned()
}

/// Whether a process in the case's cgroup may be a real-time one: on some machines that is not for all, and a kernel
/// that schedules these by group may have no time for any below the root.
fn may_be_real_time(case: &Case) -> bool {
    let script = r#"echo $$ >"$0/cgroup.procs" && chrt -f 1 true"#;
    let line = ["sh".into(), "-c".into(), script.into(), case.cgroup().into_os_string()];
    case.host(line).finish().code() == 0
}

/// A wrapper that takes a privilege away.
fn without(capability: &str) -> Vec<String> {
    ["setpriv", "--bounding-set", &format!("-{capability}"), "--inh-caps", "-all"].map(str::to_owned).to_vec()
}

#[test]
fn the_scheduler_is_the_configurations() {
    let case = case!();
    for (policy, nice, number) in [("OTHER", 7, 0), ("BATCH", 19, 3), ("OTHER", -3, 0), ("IDLE", 0, 5)] {
        let scheduler = json!({ "policy": format!("SCHED_{policy}"), "nice": nice });
        assert_eq!(scheduled(&case, scheduler, |_| {}), format!("{nice} 0 {number}"), "{policy}");
    }
    // Unset, nice is 0: the caller's does not count.
    let b = case.bundle(|config| {
        config["process"]["args"] = json!(["/bin/awk", "{print $19, $41}", "/proc/self/stat"]);
        config["process"]["scheduler"] = json!({ "policy": "SCHED_OTHER" });
    });
    case.call_through(&["nice", "-n", "5"], ["run", "-b", b.path(), &b.id]).finish().prints("0 0\n");
}

#[test]
fn real_time_schedulers_have_their_priority_in_a_user_namespace_too() {
    let case = case!();
    need!(may_be_real_time(&case), "real-time processes are not allowed here");
    for (policy, priority, number) in [("FIFO", 10, 1), ("RR", 99, 2)] {
        for userns in [false, true] {
            let scheduler = json!({ "policy": format!("SCHED_{policy}"), "priority": priority });
            let seen = scheduled(&case, scheduler, |config| {
                if userns {
                    add_user_namespace(config, 100_000);
                }
            });
            assert_eq!(seen, format!("0 {priority} {number}"), "{policy}, user namespace: {userns}");
        }
    }
}

#[test]
fn a_deadline_has_its_times_and_flags() {
    let case = case!();
    need!(installed("chrt"), "chrt is not installed");
    let times = json!({
        "policy": "SCHED_DEADLINE", "flags": ["SCHED_FLAG_RESET_ON_FORK"],
        "nice": 19, "runtime": 42_000, "deadline": 1_000_000, "period": 2_000_000,
    });
    let b = case.bundle(|config| {
        config["process"]["args"] = json!(["/bin/sleep", "100"]);
        config["process"]["scheduler"] = times;
    });
    case.started(&b);
    let shown = host_command("chrt", &["-p".as_ref(), case.pid(&b.id).to_string().as_ref()]);
    assert!(shown.contains("SCHED_DEADLINE|SCHED_RESET_ON_FORK"), "{shown}");
    assert!(shown.contains("42000/1000000/2000000"), "{shown}");
    case.delete(&b.id);
}

#[test]
fn hooks_before_the_program_have_the_callers_scheduler() {
    let case = case!();
    let seen = case.path("seen");
    let script = format!("cut -d' ' -f19,41 /proc/self/stat >{}", seen.display());
    let b = case.script("true", |config| {
        let hook =
            json!([{ "path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/usr/bin:/bin"] }]);
        config["hooks"] = json!({ "createContainer": hook });
        config["process"]["scheduler"] = json!({ "policy": "SCHED_BATCH", "nice": 9 });
    });
    case.run(&b).ok();
    assert_eq!(read(&seen), "0 0\n");
}

#[test]
fn a_scheduler_that_is_none_is_refused_by_name() {
    let case = case!();
    let hook = json!({ "startContainer": [{ "path": "/bin/true" }] });
    for (scheduler, words) in [
        (json!({ "policy": "SCHED_ISO" }), "process: scheduler: policy: SCHED_ISO"),
        (json!({ "policy": "SCHED_X" }), "/process/scheduler/policy: unknown variant `SCHED_X`"),
        (json!({ "policy": "SCHED_OTHER", "nice": 20 }), "process: scheduler: nice: 20 is not in -20..19"),
        (
            json!({ "policy": "SCHED_OTHER", "priority": 1 }),
            "process: scheduler: priority: SCHED_OTHER has none",
        ),
        (json!({ "policy": "SCHED_FIFO" }), "process: scheduler: priority: 0 is not in 1..99"),
        (json!({ "policy": "SCHED_IDLE", "runtime": 1 }), "process: scheduler: runtime: SCHED_IDLE has none"),
        (json!({ "policy": "SCHED_DEADLINE" }), "process: scheduler: runtime: 0 ns"),
        (json!({ "policy": "SCHED_OTHER", "flags": ["SCHED_FLAG_X"] }), "/process/scheduler/flags/0"),
        (
            json!({ "policy": "SCHED_DEADLINE", "runtime": 5000, "deadline": 5000 }),
            "hooks.startContainer can't run under SCHED_DEADLINE",
        ),
    ] {
        let b = case.script("true", |config| {
            config["process"]["scheduler"] = scheduler;
            config["hooks"] = hook.clone();
        });
        case.create(&b).fails(&[words]);
    }
}

/// Whether a caller's affinity is a container's.
fn keeps_its_processors(case: &Case) -> bool {
    let b = case.script("grep ^Cpus_allowed_list: /proc/self/status", |_| {});
    let run = ["run", "-b", b.path(), &b.id];
    case.call_through(&["taskset", "-c", "0"], run).finish().ok().stdout() == "Cpus_allowed_list:\t0\n"
}

#[test]
fn a_scheduler_that_the_kernel_refuses_is_an_error_with_a_remedy() {
    let case = case!();
    need!(installed("setpriv") && installed("taskset"), "setpriv or taskset is not installed");
    let refused = |wrapper: &[&str], scheduler: Value, words: &[&str]| {
        let b = case.script("true", |config| config["process"]["scheduler"] = scheduler);
        case.call_through(wrapper, ["create", "-b", b.path(), &b.id]).finish().fails(words);
    };
    let less = without("sys_nice");
    let less: Vec<&str> = less.iter().map(String::as_str).collect();
    let fifo = json!({ "policy": "SCHED_FIFO", "priority": 1 });
    refused(&less, fifo, &["process: scheduler: sched_setattr(SCHED_FIFO)", "(EPERM)", "CAP_SYS_NICE"]);
    let nice = json!({ "policy": "SCHED_OTHER", "nice": -1 });
    refused(&less, nice, &["process: scheduler: sched_setattr(SCHED_OTHER)", "(EPERM)", "RLIMIT_NICE"]);
    need!(host_command("nproc", &[]).trim() != "1", "there is one processor only");
    // Before Linux 6.2 who joins a cgroup that has a cpuset gets all of its processors.
    need!(keeps_its_processors(&case), "the cgroup's processors take the place of the caller's");
    let deadline = json!({ "policy": "SCHED_DEADLINE", "runtime": 5000, "deadline": 1_000_000 });
    refused(&["taskset", "-c", "0"], deadline, &["sched_setattr(SCHED_DEADLINE)", "(EPERM)", "root domain"]);
}

#[test]
fn the_io_priority_is_the_configurations() {
    let case = case!();
    let run = |class: &str, level: i32, userns: bool| {
        let b = case.bundle(|config| {
            config["process"]["args"] = json!(["/bin/busybox", "ionice"]);
            config["process"]["ioPriority"] =
                json!({ "class": format!("IOPRIO_CLASS_{class}"), "priority": level });
            if userns {
                add_user_namespace(config, 100_000);
            }
        });
        b.chown(100_000);
        case.run(&b)
    };
    for userns in [false, true] {
        run("RT", 3, userns).prints("realtime: prio 3\n");
        run("BE", 7, userns).prints("best-effort: prio 7\n");
        run("IDLE", 4, userns).prints("idle\n");
    }
    run("BE", 8, false).fails(&["process: ioPriority: priority: 8 is not in 0..7"]);
    run("BE", -1, false).fails(&["process: ioPriority: priority: -1 is not in 0..7"]);
    run("NONE", 0, false).fails(&["/process/ioPriority/class", "IOPRIO_CLASS_NONE"]);
}

#[test]
fn the_affinity_for_exec_is_checked_kept_and_not_inits() {
    let case = case!();
    let allowed =
        |text: String| text.lines().find(|l| l.starts_with("Cpus_allowed_list")).unwrap().to_owned();
    let b = case.script("grep Cpus_allowed_list /proc/self/status; exec sleep 100", |config| {
        config["process"]["execCPUAffinity"] = json!({ "initial": "0", "final": "0-1,1500" });
    });
    let created = case.created(&b);
    let kept = read(case.state.join(&b.id).join("exec"));
    let kept: Value = serde_json::from_str(kept.lines().next().unwrap()).unwrap();
    assert_eq!(kept["process"]["execCPUAffinity"], json!({ "initial": "0", "final": "0-1,1500" }));
    let init = read(format!("/proc/{}/status", case.pid(&b.id)));
    assert_eq!(allowed(init), allowed(read("/proc/self/status")), "{created}");
    case.delete(&b.id);
    for (affinity, words) in [
        (json!({ "initial": "3-1" }), ["process: execCPUAffinity.initial", "ends before it begins"]),
        (json!({ "final": "0,99999999" }), ["process: execCPUAffinity.final", "99999999 is more than"]),
        (json!({ "initial": "x" }), ["/process/execCPUAffinity", "x"]),
    ] {
        let b = case.script("true", |config| config["process"]["execCPUAffinity"] = affinity);
        case.create(&b).fails(&words);
    }
    case.sh("true", |config| config["process"]["execCPUAffinity"] = json!({ "initial": "", "final": "" }))
        .ok();
}

#[test]
fn the_memory_policy_is_the_configurations() {
    let case = case!();
    need!(Path::new("/proc/self/numa_maps").is_file(), "the kernel has no NUMA");
    let run = |policy: Value| {
        case.run(&case.bundle(|config| {
            config["process"]["args"] = json!(["/bin/head", "-n", "1", "/proc/self/numa_maps"]);
            config["linux"]["memoryPolicy"] = policy;
        }))
    };
    for (mode, nodes, flags, shown) in [
        ("DEFAULT", "", json!([]), "default"),
        ("LOCAL", "", json!([]), "local"),
        ("PREFERRED", "", json!([]), "local"),
        ("PREFERRED", "0", json!([]), "prefer:0"),
        ("BIND", "0", json!([]), "bind:0"),
        ("BIND", "0", json!(["MPOL_F_STATIC_NODES"]), "bind=static:0"),
        ("BIND", "0", json!(["MPOL_F_RELATIVE_NODES"]), "bind=relative:0"),
        ("BIND", "0", json!(["MPOL_F_NUMA_BALANCING"]), "bind=balancing:0"),
        ("INTERLEAVE", "0", json!([]), "interleave:0"),
        ("PREFERRED_MANY", "0", json!([]), "prefer (many):0"),
        ("WEIGHTED_INTERLEAVE", "0", json!([]), "weighted interleave:0"),
    ] {
        let done = run(json!({ "mode": format!("MPOL_{mode}"), "nodes": nodes, "flags": flags }));
        // Linux 5.15 has the one, 6.9 the other.
        if done.code() != 0 && mode.contains('_') {
            done.fails(&["linux.memoryPolicy: invalid memory policy", "lacks the mode"]);
            continue;
        }
        let text = done.ok().stdout();
        assert!(text.split_once(' ').unwrap().1.starts_with(&format!("{shown} ")), "{mode} {flags}: {text}");
    }
    // No machine has as many nodes.
    run(json!({ "mode": "MPOL_BIND", "nodes": "1023" })).fails(&[
        "linux.memoryPolicy: invalid memory policy: MPOL_BIND: set_mempolicy(0x2)",
        "(EINVAL)",
        "none of the nodes",
    ]);
    run(json!({ "mode": "MPOL_BIND" }))
        .fails(&["linux.memoryPolicy: invalid memory policy: nodes: MPOL_BIND"]);
    run(json!({ "mode": "MPOL_X" })).fails(&["/linux/memoryPolicy/mode", "MPOL_X"]);
    run(json!({ "mode": "MPOL_LOCAL", "flags": ["MPOL_F_X"] }))
        .fails(&["/linux/memoryPolicy/flags/0", "MPOL_F_X"]);
}

#[test]
fn the_personality_is_the_configurations_or_the_callers() {
    let case = case!();
    need!(installed("setarch"), "setarch is not installed");
    let run = |personality: Option<Value>| {
        let b = case.script("cat /proc/self/personality", |config| {
            if let Some(personality) = personality {
                config["linux"]["personality"] = personality;
            }
        });
        case.call_through(&["setarch", "linux32", "-R"], ["run", "-b", b.path(), &b.id]).finish()
    };
    // PER_LINUX32 and ADDR_NO_RANDOMIZE are the caller's.
    run(None).prints("00040008\n");
    run(Some(json!({ "domain": "LINUX" }))).prints("00000000\n");
    run(Some(json!({ "domain": "LINUX32" }))).prints("00000008\n");
    run(Some(json!({ "domain": "LINUX", "flags": [] }))).prints("00000000\n");
    run(Some(json!({ "domain": "LINUX", "flags": ["X"] }))).fails(&["linux.personality.flags: \"X\""]);
    run(Some(json!({ "domain": "BSD" }))).fails(&["/linux/personality/domain", "BSD"]);
    // Another machine's than the host's, where the kernel has the programs of two.
    let machine = host_command("setarch", &["linux32", "uname", "-m"].map(AsRef::as_ref));
    let seen = case.sh("uname -m", |config| config["linux"]["personality"] = json!({ "domain": "LINUX32" }));
    seen.prints(&machine);
}

#[test]
fn a_label_is_refused_before_anything_exists_where_the_kernel_has_no_such_module() {
    let case = case!();
    let apparmor = Path::new("/sys/module/apparmor/parameters/enabled").is_file();
    let selinux = read("/proc/filesystems").contains("selinuxfs");
    need!(!apparmor && !selinux, "this kernel has AppArmor or SELinux");
    for (property, words) in [
        (
            "apparmorProfile",
            ["AppArmor is not enabled", "boot with lsm=apparmor: `/proc/self/attr/apparmor/exec`"],
        ),
        ("selinuxLabel", ["SELinux is not enabled", "boot with lsm=selinux: `/proc/self/attr/exec`"]),
    ] {
        let b = case.script("true", |config| config["process"][property] = json!("some_t"));
        case.create(&b).fails(&[&format!("process: {property}: \"some_t\""), words[0], words[1]]);
        assert!(!b.cgroup.is_dir());
    }
    case.sh("true", |config| config["process"]["apparmorProfile"] = json!("unconfined")).ok();
    case.sh("true", |config| config["process"]["selinuxLabel"] = json!("")).ok();
}

#[test]
fn a_label_that_the_kernel_refuses_is_told_as_podman_expects_it() {
    let case = case!();
    let apparmor = Path::new("/sys/module/apparmor").is_dir();
    need!(
        !apparmor && Path::new("/proc/self/attr/exec").is_file(),
        "AppArmor is there, or no attribute at all"
    );
    // The runtime is made to think that there is AppArmor; the kernel knows better.
    let line = "mount -t tmpfs none /sys/module && mkdir -p /sys/module/apparmor/parameters && \
                echo Y >/sys/module/apparmor/parameters/enabled && exec \"$@\"";
    let b = case.script("true", |config| config["process"]["apparmorProfile"] = json!("some-profile"));
    let wrapper = ["unshare", "-m", "sh", "-c", line, "sh"];
    case.call_through(&wrapper, ["create", "-b", b.path(), &b.id]).finish().fails(&[
        "process: apparmorProfile: \"some-profile\": write to `/proc/self/attr/exec`: ",
        "(EINVAL)",
        "is the profile loaded?",
    ]);
}
