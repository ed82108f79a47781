//! What people and programs read: the table, the JSON document, progress and warnings.

use std::fmt::{Display, Write as _};
use std::io::{IsTerminal, Write, stderr};

use anyhow::Result;
use serde_json::{Value, json};

use crate::measure::{Batch, Load, PAYLOAD, Series};
use crate::runtime::{Runtime, Variant};
use crate::stats::percentile;

/// Where and on what the figures were taken.
#[derive(Debug)]
pub(crate) struct Setting {
    pub(crate) bundle: String,
    pub(crate) adaptations: Vec<String>,
    /// System, release and architecture.
    pub(crate) kernel: String,
    pub(crate) controllers: Vec<String>,
    /// Processors that this process may use.
    pub(crate) processors: usize,
    /// Processes ready to run before the first round, averaged over a minute: a quiet machine has 0.
    pub(crate) load: String,
    pub(crate) rounds: usize,
    pub(crate) warmup: usize,
    /// What the milliseconds are of.
    pub(crate) clock: &'static str,
    /// Index of the runtime that the others are compared with.
    pub(crate) baseline: usize,
}

/// What a figure is, and so which end of its range is the bad one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scale {
    /// Less is better.
    Milliseconds,
    /// More is better.
    PerSecond,
}

impl Scale {
    /// The percentiles of a line: middle, bad, worst, best.
    fn percentiles(self) -> [usize; 4] {
        match self {
            Self::Milliseconds => [50, 90, 99, 0],
            Self::PerSecond => [50, 10, 1, 100],
        }
    }

    /// Their names.
    pub(crate) fn heads(self) -> [&'static str; 4] {
        match self {
            Self::Milliseconds => ["p50", "p90", "p99", "min"],
            Self::PerSecond => ["p50", "p10", "p1", "max"],
        }
    }

    /// The unit in full.
    pub(crate) fn unit(self) -> &'static str {
        match self {
            Self::Milliseconds => "milliseconds",
            Self::PerSecond => "commands per second",
        }
    }
}

/// A line of the table and a bar of the chart: one runtime in one row.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) scale: Scale,
    pub(crate) group: String,
    /// Index of the runtime.
    pub(crate) runtime: usize,
    pub(crate) p50: f64,
    /// One value of ten is as bad as this.
    pub(crate) bad: f64,
    /// One value of a hundred is as bad as this.
    pub(crate) worst: f64,
    pub(crate) best: f64,
    /// p50 divided by the baseline's.
    pub(crate) ratio: f64,
    /// Peak memory in KiB and its ratio; None where it wasn't measured.
    pub(crate) peak: Option<(u64, f64)>,
}

impl Line {
    /// A line of `values` of the runtime, compared with those of the baseline.
    fn new(scale: Scale, group: &str, (runtime, values): (usize, &[f64]), baseline: &[f64]) -> Self {
        let [p50, bad, worst, best] = scale.percentiles().map(|percent| percentile(values, percent));
        let ratio = p50 / percentile(baseline, 50);
        Self { scale, group: group.to_owned(), runtime, p50, bad, worst, best, ratio, peak: None }
    }
}

/// The lines of the measurement one by one, in milliseconds, row by row.
pub(crate) fn lines(series: &[Series], baseline: usize) -> Vec<Line> {
    let mut lines = Vec::new();
    for first in series.iter().filter(|series| series.runtime == 0) {
        let of_row = || series.iter().filter(|series| series.row == first.row);
        let Some(base) = of_row().find(|series| series.runtime == baseline) else {
            continue;
        };
        lines.extend(of_row().map(|series| Line {
            peak: Some((series.peak_kib, kib(series.peak_kib) / kib(base.peak_kib))),
            ..Line::new(
                Scale::Milliseconds,
                first.row.label(),
                (series.runtime, &series.times_ms),
                &base.times_ms,
            )
        }));
    }
    lines
}

/// The lines of the measurement at once: commands per second, and milliseconds of each.
pub(crate) fn load_lines(loads: &[Load], batch: Batch, baseline: usize) -> (Vec<Line>, Vec<Line>) {
    let group = format!("{}, {} at once", batch.deed.label(), batch.at_once);
    let base = &loads[baseline];
    let each = |scale, values: fn(&Load) -> &Vec<f64>| {
        let line = |(runtime, load)| Line::new(scale, &group, (runtime, values(load)), values(base));
        loads.iter().enumerate().map(line).collect()
    };
    (each(Scale::PerSecond, |load| &load.per_second), each(Scale::Milliseconds, |load| &load.times_ms))
}

/// What is above the table.
pub(crate) fn heading(setting: &Setting, runtimes: &[Runtime]) -> String {
    let mut text = format!("bundle   {}, payload {PAYLOAD}\n", setting.bundle);
    for adaptation in &setting.adaptations {
        text += &format!("         {adaptation}\n");
    }
    text +=
        &format!("machine  {}, {} processors, load {}\n", setting.kernel, setting.processors, setting.load);
    text += &format!("cgroups  v2, controllers: {}\n", or_none(&setting.controllers));
    for runtime in runtimes {
        text += &format!("runtime  {}: {} ({})\n", runtime.name, runtime.version, runtime.program.display());
    }
    text += &format!(
        "rounds   {} interleaved, {}, after {} to warm up\n",
        setting.rounds, setting.clock, setting.warmup
    );
    text
}

/// A table of lines of one scale, whose unit stands in its head.
pub(crate) fn table(lines: &[Line], runtimes: &[Runtime], baseline: usize) -> String {
    let Some(scale) = lines.first().map(|line| line.scale) else {
        return String::new();
    };
    let unit = scale.unit();
    let base = format!("/{}", runtimes[baseline].name);
    let name = |line: &Line| runtimes[line.runtime].name.clone();
    let names = lines.iter().map(|line| name(line).len()).max().unwrap_or(0);
    let groups = lines.iter().map(|line| line.group.len()).max().unwrap_or(0).max(unit.len());
    let mut text = format!("\n{unit:groups$}  {:names$}", "");
    for head in scale.heads().into_iter().chain([base.as_str()]) {
        write_to(&mut text, format_args!(" {head:>8}"));
    }
    if lines.iter().any(|line| line.peak.is_some()) {
        write_to(&mut text, format_args!(" {:>9} {base:>8}", "peak MiB"));
    }
    text.push('\n');
    let mut last = "";
    for line in lines {
        let group = if line.group == last { "" } else { &line.group };
        last = &line.group;
        write_to(&mut text, format_args!("{group:groups$}  {:names$}", name(line)));
        for value in [line.p50, line.bad, line.worst, line.best] {
            write_to(&mut text, format_args!(" {value:8.2}"));
        }
        write_to(&mut text, format_args!(" {:8.2}", line.ratio));
        if let Some((peak, ratio)) = line.peak {
            write_to(&mut text, format_args!(" {:9.1} {ratio:8.2}", kib(peak) / 1024.0));
        }
        text.push('\n');
    }
    text
}

/// What each variant takes more than the runtime that it is one of: milliseconds and percent of the p50.
pub(crate) fn prices(lines: &[Line], runtimes: &[Runtime]) -> String {
    let mut text = String::new();
    for line in lines.iter().filter(|line| runtimes[line.runtime].variant != Variant::Plain) {
        let same = |plain: &&Line| plain.group == line.group && plain.runtime + 1 == line.runtime;
        let Some(plain) = lines.iter().find(same) else {
            continue;
        };
        let (more, percent) = (line.p50 - plain.p50, (line.p50 / plain.p50 - 1.0) * 100.0);
        let name = &runtimes[line.runtime].name;
        write_to(&mut text, format_args!("{}: {name} takes {more:+.3} ms, {percent:+.1} %\n", line.group));
    }
    if text.is_empty() { text } else { format!("\n{text}") }
}

/// The document of `--json`. Its `samples` are every round in order, so that other statistics can be made.
pub(crate) fn document(setting: &Setting, runtimes: &[Runtime], results: Value) -> Value {
    let runtimes: Vec<Value> = runtimes
        .iter()
        .map(|runtime| json!({"name": runtime.name, "path": runtime.program, "version": runtime.version}))
        .collect();
    json!({
        "bundle": setting.bundle,
        "payload": PAYLOAD,
        "adaptations": setting.adaptations,
        "kernel": setting.kernel,
        "controllers": setting.controllers,
        "processors": setting.processors,
        "load": setting.load,
        "rounds": setting.rounds,
        "clock": setting.clock,
        "warmup": setting.warmup,
        "baseline": runtimes[setting.baseline]["name"],
        "runtimes": runtimes,
        "results": results,
    })
}

/// A line for the document with the values that it was made of.
pub(crate) fn result(line: &Line, runtimes: &[Runtime], samples: &[f64]) -> Value {
    let mut result = json!({
        "operation": line.group,
        "runtime": runtimes[line.runtime].name,
        "unit": line.scale.unit(),
        "ratio": line.ratio,
        "samples": samples,
    });
    for (head, value) in line.scale.heads().into_iter().zip([line.p50, line.bad, line.worst, line.best]) {
        result[head] = json!(value);
    }
    if let Some((peak, ratio)) = line.peak {
        result["peak_kib"] = json!(peak);
        result["peak_ratio"] = json!(ratio);
    }
    result
}

/// The names with commas, or "none".
fn or_none(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

/// KiB as a float: exact up to 4 TiB.
fn kib(kib: u64) -> f64 {
    u32::try_from(kib).map_or(f64::INFINITY, f64::from)
}

/// Adds to a string, which can't fail.
fn write_to(text: &mut String, what: std::fmt::Arguments) {
    if text.write_fmt(what).is_err() {
        text.push('?');
    }
}

/// Says on stderr that a step of clean-up went wrong. It must not hide the error being handled.
pub(crate) fn warn_of<T, E: Display>(what: &str, outcome: Result<T, E>) {
    if let Err(error) = outcome {
        say(format_args!("bench: {what}: {error:#}\n"));
    }
}

/// Writes to stderr; nobody is left to tell when that fails.
pub(crate) fn say(what: std::fmt::Arguments) {
    stderr().lock().write_fmt(what).unwrap_or_default();
}

/// A count on a terminal's stderr, which goes away at the end. Written between the rounds, in no timed span.
#[derive(Debug)]
pub(crate) struct Progress {
    what: &'static str,
    done: usize,
    of: usize,
}

impl Progress {
    pub(crate) fn new(what: &'static str, of: usize) -> Self {
        Self { what, done: 0, of }
    }

    pub(crate) fn step(&mut self) {
        self.done += 1;
        if stderr().is_terminal() {
            say(format_args!("\r{} {} of {}\x1b[K", self.what, self.done, self.of));
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if stderr().is_terminal() {
            say(format_args!("\r\x1b[K"));
        }
    }
}
