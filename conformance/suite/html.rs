//! The table as one page: no other file, light or dark as the reader's system is, a filter in a few lines.

use std::fmt::Write;

use crate::clause::{Clause, Level};
use crate::report::{Counts, Report, chapter};
use crate::runner::Verdict;

const LEVELS: [Level; 3] = [Level::Must, Level::Should, Level::Callers];
/// Width of the drawn bars.
const BAR: usize = 420;

/// One self-contained page.
pub(crate) fn render(report: &Report) -> String {
    let mut page = String::from(
        "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n\
         <title>OCI runtime conformance</title>\n",
    );
    add(&mut page, format_args!("<style>{}</style>\n<main>\n", include_str!("page.css")));
    head(&mut page, report);
    add(&mut page, format_args!("<section class=\"summary\">\n"));
    for runtime in 0..report.runtimes.len() {
        card(&mut page, report, runtime);
    }
    add(&mut page, format_args!("</section>\n"));
    chapters(&mut page, report);
    all_differ(&mut page, report);
    table(&mut page, report);
    add(&mut page, format_args!("</main>\n<script>{}</script>\n</html>\n", include_str!("page.js")));
    page
}

fn head(page: &mut String, report: &Report) {
    let count = |level| report.clauses.iter().filter(|clause| clause.level == level).count();
    let counts = LEVELS.map(|level| format!("{} {}", count(level), level.name())).join(" · ");
    add(
        page,
        format_args!(
            "<header><h1>Conformance to the OCI runtime specification 1.3</h1>\n<p>Linux. {} clauses, each run \
             against a runtime's program from outside: {counts}. A skip is what this machine can't try; it is no pass.</p></header>\n",
            report.clauses.len()
        ),
    );
}

/// A runtime: its name, its version, the shares, and the counts level by level.
fn card(page: &mut String, report: &Report, index: usize) {
    let runtime = &report.runtimes[index];
    let counts = report.counts(index, |_| true);
    add(
        page,
        format_args!(
            "<article><h2>{}</h2><p class=\"version\">{}</p>\n<p class=\"big\"><b>{}</b> of {} passed</p>\n{}\n<dl>",
            escape(&runtime.name),
            escape(&runtime.version),
            counts.passed,
            counts.all(),
            bar(counts, counts.all(), 14),
        ),
    );
    for level in LEVELS {
        let Counts { passed, failed, skipped, differs } =
            report.counts(index, |clause| clause.level == level);
        add(
            page,
            format_args!(
                "<dt>{}</dt><dd><span class=\"pass\">{passed}</span> <span class=\"differs\">{differs}</span> <span class=\"fail\">{failed}</span> <span class=\"skip\">{skipped}</span></dd>",
                level.name()
            ),
        );
    }
    add(page, format_args!("</dl></article>\n"));
}

/// A stacked bar: passed, failed, skipped of `whole`.
fn bar(counts: Counts, whole: usize, height: usize) -> String {
    let parts = [
        ("pass", counts.passed),
        ("differs", counts.differs),
        ("fail", counts.failed),
        ("skip", counts.skipped),
    ];
    let mut drawn = format!(
        "<svg viewBox=\"0 0 {BAR} {height}\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"{} passed, {} by design, {} failed, {} skipped\">",
        counts.passed, counts.differs, counts.failed, counts.skipped
    );
    let mut before = 0;
    for (class, count) in parts {
        let (x, end) = (before * BAR / whole.max(1), (before + count) * BAR / whole.max(1));
        before += count;
        add(
            &mut drawn,
            format_args!(
                "<rect class=\"{class}\" x=\"{x}\" width=\"{}\" height=\"{height}\"><title>{count} {class}</title></rect>",
                end - x
            ),
        );
    }
    drawn + "</svg>"
}

/// A row of bars for each chapter.
fn chapters(page: &mut String, report: &Report) {
    add(
        page,
        format_args!(
            "<section><h2>By chapter</h2>\n<div class=\"scroll\"><table class=\"chapters\"><thead><tr><th>chapter"
        ),
    );
    for runtime in report.runtimes {
        add(page, format_args!("<th>{}", escape(&runtime.name)));
    }
    add(page, format_args!("</thead><tbody>\n"));
    for wanted in report.chapters() {
        add(page, format_args!("<tr><td><a href=\"#\" data-chapter=\"{wanted}\">{wanted}</a>"));
        for index in 0..report.runtimes.len() {
            let counts = report.counts(index, |clause| chapter(clause) == wanted);
            add(
                page,
                format_args!(
                    "<td>{}<small>{}/{}</small>",
                    bar(counts, counts.all(), 10),
                    counts.passed,
                    counts.all()
                ),
            );
        }
        add(page, format_args!("</tr>\n"));
    }
    add(page, format_args!("</table></div></section>\n"));
}

/// Either the text asks for what nobody does, or the clause is wrong: for people to judge.
fn all_differ(page: &mut String, report: &Report) {
    let clauses = report.all_differ();
    if clauses.is_empty() {
        return;
    }
    add(page, format_args!("<section><h2>Where every runtime differs from the text</h2>\n<ul>"));
    for index in clauses {
        let Clause { id, section, sentence, .. } = report.clauses[index];
        add(page, format_args!("<li><code>{id}</code> {} <small>{section}</small>", escape(sentence)));
    }
    add(page, format_args!("</ul></section>\n"));
}

fn table(page: &mut String, report: &Report) {
    add(
        page,
        format_args!(
            "<section><h2>Clauses</h2>\n<form><input id=\"words\" type=\"search\" placeholder=\"id, section or words\" aria-label=\"Filter\">\n\
             <select id=\"level\" aria-label=\"Level\"><option value=\"\">all levels<option>MUST<option>SHOULD<option>callers</select>\n\
             <select id=\"verdict\" aria-label=\"Verdict\"><option value=\"\">all verdicts<option value=\"differ\">runtimes differ"
        ),
    );
    for (index, runtime) in report.runtimes.iter().enumerate() {
        for (letter, word) in [("f", "fails"), ("s", "skipped"), ("p", "passes"), ("d", "differs by design")]
        {
            add(page, format_args!("<option value=\"{index}{letter}\">{}: {word}", escape(&runtime.name)));
        }
    }
    add(
        page,
        format_args!(
            "</select> <output id=\"shown\"></output></form>\n<div class=\"scroll\"><table id=\"clauses\"><thead><tr><th>clause<th>level<th>sentence"
        ),
    );
    for runtime in report.runtimes {
        add(page, format_args!("<th>{}", escape(&runtime.name)));
    }
    add(page, format_args!("</thead><tbody>\n"));
    for (index, clause) in report.clauses.iter().enumerate() {
        row(page, clause, &report.row(index));
    }
    add(page, format_args!("</table></div></section>\n"));
}

fn row(page: &mut String, clause: &Clause, verdicts: &[&Verdict]) {
    let letters: String = verdicts.iter().map(|verdict| &verdict.word()[..1]).collect();
    add(
        page,
        format_args!(
            "<tr data-v=\"{letters}\" data-l=\"{}\"><td><code>{}</code><small>{}</small><td>{}<td>{}",
            clause.level.name(),
            clause.id,
            clause.section,
            clause.level.name(),
            escape(clause.sentence)
        ),
    );
    if let Some(why) = clause.differs {
        add(page, format_args!("<small><b>By design:</b> {}</small>", escape(why)));
    }
    for verdict in verdicts {
        let (word, reason) = (verdict.word(), verdict.reason());
        add(page, format_args!("<td><span class=\"{word}\">{word}</span>"));
        if !reason.is_empty() {
            add(page, format_args!("<small>{}</small>", escape(reason)));
        }
    }
    add(page, format_args!("</tr>\n"));
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Adds to a string, which can't fail.
fn add(page: &mut String, what: std::fmt::Arguments) {
    page.write_fmt(what).unwrap_or_default();
}
