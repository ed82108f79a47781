//! manual DIR: writes the manual pages of both programs to DIR/man, and completions for bash, zsh and fish to
//! DIR/completions.
//!
//! Everything about options comes from the definition of the command line, verbs included: a new one has its page
//! without being named here. What such a definition can't say is in `NAME.roff` beside this file, for the page of that
//! name: text for its DESCRIPTION, and sections after its options. The date of the pages is SOURCE_DATE_EPOCH.

mod completions;
mod page;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap_complete::Shell;
use page::Section;

fn main() -> Result<()> {
    let [_, out] = &std::env::args_os().collect::<Vec<_>>()[..] else { bail!("usage: manual DIR") };
    let out = Path::new(out);
    let runtime = || minidocker_oci::oci::command();
    let frontend = || minidocker_oci::frontend::command().disable_help_subcommand(true);

    let date = date()?;
    let mut pages = page::pages(&runtime(), Section::Administration);
    pages.extend(page::pages(&frontend(), Section::User));
    let mut texts = texts()?;
    for page in &pages {
        let text = texts.iter().position(|(name, _)| *name == page.name).map(|at| texts.swap_remove(at).1);
        write(&out.join("man").join(page.file()), &page.render(text.as_deref(), &date)?)?;
    }
    if let Some((name, _)) = texts.first() {
        bail!("{name}.roff is the text of no page: there is no such command");
    }
    for command in [runtime(), frontend()] {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let (name, script) = completions::script(command.clone(), shell)?;
            write(&out.join("completions").join(shell.to_string()).join(name), script.as_bytes())?;
        }
    }
    Ok(())
}

/// The day of SOURCE_DATE_EPOCH, or today.
fn date() -> Result<String> {
    let time = match std::env::var("SOURCE_DATE_EPOCH") {
        Ok(seconds) => {
            let time = seconds.parse().ok().and_then(|seconds| chrono::DateTime::from_timestamp(seconds, 0));
            time.context("SOURCE_DATE_EPOCH is not a number of seconds")?
        }
        Err(_) => chrono::Utc::now(),
    };
    Ok(time.format("%Y-%m-%d").to_string())
}

/// The names of pages, and what is to be added to them.
fn texts() -> Result<Vec<(String, String)>> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("bundles/package/manual");
    let mut texts = Vec::new();
    for entry in std::fs::read_dir(&dir)? {
        let path: PathBuf = entry?.path();
        let (Some(name), true) = (path.file_stem(), path.extension().is_some_and(|e| e == "roff")) else {
            continue;
        };
        texts.push((name.to_string_lossy().into_owned(), std::fs::read_to_string(&path)?));
    }
    Ok(texts)
}

#[expect(
    clippy::disallowed_methods,
    reason = "of a tool for the build, below a directory that is named to it"
)]
fn write(path: &Path, content: &[u8]) -> Result<()> {
    let dir = path.parent().context("a file is in a directory")?;
    std::fs::create_dir_all(dir)
        .and_then(|()| std::fs::write(path, content))
        .with_context(|| format!("{path:?}"))
}
