//! `ps ID`: runc's, not the specification's. Who is in the container.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::ErrorKind;
use std::process::{Command, Output, Stdio};

use super::{Runtime, look_recorded};
use crate::container::id::ContainerId;
use crate::container::status::Status;
use crate::error::{Doing, Kind, Result, failure, unsupported};

/// The pids of all processes in the container's cgroup and below it, as this pid namespace numbers them; empty when
/// it has stopped.
pub fn pids(runtime: &Runtime, id: &ContainerId) -> Result<BTreeSet<i32>> {
    let (record, current) = look_recorded(runtime, id)?;
    match current.cgroup(&record)? {
        Some(cgroup) => {
            let pids = cgroup.processes().doing(|| format!("container {id}"))?;
            Ok(pids.into_iter().map(nix::unistd::Pid::as_raw).collect())
        }
        // It has vanished, as nothing is left in it.
        None if record.cgroup.is_ours() || current.status == Status::Stopped => Ok(BTreeSet::new()),
        None => Err(unsupported(format!(
            "container {id} has no cgroup of its own: nothing tells its processes from the others in {:?}",
            record.cgroup.path
        ))),
    }
}

/// What the host's ps(1) prints with these options, or `-ef`: its first line, and those of the container's processes.
pub fn table(pids: &BTreeSet<i32>, options: &[OsString]) -> Result<String> {
    let default = [OsString::from("-ef")];
    let options = if options.is_empty() { &default } else { options };
    let output = Command::new("ps").args(options).stdin(Stdio::null()).output();
    let output = match output {
        // runc's words.
        Err(error) if error.kind() == ErrorKind::NotFound => {
            Err(unsupported("exec: \"ps\": executable file not found in $PATH; --format json does without"))
        }
        output => output.doing(|| "ps"),
    }?;
    if !output.status.success() {
        return Err(failure(Kind::Invalid, format!("ps: {}: {}", output.status, said(&output))));
    }
    of_these(&String::from_utf8_lossy(&output.stdout), pids)
}

/// What a program has said, in one line.
fn said(output: &Output) -> String {
    let text = [&output.stdout[..], &output.stderr[..]].concat();
    String::from_utf8_lossy(&text).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The first line, and those that have one of the pids in its column `PID`. Columns are told apart by blanks: what has
/// blanks in it, such as `args`, has to come after that.
fn of_these(text: &str, pids: &BTreeSet<i32>) -> Result<String> {
    let (head, rest) = text.split_once('\n').unwrap_or((text, ""));
    let column = head.split_whitespace().position(|name| name == "PID");
    // runc's words.
    let column = column.ok_or_else(|| {
        failure(Kind::Invalid, "couldn't find PID field in ps output; have it printed, as with -o pid,args")
    })?;
    let mut chosen = format!("{head}\n");
    for line in rest.lines() {
        let field = line.split_whitespace().nth(column).unwrap_or("");
        let pid: i32 = field.parse().map_err(|_not_a_number| {
            let text = format!(
                "unexpected pid {field:?} in ps output: name the column pid before those with blanks"
            );
            failure(Kind::Invalid, text)
        })?;
        if pids.contains(&pid) {
            chosen.push_str(line);
            chosen.push('\n');
        }
    }
    Ok(chosen)
}

#[cfg(test)]
mod tests {
    use super::of_these;

    #[test]
    fn the_column_is_found_by_its_name() {
        let text = "USER  PID COMMAND\na      17 sh -c x\nb     170 17\nc       7 sleep\n";
        let chosen = of_these(text, &[17, 7].into()).unwrap();
        assert_eq!(chosen, "USER  PID COMMAND\na      17 sh -c x\nc       7 sleep\n");
        assert_eq!(of_these("PID\n", &[17].into()).unwrap(), "PID\n");
    }

    #[test]
    fn a_table_without_the_column_is_an_error() {
        for text in ["COMMAND\nsh\n", "PPID XPID\n1 2\n", ""] {
            let error = of_these(text, &[1].into()).unwrap_err().to_string();
            assert!(error.contains("couldn't find PID field in ps output"), "{error}");
        }
        let error = of_these("COMMAND PID\nsleep 1000 17\nsh x y\n", &[17].into()).unwrap_err().to_string();
        assert!(error.contains("unexpected pid \"x\""), "{error}");
    }
}
