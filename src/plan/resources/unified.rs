//! `linux.resources.unified`: config-linux.md, "Unified".

use std::collections::HashMap;

use super::{Absence, Write, write};
use crate::error::{Result, invalid};

/// Files of the cgroup, by their own names. The kernel takes one line at a time.
pub(super) fn writes(unified: &HashMap<String, String>) -> Result<Vec<Write>> {
    let mut writes = Vec::new();
    for (file, value) in unified {
        let mut lines = value.lines().filter(|line| !line.trim().is_empty()).peekable();
        match lines.peek() {
            Some(_) => lines.try_for_each(|line| one(file, line).map(|write| writes.push(write)))?,
            None => writes.push(one(file, value)?),
        }
    }
    Ok(writes)
}

/// A file of the cgroup, by its own name.
fn one(file: &str, value: &str) -> Result<Write> {
    /// Who is in the cgroup, what it hands down, and whether it runs.
    const RUNTIMES: [&str; 6] = ["procs", "threads", "subtree_control", "type", "freeze", "kill"];
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    let is_file =
        file.contains('.') && !file.starts_with('.') && !file.contains("..") && file.bytes().all(plain);
    match file.strip_prefix("cgroup.") {
        _ if !is_file => {
            Err(invalid(format!("linux.resources.unified: {file:?} is not the name of a cgroup's file")))
        }
        Some(name) if RUNTIMES.contains(&name) => {
            Err(invalid(format!("linux.resources.unified: {file} is the runtime's own business")))
        }
        _ if value.contains('\0') => {
            Err(invalid(format!("linux.resources.unified: the value of {file} has a NUL byte")))
        }
        _ => Ok(Write { absence: Absence::Error, ..write("unified", file, value) }),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::writes;
    use super::{Absence, one};

    #[test]
    fn it_is_one_file_of_the_cgroup_and_one_string() {
        assert!(writes(r#"{"unified":{"../x":"1"}}"#).is_err());
        assert!(
            writes(r#"{"unified":{"pids.max":"1\u0000"}}"#).unwrap_err().contains("pids.max has a NUL byte")
        );
    }

    #[test]
    fn a_file_that_is_named_has_to_be_there_whatever_its_value() {
        for value in ["1", "max"] {
            let written = one("memory.max", value).unwrap();
            assert_eq!((written.absence.clone(), written.is_no_limit()), (Absence::Error, false));
        }
    }

    #[test]
    fn a_file_that_every_cgroup_has_is_written_unless_it_is_the_runtimes() {
        for file in ["cgroup.max.depth", "cgroup.max.descendants", "cgroup.pressure", "cgroup.novel"] {
            let written = one(file, "1").unwrap();
            assert_eq!((written.controller, written.file.as_str()), (None, file));
        }
        assert_eq!(one("novel.max", "1").unwrap().controller.as_deref(), Some("novel"));
        for file in ["procs", "threads", "subtree_control", "type", "freeze", "kill"] {
            let error = writes(&format!(r#"{{"unified":{{"cgroup.{file}":"1"}}}}"#)).unwrap_err();
            assert_eq!(
                error,
                format!("linux.resources.unified: cgroup.{file} is the runtime's own business")
            );
        }
    }
}
