//! Manual pages: man(7).

use std::io::Write;

use anyhow::{Context, Result};
use clap::{Arg, Command};
use clap_mangen::Man;

/// Of the manual.
#[derive(Clone, Copy)]
pub(crate) enum Section {
    User,
    Administration,
}

impl Section {
    fn number(self) -> &'static str {
        match self {
            Self::User => "1",
            Self::Administration => "8",
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::User => "User Commands",
            Self::Administration => "System Administration",
        }
    }
}

/// The page of a program, or of one of its verbs.
pub(crate) struct Page {
    /// `minidocker-oci-create`
    pub(crate) name: String,
    section: Section,
    /// With everything in its place for clap_mangen.
    command: Command,
    /// In roff.
    synopsis: String,
    /// The program's, for a verb.
    program: Option<String>,
    /// Of the verbs, for a program.
    verbs: Vec<String>,
    examples: Option<String>,
}

/// A program's page, and one for each of its verbs.
pub(crate) fn pages(command: &Command, section: Section) -> Vec<Page> {
    let program = command.get_name();
    let verbs: Vec<&Command> = command.get_subcommands().filter(|verb| !verb.is_hide_set()).collect();
    let names = verbs.iter().map(|verb| format!("{program}-{}", verb.get_name())).collect();
    let headed = command.clone().subcommand_help_heading("COMMANDS");
    let mut pages = vec![Page::new(headed, program.to_owned(), section)];
    pages[0].verbs = names;
    for verb in verbs {
        let name = format!("{program}-{}", verb.get_name());
        // Taken from the definition as it was written: without the program's own options, which its page has.
        let verb = verb.clone().bin_name(format!("{program} {}", verb.get_name()));
        pages.push(Page { program: Some(program.to_owned()), ..Page::new(verb, name, section) });
    }
    pages
}

impl Page {
    fn new(mut command: Command, name: String, section: Section) -> Self {
        command.build();
        let synopsis = synopsis(&command.render_usage().to_string(), command.get_bin_name().unwrap_or(&name));
        let examples = command.get_after_help().map(ToString::to_string);
        let about =
            command.get_long_about().or(command.get_about()).map(ToString::to_string).unwrap_or_default();
        let description = format!("{}.", about.trim_end_matches('.'));
        let command = command.display_name(&name).long_about(description).mut_args(in_words);
        Self { name, section, command, synopsis, program: None, verbs: Vec::new(), examples }
    }

    pub(crate) fn file(&self) -> String {
        format!("{}.{}", self.name, self.section.number())
    }

    /// The page, with `text` that belongs to it.
    pub(crate) fn render(&self, text: Option<&str>, date: &str) -> Result<Vec<u8>> {
        let source = concat!("minidocker-oci ", env!("CARGO_PKG_VERSION"));
        let man = Man::new(self.command.clone())
            .title(self.name.to_uppercase())
            .section(self.section.number())
            .date(date)
            .source(source)
            .manual(self.section.title());
        let text = text.unwrap_or_default();
        let (description, sections) = match text.find(".SH ") {
            Some(at) => text.split_at(at),
            None => (text, ""),
        };
        let mut out = Vec::new();
        man.render_title(&mut out)?;
        man.render_name_section(&mut out)?;
        writeln!(out, ".SH SYNOPSIS\n{}", self.synopsis)?;
        man.render_description_section(&mut out)?;
        if !description.is_empty() {
            writeln!(out, ".PP\n{}", description.trim_end())?;
        }
        if self.command.has_subcommands() {
            man.render_subcommands_section(&mut out)?;
        }
        man.render_options_section(&mut out)?;
        out.write_all(sections.as_bytes())?;
        self.examples(&mut out)?;
        self.see_also(&mut out)?;
        tidy(out)
    }

    /// The end of `--help`, as a section of its own.
    fn examples(&self, out: &mut Vec<u8>) -> Result<()> {
        let Some(examples) = &self.examples else { return Ok(()) };
        let (_, lines) = examples.split_once(':').context("an after_help that is no example")?;
        writeln!(out, ".SH EXAMPLES\n.EX")?;
        for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
            writeln!(out, "{}", line.replace('\\', "\\e").replace('-', "\\-").replace('\'', "\\(aq"))?;
        }
        writeln!(out, ".EE")?;
        Ok(())
    }

    fn see_also(&self, out: &mut Vec<u8>) -> Result<()> {
        let number = self.section.number();
        let pages = self.program.iter().chain(&self.verbs);
        let mut pages: Vec<String> =
            pages.map(|page| format!(".BR {} ({number})", page.replace('-', "\\-"))).collect();
        if self.program.is_none() {
            pages.push(match self.section {
                Section::User => ".BR minidocker\\-oci (8)".to_owned(),
                Section::Administration => ".BR minidocker (1)".to_owned(),
            });
        }
        writeln!(out, ".SH SEE ALSO\n.ad l\n.nh\n{}", pages.join(",\n"))?;
        Ok(())
    }
}

/// `Usage: minidocker-oci create [OPTIONS] <ID>`: the command is bold, and what stands for something in italics.
fn synopsis(usage: &str, command: &str) -> String {
    let hyphens = |text: &str| text.replace('-', "\\-");
    let words = usage.trim_start_matches("Usage: ");
    let rest = words.strip_prefix(command).unwrap_or(words).replace('<', "\\fI").replace('>', "\\fR");
    format!("\\fB{}\\fR{}", hyphens(command), hyphens(&rest))
}

/// What clap_mangen has more often or in another way than manual pages do: the definition of the apostrophe before each
/// section, and brackets around what is in italics already.
fn tidy(page: Vec<u8>) -> Result<Vec<u8>> {
    const APOSTROPHE: &str = ".ie \\n(.g .ds Aq \\(aq\n.el .ds Aq '\n";
    let page = String::from_utf8(page)?.replace(APOSTROPHE, "");
    let page = page
        .replace("<\\fI", "\\fI")
        .replace("\\fR>", "\\fR")
        .replace("\\fI<", "\\fI")
        .replace(">\\fR", "\\fR");
    Ok(format!("{APOSTROPHE}{page}").into_bytes())
}

/// An argument with what clap knows of its values in its help, as prose has it. Positional ones are under a heading.
fn in_words(arg: Arg) -> Arg {
    let help = arg.get_long_help().or(arg.get_help()).map(ToString::to_string).unwrap_or_default();
    // A default that is written by hand is told like the others.
    let (text, default) = match help.split_once(" [default: ") {
        Some((text, default)) => (text.to_owned(), Some(default.trim_end_matches(']').to_owned())),
        None => (help, None),
    };
    let mut notes = Vec::new();
    if arg.get_action().takes_values() {
        let values: Vec<_> =
            arg.get_possible_values().iter().map(|value| value.get_name().to_owned()).collect();
        if let Some((last, others)) = values.split_last() {
            notes.push(format!("{} or {last}", others.join(", ")));
        }
        let defaults: Vec<_> = arg.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
        let default = default.or((!defaults.is_empty()).then(|| defaults.join(" ")));
        notes.extend(default.map(|default| format!("default: {default}")));
    }
    let help = match notes.is_empty() {
        true => format!("{text}."),
        false => format!("{text} ({}).", notes.join("; ")),
    };
    let positional = arg.is_positional();
    let arg = arg.help(&help).long_help(help).hide_default_value(true).hide_possible_values(true);
    if positional { arg.help_heading("Arguments") } else { arg }
}
