//! Every property of `linux.resources`: what is configured, what `update` makes of it, and what the kernel's files say
//! then. One table for three readers: `tests/containers/limits` holds ours to it, `conformance/run --resources` runs
//! it on the peers too and writes `conformance/resources.md`, and `tests/specification.rs` looks whether the schema has
//! a property that is not here.
//!
//! In the JSON `DEVICE` stands for `"major": N, "minor": N` of a block device that is there for this, in the kernel's
//! values `N:N` for the same.

/// A property with one of the files that it is written to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Resource {
    /// Its path below `linux.resources`, as in the schema.
    pub(crate) property: &'static str,
    /// `linux.resources` of the container.
    pub(crate) create: &'static str,
    /// What `update --resources` is given; empty where there is nothing to change.
    pub(crate) update: &'static str,
    /// What has to come of it.
    pub(crate) wanted: Wanted,
    /// The test that sees the effect, below `tests/containers`; none where there is only what the file says.
    pub(crate) test: &'static str,
    /// Why a runtime has something else: `crun`, or `crun systemd` under that driver only.
    pub(crate) differs: &'static [(&'static str, &'static str)],
}

/// What has to come of a property.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Wanted {
    /// A file of the cgroup, and what it has after `create` and after `update`.
    File(&'static str, [&'static str; 2]),
    /// Whether a device can be opened, after `create` and after `update`.
    Device(&'static str, [&'static str; 2]),
    /// Nothing, as cgroup v2 always does that.
    Nothing,
    /// An error that has this word.
    Refused(&'static str),
}

impl Resource {
    /// The file that it is written to, as the table has it.
    pub(crate) fn file(&self) -> &'static str {
        match self.wanted {
            Wanted::File(file, _) => file,
            Wanted::Device(..) => "BPF_CGROUP_DEVICE",
            Wanted::Nothing | Wanted::Refused(_) => "none",
        }
    }

    /// The controller that has the file.
    pub(crate) fn controller(&self) -> Option<&'static str> {
        match self.wanted {
            Wanted::File(file, _) => file.split('.').next().filter(|name| *name != "cgroup"),
            _ => None,
        }
    }

    /// Whether a block device is needed.
    pub(crate) fn is_of_a_device(&self) -> bool {
        self.create.contains("DEVICE")
    }

    /// Its JSON for a device.
    pub(crate) fn of(json: &str, (major, minor): (u64, u64)) -> String {
        json.replace("DEVICE", &format!("\"major\":{major},\"minor\":{minor}"))
    }

    const fn shown_by(mut self, test: &'static str) -> Self {
        self.test = test;
        self
    }

    const fn differs(mut self, differs: &'static [(&'static str, &'static str)]) -> Self {
        self.differs = differs;
        self
    }
}

const fn new(property: &'static str, create: &'static str, update: &'static str, wanted: Wanted) -> Resource {
    Resource { property, create, update, wanted, test: "", differs: &[] }
}

/// A property that is written to a file, and then to the same with another value.
const fn file(
    property: &'static str,
    [create, update]: [&'static str; 2],
    file: &'static str,
    values: [&'static str; 2],
) -> Resource {
    new(property, create, update, Wanted::File(file, values))
}

/// A property that cgroup v2 has nothing for.
const fn refused(property: &'static str, create: &'static str, word: &'static str) -> Resource {
    new(property, create, "", Wanted::Refused(word))
}

/// config-linux.md, "Unified": what can't be converted MUST be an error.
const LEFT_OUT: &[(&str, &str)] = &[("runc", "leaves out what cgroup v2 can't do, and says nothing")];

const HUGE_PAGES_STAY: &str = "its update leaves out huge pages, and says nothing";

/// All of them.
pub(crate) const RESOURCES: &[Resource] = &[
    file(
        "memory.limit",
        [r#"{"memory":{"limit":67108864}}"#, r#"{"memory":{"limit":100663296}}"#],
        "memory.max",
        ["67108864", "100663296"],
    )
    .shown_by("limits::memory::a_program_that_takes_more_than_the_limit_is_killed"),
    file(
        "memory.reservation",
        [r#"{"memory":{"reservation":33554432}}"#, r#"{"memory":{"reservation":50331648}}"#],
        "memory.low",
        ["33554432", "50331648"],
    ),
    file(
        "memory.swap",
        [r#"{"memory":{"limit":67108864,"swap":100663296}}"#, r#"{"memory":{"limit":67108864,"swap":134217728}}"#],
        "memory.swap.max",
        ["33554432", "67108864"],
    )
    .shown_by("limits::memory::what_does_not_fit_goes_to_swap_as_far_as_swap_allows"),
    file(
        "memory.checkBeforeUpdate",
        [
            r#"{"memory":{"limit":67108864,"checkBeforeUpdate":true}}"#,
            r#"{"memory":{"limit":100663296,"checkBeforeUpdate":true}}"#,
        ],
        "memory.max",
        ["67108864", "100663296"],
    )
    .shown_by("limits::memory::a_limit_below_what_is_in_use_is_refused_where_that_is_to_be_checked"),
    new("memory.useHierarchy", r#"{"memory":{"useHierarchy":true}}"#, "", Wanted::Nothing)
        .differs(&[("crun", "refuses it, though every cgroup of v2 is accounted for with what is below it")]),
    refused("memory.kernel", r#"{"memory":{"kernel":67108864}}"#, "memory.kernel").differs(LEFT_OUT),
    refused("memory.kernelTCP", r#"{"memory":{"kernelTCP":67108864}}"#, "memory.kernelTCP").differs(LEFT_OUT),
    refused("memory.swappiness", r#"{"memory":{"swappiness":10}}"#, "memory.swappiness").differs(LEFT_OUT),
    refused("memory.disableOOMKiller", r#"{"memory":{"disableOOMKiller":true}}"#, "memory.disableOOMKiller").differs(LEFT_OUT),
    file(
        "cpu.shares",
        [r#"{"cpu":{"shares":2048}}"#, r#"{"cpu":{"shares":512}}"#],
        "cpu.weight",
        ["174", "59"],
    )
    .shown_by("limits::cpu::who_has_more_shares_gets_more_time"),
    file(
        "cpu.quota",
        [r#"{"cpu":{"quota":50000}}"#, r#"{"cpu":{"quota":20000}}"#],
        "cpu.max",
        ["50000 100000", "20000 100000"],
    )
    .shown_by("limits::cpu::a_quota_is_kept_and_time_beyond_it_is_counted_as_throttled"),
    file(
        "cpu.period",
        [r#"{"cpu":{"quota":20000,"period":40000}}"#, r#"{"cpu":{"quota":20000,"period":50000}}"#],
        "cpu.max",
        ["20000 40000", "20000 50000"],
    ),
    file(
        "cpu.burst",
        [r#"{"cpu":{"quota":50000,"burst":20000}}"#, r#"{"cpu":{"burst":10000}}"#],
        "cpu.max.burst",
        ["20000", "10000"],
    ),
    file("cpu.idle", [r#"{"cpu":{"idle":1}}"#, r#"{"cpu":{"idle":0}}"#], "cpu.idle", ["1", "0"])
        .shown_by("limits::cpu::who_is_idle_gets_what_others_leave"),
    file(
        "cpu.cpus",
        [r#"{"cpu":{"cpus":"0"}}"#, r#"{"cpu":{"cpus":"0-1"}}"#],
        "cpuset.cpus",
        ["0", "0-1"],
    )
    .shown_by("limits::cpu::a_program_runs_on_the_processors_of_its_set"),
    file("cpu.mems", [r#"{"cpu":{"mems":"0"}}"#, r#"{"cpu":{"mems":"0"}}"#], "cpuset.mems", ["0", "0"]),
    refused("cpu.realtimeRuntime", r#"{"cpu":{"realtimeRuntime":950000}}"#, "cpu.realtimeRuntime").differs(LEFT_OUT),
    refused("cpu.realtimePeriod", r#"{"cpu":{"realtimePeriod":1000000}}"#, "cpu.realtime").differs(LEFT_OUT),
    file(
        "pids.limit",
        [r#"{"pids":{"limit":100}}"#, r#"{"pids":{"limit":200}}"#],
        "pids.max",
        ["100", "200"],
    )
    .shown_by("limits::pids::a_fork_beyond_the_limit_is_refused"),
    file(
        "blockIO.weight",
        [r#"{"blockIO":{"weight":500}}"#, r#"{"blockIO":{"weight":200}}"#],
        "io.bfq.weight",
        ["default 500", "default 200"],
    ),
    file(
        "blockIO.weight",
        [r#"{"blockIO":{"weight":500}}"#, r#"{"blockIO":{"weight":200}}"#],
        "io.weight",
        // It counts to 10000: 1 + (weight - 10) * 9999 / 990.
        ["default 4950", "default 1920"],
    ),
    file(
        "blockIO.weightDevice",
        [
            r#"{"blockIO":{"weightDevice":[{DEVICE,"weight":500}]}}"#,
            r#"{"blockIO":{"weightDevice":[{DEVICE,"weight":200}]}}"#,
        ],
        "io.bfq.weight",
        ["default 100; N:N 500", "default 100; N:N 200"],
    ),
    refused("blockIO.leafWeight", r#"{"blockIO":{"leafWeight":500}}"#, "blockIO.leafWeight").differs(LEFT_OUT),
    file(
        "blockIO.throttleReadBpsDevice",
        [
            r#"{"blockIO":{"throttleReadBpsDevice":[{DEVICE,"rate":1048576}]}}"#,
            r#"{"blockIO":{"throttleReadBpsDevice":[{DEVICE,"rate":2097152}]}}"#,
        ],
        "io.max",
        ["N:N rbps=1048576 wbps=max riops=max wiops=max", "N:N rbps=2097152 wbps=max riops=max wiops=max"],
    )
    .shown_by("limits::io::what_is_read_and_written_is_slowed_to_its_rate"),
    file(
        "blockIO.throttleWriteBpsDevice",
        [
            r#"{"blockIO":{"throttleWriteBpsDevice":[{DEVICE,"rate":1048576}]}}"#,
            r#"{"blockIO":{"throttleWriteBpsDevice":[{DEVICE,"rate":2097152}]}}"#,
        ],
        "io.max",
        ["N:N rbps=max wbps=1048576 riops=max wiops=max", "N:N rbps=max wbps=2097152 riops=max wiops=max"],
    )
    .shown_by("limits::io::what_is_read_and_written_is_slowed_to_its_rate"),
    file(
        "blockIO.throttleReadIOPSDevice",
        [
            r#"{"blockIO":{"throttleReadIOPSDevice":[{DEVICE,"rate":100}]}}"#,
            r#"{"blockIO":{"throttleReadIOPSDevice":[{DEVICE,"rate":200}]}}"#,
        ],
        "io.max",
        ["N:N rbps=max wbps=max riops=100 wiops=max", "N:N rbps=max wbps=max riops=200 wiops=max"],
    )
    .shown_by("limits::io::what_is_read_and_written_is_slowed_to_its_rate"),
    file(
        "blockIO.throttleWriteIOPSDevice",
        [
            r#"{"blockIO":{"throttleWriteIOPSDevice":[{DEVICE,"rate":100}]}}"#,
            r#"{"blockIO":{"throttleWriteIOPSDevice":[{DEVICE,"rate":200}]}}"#,
        ],
        "io.max",
        ["N:N rbps=max wbps=max riops=max wiops=100", "N:N rbps=max wbps=max riops=max wiops=200"],
    )
    .shown_by("limits::io::what_is_read_and_written_is_slowed_to_its_rate"),
    file(
        "hugepageLimits",
        [
            r#"{"hugepageLimits":[{"pageSize":"2MB","limit":4194304}]}"#,
            r#"{"hugepageLimits":[{"pageSize":"2MB","limit":8388608}]}"#,
        ],
        "hugetlb.2MB.rsvd.max",
        ["4194304", "8388608"],
    )
    .shown_by("limits::huge_pages::pages_beyond_the_limit_are_refused")
    .differs(&[
        ("crun", "limits use only: whoever reserves first meets its limit by SIGBUS and not at mmap"),
        ("runc", HUGE_PAGES_STAY),
    ]),
    file(
        "hugepageLimits",
        [
            r#"{"hugepageLimits":[{"pageSize":"2MB","limit":4194304}]}"#,
            r#"{"hugepageLimits":[{"pageSize":"2MB","limit":8388608}]}"#,
        ],
        "hugetlb.2MB.max",
        ["4194304", "8388608"],
    )
    .shown_by("limits::huge_pages::pages_beyond_the_limit_are_refused")
    .differs(&[("runc", HUGE_PAGES_STAY)]),
    file(
        "rdma",
        [
            r#"{"rdma":{"rxe0":{"hcaHandles":3,"hcaObjects":1000}}}"#,
            r#"{"rdma":{"rxe0":{"hcaHandles":4,"hcaObjects":2000}}}"#,
        ],
        "rdma.max",
        ["rxe0 hca_handle=3 hca_object=1000", "rxe0 hca_handle=4 hca_object=2000"],
    )
    .differs(&[
        ("crun", "does not switch the controller on, and says nothing of the limit that is not there"),
        ("runc", "its update does not know rdma"),
    ]),
    refused("network.classID", r#"{"network":{"classID":1048577}}"#, "network").differs(LEFT_OUT),
    refused("network.priorities", r#"{"network":{"priorities":[{"name":"lo","priority":5}]}}"#, "network").differs(LEFT_OUT),
    new(
        "devices",
        r#"{"devices":[{"allow":false,"access":"rwm"}]}"#,
        r#"{"devices":[{"allow":false,"access":"rwm"},{"allow":true,"type":"c","major":1,"minor":11,"access":"w"}]}"#,
        Wanted::Device("/dev/kmsg", ["EPERM", "opens"]),
    )
    .shown_by("limits::devices::a_device_is_refused_and_after_an_update_it_is_not")
    .differs(&[
        ("runc", "its update leaves out devices, and says nothing"),
        ("crun systemd", "its update has no rules of devices where systemd has loaded them"),
    ]),
    file(
        "unified",
        [r#"{"unified":{"memory.high":"33554432"}}"#, r#"{"unified":{"memory.high":"50331648"}}"#],
        "memory.high",
        ["33554432", "50331648"],
    )
    .shown_by("limits::memory::above_memory_high_a_program_is_slowed_and_not_killed"),
    file(
        "unified",
        [r#"{"unified":{"cgroup.max.depth":"3"}}"#, r#"{"unified":{"cgroup.max.depth":"4"}}"#],
        "cgroup.max.depth",
        ["3", "4"],
    ),
    file(
        "unified",
        [r#"{"unified":{"pids.max":"55"}}"#, r#"{"unified":{"pids.max":"66"}}"#],
        "pids.max",
        ["55", "66"],
    )
    .shown_by("limits::unified::controllers_are_enabled_as_the_keys_need_them"),
];
