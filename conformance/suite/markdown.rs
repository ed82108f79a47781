//! The table as Markdown.

use std::fmt::Write;

use crate::report::{Report, chapter};
use crate::runner::Verdict;

/// Counts, then a table for each chapter, then the reasons.
pub(crate) fn render(report: &Report) -> String {
    let mut text = String::from("# Conformance to the OCI runtime specification 1.3\n\n");
    let mut line = |words: String| writeln!(text, "{words}").unwrap_or_default();
    line("| runtime | passed | failed | skipped | by design | version |\n|--|--:|--:|--:|--:|--|".to_owned());
    for (index, runtime) in report.runtimes.iter().enumerate() {
        let counts = report.counts(index, |_| true);
        line(format!(
            "| {} | {} | {} | {} | {} | {} |",
            runtime.name,
            counts.passed,
            counts.failed,
            counts.skipped,
            counts.differs,
            escape(&runtime.version)
        ));
    }
    let names: Vec<&str> = report.runtimes.iter().map(|runtime| runtime.name.as_str()).collect();
    for wanted in report.chapters() {
        line(format!(
            "\n## {wanted}\n\n| clause | level | sentence | {} |\n|--|--|--|{}",
            names.join(" | "),
            "--|".repeat(names.len())
        ));
        for (index, clause) in
            report.clauses.iter().enumerate().filter(|(_, clause)| chapter(clause) == wanted)
        {
            let verdicts: Vec<String> = report.row(index).into_iter().map(word).collect();
            let why = clause.differs.map_or(String::new(), |why| format!(" **By design:** {}", escape(why)));
            line(format!(
                "| `{}` | {} | {} ({}){why} | {} |",
                clause.id,
                clause.level.name(),
                escape(clause.sentence),
                clause.section,
                verdicts.join(" | ")
            ));
        }
    }
    line("\n## Where all runtimes differ from the text\n".to_owned());
    for index in report.all_differ() {
        line(format!("- `{}`: {}", report.clauses[index].id, escape(report.clauses[index].sentence)));
    }
    line("\n## Reasons\n".to_owned());
    for (index, clause) in report.clauses.iter().enumerate() {
        for (runtime, verdict) in names.iter().zip(report.row(index)) {
            if !matches!(verdict, Verdict::Pass(_)) {
                line(format!("- `{}` {runtime} {}: {}", clause.id, word(verdict), escape(verdict.reason())));
            }
        }
    }
    text
}

/// The verdict in one word, a failure in bold.
fn word(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Fail(_) => format!("**{}**", verdict.word()),
        other => other.word().to_owned(),
    }
}

fn escape(text: &str) -> String {
    text.replace('|', "\\|").replace('<', "\\<").replace('*', "\\*")
}
