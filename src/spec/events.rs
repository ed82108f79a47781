//! The lines of `events`: runc's form, which go-runc, containerd and cAdvisor read. What runc does not say has keys that it
//! has not; numbers that this kernel does not keep are left out.

use std::collections::BTreeMap;

use serde::Serialize;

/// What `max` in a limit's file is: there is none.
pub const NO_LIMIT: u64 = u64::MAX;

/// A line of `events`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Event {
    /// What the container uses now.
    Stats {
        /// The container.
        id: String,
        /// The numbers.
        data: Box<Stats>,
    },
    /// Processes have been killed for want of memory.
    Oom {
        /// The container.
        id: String,
        /// So many, in all of its life.
        kills: u64,
    },
}

/// What a container uses: each controller's part. What has no controller is empty.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Stats {
    /// Time of processors.
    pub cpu: Cpu,
    /// Which processors and nodes of memory it may use.
    pub cpuset: Cpuset,
    /// Memory and swap, in bytes.
    pub memory: Memory,
    /// Processes and threads.
    pub pids: Pids,
    /// Block devices.
    pub blkio: Blkio,
    /// Huge pages by their size, such as `2MB`.
    pub hugetlb: BTreeMap<String, Hugetlb>,
    /// By device and resource, such as `hca_handle`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub rdma: BTreeMap<String, BTreeMap<String, Counted>>,
    /// Its class of service, if it has one.
    pub intel_rdt: Rdt,
    /// Always null, as runc has it for all interfaces that it has not made itself: a container's are its engine's.
    pub network_interfaces: (),
}

/// cgroup-v2.rst, "CPU Interface Files".
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Cpu {
    /// Times, in nanoseconds.
    pub usage: CpuUsage,
    /// What the quota has cost.
    pub throttling: Throttling,
    /// How long tasks have waited for a processor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub psi: Option<Psi>,
}

/// Nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CpuUsage {
    /// All.
    pub total: u64,
    /// In the kernel.
    pub kernel: u64,
    /// In programs.
    pub user: u64,
}

/// What the quota has cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Throttling {
    /// How many periods there were.
    pub periods: u64,
    /// In so many of them it has been throttled.
    pub throttled_periods: u64,
    /// Nanoseconds.
    pub throttled_time: u64,
    /// In so many it has had more than its quota.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bursts: Option<u64>,
    /// Nanoseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub burst_time: Option<u64>,
}

/// cgroup-v2.rst, "Cpuset Interface Files": what is in effect.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Cpuset {
    /// Processors.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cpus: Vec<u16>,
    /// Nodes of memory.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mems: Vec<u16>,
}

/// cgroup-v2.rst, "Memory Interface Files".
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Memory {
    /// Of files.
    pub cache: u64,
    /// Memory.
    pub usage: MemoryEntry,
    /// Memory and swap together, as cgroup v1 had it.
    pub swap: MemoryEntry,
    /// What cgroup v2 does not count apart; `raw` has it.
    pub kernel: MemoryEntry,
    /// Likewise.
    #[serde(rename = "kernelTCP")]
    pub kernel_tcp: MemoryEntry,
    /// Swap alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swap_only: Option<MemoryEntry>,
    /// memory.stat
    pub raw: BTreeMap<String, u64>,
    /// memory.events: how many times something has happened.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub events: BTreeMap<String, u64>,
    /// How long tasks have waited for memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub psi: Option<Psi>,
}

/// Bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct MemoryEntry {
    /// [`NO_LIMIT`] if there is none.
    pub limit: u64,
    /// Now.
    pub usage: u64,
    /// The most that it has been.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<u64>,
    /// So many times the limit was reached.
    pub failcnt: u64,
}

/// cgroup-v2.rst, "PID Interface Files".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Pids {
    /// Now.
    pub current: u64,
    /// 0 if there is none.
    pub limit: u64,
    /// The most that there have been.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peak: Option<u64>,
    /// So many times the limit was reached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failcnt: Option<u64>,
}

/// cgroup-v2.rst, "IO Interface Files": of each device what was read, written and discarded.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Blkio {
    /// Bytes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_service_bytes_recursive: Vec<BlkioEntry>,
    /// Operations.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_serviced_recursive: Vec<BlkioEntry>,
    /// How long tasks have waited for devices.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub psi: Option<Psi>,
}

/// A number of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct BlkioEntry {
    /// The device's.
    pub major: u64,
    /// The device's.
    pub minor: u64,
    /// What was done.
    pub op: &'static str,
    /// How much, or how often.
    pub value: u64,
}

/// cgroup-v2.rst, "HugeTLB Interface Files". Bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Hugetlb {
    /// Now.
    pub usage: u64,
    /// So many times the limit was reached.
    pub failcnt: u64,
    /// [`NO_LIMIT`] if there is none.
    pub limit: u64,
    /// Reserved, whether used or not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reserved: Option<Counted>,
}

/// What is limited by number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counted {
    /// Now.
    pub usage: u64,
    /// [`NO_LIMIT`] if there is none.
    pub limit: u64,
}

/// resctrl.rst: the class that the container is in, whoever else is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Rdt {
    /// The line of `schemata` for L3.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub l3_cache_schema: Option<String>,
    /// The line of `schemata` for MB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mem_bw_schema: Option<String>,
    /// All lines of `schemata`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub schemata: Vec<String>,
    /// What is monitored: by domain, such as `mon_L3_00`, and file, such as `llc_occupancy`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub monitoring: BTreeMap<String, BTreeMap<String, u64>>,
}

/// psi.rst: how long tasks have stood still for want of something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Psi {
    /// At least one.
    pub some: Pressure,
    /// All of them at the same time.
    pub full: Pressure,
}

/// Averages in percent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Pressure {
    /// Of the last 10 s.
    pub avg10: f64,
    /// Of the last minute.
    pub avg60: f64,
    /// Of the last 5 minutes.
    pub avg300: f64,
    /// Microseconds.
    pub total: u64,
}

#[cfg(test)]
mod tests {
    use super::{Event, Stats};
    use serde_json::json;

    #[test]
    fn a_line_is_told_apart_by_its_type() {
        let line = |event: &Event| serde_json::to_value(event).unwrap();
        let oom = line(&Event::Oom { id: "c".to_owned(), kills: 2 });
        assert_eq!(oom, json!({ "type": "oom", "id": "c", "kills": 2 }));
        let stats = line(&Event::Stats { id: "c".to_owned(), data: Box::default() });
        assert_eq!((&stats["type"], &stats["id"]), (&json!("stats"), &json!("c")));
        assert_eq!(stats["data"], serde_json::to_value(Stats::default()).unwrap());
    }

    #[test]
    fn the_sections_of_runc_are_there_even_if_nothing_is_known() {
        let data = serde_json::to_value(Stats::default()).unwrap();
        let sections: Vec<&str> = data.as_object().unwrap().keys().map(String::as_str).collect();
        let runcs =
            ["blkio", "cpu", "cpuset", "hugetlb", "intel_rdt", "memory", "network_interfaces", "pids"];
        assert_eq!(sections, runcs);
        let none = json!({ "limit": 0, "usage": 0, "failcnt": 0 });
        assert_eq!(data["memory"]["kernelTCP"], none);
        assert_eq!((&data["blkio"], &data["network_interfaces"]), (&json!({}), &json!(null)));
    }
}
