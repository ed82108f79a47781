//! Exit codes: the container's own, and docker's three for what kept it from having one.

/// Of this program or the runtime: nothing has run.
pub(super) const OURS: u8 = 125;
const NOT_EXECUTABLE: u8 = 126;
const NOT_FOUND: u8 = 127;

/// The code for a container that could not be run.
pub(super) fn code(error: &anyhow::Error) -> u8 {
    // What init has to say arrives as text, and only what it says of the program begins like this.
    let text = error.root_cause().to_string();
    let missing = ["executable file not found in $PATH", "no such file or directory"];
    match text.strip_prefix("exec") {
        Some(reason) if !reason.starts_with([':', ' ']) => OURS,
        Some(reason) if missing.iter().any(|words| reason.contains(words)) => NOT_FOUND,
        Some(_) => NOT_EXECUTABLE,
        None => OURS,
    }
}

#[cfg(test)]
mod tests {
    use super::code;
    use crate::error::{Kind, failure};

    #[test]
    fn a_program_that_cannot_be_run_has_the_codes_of_docker() {
        let of = |text: &str| code(&failure(Kind::System, text).context("outer"));
        assert_eq!(of(r#"exec: "nosuch": executable file not found in $PATH"#), 127);
        assert_eq!(of(r#"exec: "/nosuch": no such file or directory"#), 127);
        assert_eq!(
            of("exec /x: no such file or directory: the script's interpreter \"/y\" can't be executed"),
            127
        );
        assert_eq!(of(r#"exec: "/etc": is a directory"#), 126);
        assert_eq!(of("exec /x: exec format error: the file is empty"), 126);
    }

    #[test]
    fn everything_else_is_this_programs_own() {
        for text in ["image \"x\": no such file or directory", "executing", "process: cwd: permission denied"]
        {
            assert_eq!(code(&failure(Kind::System, text)), 125, "{text}");
        }
    }
}
