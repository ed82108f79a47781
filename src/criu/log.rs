//! What CRIU's log says of a failure.

use std::os::fd::{BorrowedFd, OwnedFd};

use crate::sys::fs::{self, Lookup, OFlag};

/// More than the log of a container with thousands of processes has.
const LARGEST: u64 = 64 << 20;
/// How many lines are quoted.
const LINES: usize = 6;

/// Why it can't do something: by its log, or else by its answer. On a full disk the log ends too early, and the answer
/// may be of another failure, which it has gone on from.
pub(super) fn why(dir: BorrowedFd<'_>, name: &str, answer: &str) -> String {
    let errors = errors(dir, name);
    let said = match (errors.is_empty(), answer.contains("Error (")) {
        (false, _) => errors,
        (true, true) => quote(answer),
        (true, false) => answer.trim().to_owned(),
    };
    let is_full = nix::sys::statvfs::fstatvfs(dir).is_ok_and(|disk| disk.blocks_available() == 0);
    let full = if is_full { "no space is left where its log is" } else { "" };
    [said.as_str(), full].into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>().join("; ")
}

/// The last lines of the log that are errors, in one; empty if there are none.
fn errors(dir: BorrowedFd<'_>, name: &str) -> String {
    let Ok(file) = fs::openat2(dir, name, OFlag::O_RDONLY | OFlag::O_NONBLOCK, 0, Lookup::Strict) else {
        return String::new();
    };
    let Ok(bytes) = fs::read_all(file, LARGEST) else { return String::new() };
    quote(&String::from_utf8_lossy(&bytes))
}

/// The last lines that have been printed, in one.
pub(super) fn last_lines(file: &OwnedFd) -> String {
    let mut text = [0; 4096];
    let length = nix::sys::uio::pread(file, &mut text, 0).unwrap_or(0);
    let printed = String::from_utf8_lossy(&text[..length]);
    let lines: Vec<&str> = printed.lines().collect();
    lines[lines.len().saturating_sub(LINES)..].join("; ")
}

fn quote(log: &str) -> String {
    let mut all: Vec<&str> = log.lines().filter_map(error).collect();
    all.dedup();
    all[all.len().saturating_sub(LINES)..].join("; ")
}

/// `(00.000775) Error (criu/util.c:1534): rlimit: ...`: what comes after the place in its source. Before there is a
/// clock the first part is missing, and a process has its pid there.
fn error(line: &str) -> Option<&str> {
    let (_, rest) = line.split_once("Error (")?;
    let text = rest.split_once("): ")?.1.trim();
    // Raising its own limit is an attempt, and goes on without.
    (!text.is_empty() && !text.starts_with("rlimit: ")).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::{LINES, quote};

    #[test]
    fn errors_are_quoted_without_their_places_and_all_else_is_left_out() {
        let log = "(00.000001) Version: 4.2\n\
                   (00.000775) Error (criu/util.c:1534): rlimit: Can't setup RLIMIT_NOFILE for self: EPERM\n\
                   (00.132426)     19 Error (criu/files-reg.c:1790): Can't lookup mount=88 for fd=1 path=/tmp/out\n\
                   Error (criu/util.c:642): execvp(\"ip\", ...) failed: No such file or directory\n\
                   (00.2) Unfreezing tasks into 1\n";
        let quoted = "Can't lookup mount=88 for fd=1 path=/tmp/out; \
                      execvp(\"ip\", ...) failed: No such file or directory";
        assert_eq!(quote(log), quoted);
        assert_eq!(quote("nothing\n"), "");
    }

    #[test]
    fn what_is_said_again_and_again_is_quoted_once() {
        let again = "Error (x.c:1): full\n".repeat(9);
        assert_eq!(
            quote(&format!("Error (x.c:2): first\n{again}Error (x.c:3): last\n")),
            "first; full; last"
        );
    }

    #[test]
    fn of_many_the_last_are_quoted() {
        let log: String = (0..20).map(|n| format!("Error (x.c:1): e{n}\n")).collect();
        let quoted = quote(&log);
        assert!(quoted.starts_with("e14; ") && quoted.ends_with("; e19"), "{quoted}");
        assert_eq!(quoted.split("; ").count(), LINES);
    }
}
