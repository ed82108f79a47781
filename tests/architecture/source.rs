//! The source, as far as the tests read it.

use std::path::{Path, PathBuf};

/// A source file: where it is below src, and its text without comments, literals and unit tests.
pub(crate) struct Source {
    pub(crate) path: PathBuf,
    pub(crate) code: String,
    pub(crate) text: String,
}

impl Source {
    pub(crate) fn of(path: PathBuf, text: String) -> Self {
        let mut code = without_comments_and_literals(&text);
        if let Some(tests) = code.find("#[cfg(test)]\nmod tests {") {
            code.truncate(tests);
        }
        Self { path, code, text }
    }

    /// The module below the crate's root that it belongs to: a file's own name or its directory.
    pub(crate) fn module(&self) -> String {
        let first = self.path.components().next().unwrap();
        Path::new(first.as_os_str()).file_stem().unwrap().to_str().unwrap().to_owned()
    }

    /// How many modules it is below the crate's root.
    pub(crate) fn depth(&self) -> usize {
        self.path.components().count() - usize::from(self.path.ends_with("mod.rs"))
    }

    /// What it names as `crate::x`: (line, x).
    pub(crate) fn edges(&self) -> Vec<(usize, String)> {
        let mut edges = Vec::new();
        for (at, _) in self.code.match_indices("crate::") {
            let line = self.code[..at].matches('\n').count() + 1;
            let rest = &self.code[at + "crate::".len()..];
            let names = match rest.strip_prefix('{') {
                Some(group) => group_names(group),
                None => vec![identifier(rest)],
            };
            edges.extend(names.into_iter().map(|name| (line, name)));
        }
        edges
    }

    pub(crate) fn name(&self) -> String {
        self.path.display().to_string()
    }
}

/// The first names of `{a, b::{c, d}, e}`, the opening brace taken off.
fn group_names(group: &str) -> Vec<String> {
    let mut names = Vec::new();
    let (mut depth, mut at_name) = (0, true);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => at_name = true,
            c if at_name && !c.is_whitespace() => {
                names.push(identifier(&group[at..]));
                at_name = false;
            }
            _ => {}
        }
    }
    names
}

pub(crate) fn identifier(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

/// All sources of the library. What is only compiled for tests is not among them.
pub(crate) fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut sources = Vec::new();
    collect(&root, &root, &mut sources);
    assert!(sources.len() > 40, "only {} files found", sources.len());
    sources
}

fn collect(root: &Path, dir: &Path, sources: &mut Vec<Source>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(root, &path, sources);
        } else if path.extension().is_some_and(|e| e == "rs") && !path.ends_with("tests.rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            sources.push(Source::of(path.strip_prefix(root).unwrap().to_owned(), text));
        }
    }
}

/// Blanks comments, strings and characters, and keeps the lines.
fn without_comments_and_literals(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if let Some(hashes) = raw_string(rest) {
            let end = format!("\"{}", "#".repeat(hashes));
            let open = hashes + 2;
            open + rest[open..].find(&end).unwrap() + end.len()
        } else if c == '"' {
            quoted(rest, '"')
        } else if c == '\'' && (rest[1..].starts_with('\\') || rest[1..].chars().nth(1) == Some('\'')) {
            quoted(rest, '\'')
        } else {
            out.push(c);
            rest = &rest[c.len_utf8()..];
            continue;
        };
        out.extend(rest[..skipped].chars().filter(|c| *c == '\n'));
        rest = &rest[skipped..];
    }
    out
}

fn raw_string(text: &str) -> Option<usize> {
    let hashes = text.strip_prefix('r')?.chars().take_while(|c| *c == '#').count();
    text[1 + hashes..].starts_with('"').then_some(hashes)
}

/// The length of a literal with its quotes.
fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}

#[test]
fn the_scanner_sees_through_comments_and_literals() {
    let code = without_comments_and_literals(
        "a // crate::x\nb \"crate::y\" r#\"crate::z \"q\" \"# '\"' 'a 'x' c /* crate::w\n*/ d",
    );
    assert_eq!(code, "a \nb    'a  c \n d");
    assert_eq!(group_names("error::{Doing, Result}, sys, log::{self}};"), ["error", "sys", "log"]);
}
