//! The rounds: every runtime does the same thing in turn, A B C A B C, so that all see the same drift of the
//! machine. Each does it twice in its turn, and the second counts. A variant of a runtime takes turns like another one,
//! except for containers that are there already: these are for one runtime at a time, between two halves without.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::unistd::Pid;

use crate::bundle::{Scratch, Template};
use crate::report::Progress;
use crate::runtime::{Container, Meter, Runtime, Sample, Slot, Variant};
use crate::sys;

/// The payload of every container and of `exec`.
pub(crate) const PAYLOAD: &str = "/bin/true";
/// The payload of the container that `exec` goes into: longer than any run of the bench.
const STAYING: [&str; 2] = ["/bin/sleep", "1000000"];
/// Rounds of the memory, which varies little.
const MEMORY_ROUNDS: usize = 3;

/// What a round consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Operation {
    /// `run` in the foreground
    Run,
    /// `create`, `start`, the payload ends, `delete -f`
    Lifecycle,
    /// `exec` in a running container
    Exec,
}

/// A line of the report: an operation or one of its commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Row {
    Run,
    /// The sum of the next three.
    Lifecycle,
    Create,
    Start,
    Delete,
    Exec,
}

impl Row {
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Lifecycle => "create + start + delete -f",
            Self::Create => "create",
            Self::Start => "start",
            Self::Delete => "delete -f",
            Self::Exec => "exec",
        }
    }
}

/// All that was measured of one row for one runtime.
#[derive(Debug)]
pub(crate) struct Series {
    pub(crate) row: Row,
    /// Index of the runtime.
    pub(crate) runtime: usize,
    /// Wall clock of every round in milliseconds.
    pub(crate) times_ms: Vec<f64>,
    /// The largest process, in KiB.
    pub(crate) peak_kib: u64,
}

/// How often and on what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan<'a> {
    pub(crate) runtimes: &'a [Runtime],
    pub(crate) template: &'a Template,
    /// For the variant with limits.
    pub(crate) limited: &'a Template,
    pub(crate) scratch: &'a Scratch,
    /// What a round that counts is measured with.
    pub(crate) meter: Meter,
    pub(crate) rounds: usize,
    /// Rounds before the first that counts.
    pub(crate) warmup: usize,
}

impl Plan<'_> {
    fn slots(&self, name: &str, arguments: &[&str]) -> Result<Vec<Slot<'_>>> {
        self.runtimes.iter().map(|runtime| self.slot(runtime, name, arguments)).collect()
    }

    fn slot<'s>(&'s self, runtime: &'s Runtime, name: &str, arguments: &[&str]) -> Result<Slot<'s>> {
        let template = if runtime.variant == Variant::Limited { self.limited } else { self.template };
        Slot::make(runtime, name, self.scratch, (template, arguments))
    }
}

/// The series being filled.
#[derive(Debug, Default)]
struct Record(Vec<Series>);

impl Record {
    fn add(&mut self, row: Row, runtime: usize, sample: Sample) {
        let known = self.0.iter().position(|series| series.row == row && series.runtime == runtime);
        let index = known.unwrap_or_else(|| {
            self.0.push(Series { row, runtime, times_ms: Vec::new(), peak_kib: 0 });
            self.0.len() - 1
        });
        match sample {
            Sample::Time(took) => self.0[index].times_ms.push(milliseconds(took)),
            Sample::Memory(kib) => self.0[index].peak_kib = self.0[index].peak_kib.max(kib),
        }
    }
}

/// Measures the operations one command after the other.
pub(crate) fn one_by_one(plan: &Plan, operations: &[Operation]) -> Result<Vec<Series>> {
    let mut record = Record::default();
    // exec comes last and alone: the containers that it needs should not be there for the others.
    let (exec, others): (Vec<_>, Vec<_>) = operations.iter().partition(|op| **op == Operation::Exec);
    if !others.is_empty() {
        let slots = plan.slots("true", &[PAYLOAD])?;
        let beside = slots.iter().position(|slot| matches!(slot.runtime.variant, Variant::Beside(_)));
        match beside {
            None => rounds(plan, &slots, &others, &mut record)?,
            Some(_) => {
                slots.chunks(2).try_for_each(|pair| beside_others(plan, pair, &others, &mut record))?
            }
        }
    }
    if !exec.is_empty() {
        let slots = plan.slots("stay", &STAYING)?;
        let _staying = slots.iter().map(Slot::stay).collect::<Result<Vec<Container>>>()?;
        rounds(plan, &slots, &exec, &mut record)?;
    }
    Ok(record.0)
}

/// The rounds that warm up come first: a first container may fill a cache, of compiled seccomp filters say.
/// That costs memory as well.
fn rounds(plan: &Plan, slots: &[Slot], operations: &[Operation], record: &mut Record) -> Result<()> {
    for _ in 0..plan.warmup {
        round(slots, operations, Meter::Time, &mut Record::default())?;
    }
    for _ in 0..MEMORY_ROUNDS {
        round(slots, operations, Meter::Memory, record)?;
    }
    let mut progress = Progress::new("round", plan.rounds);
    for _ in 0..plan.rounds {
        progress.step();
        round(slots, operations, plan.meter, record)?;
    }
    Ok(())
}

/// A runtime with none of its containers there, with many, and with none again: what the machine does meanwhile is in
/// both. Only the runtime's own are there.
fn beside_others(plan: &Plan, pair: &[Slot], operations: &[Operation], record: &mut Record) -> Result<()> {
    let [none, many] = pair else { bail!("a runtime has no variant beside it") };
    let Variant::Beside(count) = many.runtime.variant else { bail!("{} is no variant", many.runtime.name) };
    let half = Plan { rounds: plan.rounds.div_ceil(2), ..*plan };
    rounds(&half, std::slice::from_ref(none), operations, record)?;
    let slots = (0..count)
        .map(|number| plan.slot(many.runtime, &format!("alive-{number}"), &STAYING))
        .collect::<Result<Vec<_>>>()?;
    let alive = slots.iter().map(Slot::stay).collect::<Result<Vec<Container>>>()?;
    rounds(plan, std::slice::from_ref(many), operations, record)?;
    drop(alive);
    rounds(&half, std::slice::from_ref(none), operations, record)
}

/// Each sample has one before it that isn't kept, of the same runtime and operation. Without it a sample
/// would tell of its neighbour as well, whose network namespace and cgroup are still being taken down and who
/// has filled the processor's caches: the same crun takes 10 % longer for `run` in the place behind runc.
fn round(slots: &[Slot], operations: &[Operation], meter: Meter, record: &mut Record) -> Result<()> {
    for operation in operations {
        for slot in slots {
            once(*operation, slot, meter, &mut Record::default())?;
            once(*operation, slot, meter, record)?;
        }
    }
    Ok(())
}

fn once(operation: Operation, slot: &Slot, meter: Meter, record: &mut Record) -> Result<()> {
    let runtime = slot.runtime.index;
    match operation {
        Operation::Run => record.add(Row::Run, runtime, slot.run(meter)?),
        Operation::Exec => record.add(Row::Exec, runtime, slot.exec(meter, PAYLOAD)?),
        Operation::Lifecycle => {
            let commands = slot.lifecycle(meter)?;
            record.add(Row::Lifecycle, runtime, total(commands));
            for (row, sample) in [Row::Create, Row::Start, Row::Delete].into_iter().zip(commands) {
                record.add(row, runtime, sample);
            }
        }
    }
    Ok(())
}

/// The sum of times; the largest of memories, as the processes don't live at once.
fn total(commands: [Sample; 3]) -> Sample {
    commands.into_iter().fold(Sample::Time(Duration::ZERO), |sum, sample| match (sum, sample) {
        (Sample::Time(sum), Sample::Time(took)) => Sample::Time(sum + took),
        (Sample::Memory(most), Sample::Memory(kib)) => Sample::Memory(most.max(kib)),
        (_, sample) => sample,
    })
}

/// What was measured with several commands at once, for one runtime.
#[derive(Debug, Default)]
pub(crate) struct Load {
    /// Commands per second of every batch.
    pub(crate) per_second: Vec<f64>,
    /// Wall clock of every command in milliseconds.
    pub(crate) times_ms: Vec<f64>,
}

/// What is done at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deed {
    /// `run`
    Run,
    /// `exec`, each in a container of its own that stays
    Exec,
}

impl Deed {
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Exec => "exec",
        }
    }
}

/// Commands at once, and in one batch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Batch {
    pub(crate) deed: Deed,
    pub(crate) at_once: usize,
    pub(crate) commands: usize,
}

/// Measures several commands at once; a round is a batch of each runtime.
pub(crate) fn at_once(plan: &Plan, batch: Batch) -> Result<Vec<Load>> {
    let names: Vec<String> = (0..batch.at_once).map(|slot| slot.to_string()).collect();
    let payload: &[&str] = if batch.deed == Deed::Run { &[PAYLOAD] } else { &STAYING };
    let by_name = names.iter().map(|name| plan.slots(name, payload)).collect::<Result<Vec<_>>>()?;
    let stay = by_name.iter().flatten().filter(|_| batch.deed == Deed::Exec);
    let _staying = stay.map(Slot::stay).collect::<Result<Vec<Container>>>()?;
    let mut loads: Vec<Load> = plan.runtimes.iter().map(|_| Load::default()).collect();
    let mut progress = Progress::new("batch", plan.rounds);
    for round in 0..plan.warmup + plan.rounds {
        if round >= plan.warmup {
            progress.step();
        }
        for (runtime, load) in loads.iter_mut().enumerate() {
            let slots: Vec<&Slot> = by_name.iter().map(|slots| &slots[runtime]).collect();
            let (took, mut times_ms) = one_batch(&slots, batch)?;
            if round >= plan.warmup {
                load.times_ms.append(&mut times_ms);
                load.per_second.push(count(batch.commands) / took.as_secs_f64());
            }
        }
    }
    Ok(loads)
}

/// Keeps every slot busy until all commands have run. No threads: one process starts them and waits for any.
fn one_batch(slots: &[&Slot], batch: Batch) -> Result<(Duration, Vec<f64>)> {
    let mut running = Running { deed: batch.deed, slots: HashMap::new() };
    let mut times_ms = Vec::with_capacity(batch.commands);
    let before = Instant::now();
    let mut started = 0;
    for slot in slots.iter().take(batch.commands) {
        running.start(slot)?;
        started += 1;
    }
    while times_ms.len() < batch.commands {
        let (slot, took) = running.next_end()?;
        times_ms.push(milliseconds(took));
        if started < batch.commands {
            running.start(slot)?;
            started += 1;
        }
    }
    Ok((before.elapsed(), times_ms))
}

/// The commands in flight, by their process. Dropping it waits for them and deletes the containers of `run`.
#[derive(Debug)]
struct Running<'a> {
    deed: Deed,
    slots: HashMap<Pid, (&'a Slot<'a>, Instant, Option<Container<'a>>)>,
}

impl<'a> Running<'a> {
    fn start(&mut self, slot: &'a Slot<'a>) -> Result<()> {
        let container = (self.deed == Deed::Run).then(|| Container::begin(slot));
        let before = Instant::now();
        let pid = match self.deed {
            Deed::Run => slot.spawn_run()?,
            Deed::Exec => slot.spawn_exec(PAYLOAD)?,
        };
        self.slots.insert(pid, (slot, before, container));
        Ok(())
    }

    /// Waits for whichever ends first. Helpers that a runtime has left to this subreaper are passed over.
    fn next_end(&mut self) -> Result<(&'a Slot<'a>, Duration)> {
        loop {
            sys::go_on()?;
            let ended = match sys::wait4(None) {
                Err(Errno::EINTR) => continue,
                ended => ended.context("wait4(any child)")?,
            };
            let Some((slot, before, container)) = self.slots.remove(&ended.pid) else {
                continue;
            };
            if !ended.status.success() {
                return Err(slot.blame(self.deed.label(), &ended));
            }
            let took = before.elapsed();
            container.into_iter().for_each(Container::deleted_among_others);
            return Ok((slot, took));
        }
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        for (pid, (_, _, container)) in self.slots.drain() {
            match sys::wait_command(pid) {
                Ok(ended) if ended.status.success() => {
                    container.into_iter().for_each(Container::deleted_among_others);
                }
                // Dropped, and so deleted.
                _ => drop(container),
            }
        }
    }
}

/// To the nanosecond, which is what the clock tells; the digits of the conversion beyond it would be noise.
fn milliseconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e9).round() / 1e6
}

/// A count as a float; a bench doesn't count beyond u32.
fn count(number: usize) -> f64 {
    u32::try_from(number).map_or(f64::INFINITY, f64::from)
}
