//! Completions of the shells, as their packages look for them.

use anyhow::Result;
use clap_complete::Shell;

/// The name of the file and its content.
pub(crate) fn script(mut command: clap::Command, shell: Shell) -> Result<(String, String)> {
    let name = command.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, &name, &mut script);
    let mut script = String::from_utf8(script)?;
    if shell == Shell::Bash {
        // clap_complete 4.6 takes the hyphen in a program's name for the space before a verb in one place of two.
        script = script.replace(&name.replace('-', "__subcmd__"), &name.replace('-', "__"));
    }
    let file = match shell {
        Shell::Zsh => format!("_{name}"),
        Shell::Fish => format!("{name}.fish"),
        _ => name,
    };
    Ok((file, script))
}
