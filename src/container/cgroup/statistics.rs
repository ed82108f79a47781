//! What the processes of a cgroup use: cgroup-v2.rst. A number is in the file of a controller; where that is not enabled
//! none of its files is looked for.

use std::collections::{BTreeMap, BTreeSet};

use super::{Cgroup, forms};
use crate::error::{Result, errno_of};
use crate::spec::events::{
    Blkio, Counted, Cpu, CpuUsage, Cpuset, Hugetlb, Memory, MemoryEntry, NO_LIMIT, Pids, Psi, Stats,
    Throttling,
};
use crate::sys::fs::OFlag;
use crate::sys::{Call, Errno};

impl Cgroup {
    /// What they use now, by each controller that this cgroup has.
    pub fn statistics(&self) -> Result<Stats> {
        let controllers = self.text("cgroup.controllers")?;
        let has = |name: &str| controllers.split_whitespace().any(|other| other == name);
        Ok(Stats {
            cpu: self.cpu()?,
            cpuset: if has("cpuset") { self.cpuset()? } else { Cpuset::default() },
            memory: if has("memory") { self.memory()? } else { Memory::default() },
            pids: if has("pids") { self.pids()? } else { Pids::default() },
            blkio: if has("io") { self.io()? } else { Blkio { psi: self.psi("io")?, ..Blkio::default() } },
            hugetlb: if has("hugetlb") { self.huge_pages()? } else { BTreeMap::new() },
            rdma: if has("rdma") { self.rdma()? } else { BTreeMap::new() },
            ..Stats::default()
        })
    }

    /// Times are there without the controller, too.
    fn cpu(&self) -> Result<Cpu> {
        const NANOSECONDS: u64 = 1000;
        let stat = self.keyed("cpu.stat")?;
        let number = |key: &str| stat.get(key).copied();
        let time = |key: &str| number(key).map(|usec| usec.saturating_mul(NANOSECONDS));
        Ok(Cpu {
            usage: CpuUsage {
                total: time("usage_usec").unwrap_or(0),
                kernel: time("system_usec").unwrap_or(0),
                user: time("user_usec").unwrap_or(0),
            },
            throttling: Throttling {
                periods: number("nr_periods").unwrap_or(0),
                throttled_periods: number("nr_throttled").unwrap_or(0),
                throttled_time: time("throttled_usec").unwrap_or(0),
                bursts: number("nr_bursts"),
                burst_time: time("burst_usec"),
            },
            psi: self.psi("cpu")?,
        })
    }

    fn cpuset(&self) -> Result<Cpuset> {
        let list = |file: &str| Ok::<_, anyhow::Error>(forms::list(&self.text(file)?));
        Ok(Cpuset { cpus: list("cpuset.cpus.effective")?, mems: list("cpuset.mems.effective")? })
    }

    fn memory(&self) -> Result<Memory> {
        let (raw, events) = (self.keyed("memory.stat")?, self.memory_events()?);
        let count = |key: &str| events.get(key).copied().unwrap_or(0);
        let usage = MemoryEntry {
            limit: self.number("memory.max")?.unwrap_or(NO_LIMIT),
            usage: self.number("memory.current")?.unwrap_or(0),
            max: self.number("memory.peak")?,
            failcnt: count("max"),
        };
        let swap_only = self.swap()?;
        let swapped = swap_only.unwrap_or_default();
        let swap = MemoryEntry {
            limit: usage.limit.saturating_add(swapped.limit),
            usage: usage.usage.saturating_add(swapped.usage),
            max: None,
            failcnt: swapped.failcnt,
        };
        Ok(Memory {
            cache: raw.get("file").copied().unwrap_or(0),
            usage,
            swap,
            swap_only,
            psi: self.psi("memory")?,
            raw,
            events,
            ..Memory::default()
        })
    }

    /// `None` in a kernel without swap.
    fn swap(&self) -> Result<Option<MemoryEntry>> {
        let Some(usage) = self.number("memory.swap.current")? else { return Ok(None) };
        Ok(Some(MemoryEntry {
            limit: self.number("memory.swap.max")?.unwrap_or(NO_LIMIT),
            usage,
            max: self.number("memory.swap.peak")?,
            failcnt: self.keyed("memory.swap.events")?.get("max").copied().unwrap_or(0),
        }))
    }

    fn pids(&self) -> Result<Pids> {
        Ok(Pids {
            current: self.number("pids.current")?.unwrap_or(0),
            limit: self.number("pids.max")?.filter(|limit| *limit != NO_LIMIT).unwrap_or(0),
            peak: self.number("pids.peak")?,
            failcnt: self.keyed("pids.events")?.get("max").copied(),
        })
    }

    fn io(&self) -> Result<Blkio> {
        let (bytes, operations) = forms::io(&self.text("io.stat")?);
        Ok(Blkio {
            io_service_bytes_recursive: bytes,
            io_serviced_recursive: operations,
            psi: self.psi("io")?,
        })
    }

    fn huge_pages(&self) -> Result<BTreeMap<String, Hugetlb>> {
        let mut all = BTreeMap::new();
        for size in self.page_sizes()? {
            let number = |file: &str| self.number(&format!("hugetlb.{size}.{file}"));
            let reserved = match number("rsvd.current")? {
                Some(usage) => Some(Counted { usage, limit: number("rsvd.max")?.unwrap_or(NO_LIMIT) }),
                None => None,
            };
            let pages = Hugetlb {
                usage: number("current")?.unwrap_or(0),
                failcnt: self.keyed(&format!("hugetlb.{size}.events"))?.get("max").copied().unwrap_or(0),
                limit: number("max")?.unwrap_or(NO_LIMIT),
                reserved,
            };
            all.insert(size, pages);
        }
        Ok(all)
    }

    /// Those that there are files of: `hugetlb.2MB.current`.
    fn page_sizes(&self) -> Result<BTreeSet<String>> {
        let listing = self.file(".", OFlag::O_RDONLY | OFlag::O_DIRECTORY).call(|| "openat2(\".\")")?;
        let mut listing = nix::dir::Dir::from_fd(listing).call(|| "fdopendir()")?;
        let size = |name: &str| {
            let size = name.strip_prefix("hugetlb.")?.strip_suffix(".current")?;
            (!size.contains('.')).then(|| size.to_owned())
        };
        Ok(listing.iter().filter_map(|entry| size(entry.ok()?.file_name().to_str().ok()?)).collect())
    }

    fn rdma(&self) -> Result<BTreeMap<String, BTreeMap<String, Counted>>> {
        let (current, max) = (self.text("rdma.current")?, self.text("rdma.max")?);
        let mut limits = forms::nested(&max);
        let devices = forms::nested(&current).into_iter().map(|(device, used)| {
            let limits = limits.remove(&device).unwrap_or_default();
            let limit = |resource: &String| limits.get(resource).copied().unwrap_or(NO_LIMIT);
            let counted = used.into_iter().map(|(resource, usage)| {
                let limit = limit(&resource);
                (resource, Counted { usage, limit })
            });
            (device, counted.collect())
        });
        Ok(devices.collect())
    }

    fn psi(&self, of: &str) -> Result<Option<Psi>> {
        Ok(forms::psi(&self.text(&format!("{of}.pressure"))?))
    }

    pub(super) fn number(&self, file: &str) -> Result<Option<u64>> {
        Ok(forms::number(&self.text(file)?))
    }

    pub(super) fn keyed(&self, file: &str) -> Result<BTreeMap<String, u64>> {
        Ok(forms::keyed(&self.text(file)?))
    }

    /// Nothing where there is no such file: an older kernel's, a controller that is not enabled, pressure that is not
    /// measured (EOPNOTSUPP), a cgroup that has vanished.
    fn text(&self, file: &str) -> Result<String> {
        match self.read(file) {
            Err(error)
                if matches!(errno_of(&error), Some(Errno::ENOENT | Errno::ENODEV | Errno::EOPNOTSUPP)) =>
            {
                Ok(String::new())
            }
            read => read,
        }
    }
}
