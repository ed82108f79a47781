//! Runs the cases side by side and tells of them in their order.

use std::path::Path;
use std::sync::mpsc;

use anyhow::{Result, anyhow};

use crate::clause::{Clause, Stop};
use crate::lab::Lab;
use crate::runtime::Runtime;

/// What has come out of a case.
#[derive(Clone, Debug)]
pub(crate) enum Verdict {
    /// With what a reader should know.
    Pass(String),
    Fail(String),
    Skip(String),
    /// Fails where the clause has a reason for it.
    Differs(String),
}

/// What is run.
#[derive(Debug)]
pub(crate) struct Plan<'a> {
    pub(crate) clauses: &'a [&'static Clause],
    pub(crate) runtime: &'a Runtime,
    /// A directory for all cases; the probe is in it.
    pub(crate) scratch: &'a Path,
    /// How many at once.
    pub(crate) jobs: usize,
}

/// All verdicts in the order of the clauses; `tell` gets each as soon as those before it are there.
pub(crate) fn run(plan: &Plan, tell: impl Fn(&Clause, &Verdict) -> Result<()>) -> Result<Vec<Verdict>> {
    // What a runtime leaves as an orphan comes here: containers are this process's children.
    nix::sys::prctl::set_child_subreaper(true)?;
    let next = std::sync::atomic::AtomicUsize::new(0);
    let (sender, verdicts) = mpsc::channel();
    std::thread::scope(|threads| {
        for _ in 0..plan.jobs {
            let (sender, next) = (sender.clone(), &next);
            threads.spawn(move || {
                loop {
                    let index = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    let Some(clause) = plan.clauses.get(index) else {
                        return;
                    };
                    if sender.send((index, judge(plan, clause))).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        let mut all: Vec<Option<Verdict>> = vec![None; plan.clauses.len()];
        let mut told = 0;
        for (index, verdict) in verdicts {
            all[index] = Some(verdict);
            while let Some(Some(verdict)) = all.get(told) {
                tell(plan.clauses[told], verdict)?;
                told += 1;
            }
        }
        all.into_iter().map(|verdict| verdict.ok_or_else(|| anyhow!("a case has got lost"))).collect()
    })
}

impl Verdict {
    /// In a word.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::Pass(_) => "pass",
            Self::Fail(_) => "fail",
            Self::Skip(_) => "skip",
            Self::Differs(_) => "differs",
        }
    }

    /// Why, or what a reader should know.
    pub(crate) fn reason(&self) -> &str {
        let (Self::Pass(reason) | Self::Fail(reason) | Self::Skip(reason) | Self::Differs(reason)) = self;
        reason
    }
}

/// Runs one case, in a lab of its own.
fn judge(plan: &Plan, clause: &Clause) -> Verdict {
    if let Some(reason) = clause.needs.iter().find_map(|need| need.missing(plan.runtime)) {
        return Verdict::Skip(reason);
    }
    let lab = match Lab::open(plan.runtime, plan.scratch) {
        Ok(lab) => lab,
        Err(stop) => return Verdict::Fail(format!("the case could not begin: {stop:?}")),
    };
    let outcome = (clause.case)(&lab);
    let leaks = if outcome.is_ok() { lab.leaks() } else { Vec::new() };
    lab.clean_up();
    match outcome {
        Ok(()) if plan.runtime.is_ours() && clause.differs.is_some() => {
            Verdict::Fail("passes: it is no difference by design any more".to_owned())
        }
        Ok(()) if leaks.is_empty() => Verdict::Pass(lab.notes()),
        Ok(()) => Verdict::Fail(one_line(&format!("leaves behind: {}", leaks.join(", ")), &lab)),
        Err(Stop::Fail(reason)) if clause.differs.is_some() => Verdict::Differs(one_line(&reason, &lab)),
        Err(Stop::Fail(reason)) => Verdict::Fail(one_line(&reason, &lab)),
        Err(Stop::Skip(reason)) => Verdict::Skip(one_line(&reason, &lab)),
    }
}

/// For a table: no line breaks, and none of the names that differ from run to run.
fn one_line(reason: &str, lab: &Lab) -> String {
    let reason = reason.replace(&lab.dir.display().to_string(), "DIR").replace(&lab.unique, "CASE");
    let line = reason.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(400) {
        Some((end, _)) => format!("{}...", &line[..end]),
        None => line,
    }
}
