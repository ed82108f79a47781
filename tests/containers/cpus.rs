//! `linux.resources.cpu.cpus`, `cpu.mems` and what goes with them where there are several processors and memory
//! nodes: config-linux.md, "CPU" and "Memory policy"; cgroup-v2.rst, "Cpuset Interface Files".

use serde_json::{Value, json};

use crate::support::{Done, case, is_there, need, need_controllers, read};

/// Two of a kind (`cpu`, `node`) that cpusets can tell apart, or no test.
macro_rules! need_two {
    ($kind:literal) => {
        need_controllers!("cpuset");
        need!(has_second($kind), "there is no second {}", $kind);
    };
}

fn has_second(kind: &str) -> bool {
    is_there(format!("/sys/devices/system/{kind}/{kind}1"))
}

/// proc_pid_status(5): a list of a process that the kernel holds it to.
fn allowed(pid: i32, kind: &str) -> String {
    let status = read(format!("/proc/{pid}/status"));
    let list = status.lines().find_map(|line| line.strip_prefix(&format!("{kind}_allowed_list:\t")));
    list.unwrap().to_owned()
}

/// A shell script that prints where the memory of its own kind is that has no file behind it: a line for each
/// node and area, such as `N0=3`, behind the area's policy.
const OWN_MEMORY: &str = "awk '/heap|stack/ { print $2; for (i = 3; i <= NF; i++) if ($i ~ /^N[0-9]*=/) print $i }' \
                          /proc/self/numa_maps";

#[track_caller]
fn all_memory_is_on(node: i32, done: &Done) {
    let pages: Vec<_> = done.lines().into_iter().filter(|line| line.starts_with('N')).collect();
    assert!(!pages.is_empty() && pages.iter().all(|line| line.starts_with(&format!("N{node}="))), "{done}");
}

#[test]
fn the_program_runs_on_the_processors_of_its_cpuset_only() {
    let case = case!();
    need_two!("cpu");
    for cpus in ["0", "1", "0-1"] {
        let b = case.script("sleep 100", |config| {
            config["linux"]["resources"] = json!({ "cpu": { "cpus": cpus } });
        });
        case.started(&b);
        for file in ["cpuset.cpus", "cpuset.cpus.effective"] {
            assert_eq!(read(b.cgroup.join(file)), format!("{cpus}\n"), "{file}");
        }
        assert_eq!(allowed(case.pid(&b.id), "Cpus"), cpus);
        case.delete(&b.id);
    }
}

#[test]
fn the_callers_processors_do_not_count_beside_those_of_the_cpuset() {
    let case = case!();
    need_two!("cpu");
    let b = case.script("nproc; grep ^Cpus_allowed_list: /proc/self/status", |config| {
        config["linux"]["resources"] = json!({ "cpu": { "cpus": "1" } });
    });
    let run = ["run", "-b", b.path(), &b.id];
    case.call_through(&["taskset", "-c", "0"], run).finish().prints("1\nCpus_allowed_list:\t1\n");
}

#[test]
fn the_programs_memory_is_from_the_nodes_of_its_cpuset_only() {
    let case = case!();
    need_two!("node");
    for node in [0, 1] {
        let script = format!("grep ^Mems_allowed_list: /proc/self/status; {OWN_MEMORY}");
        let done = case.sh(&script, |config| {
            config["linux"]["resources"] = json!({ "cpu": { "mems": node.to_string() } });
        });
        let done = done.ok();
        assert_eq!(done.lines()[0], format!("Mems_allowed_list:\t{node}"));
        all_memory_is_on(node, &done);
    }
}

#[test]
fn processors_and_nodes_that_the_machine_lacks_are_refused_by_name() {
    let case = case!();
    need_two!("cpu");
    for (property, list) in [("cpus", "4000"), ("mems", "1000"), ("cpus", "a"), ("mems", "1-0")] {
        let b = case.script("true", |config| {
            config["linux"]["resources"] = json!({ "cpu": { property: list } });
        });
        let names = [format!("linux.resources.cpu.{property}"), format!("cpuset.{property}")];
        case.create(&b).fails(&[&names[0], &names[1], list]);
        assert!(!is_there(&b.cgroup), "{property} {list}");
    }
}

#[test]
fn a_cpuset_that_is_changed_meanwhile_moves_the_program() {
    let case = case!();
    need_two!("cpu");
    need_two!("node");
    let b = case.script("sleep 100", |config: &mut Value| {
        config["linux"]["resources"] = json!({ "cpu": { "cpus": "0", "mems": "0" } });
    });
    case.started(&b);
    let pid = case.pid(&b.id);
    assert_eq!([allowed(pid, "Cpus"), allowed(pid, "Mems")], ["0", "0"]);
    for file in ["cpuset.cpus", "cpuset.mems"] {
        std::fs::OpenOptions::new()
            .write(true)
            .open(b.cgroup.join(file))
            .and_then(|mut file| std::io::Write::write_all(&mut file, b"1"))
            .unwrap();
    }
    assert_eq!([allowed(pid, "Cpus"), allowed(pid, "Mems")], ["1", "1"]);
    case.delete(&b.id);
}

#[test]
fn a_memory_policy_takes_the_memory_from_the_node_that_it_names() {
    let case = case!();
    need!(has_second("node"), "there is no second node");
    for node in [0, 1] {
        let policy = json!({ "mode": "MPOL_BIND", "nodes": node.to_string() });
        let done = case.sh(OWN_MEMORY, |config| config["linux"]["memoryPolicy"] = policy).ok();
        assert!(done.lines().contains(&format!("bind:{node}")), "{done}");
        all_memory_is_on(node, &done);
    }
}
