//! The table as Markdown, and what is wrong with it.

use std::fmt::Write;

use super::known::{Known, Values};
use super::{Driver, RESOURCES, Resource, Wanted};
use crate::runtime::Runtime;

const HEAD: &str = "# linux.resources, property by property\n\n\
    Written by `conformance/run --resources`: each property is configured, then changed by `update`, and what the kernel's file says\n\
    is read back each time (`after create → after update`), with each runtime in the same guest. `refused`: the verb fails.\n\
    What differs from what `resources.rs` wants has its reason there. `–`: no kernel that this was run on has it. The tests are below\n\
    `tests/containers`; `limits::values` holds ours to the whole table.\n\n\
    Where the tree has no controller for a property, it is refused. Not so where it asks for what a cgroup has anyway (`cpu.shares`\n\
    1024, `cpu.period` 100000, `cpu.quota` -1, `cpu.idle` 0, `cpu.burst` 0, no limit at all): engines write the default share into every\n\
    configuration, nothing could keep a container from having it, and refusing it would only keep them from running on hosts whose\n\
    controllers are cgroup v1's. crun and runc refuse it there. `limits::faults::what_a_cgroup_has_anyway_needs_no_controller` sees to it.\n\n";

/// The text, and a line for all that is not as it should be.
pub(super) fn render(known: &Known, runtimes: &[Runtime]) -> (String, Vec<String>) {
    let names: Vec<&str> = runtimes.iter().map(|runtime| runtime.name.as_str()).collect();
    let mut text = HEAD.to_owned();
    let mut problems = Vec::new();
    let mut line = |words: String| writeln!(text, "{words}").unwrap_or_default();
    line("| runtime | version |\n|--|--|".to_owned());
    for (name, version) in &known.versions {
        line(format!("| {name} | {version} |"));
    }
    for driver in Driver::ALL {
        let rows: Vec<Row<'_>> = RESOURCES.iter().map(|resource| Row { known, driver, resource }).collect();
        if !rows.iter().any(|row| row.values(names[0]).is_some()) {
            continue;
        }
        line(format!(
            "\n## Driver {}\n\n| property | configured | file | {} | test | differences |\n|--|--|--|{}--|--|",
            driver.name(),
            names.join(" | "),
            "--|".repeat(names.len())
        ));
        for row in rows {
            line(row.line(&names));
            problems.extend(names.iter().filter_map(|name| row.problem(name)));
        }
    }
    (text, problems)
}

/// A property under a driver.
struct Row<'a> {
    known: &'a Known,
    driver: Driver,
    resource: &'static Resource,
}

impl Row<'_> {
    fn values(&self, runtime: &str) -> Option<&Values> {
        self.known.get(self.driver, self.resource, runtime)
    }

    fn line(&self, names: &[&str]) -> String {
        let Resource { property, create, update, test, .. } = self.resource;
        let code = |text: &str| if text.is_empty() { String::new() } else { format!("`{text}`") };
        let configured =
            [*create, *update].iter().filter(|t| !t.is_empty()).map(|t| code(t)).collect::<Vec<_>>();
        let cells: Vec<String> =
            names.iter().map(|name| self.values(name).map_or("–".to_owned(), cell)).collect();
        let reasons: Vec<String> = names
            .iter()
            .filter(|name| self.differs(name))
            .filter_map(|name| Some(format!("{name}: {}", self.reason(name)?)))
            .collect();
        let test = if test.is_empty() { "`limits::values`".to_owned() } else { code(test) };
        format!(
            "| {property} | {} | {} | {} | {test} | {} |",
            configured.join(" → "),
            code(self.resource.file()),
            cells.join(" | "),
            reasons.join("; ")
        )
    }

    fn differs(&self, runtime: &str) -> bool {
        self.values(runtime).is_some_and(|values| *values != wanted(self.resource))
    }

    /// Why a runtime has something else, under this driver or under any.
    fn reason(&self, runtime: &str) -> Option<&'static str> {
        let under = format!("{runtime} {}", self.driver.name());
        let mut reasons = self.resource.differs.iter();
        reasons.find(|(who, _)| *who == runtime || *who == under).map(|(_, why)| *why)
    }

    fn problem(&self, runtime: &str) -> Option<String> {
        let values = self.values(runtime)?;
        let place = format!("{} {} {}", self.driver.name(), self.resource.property, self.resource.file());
        let (has, wanted) = (cell(values), cell(&wanted(self.resource)));
        match (self.differs(runtime), self.reason(runtime)) {
            (true, None) => Some(format!("{place}: {runtime} has {has}, not {wanted}, and nothing says why")),
            (false, Some(_)) => {
                Some(format!("{place}: {runtime} has {has} as it should: its reason has to go"))
            }
            _ => None,
        }
    }
}

fn wanted(resource: &Resource) -> Values {
    match resource.wanted {
        Wanted::File(_, values) | Wanted::Device(_, values) => values.map(str::to_owned),
        Wanted::Nothing => ["accepted".to_owned(), String::new()],
        Wanted::Refused(_) => ["refused".to_owned(), String::new()],
    }
}

fn cell([created, updated]: &Values) -> String {
    match updated.as_str() {
        "" => created.clone(),
        updated => format!("{created} → {updated}"),
    }
}
