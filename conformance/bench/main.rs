//! bench: times OCI runtimes against each other on one bundle, from outside, through their command lines.
//!
//! All runtimes take turns in one run, A B C A B C, because only ratios taken side by side count. The clock
//! (CLOCK_MONOTONIC) runs from before the spawn of a command until a wait that sleeps in the kernel has come
//! back. The bench is a subreaper, as an engine's monitor is: after `create` the container's init is its
//! child, and it waits for the payload between `start` and `delete`.
//!
//! `conformance/bench/run` builds everything, gets the peers and calls this program. It has to run as root
//! and with cgroup2 at /sys/fs/cgroup. Figures are for reading: nothing here fails for being slow.
#![expect(
    clippy::disallowed_methods,
    reason = "those rules guard a runtime against its containers; the bench writes in its own directory"
)]

mod bundle;
mod chart;
mod measure;
mod peak;
mod report;
mod runtime;
mod stats;
mod sys;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Parser;
use serde_json::Value;

use bundle::{Host, Scratch, Template};
use chart::Chart;
use measure::{Batch, Deed, Operation, Plan};
use report::{Line, Setting};
use runtime::{Meter, Named, Runtime, Variant};

/// Rounds without `--rounds`: of single commands, and of batches with `--parallel`.
const ROUNDS: usize = 100;
const BATCH_ROUNDS: usize = 10;
/// Commands of a batch for each one that runs at once.
const BATCH_FACTOR: usize = 4;

/// Times OCI runtimes against each other on one bundle.
#[derive(Debug, Parser)]
#[command(name = "bench")]
struct Options {
    /// Directory with config.json and rootfs; the payload becomes /bin/true
    #[arg(default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/bundles/podman-default"))]
    bundle: PathBuf,
    /// A runtime; repeat it for more [default: minidocker-oci of this build, crun, runc]
    #[arg(long = "runtime", value_name = "NAME=PATH")]
    runtimes: Vec<Named>,
    /// The runtime that the others are compared with [default: crun, else the first]
    #[arg(long, value_name = "NAME")]
    baseline: Option<String>,
    /// What is timed
    #[arg(long, value_delimiter = ',', default_value = "run,lifecycle")]
    operations: Vec<Operation>,
    /// Rounds that count [default: 100; with --parallel 10]
    #[arg(long, value_name = "N")]
    rounds: Option<usize>,
    /// Rounds before those that count [default: 5; with --parallel 1]
    #[arg(long, value_name = "N")]
    warmup: Option<usize>,
    /// Instead of single commands: keep K `run` under way (with `--operations exec`, K `exec`) and count how many there
    /// are in a second, in batches of 4 K
    #[arg(long, value_name = "K")]
    parallel: Option<usize>,
    /// Measure each runtime with limits, too (NAME.limits), and tell what they cost
    #[arg(long, conflicts_with = "parallel")]
    limits: bool,
    /// Measure each runtime with N of its containers alive, too (NAME.N-alive), and tell what these cost
    #[arg(long, value_name = "N", conflicts_with_all = ["parallel", "limits"])]
    alive: Option<usize>,
    /// Measure the processor's time instead of the clock on the wall: on a busy machine, and without what the container's
    /// own process does
    #[arg(long, conflicts_with = "parallel")]
    busy: bool,
    /// Draw a chart
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Write all figures
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Where state and bundle copies lie during the run; should be a tmpfs
    #[arg(long, value_name = "DIR", default_value = "/run")]
    scratch: PathBuf,
}

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let outcome = match arguments.next() {
        Some(first) if first == peak::HELPER => peak::helper(arguments),
        _ => bench(&Options::parse()).map(|()| ExitCode::SUCCESS),
    };
    outcome.unwrap_or_else(|error| {
        report::say(format_args!("bench: {error:#}\n"));
        // As a shell tells of a program that SIGINT has ended.
        if sys::is_interrupted() { ExitCode::from(130) } else { ExitCode::FAILURE }
    })
}

/// The whole run. Whatever way it ends, no container, process, cgroup or file of it is left.
fn bench(options: &Options) -> Result<()> {
    sys::catch_signals()?;
    nix::sys::prctl::set_child_subreaper(true).context("prctl(PR_SET_CHILD_SUBREAPER)")?;
    let host = Host::read()?;
    let template = Template::load(&options.bundle, &host)?;
    let scratch = Scratch::make(&options.scratch)?;
    let outcome = measure_and_report(options, &host, &template, &scratch);
    // Before the scratch cgroup goes, which can't while a process is in it.
    sys::end_children();
    outcome
}

fn measure_and_report(options: &Options, host: &Host, template: &Template, scratch: &Scratch) -> Result<()> {
    let named = named_runtimes(options)?;
    let runtimes = runtimes(options, &named, scratch)?;
    let (template, limited) = match options.limits {
        true => template.clone().without_and_with_limits(host),
        false => (template.clone(), template.clone()),
    };
    let setting = setting(options, host, &template, &runtimes)?;
    let (rounds, warmup) = (setting.rounds, setting.warmup);
    let meter = if options.busy { Meter::Busy } else { Meter::Time };
    let (template, limited) = (&template, &limited);
    let plan = Plan { runtimes: &runtimes, template, limited, scratch, meter, rounds, warmup };
    print(&report::heading(&setting, &runtimes))?;
    let results = match options.parallel {
        None => one_by_one(&plan, &setting, options)?,
        Some(0) => bail!("--parallel 0: nothing would run"),
        Some(at_once) => {
            let deed = if options.operations == [Operation::Exec] { Deed::Exec } else { Deed::Run };
            let batch = Batch { deed, at_once, commands: at_once * BATCH_FACTOR };
            at_once_report(&plan, &setting, options, batch)?
        }
    };
    if let Some(file) = &options.json {
        let document = serde_json::to_string_pretty(&report::document(&setting, &runtimes, results.into()))?;
        write(file, &(document + "\n"))?;
    }
    Ok(())
}

/// Single commands: measured, printed, drawn. Returns the results for the JSON document.
fn one_by_one(plan: &Plan, setting: &Setting, options: &Options) -> Result<Vec<Value>> {
    let series = measure::one_by_one(plan, &options.operations)?;
    let lines = report::lines(&series, setting.baseline);
    print(&report::table(&lines, plan.runtimes, setting.baseline))?;
    print(&report::prices(&lines, plan.runtimes))?;
    if let Some(file) = &options.svg {
        let title = format!("Time of a command, bundle {}", setting.bundle);
        let subtitle = format!(
            "Bars: p50 of {} interleaved rounds, {}; whiskers: p90 and p99. Shorter is better.",
            setting.rounds, setting.clock
        );
        write(file, &chart([title, subtitle], &lines, setting, plan.runtimes))?;
    }
    let samples = |line: &Line| {
        let same = series.iter().find(|s| s.row.label() == line.group && s.runtime == line.runtime);
        same.map_or(&[][..], |series| &series.times_ms)
    };
    Ok(lines.iter().map(|line| report::result(line, plan.runtimes, samples(line))).collect())
}

/// Several commands at once: measured, printed, drawn. Returns the results for the JSON document.
fn at_once_report(plan: &Plan, setting: &Setting, options: &Options, batch: Batch) -> Result<Vec<Value>> {
    let loads = measure::at_once(plan, batch)?;
    let (rates, times) = report::load_lines(&loads, batch, setting.baseline);
    print(&report::table(&rates, plan.runtimes, setting.baseline))?;
    print(&report::table(&times, plan.runtimes, setting.baseline))?;
    if let Some(file) = &options.svg {
        let what = batch.deed.label();
        let title = format!("`{what}` per second, {} at once, bundle {}", batch.at_once, setting.bundle);
        let subtitle = format!(
            "Bars: p50 of {} interleaved batches of {}; whiskers: p10 and p1. Longer is better.",
            setting.rounds, batch.commands
        );
        write(file, &chart([title, subtitle], &rates, setting, plan.runtimes))?;
    }
    let result = |line: &Line, samples: &[f64]| report::result(line, plan.runtimes, samples);
    let rates = rates.iter().map(|line| result(line, &loads[line.runtime].per_second));
    let times = times.iter().map(|line| result(line, &loads[line.runtime].times_ms));
    Ok(rates.chain(times).collect())
}

/// All that take turns: each runtime, followed by its variant if one is asked for.
fn runtimes(options: &Options, named: &[Named], scratch: &Scratch) -> Result<Vec<Runtime>> {
    let variant = match options.alive {
        Some(count) => Variant::Beside(count),
        None if options.limits => Variant::Limited,
        None => Variant::Plain,
    };
    let mut runtimes: Vec<Runtime> = Vec::new();
    for named in named {
        let runtime = Runtime::find(named, runtimes.len(), scratch)?;
        let other = (variant != Variant::Plain)
            .then(|| runtime.as_variant(runtimes.len() + 1, variant, scratch))
            .transpose()?;
        runtimes.push(runtime);
        runtimes.extend(other);
    }
    Ok(runtimes)
}

/// The runtimes that were asked for, or the three that the project compares.
fn named_runtimes(options: &Options) -> Result<Vec<Named>> {
    if !options.runtimes.is_empty() {
        return Ok(options.runtimes.clone());
    }
    // target/release/examples/bench is beside target/release/minidocker-oci.
    let own = std::env::current_exe().context("the path of the bench itself")?;
    let built = own.ancestors().nth(2).unwrap_or(Path::new("/")).join("minidocker-oci");
    Ok(vec![Named::new("minidocker-oci", built)?, Named::new("crun", "crun")?, Named::new("runc", "runc")?])
}

fn setting(options: &Options, host: &Host, template: &Template, runtimes: &[Runtime]) -> Result<Setting> {
    let by_name = |name: &str| runtimes.iter().position(|runtime| runtime.name == name);
    let baseline = match &options.baseline {
        Some(name) => by_name(name).with_context(|| format!("--baseline {name}: no such runtime"))?,
        None => by_name("crun").unwrap_or(0),
    };
    let name =
        |file: &str| std::fs::read_to_string(format!("/proc/sys/kernel/{file}")).context(file.to_owned());
    let load = std::fs::read_to_string("/proc/loadavg").context("/proc/loadavg")?;
    let (rounds, warmup) = if options.parallel.is_some() { (BATCH_ROUNDS, 1) } else { (ROUNDS, 5) };
    Ok(Setting {
        bundle: template.name.clone(),
        adaptations: template.adaptations.clone(),
        kernel: format!(
            "{} {} {}",
            name("ostype")?.trim(),
            name("osrelease")?.trim(),
            std::env::consts::ARCH
        ),
        controllers: host.controllers.clone(),
        processors: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        load: load.split(' ').next().unwrap_or("?").to_owned(),
        rounds: options.rounds.unwrap_or(rounds).max(1),
        warmup: options.warmup.unwrap_or(warmup),
        baseline,
        clock: if options.busy { "processor time" } else { "wall clock" },
    })
}

/// The lines as a picture, with what has to be known about the run below it.
fn chart([title, subtitle]: [String; 2], lines: &[Line], setting: &Setting, runtimes: &[Runtime]) -> String {
    let mut notes: Vec<String> =
        runtimes.iter().map(|runtime| format!("{}: {}", runtime.name, runtime.version)).collect();
    notes.push(format!(
        "{}, {} processors, payload {}",
        setting.kernel,
        setting.processors,
        measure::PAYLOAD
    ));
    notes.extend(setting.adaptations.iter().cloned());
    let names = runtimes.iter().map(|runtime| runtime.name.clone()).collect();
    Chart { title, subtitle, lines, names, notes, baseline: setting.baseline }.draw()
}

fn print(text: &str) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).context("write to stdout")
}

fn write(file: &Path, text: &str) -> Result<()> {
    std::fs::write(file, text).with_context(|| format!("write {}", file.display()))
}
