//! Which write comes first.

use super::{Now, Write};

/// Files with a line for each device, of which a write sets one.
pub const BY_KEY: [&str; 9] = [
    "io.max",
    "io.weight",
    "io.bfq.weight",
    "io.latency",
    "io.cost.qos",
    "io.cost.model",
    "rdma.max",
    "misc.max",
    "dmem.max",
];

/// What `unified` says of a file goes before what a property says: it is by the file's own name, and crun and
/// runc have it so, too. By alphabet, but where the kernel would refuse that or a container would suffer from it.
pub(super) fn order(mut properties: Vec<Write>, mut unified: Vec<Write>, now: &Now) -> Vec<Write> {
    let by_key = |write: &Write| BY_KEY.contains(&write.file.as_str());
    properties.retain(|write| by_key(write) || unified.iter().all(|named| named.file != write.file));
    properties.append(&mut unified);
    properties.sort_by(|a, b| a.file.cmp(&b.file));
    for (first, second, swapped) in [
        ("cpu.max", "cpu.max.burst", burst_first as fn(&str, &str, &Now) -> bool),
        ("cpu.idle", "cpu.weight", weight_first),
        ("memory.max", "memory.swap.max", swap_first),
    ] {
        let at = |file| properties.iter().position(|write| write.file == file);
        if let (Some(one), Some(other)) = (at(first), at(second)) {
            if swapped(&properties[one].value, &properties[other].value, now) {
                properties.swap(one, other);
            }
        }
    }
    properties
}

/// The kernel refuses a burst above the quota at any time.
fn burst_first(max: &str, _: &str, now: &Now) -> bool {
    let quota = max.split_whitespace().next().and_then(|quota| quota.parse().ok());
    quota.is_some_and(|quota: u64| now.burst() > quota)
}

/// The kernel takes no weight for what is idle, and forgets the one that it had.
fn weight_first(idle: &str, _: &str, now: &Now) -> bool {
    idle == "1" && !now.is_idle()
}

/// What loses memory and gets swap needs the swap first: else it is killed.
fn swap_first(memory: &str, swap: &str, now: &Now) -> bool {
    let most = |text: &str| text.parse().unwrap_or(u64::MAX);
    let less_memory = most(memory) < now.memory_max().unwrap_or(u64::MAX);
    less_memory && most(swap) > now.swap_max().unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{changes, writes};

    fn files(json: &str, now: &str) -> Vec<String> {
        changes(json, now).unwrap().into_iter().map(|(file, _)| file).collect()
    }

    #[test]
    fn a_file_that_is_named_is_written_once_and_as_it_is_named() {
        let both = r#"{"unified":{"pids.max":"5"},"pids":{"limit":7}}"#;
        assert_eq!(writes(both).unwrap(), [("pids.max".into(), "5".into())]);
    }

    #[test]
    fn a_file_that_has_lines_for_devices_gets_those_of_both() {
        let rate = r#""throttleReadBpsDevice":[{"major":7,"minor":0,"rate":9}]"#;
        let both = format!(r#"{{"unified":{{"io.max":"7:1 rbps=8\n7:2 wbps=7"}},"blockIO":{{{rate}}}}}"#);
        let values: Vec<String> = writes(&both).unwrap().into_iter().map(|(_, value)| value).collect();
        assert_eq!(values, ["7:0 rbps=9", "7:1 rbps=8", "7:2 wbps=7"]);
    }

    #[test]
    fn what_gives_comes_before_what_takes() {
        let memory = r#"{"memory":{"limit":8192,"swap":20480}}"#;
        let (limit, swap) = ("memory.max".to_owned(), "memory.swap.max".to_owned());
        let more_swap = files(memory, "memory.max=16384,memory.swap.max=0");
        assert_eq!(more_swap, [swap.clone(), limit.clone()]);
        let more_memory = files(memory, "memory.max=4096,memory.swap.max=16384");
        assert_eq!(more_memory, [limit.clone(), swap.clone()]);
        assert_eq!(files(memory, "memory.max=max,memory.swap.max=max"), [limit, swap]);
    }
}
