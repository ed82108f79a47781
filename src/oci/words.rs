//! Between what callers write on the command line and what they read about it, and the parser.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::cli::Cli;

/// What the words on the command line ask for, the program's name first.
pub(super) fn parsed(args: impl Iterator<Item = OsString>) -> Result<Cli, clap::Error> {
    Cli::parse(&normalised(args))
}

/// The arguments as this parser takes them: go-runc writes one long flag with a single dash, and
/// `--rootless VALUE` is said with a space by some and with `=` by others.
fn normalised(args: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut normal: Vec<OsString> = Vec::new();
    for arg in args {
        let value_of_rootless = normal.last().is_some_and(|last| last == "--rootless")
            && ["true", "false", "auto"].iter().any(|value| arg == *value);
        if value_of_rootless {
            normal.pop();
            let mut joined = OsString::from("--rootless=");
            joined.push(&arg);
            normal.push(joined);
        } else if arg == "-no-subreaper" {
            normal.push("--no-subreaper".into());
        } else {
            normal.push(arg);
        }
    }
    normal
}

/// What is wrong in one line; podman looks for certain words to learn whether a flag is known.
pub(super) fn in_the_fields_words(error: &clap::Error, text: &str) -> String {
    let missing_value = matches!(
        error.kind(),
        ErrorKind::InvalidValue | ErrorKind::NoEquals | ErrorKind::TooFewValues
    ) && matches!(error.get(ContextKind::InvalidValue), Some(ContextValue::String(value)) if value.is_empty());
    match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(arg)) if missing_value => {
            let flag = arg.split([' ', '=']).next().unwrap_or(arg);
            format!("flag needs an argument: {flag}")
        }
        _ => one_line(text),
    }
}

/// The first paragraph of clap's message, without its label.
fn one_line(text: &str) -> String {
    let lines = text.lines().take_while(|line| !line.trim().is_empty()).map(str::trim);
    let line = lines.collect::<Vec<_>>().join(" ");
    format!("{}; --help tells more", line.strip_prefix("error: ").unwrap_or(&line))
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::{in_the_fields_words, normalised, parsed};

    #[test]
    fn a_flag_without_its_value_is_said_in_the_words_that_podman_looks_for() {
        for (verb, flag) in [("create", "--pid-file"), ("restore", "--lsm-mount-context")] {
            let error = parsed(["r", verb, flag].into_iter().map(OsString::from)).unwrap_err();
            assert_eq!(in_the_fields_words(&error, ""), format!("flag needs an argument: {flag}"));
        }
    }

    #[test]
    fn what_callers_write_otherwise_becomes_what_the_parser_takes() {
        let normal = |line: &str| {
            let args = normalised(line.split_whitespace().map(OsString::from));
            args.into_iter().map(|arg| arg.into_string().unwrap()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(normal("r --rootless auto state id"), "r --rootless=auto state id");
        assert_eq!(normal("r run -no-subreaper id"), "r run --no-subreaper id");
        assert_eq!(normal("r spec --rootless"), "r spec --rootless");
    }
}
