//! The command line: what is run against whom, and where the results go.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Parser;

use crate::clause::{Clause, Level};
use crate::properties::{self, Covered};
use crate::report::Report;
use crate::runner::{Plan, Verdict};
use crate::runtime::Runtime;
use crate::{clauses, html, markdown, resources, runner};

/// Checks runtimes against the OCI runtime specification, a case for each clause.
#[derive(Debug, Parser)]
#[command(name = "conformance")]
struct Options {
    /// Only clauses whose ids begin like this [default: all]
    clauses: Vec<String>,
    /// Only clauses with exactly these ids
    #[arg(long, requires = "clauses")]
    exact: bool,
    /// A runtime; repeat it for more. What counts for the exit status is the first
    #[arg(long = "runtime", value_name = "NAME=PROGRAM")]
    runtimes: Vec<Runtime>,
    /// Print the clauses and end
    #[arg(long)]
    list: bool,
    /// Print what has failed and the line that counts, nothing else
    #[arg(long)]
    brief: bool,
    /// How many cases run at once
    #[arg(long, value_name = "N", default_value_t = 4)]
    jobs: usize,
    /// The container's program [default: the file `probe` beside this program]
    #[arg(long, value_name = "FILE")]
    probe: Option<PathBuf>,
    /// Write the table as Markdown
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
    /// Write the table as a page
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Not the clauses but the table of resources: to DIR/resources.md, with what DIR/resources.json knows already
    #[arg(long, value_name = "DIR")]
    resources: Option<PathBuf>,
}

/// Does what the command line asks for. Whether the first runtime has passed all that binds it.
pub(crate) fn run() -> Result<bool> {
    let options = Options::parse();
    check_properties()?;
    let selected = select(&options)?;
    if options.list {
        list(&selected)?;
        return Ok(true);
    }
    if options.runtimes.is_empty() {
        bail!("no --runtime; conformance/run names one");
    }
    let beside = || Ok::<_, anyhow::Error>(std::env::current_exe()?.with_file_name("probe"));
    let probe = options.probe.clone().map_or_else(beside, Ok)?;
    let scratch = Scratch::make(&probe)?;
    if let Some(dir) = &options.resources {
        let problems = resources::run(&options.runtimes, &scratch.0, dir)?;
        problems.iter().try_for_each(|problem| print(&format!("{problem}\n")))?;
        return Ok(problems.is_empty());
    }
    let mut columns = Vec::new();
    for runtime in &options.runtimes {
        let plan = Plan { clauses: &selected, runtime, scratch: &scratch.0, jobs: options.jobs.max(1) };
        let tell = |clause: &Clause, verdict: &Verdict| tell(&options, runtime, clause, verdict);
        columns.push(runner::run(&plan, tell)?);
    }
    let report = Report { clauses: selected, runtimes: &options.runtimes, columns };
    for index in 0..options.runtimes.len() {
        print(&format!("{}\n", report.line(index)))?;
    }
    for (file, text) in
        [(&options.markdown, markdown::render as fn(&Report) -> String), (&options.html, html::render)]
    {
        if let Some(file) = file {
            fs::write(file, text(&report)).with_context(|| format!("write {}", file.display()))?;
        }
    }
    Ok(report.is_binding_met(0))
}

/// The table of properties names clauses that there are.
fn check_properties() -> Result<()> {
    let lines = properties::SCHEMAS.iter().flat_map(|(_, lines)| lines.iter());
    for (property, covered) in lines {
        let clauses = match covered {
            Covered::By(clauses) | Covered::Own(clauses) => *clauses,
            Covered::Not("") => bail!("properties.rs has no reason for {property}"),
            Covered::Not(_) => &[],
        };
        for begin in clauses {
            if !clauses::all().any(|clause| clause.id.starts_with(begin)) {
                bail!("properties.rs has {property} covered by {begin}, which no clause begins with");
            }
        }
    }
    Ok(())
}

/// The clauses that the names select, in the order of the chapters.
fn select(Options { clauses: names, exact, .. }: &Options) -> Result<Vec<&'static Clause>> {
    let all: Vec<&Clause> = clauses::all().collect();
    let is_of = |clause: &Clause, name: &String| {
        if *exact { clause.id == name } else { clause.id.starts_with(name.as_str()) }
    };
    for name in names {
        if !all.iter().any(|clause| is_of(clause, name)) {
            let how = if *exact { "is" } else { "begins with" };
            bail!("no clause {how} {name}; --list shows them");
        }
    }
    let wanted = |clause: &&Clause| names.is_empty() || names.iter().any(|name| is_of(clause, name));
    Ok(all.into_iter().filter(wanted).collect())
}

fn list(clauses: &[&Clause]) -> Result<()> {
    let ids = clauses.iter().map(|clause| clause.id.len()).max().unwrap_or(0);
    let sections = clauses.iter().map(|clause| clause.section.len()).max().unwrap_or(0);
    for Clause { id, section, level, sentence, needs, differs, .. } in clauses {
        let needs: String = needs.iter().map(|need| format!(" [needs {need}]")).collect();
        let differs = differs.map_or(String::new(), |why| format!(" [differs by design: {why}]"));
        print(&format!("{id:ids$}  {section:sections$}  {:7}  {sentence}{needs}{differs}\n", level.name()))?;
    }
    let count = |level| clauses.iter().filter(|clause| clause.level == level).count();
    let counts = [Level::Must, Level::Should, Level::Callers]
        .map(|level| format!("{} {}", count(level), level.name()));
    print(&format!("{} clauses: {}\n", clauses.len(), counts.join(", ")))
}

/// A line for each case as it ends, in the order of the list.
fn tell(options: &Options, runtime: &Runtime, clause: &Clause, verdict: &Verdict) -> Result<()> {
    let (word, reason) = match verdict {
        Verdict::Fail(reason) => ("FAIL", reason.as_str()),
        _ if options.brief => return Ok(()),
        Verdict::Pass(_) => ("pass", ""),
        other => (other.word(), other.reason()),
    };
    let runtime = if options.runtimes.len() > 1 { format!("{:14} ", runtime.name) } else { String::new() };
    let reason = if reason.is_empty() { String::new() } else { format!(": {reason}") };
    print(&format!("{word} {runtime}{}{reason}\n", clause.id))
}

fn print(text: &str) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).context("write to stdout")
}

/// The directory of all cases, with the probe in it. It goes away at the end.
#[derive(Debug)]
struct Scratch(PathBuf);

impl Scratch {
    fn make(probe: &Path) -> Result<Self> {
        let dir = std::env::temp_dir().join(format!("conformance-{}", std::process::id()));
        crate::lab::make_dir(&dir, 0o755).map_err(|stop| anyhow::anyhow!("{}: {stop:?}", dir.display()))?;
        let scratch = Self(dir);
        // Once, before any process is started: nobody can execute what is open for writing (ETXTBSY).
        fs::copy(probe, scratch.0.join("probe")).with_context(|| format!("copy {}", probe.display()))?;
        Ok(scratch)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}
