//! The flags of `update`, and what they mean.

use std::io::Read;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::error::{Doing, Result, invalid};
use crate::plan::intel_rdt;
use crate::spec;
use crate::spec::oci::{LinuxBlockIo, LinuxCpu, LinuxMemory, LinuxPids, LinuxResources};
use crate::sys::fs::{self, OFlag};
use crate::verbs::update::Asked;

/// Runc's. 0 leaves what it is about as it is, but for --cpu-burst and --cpu-idle; a `pids.limit` of 0 is one in JSON.
#[derive(Debug, Args)]
pub(super) struct UpdateArgs {
    /// The container's id
    id: String,
    /// Read the limits from this file, as JSON like linux.resources of config.json; - is standard input
    #[arg(short, long, value_name = "FILE", conflicts_with = "limits")]
    resources: Option<PathBuf>,
    #[command(flatten)]
    limits: Limits,
}

/// One for each property.
#[derive(Debug, Args)]
#[group(id = "limits", multiple = true)]
struct Limits {
    /// Share of the disks' time, from 10 to 1000
    #[arg(long, value_name = "N")]
    blkio_weight: Option<u16>,
    /// Length of a period of processor time, in µs
    #[arg(long, value_name = "N")]
    cpu_period: Option<u64>,
    /// Processor time in each period at most, in µs; -1 is no limit
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    cpu_quota: Option<i64>,
    /// Unused time that is kept for later periods at most, in µs
    #[arg(long, value_name = "N")]
    cpu_burst: Option<u64>,
    /// Share of the processors' time, from 2 to 262144; the kernel's default is 1024
    #[arg(long, value_name = "N")]
    cpu_share: Option<u64>,
    /// Refused: of cgroup v1 only
    #[arg(long, value_name = "N")]
    cpu_rt_period: Option<u64>,
    /// Refused: of cgroup v1 only
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    cpu_rt_runtime: Option<i64>,
    /// 1: run only when nobody else wants the processors
    #[arg(long, value_name = "0|1")]
    cpu_idle: Option<i64>,
    /// Processors to run on, such as 0-3,7
    #[arg(long, value_name = "LIST")]
    cpuset_cpus: Option<String>,
    /// Memory nodes to allocate from, such as 0
    #[arg(long, value_name = "LIST")]
    cpuset_mems: Option<String>,
    /// Refused: of cgroup v1 only
    #[arg(long, value_name = "BYTES", value_parser = bytes, allow_hyphen_values = true)]
    kernel_memory: Option<i64>,
    /// Refused: of cgroup v1 only
    #[arg(long, value_name = "BYTES", value_parser = bytes, allow_hyphen_values = true)]
    kernel_memory_tcp: Option<i64>,
    /// Memory at most; -1 is no limit. A number may end in k, m, g, t or p, powers of 1024
    #[arg(long, value_name = "BYTES", value_parser = bytes, allow_hyphen_values = true)]
    memory: Option<i64>,
    /// Memory that is reclaimed only when there is no other
    #[arg(long, value_name = "BYTES", value_parser = bytes, allow_hyphen_values = true)]
    memory_reservation: Option<i64>,
    /// Memory and swap together at most; -1 is no limit
    #[arg(long, value_name = "BYTES", value_parser = bytes, allow_hyphen_values = true)]
    memory_swap: Option<i64>,
    /// Processes and threads at most; -1 is no limit
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pids_limit: Option<i64>,
    /// Cache of its class of service (Intel RDT), such as L3:0=f
    #[arg(long, value_name = "SCHEMA")]
    l3_cache_schema: Option<String>,
    /// Memory bandwidth of its class of service (Intel RDT), such as MB:0=50
    #[arg(long, value_name = "SCHEMA")]
    mem_bw_schema: Option<String>,
}

impl UpdateArgs {
    /// The container.
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// What is asked for.
    pub(super) fn asked(&self) -> Result<Asked> {
        match &self.resources {
            Some(path) => {
                let what = || format!("--resources {path:?}");
                let resources = read(path).and_then(|content| spec::parse_resources(&content)).doing(what)?;
                Ok(Asked { resources, schemata: Vec::new() })
            }
            None => self.limits.asked(),
        }
    }
}

impl Limits {
    fn asked(&self) -> Result<Asked> {
        let mut cpu = LinuxCpu::default();
        cpu.set_period(self.cpu_period).set_quota(self.cpu_quota).set_burst(self.cpu_burst);
        cpu.set_shares(self.cpu_share).set_idle(self.cpu_idle);
        cpu.set_realtime_period(self.cpu_rt_period).set_realtime_runtime(self.cpu_rt_runtime);
        cpu.set_cpus(self.cpuset_cpus.clone()).set_mems(self.cpuset_mems.clone());
        let mut memory = LinuxMemory::default();
        memory.set_limit(self.memory).set_reservation(self.memory_reservation).set_swap(self.memory_swap);
        memory.set_kernel(self.kernel_memory).set_kernel_tcp(self.kernel_memory_tcp);
        let mut io = LinuxBlockIo::default();
        io.set_weight(self.blkio_weight);
        let mut resources = LinuxResources::default();
        resources.set_devices(None);
        resources.set_cpu(Some(cpu)).set_memory(Some(memory)).set_block_io(Some(io));
        resources.set_pids(self.pids_limit.filter(|limit| *limit != 0).map(|limit| {
            let mut pids = LinuxPids::default();
            pids.set_limit(limit);
            pids
        }));
        let schemata = intel_rdt::limits(self.l3_cache_schema.as_deref(), self.mem_bw_schema.as_deref())?;
        Ok(Asked { resources, schemata })
    }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    /// As for a configuration.
    const MOST: u64 = 16 << 20;
    if path == Path::new("-") {
        let mut content = Vec::new();
        std::io::stdin().lock().take(MOST).read_to_end(&mut content)?;
        return Ok(content);
    }
    fs::read_all(fs::open(path, OFlag::O_RDONLY | OFlag::O_NONBLOCK)?, MOST).map_err(Into::into)
}

/// A number with a unit, as Docker's command line has it: 1.5g, 200M, 64KiB, 1 kb. Negative is no limit.
fn bytes(text: &str) -> Result<i64> {
    let bad = || invalid(format!("{text:?} is not a number of bytes, such as 1048576, 64k, 1.5g or -1"));
    if let Some(whole) = text.strip_prefix('-') {
        return whole.parse().ok().map(|whole: u32| -i64::from(whole)).ok_or_else(bad);
    }
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let unit = unit.strip_prefix(' ').unwrap_or(unit).to_ascii_lowercase();
    let letter = unit.strip_suffix("ib").or_else(|| unit.strip_suffix('b')).unwrap_or(&unit);
    let exponent = match letter {
        "" if !unit.starts_with('i') => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        "p" => 50,
        _ => return Err(bad()),
    };
    let factor = 1u64 << exponent;
    if let Ok(whole) = number.parse::<u64>() {
        let bytes = whole.checked_mul(factor).and_then(|bytes| i64::try_from(bytes).ok());
        return bytes.ok_or_else(bad);
    }
    let number: f64 = number.parse().ok().ok_or_else(bad)?;
    #[expect(clippy::cast_precision_loss, reason = "a power of two")]
    let bytes = number * factor as f64;
    #[expect(
        clippy::cast_possible_truncation,
        reason = "what is too large becomes the largest, which is refused"
    )]
    let bytes = bytes as i64;
    if bytes == i64::MAX { Err(bad()) } else { Ok(bytes) }
}

#[cfg(test)]
mod tests {
    use super::super::deferred::Deferred;
    use super::super::verb::Command;
    use super::super::words;
    use super::{Asked, bytes};

    fn asked(line: &str) -> Result<Asked, String> {
        let line = format!("r update {line}");
        let cli = words::parsed(line.split_whitespace().map(Into::into));
        let Command::Update(Deferred(args)) = cli.map_err(|e| e.to_string())?.command else {
            panic!("{line}")
        };
        assert_eq!(args.id(), "id");
        args.asked().map_err(|e| format!("{e:#}"))
    }

    #[test]
    fn every_flag_sets_its_property() {
        let flags = "--blkio-weight 10 --cpu-period 1 --cpu-quota -1 --cpu-burst 2 --cpu-share 3 --cpu-rt-period 4 \
                     --cpu-rt-runtime=5 --cpuset-cpus 0-1 --cpuset-mems 0 --kernel-memory 6 --kernel-memory-tcp 7 \
                     --memory 1k --memory-reservation 8 --memory-swap -1 --cpu-idle 1 --pids-limit -1 id";
        let resources = asked(flags).unwrap().resources;
        let expected = serde_json::json!({
            "blockIO": { "weight": 10 },
            "cpu": { "period": 1, "quota": -1, "burst": 2, "shares": 3, "realtimePeriod": 4, "realtimeRuntime": 5,
                     "cpus": "0-1", "mems": "0", "idle": 1 },
            "memory": { "kernel": 6, "kernelTCP": 7, "limit": 1024, "reservation": 8, "swap": -1 },
            "pids": { "limit": -1 },
        });
        assert_eq!(serde_json::to_value(&resources).unwrap(), expected);
        let schemata = asked("--mem-bw-schema MB:0=50 --l3-cache-schema L3:0=f id").unwrap().schemata;
        assert_eq!(schemata, ["L3:0=f", "MB:0=50"]);
    }

    #[test]
    fn without_flags_nothing_is_asked_for() {
        let resources = serde_json::to_value(asked("id").unwrap().resources).unwrap();
        assert_eq!(resources, serde_json::json!({ "blockIO": {}, "cpu": {}, "memory": {} }));
    }

    #[test]
    fn a_file_has_them_all() {
        assert!(asked("-r /x --memory 1 id").unwrap_err().contains("cannot be used with"));
        for line in ["-r /no/such id", "--resources=/no/such id", "id -r /no/such"] {
            assert!(asked(line).unwrap_err().starts_with("--resources \"/no/such\": "), "{line}");
        }
    }

    #[test]
    fn bytes_have_units() {
        for (text, number) in [
            ("0", 0),
            ("-1", -1),
            ("1048576", 1 << 20),
            ("64k", 64 << 10),
            ("200M", 200 << 20),
            ("1.5g", 3 << 29),
            ("1KiB", 1 << 10),
            ("1 kb", 1 << 10),
            ("7b", 7),
            ("9223372036854775807", i64::MAX),
        ] {
            assert_eq!(bytes(text).unwrap(), number, "{text}");
        }
        for bad in [
            "",
            "x",
            "1x",
            "1ib",
            "k",
            "-k",
            "1.2.3",
            "9223372036854775808",
            "9999999p",
            "99999999.5p",
            "--1",
        ] {
            assert!(bytes(bad).is_err(), "{bad}");
        }
    }
}
