//! The results as data: counts, and what a reader is pointed at.

use crate::clause::{Clause, Level};
use crate::runner::Verdict;
use crate::runtime::Runtime;

/// All clauses against all runtimes.
#[derive(Debug)]
pub(crate) struct Report<'a> {
    pub(crate) clauses: Vec<&'static Clause>,
    pub(crate) runtimes: &'a [Runtime],
    /// For each runtime the verdicts, in the order of the clauses.
    pub(crate) columns: Vec<Vec<Verdict>>,
}

/// How many.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    pub(crate) skipped: usize,
    /// Other than the text on purpose.
    pub(crate) differs: usize,
}

impl Counts {
    pub(crate) fn add(&mut self, verdict: &Verdict) {
        match verdict {
            Verdict::Pass(_) => self.passed += 1,
            Verdict::Fail(_) => self.failed += 1,
            Verdict::Skip(_) => self.skipped += 1,
            Verdict::Differs(_) => self.differs += 1,
        }
    }

    pub(crate) fn all(self) -> usize {
        self.passed + self.failed + self.skipped + self.differs
    }
}

impl Report<'_> {
    /// The verdicts about a clause, runtime by runtime.
    pub(crate) fn row(&self, clause: usize) -> Vec<&Verdict> {
        self.columns.iter().filter_map(|column| column.get(clause)).collect()
    }

    /// A runtime's counts over the clauses that are wanted.
    pub(crate) fn counts(&self, runtime: usize, wanted: impl Fn(&Clause) -> bool) -> Counts {
        let mut counts = Counts::default();
        for (clause, verdict) in self.clauses.iter().zip(&self.columns[runtime]) {
            if wanted(clause) {
                counts.add(verdict);
            }
        }
        counts
    }

    /// The chapters in their order: what the ids begin with, up to the second dot or the first.
    pub(crate) fn chapters(&self) -> Vec<&'static str> {
        let mut chapters: Vec<&str> = Vec::new();
        for clause in &self.clauses {
            if !chapters.contains(&chapter(clause)) {
                chapters.push(chapter(clause));
            }
        }
        chapters
    }

    /// The line that counts.
    pub(crate) fn line(&self, runtime: usize) -> String {
        let Counts { passed, failed, skipped, differs } = self.counts(runtime, |_| true);
        let name = &self.runtimes[runtime].name;
        let name = if self.runtimes.len() > 1 { format!(" {name}") } else { String::new() };
        format!("conformance{name}: {passed} passed, {failed} failed, {skipped} skipped, {differs} by design")
    }

    /// Whether a runtime has failed in nothing but SHOULDs.
    pub(crate) fn is_binding_met(&self, runtime: usize) -> bool {
        self.counts(runtime, |clause| clause.level != Level::Should).failed == 0
    }

    /// Clauses in which every runtime that was tried differs from the text.
    pub(crate) fn all_differ(&self) -> Vec<usize> {
        let fails = |clause: &usize| {
            let row = self.row(*clause);
            row.len() > 1
                && row.iter().all(|verdict| matches!(verdict, Verdict::Fail(_) | Verdict::Differs(_)))
        };
        (0..self.clauses.len()).filter(fails).collect()
    }
}

/// What the clauses of a file have in common: `config.process` of `config.process.cwd.absolute`.
pub(crate) fn chapter(clause: &Clause) -> &'static str {
    let second = clause.id.match_indices('.').nth(1).map_or(clause.id.len(), |(at, _)| at);
    &clause.id[..second]
}
